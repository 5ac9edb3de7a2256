//! Inputs: what comes into a session.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde_json::{Number, Value};
use session_protocol::api::SendMode;
use session_protocol::{AgentSpec, FilePart};

use super::fork::{Company, Origin};
use crate::book::RunBook;
use crate::event::Role;
use crate::run::{Face, Output};

/// Something that happens to a session. Ids and names are checked before; whether it may be is the session's to say.
pub(crate) enum Input {
    // People and programs ask.
    /// A message is written, and the agents that listen to it start.
    Send(NewMessage),
    /// A message is written instead of one that was answered: agents that have ended do not keep it waiting.
    SendAnew { instead_of: Option<String>, new: NewMessage },
    /// Agents answer a message again, of which this is the text.
    AnswerAgain { message_id: String, text: String, actor_id: String, txid: Option<String> },
    /// An approval is answered.
    Decide(Decision),
    /// A client gives the result of a tool.
    GiveResult(NewToolResult),
    /// The run that writes a message stops; without one the actor's own runs, or else all of them.
    Stop { message_id: Option<String>, actor_id: String },
    /// The session is made, or made again with these agents and this title.
    Create { agents: Vec<AgentSpec>, manages: bool, title: Option<String>, actor_id: String },
    /// Agents are registered, by one who `manages` the session or not.
    Register { agents: Vec<AgentSpec>, manages: bool },
    /// An agent is taken off the session.
    Unregister { agent_id: String },
    /// The session is given a title.
    Rename { title: String, actor_id: String, txid: Option<String> },
    /// The conversation is cleared: what was there at the item `until`, or else what is there now.
    Clear { until: Option<u64>, presence: bool, actor_id: String },
    /// A program writes chunks of an agent that runs elsewhere.
    Write(Vec<RawChunk>),
    /// Somebody is here with a device, or still is. A session without agents gets these.
    LogIn {
        actor_id: String,
        device_id: String,
        called: Called,
        /// Seconds after which he says so again.
        heartbeat: Option<Number>,
        agents: Vec<AgentSpec>,
        manages: bool,
    },
    /// Somebody left with a device, or with all of them.
    LogOut { actor_id: String, device_id: Option<String> },
    /// The session becomes a fork, now that its stream holds what it takes over.
    Adopt { company: Company, origin: Origin },

    /// Something is chosen of an agent.
    Choose(Choice),

    // Agents speak.
    /// An agent that rests shows something else of itself.
    Face { agent_id: String, face: Face },
    /// A run says something, or ends.
    Output { run_id: String, what: Output },

    // Time passes, and what lies around the session changes.
    /// Something is due. The signs of life of those who are missed come with it.
    Elapse { signs: HashMap<String, Instant> },
    /// Somebody else wrote to the stream: this is its index now, with all that is on its way there.
    Reread(Box<RunBook>),
    /// The stream turned out to be closed.
    CloseStream,
    /// The server stops. The agents of these runs were not called, and never will be.
    Interrupt { uncalled: HashSet<String> },
}

/// A message that a client posts.
pub(crate) struct NewMessage {
    pub(crate) message_id: Option<String>,
    pub(crate) content: String,
    pub(crate) files: Vec<FilePart>,
    pub(crate) role: Role,
    pub(crate) actor_id: String,
    pub(crate) agent: Option<AgentSpec>,
    /// Whether whoever sends it may replace agents.
    pub(crate) manages: bool,
    pub(crate) txid: Option<String>,
    pub(crate) mode: SendMode,
}

/// An answer to an approval that a client posts.
pub(crate) struct Decision {
    pub(crate) approval_id: String,
    /// The message that asks, when several ask under this id; else the only one is meant.
    pub(crate) message_id: Option<String>,
    pub(crate) approved: bool,
    /// More that is said, in words or fields.
    pub(crate) payload: Option<Value>,
    /// The option that is chosen.
    pub(crate) option_id: Option<String>,
    pub(crate) actor_id: String,
    pub(crate) txid: Option<String>,
}

/// A choice of an agent's option that a client posts.
pub(crate) struct Choice {
    pub(crate) agent_id: String,
    pub(crate) option_id: String,
    pub(crate) value: String,
    pub(crate) txid: Option<String>,
    /// Whether whoever chooses may decide for agents.
    pub(crate) decides: bool,
    /// Whether whoever chooses owns the server's computer.
    pub(crate) owns: bool,
}

/// A tool result that a client posts.
pub(crate) struct NewToolResult {
    /// The message that holds the call, when two have calls of the same id; else the newest is meant.
    pub(crate) message_id: Option<String>,
    pub(crate) tool_call_id: String,
    pub(crate) output: Value,
    pub(crate) error: Option<String>,
    pub(crate) actor_id: String,
    pub(crate) txid: Option<String>,
}

/// A chunk that a program outside writes as an agent.
pub(crate) struct RawChunk {
    pub(crate) message_id: String,
    pub(crate) actor_id: String,
    pub(crate) role: Role,
    /// JSON text of the chunk, as it came.
    pub(crate) chunk: String,
    /// The chunk's type.
    pub(crate) kind: String,
    pub(crate) txid: Option<String>,
}

/// Names of somebody who is here.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// The name that is shown: a token's, or, under the owner, who may act for anybody, the one that is given.
    pub(crate) name: Option<String>,
    /// Another name that the holder of a token gives himself.
    pub(crate) claimed: Option<String>,
}
