//! The data that the window shows around a transcript: the list of sessions, a session's state and
//! connection, approvals that wait.

use std::fmt;

use serde::{Deserialize, Serialize};
use session_protocol::{ActiveGeneration, Agent, Approval, Presence, SessionStats};
use ts_rs::TS;

use crate::item::DeliveryState;

/// Title of a session without title and messages.
pub(crate) const UNTITLED: &str = "New session";

/// One row of the list of sessions.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SessionSummary {
    /// The session's id.
    pub id: String,
    /// Title of the session, else the beginning of its first message.
    pub title: String,
    /// Time at which the session was made, RFC 3339.
    pub created_at: Option<String>,
    /// Time at which something last happened in the session, RFC 3339.
    pub last_activity_at: Option<String>,
    /// The beginning of the last complete message.
    pub preview: Option<String>,
    /// State, as an icon shows it.
    pub state: SessionState,
    /// Messages by others that this person has not seen.
    pub unread: u32,
    /// Approvals that wait.
    pub pending_approvals: u32,
    /// Unsent text.
    pub draft: Option<String>,
    /// The session it is a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub parent_id: Option<String>,
}

/// State of a session. Of those that hold the first is shown: approval, running, sending, failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum SessionState {
    /// At rest.
    #[default]
    Idle,
    /// An agent is answering.
    Running,
    /// An agent waits for a person's decision.
    Approval,
    /// The last answer failed.
    Failed,
    /// An entry of this person's own is not delivered yet.
    Sending,
}

impl SessionState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Approval => "approval",
            Self::Failed => "failed",
            Self::Sending => "sending",
        }
    }

    pub(crate) fn from_stored(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "approval" => Self::Approval,
            "failed" => Self::Failed,
            "sending" => Self::Sending,
            _ => Self::Idle,
        }
    }
}

/// State of a session's connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum ConnectionState {
    /// No server can be talked to, or this session is not followed.
    #[default]
    Offline,
    /// Asking for the first time.
    Connecting,
    /// Reading what happened meanwhile.
    CatchingUp,
    /// Up to date, and told of every change.
    Live,
    /// The server cannot be reached; asking again by itself.
    Retrying,
    /// The server refuses this person.
    Refused,
    /// The server does not have this session any more; what is here is kept.
    Gone,
    /// The stream was closed; it will not change any more.
    Closed,
}

/// A session's connection, with words for the person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Connection {
    /// State of the connection.
    pub state: ConnectionState,
    /// A stable word for the cause.
    pub code: Option<String>,
    /// One sentence for the person.
    pub message: Option<String>,
    /// Time of the next attempt, RFC 3339.
    pub retry_at: Option<String>,
    /// Time at which the session was last up to date, RFC 3339.
    pub synced_at: Option<String>,
}

/// An entry of this person's own that the stream has not shown yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct OutboxItem {
    /// The entry, to retry or discard it by.
    pub entry_id: String,
    /// Kind of the intent.
    pub kind: OutboxKind,
    /// State of the entry.
    pub state: DeliveryState,
    /// The reason why the entry was refused or still waits; one sentence.
    pub reason: Option<String>,
    /// Id of the approval, for an answer to one.
    pub approval_id: Option<String>,
    /// Id of the message: for an answer the one that asks, for another answer the one that is
    /// answered.
    pub message_id: Option<String>,
    /// The decision, for an answer.
    pub approved: Option<bool>,
    /// The option that was chosen, for an answer to a request that offers some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub option_id: Option<String>,
    /// Time at which the person asked, RFC 3339.
    pub created_at: String,
}

/// The kinds of outbox entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum OutboxKind {
    /// Make the session and register its agents.
    CreateSession,
    /// Make the session as a copy of another.
    ForkSession,
    /// A message.
    SendMessage,
    /// An answer to an approval.
    RespondApproval,
    /// Another answer to a message.
    Regenerate,
    /// A choice of something of an agent.
    SetAgentOption,
    /// Stop a run.
    Stop,
    /// A new title.
    Rename,
    /// Delete the session.
    DeleteSession,
}

/// An agent that shares a state with the people of a session, which is read by itself
/// ([`crate::Engine::shared_state`]): it may be long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SharedBy {
    /// The agent.
    pub agent_id: String,
    /// The message in which it changed the state last.
    pub message_id: String,
    /// The number of the change in that message: with it, another one means another state.
    #[ts(type = "number")]
    pub seq: i64,
}

/// Everything about a session but its messages.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SessionMeta {
    /// The session's id.
    pub session_id: String,
    /// Title of the session, else the beginning of its first message.
    pub title: String,
    /// The connection to its stream.
    pub connection: Connection,
    /// Registered agents.
    pub agents: Vec<Agent>,
    /// States that agents share.
    pub shared: Vec<SharedBy>,
    /// People and agents that are there.
    pub presence: Vec<Presence>,
    /// Approvals that wait.
    pub pending_approvals: Vec<Approval>,
    /// Answers being written.
    pub active_generations: Vec<ActiveGeneration>,
    /// Counts and tokens.
    pub stats: SessionStats,
    /// Items of the stream that could not be understood.
    #[ts(type = "number")]
    pub skipped: u64,
    /// Number of entries that wait in the outbox.
    pub queued: u32,
    /// The entries that wait in the outbox, in order.
    pub outbox: Vec<OutboxItem>,
    /// A remark that stays, e.g. that the stream came back different.
    pub notice: Option<String>,
    /// The session cannot be written: its stream is closed, or its server was removed.
    pub read_only: bool,
}

/// An approval that waits, with the session it belongs to.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct WaitingApproval {
    /// The session.
    pub session_id: String,
    /// Title of the session.
    pub session_title: String,
    /// The approval.
    pub approval: Approval,
}

/// Unsent text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// Time at which the text was saved, RFC 3339.
    pub saved_at: String,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("saved_at", &self.saved_at).finish_non_exhaustive()
    }
}

// L11: titles, previews and drafts are what people wrote.
impl fmt::Debug for SessionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSummary")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("unread", &self.unread)
            .field("pending_approvals", &self.pending_approvals)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionMeta")
            .field("session_id", &self.session_id)
            .field("connection", &self.connection)
            .field("pending_approvals", &self.pending_approvals)
            .field("active_generations", &self.active_generations)
            .field("outbox", &self.outbox)
            .field("notice", &self.notice)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WaitingApproval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingApproval")
            .field("session_id", &self.session_id)
            .field("approval", &self.approval)
            .finish_non_exhaustive()
    }
}

/// The disk that all sessions take, without the index of the search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct DiskUse {
    /// Bytes of all sessions.
    #[ts(type = "number")]
    pub bytes: u64,
    /// Number of sessions that have something on the disk.
    pub sessions: u32,
    /// The sessions that take most, the greatest first.
    pub largest: Vec<SessionSize>,
}

/// The disk that a session takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SessionSize {
    /// The session.
    pub session_id: String,
    /// Title of the session, as in the list.
    pub title: String,
    /// Number of messages that are shown.
    #[ts(type = "number")]
    pub messages: u64,
    /// Bytes of its rows and logs as they are stored, without the index.
    #[ts(type = "number")]
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_that_a_person_wrote() {
        let secret = || "what a person wrote".to_owned();
        let summary = SessionSummary {
            id: "s".to_owned(),
            title: secret(),
            created_at: None,
            last_activity_at: None,
            preview: Some(secret()),
            state: SessionState::Idle,
            unread: 0,
            pending_approvals: 0,
            draft: Some(secret()),
            parent_id: None,
        };
        let draft = Draft { text: secret(), saved_at: String::new() };
        let create = crate::NewSession { title: Some(secret()), ..Default::default() };
        let shown = format!("{summary:?}{draft:?}{create:?}");
        assert!(!shown.contains("a person wrote"), "{shown}");
    }
}
