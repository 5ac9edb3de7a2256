//! What an engine is started with.

use std::fmt;
use std::path::PathBuf;

/// The person who uses this engine.
#[derive(Clone, PartialEq, Eq)]
pub struct Actor {
    /// A stable id, the same on all of this person's devices.
    pub id: String,
    /// The name others see.
    pub name: String,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where the database lives; made when it is not there. One engine for each directory.
    pub data_dir: PathBuf,
    /// The person.
    pub actor: Actor,
    /// This installation, the same after a restart.
    pub device_id: String,
}

/// A session to make.
#[derive(Clone, Default)]
pub struct CreateSession {
    /// Its title; without one it is called after its first message.
    pub title: Option<String>,
    /// The agents that answer in it.
    pub agents: Vec<session_protocol::AgentSpec>,
}

impl fmt::Debug for CreateSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSession").field("agents", &self.agents).finish_non_exhaustive()
    }
}
