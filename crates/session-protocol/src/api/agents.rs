//! The agents of a session.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Method, Request, path};
use crate::AgentSpec;

/// Registers agents; one with the same id is replaced.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisterAgents {
    /// The agents.
    pub agents: Vec<AgentSpec>,
}

impl Request for RegisterAgents {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::AGENTS;
}

/// The agents of a session, without their headers and templates.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct AgentList {
    /// The row of each in the stream, with its `id`.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub agents: Vec<Value>,
}
