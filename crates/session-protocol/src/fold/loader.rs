//! How the fold gets messages back that are no longer in memory.

use std::fmt;

use crate::row::Role;

/// A message as it was stored: the raw entries of [`super::ChangeSet::log`], in order.
#[derive(Clone, Default)]
pub struct StoredMessage {
    /// Every stored entry of the message, oldest first.
    pub log: Vec<String>,
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredMessage({} entries)", self.log.len())
    }
}

/// A stored message, as the statistics need it.
#[derive(Clone, Debug)]
pub struct StoredBrief {
    /// The message.
    pub id: String,
    /// The message's `Message::position`.
    pub position: u64,
    /// The message's `Message::created_at`.
    pub created_at: Option<String>,
    /// The message's role.
    pub role: Role,
    /// The message's `Message::hidden`.
    pub hidden: bool,
}

/// Gives stored messages back to the fold.
///
/// It must know every log entry that left the fold in a [`super::ChangeSet`], except those of messages
/// that the fold still holds with their log (see [`super::SessionFold::release_logs`]).
/// `()` is the loader of a fold that never evicts.
pub trait MessageLoader {
    /// The log of a message, `None` when it is not stored.
    fn load(&mut self, message_id: &str) -> Option<StoredMessage>;

    /// The fold of a message as [`SessionFold::folded`](super::SessionFold::folded) gave it, `None` when it is not
    /// stored so. Asked for before its log. A message that comes back so has no log: the fold asks [`load`](Self::load)
    /// for that when a row of it is late, changed or deleted.
    fn folded(&mut self, _message_id: &str) -> Option<String> {
        None
    }

    /// Takes note that what [`folded`](Self::folded) gave of this message cannot be read: another version wrote it, or
    /// it is damaged.
    fn unreadable(&mut self, _message_id: &str) {}

    /// All stored messages of the session, in any order. Asked for only when a deletion or a late
    /// chunk took away the oldest or newest message; a loader without it makes
    /// `first_message_at` and `last_message_at` approximate in that case.
    fn briefs(&mut self) -> Vec<StoredBrief> {
        Vec::new()
    }
}

impl MessageLoader for () {
    fn load(&mut self, _message_id: &str) -> Option<StoredMessage> {
        None
    }
}
