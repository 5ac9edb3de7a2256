//! One stream's row: what is known of it, and whether it can be used.

use chrono::{DateTime, Utc};
use durable_streams_server::{
    protocol::{error::Error, offset::Offset},
    storage::{StreamConfig, StreamMetadata},
};
use rusqlite::{Connection, OptionalExtension, Row};

use super::tx::Stop;

/// A stream as it is stored.
pub(super) struct Stream {
    pub(super) id: i64,
    pub(super) name: Option<String>,
    pub(super) config: StreamConfig,
    pub(super) closed: bool,
    pub(super) hidden: bool,
    pub(super) next_seq: u64,
    pub(super) next_byte: u64,
    pub(super) bytes: u64,
    pub(super) writer_seq: Option<String>,
    created_at: i64,
    updated_at: Option<i64>,
    pub(super) source: Option<i64>,
    pub(super) fork_seq: u64,
    pub(super) fork_part: u64,
}

const COLUMNS: &str = "id, name, content_type, ttl, expires_at, created_closed, closed, hidden, next_seq, next_byte, \
    bytes, writer_seq, created_at, updated_at, source, fork_seq, fork_part";

/// Streams of one page of a list.
const LISTED: usize = 1_000;

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

impl Stream {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut config = StreamConfig::new(row.get(2)?);
        config.ttl_seconds = row.get(3)?;
        config.expires_at = row.get::<_, Option<i64>>(4)?.map(time);
        config.created_closed = row.get(5)?;
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            config,
            closed: row.get(6)?,
            hidden: row.get(7)?,
            next_seq: row.get(8)?,
            next_byte: row.get(9)?,
            bytes: row.get(10)?,
            writer_seq: row.get(11)?,
            created_at: row.get(12)?,
            updated_at: row.get(13)?,
            source: row.get(14)?,
            fork_seq: row.get(15)?,
            fork_part: row.get(16)?,
        })
    }

    /// The stream of this name in whatever state.
    pub(super) fn find(db: &Connection, name: &str) -> rusqlite::Result<Option<Self>> {
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM streams WHERE name = ?1"))?
            .query_row([name], Self::from_row)
            .optional()
    }

    /// The stream with this id, which a fork holds.
    pub(super) fn by_id(db: &Connection, id: i64) -> rusqlite::Result<Option<Self>> {
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM streams WHERE id = ?1"))?
            .query_row([id], Self::from_row)
            .optional()
    }

    /// The stream of this name, when it can be used: not deleted, not expired.
    pub(super) fn usable(db: &Connection, name: &str, now: i64) -> Result<Self, Stop> {
        let stream = Self::find(db, name)?.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        if stream.hidden {
            return Err(Error::StreamGone(name.to_owned()).into());
        }
        if stream.is_expired(now) {
            return Err(Error::StreamExpired.into());
        }
        Ok(stream)
    }

    /// Every stream that can be used, by name.
    pub(super) fn all(db: &Connection, now: i64) -> rusqlite::Result<Vec<Self>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM streams WHERE name IS NOT NULL AND NOT hidden \
             AND (expires_at IS NULL OR expires_at > ?1) ORDER BY name"
        );
        db.prepare_cached(&sql)?.query_map([now], Self::from_row)?.collect()
    }

    /// Some streams that can be used whose names begin with this, by name, behind one of them.
    pub(super) fn below(
        db: &Connection,
        now: i64,
        prefix: &str,
        after: &str,
    ) -> rusqlite::Result<Vec<Self>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM streams WHERE name > ?2 AND name < ?3 AND NOT hidden \
             AND (expires_at IS NULL OR expires_at > ?1) ORDER BY name LIMIT {LISTED}"
        );
        let end = format!("{prefix}\u{10ffff}");
        db.prepare_cached(&sql)?
            .query_map(rusqlite::params![now, after.max(prefix), end], Self::from_row)?
            .collect()
    }

    pub(super) fn is_expired(&self, now: i64) -> bool {
        self.config.expires_at.is_some_and(|at| at.timestamp_millis() <= now)
    }

    /// Whether forks read through it.
    pub(super) fn has_forks(&self, db: &Connection) -> rusqlite::Result<bool> {
        db.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM streams WHERE source = ?1 AND name IS NOT NULL)",
        )?
        .query_row([self.id], |row| row.get(0))
    }

    /// Offset of the next message.
    pub(super) fn tail(&self) -> Offset {
        Offset::new(self.next_seq, self.next_byte)
    }

    /// Time at which the stream ends if it is used now; `None` where its end does not move.
    pub(super) fn renewed(&self, now: i64) -> Option<i64> {
        let ttl = i64::try_from(self.config.ttl_seconds?).unwrap_or(i64::MAX);
        Some(now.saturating_add(ttl.saturating_mul(1000)))
    }

    pub(super) fn is_json(&self) -> bool {
        self.config.content_type == "application/json"
    }

    pub(super) fn into_metadata(self) -> StreamMetadata {
        StreamMetadata {
            next_offset: self.tail(),
            closed: self.closed,
            total_bytes: self.bytes,
            message_count: self.next_seq,
            created_at: time(self.created_at),
            updated_at: self.updated_at.map(time),
            config: self.config,
        }
    }
}
