//! The part of a book that is stored and not in memory.

use session_protocol::MessageLoader;

/// A wish that was granted, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) txid: String,
    /// The number of its kind.
    pub(crate) wish: u8,
    /// Where it was written.
    pub(crate) message_id: String,
    /// Hash of what it is about.
    pub(crate) about: u64,
}

/// A row that cannot be what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is stored of a session is damaged")]
pub(crate) struct Damaged;

/// The stored part of one book. Each call is one look into the database, on this thread.
pub(crate) trait Shelf: Send {
    /// The fold of a message; `None` when it is not stored.
    fn message(&self, message_id: &str) -> Result<Option<String>, Damaged>;

    /// The stored messages from a position on, in their order: positions and ids; so many at most.
    fn ids(&self, from: u64, most: usize) -> Result<Vec<(u64, String)>, Damaged>;

    /// The wishes that were granted under a transaction id.
    fn granted(&self, txid: &str) -> Result<Vec<Grant>, Damaged>;
}

/// The part that is not in memory, where anything is stored.
#[derive(Default)]
pub(super) struct Away {
    shelf: Option<Box<dyn Shelf>>,
    is_damaged: bool,
}

impl Away {
    pub(super) fn on(shelf: Box<dyn Shelf>) -> Self {
        Self { shelf: Some(shelf), is_damaged: false }
    }

    /// Something of it could not be read: the book is not what the stream says.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    pub(super) fn ids(&mut self, from: u64, most: usize) -> Vec<(u64, String)> {
        let ids = self.shelf.as_ref().map(|shelf| shelf.ids(from, most));
        self.whole(ids)
    }

    pub(super) fn granted(&mut self, txid: &str) -> Vec<Grant> {
        let granted = self.shelf.as_ref().map(|shelf| shelf.granted(txid));
        self.whole(granted)
    }

    fn whole<T: Default>(&mut self, read: Option<Result<T, Damaged>>) -> T {
        let read = read.transpose();
        self.is_damaged |= read.is_err();
        read.ok().flatten().unwrap_or_default()
    }
}

impl MessageLoader for Away {
    fn load(&mut self, _message_id: &str) -> Option<session_protocol::StoredMessage> {
        None
    }

    fn folded(&mut self, message_id: &str) -> Option<String> {
        let folded = self.shelf.as_ref()?.message(message_id);
        self.whole(Some(folded))
    }

    fn unreadable(&mut self, _message_id: &str) {
        self.is_damaged = true;
    }
}
