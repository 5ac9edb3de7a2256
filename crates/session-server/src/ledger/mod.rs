//! What the server must know about a session to write to it: an index of the stream without its text.
//!
//! Rebuilt from the stream whenever a session is opened and kept up by the same function for every event that the
//! server appends, so that memory and stream cannot drift. It answers: which sequence number is next, which message
//! holds this approval or tool call, is it answered, does this message still run, which agents are registered. Whole
//! messages with their text are folded elsewhere, and only when an agent needs its history.

mod entry;
mod rows;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use session_protocol::{
    Dialect, FinishReason,
    authority::{call_of_result, chunk_kind, chunk_value, is_peoples},
    row::parse_time,
};

pub(crate) use self::entry::{AnswerRef, Entry, Lifecycle, lifecycle_after};

use crate::event::{Role, RunMark};

/// An approval request and its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) message_id: Option<String>,
    pub(crate) tool_call_id: Option<String>,
    pub(crate) approved: Option<bool>,
    /// When it is withdrawn.
    expires_at: Option<Timestamp>,
    /// The run that asked, where a server marks runs.
    run: Option<String>,
}

impl Ask {
    /// Nobody answered in time.
    fn is_withdrawn(&self) -> bool {
        self.approved.is_none() && self.expires_at.is_some_and(|end| end <= Timestamp::now())
    }
}

/// A tool call and whether it has a result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub(crate) message_id: Option<String>,
    /// Fingerprint of the result, to tell a retry from a contradiction.
    pub(crate) result: Option<u64>,
    /// The agent said that the client must run it.
    client: bool,
    /// The run that said so last, where a server marks runs.
    run: Option<String>,
    /// The model's provider runs it.
    by_provider: bool,
    /// The approval that it needs.
    approval: Option<String>,
    /// The interrupt's id, which a resumed agent expects instead of the call's.
    pub(crate) interrupt_id: Option<String>,
}

/// What a transaction id was used for.
#[derive(Debug, Clone)]
struct Granted {
    /// Where it was written.
    message_id: String,
    /// Hash of the [`Wish::about`].
    about: u64,
}

/// The kind of a wish: clients number their wishes, and two kinds of them may share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    Message,
    Approval,
    Setting,
    Regenerate,
    /// A tool's result, or a chunk of an agent that runs elsewhere.
    Chunk,
}

impl Wish {
    /// The wish that wrote a chunk of this type.
    pub(crate) fn of(kind: &str) -> Self {
        match kind {
            "whole-message" | "user-message" | "message" => Self::Message,
            "approval-response" | "tool-approval" | "tool-approval-response" => Self::Approval,
            "config" => Self::Setting,
            "control" => Self::Regenerate,
            _ => Self::Chunk,
        }
    }

    /// What a wish is about, in the words of the chunk that grants it.
    fn about_of(self, message_id: &str, chunk: &Value) -> String {
        let id = |field| text(chunk, field).unwrap_or_default();
        match self {
            Self::Message => self.about(message_id),
            Self::Approval => {
                let approved = chunk.get("approved") == Some(&Value::Bool(true));
                self.about(&format!("{} {approved}", id("approvalId")))
            }
            Self::Setting => self.about(&id("title")),
            Self::Regenerate => self.about(&id("messageId")),
            Self::Chunk => self.about(&id("toolCallId")),
        }
    }

    /// One transaction id is one wish about one thing: this is the thing.
    pub(crate) fn about(self, thing: &str) -> String {
        let kind = match self {
            Self::Message => "message",
            Self::Approval => "approval",
            Self::Setting => "setting",
            Self::Regenerate => "regenerate",
            Self::Chunk => "chunk",
        };
        format!("{kind} {thing}")
    }
}

/// Greatest sequence number that counts: what a program's numbers can hold. A greater one is somebody's mistake, and the
/// next row does not follow it.
const MAX_SEQ: u64 = 1 << 53;

/// The index of one session.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    items: u64,
    messages: HashMap<String, Entry>,
    /// By id, the newest last: agents choose ids, and two may choose the same.
    asks: HashMap<String, Vec<Ask>>,
    calls: HashMap<String, Vec<Call>>,
    /// When requests are withdrawn that nobody has looked at since.
    expiries: BTreeSet<Timestamp>,
    agents: BTreeMap<String, Value>,
    presence: BTreeMap<String, Value>,
    txids: HashMap<(Wish, String), Granted>,
    /// Hashes of wishes that others had had before, by transaction id.
    acks: HashMap<String, Vec<u64>>,
    /// Messages that were deleted.
    deleted: HashSet<String>,
    title: Option<String>,
    origin: Option<Value>,
    /// Rows whose key is not that of their message and number, and their messages.
    odd_keys: HashMap<String, String>,
    /// Registration order of agents.
    agent_order: Vec<String>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Option<ItemHeaders<'a>>,
}

#[derive(Deserialize)]
struct ItemHeaders<'a> {
    #[serde(borrow, default)]
    operation: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    control: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    txid: Option<Cow<'a, str>>,
    /// Lenient, because somebody else may mean something else by it (L9).
    #[serde(borrow, default)]
    run: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChunkRow<'a> {
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow, default)]
    actor_id: Option<Cow<'a, str>>,
    #[serde(default)]
    role: Option<Role>,
    /// Rows of the first writers have this and no role.
    #[serde(borrow, default)]
    actor_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    chunk: Cow<'a, str>,
}

impl Ledger {
    /// Takes one item of the stream, in stream order. Items that mean nothing to the server change nothing (L9).
    pub(crate) fn apply(&mut self, item: &[u8]) {
        self.items += 1;
        let Ok(item) = serde_json::from_slice::<Item<'_>>(item) else { return };
        let Some(headers) = item.headers else { return };
        if headers.control.as_deref() == Some("reset") {
            *self = Self { items: self.items, ..Self::default() };
            return;
        }
        let (Some(kind), Some(key)) = (item.r#type, item.key) else { return };
        let delete = match headers.operation.as_deref() {
            Some("insert" | "update" | "upsert") => false,
            Some("delete") => true,
            _ => return,
        };
        match (&*kind, delete, item.value) {
            ("chunk", false, Some(value)) => {
                if let Ok(row) = serde_json::from_str::<ChunkRow<'_>>(value.get()) {
                    let run = headers.run.and_then(|mark| serde_json::from_str(mark.get()).ok());
                    self.chunk(&key, &row, headers.txid.as_deref(), run);
                }
            }
            ("chunk", true, _) => self.delete_chunk(&key),
            ("agent", false, Some(value)) => {
                if !self.agents.contains_key(&*key) {
                    self.agent_order.push(key.clone().into_owned());
                }
                merge(&mut self.agents, &key, value);
            }
            ("agent", true, _) => {
                self.agents.remove(&*key);
                self.agent_order.retain(|id| *id != key);
            }
            ("presence", false, Some(value)) => merge(&mut self.presence, &key, value),
            ("ack", _, value) => {
                let value: Option<Value> =
                    value.and_then(|value| serde_json::from_str(value.get()).ok());
                let about = value.as_ref().and_then(|value| text(value, "about"));
                self.acks.entry(key.into_owned()).or_default().extend(about.as_deref().map(hash));
            }
            ("presence", true, _) => {
                self.presence.remove(&*key);
            }
            _ => {}
        }
    }

    fn chunk(&mut self, key: &str, row: &ChunkRow<'_>, txid: Option<&str>, run: Option<RunMark>) {
        let seq = key.rsplit_once(':').and_then(|(_, seq)| seq.parse::<u64>().ok()).unwrap_or(0);
        let kind = chunk_kind(&row.chunk).unwrap_or_default();
        let role = row.role.unwrap_or(Role::Assistant);
        // L15: what only people say counts in no agent's row.
        let by_agent = match row.role {
            Some(role) => role == Role::Assistant,
            None => row.actor_type.as_deref() == Some("agent"),
        };
        let signals = is_peoples(&kind) && !by_agent;
        if let Some(txid) = txid {
            let said = !by_agent || !is_peoples(&kind);
            let wish = if said { Wish::of(&kind) } else { Wish::Chunk };
            let chunk = chunk_value(&row.chunk).unwrap_or_default();
            let about = hash(wish.about_of(&row.message_id, &chunk));
            let message_id = row.message_id.clone().into_owned();
            self.txids.insert((wish, txid.to_owned()), Granted { message_id, about });
        }
        let place = self.items;
        let entry = self.messages.entry(row.message_id.clone().into_owned()).or_insert_with(|| {
            let actor_id = row.actor_id.as_deref().unwrap_or_default();
            Entry::new(role, actor_id.to_owned(), place, signals)
        });
        if number(key, &row.message_id) == Some(seq) {
            entry.rows.insert(seq);
        } else if self
            .odd_keys
            .insert(key.to_owned(), row.message_id.clone().into_owned())
            .is_none()
        {
            entry.odd_rows += 1;
        }
        if seq >= entry.next_seq && seq < MAX_SEQ {
            entry.next_seq = seq + 1;
        }
        if let Some(run) = run {
            entry.begin(run);
        }
        if is_peoples(&kind) && by_agent {
            return;
        }
        // Deltas are most of a session and say nothing more than "open": they are not parsed any further.
        if matches!(
            &*kind,
            "TEXT_MESSAGE_CONTENT"
                | "TOOL_CALL_ARGS"
                | "REASONING_MESSAGE_CONTENT"
                | "content"
                | "thinking"
                | "text-delta"
                | "reasoning-delta"
                | "tool-input-delta"
        ) && role == entry.role
        {
            entry.dialect = entry.dialect.or_else(|| Dialect::of(&kind));
            if !entry.stays_failed(&kind, Lifecycle::Open) {
                entry.goes_on(&kind, Lifecycle::Open);
            }
            return;
        }
        let Some(chunk) = chunk_value(&row.chunk) else { return };
        // Answers are written into the assistant's message by somebody else: role `user`.
        let answer = role == Role::User && entry.role == Role::Assistant;
        let signal = answer || signals;
        if !signal {
            entry.dialect = entry.dialect.or_else(|| Dialect::of(&kind));
            if kind == "RUN_STARTED" {
                entry.last_thread = text(&chunk, "threadId");
            }
            let inside = entry.nests(&kind, text(&chunk, "runId"));
            // Of the events that an application makes up, few ask or say something.
            let name = chunk.get("name").and_then(Value::as_str).unwrap_or_default();
            let asks = matches!(name, "approval-requested" | "tool-input-available");
            let says = name.starts_with("structured-output.") || name == "ui-resource";
            let made_up = kind == "CUSTOM" && !asks && !says;
            let after = match lifecycle_after(&kind) {
                _ if made_up => None,
                Some(after) if entry.stays_failed(&kind, after) => None,
                Some(_) if inside => Some(Lifecycle::Open),
                after => after,
            };
            if let Some(after) = after {
                let reason = finish_reason(&chunk).map(FinishReason::of_word);
                // The AI SDK says in the reason that its run failed.
                let failed = after == Lifecycle::Finished && reason == Some(FinishReason::Error);
                let plain = inside || (kind == "CUSTOM" && !asks);
                let kind = if plain { "" } else { &*kind };
                entry.goes_on(kind, if failed { Lifecycle::Failed } else { after });
                if after != Lifecycle::Open {
                    let tools = reason == Some(FinishReason::ToolCalls);
                    let success =
                        chunk.pointer("/outcome/type").is_some_and(|kind| kind == "success");
                    let says = reason.is_some() || success;
                    entry.for_good = after != Lifecycle::Finished || (says && !tools);
                }
                if matches!(kind, "RUN_FINISHED" | "done" | "finish") {
                    entry.wants_tools = match reason {
                        Some(reason) => reason == FinishReason::ToolCalls,
                        // Interrupts name what is waited for.
                        None if chunk.get("outcome").is_some() => false,
                        None if chunk.get("result").is_some() => false,
                        // Says nothing, and may be the server's own end of a run that said it before.
                        None => entry.wants_tools || entry.calls_last,
                    };
                }
            }
        } else if kind == "stop" || kind == "abort" {
            entry.stop();
        }
        self.asks_and_calls(&row.message_id, &kind, &chunk, by_agent, signal);
    }

    fn asks_and_calls(
        &mut self,
        message_id: &str,
        kind: &str,
        chunk: &Value,
        by_agent: bool,
        by_client: bool,
    ) {
        // L15: an agent knows results of its own calls only.
        let told = by_agent.then(|| call_of_result(chunk)).flatten();
        if told.is_some_and(|call| self.tool_call(call, Some(message_id)).is_none()) {
            return;
        }
        match kind {
            "config" => {
                if let Some(title) = text(chunk, "title") {
                    self.title = Some(title);
                }
                if let Some(origin) = chunk.get("forkedFrom") {
                    self.origin = Some(origin.clone());
                }
            }
            "approval-requested" => {
                if let Some(id) = chunk.pointer("/approval/id").and_then(Value::as_str) {
                    self.ask(message_id, id, text(chunk, "toolCallId"));
                }
            }
            // What a rule decides waits for nobody.
            "tool-approval-request" if chunk.get("isAutomatic") != Some(&Value::Bool(true)) => {
                if let Some(id) = text(chunk, "approvalId") {
                    self.ask(message_id, &id, text(chunk, "toolCallId"));
                }
            }
            "CUSTOM" => {
                let value = chunk.get("value").or_else(|| chunk.get("data"));
                let name = chunk.get("name").and_then(Value::as_str);
                match (name, value) {
                    (Some("approval-requested"), Some(value)) => {
                        if let Some(id) = value.pointer("/approval/id").and_then(Value::as_str) {
                            self.ask(message_id, id, text(value, "toolCallId"));
                        }
                    }
                    (Some("tool-input-available"), Some(value)) => {
                        self.client_call(message_id, value);
                    }
                    _ => {}
                }
            }
            "RUN_FINISHED" => self.interrupts(message_id, chunk),
            "approval-response" | "tool-approval" | "tool-approval-response" => {
                if let (Some(id), Some(approved)) =
                    (text(chunk, "approvalId"), chunk.get("approved").and_then(Value::as_bool))
                {
                    self.answer(message_id, id, approved);
                }
            }
            // To the AI SDK every call has its input one day; to TanStack it is the client's to run.
            "tool-input-available"
                if self
                    .messages
                    .get(message_id)
                    .is_some_and(|entry| entry.dialect == Some(Dialect::Legacy)) =>
            {
                self.client_call(message_id, chunk);
            }
            "TOOL_CALL_START" | "TOOL_CALL_CHUNK" | "tool-input-start" | "tool-input-available" => {
                if let Some(id) = text(chunk, "toolCallId") {
                    self.call(message_id, &id);
                    let by_provider = chunk.get("providerExecuted") == Some(&Value::Bool(true));
                    self.call(message_id, &id).by_provider |= by_provider;
                }
            }
            "tool_call" => {
                if let Some(id) = chunk.pointer("/toolCall/id").and_then(Value::as_str) {
                    self.call(message_id, id);
                }
            }
            "TOOL_CALL_RESULT" | "tool_result" => {
                self.result(message_id, chunk, (chunk.get("content"), None), by_client);
            }
            "TOOL_CALL_END" => {
                let id = chunk.get("toolCallId").and_then(Value::as_str).unwrap_or_default();
                let own = self.tool_call(id, Some(message_id)).is_some();
                if let Some(result) = chunk.get("result").filter(|_| own || !by_agent) {
                    self.result(message_id, chunk, (Some(result), None), by_client);
                }
            }
            // A first output is no result yet.
            "tool-output-available" if chunk.get("preliminary") == Some(&Value::Bool(true)) => {}
            "tool-output-available" => {
                self.result(message_id, chunk, (chunk.get("output"), None), by_client);
            }
            // It may be the first that is said of the call.
            "tool-input-error" => {
                if let Some(id) = text(chunk, "toolCallId") {
                    self.call(message_id, &id);
                    self.result(message_id, chunk, (None, chunk.get("errorText")), by_client);
                }
            }
            "tool-output-error" => {
                self.result(message_id, chunk, (None, chunk.get("errorText")), by_client);
            }
            "tool-output-denied" => self.result(message_id, chunk, (None, None), by_client),
            "tool-result" => {
                self.result(message_id, chunk, (chunk.get("output"), chunk.get("error")), true);
            }
            _ => {}
        }
    }

    fn interrupts(&mut self, message_id: &str, chunk: &Value) {
        let interrupts = chunk.pointer("/outcome/interrupts").and_then(Value::as_array);
        for interrupt in interrupts.into_iter().flatten() {
            let Some(id) = text(interrupt, "id") else { continue };
            let call = text(interrupt, "toolCallId");
            let reason = interrupt.get("reason").and_then(Value::as_str).unwrap_or_default();
            let kind = interrupt.pointer("/metadata/kind").and_then(Value::as_str);
            let kind = kind.unwrap_or_default();
            let expires_at = interrupt.get("expiresAt").and_then(Value::as_str);
            let expires_at = expires_at.and_then(parse_time);
            if kind == "approval" || reason == "approval_required" {
                self.ask(message_id, &id, call);
                self.expire(message_id, &id, expires_at);
            } else if let Some(call) = call
                && (kind == "client_tool" || reason == "client_tool_input")
            {
                self.ask_client(message_id, &call).interrupt_id = Some(id);
            } else {
                self.ask(message_id, &id, None); // a question of another kind is answered with yes or no
                self.expire(message_id, &id, expires_at);
            }
        }
    }

    /// Says when a request is withdrawn.
    fn expire(&mut self, message_id: &str, id: &str, expires_at: Option<Timestamp>) {
        let run = self.messages.get(message_id).and_then(Entry::run);
        let mut asks = self.asks.get_mut(id).into_iter().flatten();
        let ask = asks.rfind(|ask| is_in(ask.message_id.as_ref(), message_id));
        if let Some(ask) = ask.filter(|ask| ask.approved.is_none()) {
            ask.expires_at = expires_at;
            ask.run = run.cloned();
            self.expiries.extend(expires_at);
        }
    }

    /// A request. Agents number their approvals anew in every run: one in another message is a new one, and so is one in
    /// the same message behind an answer: for another call, for one that has a result, or in a later run.
    fn ask(&mut self, message_id: &str, id: &str, tool_call_id: Option<String>) {
        let call = tool_call_id.as_deref().and_then(|call| self.tool_call(call, Some(message_id)));
        let is_over = call.is_some_and(|call| call.result.is_some());
        let Some(entry) = self.messages.get_mut(message_id) else { return };
        let asks = self.asks.entry(id.to_owned()).or_default();
        let known = asks.iter().position(|ask| is_in(ask.message_id.as_ref(), message_id));
        let again = known.is_some_and(|at| {
            let ask = &asks[at];
            let another = ask.tool_call_id.is_some() && tool_call_id.is_some();
            let another = another && ask.tool_call_id != tool_call_id;
            let later = ask.run.as_ref() != entry.run();
            ask.approved.is_some() && (another || later || is_over)
        });
        let at = match known {
            Some(at) if !again => at,
            _ => {
                // An answer may have come before its request.
                let early = asks.iter().position(|ask| ask.message_id.is_none());
                let new = early.or(known).map(|at| asks.remove(at)).filter(|_| !again);
                asks.push(new.unwrap_or_default());
                asks.len() - 1
            }
        };
        if known.is_none() {
            entry.asks.push(id.to_owned());
        }
        let ask = &mut asks[at];
        if ask.message_id.is_none() {
            ask.message_id = Some(message_id.to_owned());
            ask.run = entry.run().cloned();
        }
        if let Some(id_of_call) = tool_call_id {
            ask.tool_call_id = Some(id_of_call.clone());
            let call = self.call(message_id, &id_of_call);
            call.approval = Some(id.to_owned());
            // A result that is older than the request does not settle it.
            call.result = None;
        }
    }

    /// An answer, to the request in the same message or else to the newest. The first one wins.
    fn answer(&mut self, row_id: &str, id: String, approved: bool) {
        let asks = self.asks.entry(id.clone()).or_default();
        let ask = meant(asks, |ask| is_in(ask.message_id.as_ref(), row_id));
        if ask.approved.is_some() {
            return;
        }
        ask.approved = Some(approved);
        if let Some(entry) = ask.message_id.as_ref().and_then(|id| self.messages.get_mut(id)) {
            entry.owe(AnswerRef::Approval(id));
        }
    }

    /// A call that the agent says is the client's to run.
    fn client_call(&mut self, message_id: &str, chunk: &Value) {
        if let Some(id) = text(chunk, "toolCallId") {
            self.ask_client(message_id, &id);
        }
    }

    /// A call for the client. One that a later run asks for again waits again.
    fn ask_client(&mut self, message_id: &str, id: &str) -> &mut Call {
        let run = self.messages.get(message_id).and_then(|entry| entry.run().cloned());
        let call = self.call(message_id, id);
        if call.client && call.run != run {
            call.result = None;
        }
        (call.client, call.run) = (true, run);
        call
    }

    /// The call with this id in this message. As with approvals, the same id in another message is another call.
    fn call(&mut self, message_id: &str, id: &str) -> &mut Call {
        let calls = self.calls.entry(id.to_owned()).or_default();
        let known = calls.iter().position(|call| is_in(call.message_id.as_ref(), message_id));
        // A result may have come before its call.
        let known = known.or_else(|| calls.iter().position(|call| call.message_id.is_none()));
        let at = known.unwrap_or_else(|| {
            calls.push(Call::default());
            calls.len() - 1
        });
        if calls[at].message_id.is_none() {
            calls[at].message_id = Some(message_id.to_owned());
            if let Some(entry) = self.messages.get_mut(message_id) {
                entry.add_call(id);
            }
        }
        &mut calls[at]
    }

    /// A result of a tool call, of the one in the same message or else of the newest. One that a client found must still
    /// be told to the agent.
    fn result(
        &mut self,
        row_id: &str,
        chunk: &Value,
        (output, error): (Option<&Value>, Option<&Value>),
        by_client: bool,
    ) {
        let Some(id) = text(chunk, "toolCallId") else { return };
        let calls = self.calls.entry(id.clone()).or_default();
        let call = meant(calls, |call| is_in(call.message_id.as_ref(), row_id));
        if call.result.is_none() {
            call.result = Some(fingerprint(output, error));
        }
        if !by_client {
            let approval = call.approval.clone().map(AnswerRef::Approval);
            let owner = call.message_id.clone();
            if let Some(entry) = owner.and_then(|owner| self.messages.get_mut(&owner)) {
                let known = [approval, Some(AnswerRef::ToolCall(id))];
                known.iter().flatten().for_each(|known| entry.settle(known));
            }
            return;
        }
        let owner = call.message_id.clone().unwrap_or_else(|| row_id.to_owned());
        // Of a finished message only what it asked for goes back to its agent.
        let asked = call.client || call.approval.is_some();
        if let Some(entry) = self.messages.get_mut(&owner)
            && (asked || !entry.is_done())
        {
            entry.owe(AnswerRef::ToolCall(id));
        }
    }

    fn delete_chunk(&mut self, key: &str) {
        let odd = self.odd_keys.remove(key);
        let Some(message_id) = odd.as_deref().or_else(|| Some(key.rsplit_once(':')?.0)) else {
            return;
        };
        let Some(entry) = self.messages.get_mut(message_id) else { return };
        if odd.is_some() {
            entry.odd_rows = entry.odd_rows.saturating_sub(1);
        } else if let Some(seq) = number(key, message_id) {
            entry.rows.remove(seq);
        }
        if !entry.rows.is_empty() || entry.odd_rows > 0 {
            return;
        }
        let Some(entry) = self.messages.remove(message_id) else { return };
        for id in entry.asks {
            if let Some(asks) = self.asks.get_mut(&id) {
                asks.retain(|ask| !is_in(ask.message_id.as_ref(), message_id));
            }
        }
        for id in entry.calls {
            if let Some(calls) = self.calls.get_mut(&id) {
                calls.retain(|call| !is_in(call.message_id.as_ref(), message_id));
            }
        }
        self.deleted.insert(message_id.to_owned());
    }

    /// The message with this id.
    pub(crate) fn message(&self, id: &str) -> Option<&Entry> {
        self.messages.get(id)
    }

    /// The messages that answer a person's message, or the next ones before a person spoke again, and failed with
    /// answers that their agent was told: agent and message.
    pub(crate) fn owed_after(&self, message_id: &str) -> HashMap<String, String> {
        let Some(from) = self.messages.get(message_id).map(|entry| entry.place) else {
            return HashMap::new();
        };
        let spoken = self
            .messages
            .values()
            .filter(|entry| entry.role == Role::User && entry.place > from && !entry.is_signal);
        let until = spoken.map(|entry| entry.place).min().unwrap_or(u64::MAX);
        let owed = self
            .messages
            .iter()
            .filter(|(_, entry)| !entry.owed.is_empty() && (from..until).contains(&entry.place));
        owed.map(|(id, entry)| (entry.actor_id.clone(), id.clone())).collect()
    }

    /// All messages, in no order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.messages.iter()
    }

    /// Keys of rows that exist, of messages that began before an item of the stream; so many at most.
    pub(crate) fn row_keys(&self, before: u64, most: usize) -> Vec<String> {
        let old = |id: &String| self.messages.get(id).is_some_and(|entry| entry.place <= before);
        let odd = self.odd_keys.iter().filter(|(_, id)| old(id)).map(|(key, _)| key.clone());
        let messages = self.messages.iter().filter(|(_, entry)| entry.place <= before);
        let keys = messages
            .flat_map(|(id, entry)| entry.rows.iter().map(move |seq| format!("{id}:{seq}")));
        odd.chain(keys).take(most).collect()
    }

    /// The next sequence number of a message: one after the highest in the stream.
    pub(crate) fn next_seq(&self, message_id: &str) -> u64 {
        self.messages.get(message_id).map_or(0, |entry| entry.next_seq)
    }

    /// The approval with this id, when its request is in the stream: in this message, or else the newest.
    pub(crate) fn approval(&self, id: &str, message_id: Option<&str>) -> Option<&Ask> {
        let here = |ask: &&Ask| match message_id {
            Some(_) => ask.message_id.as_deref() == message_id,
            None => ask.message_id.is_some(),
        };
        self.asks.get(id)?.iter().rfind(here)
    }

    /// Messages in which an approval of this id waits for an answer, the oldest first.
    pub(crate) fn asking(&self, id: &str) -> Vec<String> {
        let asks = self.asks.get(id).into_iter().flatten();
        let messages = asks.filter_map(|ask| ask.message_id.as_ref());
        messages.filter(|message| self.open_asks(message).any(|ask| ask == id)).cloned().collect()
    }

    /// Messages in which a call of this id waits for a result that a client may give, the oldest first.
    pub(crate) fn waiting_for(&self, id: &str) -> Vec<String> {
        let calls = self.calls.get(id).into_iter().flatten();
        let messages = calls.filter_map(|call| call.message_id.as_ref());
        let waits = |message: &&String| {
            self.calls_in(message).any(|(call_id, call)| {
                let theirs = call.client || self.has_open_calls(message);
                call_id == id && theirs && self.is_open(call)
            })
        };
        messages.filter(waits).cloned().collect()
    }

    /// The tool call with this id, when it is in the stream: in this message, or else the newest.
    pub(crate) fn tool_call(&self, id: &str, message_id: Option<&str>) -> Option<&Call> {
        let here = |call: &&Call| match message_id {
            Some(_) => call.message_id.as_deref() == message_id,
            None => call.message_id.is_some(),
        };
        self.calls.get(id)?.iter().rfind(here)
    }

    /// Whether a message still waits: for an answer, or for results of calls that its agent may run itself.
    pub(crate) fn is_waiting(&self, message_id: &str) -> bool {
        self.is_asking(message_id) || self.has_open_calls(message_id)
    }

    /// Whether a message waits for a person or a client, as its agent said: an open approval, or a tool that the client
    /// must run.
    pub(crate) fn is_asking(&self, message_id: &str) -> bool {
        self.open_asks(message_id).next().is_some()
            || self.calls_in(message_id).any(|(_, call)| call.client && self.is_open(call))
    }

    /// Approvals of a message that nobody has answered, unless somebody stopped it.
    pub(crate) fn open_asks<'a>(&'a self, message_id: &'a str) -> impl Iterator<Item = &'a str> {
        let entry = self.messages.get(message_id);
        let entry = entry.filter(|entry| entry.lifecycle != Lifecycle::Stopped).into_iter();
        let asks = entry.flat_map(|entry| &entry.asks);
        let open = asks.filter(move |id| {
            self.approval(id, Some(message_id)).is_some_and(|ask| {
                let call = ask.tool_call_id.as_ref();
                let call = call.and_then(|call| self.tool_call(call, Some(message_id)));
                let open = ask.approved.is_none() && !ask.is_withdrawn();
                open && call.is_none_or(|call| call.result.is_none())
            })
        });
        open.map(String::as_str)
    }

    /// Requests of a message's last run that nobody answered in time, and their calls.
    pub(crate) fn withdrawn<'a>(
        &'a self,
        message_id: &'a str,
    ) -> impl Iterator<Item = (&'a String, Option<&'a String>)> {
        let entry = self.messages.get(message_id).into_iter();
        entry.flat_map(move |entry| {
            entry.asks.iter().filter_map(move |id| {
                let ask = self.approval(id, Some(message_id))?;
                let is_last = ask.run.as_ref() == entry.run();
                (is_last && ask.is_withdrawn()).then_some((id, ask.tool_call_id.as_ref()))
            })
        })
    }

    /// When the next request is withdrawn.
    pub(crate) fn expires_next(&self) -> Option<Timestamp> {
        self.expiries.first().copied()
    }

    /// Whether requests were withdrawn since this was asked last.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> bool {
        let mut expired = false;
        while self.expiries.first().is_some_and(|end| *end <= now) {
            self.expiries.pop_first();
            expired = true;
        }
        expired
    }

    /// Whether the last turn of a message ended for calls of which nobody said who runs them: the agent itself, which then
    /// goes on in the same response, or the client.
    pub(crate) fn has_open_calls(&self, message_id: &str) -> bool {
        let Some(entry) = self.messages.get(message_id) else { return false };
        let mut calls = self.calls_in(message_id).skip(entry.passed);
        entry.wants_tools
            && calls.any(|(_, call)| {
                let theirs = call.by_provider || call.client || call.approval.is_some();
                !theirs && self.is_open(call)
            })
    }

    /// Calls of a message in order, unless somebody stopped it.
    fn calls_in<'a>(&'a self, message_id: &'a str) -> impl Iterator<Item = (&'a String, &'a Call)> {
        let entry = self.messages.get(message_id);
        let entry = entry.filter(|entry| entry.lifecycle != Lifecycle::Stopped).into_iter();
        let calls = entry.flat_map(|entry| &entry.calls);
        calls.filter_map(move |id| Some((id, self.tool_call(id, Some(message_id))?)))
    }

    fn is_open(&self, call: &Call) -> bool {
        let ask = call.approval.as_ref();
        let ask = ask.and_then(|id| self.approval(id, call.message_id.as_deref()));
        call.result.is_none() && ask.is_none_or(|ask| ask.approved != Some(false))
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
        self.title.as_deref()
    }

    /// The session that this one is a copy of.
    pub(crate) fn origin(&self) -> Option<&Value> {
        self.origin.as_ref()
    }

    /// Items of the stream so far.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Presence rows by key.
    pub(crate) fn presence(&self) -> &BTreeMap<String, Value> {
        &self.presence
    }

    /// Whether the transaction id of a wish is in the stream, wherever.
    pub(crate) fn shows(&self, wish: Wish, txid: &str) -> bool {
        self.txids.contains_key(&(wish, txid.to_owned())) || self.acks.contains_key(txid)
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
        let Some(txid) = txid else { return Ok(None) };
        let about = hash(wish.about(thing));
        match self.txids.get(&(wish, txid.to_owned())) {
            Some(granted) if granted.about == about => Ok(Some(&granted.message_id)),
            Some(_) => Err(TxidUsed),
            None => match self.acks.get(txid) {
                Some(known) if !known.is_empty() && !known.contains(&about) => Err(TxidUsed),
                _ => Ok(None),
            },
        }
    }

    /// The message that a client's transaction id was written into, for a wish of this kind.
    pub(crate) fn by_txid(&self, wish: Wish, txid: &str) -> Option<&str> {
        self.txids.get(&(wish, txid.to_owned())).map(|granted| granted.message_id.as_str())
    }

    /// Whether there was a message with this id, which was deleted.
    pub(crate) fn was_deleted(&self, message_id: &str) -> bool {
        !self.messages.contains_key(message_id) && self.deleted.contains(message_id)
    }
}

/// The transaction id of a wish was used for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TxidUsed;

fn hash(text: impl AsRef<str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.as_ref().hash(&mut hasher);
    hasher.finish()
}

/// Compares two results of a tool call without keeping them.
pub(crate) fn fingerprint(output: Option<&Value>, error: Option<&Value>) -> u64 {
    fn plain(value: Option<&Value>) -> String {
        match value {
            None => Value::Null.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
    let mut hasher = DefaultHasher::new();
    let failed = error.filter(|error| !error.is_null() && *error != "");
    plain(failed.or(output)).hash(&mut hasher);
    hasher.finish()
}

/// The one that is `here`, else the newest, else one that is not known yet.
fn meant<T: Default>(all: &mut Vec<T>, here: impl FnMut(&T) -> bool) -> &mut T {
    let here = all.iter().position(here);
    if all.is_empty() {
        all.push(T::default());
    }
    let newest = all.len() - 1;
    &mut all[here.unwrap_or(newest)]
}

/// The sequence number that a key gives a row of this message, when it is the usual one.
fn number(key: &str, message_id: &str) -> Option<u64> {
    let digits = key.strip_prefix(message_id)?.strip_prefix(':')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

fn is_in(owner: Option<&String>, message_id: &str) -> bool {
    owner.is_some_and(|owner| owner == message_id)
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn finish_reason(chunk: &Value) -> Option<&str> {
    chunk
        .get("finishReason")
        .or_else(|| chunk.pointer("/metadata/tanstack/finishReason"))
        .and_then(Value::as_str)
}

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
