//! The handle: jobs for the thread that writes, reads from the pool.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::{fmt, io};

use rusqlite::{Connection, Transaction};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, failure};
use crate::open::Opened;
use crate::readers::Readers;
use crate::setup::Setup;
use crate::terms::Terms;
use crate::thread::{Housekeeping, Job, Task, Work};
use crate::writer::Writer;

impl Opened {
    /// Begins to take jobs.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start<H: Housekeeping>(self, house: H) -> io::Result<Line<H>> {
        let writer = Writer::new(self.db, &self.setup, self.reserve);
        Line::start(&self.setup, writer, house)
    }
}

/// A handle on one file; clones are handles on the same. The last one to go closes it.
pub struct Line<H: Housekeeping = ()> {
    shared: Arc<Shared<H>>,
}

type Queue<N> = mpsc::Sender<Box<dyn Job<N>>>;

struct Shared<H: Housekeeping> {
    file: PathBuf,
    jobs: Mutex<Option<Queue<H::Notes>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    /// Turns of [`Line::read_soon`]: as many as there are readers.
    reading: Arc<Semaphore>,
}

impl<H: Housekeeping> Clone for Line<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<H: Housekeeping> fmt::Debug for Line<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("file", &self.shared.file).finish_non_exhaustive()
    }
}

impl<H: Housekeeping> Line<H> {
    fn start(setup: &Setup, writer: Writer, house: H) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let work = Work::new(writer, house, queue);
        let thread = std::thread::Builder::new();
        let thread = thread.name(setup.thread.to_owned()).spawn(move || work.run())?;
        let shared = Shared {
            file: setup.file.clone(),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            readers: Readers::new(setup.file.clone(), setup.reader_cache, setup.readers),
            reading: Arc::new(Semaphore::new(setup.readers)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.shared.file
    }

    /// Has the thread do `work` in a transaction and hand what became of it to `reply`, on that
    /// thread. The work may run again when its transaction did not commit. A line that is closed
    /// drops `reply` without calling it.
    pub fn submit<T: Send + 'static>(
        &self,
        terms: Terms,
        work: impl FnMut(&Transaction<'_>, &mut H::Notes) -> rusqlite::Result<T> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        if let Some(jobs) = lock(&self.shared.jobs).as_ref() {
            // A thread that is gone drops the job and its reply.
            jobs.send(Box::new(Task { terms, work, outcome: None, reply })).ok();
        }
    }

    /// Has the thread do `work`. The job is in the queue when this returns, before the answer is
    /// awaited.
    pub fn write<T: Send + 'static>(
        &self,
        terms: Terms,
        work: impl FnMut(&Transaction<'_>, &mut H::Notes) -> rusqlite::Result<T> + Send + 'static,
    ) -> Written<T> {
        let (reply, answer) = oneshot::channel();
        self.submit(terms, work, move |result| drop(reply.send(result)));
        Written(answer)
    }

    /// Has the thread do `work`, as [`Self::write`] does, and waits for it on this thread.
    ///
    /// # Errors
    ///
    /// Nothing was done: the database failed, or the line is closed.
    pub fn write_blocking<T: Send + 'static>(
        &self,
        terms: Terms,
        work: impl FnMut(&Transaction<'_>, &mut H::Notes) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.submit(terms, work, move |result| drop(reply.send(result)));
        answer.recv().unwrap_or(Err(Error::Closed))
    }

    /// Reads on the calling thread, from one snapshot of what is committed.
    ///
    /// # Errors
    ///
    /// The database failed, or the line is closed.
    pub fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.shared.readers.read(work)
    }

    /// Reads as [`Self::read`] does, on a thread that may block. A call that waits for a reader
    /// needs no thread: hundreds that come at once would have one each, and these the processors.
    ///
    /// # Cancel safety
    ///
    /// A read that has begun is done, and its result dropped.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    ///
    /// # Panics
    ///
    /// Outside a runtime of Tokio.
    pub async fn read_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.shared.reading).acquire_owned().await;
        let line = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            line.read(work)
        });
        read.await.unwrap_or_else(|_| Err(failure(rusqlite::ffi::SQLITE_INTERNAL).into()))
    }

    /// Finishes the jobs that are queued and closes the file. What is asked for later answers
    /// [`Error::Closed`].
    pub fn close(&self) {
        self.shared.close();
    }
}

impl<H: Housekeeping> Shared<H> {
    fn close(&self) {
        // Readers first: the last connection to close folds the log into the file, and a reader
        // could not.
        self.readers.close();
        drop(lock(&self.jobs).take());
        // The queue is closed, so the thread ends after the jobs it already has.
        if let Some(thread) = lock(&self.thread).take()
            && thread.thread().id() != std::thread::current().id()
        {
            thread.join().ok();
        }
    }
}

impl<H: Housekeeping> Drop for Shared<H> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The answer of the thread that writes. Dropping it does not undo the work.
#[derive(Debug)]
pub struct Written<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Future for Written<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}

/// Locks a mutex whose data stays valid when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
