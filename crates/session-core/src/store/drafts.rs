//! Table `drafts`: unsent text, one for each session.

use rusqlite::{Connection, OptionalExtension, params};

/// `(session, text, saved_at)` of every draft.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    connection
        .prepare_cached("SELECT session, text, saved_at FROM drafts")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// `(text, saved_at)` of one session's draft.
pub(crate) fn find(
    connection: &Connection,
    session: &str,
) -> rusqlite::Result<Option<(String, String)>> {
    connection
        .prepare_cached("SELECT text, saved_at FROM drafts WHERE session = ?1")?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Saves a draft; an empty one is removed.
pub(crate) fn save(
    connection: &Connection,
    session: &str,
    text: &str,
    saved_at: &str,
) -> rusqlite::Result<()> {
    if text.is_empty() {
        connection.prepare_cached("DELETE FROM drafts WHERE session = ?1")?.execute([session])?;
    } else {
        connection
            .prepare_cached(
                "INSERT INTO drafts (session, text, saved_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (session) DO UPDATE SET text = ?2, saved_at = ?3",
            )?
            .execute(params![session, text, saved_at])?;
    }
    Ok(())
}
