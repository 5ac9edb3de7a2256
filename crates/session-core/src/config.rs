//! Configuration of an engine.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
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

/// Configuration of an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Folder of the database; made when it is not there. One engine for each folder.
    pub data_dir: PathBuf,
    /// The person.
    pub actor: Actor,
    /// Id of this installation, the same after a restart.
    pub device_id: String,
    /// The servers of sessions in a database that was written before there were several servers.
    /// Asked at most once for each database.
    pub inherit: Inherit,
}

/// Tells where the sessions of an old database belong.
#[derive(Clone, Default)]
pub struct Inherit(Option<Arc<dyn Fn() -> Inherited + Send + Sync>>);

impl Inherit {
    /// An answer that is made when it is needed.
    pub fn new(ask: impl Fn() -> Inherited + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    pub(crate) fn ask(&self) -> Inherited {
        self.0.as_ref().map(|ask| ask()).unwrap_or_default()
    }
}

impl fmt::Debug for Inherit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inherit").finish_non_exhaustive()
    }
}

/// The servers of an old database's sessions: without an address, all are on this computer.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    /// The address of the server that was used last.
    pub url: Option<String>,
    /// The sessions, by their ids there, that the server inside this computer has. All others
    /// belong to the server of that address.
    pub here: HashSet<String>,
}

/// Limits of what an engine takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of sessions that are followed at most beside those that a window shows: first those
    /// with something to send, then a few that the server's list knows to have changed, then those
    /// that wait for an approval, then the most recent. Each has one connection to its server;
    /// among equals the servers take turns.
    pub background: usize,
    /// Time that a session that is not followed stays in memory after it was last asked for.
    pub rest_after: Duration,
    /// Time that a window shows a session before the others in it are told that the person is
    /// there: a glance leaves no row in the log.
    pub arrive_after: Duration,
    /// Time that no window shows a session before the others are told that the person has left.
    pub leave_after: Duration,
}

impl Default for Limits {
    /// 20 sessions in the background, half a minute in memory, 2 seconds to arrive and 10 to leave.
    fn default() -> Self {
        Self {
            background: 20,
            rest_after: Duration::from_secs(30),
            arrive_after: Duration::from_secs(2),
            leave_after: Duration::from_secs(10),
        }
    }
}

/// Numbers of what an engine has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Sessions that are followed, each on a connection of its own.
    pub followed: usize,
    /// Sessions in memory, the followed ones among them.
    pub in_memory: usize,
}

/// A session to make.
#[derive(Clone)]
pub struct NewSession {
    /// The server it will live on, by its id.
    pub server: String,
    /// The title; without one the session is called after its first message.
    pub title: Option<String>,
    /// The agents that answer in it.
    pub agents: Vec<session_protocol::AgentSpec>,
    /// The first message. Session and message are made together, or neither is.
    pub first: Option<FirstMessage>,
}

/// The message that a session begins with.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstMessage {
    /// The message's id.
    pub id: uuid::Uuid,
    /// Text of the message.
    pub text: String,
    /// Files that are attached to it.
    pub files: Vec<session_protocol::FilePart>,
}

impl fmt::Debug for FirstMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstMessage").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Default for NewSession {
    /// A session on this computer, without title and agents.
    fn default() -> Self {
        let server = crate::address::THIS_COMPUTER.to_owned();
        Self { server, title: None, agents: vec![], first: None }
    }
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("agents", &self.agents).finish_non_exhaustive()
    }
}
