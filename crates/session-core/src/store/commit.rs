//! One batch's worth of a session, written in one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};

use super::key::as_sql;
use super::{SessionHead, SessionKey, Store, Written, outbox, search, segments};
use crate::words::SearchText;

/// A row of a small collection to write.
pub(crate) struct RowWrite {
    pub(crate) collection: &'static str,
    pub(crate) key: String,
    /// `None`: it goes.
    pub(crate) json: Option<String>,
    /// The session cannot be shown without it.
    pub(crate) standing: bool,
}

/// A message that changed.
pub(crate) struct MessageWrite {
    pub(crate) id: String,
    pub(crate) position: u64,
    pub(crate) hidden: bool,
    /// The message is complete: no more of it is expected.
    pub(crate) complete: bool,
    pub(crate) role: &'static str,
    pub(crate) actor: Option<String>,
    /// The message as JSON. `None`: the stored row stays and is marked stale; its segments have
    /// the rest.
    pub(crate) row: Option<String>,
    /// Searched text, when `row` is written.
    pub(crate) text: SearchText,
}

/// Everything that one or more batches changed in a session.
pub(crate) struct Commit {
    pub(crate) session: SessionKey,
    /// The number of this commit: one more than the one before.
    pub(crate) number: u64,
    pub(crate) head: SessionHead,
    /// The stream was reset: all earlier rows go first.
    pub(crate) reset: bool,
    pub(crate) removed: Vec<String>,
    pub(crate) messages: Vec<MessageWrite>,
    /// `(message id, JSON array of raw log entries)`.
    pub(crate) segments: Vec<(String, String)>,
    /// `(collection, key, JSON)`; `None` deletes the row.
    pub(crate) rows: Vec<RowWrite>,
    /// Outbox entries whose echo is in this commit (L6).
    pub(crate) echoed: Vec<String>,
}

impl Store {
    /// Writes rows, offset and echoes in one transaction (L2). The commit is shared, so that it
    /// can be tried again when the disk was full.
    pub(crate) fn commit(&self, commit: Arc<Commit>) -> Written<()> {
        self.write(move |tx| apply(tx, &commit))
    }
}

fn apply(tx: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<()> {
    let n = commit.session.0;
    if commit.reset {
        search::remove_session(tx, commit.session)?;
        for table in ["messages", "segments", "rows"] {
            tx.execute(&format!("DELETE FROM {table} WHERE session = ?1"), [n])?;
        }
    }
    for id in &commit.removed {
        if let Some(position) = position(tx, n, id)? {
            search::remove(tx, n, position)?;
        }
        tx.prepare_cached("DELETE FROM messages WHERE session = ?1 AND id = ?2")?
            .execute(params![n, id])?;
        tx.prepare_cached("DELETE FROM segments WHERE session = ?1 AND message = ?2")?
            .execute(params![n, id])?;
    }
    for message in &commit.messages {
        write_message(tx, n, message)?;
    }
    let complete: HashSet<&str> =
        commit.messages.iter().filter(|m| m.complete).map(|m| m.id.as_str()).collect();
    for (message, log) in &commit.segments {
        segments::append(tx, n, message, log, complete.contains(message.as_str()))?;
    }
    for RowWrite { collection, key, json, standing } in &commit.rows {
        match json {
            Some(json) => tx
                .prepare_cached(
                    "INSERT INTO rows (session, collection, key, json, standing)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (session, collection, key) DO UPDATE SET json = ?4, standing = ?5",
                )?
                .execute(params![n, collection, key, json, standing])?,
            None => tx
                .prepare_cached(
                    "DELETE FROM rows WHERE session = ?1 AND collection = ?2 AND key = ?3",
                )?
                .execute(params![n, collection, key])?,
        };
    }
    for id in &commit.echoed {
        outbox::remove(tx, id)?;
    }
    let head = &commit.head;
    tx.prepare_cached(
        "UPDATE sessions SET title = ?2, created_at = ?3, last_activity = ?4, preview = ?5,
           state = ?6, stream_offset = ?7, synced_at = ?8, closed = ?9, notice = ?10, remote = ?11,
           commits = ?12
         WHERE n = ?1 AND deleted = 0",
    )?
    .execute(params![
        n,
        head.title,
        head.created_at,
        head.last_activity,
        head.preview,
        head.state,
        head.offset,
        head.synced_at,
        head.closed,
        head.notice,
        head.remote,
        as_sql(commit.number),
    ])?;
    Ok(())
}

/// Position of a stored message.
fn position(tx: &Transaction<'_>, n: i64, id: &str) -> rusqlite::Result<Option<i64>> {
    tx.prepare_cached("SELECT position FROM messages WHERE session = ?1 AND id = ?2")?
        .query_row(params![n, id], |row| row.get(0))
        .optional()
}

fn write_message(tx: &Transaction<'_>, n: i64, message: &MessageWrite) -> rusqlite::Result<()> {
    match &message.row {
        Some(row) => {
            let at = as_sql(message.position);
            if let Some(before) = position(tx, n, &message.id)?.filter(|before| *before != at) {
                search::remove(tx, n, before)?;
            }
            search::put(tx, n, message.position, &message.text)?;
            tx.prepare_cached(
                "INSERT INTO messages (session, id, position, hidden, role, actor, stale, row)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)
                 ON CONFLICT (session, id) DO UPDATE SET position = ?3, hidden = ?4, role = ?5,
                   actor = ?6, stale = 0, row = ?7",
            )?
            .execute(params![
                n,
                message.id,
                at,
                message.hidden,
                message.role,
                message.actor,
                row
            ])?
        }
        None => tx
            .prepare_cached("UPDATE messages SET stale = 1 WHERE session = ?1 AND id = ?2")?
            .execute(params![n, message.id])?,
    };
    Ok(())
}
