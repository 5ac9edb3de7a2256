//! The collections of a whole log at once, as `threadkeep materialize` prints them.

use serde::Serialize;
use serde_json::Value;

use crate::fold::SessionFold;
use crate::row::{ActiveGeneration, Agent, Approval, Message, Presence, SessionStats, ToolCall};

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

/// Folds a whole log.
pub fn materialize(items: &[Value]) -> MaterializedSession {
    let mut fold = SessionFold::new("");
    let raw: Vec<String> = items.iter().map(Value::to_string).collect();
    fold.apply(raw, &mut ());
    let now = jiff::Timestamp::UNIX_EPOCH;
    MaterializedSession {
        messages: fold.messages().filter(|m| !m.hidden).cloned().collect(),
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
