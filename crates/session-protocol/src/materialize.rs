//! The collections of a whole log at once, as `threadkeep materialize` prints them.
//!
//! Parts are printed under the names they have on the wire (`source-url`, `data-<name>`, an unknown
//! part as it was written), so that the output can be laid beside what other readers make of the log.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::fold::SessionFold;
use crate::row::{
    ActiveGeneration, Agent, Approval, Message, Part, Presence, SessionStats, SourceKind, ToolCall,
    parse_time,
};

/// Every collection of a session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaterializedSession {
    /// The messages that are shown, in order.
    #[serde(serialize_with = "on_the_wire")]
    pub messages: Vec<Message>,
    /// Ids of messages that only carry signals.
    pub hidden_messages: Vec<String>,
    /// All tool calls, in order.
    pub tool_calls: Vec<ToolCall>,
    /// All approvals, oldest request first.
    pub approvals: Vec<Approval>,
    /// Approvals that nobody has answered.
    pub pending_approvals: Vec<Approval>,
    /// Messages being generated at the newest `createdAt` of the input.
    pub active_generations: Vec<ActiveGeneration>,
    /// Who is online.
    pub presence: Vec<Presence>,
    /// Registered agents.
    pub agents: Vec<Agent>,
    /// Figures.
    pub session_stats: SessionStats,
    /// Items left out because they were malformed.
    pub skipped: u64,
}

/// Folds a whole log. The clock is the newest `createdAt` in it.
pub fn materialize(items: &[Value]) -> MaterializedSession {
    let mut fold = SessionFold::new("");
    fold.apply(items.iter().map(Value::to_string), &mut ());
    let now = items.iter().filter_map(created_at).max().unwrap_or(Timestamp::UNIX_EPOCH);
    MaterializedSession {
        messages: fold.messages().filter(|m| !m.hidden).map(shown).collect(),
        hidden_messages: fold.messages().filter(|m| m.hidden).map(|m| m.id.clone()).collect(),
        tool_calls: fold.tool_calls(),
        approvals: fold.approvals(),
        pending_approvals: fold.pending_approvals(now),
        active_generations: fold.active_generations(now),
        presence: fold.presence(now),
        agents: fold.agents(),
        session_stats: fold.stats(now),
        skipped: fold.skipped(),
    }
}

/// The message under the id upstream shows.
fn shown(message: &Message) -> Message {
    Message { id: message.shown_id().to_owned(), inner_id: None, ..message.clone() }
}

/// Messages whose parts have the names of the wire.
fn on_the_wire<S: Serializer>(messages: &[Message], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(messages.iter().map(|message| {
        let mut printed = serde_json::to_value(message).unwrap_or_default();
        if let Some(Value::Array(parts)) = printed.get_mut("parts") {
            for (part, printed) in message.parts.iter().zip(parts) {
                rename(part, printed);
            }
        }
        printed
    }))
}

fn rename(part: &Part, printed: &mut Value) {
    let name = match part {
        Part::Source(source) => match source.kind {
            SourceKind::Url => "source-url".to_owned(),
            SourceKind::Document => "source-document".to_owned(),
        },
        // A part of a type that we do not draw holds itself.
        Part::Data { name, data: Value::Object(own), .. }
            if own.get("type").and_then(Value::as_str) == Some(name) =>
        {
            *printed = Value::Object(own.clone());
            return;
        }
        Part::File(file) if file.reasoning => "reasoning-file".to_owned(),
        Part::Data { name, .. } if name == "ui-resource" => name.clone(),
        Part::Data { name, .. } => format!("data-{name}"),
        _ => return,
    };
    if let Some(fields) = printed.as_object_mut() {
        Map::insert(fields, "type".to_owned(), Value::String(name));
    }
}

/// The time of an item: of its row, or of the row it is.
fn created_at(item: &Value) -> Option<Timestamp> {
    let at = item.get("value").and_then(|value| value.get("createdAt"));
    parse_time(at.or_else(|| item.get("createdAt"))?.as_str()?)
}
