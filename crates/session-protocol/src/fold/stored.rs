//! A fold that is stored and goes on: a head, and a text for each message.
//!
//! The head is everything that is not of a single message. A message that is settled is needed again only when a row or
//! a signal is about it, so whoever goes on reads the head and the messages that are
//! [standing](SessionFold::is_standing), and brings the others through
//! [`MessageLoader::folded`](super::MessageLoader::folded) one by one.
//!
//! What is stored is the state itself and not the rows that led to it, so it is good for the version of the fold that
//! wrote it and for no other: [`SessionFold::FORMAT`].

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::apply::Run;
use super::context::Shape;
use super::message::MessageFold;
use super::message_run::MessageRun;
use super::session::SessionFold;
use super::short::Texts;
use super::track::Tracker;
use super::{FoldState, MessageLoader};
use crate::row::{ApprovalStatus, parse_time};

/// Everything that is not of a single message.
#[derive(Serialize, Deserialize)]
struct Head {
    state: FoldState,
    /// Messages that were deleted, with the positions behind them. Kept where texts are not.
    dead: HashMap<String, u64>,
    floor: u64,
}

impl SessionFold {
    /// The number of the form in which this version stores a fold. Another number is another fold: what it wrote cannot
    /// be read.
    pub const FORMAT: u32 = 4;

    /// Everything that is not of a single message, as text.
    pub fn head(&self) -> String {
        let drops = self.texts == Texts::Dropped;
        let dead = if drops { self.dead.clone() } else { HashMap::new() };
        let head = Head { state: self.state(), dead, floor: self.floor };
        serde_json::to_string(&head).unwrap_or_default()
    }

    /// A fold that goes on from a head. Its messages come through the loader, or are [put back](Self::put_back) before.
    /// `None` when the head cannot be read.
    pub fn from_head(session_id: &str, texts: Texts, head: &str) -> Option<Self> {
        let Head { state, dead, floor } = serde_json::from_str(head).ok()?;
        let mut fold = Self::restore(session_id, &state);
        (fold.texts, fold.dead, fold.floor) = (texts, dead, floor);
        if texts == Texts::Dropped {
            let pending =
                fold.approvals.values().filter(|one| one.status == ApprovalStatus::Pending);
            let ends = pending.filter_map(|one| one.expires_at.as_deref().and_then(parse_time));
            fold.expiries = ends.collect();
        }
        Some(fold)
    }

    /// The fold of a message in memory, as text.
    pub fn folded(&self, id: &str) -> Option<String> {
        serde_json::to_string(self.messages.get(id)?).ok()
    }

    /// Puts a message back into memory that was [stored](Self::folded) together with the head. Returns whether it could
    /// be read.
    pub fn put_back(&mut self, id: &str, folded: &str) -> bool {
        let message = read(id, folded, self.texts);
        let is_read = message.is_some();
        message.into_iter().for_each(|message| self.put(message));
        is_read
    }

    fn put(&mut self, message: MessageFold) {
        let id = message.message.id.clone();
        self.order.insert(message.message.position, id.clone());
        self.messages.insert(id, message);
    }

    /// True while something is expected of a message: it is being written, waits for somebody, or its agent must be
    /// told something. Of a message that is not, only what comes later can tell anything new.
    pub fn is_standing(&self, id: &str) -> bool {
        let Some(fold) = self.messages.get(id) else { return false };
        let run = MessageRun { fold };
        let told = run.deliveries();
        let asks = || fold.calls().any(|(_, call)| call.request.is_some() && call.answer.is_none());
        run.is_open()
            || run.has_open_calls()
            || asks()
            || fold.calls().any(|(_, call)| call.is_for_client() && call.is_open())
            || !told.undelivered.is_empty()
            || !told.owed.is_empty()
    }

    /// Whether a fold of the message can be stored: it consists of rows with keys.
    pub fn is_of_rows(&self, id: &str) -> bool {
        self.messages.get(id).is_some_and(|fold| fold.shape == Shape::Rows)
    }

    /// Messages that were brought, made, changed or deleted since [`Self::forget_touched`]. Only where texts are not
    /// kept.
    pub fn touched(&self) -> &BTreeSet<String> {
        &self.touched
    }

    /// All that was touched so far is stored.
    pub fn forget_touched(&mut self) {
        self.touched.clear();
    }

    /// True while somebody listens to a message: then words are in it that are kept for nobody else.
    pub fn is_listening(&self) -> bool {
        !self.listened.is_empty()
    }

    pub(super) fn touch(&mut self, id: &str) {
        if self.texts == Texts::Dropped && !self.touched.contains(id) {
            self.touched.insert(id.to_owned());
        }
    }

    /// Brings the message into memory that the newest request of this id is of, of those in the message when one is
    /// named.
    pub fn bring_request(
        &mut self,
        approval_id: &str,
        message_id: Option<&str>,
        loader: &mut dyn MessageLoader,
    ) {
        let mut sites = self.signals.requests_of(approval_id).iter();
        let site = sites.rfind(|site| message_id.is_none_or(|id| site.message == id));
        if let Some(id) = site.map(|site| site.message.clone()) {
            self.load(&id, loader);
        }
    }

    /// Brings the message into memory that holds the newest call of this id, of those in the message when one is named.
    pub fn bring_call(
        &mut self,
        tool_call_id: &str,
        message_id: Option<&str>,
        loader: &mut dyn MessageLoader,
    ) {
        let mut sites = self.signals.calls_of(tool_call_id).iter();
        let site = sites.rfind(|site| message_id.is_none_or(|id| site.message == id));
        if let Some(id) = site.map(|site| site.message.clone()) {
            self.load(&id, loader);
        }
    }
}

/// A message as it was stored.
fn read(id: &str, folded: &str, texts: Texts) -> Option<MessageFold> {
    let mut message: MessageFold = serde_json::from_str(folded).ok()?;
    message.texts = texts;
    message.log.come_back(texts);
    (message.message.id == id).then_some(message)
}

impl Run<'_> {
    /// Brings a message whose fold is stored; false when it cannot be read.
    pub(super) fn bring_folded(&mut self, id: &str, folded: &str) -> bool {
        let Some(message) = read(id, folded, self.fold.texts) else {
            self.loader.unreadable(id);
            return false;
        };
        // One that was deleted since it was stored.
        if message.message.position < self.floor(id) {
            return false;
        }
        self.fold.put(message);
        self.fold.touch(id);
        self.connect(id, &mut Tracker::off());
        if let Some(message) = self.fold.messages.get_mut(id) {
            message.take_outbox();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};
    use twox_hash::XxHash3_64;

    use super::*;
    use crate::event::decode;

    /// The bytes of rows of one session, with something in every field that is stored.
    fn items() -> Vec<String> {
        let long = "long ".repeat(30);
        let snapshot = json!([{"id": "k", "role": "assistant", "content": "Well then"}]);
        let interrupt = json!({"id": "q", "reason": "how", "message": "How?", "expiresAt": "2027-01-01T00:00:00Z"});
        let said = [
            (
                "u",
                "user",
                json!({"type": "whole-message", "message": {"id": "u", "role": "user", "parts": [{"type": "text", "content": "Hi"}]}}),
            ),
            ("a", "assistant", json!({"type": "RUN_STARTED", "runId": "r", "threadId": "t"})),
            (
                "a",
                "assistant",
                json!({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"}),
            ),
            (
                "a",
                "assistant",
                json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Well"}),
            ),
            (
                "a",
                "assistant",
                json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t"}),
            ),
            ("a", "assistant", json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": long})),
            (
                "a",
                "assistant",
                json!({"type": "TOOL_CALL_START", "toolCallId": "d", "toolCallName": "t"}),
            ),
            ("a", "assistant", json!({"type": "TOOL_CALL_ARGS", "toolCallId": "d", "delta": "{}"})),
            ("a", "assistant", json!({"type": "TOOL_CALL_END", "toolCallId": "d"})),
            (
                "a",
                "assistant",
                json!({"type": "approval-requested", "toolCallId": "d", "toolName": "t", "input": null, "approval": {"id": "p"}}),
            ),
            (
                "u",
                "user",
                json!({"type": "approval-response", "approvalId": "p", "approved": true}),
            ),
            ("u", "user", json!({"type": "tool-result", "toolCallId": "d", "output": null})),
            ("u", "user", json!({"type": "config", "title": "A title"})),
            ("a", "assistant", json!({"type": "data-p", "id": "1", "data": 1})),
            (
                "a",
                "assistant",
                json!({"type": "SUBAGENT_STARTED", "subagentRunId": "sub", "name": "s"}),
            ),
            (
                "a",
                "assistant",
                json!({"type": "ACTIVITY_SNAPSHOT", "messageId": "card", "activityType": "PLAN", "content": {}}),
            ),
            (
                "a",
                "assistant",
                json!({"type": "CUSTOM", "name": "structured-output.start", "value": {}}),
            ),
            ("a", "assistant", json!({"type": "MESSAGES_SNAPSHOT", "messages": snapshot})),
            (
                "a",
                "assistant",
                json!({"type": "RUN_FINISHED", "usage": {"promptTokens": 1}, "outcome": {"type": "interrupt", "interrupts": [interrupt]}}),
            ),
            ("a", "assistant", json!({"type": "RUN_STARTED", "runId": "r", "threadId": "t"})),
        ];
        (0..)
            .zip(said)
            .map(|(seq, (id, role, chunk))| {
                let key = if seq == 3 { "odd".to_owned() } else { format!("{id}:{seq}") };
                let run = (seq == 1).then(|| json!({"id": "run", "told": 1}));
                json!({"type": "chunk", "key": key, "value": {"messageId": id, "actorId": "k", "role": role,
                    "seq": seq, "createdAt": "2026-01-01T10:00:00Z", "chunk": chunk.to_string()},
                    "headers": {"operation": "insert", "run": run}})
                .to_string()
            })
            .collect()
    }

    fn fold() -> SessionFold {
        let mut fold = SessionFold::without_texts("s", HashSet::new());
        items().iter().for_each(|item| fold.take(&decode(item.as_bytes()), &mut ()));
        fold
    }

    /// A value whose fields are in the order of their names.
    fn in_order(value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(in_order).collect(),
            Value::Object(fields) => {
                let mut fields: Vec<_> =
                    fields.into_iter().map(|(name, value)| (name, in_order(value))).collect();
                fields.sort_by(|(one, _), (other, _)| one.cmp(other));
                Value::Object(fields.into_iter().collect())
            }
            other => other,
        }
    }

    #[test]
    fn what_is_stored_is_of_this_format() {
        let fold = fold();
        let stored = json!([fold.head(), fold.folded("a"), fold.folded("u")]);
        let texts = stored.as_array().into_iter().flatten().filter_map(Value::as_str);
        let values: Vec<Value> =
            texts.map(|text| in_order(serde_json::from_str(text).expect("JSON"))).collect();
        assert_eq!(values.len(), 3);
        let print = XxHash3_64::oneshot(Value::from(values).to_string().as_bytes());
        assert_eq!(
            (SessionFold::FORMAT, print),
            (4, 14_324_523_491_377_637_013),
            "another thing is stored: FORMAT wants another number, and this test both"
        );
    }

    #[test]
    fn what_is_damaged_is_an_error_or_goes_on_without_a_panic() {
        let whole = fold();
        let (head, message) = (whole.head(), whole.folded("a").expect("it is there"));
        let mut read = 0;
        for at in (0..message.len()).step_by(7) {
            for with in ["9", "", "null"] {
                let mut text = message.clone();
                if !text.is_char_boundary(at) || !text.is_char_boundary(at + 1) {
                    continue;
                }
                text.replace_range(at..=at, with);
                let mut fold =
                    SessionFold::from_head("s", Texts::Dropped, &head).expect("it is whole");
                if fold.put_back("a", &text) {
                    read += 1;
                    items().iter().skip(1).for_each(|item| {
                        let item = item.replace(":0Z", ":1Z").replace("\"seq\":", "\"seq\":1");
                        fold.take(&decode(item.as_bytes()), &mut ());
                    });
                }
            }
        }
        assert!(read > 10, "numbers are read, whatever they are");
    }
}
