//! The connection that writes, with the log beside its file and the reserve.

use std::path::PathBuf;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::failure;
use crate::reserve::{self, Reserve};
use crate::setup::{Checkpoint, Setup};

/// The connection that writes.
#[derive(Debug)]
pub struct Writer {
    db: Connection,
    file: PathBuf,
    reserve: Option<Reserve>,
    /// Bytes written since the last checkpoint, about.
    unfolded: usize,
    /// Bytes after which the log is folded, where SQLite does not do it.
    fold_after: Option<usize>,
    /// Durability between jobs, as the setup wants it.
    durable: bool,
    overwrites: bool,
}

impl Writer {
    pub(crate) fn new(db: Connection, setup: &Setup, reserve: Option<Reserve>) -> Self {
        let fold_after = match setup.checkpoint {
            Checkpoint::Bytes(bytes) => Some(bytes),
            Checkpoint::Pages(_) => None,
        };
        let (file, durable, overwrites) = (setup.file.clone(), setup.durable, setup.overwrites);
        Self { db, file, reserve, unfolded: 0, fold_after, durable, overwrites }
    }

    /// The connection.
    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// Does work in a transaction of its own, which is committed when it succeeds.
    ///
    /// # Errors
    ///
    /// Those of the work and of SQLite; nothing was done then.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let tx = Transaction::new(&mut self.db, TransactionBehavior::Immediate)?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }

    /// Does work in a transaction as [`Self::transaction`] does. The commit is as durable as asked,
    /// and what is deleted is overwritten if asked. With `covered` it is done only where the
    /// reserve covers what the file will grow by.
    pub(crate) fn commit(
        &mut self,
        durable: bool,
        overwrites: bool,
        covered: bool,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if durable && !self.durable {
            self.db.pragma_update(None, "synchronous", "FULL")?;
        }
        if overwrites && !self.overwrites {
            overwriting(&self.db, true)?;
        }
        let result = self.covered(covered, work);
        // Another setting costs time or a moment's durability, and the next job sets its own.
        if overwrites && !self.overwrites {
            overwriting(&self.db, false).ok();
        }
        if durable && !self.durable {
            self.db.pragma_update(None, "synchronous", "NORMAL").ok();
        }
        result
    }

    fn covered(
        &mut self,
        covered: bool,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let tx = Transaction::new(&mut self.db, TransactionBehavior::Immediate)?;
        work(&tx)?;
        if covered
            && let Some(reserve) = &mut self.reserve
            && !reserve.covers(reserve::growth(&tx, &self.file)?)
        {
            return Err(failure(rusqlite::ffi::SQLITE_FULL));
        }
        tx.commit()
    }

    /// Does work while all that is deleted is overwritten.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub fn overwriting<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        overwriting(&self.db, true)?;
        let result = work(&self.db);
        overwriting(&self.db, self.overwrites)?;
        result
    }

    /// Whether something is missing of the reserve, so that what room there is belongs to
    /// deletions.
    pub fn is_scarce(&self) -> bool {
        self.reserve.as_ref().is_some_and(|reserve| !reserve.is_whole())
    }

    /// Gives the reserve up. Returns whether there was any.
    pub fn give_up_reserve(&mut self) -> bool {
        self.reserve.as_mut().is_some_and(Reserve::give_up)
    }

    /// Fills the reserve up where something is missing, as far as there is room.
    pub fn keep_reserve(&mut self) {
        if let Some(reserve) = &mut self.reserve {
            reserve.keep();
        }
    }

    /// Counts what was written, so that the log is folded in time.
    pub fn wrote(&mut self, bytes: usize) {
        self.unfolded = self.unfolded.saturating_add(bytes);
    }

    /// Folds the log into the file and empties it, as far as readers and room let.
    pub fn fold(&mut self) {
        self.checkpoint("TRUNCATE");
    }

    /// Folds the log when enough was written since the last time; readers keep what they read.
    pub fn fold_when_due(&mut self) {
        if self.fold_after.is_some_and(|bytes| self.unfolded >= bytes) {
            self.checkpoint("PASSIVE");
        }
    }

    fn checkpoint(&mut self, how: &str) {
        self.unfolded = 0;
        let folded = match &mut self.reserve {
            Some(reserve) => reserve::fold(&self.db, &self.file, how, reserve),
            None => reserve::checkpoint(&self.db, how),
        };
        // What cannot be folded now is folded later.
        if let Err(error) = folded {
            tracing::debug!(%error, "a checkpoint was put off");
        }
    }
}

/// Sets whether all that is deleted is overwritten, or only what lies in pages that are written
/// anyway.
pub(crate) fn overwriting(db: &Connection, all: bool) -> rusqlite::Result<()> {
    db.pragma_update(None, "secure_delete", if all { "ON" } else { "FAST" })
}
