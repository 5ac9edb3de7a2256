use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Tokens, the shapes of all dialects as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Usage {
    /// Tokens read.
    #[ts(type = "number")]
    pub prompt_tokens: u64,
    /// Tokens written.
    #[ts(type = "number")]
    pub completion_tokens: u64,
    /// Both, as the writer says it or as their sum.
    #[ts(type = "number")]
    pub total_tokens: u64,
}

impl Usage {
    /// Adds another usage, saturating.
    pub fn add(&mut self, other: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        self.total_tokens = self.total_tokens.saturating_add(other.total_tokens);
    }
}

/// Figures of the whole session. Messages that only carry signals are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SessionStats {
    /// The session.
    pub session_id: String,
    /// Messages that are shown.
    #[ts(type = "number")]
    pub message_count: u64,
    /// Number of messages of people.
    #[ts(type = "number")]
    pub user_message_count: u64,
    /// Number of messages of agents.
    #[ts(type = "number")]
    pub assistant_message_count: u64,
    /// Tool calls.
    #[ts(type = "number")]
    pub tool_call_count: u64,
    /// Approvals ever asked for.
    #[ts(type = "number")]
    pub approval_count: u64,
    /// Tokens, all together.
    #[ts(type = "number")]
    pub total_tokens: u64,
    /// Tokens read.
    #[ts(type = "number")]
    pub prompt_tokens: u64,
    /// Tokens written.
    #[ts(type = "number")]
    pub completion_tokens: u64,
    /// Messages being generated.
    #[ts(type = "number")]
    pub active_generation_count: u64,
    /// The smallest `createdAt`.
    pub first_message_at: Option<String>,
    /// The greatest `createdAt`.
    pub last_message_at: Option<String>,
}
