//! News for the hub: what sessions and servers report to it.

use session_protocol::Approval;
use session_protocol::api::SessionEntry;
use tokio::sync::mpsc;

use crate::summary::SessionSummary;

/// News for the hub.
pub(crate) enum HubEvent {
    /// A session changed.
    Session(Box<SessionReport>),
    /// A session was deleted by the person.
    Deleted(String),
    /// A session's task ended because an invariant broke.
    Fell(String),
    /// A server has these sessions.
    Listed { server: String, sessions: Vec<SessionEntry> },
    /// A server and all that was here of it is gone.
    Removed(String),
}

/// A session, as its task sees it.
#[derive(Clone, PartialEq)]
pub(crate) struct SessionReport {
    pub(crate) summary: SessionSummary,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) need: Need,
    /// The generation (see `Command::Follow`) of the line, when it has said all there is.
    pub(crate) caught_up: Option<u64>,
}

/// Reasons to follow a session, the least pressing first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Need {
    /// No need but being recent, if the session is.
    #[default]
    None,
    /// An approval is waited for, which somebody else may give.
    Approval,
    /// The server's list knows of something that is not here yet.
    Behind,
    /// An entry of the person's own waits for the server, or for its echo.
    Sending,
    /// A window shows it.
    Shown,
}

/// The queue of the hub's news, which is made before the hub itself.
pub(crate) fn events() -> (mpsc::UnboundedSender<HubEvent>, mpsc::UnboundedReceiver<HubEvent>) {
    mpsc::unbounded_channel()
}
