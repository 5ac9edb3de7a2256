//! The collections of a whole log at once, as `threadkeep materialize` prints them.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::fold::SessionFold;
use crate::row::{
    ActiveGeneration, Agent, Approval, Message, Presence, SessionStats, ToolCall, parse_time,
};

/// Every collection of a session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaterializedSession {
    /// The messages that are shown, in order.
    pub messages: Vec<Message>,
    /// Ids of messages that only carry signals.
    pub hidden_messages: Vec<String>,
    /// All tool calls, in order.
    pub tool_calls: Vec<ToolCall>,
    /// All approvals, oldest request first.
    pub approvals: Vec<Approval>,
    /// Those nobody has answered.
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
        pending_approvals: fold.pending_approvals(),
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

/// The time of an item: of its row, or of the row it is.
fn created_at(item: &Value) -> Option<Timestamp> {
    let at = item.get("value").and_then(|value| value.get("createdAt"));
    parse_time(at.or_else(|| item.get("createdAt"))?.as_str()?)
}
