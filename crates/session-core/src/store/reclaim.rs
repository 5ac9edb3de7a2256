//! Cleaning up after deletions: words in the index, free pages, the write-ahead log.

use std::time::Duration;

use rusqlite::Connection;
use sqlite_line::{Housekeeping, Writer};

/// Reclaims on the writer's thread, soon after deletions were answered.
#[derive(Default)]
pub(super) struct Reclaim {
    wanted: bool,
}

/// Whether a commit has erased something.
#[derive(Default)]
pub(super) struct Erased(pub(super) bool);

impl Housekeeping for Reclaim {
    type Notes = Erased;

    fn committed(&mut self, erased: Erased) -> bool {
        self.wanted |= erased.0;
        self.wanted
    }

    fn tidy(&mut self, writer: &mut Writer) -> bool {
        if std::mem::take(&mut self.wanted)
            && let Err(error) = writer.overwriting(run)
        {
            tracing::warn!(%error, "room could not be given back");
        }
        false
    }

    fn rest(&self, _: &Writer) -> Duration {
        Duration::from_secs(3600)
    }
}

/// Takes the words of deleted messages out of the index for good and gives free pages back to the
/// disk.
fn run(connection: &Connection) -> rusqlite::Result<()> {
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
