//! The server's knowledge of a session that it writes to: the fold of the stream without its text, and beside it
//! what no fold has.
//!
//! The fold is the one that windows show ([`SessionFold::without_texts`], law L17): what a chunk means is written down
//! there and nowhere else, so that the server waits for nothing that no window asks. Beside it stand the rows of agents
//! and people as they were written, and the wishes that were granted. All of it is rebuilt from the stream whenever a
//! session is opened, and kept up by the same function for every event that the server appends, so that memory and
//! stream cannot drift. Whole messages with their text are folded elsewhere, and only when an agent needs its history.
//!
//! A book can be stored and goes on from there ([`RunBook::stored`]): then only messages of which something is expected
//! are in memory, and the others come from the [`Shelf`] when an item is about them, or when whoever reads has them
//! [brought](RunBook::bring) before. A shelf that is damaged makes the book [damaged](RunBook::is_damaged): it is given
//! up, and the stream read from its beginning.

mod shelf;
mod wish;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use session_protocol::{
    AskKind, CallView, Event, MessageRun, RequestView, Role, SessionFold, Texts, decode,
    event::{Control, Operation, RowEvent},
};

pub(crate) use self::shelf::{Damaged, Grant, Shelf};
pub(crate) use self::wish::{TxidUsed, Wish};
use self::{shelf::Away, wish::Wishes};

/// The book of one session.
pub(crate) struct RunBook {
    fold: SessionFold,
    wishes: Wishes,
    agents: BTreeMap<String, Value>,
    /// Registration order of agents.
    agent_order: Vec<String>,
    presence: BTreeMap<String, Value>,
    away: Away,
    /// The time, as it was told last.
    now: Timestamp,
    /// The last item that was taken.
    last: Vec<u8>,
    /// The last item, counted from 1, by which something was deleted.
    deleted: u64,
    /// Whether it began anew since it was stored: then nothing that is stored is of it.
    is_anew: bool,
    /// The stored messages in front of this position were brought, as far as they are not deleted.
    brought: u64,
}

/// The stored part of a book beside its messages and wishes.
#[derive(Serialize, Deserialize)]
struct Head {
    fold: String,
    acks: HashMap<String, Vec<u64>>,
    agents: BTreeMap<String, Value>,
    agent_order: Vec<String>,
    presence: BTreeMap<String, Value>,
}

/// A message of a book, as it is stored.
#[derive(Debug)]
pub(crate) struct StoredMessage {
    pub(crate) id: String,
    pub(crate) position: u64,
    /// Something is expected of it.
    pub(crate) standing: bool,
    pub(crate) fold: String,
}

impl RunBook {
    /// The book of an empty session.
    pub(crate) fn new() -> Self {
        Self::with_rows_of(HashSet::new())
    }

    /// The book of an empty session that keeps the rows of these messages: what is late or changed among them is folded
    /// anew.
    pub(crate) fn with_rows_of(messages: HashSet<String>) -> Self {
        Self {
            fold: SessionFold::without_texts("", messages),
            wishes: Wishes::default(),
            agents: BTreeMap::new(),
            agent_order: Vec::new(),
            presence: BTreeMap::new(),
            away: Away::default(),
            now: Timestamp::UNIX_EPOCH,
            last: Vec::new(),
            deleted: 0,
            is_anew: true,
            brought: 0,
        }
    }

    /// A book that goes on from what is stored: its head, the messages that stand, and the rest where it is asked for.
    /// `None` when that cannot be read.
    pub(crate) fn stored(
        head: &str,
        standing: &[(String, String)],
        shelf: Box<dyn Shelf>,
    ) -> Option<Self> {
        let Head { fold, acks, agents, agent_order, presence } = serde_json::from_str(head).ok()?;
        let mut fold = SessionFold::from_head("", Texts::Dropped, &fold)?;
        let whole = standing.iter().all(|(id, message)| fold.put_back(id, message));
        whole.then_some(())?;
        let (wishes, away) = (Wishes::of(acks), Away::on(shelf));
        let stored = Self::new();
        let is_anew = false;
        Some(Self { fold, wishes, agents, agent_order, presence, away, is_anew, ..stored })
    }

    /// Whether it can be stored: nobody listens, and none of it may be wrong.
    pub(crate) fn is_storable(&self) -> bool {
        !self.is_damaged() && !self.fold.is_listening() && self.fold.torn().next().is_none()
    }

    /// The part that is stored beside its messages and wishes; `None` when it cannot be written.
    pub(crate) fn head(&self) -> Option<String> {
        let head = Head {
            fold: self.fold.head(),
            acks: self.wishes.acks().clone(),
            agents: self.agents.clone(),
            agent_order: self.agent_order.clone(),
            presence: self.presence.clone(),
        };
        serde_json::to_string(&head).ok()
    }

    /// Messages that changed since it was stored, or are gone; all of them, when it began anew since then.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &String> {
        self.fold.touched().iter()
    }

    /// A message as it is stored; `None` for one that is gone.
    pub(crate) fn stored_message(&self, id: &str) -> Option<StoredMessage> {
        let (position, standing) = (self.fold.run(id)?.position(), self.fold.is_standing(id));
        Some(StoredMessage { id: id.to_owned(), position, standing, fold: self.fold.folded(id)? })
    }

    /// Wishes that were granted since it was stored.
    pub(crate) fn newly_granted(&self) -> impl Iterator<Item = Grant> {
        self.wishes.unsaved()
    }

    /// Everything is stored now.
    pub(crate) fn saved(&mut self) {
        self.fold.forget_touched();
        self.wishes.saved();
        self.is_anew = false;
    }

    /// Whether nothing that is stored is of it.
    pub(crate) fn is_anew(&self) -> bool {
        self.is_anew
    }

    /// Something that is stored of it could not be read: it is not what the stream says.
    pub(crate) fn is_damaged(&self) -> bool {
        self.away.is_damaged()
    }

    /// Takes the time: what waits, and what is withdrawn, is so at this time.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Whether words were deleted by an item behind the first `items`.
    pub(crate) fn deleted_since(&self, items: u64) -> bool {
        self.deleted > items
    }

    /// The last item that was taken; empty before the first.
    pub(crate) fn last(&self) -> &[u8] {
        &self.last
    }

    /// Brings a message into memory, where it is stored.
    pub(crate) fn bring(&mut self, message_id: &str) {
        self.fold.load(message_id, &mut self.away);
    }

    /// Brings what an approval of this id is about: in this message, or else in the newest.
    pub(crate) fn bring_approval(&mut self, id: &str, message_id: Option<&str>) {
        self.fold.bring_request(id, message_id, &mut self.away);
    }

    /// Brings what a call of this id is about: in this message, or else in the newest.
    pub(crate) fn bring_call(&mut self, id: &str, message_id: Option<&str>) {
        self.fold.bring_call(id, message_id, &mut self.away);
    }

    /// Brings the wishes that were granted under a transaction id.
    pub(crate) fn bring_wishes(&mut self, txid: Option<&str>) {
        let Some(txid) = txid else { return };
        for grant in self.away.granted(txid) {
            self.wishes.recall(grant);
        }
    }

    /// Messages of which the stream must be read again, with their rows kept.
    pub(crate) fn torn(&self) -> impl Iterator<Item = &str> {
        self.fold.torn()
    }

    /// Takes one item of the stream, in stream order. Items that mean nothing to the server change nothing (L9).
    pub(crate) fn apply(&mut self, item: &[u8]) {
        let event = decode(item);
        match &event {
            Event::Chunk(row) if row.operation != Operation::Delete => self.wishes.chunk(row),
            Event::Agent(row) => self.agent_row(row),
            Event::Presence(row) => match row.value {
                Some(value) => merge(&mut self.presence, &row.key, value),
                None => drop(self.presence.remove(&*row.key)),
            },
            Event::Other(row) if row.type_ == "ack" => {
                self.wishes.ack(&row.key, row.value.map(RawValue::get));
            }
            Event::Control(Control::Reset) => {
                // What is stored was before.
                let (fold, now) = (std::mem::take(&mut self.fold), self.now);
                *self = Self { fold, now, ..Self::new() };
            }
            _ => {}
        }
        self.fold.take(&event, &mut self.away);
        let deletes = match &event {
            Event::Chunk(row) => row.operation == Operation::Delete,
            Event::Control(Control::Reset) => true,
            _ => false,
        };
        if deletes {
            self.deleted = self.items();
        }
        self.last.clear();
        self.last.extend_from_slice(item);
    }

    fn agent_row(&mut self, row: &RowEvent<'_>) {
        match row.value {
            Some(value) => {
                if !self.agents.contains_key(&*row.key) {
                    self.agent_order.push(row.key.clone().into_owned());
                }
                merge(&mut self.agents, &row.key, value);
            }
            None => {
                self.agents.remove(&*row.key);
                self.agent_order.retain(|id| *id != row.key);
            }
        }
    }

    /// Keeps the words that an agent says in a message from now on, so many bytes at most.
    pub(crate) fn listen(&mut self, message_id: &str, most: usize) {
        self.fold.listen(message_id, most);
    }

    /// Words of an agent in a message since [`Self::listen`].
    pub(crate) fn heard(&self, message_id: &str) -> String {
        self.fold.heard(message_id)
    }

    /// Drops what was heard in a message.
    pub(crate) fn hear_no_more(&mut self, message_id: &str) {
        self.fold.hear_no_more(message_id);
    }

    /// The message with this id.
    pub(crate) fn message(&self, id: &str) -> Option<MessageRun<'_>> {
        self.fold.run(id)
    }

    /// All messages, in their order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = MessageRun<'_>> {
        self.fold.runs()
    }

    /// The messages that answer a person's message, or the next ones before a person spoke again, and failed with
    /// answers that their agent was told: agent and message.
    pub(crate) fn owed_after(&mut self, message_id: &str) -> HashMap<String, String> {
        self.bring(message_id);
        let Some(first) = self.message(message_id).map(|run| run.position()) else {
            return HashMap::new();
        };
        let mut from = first.saturating_add(1);
        while let Some((last, ids)) = self.bring_from(from) {
            let mut runs = ids.iter().filter_map(|id| self.message(id));
            if runs.any(|run| run.role() == Role::User && !run.is_hidden()) {
                break;
            }
            from = last.saturating_add(1);
        }
        let later = self.messages().skip_while(|run| run.message_id() != message_id);
        let answers = later
            .enumerate()
            .take_while(|(n, run)| *n == 0 || run.role() != Role::User || run.is_hidden());
        let owed = answers.filter(|(_, run)| !run.deliveries().owed.is_empty());
        owed.map(|(_, run)| (run.actor_id().to_owned(), run.message_id().to_owned())).collect()
    }

    /// Keys of rows that exist, of messages that began before an item of the stream; so many at most.
    pub(crate) fn row_keys(&mut self, before: u64, most: usize) -> Vec<String> {
        loop {
            let keys = self.fold.row_keys(before, most);
            if keys.len() >= most || self.brought >= before {
                return keys;
            }
            let next = self.bring_from(self.brought);
            self.brought = next.map_or(u64::MAX, |(last, _)| last.saturating_add(1));
        }
    }

    /// Brings some messages from a position on, as far as they are stored: the position of the last, and their ids.
    fn bring_from(&mut self, from: u64) -> Option<(u64, Vec<String>)> {
        let ids = self.away.ids(from, BROUGHT);
        let last = ids.last()?.0;
        let ids: Vec<String> = ids.into_iter().map(|(_, id)| id).collect();
        ids.iter().for_each(|id| self.bring(id));
        Some((last, ids))
    }

    /// The next sequence number of a message: one after the highest in the stream.
    pub(crate) fn next_seq(&mut self, message_id: &str) -> u64 {
        self.fold.next_seq(message_id, &mut self.away)
    }

    /// The approval with this id, when its request is in the stream: in this message, or else the newest.
    pub(crate) fn approval(&self, id: &str, message_id: Option<&str>) -> Option<RequestView<'_>> {
        self.fold.request(id, message_id)
    }

    /// Messages in which an approval of this id waits for an answer, the oldest first.
    pub(crate) fn asking(&self, id: &str) -> Vec<String> {
        self.fold.asking(id, self.now)
    }

    /// Messages in which a call of this id waits for a result that a client may give, the oldest first.
    pub(crate) fn waiting_for(&self, id: &str) -> Vec<String> {
        self.fold.waiting_for(id)
    }

    /// The tool call with this id, when it is in the stream: in this message, or else the newest.
    pub(crate) fn tool_call(&self, id: &str, message_id: Option<&str>) -> Option<CallView<'_>> {
        self.fold.call(id, message_id)
    }

    /// Whether a message still waits: for an answer, or for results of calls that its agent may run itself.
    pub(crate) fn is_waiting(&self, message_id: &str) -> bool {
        self.fold.is_waiting(message_id, self.now)
    }

    /// Whether a message waits for a person or a client, as its agent said: an open approval, or a tool that the client
    /// must run.
    pub(crate) fn is_asking(&self, message_id: &str) -> bool {
        self.fold.is_asking(message_id, self.now)
    }

    /// Number of messages in memory that wait for a person or a client. Costs in proportion to the messages in memory.
    pub(crate) fn count_asking(&self) -> usize {
        self.messages().filter(|run| self.is_asking(run.message_id())).count()
    }

    /// Approvals of a message that nobody has answered, in the order in which they were asked for.
    pub(crate) fn open_asks(&self, message_id: &str) -> Vec<String> {
        let asks = self.fold.asks_in(message_id, self.now);
        let mut open: Vec<_> = asks.filter(|ask| ask.kind != AskKind::Call).collect();
        open.sort();
        let mut ids: Vec<String> = open.into_iter().map(|ask| ask.id).collect();
        ids.dedup();
        ids
    }

    /// Requests of a message's last run that nobody answered in time.
    pub(crate) fn withdrawn(&self, message_id: &str) -> impl Iterator<Item = RequestView<'_>> {
        self.fold.withdrawn_in(message_id, self.now)
    }

    /// When the next request is withdrawn.
    pub(crate) fn expires_next(&self) -> Option<Timestamp> {
        self.fold.expires_next()
    }

    /// Whether requests were withdrawn since this was asked last.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> bool {
        self.fold.take_expired(now)
    }

    /// Registered agents, in the order of their registration: `(agentId, public fields)`.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.agent_order.iter().filter_map(|id| self.agents.get_key_value(id))
    }

    /// The public fields of an agent.
    pub(crate) fn agent(&self, id: &str) -> Option<&Value> {
        self.agents.get(id)
    }

    /// The title last given to the session.
    pub(crate) fn title(&self) -> Option<&str> {
        self.fold.title()
    }

    /// The session that this one is a copy of.
    pub(crate) fn origin(&self) -> Option<&Value> {
        self.fold.settings().get("forkedFrom")
    }

    /// Items of the stream so far.
    pub(crate) fn items(&self) -> u64 {
        self.fold.position()
    }

    /// Presence rows by key.
    pub(crate) fn presence(&self) -> &BTreeMap<String, Value> {
        &self.presence
    }

    /// Whether the transaction id of a wish is in the stream, wherever.
    pub(crate) fn shows(&self, wish: Wish, txid: &str) -> bool {
        self.wishes.shows(wish, txid)
    }

    /// The message that a wish of this kind about this thing was written into, when it was granted before.
    ///
    /// # Errors
    ///
    /// The transaction id was used for another thing.
    pub(crate) fn granted(
        &self,
        wish: Wish,
        txid: Option<&str>,
        thing: &str,
    ) -> Result<Option<&str>, TxidUsed> {
        self.wishes.granted(wish, txid, thing)
    }

    /// The message that a client's transaction id was written into, for a wish of this kind.
    pub(crate) fn by_txid(&self, wish: Wish, txid: &str) -> Option<&str> {
        self.wishes.by_txid(wish, txid)
    }

    /// Whether there was a message with this id, which was deleted.
    pub(crate) fn was_deleted(&self, message_id: &str) -> bool {
        self.fold.was_deleted(message_id)
    }
}

/// Messages that are brought at once.
const BROUGHT: usize = 64;

/// Readers merge rows shallowly, so the server does too.
fn merge(rows: &mut BTreeMap<String, Value>, key: &str, value: &RawValue) {
    let Ok(Value::Object(fields)) = serde_json::from_str(value.get()) else { return };
    match rows.get_mut(key) {
        Some(Value::Object(row)) => row.extend(fields),
        _ => {
            rows.insert(key.to_owned(), Value::Object(fields));
        }
    }
}

#[cfg(test)]
mod tests;
