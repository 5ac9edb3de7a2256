//! Opening the file: lock, migrations, and setting a useless file aside.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::outbox::OutboxRow;
use super::{ServerRow, StoreError, servers};
use crate::config::Inherit;
use crate::list::FIRST_ROWS;
use crate::server::address_of;

mod embedded {
    refinery::embed_migrations!("migrations");
}

const FILE: &str = "threadkeep.db";
const LOCK: &str = "threadkeep.lock";

/// The schema whose full-text index is as it is made now; an older one is made anew.
const SEARCH_SCHEMA: i64 = 7;
/// The schema whose sessions belong to a server.
const SERVERS_SCHEMA: i64 = 4;

/// How long to wait for another engine in this directory to finish closing.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Repairs that opening the database took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repair {
    /// Where the old file was put.
    pub(crate) set_aside: PathBuf,
    /// Whether it was written by a newer version (otherwise it was damaged).
    pub(crate) newer: bool,
}

pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) lock: File,
    pub(super) repair: Option<Repair>,
}

pub(super) fn open(dir: &Path, inherit: &Inherit) -> Result<Opened, StoreError> {
    std::fs::create_dir_all(dir)?;
    let lock = lock_dir(dir)?;
    let path = dir.join(FILE);
    let mark = damage_mark(&path);
    let attempt = if mark.exists() { Err(Unusable::Damaged) } else { attempt(&path, inherit) };
    let (connection, repair) = match attempt {
        Ok(connection) => (connection, None),
        Err(Unusable::Other(error)) => return Err(error),
        Err(unusable) => {
            let newer = matches!(unusable, Unusable::Newer);
            let kept = if newer { Kept::default() } else { salvage(&path) };
            let set_aside = set_aside(&path, if newer { "newer" } else { "damaged" })?;
            if mark.exists() {
                std::fs::remove_file(&mark)?;
            }
            let connection = match attempt_fresh(&path, inherit) {
                Ok(connection) => connection,
                Err(Unusable::Other(error)) => return Err(error),
                Err(Unusable::Damaged | Unusable::Newer) => {
                    return Err(std::io::Error::other("a new database could not be made").into());
                }
            };
            carry_over(&connection, &kept, inherit)?;
            (connection, Some(Repair { set_aside, newer }))
        }
    };
    Ok(Opened { connection, path, lock, repair })
}

/// The empty file whose presence says that the database was seen to be damaged while in use.
pub(super) fn damage_mark(path: &Path) -> PathBuf {
    path.with_extension("db.is-damaged")
}

pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn lock_dir(dir: &Path) -> Result<File, StoreError> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

enum Unusable {
    Damaged,
    Newer,
    Other(StoreError),
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        if error.is_damage() { Self::Damaged } else { Self::Other(error) }
    }
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

fn attempt(path: &Path, inherit: &Inherit) -> Result<Connection, Unusable> {
    if path.is_dir() {
        return Err(Unusable::Damaged);
    }
    attempt_fresh(path, inherit)
}

fn attempt_fresh(path: &Path, inherit: &Inherit) -> Result<Connection, Unusable> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // The first statement that touches the file: a file that is no database fails here.
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let runner = embedded::migrations::runner();
    let ours = runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0);
    let ours = i64::from(ours);
    if schema > ours {
        return Err(Unusable::Newer);
    }
    if schema == 0 {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // What is deleted is overwritten in pages that are written anyway; deleted sessions also elsewhere.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))?;
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024)?;
    if schema < ours {
        runner.run(&mut connection).map_err(StoreError::from)?;
        if schema < SEARCH_SCHEMA {
            let transaction = connection.transaction()?;
            super::search::rebuild(&transaction)?;
            transaction.commit()?;
        }
        if (1..SERVERS_SCHEMA).contains(&schema) {
            let transaction = connection.transaction()?;
            settle(&transaction, inherit)?;
            // Together, or a second attempt would give them a place again.
            transaction.pragma_update(None, "user_version", SERVERS_SCHEMA)?;
            transaction.commit()?;
        }
        if schema > 0
            && let Err(error) = super::reclaim::prepare(&connection)
        {
            // For want of room, perhaps: deleted sessions leave free pages, which are used again.
            tracing::warn!(%error, "the database could not be written anew");
        }
        // Only now: whoever was interrupted does the rest again.
        connection.pragma_update(None, "user_version", ours)?;
    }
    // Everything that is read before a start is over must be readable. Damage that is found later is
    // marked, and seen to at the next start.
    let tables = [
        "servers",
        "sessions",
        "messages",
        "segments",
        "rows",
        "outbox",
        "drafts",
        "search",
        "search_parts",
    ];
    for table in tables {
        connection.query_row(&format!("SELECT 1 FROM {table} LIMIT 1"), [], |_| Ok(())).or_else(
            |error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                // A missing table: the file is a database, but not one of ours.
                rusqlite::Error::SqliteFailure(..)
                    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) =>
                {
                    Err(Unusable::Damaged)
                }
                error => Err(error.into()),
            },
        )?;
    }
    servers::ensure_this_computer(&connection)?;
    for server in servers::all(&connection)? {
        super::sessions::recent(&connection, &server.id, FIRST_ROWS)?;
    }
    super::outbox::all(&connection)?;
    super::drafts::all(&connection)?;
    Ok(connection)
}

/// Moves the sessions of an old database to their server.
fn settle(connection: &Connection, inherit: &Inherit) -> rusqlite::Result<()> {
    let inherited = inherit.ask();
    // As a server is joined, or it would be taken for another.
    let url = inherited.url.map(|url| url::Url::parse(&url).map_or(url, |url| address_of(&url)));
    let joined = url.map(|url| ServerRow {
        id: uuid::Uuid::new_v4().simple().to_string(),
        name: name_of(&url),
        url: Some(url),
        me: None,
        forgotten: false,
    });
    servers::assign(connection, joined.as_ref(), |session| inherited.here.contains(session))
}

/// Name of a server before a person names it: its host, and its port when it has one.
pub(crate) fn name_of(url: &str) -> String {
    let Ok(parsed) = url::Url::parse(url) else { return url.to_owned() };
    match (parsed.host_str(), parsed.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.to_owned(),
    }
}

/// Renames the database and its side files, and answers the new name of the main one.
fn set_aside(path: &Path, why: &str) -> Result<PathBuf, StoreError> {
    let stamp = crate::clock::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut n = 0;
    let target = loop {
        let suffix = if n == 0 { String::new() } else { format!("-{n}") };
        let name = format!("{FILE}.{why}-{stamp}{suffix}");
        let candidate = path.with_file_name(name);
        if !candidate.exists() {
            break candidate;
        }
        n += 1;
    };
    std::fs::rename(path, &target)?;
    for side in ["-wal", "-shm"] {
        let with_side = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(side);
            PathBuf::from(name)
        };
        match std::fs::rename(with_side(path), with_side(&target)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(target)
}

/// What exists nowhere else and may still be readable in a damaged file.
#[derive(Default)]
struct Kept {
    /// The file was of an earlier version, and all in it belongs to one server.
    knows_no_servers: bool,
    servers: Vec<ServerRow>,
    outbox: Vec<OutboxRow>,
    drafts: Vec<(String, String, String)>,
}

fn salvage(path: &Path) -> Kept {
    let Ok(connection) = reader(path) else { return Kept::default() };
    let schema = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    Kept {
        knows_no_servers: schema.is_ok_and(|schema| schema < SERVERS_SCHEMA),
        servers: servers::all(&connection).unwrap_or_default(),
        outbox: super::outbox::all(&connection).unwrap_or_default(),
        drafts: super::drafts::all(&connection).unwrap_or_default(),
    }
}

fn carry_over(connection: &Connection, kept: &Kept, inherit: &Inherit) -> Result<(), StoreError> {
    for row in &kept.servers {
        servers::put(connection, row)?;
    }
    for row in &kept.outbox {
        super::outbox::insert(connection, row)?;
        super::sessions::ensure(connection, &row.session)?;
    }
    for (session, text, saved_at) in &kept.drafts {
        super::drafts::save(connection, session, text, saved_at)?;
        super::sessions::ensure(connection, session)?;
    }
    if kept.knows_no_servers {
        settle(connection, inherit)?;
    }
    servers::ensure_homes(connection)?;
    Ok(())
}
