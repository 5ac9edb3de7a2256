//! Table `outbox`: what the person asked for and the stream has not shown yet.

use rusqlite::{Connection, OptionalExtension, Row, params};

/// An entry as stored. The intent is JSON; it holds the person's text, so there is no `Debug`.
#[derive(Clone)]
pub(crate) struct OutboxRow {
    pub(crate) id: String,
    pub(crate) session: String,
    pub(crate) intent: String,
    pub(crate) created_at: String,
    pub(crate) wedged: Option<String>,
    /// The server may have it.
    pub(crate) tried: bool,
}

const COLUMNS: &str = "id, session, intent, created_at, wedged, tried";

fn from_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.get(0)?,
        session: row.get(1)?,
        intent: row.get(2)?,
        created_at: row.get(3)?,
        wedged: row.get(4)?,
        tried: row.get(5)?,
    })
}

/// Everything, in the order it was asked for.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<OutboxRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM outbox ORDER BY n"))?
        .query_map([], from_row)?
        .collect()
}

/// Entries of one session, in order.
pub(crate) fn of_session(
    connection: &Connection,
    session: &str,
) -> rusqlite::Result<Vec<OutboxRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE session = ?1 ORDER BY n"))?
        .query_map([session], from_row)?
        .collect()
}

/// The session an entry belongs to.
pub(crate) fn session_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT session FROM outbox WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// Adds an entry at the end; the same id twice is one entry.
pub(crate) fn insert(connection: &Connection, row: &OutboxRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO outbox (id, session, intent, created_at, wedged, tried)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![row.id, row.session, row.intent, row.created_at, row.wedged, row.tried])?;
    Ok(())
}

/// Takes an entry out: its echo was seen (L6), or the person discarded it.
pub(crate) fn remove(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Marks an entry as refused for good, or as waiting again.
pub(crate) fn set_wedged(
    connection: &Connection,
    id: &str,
    reason: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE outbox SET wedged = ?2 WHERE id = ?1")?
        .execute(params![id, reason])?;
    Ok(())
}

/// Remembers whether the server may have an entry.
pub(crate) fn set_tried(connection: &Connection, id: &str, tried: bool) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE outbox SET tried = ?2 WHERE id = ?1")?
        .execute(params![id, tried])?;
    Ok(())
}

/// Replaces what an entry asks for.
pub(crate) fn set_intent(connection: &Connection, id: &str, intent: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE outbox SET intent = ?2, wedged = NULL WHERE id = ?1")?
        .execute(params![id, intent])?;
    Ok(())
}
