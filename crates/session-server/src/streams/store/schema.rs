//! The database file: its tables and how connections are set up.
//!
//! A message's row id is `stream << 37 | sequence number`: one B-tree holds all messages in reading order, and an
//! append touches its last leaf, the stream's row and the producer's row. 67 million streams, 137 billion messages each.

use std::{fs, io, path::Path};

use rusqlite::{Connection, OpenFlags};

/// Bits of a message's row id that hold its sequence number.
const SEQ_BITS: u32 = 37;

const SCHEMA: &str = "
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY,
        name TEXT UNIQUE,                       -- NULL: removed, its messages are being deleted
        content_type TEXT NOT NULL,
        ttl INTEGER,                            -- seconds, renewed by reads and writes
        expires_at INTEGER,                     -- Unix time in ms, as all times here
        created_closed INTEGER NOT NULL,
        closed INTEGER NOT NULL,
        hidden INTEGER NOT NULL DEFAULT 0,      -- deleted by its owner, kept for its forks
        next_seq INTEGER NOT NULL,
        next_byte INTEGER NOT NULL,
        bytes INTEGER NOT NULL,                 -- own messages only
        writer_seq TEXT,                        -- the last Stream-Seq
        created_at INTEGER NOT NULL,
        updated_at INTEGER,
        source INTEGER,                         -- a fork's stream before fork_seq
        fork_seq INTEGER NOT NULL DEFAULT 0,    -- the first sequence number of its own
        fork_part INTEGER NOT NULL DEFAULT 0    -- bytes of the message at fork_seq that were taken over
    ) STRICT;
    CREATE INDEX streams_by_source ON streams (source) WHERE source IS NOT NULL;
    CREATE INDEX streams_by_expiry ON streams (expires_at) WHERE expires_at IS NOT NULL;
    CREATE INDEX streams_removed ON streams (id) WHERE name IS NULL;
    CREATE TABLE messages (id INTEGER PRIMARY KEY, start INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE TABLE producers (
        stream INTEGER NOT NULL, producer TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        at INTEGER NOT NULL, PRIMARY KEY (stream, producer)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// The row id of a message.
pub(super) const fn message_id(stream: i64, seq: u64) -> i64 {
    (stream << SEQ_BITS) | (seq as i64 & ((1 << SEQ_BITS) - 1))
}

/// Opens the one connection that writes, and makes the tables where there are none.
///
/// A commit is on the disk when it returns (`synchronous=FULL`); checkpoints are the writer's to choose. Freed pages go
/// back to the file system (`auto_vacuum`), and what was deleted is overwritten.
pub(super) fn open_writer(file: &Path, max_bytes: Option<u64>) -> Result<Connection, String> {
    owner_only(file).map_err(|error| error.to_string())?;
    let open = || -> rusqlite::Result<Connection> {
        let db = Connection::open(file)?;
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?; // a write, also where it is set already
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "journal_size_limit", 16 << 20)?;
        db.pragma_update(None, "secure_delete", "ON")?;
        db.pragma_update(None, "cache_size", -4096)?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.set_prepared_statement_cache_capacity(64);
        if let Some(max) = max_bytes {
            let page: u64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
            db.pragma_update(None, "max_page_count", (max / page).max(16))?;
        }
        if version == 0 {
            db.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
        }
        Ok(db)
    };
    open().map_err(|error| error.to_string())
}

/// Opens a connection for readers: each read is one snapshot, and never waits for the writer.
pub(super) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -1024)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

/// Makes the file readable by its owner only; SQLite gives the files beside it the same mode.
fn owner_only(file: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}
