//! Errors and notices as they cross to the host and the window: a code to switch on and one
//! sentence for the person.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A failure of the engine. [`EngineError::code`] is for programs, the message for people.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The local database cannot be used.
    #[error("Threadkeep's local database could not be used. {0}")]
    Store(String),
    /// Another process has the data directory open.
    #[error(
        "Threadkeep is already running with this data directory. Use the open window, or close it first."
    )]
    InUse,
    /// The disk is full; nothing was lost, nothing new can be saved.
    #[error("The disk is full, so this could not be saved. Free some space and try again.")]
    DiskFull,
    /// No session has this id.
    #[error("This session does not exist here. It may have been deleted.")]
    UnknownSession,
    /// No server has this id, or it was removed.
    #[error("This server is not here any more. Add it again, or choose another.")]
    UnknownServer,
    /// No outbox entry has this id: it was delivered, or discarded.
    #[error("This entry is no longer waiting: it was delivered or discarded.")]
    UnknownEntry,
    /// The request makes no sense now; the sentence says why.
    #[error("{0}")]
    NotPossible(&'static str),
    /// The engine is closing.
    #[error("Threadkeep is closing.")]
    Closed,
}

impl EngineError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::InUse => "in-use",
            Self::DiskFull => "disk-full",
            Self::UnknownSession => "unknown-session",
            Self::UnknownServer => "unknown-server",
            Self::UnknownEntry => "unknown-entry",
            Self::NotPossible(_) => "not-possible",
            Self::Closed => "closed",
        }
    }
}

/// A sentence that the person should know and that answers no request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Notice {
    /// A stable word for programs.
    pub code: String,
    /// One or two sentences for the person.
    pub message: String,
}
