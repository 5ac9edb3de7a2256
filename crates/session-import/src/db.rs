//! SQLite databases of others: opened read-only, also while their app writes, and never trusted.

use std::io;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Params, Row, Statement};
use serde_json::Value;

use crate::json;
use crate::sink::Stop;
use crate::source::Input;
use crate::tree::{Entry, OnDisk, Tree};

/// Bytes of one value.
const MAX_VALUE: i32 = 256 << 20;
/// How long to wait for an app that writes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Steps of SQLite's machine for one statement, in millions.
const MAX_MILLIONS: u32 = 20_000;

/// What came of reading rows: `None` where the database is damaged.
pub(crate) type Rows = Result<Option<()>, Stop>;

/// Reads a database by `take`, and takes down one that cannot be opened or is damaged.
pub(crate) fn read(
    input: &mut Input<'_>,
    entry: &Entry,
    take: &mut dyn FnMut(&mut Input<'_>, &Db) -> Rows,
) -> Result<(), Stop> {
    input.sink.file(&entry.path, entry.size);
    match Db::open(input.tree, entry) {
        Err(_) => input.problem(&*entry.path, "a database that cannot be opened"),
        Ok(db) => {
            if take(input, &db)?.is_none() {
                input.problem(&*entry.path, "a database that is damaged");
            }
        }
    }
    Ok(())
}

/// Hands on the rows of a statement one by one, up to where the database is damaged.
pub(crate) fn each(
    statement: &mut Statement<'_>,
    params: impl Params,
    take: &mut dyn FnMut(&Row<'_>) -> Rows,
) -> Rows {
    let Ok(mut rows) = statement.query(params) else { return Ok(None) };
    loop {
        match rows.next() {
            Ok(Some(row)) if take(row)?.is_none() => return Ok(None),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Some(())),
            Err(_) => return Ok(None),
        }
    }
}

/// An open database.
pub(crate) struct Db {
    pub(crate) connection: Connection,
    _disk: OnDisk,
}

impl Db {
    /// Opens a database; a copy of it where the place does not allow to read it.
    pub(crate) fn open(tree: &Tree, entry: &Entry) -> io::Result<Self> {
        let disk = tree.on_disk(entry)?;
        match connect(&disk) {
            Ok(connection) => Ok(Self { connection, _disk: disk }),
            Err(_) => {
                let disk = tree.copied(entry)?;
                let connection = connect(&disk).map_err(io::Error::other)?;
                Ok(Self { connection, _disk: disk })
            }
        }
    }

    /// The columns of a table; none where there is no such table. A view is none, whatever its name.
    pub(crate) fn columns(&self, table: &str) -> Vec<String> {
        let sql = "SELECT name FROM pragma_table_info(?1)
            WHERE EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1
                AND sql NOT LIKE 'CREATE VIRTUAL%')";
        let Ok(mut statement) = self.connection.prepare(sql) else { return Vec::new() };
        let rows = statement.query_map([table], |row| row.get(0));
        rows.map(|rows| rows.flatten().collect()).unwrap_or_default()
    }

    /// Whether there is such a table with these columns.
    pub(crate) fn has(&self, table: &str, columns: &[&str]) -> bool {
        let there = self.columns(table);
        !there.is_empty() && columns.iter().all(|name| there.iter().any(|own| own == name))
    }
}

fn connect(disk: &OnDisk) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&disk.path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let mut millions = 0;
    let _ = connection.progress_handler(
        1_000_000,
        Some(move || {
            millions += 1;
            millions > MAX_MILLIONS
        }),
    );
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

/// A column as text; empty where there is none.
pub(crate) fn text(row: &Row<'_>, column: &str) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Real(number)) => number.to_string(),
        Ok(ValueRef::Null) | Err(_) => String::new(),
    }
}

/// A column as text; `None` where it is empty or there is none.
pub(crate) fn named(row: &Row<'_>, column: &str) -> Option<String> {
    Some(text(row, column)).filter(|text| !text.is_empty())
}

/// A column as bytes.
pub(crate) fn bytes(row: &Row<'_>, column: &str) -> Vec<u8> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

/// A column of JSON.
pub(crate) fn value(row: &Row<'_>, column: &str) -> Option<Value> {
    json::parse(&bytes(row, column))
}

/// A column as what its JSON would be: a number or text.
pub(crate) fn plain(row: &Row<'_>, column: &str) -> Value {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => number.into(),
        Ok(ValueRef::Real(number)) => number.into(),
        Ok(ValueRef::Text(_)) => text(row, column).into(),
        _ => Value::Null,
    }
}
