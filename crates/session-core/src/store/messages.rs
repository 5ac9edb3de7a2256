//! Tables `messages` and `segments`: folded messages, and the raw log they were folded from.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SessionKey;
use super::key::as_sql;

/// A message as stored. `row` is the message as JSON.
pub(crate) struct StoredRow {
    pub(crate) id: String,
    pub(crate) position: u64,
    /// `row` is older than the segments: fold the message from them instead.
    pub(crate) stale: bool,
    pub(crate) row: String,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    Ok(StoredRow {
        id: row.get(0)?,
        position: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        stale: row.get(2)?,
        // What is no text is read as nothing, and folded from the segments instead.
        row: row.get_ref(3)?.as_str().unwrap_or_default().to_owned(),
    })
}

/// The last `limit` shown messages before `before` (a position), oldest first, and whether there
/// are more. Costs in proportion to `limit`, not to the session (L13).
pub(crate) fn page(
    connection: &Connection,
    session: SessionKey,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<(Vec<StoredRow>, bool)> {
    let before = before.map_or(i64::MAX, as_sql);
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows: Vec<StoredRow> = connection
        .prepare_cached(
            "SELECT id, position, stale, row FROM messages
             WHERE session = ?1 AND hidden = 0 AND position < ?2
             ORDER BY position DESC LIMIT ?3",
        )?
        .query_map(params![session.0, before, wanted], from_row)?
        .collect::<rusqlite::Result<_>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.reverse();
    Ok((rows, more))
}

/// The first `limit` shown messages at `from` (a position) or later, oldest first, and whether
/// there are more. Costs in proportion to `limit` (L13).
pub(crate) fn page_from(
    connection: &Connection,
    session: SessionKey,
    from: u64,
    limit: usize,
) -> rusqlite::Result<(Vec<StoredRow>, bool)> {
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows: Vec<StoredRow> = connection
        .prepare_cached(
            "SELECT id, position, stale, row FROM messages
             WHERE session = ?1 AND hidden = 0 AND position >= ?2
             ORDER BY position LIMIT ?3",
        )?
        .query_map(params![session.0, as_sql(from), wanted], from_row)?
        .collect::<rusqlite::Result<_>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok((rows, more))
}

/// One message's position and whether its row is stale.
pub(crate) fn find(
    connection: &Connection,
    session: SessionKey,
    id: &str,
) -> rusqlite::Result<Option<StoredRow>> {
    connection
        .prepare_cached(
            "SELECT id, position, stale, row FROM messages WHERE session = ?1 AND id = ?2",
        )?
        .query_row(params![session.0, id], from_row)
        .optional()
}

/// Number of shown messages by others that lie at `position` or later, counted up to 1,000.
pub(crate) fn unread(
    connection: &Connection,
    session: SessionKey,
    position: u64,
    me: &str,
) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM (
               SELECT 1 FROM messages
               WHERE session = ?1 AND hidden = 0 AND position >= ?2 AND coalesce(actor, '') <> ?3
               LIMIT 1000)",
        )?
        .query_row(params![session.0, as_sql(position), me], |row| row.get(0))
}

/// Numbers of unread messages of every session, by one query.
pub(crate) fn all_unread(
    connection: &Connection,
    me: &str,
) -> rusqlite::Result<HashMap<SessionKey, u32>> {
    connection
        .prepare_cached(
            "SELECT n, (SELECT count(*) FROM (
               SELECT 1 FROM messages
               WHERE session = sessions.n AND hidden = 0 AND position >= sessions.read_position
                 AND coalesce(actor, '') <> sessions.me
               LIMIT 1000))
             FROM (SELECT n, read_position, coalesce(
               (SELECT me FROM servers WHERE id = substr(sessions.id, 1, instr(sessions.id, '/') - 1)),
               ?1) AS me FROM sessions) AS sessions",
        )?
        .query_map([me], |row| Ok((SessionKey(row.get(0)?), row.get(1)?)))?
        .collect()
}

/// Every message id of a session.
pub(crate) fn ids(connection: &Connection, session: SessionKey) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM messages WHERE session = ?1")?
        .query_map([session.0], |row| row.get(0))?
        .collect()
}

/// The disk that the rows of each session take: `(session, messages, bytes)`. The index and free
/// pages are not counted.
pub(crate) fn sizes(connection: &Connection) -> rusqlite::Result<Vec<(String, u64, u64)>> {
    let mut statement = connection.prepare(
        "SELECT id,
           (SELECT count(*) FROM messages WHERE session = sessions.n AND hidden = 0),
           (SELECT coalesce(sum(octet_length(row) + octet_length(id)), 0)
              FROM messages WHERE session = sessions.n)
           + (SELECT coalesce(sum(octet_length(log) + octet_length(message)), 0)
              FROM segments WHERE session = sessions.n)
           + (SELECT coalesce(sum(octet_length(json) + octet_length(key)), 0)
              FROM rows WHERE session = sessions.n)
         FROM sessions WHERE deleted = 0",
    )?;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    statement
        .query_map([], |row| Ok((row.get(0)?, count(row.get(1)?), count(row.get(2)?))))?
        .collect()
}

/// The rows of the small collections that are needed to show a session, as `(collection, key,
/// json)`: all but calls, signals and requests that are settled, of which there may be very many.
pub(crate) fn standing_rows(
    connection: &Connection,
    session: SessionKey,
) -> rusqlite::Result<Vec<(String, String, String)>> {
    connection
        .prepare_cached(
            "SELECT collection, key, json FROM rows WHERE session = ?1 AND standing = 1",
        )?
        .query_map([session.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Number of approvals that were ever asked for.
pub(crate) fn requests(connection: &Connection, session: SessionKey) -> rusqlite::Result<u64> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM rows INDEXED BY rows_of_requests
             WHERE session = ?1 AND collection = 'requests'",
        )?
        .query_row([session.0], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The rows of all small collections, as `(collection, key, json)`.
pub(crate) fn state_rows(
    connection: &Connection,
    session: SessionKey,
) -> rusqlite::Result<Vec<(String, String, String)>> {
    connection
        .prepare_cached("SELECT collection, key, json FROM rows WHERE session = ?1")?
        .query_map([session.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}
