use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// How an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum ApprovalStatus {
    /// Nobody has answered and the call has neither run nor been refused.
    Pending,
    /// Answered with yes, or the call ran without a recorded answer.
    Approved,
    /// Answered with no, or the call was refused, or its message was stopped before anybody answered.
    Denied,
}

/// An answer that an agent offers to its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ApprovalOption {
    /// The id that an answer names.
    pub option_id: String,
    /// The words to show: the agent's own words, which say how far it reaches.
    pub name: String,
    /// `allow_once`, `allow_always`, `reject_once`, `reject_always`, or another word of the agent's.
    pub kind: String,
}

impl ApprovalOption {
    /// Whether it says yes.
    pub fn allows(&self) -> bool {
        self.kind.starts_with("allow")
    }

    /// Whether its agent forgets it when it was used.
    pub fn is_once(&self) -> bool {
        self.kind.ends_with("_once")
    }

    /// The option that a plain yes or no means: the first of that side which holds once. Nothing that lasts is ever
    /// chosen for somebody.
    pub fn plain(options: &[Self], approved: bool) -> Option<&Self> {
        options.iter().find(|option| option.allows() == approved && option.is_once())
    }
}

/// A request of an agent to be allowed a tool call.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Approval {
    /// The id an answer names. An interrupt's id when the request was an interrupt.
    pub id: String,
    /// The call that waits; empty for a question that is about no call.
    pub tool_call_id: String,
    /// The message that holds the request; an answer is best written there.
    pub message_id: String,
    /// The tool's name, empty when unknown.
    pub tool_name: String,
    /// The call's arguments as far as the request names them.
    pub input: Option<Value>,
    /// Pending, approved or denied. The first answer wins.
    pub status: ApprovalStatus,
    /// The actor whose message asks.
    pub requested_by: Option<String>,
    /// When it was asked, as on the wire.
    pub requested_at: Option<String>,
    /// The actor who answered.
    pub responded_by: Option<String>,
    /// When it was answered, as on the wire.
    pub responded_at: Option<String>,
    /// The words of a question, which is about no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub question: Option<String>,
    /// When the request is withdrawn, as on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub expires_at: Option<String>,
    /// The answers that the agent offers, in its order. A request that has them is answered inside the run that asks,
    /// and by one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub options: Option<Vec<ApprovalOption>>,
    /// The id of the option that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub option_id: Option<String>,
    /// Why it was denied, where no person did: `cancelled` or `lapsed`. Else what a person said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub reason: Option<String>,
}

impl Approval {
    /// Whether it is withdrawn at `now`.
    pub fn is_expired(&self, now: jiff::Timestamp) -> bool {
        self.expires_at.as_deref().and_then(super::parse_time).is_some_and(|end| end <= now)
    }
}

impl fmt::Debug for Approval {
    // L11: the input is a person's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approval")
            .field("id", &self.id)
            .field("tool_call_id", &self.tool_call_id)
            .field("message_id", &self.message_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
