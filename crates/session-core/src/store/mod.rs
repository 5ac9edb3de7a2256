//! The store: one SQLite file with everything the engine remembers.
//!
//! - One writer thread owns the only connection that writes; jobs reach it in order. Readers have
//!   connections of their own: in WAL mode they never wait for the writer.
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
pub(crate) mod messages;
mod open;
pub(crate) mod outbox;
mod reclaim;
pub(crate) mod search;
pub(crate) mod segments;
pub(crate) mod servers;
pub(crate) mod sessions;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::config::Inherit;

pub(crate) use commit::{Commit, MessageWrite, RowWrite, SessionHead};
pub(crate) use error::StoreError;
pub(crate) use messages::StoredRow;
pub(crate) use open::{Repair, name_of};
pub(crate) use outbox::OutboxRow;
pub(crate) use search::FoundMessage;
pub(crate) use servers::ServerRow;
pub(crate) use sessions::SessionKey;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Readers kept open; more are opened when needed and closed after use.
const IDLE_READERS: usize = 4;

/// The database, shared by everything in the engine.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    jobs: Mutex<Option<std::sync::mpsc::Sender<Job>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    closed: AtomicBool,
    /// Held as long as the store is open: one process for each data directory.
    dir: Mutex<Option<std::fs::File>>,
}

impl Shared {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Readers first: the last connection to close folds the write-ahead log into the database,
        // and a reader could not.
        lock(&self.readers).clear();
        drop(lock(&self.jobs).take());
        if let Some(writer) = lock(&self.writer).take()
            && writer.thread().id() != std::thread::current().id()
        {
            // The queue is closed, so the writer ends after the jobs it already has. It can only
            // have panicked, and that was reported then.
            let _ = writer.join();
        }
        drop(lock(&self.dir).take());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish()
    }
}

/// Locks a mutex whose data stays valid when a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the database of `dir`, making or repairing it. The second value says what had to be
    /// done to open it.
    pub(crate) fn open(
        dir: &Path,
        inherit: &Inherit,
    ) -> Result<(Self, Option<Repair>), StoreError> {
        let opened = open::open(dir, inherit)?;
        let (jobs, queue) = std::sync::mpsc::channel::<Job>();
        let mut connection = opened.connection;
        let writer = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            for job in queue {
                job(&mut connection);
            }
        })?;
        let shared = Shared {
            path: opened.path,
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
            closed: AtomicBool::new(false),
            dir: Mutex::new(Some(opened.lock)),
        };
        Ok((Self { shared: Arc::new(shared) }, opened.repair))
    }

    /// Hands `work` to the writer thread, inside a transaction. The receiver answers when it is
    /// committed; dropping it does not undo the work.
    pub(crate) fn write<T, F>(&self, work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.submit(false, work)
    }

    /// As [`Store::write`], and on the disk itself before it answers.
    pub(crate) fn write_durable<T, F>(&self, work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.submit(true, work)
    }

    /// As [`Store::write_durable`], for deletions: what is taken out is overwritten, and its room is
    /// given back to the disk once it is committed.
    pub(crate) fn erase<T, F>(&self, work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, written) = oneshot::channel();
        self.queue(Box::new(move |connection| {
            let result = connection
                .pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))
                .and_then(|()| in_transaction(connection, true, work));
            let erased = result.is_ok();
            let _ = done.send(result.map_err(StoreError::from));
            if erased && let Err(error) = reclaim::run(connection) {
                tracing::warn!(%error, "room could not be given back");
            }
            let _ = connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()));
        }));
        Written(written)
    }

    /// As [`Store::write`], waiting on this thread: for the rare repair that nothing may overtake.
    pub(crate) fn write_now<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, written) = std::sync::mpsc::channel();
        self.queue(Box::new(move |connection| {
            let result = in_transaction(connection, true, work);
            let _ = done.send(result.map_err(StoreError::from));
        }));
        written.recv().unwrap_or(Err(StoreError::Closed))
    }

    fn queue(&self, job: Job) {
        if let Some(jobs) = lock(&self.shared.jobs).as_ref() {
            // A failure drops the job and with it the sender of its answer: the receiver then sees
            // `Closed`.
            let _ = jobs.send(job);
        }
    }

    fn submit<T, F>(&self, durable: bool, work: F) -> Written<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, written) = oneshot::channel();
        self.queue(Box::new(move |connection| {
            let result = in_transaction(connection, durable, work);
            // The caller may have gone away; the work is done all the same.
            let _ = done.send(result.map_err(StoreError::from));
        }));
        Written(written)
    }

    /// Reads on the calling thread, from what is committed. Takes well under a millisecond for a
    /// window of a session.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let idle = lock(&self.shared.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::reader(&self.shared.path)?,
        };
        let result = {
            // One snapshot for everything that `work` reads.
            let snapshot = connection.unchecked_transaction()?;
            work(&snapshot)
        };
        let mut readers = lock(&self.shared.readers);
        if readers.len() < IDLE_READERS && !self.shared.closed.load(Ordering::Acquire) {
            readers.push(connection);
        }
        Ok(result?)
    }

    /// Finishes the jobs that are queued and lets go of the directory. What is asked for later
    /// answers [`StoreError::Closed`].
    pub(crate) fn close(&self) {
        self.shared.close();
    }

    /// Remembers that the file is damaged, so that the next start sets it aside.
    pub(crate) fn mark_damaged(&self) {
        if let Err(error) = std::fs::write(open::damage_mark(&self.shared.path), b"") {
            tracing::warn!(%error, "the damage mark could not be written");
        }
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    durable: bool,
    work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if durable {
        connection.pragma_update(None, "synchronous", "FULL")?;
    }
    let result = (|| {
        let transaction = connection.transaction()?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    })();
    if durable {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    result
}

/// The answer of the writer thread.
pub(crate) struct Written<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Future for Written<T> {
    type Output = Result<T, StoreError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}
