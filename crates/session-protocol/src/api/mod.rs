//! The HTTP API of a session server: every request and answer as a type.
//!
//! The server reads and writes these types and makes its OpenAPI document from them; a client sends them. Nothing here
//! travels: a [`Request`] says by which [`Method`] and at which [`path`] it is sent, and what answers it.
//!
//! The routes are those of the session proxy that sessions on Durable Streams grew up with, in both of its generations,
//! and some of our own. So bodies are read leniently: unknown fields are ignored, `null` is the same as an absent
//! field, and an empty body is `{}`. Bodies are written strictly: a field without a value is left out.
//!
//! | what | where |
//! | --- | --- |
//! | making, listing, naming, copying, clearing sessions | [`CreateSession`], [`SessionPage`], [`RenameSession`], [`ForkSession`], [`ResetSession`] |
//! | saying something, having it answered again, stopping | [`SendMessage`], [`Regenerate`], [`Stop`] |
//! | agents of a session | [`RegisterAgents`], [`AgentList`] |
//! | agents that are programs of the server's computer | [`SetAgentOption`], [`ChooseFolder`], [`LocalAgents`], [`PutLocalAgent`], [`KnownAgents`] |
//! | agents that a bridge runs | [`AskForWork`], [`BridgeOutput`] |
//! | what people decide for agents | [`AnswerApproval`], [`GiveToolResult`], [`AnswerQuestions`] |
//! | who is here | [`LogIn`], [`LogOut`] |
//! | chunks of agents that run elsewhere | [`WriteChunk`], [`WriteChunks`], [`FinishGeneration`] |
//! | tool servers and rules about tools | [`SessionTools`], [`SwitchToolServer`], [`DecideTool`], [`ToolRules`], [`TestToolServer`] |
//! | the server and the token | [`Me`], [`TokenRole`], [`Health`] |
//! | a refusal | [`Problem`], [`ProblemCode`]; read by [`ProblemReport`] |
//!
//! Three ideas run through all bodies:
//!
//! - `txid` (a UUID) names a wish. The row that grants it carries the id, and repeating the request with the same one
//!   changes nothing.
//! - `actorId` names who acts, for callers without a named token; the header [`header::ACTOR_ID`] does the same.
//! - `messageId` names the message that is meant, where agents may use one id of theirs in several messages.

mod agents;
mod bridge;
mod chunks;
mod decisions;
pub mod header;
mod local;
mod messages;
pub mod path;
mod presence;
mod problem;
mod server;
mod sessions;
mod tools;

use serde::{Deserialize, Deserializer, Serialize};

pub use agents::{AgentList, RegisterAgents};
pub use bridge::{
    AskForWork, BRIDGE, BridgeEnd, BridgeEvent, BridgeMessage, BridgeOutput, BridgeWork,
};
pub use chunks::{ChunksWritten, FinishGeneration, GenerationFinished, WriteChunk, WriteChunks};
pub use decisions::{AnswerApproval, AnswerQuestions, GiveToolResult};
pub use local::{
    ChooseFolder, KnownAgent, KnownAgents, LocalAgent, LocalAgents, PutLocalAgent, RecentFolders,
    SessionFolder, SetAgentOption,
};
pub use messages::{MessageSent, Regenerate, SendMessage, SendMode, Stop};
pub use presence::{LogIn, LogOut, LoggedIn, LoggedOut};
pub use problem::{PROBLEM_JSON, Problem, ProblemCode, ProblemReport};
pub use server::{Health, Me, TokenRole, UnknownRole};
pub use sessions::{
    CreateSession, ForkEntry, ForkPage, ForkSession, ForkedFrom, PageQuery, RenameSession,
    ResetSession, SessionEntry, SessionForked, SessionPage, SessionPlace, SessionRenamed,
    SessionReset,
};
pub use tools::{
    DecideTool, SessionToolServer, SessionTools, SwitchToolServer, TestToolServer, ToolEntry,
    ToolRule, ToolRules, ToolServerTested,
};

/// The body of a request, which knows its route.
pub trait Request: Serialize {
    /// The method it is sent by.
    const METHOD: Method;
    /// The pattern of its path, one of [`path`].
    const PATH: &'static str;
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Makes what the path names, or finds it there.
    Put,
    /// Asks for something to be done.
    Post,
    /// Changes a part.
    Patch,
}

impl Method {
    /// The method's name on the wire, such as `POST`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
        }
    }
}

/// The answer to a request that is done and has nothing else to say.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// `true`: a refusal has another body and another status.
    pub success: bool,
}

impl Done {
    /// The only value there is.
    pub const DONE: Self = Self { success: true };
}

/// Reads a field whose `null` means the same as its absence.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
