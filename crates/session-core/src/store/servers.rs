//! Table `servers`: the session servers that this person uses. Tokens are not here.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::address::{Address, THIS_COMPUTER};

/// A server as stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) url: Option<String>,
    /// Id of this person there, where a token decides that.
    pub(crate) me: Option<String>,
    pub(crate) forgotten: bool,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ServerRow> {
    Ok(ServerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        url: row.get(2)?,
        me: row.get(3)?,
        forgotten: row.get(4)?,
    })
}

/// All servers: this computer, then in the order they were joined.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<ServerRow>> {
    connection
        .prepare_cached("SELECT id, name, url, me, forgotten FROM servers ORDER BY id <> ?1, n")?
        .query_map([THIS_COMPUTER], from_row)?
        .collect()
}

/// Adds a server, or changes what is stored of it.
pub(crate) fn put(connection: &Connection, row: &ServerRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO servers (id, name, url, me, forgotten) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET name = ?2, url = ?3, me = ?4, forgotten = ?5",
        )?
        .execute(params![row.id, row.name, row.url, row.me, row.forgotten])?;
    Ok(())
}

/// The sessions of a server, also those that were set aside, by their ids on this machine.
fn sessions(connection: &Connection, server: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM sessions WHERE substr(id, 1, length(?1)) = ?1")?
        .query_map([Address::new(server, "").to_string()], |row| row.get(0))?
        .collect()
}

/// Number of outbox entries that wait for a server.
pub(crate) fn unsent(connection: &Connection, server: &str) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("SELECT count(*) FROM outbox WHERE substr(session, 1, length(?1)) = ?1")?
        .query_row([Address::new(server, "").to_string()], |row| row.get(0))
}

/// Forgets a server with everything that is here of it.
pub(crate) fn remove(connection: &Connection, server: &str) -> rusqlite::Result<()> {
    for session in sessions(connection, server)? {
        super::sessions::forget(connection, &session)?;
    }
    connection.execute("DELETE FROM servers WHERE id = ?1", [server])?;
    Ok(())
}

/// Moves every session of a database that knew one server only to its place: at this computer, or
/// at the server that was used, with all that belongs to it.
pub(crate) fn assign(
    connection: &Connection,
    joined: Option<&ServerRow>,
    is_here: impl Fn(&str) -> bool,
) -> rusqlite::Result<()> {
    // A copy that no server has made yet is made where its original is.
    let copies: HashMap<String, String> = connection
        .prepare("SELECT id, parent FROM sessions WHERE remote = 0 AND parent IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let home = |session: &str| {
        // A session that was set aside lies with its own.
        let own = session.split_once(super::sessions::ASIDE).map_or(session, |(own, _)| own);
        let made_from = copies.get(own).map_or(own, String::as_str);
        match joined {
            Some(server) if !is_here(own) && !is_here(made_from) => {
                Address::new(&server.id, session)
            }
            _ => Address::new(THIS_COMPUTER, session),
        }
    };
    for (table, column) in [("sessions", "id"), ("outbox", "session"), ("drafts", "session")] {
        let ids: Vec<String> = connection
            .prepare(&format!("SELECT DISTINCT {column} FROM {table}"))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1");
        let mut update = connection.prepare(&sql)?;
        for id in ids {
            update.execute(params![id, home(&id).to_string()])?;
        }
    }
    // A copy lies on the server of its original.
    connection.execute(
        "UPDATE sessions SET parent = substr(id, 1, instr(id, '/')) || parent
         WHERE parent IS NOT NULL",
        [],
    )?;
    joined.map_or(Ok(()), |server| put(connection, server))
}

/// Makes sure that this computer is there.
pub(crate) fn ensure_this_computer(connection: &Connection) -> rusqlite::Result<()> {
    let known = connection
        .query_row("SELECT 1 FROM servers WHERE id = ?1", [THIS_COMPUTER], |_| Ok(()))
        .optional()?;
    if known.is_none() {
        let (id, name) = (THIS_COMPUTER.to_owned(), "This computer".to_owned());
        put(connection, &ServerRow { id, name, url: None, me: None, forgotten: false })?;
    }
    Ok(())
}

/// Makes sure that every server is there that a session belongs to: a damaged file may have lost
/// the row of a server whose sessions it kept. Reads all sessions.
pub(crate) fn ensure_homes(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO servers (id, name, forgotten)
         SELECT DISTINCT substr(id, 1, instr(id, '/') - 1), 'Unknown server', 1 FROM sessions
         WHERE instr(id, '/') > 1 ON CONFLICT (id) DO NOTHING",
        [],
    )?;
    Ok(())
}
