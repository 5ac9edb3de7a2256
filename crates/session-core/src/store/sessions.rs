//! Table `sessions`: one row for each session this person knows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::key::{SessionKey, as_sql};

/// The columns of `sessions` that a commit sets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionHead {
    pub(crate) title: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) last_activity: Option<String>,
    pub(crate) preview: Option<String>,
    pub(crate) state: String,
    pub(crate) offset: Option<String>,
    pub(crate) synced_at: Option<String>,
    pub(crate) closed: bool,
    pub(crate) notice: Option<String>,
    pub(crate) remote: bool,
}

/// A session as stored.
#[derive(Clone)]
pub(crate) struct StoredSession {
    pub(crate) key: SessionKey,
    pub(crate) id: String,
    pub(crate) head: SessionHead,
    pub(crate) deleted: bool,
    pub(crate) read_position: u64,
    pub(crate) commits: u64,
    /// The session it is a copy of.
    pub(crate) parent: Option<String>,
}

const COLUMNS: &str = "n, id, title, created_at, last_activity, preview, state, stream_offset, \
                       synced_at, closed, notice, remote, deleted, read_position, commits, \
                       parent";

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredSession> {
    Ok(StoredSession {
        key: SessionKey(row.get(0)?),
        id: row.get(1)?,
        head: SessionHead {
            title: row.get(2)?,
            created_at: row.get(3)?,
            last_activity: row.get(4)?,
            preview: row.get(5)?,
            state: row.get(6)?,
            offset: row.get(7)?,
            synced_at: row.get(8)?,
            closed: row.get(9)?,
            notice: row.get(10)?,
            remote: row.get(11)?,
        },
        deleted: row.get(12)?,
        read_position: u64::try_from(row.get::<_, i64>(13)?).unwrap_or(0),
        commits: u64::try_from(row.get::<_, i64>(14)?).unwrap_or(0),
        parent: row.get(15)?,
    })
}

/// All sessions, the most recently active first.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<StoredSession>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions ORDER BY coalesce(last_activity, created_at) DESC, n DESC"
    );
    connection.prepare_cached(&sql)?.query_map([], from_row)?.collect()
}

/// The most recently active sessions of a server, without those that were deleted.
pub(crate) fn recent(
    connection: &Connection,
    server: &str,
    limit: u32,
) -> rusqlite::Result<Vec<StoredSession>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions INDEXED BY sessions_recent
         WHERE deleted = 0 AND substr(id, 1, instr(id, '/')) = ?1
         ORDER BY coalesce(last_activity, created_at) DESC LIMIT ?2"
    );
    connection
        .prepare_cached(&sql)?
        .query_map(params![format!("{server}/"), limit], from_row)?
        .collect()
}

/// The id of a session, also by the half of it that its server knows.
pub(crate) fn find_id(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT id FROM sessions
             WHERE deleted = 0 AND (id = ?1 OR substr(id, instr(id, '/') + 1) = ?1)
             ORDER BY id = ?1 DESC LIMIT 1",
        )?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// One session.
pub(crate) fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<StoredSession>> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id], from_row).optional()
}

/// Whether there is such a session.
pub(crate) fn exists(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1")?.exists([id])
}

/// Makes the row if it is not there.
pub(crate) fn ensure(connection: &Connection, id: &str) -> rusqlite::Result<SessionKey> {
    connection
        .prepare_cached("INSERT INTO sessions (id) VALUES (?1) ON CONFLICT (id) DO NOTHING")?
        .execute([id])?;
    connection
        .prepare_cached("SELECT n FROM sessions WHERE id = ?1")?
        .query_row([id], |row| row.get(0).map(SessionKey))
}

/// Takes over what the server's list says; local knowledge from the stream wins.
pub(crate) fn merge_listed(
    connection: &Connection,
    id: &str,
    title: Option<&str>,
    created_at: Option<&str>,
    last_activity: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, title, created_at, last_activity, remote)
             VALUES (?1, ?2, ?3, ?4, 1)
             ON CONFLICT (id) DO UPDATE SET
               title = coalesce(title, excluded.title),
               created_at = coalesce(created_at, excluded.created_at),
               last_activity = max(coalesce(last_activity, ''), coalesce(excluded.last_activity, '')),
               remote = 1",
        )?
        .execute(params![id, title, created_at, last_activity])?;
    Ok(())
}

/// Remembers up to where the person has read.
pub(crate) fn mark_read(
    connection: &Connection,
    key: SessionKey,
    position: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE sessions SET read_position = max(read_position, ?2) WHERE n = ?1")?
        .execute(params![key.0, as_sql(position)])?;
    Ok(())
}

/// Marks a session as deleted by the person and drops its rows, also those that were set aside.
pub(crate) fn delete(connection: &Connection, key: SessionKey) -> rusqlite::Result<()> {
    let aside: Vec<i64> = connection
        .prepare_cached(
            "SELECT aside.n FROM sessions own JOIN sessions aside
               ON substr(aside.id, 1, length(own.id) + length(?2)) = own.id || ?2
             WHERE own.n = ?1",
        )?
        .query_map(params![key.0, ASIDE], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for n in aside {
        drop_rows(connection, SessionKey(n))?;
        connection.execute("DELETE FROM sessions WHERE n = ?1", [n])?;
    }
    drop_rows(connection, key)?;
    connection.execute(
        "UPDATE sessions SET deleted = 1, title = NULL, preview = NULL, stream_offset = NULL
         WHERE n = ?1",
        [key.0],
    )?;
    Ok(())
}

fn drop_rows(connection: &Connection, key: SessionKey) -> rusqlite::Result<()> {
    super::search::remove_session(connection, key)?;
    for table in ["messages", "segments", "rows"] {
        connection.execute(&format!("DELETE FROM {table} WHERE session = ?1"), [key.0])?;
    }
    Ok(())
}

/// Closes a session for good, with a remark.
pub(crate) fn close(
    connection: &Connection,
    key: SessionKey,
    notice: &str,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE sessions SET closed = 1, notice = ?2 WHERE n = ?1",
        params![key.0, notice],
    )?;
    Ok(())
}

/// Remembers which session this one is a copy of.
pub(crate) fn set_parent(
    connection: &Connection,
    key: SessionKey,
    parent: &str,
) -> rusqlite::Result<()> {
    connection.execute("UPDATE sessions SET parent = ?2 WHERE n = ?1", params![key.0, parent])?;
    Ok(())
}

/// Notes the origin of a session that does not say so itself, by its id.
pub(crate) fn note_parent(connection: &Connection, id: &str, parent: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE sessions SET parent = ?2 WHERE id = ?1 AND parent IS NULL",
        params![id, parent],
    )?;
    Ok(())
}

/// The mark that the id of a session that was set aside has behind its own.
pub(super) const ASIDE: &str = "#aside-";

/// Sets a session aside whose rows cannot be used: they are kept under another id, which is not
/// shown, and the session itself starts over, to be read from the stream (L14). Drafts and outbox
/// stay with it.
pub(crate) fn set_aside(connection: &Connection, id: &str, notice: &str) -> rusqlite::Result<()> {
    let n: i64 =
        connection.query_row("SELECT n FROM sessions WHERE id = ?1", [id], |row| row.get(0))?;
    connection.execute(
        "UPDATE sessions SET id = ?2, deleted = deleted + 2 WHERE n = ?1",
        params![n, format!("{id}{ASIDE}{n}")],
    )?;
    connection.execute(
        "INSERT INTO sessions (id, title, created_at, last_activity, preview, notice, remote,
           deleted, read_position, parent)
         SELECT ?2, title, created_at, last_activity, preview, ?3, remote, deleted - 2,
           read_position, parent
         FROM sessions WHERE n = ?1",
        params![n, id, notice],
    )?;
    super::search::remove_session(connection, SessionKey(n))
}

/// The number of the last commit that is stored.
pub(crate) fn commits(connection: &Connection, key: SessionKey) -> rusqlite::Result<u64> {
    let commits: i64 = connection
        .prepare_cached("SELECT commits FROM sessions WHERE n = ?1")?
        .query_row([key.0], |row| row.get(0))?;
    Ok(u64::try_from(commits).unwrap_or(0))
}

/// Forgets a session for good: the server has deleted it too.
pub(crate) fn forget(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    if let Some(row) = find(connection, id)? {
        // A commit may have been on its way when the session was deleted.
        delete(connection, row.key)?;
    }
    connection.execute("DELETE FROM outbox WHERE session = ?1", [id])?;
    connection.execute("DELETE FROM drafts WHERE session = ?1", [id])?;
    connection.execute("DELETE FROM sessions WHERE id = ?1", [id])?;
    Ok(())
}
