//! The streams of this machine, in one SQLite database.
//!
//! One thread writes ([`writer`]), and everybody reads on connections of their own, each read a snapshot. Nothing about
//! streams is kept in memory but who waits for them, so that starting costs the same with one stream and with a
//! thousand, and a reader of a long stream costs a page.

mod append;
mod create;
mod listeners;
mod page;
mod remove;
mod schema;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use durable_streams_server::{
    protocol::{error::Error, offset::Offset},
    storage::{ProducerAppendResult, ReadResult, StreamMetadata},
};
use rusqlite::Connection;
use tokio::sync::{broadcast, oneshot};

pub(crate) use append::{Append, end};
pub(crate) use create::{Create, Created, Fork};
pub(crate) use listeners::Wake;
pub(crate) use page::PAGE_BYTES;

use self::{
    listeners::Listeners,
    stream::{Stream, now},
    writer::{Job, Task, Tx, Writer, failure},
};
use crate::{config::StreamLimits, reserve::Reserve};

const FILE: &str = "streams.sqlite";
/// Connections that are kept for readers; more are opened while more read at once.
const READERS: usize = 4;
/// Bytes that are kept on the disk for deletions, and what one of them needs: a page of each table, and a slice of
/// messages or a few pages that change places.
const RESERVE: u64 = 1 << 20;
const DELETION: u64 = 512 << 10;

/// Why a job ended early: the request is refused and nothing was changed, or the database failed.
enum Stop {
    Refused(Error),
    Database(rusqlite::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) => error,
            Stop::Database(error) => failure(&error),
        }
    }
}

/// A handle on the streams. Dropping it finishes what was asked and closes the database.
pub(crate) struct StreamStore {
    file: PathBuf,
    limits: StreamLimits,
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<thread::JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
    listeners: Arc<Listeners>,
}

impl StreamStore {
    /// Whether there is a database in `folder`.
    pub(crate) fn found(folder: &Path) -> bool {
        folder.join(FILE).metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Opens or makes the database in `folder`. After an unclean stop the log beside it is played back.
    pub(crate) fn open(folder: &Path, limits: StreamLimits) -> Result<Self, String> {
        let file = folder.join(FILE);
        let mut reserve = Reserve::found(folder, RESERVE, DELETION);
        let db = match schema::open_writer(&file, limits.total_bytes) {
            // The files beside the database may need room.
            Err(_) if reserve.give_up() => schema::open_writer(&file, limits.total_bytes)?,
            opened => opened?,
        };
        reserve.keep();
        let (jobs, received) = mpsc::channel();
        let listeners = Arc::new(Listeners::default());
        let writer = Writer {
            db,
            file: file.clone(),
            reserve,
            jobs: received,
            listeners: Arc::clone(&listeners),
            unfolded: 0,
            untidy: false,
        };
        let writer = thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| error.to_string())?;
        let readers = Mutex::default();
        Ok(Self { file, limits, jobs: Some(jobs), writer: Some(writer), readers, listeners })
    }

    fn submit<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        self.submit_task(Task { size, frees: false, work, outcome: None, reply });
    }

    fn submit_task(&self, task: impl Job + 'static) {
        if let Some(jobs) = &self.jobs {
            jobs.send(Box::new(task)).ok(); // a writer that is gone answers nobody, which they notice
        }
    }

    /// Has the writer do it and waits. Never on a thread of the runtime.
    fn write_blocking<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.submit(size, work, move |result| drop(reply.send(result)));
        answer.recv().unwrap_or_else(|_| Err(writer_gone()))
    }

    async fn write<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.submit(size, work, move |result| drop(reply.send(result)));
        answer.await.unwrap_or_else(|_| Err(writer_gone()))
    }

    /// Reads in one snapshot.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, Error> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let open = || schema::open_reader(&self.file).map_err(|error| failure(&error));
        let db = kept.map_or_else(open, Ok)?;
        let result = (|| {
            let snapshot = db.unchecked_transaction()?;
            let result = work(&db)?;
            drop(snapshot);
            Ok(result)
        })();
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(db);
        }
        result.map_err(|stop: Stop| stop.into())
    }

    /// Creates a stream with its first messages, all or nothing.
    pub(crate) fn create(&self, create: Create) -> Result<Created, Error> {
        let max = self.limits.stream_bytes;
        self.write_blocking(create.size(), move |tx| create.run(tx, max))
    }

    /// As [`Self::create`], for who may not block.
    ///
    /// # Cancel safety
    ///
    /// What was asked is done, also when the future is dropped; so it is with every write here.
    pub(crate) async fn create_soon(&self, create: Create) -> Result<Created, Error> {
        let max = self.limits.stream_bytes;
        self.write(create.size(), move |tx| create.run(tx, max)).await
    }

    /// Creates a fork.
    pub(crate) fn fork(&self, fork: Fork) -> Result<Created, Error> {
        let max = self.limits.stream_bytes;
        self.write_blocking(fork.body.len(), move |tx| fork.run(tx, max))
    }

    /// Appends one batch, all or nothing. It is on the disk when this returns.
    pub(crate) fn append(&self, append: Append) -> Result<ProducerAppendResult, Error> {
        let max = self.limits.stream_bytes;
        self.write_blocking(append.size(), move |tx| append.run(tx, max))
    }

    /// As [`Self::append`], for who may not block.
    pub(crate) async fn append_soon(&self, append: Append) -> Result<ProducerAppendResult, Error> {
        let max = self.limits.stream_bytes;
        self.write(append.size(), move |tx| append.run(tx, max)).await
    }

    /// Closes a stream.
    pub(crate) fn close(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.write_blocking(0, move |tx| append::close(tx, &name))
    }

    /// Deletes a stream; its space is given back soon after.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        let (reply, answer) = mpsc::sync_channel(1);
        let work = move |tx: &mut Tx<'_>| remove::delete(tx, &name);
        let reply = move |result| drop(reply.send(result));
        self.submit_task(Task { size: 0, frees: true, work, outcome: None, reply });
        answer.recv().unwrap_or_else(|_| Err(writer_gone()))
    }

    /// Deletes a stream whose name must be free again, also while forks read through it.
    pub(crate) async fn retire(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        let (reply, answer) = oneshot::channel();
        let work = move |tx: &mut Tx<'_>| remove::retire(tx, &name);
        let reply = move |result| drop(reply.send(result));
        self.submit_task(Task { size: 0, frees: true, work, outcome: None, reply });
        answer.await.unwrap_or_else(|_| Err(writer_gone()))
    }

    /// Removes streams that have expired; how many. The writer does so by itself when their time comes.
    pub(crate) fn expire(&self) -> usize {
        self.write_blocking(0, |tx| Ok(remove::expire(tx)?)).unwrap_or(0)
    }

    /// One page from the offset on, which ends at the tail or says that it does not; and whether it is of JSON.
    pub(crate) fn page(&self, name: &str, from: &Offset) -> Result<(ReadResult, bool), Error> {
        let now = now();
        let (page, renewal) = self.read(|db| {
            let stream = Stream::usable(db, name, now)?;
            let renewal = stream.renewed(now).map(|until| (stream.id, until, &stream.config));
            // Moving the end by less than a hundredth of the time to live is not worth a write.
            let renewal = renewal.filter(|(_, until, config)| {
                let ends = config.expires_at.map_or(0, |at| at.timestamp_millis());
                (until - ends).saturating_mul(100) >= until - now
            });
            let renewal = renewal.map(|(id, until, _)| (id, until));
            Ok(((page::page(db, &stream, from)?, stream.is_json()), renewal))
        })?;
        if let Some((id, until)) = renewal {
            self.submit(0, move |tx| append::renew(tx, id, until), drop);
        }
        Ok(page)
    }

    /// What is known of a stream, without using it.
    pub(crate) fn head(&self, name: &str) -> Result<StreamMetadata, Error> {
        self.read(|db| Ok(Stream::usable(db, name, now())?.into_metadata()))
    }

    /// Every stream, by name.
    pub(crate) fn list(&self) -> Result<Vec<(String, StreamMetadata)>, Error> {
        let streams = self.read(|db| Ok(Stream::all(db, now())?))?;
        Ok(named(streams))
    }

    /// A page of the streams whose names begin with this, by name, behind one of them.
    pub(crate) fn list_below(
        &self,
        prefix: &str,
        after: &str,
    ) -> Result<Vec<(String, StreamMetadata)>, Error> {
        let streams = self.read(|db| Ok(Stream::below(db, now(), prefix, after)?))?;
        Ok(named(streams))
    }

    /// Calls when there is something new in the stream, or it is gone. `None` when it is not there.
    pub(crate) fn subscribe(&self, name: &str) -> Option<(Wake, broadcast::Receiver<()>)> {
        self.head(name).ok()?;
        Some(self.listeners.add(name))
    }
}

impl Drop for StreamStore {
    fn drop(&mut self) {
        self.jobs = None;
        self.readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

fn named(streams: Vec<Stream>) -> Vec<(String, StreamMetadata)> {
    let named = streams.into_iter().filter_map(|mut stream| {
        let name = stream.name.take()?;
        Some((name, stream.into_metadata()))
    });
    named.collect()
}

fn writer_gone() -> Error {
    Error::storage_unavailable("sqlite", "write", "the writer ended")
}
