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
    /// Where the database lives; made when it is not there. One engine for each directory.
    pub data_dir: PathBuf,
    /// The person.
    pub actor: Actor,
    /// Id of this installation, the same after a restart.
    pub device_id: String,
    /// Where the sessions of a database belong that was written before there were several servers.
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

/// Where the sessions of an old database belong: without an address, all to this computer.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    /// The address of the server that was used last.
    pub url: Option<String>,
    /// The sessions, by their ids there, that the server inside this computer has. All others belong
    /// to the server of that address.
    pub here: HashSet<String>,
}

/// How much an engine takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many sessions are followed at most beside those that a window shows: first those with
    /// something to send, then those that wait for an approval, then the most recent. Each has one
    /// connection to its server; among equals the servers take turns.
    pub background: usize,
    /// How long a session that is not followed stays in memory after it was last asked for.
    pub rest_after: Duration,
    /// How long a window shows a session before the others in it are told that the person is there:
    /// who only looks in leaves no row in the log.
    pub arrive_after: Duration,
    /// How long no window shows a session before the others are told that the person has left.
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

/// How much an engine has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Sessions that are followed, each on a connection of its own.
    pub followed: usize,
    /// Sessions in memory, the followed ones among them.
    pub in_memory: usize,
}

/// A session to make.
#[derive(Clone)]
pub struct CreateSession {
    /// The server it will live on, by its id.
    pub server: String,
    /// Its title; without one it is called after its first message.
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
}

impl fmt::Debug for FirstMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstMessage").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Default for CreateSession {
    /// A session on this computer, without title and agents.
    fn default() -> Self {
        let server = crate::address::THIS_COMPUTER.to_owned();
        Self { server, title: None, agents: vec![], first: None }
    }
}

impl fmt::Debug for CreateSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSession").field("agents", &self.agents).finish_non_exhaustive()
    }
}
