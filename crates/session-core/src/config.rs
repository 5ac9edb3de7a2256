//! What an engine is started with.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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

/// How much an engine takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many sessions are followed at most beside those that a window shows: first those with
    /// something to send, then those that wait for an approval, then the most recent. Each has one
    /// connection to the server.
    pub background: usize,
    /// How long a session that is not followed stays in memory after it was last asked for.
    pub rest_after: Duration,
}

impl Default for Limits {
    /// 20 sessions in the background, half a minute.
    fn default() -> Self {
        Self { background: 20, rest_after: Duration::from_secs(30) }
    }
}

/// How much an engine has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Sessions that are followed, each on a connection of its own.
    pub followed: usize,
    /// Sessions in memory, the followed ones among them.
    pub in_memory: usize,
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
