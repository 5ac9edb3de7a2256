//! The thread that writes. Jobs that wait while the disk is busy share the next commit and so its one fsync; nobody is
//! answered before the commit that holds his change is on the disk.
//!
//! A job that is refused (the stream is closed, the epoch is old) changes nothing, so it costs its neighbours nothing.
//! When the database itself refuses, say because the disk is full, the commit is undone and every job of it is tried
//! alone: a large append that does not fit does not take a small one with it. Nothing is committed that would leave no
//! reserve for a deletion. Between commits the thread removes what expired and gives space back, a slice at a time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use durable_streams_server::protocol::error::Error;
use rusqlite::{Connection, ErrorCode, ffi};

use super::{Stop, listeners::Listeners, remove, stream::now};
use crate::reserve::{self, Reserve, is_full};

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
/// An append that has no room waits so long for what is being removed.
const TIDY_FOR_ROOM: Duration = Duration::from_secs(1);
/// Housekeeping that is left when the server stops has so long; what it does not finish is left to the next start.
const TIDY_AT_STOP: Duration = Duration::from_secs(2);

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
    /// The database's file.
    pub(super) file: PathBuf,
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
                let soon = commits % TIDY_EVERY == 0 || !self.reserve.is_whole();
                if !litter || !soon {
                    continue;
                }
            }
            litter = self.tidy();
        }
        // What was deleted is not left in the files.
        let until = Instant::now() + TIDY_AT_STOP;
        while litter && Instant::now() < until {
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
            if !*litter {
                self.reserve.keep(); // there may be room again; while there is litter it is for removing that
            }
            group.sort_by_key(|job| !job.frees());
        } else if group.len() == 1 {
            return group.into_iter().for_each(|job| job.answer(Some(failure(&error))));
        }
        for job in group {
            let mut alone = [job];
            let mut done = self.attempt(&mut alone, litter);
            let [job] = &alone;
            if done.as_ref().is_err_and(is_full) {
                // What is being removed may be room enough.
                let room = if job.frees() { self.reserve.give_up() } else { self.tidy_up(litter) };
                if room {
                    done = self.attempt(&mut alone, litter);
                }
            }
            let failed = done.err().map(|error| failure(&error));
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
            // Those that do not free may not have the reserve: the disk would be as full as before.
            if !group.iter().all(|job| job.frees())
                && !self.reserve.covers(reserve::growth(&self.db, &self.file)?)
            {
                return Err(reserve::full());
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

    /// Housekeeping to its end, when that is soon. Whether there was any.
    fn tidy_up(&mut self, litter: &mut bool) -> bool {
        let (there, until) = (*litter, Instant::now() + TIDY_FOR_ROOM);
        while *litter && Instant::now() < until {
            *litter = self.tidy();
        }
        there
    }

    /// One slice of housekeeping; true when there is more. Failing is not an error: there will be a next time.
    fn tidy(&mut self) -> bool {
        let scarce = !self.reserve.is_whole();
        let mut litter = false;
        let mut effects = Vec::new();
        let mut work = || -> rusqlite::Result<bool> {
            remove::overwrite(&self.db, !scarce)?;
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            let mut tx =
                Tx { db: &self.db, now: now(), effects: &mut effects, litter: &mut litter };
            let slice = remove::slice(&mut tx, scarce)?;
            self.db.execute_batch("COMMIT")?;
            self.unfolded += slice.bytes;
            Ok(slice.more)
        };
        let result = work();
        let was_untidy = std::mem::replace(&mut self.untidy, result.is_err());
        match result {
            Ok(more) => {
                self.listeners.tell(effects);
                if !more {
                    self.give_back();
                } else if scarce {
                    self.fold("TRUNCATE");
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
                is_full(&error) && self.reserve.give_up() && !was_untidy
            }
        }
    }

    /// After the last slice: the file gets as short as what it holds, and the log forgets what was deleted.
    fn give_back(&mut self) {
        loop {
            let scarce = !self.reserve.is_whole();
            match remove::give_back(&self.db, scarce) {
                Ok(remove::GivenBack::Nothing) => break,
                Ok(remove::GivenBack::Some) => {
                    if scarce {
                        self.fold("TRUNCATE");
                    }
                }
                Ok(remove::GivenBack::All) => {
                    self.fold("TRUNCATE");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "space could not be given back yet");
                    self.untidy = true;
                    self.fold("TRUNCATE");
                    if !is_full(&error) || !self.reserve.give_up() {
                        break;
                    }
                }
            }
        }
        self.reserve.keep();
    }

    fn fold_when_due(&mut self) {
        if self.unfolded >= CHECKPOINT_BYTES {
            self.fold("PASSIVE");
        }
    }

    /// Folds the log into the database. What cannot be folded now is folded later.
    fn fold(&mut self, how: &str) {
        self.unfolded = 0;
        if let Err(error) = reserve::fold(&self.db, &self.file, how, &mut self.reserve) {
            tracing::debug!(%error, "a checkpoint was put off");
        }
    }

    fn until_tidying(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        if self.untidy || !self.reserve.is_whole() {
            return TIDY_AGAIN;
        }
        match remove::next_expiry(&self.db) {
            Ok(Some(at)) => Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)).min(LONG),
            _ => LONG,
        }
    }
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
