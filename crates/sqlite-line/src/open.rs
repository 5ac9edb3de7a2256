//! Opening a file: its pragmas and its migrations.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::OpenError;
use crate::file::{BUSY, cache, owner_only};
use crate::reserve::Reserve;
use crate::setup::{Checkpoint, Setup};
use crate::writer::overwriting;

const STATEMENTS: usize = 64;

impl Setup {
    /// Opens or makes the file and brings its tables up to date. `after` gets the version that the
    /// file had, 0 for a new one, when there were migrations; what it does is committed together
    /// with the new version.
    ///
    /// # Errors
    ///
    /// The file cannot be used, is damaged, or is of a newer version.
    pub fn open(
        self,
        migrations: fn() -> refinery::Runner,
        after: &dyn Fn(&Transaction<'_>, i64) -> rusqlite::Result<()>,
    ) -> Result<Opened, OpenError> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut reserve = self.reserve.map(|(wanted, work)| Reserve::found(folder, wanted, work));
        let (db, found) = match self.connect(migrations, after) {
            // The files beside the database may need room, and so may a migration.
            Err(_) if reserve.as_mut().is_some_and(Reserve::give_up) => {
                self.connect(migrations, after)?
            }
            opened => opened?,
        };
        if let Some(reserve) = &mut reserve {
            reserve.keep();
        }
        Ok(Opened { db, found, setup: self, reserve })
    }

    fn connect(
        &self,
        migrations: fn() -> refinery::Runner,
        after: &dyn Fn(&Transaction<'_>, i64) -> rusqlite::Result<()>,
    ) -> Result<(Connection, i64), OpenError> {
        if self.private {
            owner_only(&self.file)?;
        }
        let mut db = Connection::open(&self.file)?;
        db.busy_timeout(BUSY)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // The first statement that touches the file: a file that is no database fails here.
        let found = version(&db)?;
        let known = newest(&migrations());
        if found > known {
            return Err(OpenError::Newer { found, known });
        }
        if let Checkpoint::Bytes(_) = self.checkpoint {
            db.pragma_update(None, "wal_autocheckpoint", 0)?;
        }
        if found == 0 && self.shrinks {
            // Before there are tables; a write, also where it is set already.
            db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", if self.durable { "FULL" } else { "NORMAL" })?;
        overwriting(&db, self.overwrites)?;
        db.pragma_update(None, "journal_size_limit", self.log_bytes)?;
        cache(&db, self.writer_cache)?;
        if let Some(max) = self.max_bytes {
            let page: u64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
            db.pragma_update(None, "max_page_count", (max / page).max(16))?;
        }
        migrate(&mut db, migrations, after)?;
        if let Checkpoint::Pages(pages) = self.checkpoint {
            db.pragma_update(None, "wal_autocheckpoint", pages)?;
        }
        Ok((db, found))
    }
}

/// A file that is open and up to date, before its thread begins.
#[derive(Debug)]
pub struct Opened {
    /// The connection that will write.
    pub db: Connection,
    /// The version that the file had before; 0 is a file without tables.
    pub found: i64,
    pub(crate) setup: Setup,
    pub(crate) reserve: Option<Reserve>,
}

/// Runs what the file has not had yet. Files of before refinery have a version and no history: what
/// they have is written into one.
fn migrate(
    db: &mut Connection,
    migrations: fn() -> refinery::Runner,
    after: &dyn Fn(&Transaction<'_>, i64) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    let (found, known) = (version(db)?, newest(&migrations()));
    if found == known {
        return Ok(());
    }
    let history = "SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    if found > 0 && !db.prepare(history)?.exists([])? {
        let had = i32::try_from(found).unwrap_or(i32::MAX);
        migrations().set_target(refinery::Target::FakeVersion(had)).run(db)?;
    }
    migrations().run(db)?;
    let tx = Transaction::new(db, TransactionBehavior::Immediate)?;
    after(&tx, found)?;
    tx.pragma_update(None, "user_version", known)?;
    tx.commit()?;
    Ok(())
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn newest(runner: &refinery::Runner) -> i64 {
    let versions = runner.get_migrations().iter().map(refinery::Migration::version);
    versions.max().map_or(0, i64::from)
}
