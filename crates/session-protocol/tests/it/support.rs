//! Building streams and reading results.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use session_protocol::fold::StoredBrief;
use session_protocol::{
    ChangeSet, FoldState, MaterializedSession, Message, MessageChange, MessageLoader, Part,
    SessionFold, StoredMessage, ToolCallPart, materialize,
};

/// A chunk row; its time is one second per position from a fixed start.
pub(crate) fn chunk(id: &str, actor: &str, role: &str, seq: i64, inner: &Value) -> Value {
    chunk_at(id, actor, role, seq, inner, seq.unsigned_abs())
}

pub(crate) fn chunk_at(
    id: &str,
    actor: &str,
    role: &str,
    seq: i64,
    inner: &Value,
    second: u64,
) -> Value {
    json!({"type": "chunk", "key": format!("{id}:{seq}"), "value": {
        "messageId": id, "actorId": actor, "role": role, "chunk": inner.to_string(), "seq": seq,
        "createdAt": format!("2026-03-01T10:{:02}:{:02}.000Z", second / 60 % 60, second % 60),
    }, "headers": {"operation": "insert"}})
}

/// The chunks of one assistant message.
pub(crate) fn assistant(id: &str, chunks: &[Value]) -> Vec<Value> {
    chunks
        .iter()
        .enumerate()
        .map(|(seq, inner)| {
            chunk(id, "kermit", "assistant", i64::try_from(seq).expect("small"), inner)
        })
        .collect()
}

/// A person's whole message.
pub(crate) fn said(id: &str, text: &str) -> Value {
    chunk(
        id,
        "alice",
        "user",
        0,
        &json!({"type": "whole-message", "message": {
        "id": id, "role": "user", "parts": [{"type": "text", "content": text}]}}),
    )
}

/// A row of any type.
pub(crate) fn row(type_: &str, key: &str, operation: &str, value: Value) -> Value {
    let mut row = json!({"type": type_, "key": key, "headers": {"operation": operation}});
    if !value.is_null() {
        row["value"] = value;
    }
    row
}

pub(crate) fn folded(events: &[Value]) -> MaterializedSession {
    materialize(events)
}

/// The one assistant message of a list of chunks.
pub(crate) fn answer(chunks: &[Value]) -> Message {
    let session = folded(&assistant("a1", chunks));
    session.messages.into_iter().next().expect("one message")
}

/// Parts in short: `text:…`, `think:…`, `tool:id:state`, `other:type`.
pub(crate) fn parts(message: &Message) -> Vec<String> {
    message.parts.iter().map(short).collect()
}

fn short(part: &Part) -> String {
    match part {
        Part::Text { text, .. } => format!("text:{text}"),
        Part::Reasoning { text, .. } => format!("think:{text}"),
        Part::ToolCall(call) => {
            let state = serde_json::to_value(call.state).expect("a word");
            format!("tool:{}:{}", call.id, state.as_str().unwrap_or_default())
        }
        Part::File(file) => format!("file:{}", file.url),
        Part::Source(source) => format!("source:{}", source.id),
        Part::Data { name, data, .. } => format!("data:{name}:{data}"),
        Part::StructuredOutput { status, raw, .. } => format!("structured:{status:?}:{raw}"),
        Part::StepStart => "step".to_owned(),
        Part::SteeringMessage { text, .. } => format!("steering:{text}"),
        Part::Subagent(subagent) => format!("subagent:{}:{:?}", subagent.id, subagent.state),
        Part::Activity(card) => format!("card:{}:{}", card.kind, card.content),
        Part::Question(question) => {
            format!("question:{}:{:?}", question.approval.id, question.approval.approved)
        }
    }
}

pub(crate) fn call<'m>(message: &'m Message, id: &str) -> &'m ToolCallPart {
    message
        .parts
        .iter()
        .find_map(|part| match part {
            Part::ToolCall(call) if call.id == id => Some(call),
            _ => None,
        })
        .expect("the call is in the message")
}

/// A store that does what the documentation of `ChangeSet` says.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) messages: BTreeMap<String, Message>,
    logs: HashMap<String, Vec<String>>,
    pub(crate) state: FoldState,
}

impl Store {
    pub(crate) fn commit(&mut self, changes: &ChangeSet, fold: &SessionFold) {
        if changes.reset {
            self.messages.clear();
            self.logs.clear();
            self.state.clear();
        }
        for id in &changes.removed {
            self.messages.remove(id);
            self.logs.remove(id);
        }
        for entry in &changes.log {
            let log = self.logs.entry(entry.message_id.to_string()).or_default();
            log.push(entry.raw.to_string());
        }
        for change in &changes.messages {
            match fold.message(change.id()) {
                Some(message) => {
                    self.messages.insert(message.id.clone(), message.clone());
                }
                None => {
                    self.messages.remove(change.id());
                }
            }
        }
        for row in &changes.rows {
            self.state.put(row.clone());
        }
    }
}

impl MessageLoader for Store {
    fn load(&mut self, message_id: &str) -> Option<StoredMessage> {
        self.logs.get(message_id).map(|log| StoredMessage { log: log.clone() })
    }

    fn briefs(&mut self) -> Vec<StoredBrief> {
        self.messages
            .values()
            .map(|message| StoredBrief {
                id: message.id.clone(),
                position: message.position,
                created_at: message.created_at.clone(),
                role: message.role,
                hidden: message.hidden,
            })
            .collect()
    }
}

/// A reader that follows change sets as a window does.
#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) messages: BTreeMap<String, Message>,
}

impl Replica {
    pub(crate) fn follow(&mut self, changes: &ChangeSet, fold: &SessionFold) {
        if changes.reset {
            self.messages.clear();
        }
        for change in &changes.messages {
            match change {
                MessageChange::Inserted { id } | MessageChange::Replaced { id } => {
                    if let Some(message) = fold.message(id) {
                        self.messages.insert(id.clone(), message.clone());
                    }
                }
                MessageChange::Removed { id } => {
                    self.messages.remove(id);
                }
                MessageChange::AppendText { id, part, text } => {
                    let message = self.messages.get_mut(id).expect("known message");
                    match &mut message.parts[*part] {
                        Part::Text { text: so_far, .. } | Part::Reasoning { text: so_far, .. } => {
                            so_far.push_str(text);
                        }
                        Part::ToolCall(call) => call.arguments.push_str(text),
                        Part::StructuredOutput { raw, .. } => raw.push_str(text),
                        other => panic!("text for {other:?}"),
                    }
                }
                MessageChange::SetPart { id, part } => {
                    let Some(now) = fold.message(id) else { continue };
                    let Some(value) = now.parts.get(*part) else { continue };
                    let message = self.messages.get_mut(id).expect("known message");
                    if *part == message.parts.len() {
                        message.parts.push(value.clone());
                    } else {
                        message.parts[*part] = value.clone();
                    }
                }
                MessageChange::Meta { id } => {
                    let Some(now) = fold.message(id) else { continue };
                    let message = self.messages.get_mut(id).expect("known message");
                    let parts = std::mem::take(&mut message.parts);
                    *message = Message { parts, ..now.clone() };
                }
            }
        }
    }
}

/// Everything but what change sets do not carry.
pub(crate) fn timeless(message: &Message) -> Message {
    Message { last_chunk_at: None, ..message.clone() }
}

/// Calls in short: `id:name:input:state:output`, the input with its fields in order.
pub(crate) fn calls(message: &Message) -> Vec<String> {
    let calls = message.parts.iter().filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    });
    calls
        .map(|call| {
            let mut input = call.input.clone().unwrap_or_default();
            input.sort_all_objects();
            let state = serde_json::to_value(call.state).expect("a word");
            let output = call.output.clone().unwrap_or_default();
            format!(
                "{}:{}:{input}:{}:{output}",
                call.id,
                call.name,
                state.as_str().unwrap_or_default()
            )
        })
        .collect()
}
