//! Removing streams: at once for everybody who asks, and a slice at a time on the disk.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    schema::message_id,
    stream::Stream,
    tx::{Effect, Stop, Tx},
};
use durable_streams_server::protocol::error::Error;

/// Bytes of messages that one slice deletes, about: they are overwritten, so it writes as many.
const SLICE_BYTES: u64 = 1 << 20;
/// Bytes of messages that one slice deletes while there is no reserve.
const SCARCE_SLICE_BYTES: u64 = 128 << 10;
/// Messages that one slice deletes at most.
const SLICE_MESSAGES: u64 = 2048;
/// Streams that one slice expires at most.
const SLICE_STREAMS: usize = 256;
/// Pages given back in one transaction.
const GIVE_BACK_PAGES: u64 = 1024;
/// Pages given back in one transaction while there is no reserve: each may have to change places
/// with another.
const SCARCE_GIVE_BACK_PAGES: u64 = 32;

/// The result of a slice.
pub(super) struct Slice {
    pub(super) more: bool,
    pub(super) bytes: usize,
}

/// Deletes a stream for its owner; while forks read through it, it is only hidden.
pub(super) fn delete(tx: &mut Tx<'_>, name: &str) -> Result<(), Stop> {
    let stream = Stream::find(tx.db, name)?.ok_or_else(|| Error::NotFound(name.to_owned()))?;
    if stream.hidden {
        return Err(Error::StreamGone(name.to_owned()).into());
    }
    remove(tx, &stream)
}

/// Deletes a stream for good: its name is free again, and of its messages only those stay that
/// forks read through it. More than PROTOCOL asks for, which keeps the name of a stream with forks.
pub(super) fn retire(tx: &mut Tx<'_>, name: &str) -> Result<(), Stop> {
    let stream = Stream::find(tx.db, name)?.ok_or_else(|| Error::NotFound(name.to_owned()))?;
    if !stream.hidden {
        remove(tx, &stream)?;
    }
    if !stream.has_forks(tx.db)? {
        return Ok(());
    }
    let shared: u64 = tx
        .db
        .prepare_cached("SELECT max(fork_seq) FROM streams WHERE source = ?1 AND name IS NOT NULL")?
        .query_row([stream.id], |row| row.get(0))?;
    let (from, until) = (shared.max(stream.fork_seq), stream.next_seq);
    if from < until {
        let own = (until - stream.fork_seq).max(1);
        let bytes = u128::from(stream.bytes) * u128::from(until - from) / u128::from(own);
        let bytes = u64::try_from(bytes).unwrap_or(stream.bytes);
        // A removed stream that has the messages of this one: slice by slice they go.
        tx.db
            .prepare_cached(
                "INSERT INTO streams (name, content_type, created_closed, closed, next_seq, next_byte, bytes, \
                 created_at, source, fork_seq) VALUES (NULL, '', 0, 1, ?2, 0, ?3, ?4, ?1, ?5)",
            )?
            .execute(params![stream.id, until, bytes, tx.now, from])?;
        *tx.litter = true;
    }
    // No name that a request can have.
    tx.db
        .prepare_cached("UPDATE streams SET name = ?2, next_seq = ?3 WHERE id = ?1")?
        .execute(params![stream.id, format!("\0{}", stream.id), from])?;
    Ok(())
}

/// Hides the stream, or takes its name and leaves its messages to [`slice`].
pub(super) fn remove(tx: &mut Tx<'_>, stream: &Stream) -> Result<(), Stop> {
    if let Some(name) = &stream.name {
        tx.effects.push(Effect::Gone(name.clone()));
    }
    if stream.has_forks(tx.db)? {
        tx.db
            .prepare_cached(
                "UPDATE streams SET hidden = 1, ttl = NULL, expires_at = NULL WHERE id = ?1",
            )?
            .execute([stream.id])?;
        return Ok(());
    }
    *tx.litter = true;
    tx.db
        .prepare_cached(
            "UPDATE streams SET name = NULL, source = NULL, expires_at = NULL WHERE id = ?1",
        )?
        .execute([stream.id])?;
    tx.db.prepare_cached("DELETE FROM producers WHERE stream = ?1")?.execute([stream.id])?;
    // The last fork of a hidden stream takes it along.
    if let Some(source) = stream.source
        && let Some(source) = Stream::by_id(tx.db, source)?
        && source.hidden
        && !source.has_forks(tx.db)?
    {
        remove(tx, &source)?;
    }
    Ok(())
}

/// Removes streams that have expired, then deletes some messages of a removed stream.
pub(super) fn slice(tx: &mut Tx<'_>, scarce: bool) -> rusqlite::Result<Slice> {
    let expired = expire(tx)?;
    let removed: Option<(i64, i64, u64, u64, u64)> = tx
        .db
        .prepare_cached(
            "SELECT id, coalesce(source, id), fork_seq, next_seq, bytes FROM streams WHERE name IS NULL LIMIT 1",
        )?
        .query_row([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((id, owner, first, end, bytes)) = removed else {
        return Ok(Slice { more: expired == SLICE_STREAMS, bytes: 0 });
    };
    if first >= end {
        tx.db.prepare_cached("DELETE FROM streams WHERE id = ?1")?.execute([id])?;
        return Ok(Slice { more: true, bytes: 0 });
    }
    let average = bytes / (end - first) + 1;
    let most = if scarce { SCARCE_SLICE_BYTES } else { SLICE_BYTES };
    let until = end.min(first + (most / average).clamp(1, SLICE_MESSAGES));
    tx.db
        .prepare_cached("DELETE FROM messages WHERE id >= ?1 AND id < ?2")?
        .execute(params![message_id(owner, first), message_id(owner, until)])?;
    let gone = (average * (until - first)).min(bytes);
    tx.db
        .prepare_cached("UPDATE streams SET fork_seq = ?2, bytes = bytes - ?3 WHERE id = ?1")?
        .execute(params![id, until, gone])?;
    Ok(Slice { more: true, bytes: usize::try_from(gone).unwrap_or(usize::MAX) })
}

/// Sets whether the pages that are freed are overwritten at once. Where that has no room, giving
/// them back removes what they hold.
pub(super) fn overwrite(db: &Connection, at_once: bool) -> rusqlite::Result<()> {
    db.pragma_update(None, "secure_delete", if at_once { "ON" } else { "FAST" })
}

/// Removes streams whose time is over. Returns how many.
pub(super) fn expire(tx: &mut Tx<'_>) -> rusqlite::Result<usize> {
    let ids: Vec<i64> = tx
        .db
        .prepare_cached("SELECT id FROM streams WHERE expires_at <= ?1 LIMIT ?2")?
        .query_map(params![tx.now, SLICE_STREAMS], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ids {
        if let Some(stream) = Stream::by_id(tx.db, *id)? {
            match remove(tx, &stream) {
                Ok(()) | Err(Stop::Refused(_)) => {}
                Err(Stop::Database(error)) => return Err(error),
            }
        }
    }
    Ok(ids.len())
}

/// Time at which the next stream expires, in ms since 1970.
pub(super) fn next_expiry(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT min(expires_at) FROM streams WHERE expires_at IS NOT NULL")?
        .query_row([], |row| row.get(0))
}

/// The fate of the file's free pages.
pub(super) enum GivenBack {
    /// No page was free.
    Nothing,
    /// Pages were given back, and more may be free.
    Some,
    /// The last ones were given back, or cannot be.
    All,
}

/// Shortens the file by some of its free pages.
pub(super) fn give_back(db: &Connection, scarce: bool) -> rusqlite::Result<GivenBack> {
    let free = || db.pragma_query_value(None, "freelist_count", |row| row.get::<_, u64>(0));
    let before = free()?;
    if before == 0 {
        return Ok(GivenBack::Nothing);
    }
    let pages = if scarce { SCARCE_GIVE_BACK_PAGES } else { GIVE_BACK_PAGES };
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    let after = free()?;
    let done = after == 0 || after >= before;
    Ok(if done { GivenBack::All } else { GivenBack::Some })
}
