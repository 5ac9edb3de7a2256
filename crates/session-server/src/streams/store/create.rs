//! Creating streams, from nothing or as a fork of another.
//!
//! A fork holds only what is its own: it reads through its source up to where it branched off, and
//! both count offsets alike. A fork inside a message (a sub-offset of a stream of bytes) owns a
//! copy of the part that it took over.

use bytes::Bytes;
use durable_streams_server::{
    protocol::{error::Error, offset::Offset},
    storage::{CreateStreamResult, StreamConfig},
};
use rusqlite::params;

use super::{
    append::put,
    page::{boundary, message},
    remove,
    stream::Stream,
    tx::{Stop, Tx},
};
use crate::streams::json;

/// A stream to be made.
pub(crate) struct Create {
    pub(crate) name: String,
    pub(crate) config: StreamConfig,
    pub(crate) items: Vec<Bytes>,
    pub(crate) close: bool,
}

/// A fork to be made.
pub(crate) struct Fork {
    pub(crate) name: String,
    pub(crate) source: String,
    /// Offset at which the fork branches off; the source's tail if absent.
    pub(crate) at: Option<Offset>,
    /// Number of messages (of JSON) or bytes beyond that offset.
    pub(crate) part: u64,
    /// Settings of the fork. The content type counts only if `typed`.
    pub(crate) config: StreamConfig,
    /// The request named a content type, which must then be the source's.
    pub(crate) typed: bool,
    /// The request's body: first messages of its own.
    pub(crate) body: Bytes,
}

/// A stream that was created, or was there and is the same.
pub(crate) struct Created {
    pub(crate) status: CreateStreamResult,
    pub(crate) next_offset: Offset,
    pub(crate) closed: bool,
}

impl Create {
    pub(super) fn size(&self) -> usize {
        self.items.iter().map(Bytes::len).sum()
    }

    pub(super) fn run(&self, tx: &mut Tx<'_>, max: Option<u64>) -> Result<Created, Stop> {
        if let Some(existing) = free_name(tx, &self.name)? {
            let same = existing.source.is_none() && is_same(&existing, &self.config);
            return there(&existing, same);
        }
        let mut stream = insert(tx, &self.name, &self.config, None)?;
        fill(tx, &mut stream, &self.items, self.close, max)
    }
}

impl Fork {
    pub(super) fn run(&self, tx: &mut Tx<'_>, max: Option<u64>) -> Result<Created, Stop> {
        let source = Stream::find(tx.db, &self.source)?
            .ok_or_else(|| Error::NotFound(self.source.clone()))?;
        if source.hidden {
            return Err(Error::ForkFromTombstone(self.source.clone()).into());
        }
        if source.is_expired(tx.now) {
            return Err(Error::StreamExpired.into());
        }
        if self.typed && !self.config.content_type.eq_ignore_ascii_case(&source.config.content_type)
        {
            return Err(Error::ContentTypeMismatch {
                expected: source.config.content_type,
                actual: self.config.content_type.clone(),
            }
            .into());
        }
        let branch = self.branch(tx, &source)?;
        let config = self.inherit(&source, tx.now);
        if let Some(existing) = free_name(tx, &self.name)? {
            let same = existing.source == Some(source.id)
                && is_same(&existing, &config)
                // Without an offset it is the tail at that time, whatever has come since.
                && (self.at.is_none()
                    || (existing.fork_seq, existing.fork_part) == (branch.seq, branch.part.len() as u64));
            return there(&existing, same);
        }
        let mut items = Vec::new();
        if !branch.part.is_empty() {
            items.push(branch.part.clone());
        }
        if !self.body.is_empty() {
            if source.is_json() {
                items.append(&mut json::all_items(&self.body)?);
            } else {
                items.push(self.body.clone());
            }
        }
        let mut stream = insert(tx, &self.name, &config, Some((&source, &branch)))?;
        fill(tx, &mut stream, &items, config.created_closed, max)
    }

    fn branch(&self, tx: &Tx<'_>, source: &Stream) -> Result<Branch, Stop> {
        let (mut seq, mut byte) = match &self.at {
            Some(at) => boundary(tx.db, source, at).map_err(|stop| match stop {
                Stop::Refused(Error::InvalidOffset(_)) => Error::ForkOffsetBeyondTail.into(),
                other => other,
            })?,
            None => (source.next_seq, source.next_byte),
        };
        let mut part = Bytes::new();
        if self.part > 0 && source.is_json() {
            seq = seq.saturating_add(self.part);
            if seq > source.next_seq {
                return Err(Error::ForkOffsetBeyondTail.into());
            }
            byte = if seq == source.next_seq {
                source.next_byte
            } else {
                message(tx.db, source, seq)?.ok_or(Error::ForkOffsetBeyondTail)?.0
            };
        } else if self.part > 0 {
            let (_, data) = message(tx.db, source, seq)?.ok_or(Error::ForkOffsetBeyondTail)?;
            let length = usize::try_from(self.part).unwrap_or(usize::MAX);
            if length > data.len() {
                return Err(Error::ForkOffsetBeyondTail.into());
            }
            part = data.slice(..length);
        }
        Ok(Branch { seq, byte, part })
    }

    /// Settings of the fork: the content type of its source, and its own time to live, or the
    /// source's from now on.
    fn inherit(&self, source: &Stream, now: i64) -> StreamConfig {
        let mut config = self.config.clone();
        config.content_type.clone_from(&source.config.content_type);
        if config.ttl_seconds.is_none() && config.expires_at.is_none() {
            config.ttl_seconds = source.config.ttl_seconds;
            config.expires_at = match source.renewed(now) {
                Some(at) => chrono::DateTime::from_timestamp_millis(at),
                None => source.config.expires_at,
            };
        }
        config
    }
}

/// The place at which a fork leaves its source.
struct Branch {
    seq: u64,
    byte: u64,
    /// The beginning of the message at `seq` that the fork takes over.
    part: Bytes,
}

/// The stream that has the name, unless it has expired and can make way.
fn free_name(tx: &mut Tx<'_>, name: &str) -> Result<Option<Stream>, Stop> {
    let Some(existing) = Stream::find(tx.db, name)? else { return Ok(None) };
    if existing.hidden || (existing.is_expired(tx.now) && existing.has_forks(tx.db)?) {
        return Err(Error::StreamPathBlocked(name.to_owned()).into());
    }
    if existing.is_expired(tx.now) {
        remove::remove(tx, &existing)?;
        return Ok(None);
    }
    Ok(Some(existing))
}

/// PROTOCOL, "Create": repeating a PUT is no error, asking for something else is; closed or not is
/// part of it.
fn is_same(existing: &Stream, wanted: &StreamConfig) -> bool {
    let config = &existing.config;
    config.content_type.eq_ignore_ascii_case(&wanted.content_type)
        && config.ttl_seconds == wanted.ttl_seconds
        && existing.closed == wanted.created_closed
        && (wanted.ttl_seconds.is_some()
            || config.expires_at.map(|at| at.timestamp_millis())
                == wanted.expires_at.map(|at| at.timestamp_millis()))
}

fn there(existing: &Stream, same: bool) -> Result<Created, Stop> {
    if !same {
        return Err(Error::ConfigMismatch.into());
    }
    let status = CreateStreamResult::AlreadyExists;
    Ok(Created { status, next_offset: existing.tail(), closed: existing.closed })
}

fn insert(
    tx: &Tx<'_>,
    name: &str,
    config: &StreamConfig,
    fork: Option<(&Stream, &Branch)>,
) -> Result<Stream, Stop> {
    let (source, seq, byte, part) = fork.map_or((None, 0, 0, 0), |(source, branch)| {
        (Some(source.id), branch.seq, branch.byte, branch.part.len() as u64)
    });
    tx.db
        .prepare_cached(
            "INSERT INTO streams (name, content_type, ttl, expires_at, created_closed, closed, next_seq, next_byte, \
             bytes, created_at, source, fork_seq, fork_part) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, 0, ?8, ?9, ?6, ?10)",
        )?
        .execute(params![
            name,
            config.content_type,
            config.ttl_seconds,
            config.expires_at.map(|at| at.timestamp_millis()),
            config.created_closed,
            seq,
            byte,
            tx.now,
            source,
            part
        ])?;
    let stream = Stream::by_id(tx.db, tx.db.last_insert_rowid())?;
    Ok(stream.expect("a row that was just inserted is there"))
}

fn fill(
    tx: &Tx<'_>,
    stream: &mut Stream,
    items: &[Bytes],
    close: bool,
    max: Option<u64>,
) -> Result<Created, Stop> {
    let size: u64 = items.iter().map(|item| item.len() as u64).sum();
    if max.is_some_and(|max| size > max) {
        // Nothing of it may stay: the stream was never there.
        tx.db.prepare_cached("DELETE FROM streams WHERE id = ?1")?.execute([stream.id])?;
        return Err(Error::StreamSizeLimitExceeded.into());
    }
    put(tx, stream, items)?;
    stream.closed = close;
    tx.db
        .prepare_cached(
            "UPDATE streams SET closed = ?2, next_seq = ?3, next_byte = ?4, bytes = ?5 WHERE id = ?1",
        )?
        .execute(params![stream.id, stream.closed, stream.next_seq, stream.next_byte, stream.bytes])?;
    let status = CreateStreamResult::Created;
    Ok(Created { status, next_offset: stream.tail(), closed: stream.closed })
}
