use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// An agent registered in the session (the four public fields; secrets never enter the stream).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Agent {
    /// The agent's id, the key of its row.
    pub agent_id: String,
    /// The agent's display name.
    pub name: Option<String>,
    /// Where it is called: a URL, or `builtin:…` for agents inside the session server.
    pub endpoint: Option<String>,
    /// The messages that it reacts to: `all` or `user-messages`.
    pub triggers: Option<String>,
    /// The model it says it uses.
    pub model: Option<String>,
    /// Somebody who may not manage the session brought it along: its name is a claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(type = "boolean", optional)]
    pub guest: bool,
}

impl fmt::Debug for Agent {
    // L11: an endpoint may carry a key in its query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("agent_id", &self.agent_id).finish_non_exhaustive()
    }
}
