//! The store: one SQLite file with everything the engine remembers.
//!
//! - [`sqlite_line`] has the thread that writes and the connections that read. Jobs reach the
//!   thread in order, and those that wait share a commit.
//! - A session's rows, its stream offset and the outbox entries whose echo was seen are one
//!   transaction ([`Store::commit`], L2), so that a process killed at any point finds either all of
//!   a batch or none of it, and goes on from the stored offset.
//! - Commits of stream data are written without an fsync (`synchronous = NORMAL`): a killed process
//!   loses nothing, a power cut may lose the last moments, which the stream still has. What only
//!   exists here (outbox, drafts) is written with one (`synchronous = FULL`).
//! - A file that is damaged, or was written by a newer version, is renamed, never deleted; what can
//!   still be read of its outbox and drafts is carried over, everything else comes from the stream.

mod commit;
pub(crate) mod drafts;
mod error;
mod key;
pub(crate) mod messages;
mod open;
pub(crate) mod outbox;
mod reclaim;
pub(crate) mod search;
pub(crate) mod segments;
pub(crate) mod servers;
pub(crate) mod sessions;

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rusqlite::{Connection, Transaction};
use sqlite_line::{Line, Room, Terms};

use crate::config::Inherit;
use crate::lock::lock;
use reclaim::{Erased, Reclaim};

pub(crate) use commit::{Commit, MessageWrite, RowWrite};
pub(crate) use error::StoreError;
pub(crate) use key::SessionKey;
pub(crate) use messages::StoredRow;
pub(crate) use open::{Repair, name_of};
pub(crate) use outbox::OutboxRow;
pub(crate) use search::FoundMessage;
pub(crate) use servers::ServerRow;
pub(crate) use sessions::SessionHead;

/// The database, shared by everything in the engine.
#[derive(Clone)]
pub(crate) struct Store {
    line: Line<Reclaim>,
    /// Held as long as the store is open: one process for each data directory.
    dir: Arc<Mutex<Option<std::fs::File>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.line.file()).finish()
    }
}

/// A job of little that the stream has too: it need not be on the disk itself when it is answered.
const PLAIN: Terms = Terms { size: 0, durable: false, overwrites: false, room: Room::Leaves };
/// A job whose words exist only here.
const DURABLE: Terms = Terms { durable: true, ..PLAIN };

impl Store {
    /// Opens the database of `dir`, making or repairing it. The second value says what had to be
    /// done to open it.
    pub(crate) fn open(
        dir: &Path,
        inherit: &Inherit,
    ) -> Result<(Self, Option<Repair>), StoreError> {
        let open::OpenStore { opened, lock, repair } = open::open(dir, inherit)?;
        let line = opened.start(Reclaim::default())?;
        Ok((Self { line, dir: Arc::new(Mutex::new(Some(lock))) }, repair))
    }

    /// Hands `work` to the writer thread, inside a transaction. The receiver answers when it is
    /// committed; dropping it does not undo the work. The work may run again where its first
    /// transaction was undone.
    pub(crate) fn write<T, F>(&self, work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.submit(PLAIN, work)
    }

    /// Writes as [`Store::write`] does, and on the disk itself before it answers.
    pub(crate) fn write_durable<T, F>(&self, work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.submit(DURABLE, work)
    }

    /// Writes as [`Store::write_durable`] does, for deletions: what is taken out is overwritten,
    /// and its room is given back to the disk soon after it is committed.
    pub(crate) fn erase<T, F>(&self, mut work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let terms = Terms { overwrites: true, room: Room::Frees, ..DURABLE };
        Written(self.line.write(terms, move |tx, erased: &mut Erased| {
            erased.0 = true;
            work(tx)
        }))
    }

    /// Writes as [`Store::write_durable`] does, and waits on this thread: for the rare repair that
    /// nothing may overtake.
    pub(crate) fn write_now<T, F>(&self, mut work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        Ok(self.line.write_blocking(DURABLE, move |tx, _| work(tx))?)
    }

    fn submit<T, F>(&self, terms: Terms, mut work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        Written(self.line.write(terms, move |tx, _| work(tx)))
    }

    /// Reads on the calling thread, from what is committed. Takes well under a millisecond for a
    /// window of a session.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(self.line.read(work)?)
    }

    /// Finishes the jobs that are queued and lets go of the directory. What is asked for later
    /// answers [`StoreError::Closed`].
    pub(crate) fn close(&self) {
        self.line.close();
        drop(lock(&self.dir).take());
    }

    /// Remembers that the file is damaged, so that the next start sets it aside.
    pub(crate) fn mark_damaged(&self) {
        if let Err(error) = std::fs::write(open::damage_mark(self.line.file()), b"") {
            tracing::warn!(%error, "the damage mark could not be written");
        }
    }
}

/// The answer of the writer thread.
pub(crate) struct Written<T>(sqlite_line::Written<T>);

impl<T> Future for Written<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(StoreError::from)
    }
}
