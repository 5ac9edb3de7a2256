//! The thread that writes. Jobs that wait while the disk is busy share the next commit and so its one fsync; nobody is
//! answered before the commit that holds his change is on the disk.
//!
//! A job that is refused (the stream is closed, the epoch is old) changes nothing, so it costs its neighbours nothing.
//! When the database itself refuses, say because the disk is full, the commit is undone and every job of it is tried
//! alone: a large append that does not fit does not take a small one with it. Between commits the thread removes what
//! expired and gives space back, a slice at a time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::Duration,
};

use durable_streams_server::protocol::error::Error;
use rusqlite::{Connection, ErrorCode, ffi};

use super::{Stop, listeners::Listeners, remove, reserve::Reserve, stream::now};

/// Jobs of one commit at most.
const GROUP: usize = 256;
/// Bytes of messages of one commit at most, beyond the first job.
const GROUP_BYTES: usize = 4 << 20;
/// The log beside the database is folded into it when about this much was written.
const CHECKPOINT_BYTES: usize = 6 << 20;
/// What a commit writes beside its messages: pages of rows, of the stream and the producer.
const PAGES_PER_JOB: usize = 16 << 10;
/// Housekeeping goes on after so many commits even when the writer is never idle.
const TIDY_EVERY: usize = 16;
/// Housekeeping that failed is tried again after so long.
const TIDY_AGAIN: Duration = Duration::from_secs(3);

/// What a commit means to those who wait for a stream.
pub(super) enum Effect {
    /// There is something new to read.
    Wake(String),
    /// The stream is gone.
    Gone(String),
}

/// The transaction that a job works in.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) now: i64,
    pub(super) effects: &'a mut Vec<Effect>,
    /// Set when there are messages to delete.
    pub(super) litter: &'a mut bool,
}

/// Something to do in a transaction; it may be run again when the transaction did not commit.
pub(super) trait Job: Send {
    /// Bytes that it is about to write.
    fn size(&self) -> usize;
    /// It makes room, and may have the reserve for it.
    fn frees(&self) -> bool;
    /// Works and keeps its outcome. An error is the database's.
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;
    /// Hands out the outcome, or the reason why nothing was committed.
    fn answer(self: Box<Self>, failed: Option<Error>);
}

/// The one way to make a [`Job`]: work and who waits for it.
pub(super) struct Task<T, W, R> {
    pub(super) size: usize,
    pub(super) frees: bool,
    pub(super) work: W,
    pub(super) outcome: Option<Result<T, Error>>,
    pub(super) reply: R,
}

impl<T, W, R> Job for Task<T, W, R>
where
    T: Send,
    W: FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send,
    R: FnOnce(Result<T, Error>) + Send,
{
    fn size(&self) -> usize {
        self.size
    }

    fn frees(&self) -> bool {
        self.frees
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.outcome = Some(match (self.work)(tx) {
            Ok(done) => Ok(done),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Database(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failed: Option<Error>) {
        match (failed, self.outcome) {
            (Some(error), _) => (self.reply)(Err(error)),
            (None, Some(outcome)) => (self.reply)(outcome),
            (None, None) => {} // it never ran; the one who waits sees the reply dropped
        }
    }
}

/// The writer's side of the store.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) reserve: Reserve,
    pub(super) jobs: mpsc::Receiver<Box<dyn Job>>,
    pub(super) listeners: Arc<Listeners>,
    /// Bytes written since the last checkpoint, about.
    pub(super) unfolded: usize,
    /// The last housekeeping failed.
    pub(super) untidy: bool,
}

impl Writer {
    /// Works until every sender is gone.
    pub(super) fn run(mut self) {
        let mut litter = true; // an earlier process may have left some
        let mut commits = 0;
        loop {
            let first = if litter {
                match self.jobs.try_recv() {
                    Ok(job) => Some(job),
                    Err(mpsc::TryRecvError::Empty) => None,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            } else {
                match self.jobs.recv_timeout(self.until_tidying()) {
                    Ok(job) => Some(job),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            };
            if let Some(first) = first {
                let group = self.gather(first);
                self.commit(group, &mut litter);
                commits += 1;
                self.fold_when_due();
                if !litter || commits % TIDY_EVERY != 0 {
                    continue;
                }
            }
            litter = self.tidy();
        }
        self.fold("TRUNCATE");
    }

    fn gather(&self, first: Box<dyn Job>) -> Vec<Box<dyn Job>> {
        let mut bytes = first.size();
        let mut group = vec![first];
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Ok(job) = self.jobs.try_recv() else { break };
            bytes += job.size();
            group.push(job);
        }
        group
    }

    /// Commits the group and answers; on failure makes room, and tries each job alone.
    fn commit(&mut self, mut group: Vec<Box<dyn Job>>, litter: &mut bool) {
        let error = match self.attempt(&mut group, litter) {
            Ok(()) => return group.into_iter().for_each(|job| job.answer(None)),
            Err(error) => error,
        };
        if is_full(&error) {
            self.fold("TRUNCATE"); // what the log holds twice may be room enough
            if group.iter().any(|job| job.frees()) && self.reserve.give_up() {
                // Those that do not free may not have it: the disk would be as full as before.
                group.sort_by_key(|job| !job.frees());
            }
        } else if group.len() == 1 {
            return group.into_iter().for_each(|job| job.answer(Some(failure(&error))));
        }
        for job in group {
            let mut alone = [job];
            let failed = self.attempt(&mut alone, litter).err().map(|error| failure(&error));
            let [job] = alone;
            job.answer(failed);
        }
    }

    fn attempt(&mut self, group: &mut [Box<dyn Job>], litter: &mut bool) -> rusqlite::Result<()> {
        let mut effects = Vec::new();
        let work = || {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            let mut tx = Tx { db: &self.db, now: now(), effects: &mut effects, litter };
            for job in group.iter_mut() {
                job.run(&mut tx)?;
            }
            self.db.execute_batch("COMMIT")
        };
        // A panic in one job must not end the writer for all (the transaction is undone).
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERNAL), None))
        });
        match result {
            Ok(()) => {
                self.unfolded += group.iter().map(|job| job.size() + PAGES_PER_JOB).sum::<usize>();
                self.listeners.tell(effects);
                Ok(())
            }
            Err(error) => {
                if !self.db.is_autocommit() {
                    self.db.execute_batch("ROLLBACK").ok();
                }
                Err(error)
            }
        }
    }

    /// One slice of housekeeping; true when there is more. Failing is not an error: there will be a next time.
    fn tidy(&mut self) -> bool {
        let mut litter = false;
        let mut effects = Vec::new();
        let mut work = || -> rusqlite::Result<bool> {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            let mut tx =
                Tx { db: &self.db, now: now(), effects: &mut effects, litter: &mut litter };
            let slice = remove::slice(&mut tx)?;
            self.db.execute_batch("COMMIT")?;
            self.unfolded += slice.bytes;
            Ok(slice.more)
        };
        let result = work();
        self.untidy = result.is_err();
        match result {
            Ok(more) => {
                self.listeners.tell(effects);
                if !more {
                    self.give_back();
                }
                self.fold_when_due();
                more || litter
            }
            Err(error) => {
                tracing::warn!(%error, "removing old streams failed; it is tried again later");
                if !self.db.is_autocommit() {
                    self.db.execute_batch("ROLLBACK").ok();
                }
                self.fold("TRUNCATE");
                false
            }
        }
    }

    /// After the last slice: the file gets as short as what it holds.
    fn give_back(&mut self) {
        match remove::give_back(&self.db) {
            Ok(true) => {
                self.fold("TRUNCATE");
                self.reserve.keep();
            }
            Ok(false) => self.reserve.keep(),
            Err(error) => tracing::warn!(%error, "space could not be given back yet"),
        }
    }

    fn fold_when_due(&mut self) {
        if self.unfolded >= CHECKPOINT_BYTES {
            self.fold("PASSIVE");
        }
    }

    /// Folds the log into the database (SQLite's checkpoint). What cannot be folded now is folded later.
    fn fold(&mut self, how: &str) {
        self.unfolded = 0;
        let sql = format!("PRAGMA wal_checkpoint({how})");
        if let Err(error) = self.db.query_row(&sql, [], |_| Ok(())) {
            tracing::debug!(%error, "a checkpoint was put off");
        }
    }

    fn until_tidying(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        if self.untidy {
            return TIDY_AGAIN;
        }
        match remove::next_expiry(&self.db) {
            Ok(Some(at)) => Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)).min(LONG),
            _ => LONG,
        }
    }
}

/// No room on the disk, or beyond the configured size.
fn is_full(error: &rusqlite::Error) -> bool {
    // The shared index of the log cannot grow: SQLite says so in its own way.
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().map(|error| error.extended_code) == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// What a failed database means to the one who asked. SQLite's texts hold no values (L11).
pub(super) fn failure(error: &rusqlite::Error) -> Error {
    const STORE: &str = "sqlite";
    if is_full(error) {
        return Error::storage_insufficient(STORE, "write", error.to_string());
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure) => {
            Error::storage_unavailable(STORE, "access", error.to_string())
        }
        _ => Error::Storage(error.to_string()),
    }
}
