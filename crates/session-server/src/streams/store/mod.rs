//! The streams of this machine, in one SQLite database.
//!
//! One thread writes ([`sqlite_line`], [`tidying`]), and everybody reads on connections of their
//! own, each read a snapshot. Nothing about streams is kept in memory but who waits for them, so
//! that starting costs the same with one stream and with a thousand, and a reader of a long stream
//! costs a page.

mod append;
mod create;
mod listeners;
mod page;
mod remove;
mod schema;
mod stream;
mod tidying;
mod tx;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use durable_streams_server::{
    protocol::{error::Error, offset::Offset},
    storage::{ProducerAppendResult, ReadResult, StreamMetadata},
};
use rusqlite::Connection;
use sqlite_line::{Line, Room, Terms};
use tokio::sync::broadcast;

pub(crate) use append::{Append, end};
pub(crate) use create::{Create, Created, Fork};
pub(crate) use listeners::Wake;
pub(crate) use page::PAGE_BYTES;

use self::{
    listeners::Listeners,
    stream::Stream,
    tidying::Tidying,
    tx::{Stop, Tx, now},
};
use crate::config::StreamLimits;

const FILE: &str = "streams.sqlite";

/// A handle on the streams. Dropping it finishes what was asked and closes the database.
pub(crate) struct StreamStore {
    line: Line<Tidying>,
    limits: StreamLimits,
    listeners: Arc<Listeners>,
}

impl StreamStore {
    /// Whether there is a database in `folder`.
    pub(crate) fn found(folder: &Path) -> bool {
        folder.join(FILE).metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Opens or makes the database in `folder`. After an unclean stop the log beside it is played
    /// back.
    pub(crate) fn open(folder: &Path, limits: StreamLimits) -> Result<Self, String> {
        let listeners = Arc::new(Listeners::default());
        let opened = schema::open(&folder.join(FILE), limits.total_bytes);
        let line = opened
            .and_then(|opened| Ok(opened.start(Tidying::new(Arc::clone(&listeners)))?))
            .map_err(|error| error.to_string())?;
        Ok(Self { line, limits, listeners })
    }

    /// Has the writer do it and waits. Never on a thread of the runtime.
    fn write_blocking<T: Send + 'static>(
        &self,
        terms: Terms,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Error> {
        Stop::join(self.line.write_blocking(terms, in_tx(work)))
    }

    async fn write<T: Send + 'static>(
        &self,
        terms: Terms,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Error> {
        Stop::join(self.line.write(terms, in_tx(work)).await)
    }

    /// Reads in one snapshot.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, Error> {
        Stop::join(self.line.read(|db| Stop::split(work(db))))
    }

    /// Creates a stream with its first messages, all or nothing.
    pub(crate) fn create(&self, create: Create) -> Result<Created, Error> {
        let max = self.limits.stream_bytes;
        self.write_blocking(grows(create.size()), move |tx| create.run(tx, max))
    }

    /// Makes a stream as [`Self::create`] does, for callers that may not block.
    ///
    /// # Cancel safety
    ///
    /// What was asked is done, also when the future is dropped; so it is with every write here.
    pub(crate) async fn create_soon(&self, create: Create) -> Result<Created, Error> {
        let max = self.limits.stream_bytes;
        self.write(grows(create.size()), move |tx| create.run(tx, max)).await
    }

    /// Creates a fork.
    pub(crate) fn fork(&self, fork: Fork) -> Result<Created, Error> {
        let max = self.limits.stream_bytes;
        self.write_blocking(grows(fork.body.len()), move |tx| fork.run(tx, max))
    }

    /// Appends one batch, all or nothing. It is on the disk when this returns.
    pub(crate) fn append(&self, append: Append) -> Result<ProducerAppendResult, Error> {
        let max = self.limits.stream_bytes;
        self.write_blocking(grows(append.size()), move |tx| append.run(tx, max))
    }

    /// Appends as [`Self::append`] does, for callers that may not block.
    pub(crate) async fn append_soon(&self, append: Append) -> Result<ProducerAppendResult, Error> {
        let max = self.limits.stream_bytes;
        self.write(grows(append.size()), move |tx| append.run(tx, max)).await
    }

    /// Closes a stream.
    pub(crate) fn close(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.write_blocking(grows(0), move |tx| append::close(tx, &name))
    }

    /// Deletes a stream; its space is given back soon after.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.write_blocking(FREES, move |tx| remove::delete(tx, &name))
    }

    /// Deletes a stream whose name must be free again, also while forks read through it.
    pub(crate) async fn retire(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(FREES, move |tx| remove::retire(tx, &name)).await
    }

    /// Removes streams that have expired. Returns how many. The writer does so by itself when their
    /// time comes.
    pub(crate) fn expire(&self) -> usize {
        self.write_blocking(grows(0), |tx| Ok(remove::expire(tx)?)).unwrap_or(0)
    }

    /// One page from the offset on, which ends at the tail or says that it does not; and whether it
    /// is of JSON.
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
            let renew = in_tx(move |tx| append::renew(tx, id, until));
            self.line.submit(grows(0), renew, drop);
        }
        Ok(page)
    }

    /// Metadata of a stream, read without using the stream.
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

/// A job that makes room.
const FREES: Terms = Terms { size: 0, durable: true, overwrites: true, room: Room::Frees };

/// A job that writes so many bytes.
const fn grows(size: usize) -> Terms {
    Terms { size, room: Room::Leaves, ..FREES }
}

fn in_tx<T>(
    mut work: impl FnMut(&mut Tx<'_>) -> Result<T, Stop>,
) -> impl FnMut(&rusqlite::Transaction<'_>, &mut tx::Notes) -> rusqlite::Result<Result<T, Error>> {
    move |db, notes| Stop::split(work(&mut notes.tx(db)))
}

fn named(streams: Vec<Stream>) -> Vec<(String, StreamMetadata)> {
    let named = streams.into_iter().filter_map(|mut stream| {
        let name = stream.name.take()?;
        Some((name, stream.into_metadata()))
    });
    named.collect()
}
