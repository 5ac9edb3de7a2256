//! Bridges: a program elsewhere runs an agent of a session, as if the server ran it.
//!
//! The agent is registered under an endpoint that begins with [`BRIDGE`]. Its bridge asks for work and hears of it in
//! order: prompts, answers to what the agent asked, stops. It sends what the agent says. The server plans the runs,
//! queues them, and says who may say what; it ends a run whose bridge is silent.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Method, Request, path};
use crate::Role;

/// Endpoints of agents that a bridge runs begin with this.
pub const BRIDGE: &str = "bridge:";

/// Asks for what a bridged agent has to do; answered with [`BridgeWork`] when there is something, or after a while.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskForWork {
    /// The bridge: an id of its own choice. Another one is refused with 409 while this one asks.
    pub bridge: String,
    /// Number of the last event that it has heard; 0 when it begins. Those up to it are not told again, and a run whose
    /// prompt an earlier life of it heard is lost.
    #[serde(default)]
    pub after: u64,
}

impl Request for AskForWork {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::BRIDGE_WORK;
}

/// Work of a bridged agent, in its order.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BridgeWork {
    /// Number of the last of the events.
    pub last: u64,
    /// The events.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub events: Vec<BridgeEvent>,
}

/// Something that a bridge hears.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum BridgeEvent {
    /// The agent has something to answer.
    Prompt {
        /// The run.
        run_id: String,
        /// The message that the run writes.
        message_id: String,
        /// Why it begins: `message`, `again`, `reply` (of another agent) or `answers`.
        cause: String,
        /// The newest messages that fit; the last one is to be answered.
        messages: Vec<BridgeMessage>,
    },
    /// Somebody answered what the run asked.
    Answer {
        /// The run.
        run_id: String,
        /// The request's id.
        approval_id: String,
        /// Yes or no.
        approved: bool,
        /// The option that was chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        option_id: Option<String>,
    },
    /// The run was stopped: nothing of it is taken any more.
    Stop {
        /// The run.
        run_id: String,
    },
}

impl fmt::Debug for BridgeEvent {
    // L11: words of people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt { run_id, .. } => write!(f, "Prompt({run_id})"),
            Self::Answer { run_id, .. } => write!(f, "Answer({run_id})"),
            Self::Stop { run_id } => write!(f, "Stop({run_id})"),
        }
    }
}

/// A message, as a bridge is told it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeMessage {
    /// The message's id.
    pub id: String,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// As what.
    pub role: Role,
    /// The words.
    pub text: String,
    /// Whether it was cut off before its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Words of a bridged agent. Repeated with the same `number` it changes nothing.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeOutput {
    /// The bridge.
    pub bridge: String,
    /// The run. One that is over, or was stopped, is answered with 409.
    pub run_id: String,
    /// Number of this output in its run, from 1.
    pub number: u64,
    /// Chunks of the answer, in their order.
    #[serde(default, deserialize_with = "super::nullable", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub chunks: Vec<Value>,
    /// Requests that the agent takes back: their ids, each with the reason.
    #[serde(default, deserialize_with = "super::nullable", skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<(String, String)>,
    /// `options` and `commands` of the agent, when they are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub face: Option<Value>,
    /// The agent's word for the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The run is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<BridgeEnd>,
}

impl Request for BridgeOutput {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::BRIDGE_OUTPUT;
}

/// The end of a run of a bridged agent; without a code it ended well.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeEnd {
    /// Why it failed, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence for people that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl fmt::Debug for BridgeOutput {
    // L11: words of an agent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BridgeOutput({}, {}, {} chunks)", self.run_id, self.number, self.chunks.len())
    }
}
