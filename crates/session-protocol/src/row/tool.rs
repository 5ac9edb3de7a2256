use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::ApprovalOption;

/// How far a tool call is. The states of all dialects as one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS,
)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum ToolState {
    /// Named, no argument yet.
    #[default]
    Started,
    /// Arguments are arriving.
    Streaming,
    /// Arguments are complete.
    Ready,
    /// Waits for a person's approval.
    Waiting,
    /// Approved, has not run yet.
    Answered,
    /// Has a result.
    Done,
    /// Failed.
    Failed,
    /// A person said no.
    Denied,
}

/// The approval of a call, as shown on the call.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct PartApproval {
    /// The id an answer names.
    pub id: String,
    /// The answer, `None` while nobody has answered.
    pub approved: Option<bool>,
    /// Who answered.
    pub responded_by: Option<String>,
    /// Why it is asked, as the agent claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub reason: Option<String>,
    /// When it was answered, as on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub responded_at: Option<String>,
    /// The answers that the agent offers, in its order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub options: Option<Vec<ApprovalOption>>,
    /// The id of the option that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub option_id: Option<String>,
    /// Words of the answer. Where no person answered: `cancelled` or `lapsed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub said: Option<String>,
}

impl fmt::Debug for PartApproval {
    // L11: what was said is a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartApproval")
            .field("id", &self.id)
            .field("approved", &self.approved)
            .field("responded_by", &self.responded_by)
            .field("option_id", &self.option_id)
            .finish_non_exhaustive()
    }
}

/// A tool call inside a message.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ToolCallPart {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The argument text so far; JSON when complete.
    pub arguments: String,
    /// The parsed arguments, once complete and valid.
    pub input: Option<Value>,
    /// How far it is.
    pub state: ToolState,
    /// The result.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// The call's approval, when one was asked for.
    pub approval: Option<PartApproval>,
    /// The words to show instead of its name, as the agent claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub title: Option<String>,
    /// The result is a first one, which a later one will replace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(type = "boolean", optional)]
    pub preliminary: bool,
    /// Details that its agent says beside: `kind`, `status`, `locations`, `content` (patches), `exit`, and while it
    /// runs its `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub details: Option<Value>,
    /// The subagent whose call it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub subagent: Option<String>,
}

impl fmt::Debug for ToolCallPart {
    // L11: arguments and results are a person's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCallPart")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("approval", &self.approval)
            .finish_non_exhaustive()
    }
}

/// A row of the tool call collection: a call and where it is.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ToolCall {
    /// The call.
    #[serde(flatten)]
    pub call: ToolCallPart,
    /// The message that holds it.
    pub message_id: String,
    /// The actor of that message.
    pub actor_id: Option<String>,
    /// The message's `createdAt`.
    pub created_at: Option<String>,
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall")
            .field("call", &self.call)
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}
