//! Cleaning up after deletions: words in the index, free pages, the write-ahead log.

use rusqlite::Connection;

/// Takes the words of deleted messages out of the index for good and gives free pages back to the
/// disk.
pub(super) fn run(connection: &Connection) -> rusqlite::Result<()> {
    // Until they are merged, segments of the index hold the words of deleted documents.
    connection.execute("INSERT INTO search (search) VALUES ('optimize')", [])?;
    connection.execute("INSERT INTO search_parts (search_parts) VALUES ('optimize')", [])?;
    for pragma in ["PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        let mut statement = connection.prepare(pragma)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// Makes a file give pages back at all. A file that was made without it is written anew, once.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    const INCREMENTAL: i64 = 2;
    let mode: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if mode != INCREMENTAL {
        connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}
