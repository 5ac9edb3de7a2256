//! The hub: the list of sessions, over all of them.
//!
//! Session tasks report their summaries and approvals here; the server's list is fetched every
//! 15 s and whenever something suggests that it changed. From both the hub makes what every window
//! shows, and decides which sessions are followed: the recent ones, those that are shown, and those
//! that still have something to send. Bursts are gathered: what is published costs in proportion to
//! the number of sessions, so it happens at most some 20 times a second and never for a token (L12).

mod listing;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use task::UNTITLED;

use std::sync::Arc;

use session_protocol::Approval;
use tokio::sync::{mpsc, watch};

use crate::error::EngineError;
use crate::shared::Shared;
use crate::summary::{Connection, SessionSummary};

/// How the server as a whole stands.
pub type ServerStatus = Connection;

/// What the hub is told.
pub(crate) enum HubEvent {
    /// A session changed.
    Session(Box<SessionReport>),
    /// A session was deleted by the person.
    Deleted(String),
    /// A session's task ended because an invariant broke.
    Fell(String),
    /// The server should be asked again now.
    Nudge,
}

/// A session, as its task sees it.
#[derive(Clone, PartialEq)]
pub(crate) struct SessionReport {
    pub(crate) summary: SessionSummary,
    pub(crate) approvals: Vec<Approval>,
    /// It is shown, or has something to send: follow it in any case.
    pub(crate) wanted: bool,
}

/// The queue of events, made before the hub itself.
pub(crate) fn events() -> (mpsc::UnboundedSender<HubEvent>, mpsc::UnboundedReceiver<HubEvent>) {
    mpsc::unbounded_channel()
}

/// Reads the list of sessions from the store, so that it can be shown at once, and starts the hub.
pub(crate) fn start(
    shared: &Arc<Shared>,
    events: mpsc::UnboundedReceiver<HubEvent>,
) -> Result<watch::Receiver<ServerStatus>, EngineError> {
    let (status, watching) = watch::channel(ServerStatus::default());
    let hub = task::Hub::restore(shared, status)?;
    tokio::spawn(hub.run(events));
    Ok(watching)
}
