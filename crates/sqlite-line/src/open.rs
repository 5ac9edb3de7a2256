//! Opening a file: its mode, its pragmas, its migrations; and setting a useless one aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::{
    Housekeeping, Line, OpenError,
    reserve::Reserve,
    writer::{Writer, overwriting},
};

/// How long a connection waits for another process that has the file locked.
const BUSY: Duration = Duration::from_secs(5);
const STATEMENTS: usize = 64;

/// When the log beside the file is folded into it.
#[derive(Debug, Clone, Copy)]
pub enum Checkpoint {
    /// By SQLite, after a commit that finds this many pages in it.
    Pages(u32),
    /// Between commits, after about this many bytes.
    Bytes(usize),
}

/// What a file is like.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The database.
    pub file: PathBuf,
    /// The name of the thread that writes.
    pub thread: &'static str,
    /// Only its owner can read it.
    pub private: bool,
    /// A new file gives free pages back to the disk (`auto_vacuum = INCREMENTAL`).
    pub shrinks: bool,
    /// Every commit is on the disk itself when it is done, also those whose jobs do not ask for it.
    pub durable: bool,
    /// All that is deleted is overwritten; otherwise only where that costs no write.
    pub overwrites: bool,
    /// When the log is folded.
    pub checkpoint: Checkpoint,
    /// Bytes to which the log is cut when it was folded.
    pub log_bytes: u64,
    /// KiB of pages that the writer keeps in memory; `None` is SQLite's own.
    pub writer_cache: Option<u32>,
    /// The same for each reader.
    pub reader_cache: Option<u32>,
    /// Bytes that the file may have at most.
    pub max_bytes: Option<u64>,
    /// Readers that are kept open. As many at most read at once by [`Line::read_soon`].
    pub readers: usize,
    /// Bytes that are kept beside the file for deletions, and what one deletion needs.
    pub reserve: Option<(u64, u64)>,
}

impl Setup {
    /// A file with SQLite's usual ways: a log that is folded after 1,000 pages, commits that a power cut may lose,
    /// four readers, no reserve.
    pub fn new(file: PathBuf, thread: &'static str) -> Self {
        Self {
            file,
            thread,
            private: false,
            shrinks: false,
            durable: false,
            overwrites: false,
            checkpoint: Checkpoint::Pages(1000),
            log_bytes: 8 << 20,
            writer_cache: None,
            reader_cache: None,
            max_bytes: None,
            readers: 4,
            reserve: None,
        }
    }

    /// Opens or makes the file and brings its tables up to date. `after` gets the version that the file had, 0 for a new
    /// one, when there were migrations; what it does is committed together with the new version.
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
    setup: Setup,
    reserve: Option<Reserve>,
}

impl Opened {
    /// Begins to take jobs.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start<H: Housekeeping>(self, house: H) -> io::Result<Line<H>> {
        let writer = Writer::new(self.db, &self.setup, self.reserve);
        Line::start(&self.setup, writer, house)
    }
}

/// Runs what the file has not had yet. Files of before refinery have a version and no history: what they have is written
/// into one.
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

fn cache(db: &Connection, kib: Option<u32>) -> rusqlite::Result<()> {
    kib.map_or(Ok(()), |kib| db.pragma_update(None, "cache_size", -i64::from(kib)))
}

/// Opens a connection that only reads.
///
/// # Errors
///
/// The file is not there or cannot be read.
pub fn reader(file: &Path, cache_kib: Option<u32>) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(BUSY)?;
    cache(&db, cache_kib)?;
    Ok(db)
}

/// Makes the file, or tightens one that is there, to mode 0600. SQLite gives the files beside it the same mode.
///
/// # Errors
///
/// The file cannot be made or written.
pub fn owner_only(file: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(0o600).open(file)?.set_permissions(fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    options.open(file).map(drop)
}

/// Renames a database and the files beside it to `{file}.{why}`, with a number behind it where that is taken, and answers
/// the new name. Nothing is deleted.
///
/// # Errors
///
/// A file cannot be renamed.
pub fn set_aside(file: &Path, why: &str) -> io::Result<PathBuf> {
    let with = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let names = (0..).map(|n| match n {
        0 => with(file, &format!(".{why}")),
        n => with(file, &format!(".{why}-{n}")),
    });
    let target = names.into_iter().find(|name| !name.exists()).expect("numbers do not end");
    fs::rename(file, &target)?;
    for side in ["-wal", "-shm"] {
        match fs::rename(with(file, side), with(&target, side)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(target)
}
