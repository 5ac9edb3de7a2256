//! The thread that writes: groups of jobs, their one commit, and each alone where that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::Transaction;

use crate::error::{Error, failure, is_full};
use crate::terms::{Room, Terms};
use crate::writer::Writer;

/// Jobs of one commit at most.
const GROUP: usize = 256;
/// Bytes of one commit at most, beyond the first job.
const GROUP_BYTES: usize = 4 << 20;
/// Bytes that a commit writes for each job beside those that the job says: pages of rows and
/// indexes.
const PAGES_PER_JOB: usize = 16 << 10;
/// Housekeeping goes on after so many commits even when the thread is never idle.
const TIDY_EVERY: usize = 16;
/// A job that has no room waits so long for what is being removed.
const TIDY_FOR_ROOM: Duration = Duration::from_secs(1);
/// Housekeeping that is left when the line is closed has so long; what it does not finish is left
/// to the next start.
const TIDY_AT_STOP: Duration = Duration::from_secs(2);
/// A reserve that is not whole is made again after so long.
const AGAIN: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(3600);

/// The work of a store on the thread that writes, beside its jobs. All of it happens between
/// transactions.
pub trait Housekeeping: Send + 'static {
    /// Notes that the jobs of one transaction leave for [`Housekeeping::committed`]; those of a
    /// transaction that is undone are dropped.
    type Notes: Default;

    /// Takes note of a commit before its jobs are answered. Returns whether there is something to
    /// tidy now.
    fn committed(&mut self, notes: Self::Notes) -> bool;

    /// Does a slice of tidying, short enough for jobs to wait for it. Returns whether there is
    /// more.
    fn tidy(&mut self, writer: &mut Writer) -> bool;

    /// Time that the thread may wait for jobs before it tidies unasked.
    fn rest(&self, writer: &Writer) -> Duration;
}

/// No housekeeping but the reserve.
impl Housekeeping for () {
    type Notes = ();

    fn committed(&mut self, (): ()) -> bool {
        false
    }

    fn tidy(&mut self, writer: &mut Writer) -> bool {
        if writer.is_scarce() {
            writer.fold();
            writer.keep_reserve();
        }
        false
    }

    fn rest(&self, writer: &Writer) -> Duration {
        if writer.is_scarce() { AGAIN } else { LONG }
    }
}

/// Work in a transaction, which may be run again when the transaction did not commit.
pub(crate) trait Job<N>: Send {
    fn terms(&self) -> Terms;
    /// Works and keeps its outcome.
    fn run(&mut self, tx: &Transaction<'_>, notes: &mut N) -> rusqlite::Result<()>;
    /// Hands out the outcome, or the reason why nothing was committed.
    fn answer(self: Box<Self>, failed: Option<rusqlite::Error>);
}

/// The one way to make a [`Job`]: work and who waits for it.
pub(crate) struct Task<T, W, R> {
    pub(crate) terms: Terms,
    pub(crate) work: W,
    pub(crate) outcome: Option<T>,
    pub(crate) reply: R,
}

impl<T, N, W, R> Job<N> for Task<T, W, R>
where
    T: Send,
    W: FnMut(&Transaction<'_>, &mut N) -> rusqlite::Result<T> + Send,
    R: FnOnce(Result<T, Error>) + Send,
{
    fn terms(&self) -> Terms {
        self.terms
    }

    fn run(&mut self, tx: &Transaction<'_>, notes: &mut N) -> rusqlite::Result<()> {
        self.outcome = Some((self.work)(tx, notes)?);
        Ok(())
    }

    fn answer(self: Box<Self>, failed: Option<rusqlite::Error>) {
        match (failed, self.outcome) {
            (Some(error), _) => (self.reply)(Err(error.into())),
            (None, Some(outcome)) => (self.reply)(Ok(outcome)),
            (None, None) => {} // it never ran; the one who waits sees the reply dropped
        }
    }
}

type Group<N> = Vec<Box<dyn Job<N>>>;

/// The thread's own.
pub(crate) struct Work<H: Housekeeping> {
    writer: Writer,
    house: H,
    jobs: mpsc::Receiver<Box<dyn Job<H::Notes>>>,
    /// Something is left to tidy.
    untidy: bool,
}

impl<H: Housekeeping> Work<H> {
    pub(crate) fn new(
        writer: Writer,
        house: H,
        jobs: mpsc::Receiver<Box<dyn Job<H::Notes>>>,
    ) -> Self {
        // An earlier process may have left something.
        Self { writer, house, jobs, untidy: true }
    }

    /// Works until every sender is gone.
    pub(crate) fn run(mut self) {
        let mut commits = 0;
        loop {
            let first = if self.untidy {
                match self.jobs.try_recv() {
                    Ok(job) => Some(job),
                    Err(mpsc::TryRecvError::Empty) => None,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            } else {
                match self.jobs.recv_timeout(self.house.rest(&self.writer)) {
                    Ok(job) => Some(job),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            };
            if let Some(first) = first {
                let group = self.gather(first);
                self.commit(group);
                commits += 1;
                self.writer.fold_when_due();
                let soon = commits % TIDY_EVERY == 0 || self.writer.is_scarce();
                if !self.untidy || !soon {
                    continue;
                }
            }
            self.tidy();
        }
        // What was deleted is not left in the files.
        let until = Instant::now() + TIDY_AT_STOP;
        while self.untidy && Instant::now() < until {
            self.tidy();
        }
        self.writer.fold();
    }

    fn tidy(&mut self) {
        self.untidy = self.house.tidy(&mut self.writer);
    }

    fn gather(&self, first: Box<dyn Job<H::Notes>>) -> Group<H::Notes> {
        let mut bytes = first.terms().size;
        let mut group = vec![first];
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Ok(job) = self.jobs.try_recv() else { break };
            bytes += job.terms().size;
            group.push(job);
        }
        group
    }

    /// Commits the group and answers; on failure makes room, and tries each job alone.
    fn commit(&mut self, mut group: Group<H::Notes>) {
        if !self.untidy {
            self.writer.keep_reserve(); // while there is something to remove, room is for that
        }
        let error = match self.attempt(&mut group) {
            Ok(()) => return group.into_iter().for_each(|job| job.answer(None)),
            Err(error) => error,
        };
        if is_full(&error) {
            self.writer.fold(); // what the log holds twice may be room enough
            if !self.untidy {
                self.writer.keep_reserve();
            }
            group.sort_by_key(|job| job.terms().room != Room::Frees);
        } else if group.len() == 1 {
            let alone = group.pop().expect("a group of one has a job");
            return alone.answer(Some(error));
        }
        for job in group {
            let mut alone = [job];
            let mut done = self.attempt(&mut alone);
            if done.as_ref().is_err_and(is_full) && self.make_room(alone[0].terms().room) {
                done = self.attempt(&mut alone);
                if self.writer.is_scarce() && !self.untidy {
                    self.writer.fold();
                    self.writer.keep_reserve();
                }
            }
            let [job] = alone;
            job.answer(done.err());
        }
    }

    /// Whether there may be room now for a job that had none.
    fn make_room(&mut self, room: Room) -> bool {
        if room == Room::Frees {
            return self.writer.give_up_reserve();
        }
        // What is being removed may be room enough.
        let (there, until) = (self.untidy, Instant::now() + TIDY_FOR_ROOM);
        while self.untidy && Instant::now() < until {
            self.tidy();
        }
        there
    }

    fn attempt(&mut self, group: &mut [Box<dyn Job<H::Notes>>]) -> rusqlite::Result<()> {
        let any = |wanted: fn(Terms) -> bool| group.iter().any(|job| wanted(job.terms()));
        let durable = any(|terms| terms.durable);
        let overwrites = any(|terms| terms.overwrites);
        // Those that do not free may not have the reserve: the disk would be as full as before.
        let covered = any(|terms| terms.room == Room::Leaves);
        let mut notes = H::Notes::default();
        let work = || {
            self.writer.commit(durable, overwrites, covered, |tx| {
                group.iter_mut().try_for_each(|job| job.run(tx, &mut notes))
            })
        };
        // A panic in one job must not end the thread for all: the transaction is undone.
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(failure(rusqlite::ffi::SQLITE_INTERNAL)))?;
        let sizes = group.iter().map(|job| job.terms().size.saturating_add(PAGES_PER_JOB));
        self.writer.wrote(sizes.fold(0, usize::saturating_add));
        self.untidy |= self.house.committed(notes);
        Ok(())
    }
}
