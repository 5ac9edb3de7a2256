//! The state of one session, which its task owns.
//!
//! The parts own their fields: what a part promises of them is upheld in its own module, and the
//! other modules go through its methods.
//!
//! | part | owns |
//! | --- | --- |
//! | [`Reading`] | the line to the stream, and what is compared while the stream is read again |
//! | [`Sending`] | the outbox, and how long a server that refused is left alone |
//! | [`Showing`] | the readers' views, and what was last told of the session |
//! | [`Keeping`] | what is on the disk and what waits for it |
//! | [`Unread`] | what the person has not seen |

use std::sync::Arc;

use session_protocol::SessionFold;

use super::keeping::Keeping;
use super::reading::Reading;
use super::sending::Sending;
use super::showing::Showing;
use super::unread::Unread;
use crate::server::Server;
use crate::shared::Shared;
use crate::store::SessionKey;
use crate::summary::Draft;

/// Everything the task of one session owns.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    /// Id on this machine: the server's and [`Session::home_id`].
    pub(super) id: String,
    /// The server the session lives on, the only one that it is ever sent to (L16).
    pub(super) home: Arc<Server>,
    /// Id on that server.
    pub(super) home_id: String,
    pub(super) key: SessionKey,
    /// The session's messages and state. Until [`Session::complete_fold`] only what showing it
    /// needs.
    pub(super) fold: SessionFold,
    /// Number of approvals that were ever asked for, while the fold does not have them all.
    pub(super) requests: Option<u64>,
    /// The session this one is a copy of.
    pub(super) parent: Option<String>,
    pub(super) draft: Option<Draft>,
    /// The last complete message failed.
    pub(super) last_failed: bool,
    /// Deleted by the person: only the server has still to be told.
    pub(super) deleted: bool,
    pub(super) reading: Reading,
    pub(super) sending: Sending,
    pub(super) showing: Showing,
    pub(super) keeping: Keeping,
    pub(super) unread: Unread,
}
