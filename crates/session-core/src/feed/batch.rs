//! The reply to one pull of a window.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::head::HeadChange;
use crate::diff::Diff;
use crate::error::Notice;
use crate::server::ServerSummary;
use crate::summary::{Draft, SessionMeta, WaitingApproval};

/// One change. States come whole and replace what the window had, the list of sessions by its rows;
/// diffs edit the shown session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum FeedChange {
    /// The session servers.
    Servers {
        /// All of them, in the order they were joined.
        servers: Vec<ServerSummary>,
    },
    /// The head of the list of sessions, as far as it changed.
    Sessions {
        /// Drop what was there: this is the whole head.
        reset: bool,
        /// The servers whose head or counts changed.
        servers: Vec<HeadChange>,
    },
    /// The approvals that wait, over all sessions.
    Approvals {
        /// All of them, the oldest first.
        approvals: Vec<WaitingApproval>,
    },
    /// Everything of the shown session but its messages.
    Meta {
        /// The new meta.
        meta: Box<SessionMeta>,
    },
    /// Unsent text of the shown session, as it was when the window began to show it.
    Draft {
        /// The session.
        session_id: String,
        /// The text.
        draft: Draft,
    },
    /// An edit to the shown session's items.
    Diff {
        /// The session.
        session_id: String,
        /// The edit.
        diff: Diff,
    },
    /// A notice for the person.
    Notice {
        /// The notice.
        notice: Notice,
    },
}

/// Everything since the number the window asked after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct FeedBatch {
    /// Number of the feed's run that the numbers belong to; pass it on with the next pull.
    #[ts(type = "number")]
    pub epoch: u64,
    /// The number asked after.
    #[ts(type = "number")]
    pub from: u64,
    /// The number to ask after next.
    #[ts(type = "number")]
    pub to: u64,
    /// Drop all state first: the changes start with everything.
    pub reset: bool,
    /// Changes, in order.
    pub changes: Vec<FeedChange>,
}
