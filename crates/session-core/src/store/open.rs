//! Opening the file: the lock, what follows migrations, and what is carried over from a useless
//! file.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};
use sqlite_line::{OpenError, Setup};

use super::outbox::OutboxRow;
use super::{ServerRow, StoreError, servers};
use crate::address::address_of;
use crate::config::Inherit;
use crate::list::FIRST_ROWS;

mod embedded {
    refinery::embed_migrations!("migrations");
}

const FILE: &str = "threadkeep.db";
const LOCK: &str = "threadkeep.lock";

/// The schema whose full-text index is as it is made now; an older one is made anew.
const SEARCH_SCHEMA: i64 = 7;
/// The schema whose sessions belong to a server.
const SERVERS_SCHEMA: i64 = 4;

/// Time to wait for another engine in this directory to finish closing.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Repairs that opening the database took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repair {
    /// Path that the old file has now.
    pub(crate) set_aside: PathBuf,
    /// Whether a newer version had written the file (otherwise it was damaged).
    pub(crate) newer: bool,
}

pub(super) struct OpenStore {
    pub(super) opened: sqlite_line::Opened,
    pub(super) lock: File,
    pub(super) repair: Option<Repair>,
}

pub(super) fn open(dir: &Path, inherit: &Inherit) -> Result<OpenStore, StoreError> {
    std::fs::create_dir_all(dir)?;
    let lock = lock_dir(dir)?;
    let path = dir.join(FILE);
    let mark = damage_mark(&path);
    let seen_damaged = mark.exists() || path.is_dir();
    let attempt = if seen_damaged { Err(Unusable::Damaged) } else { attempt(&path, inherit) };
    let (opened, repair) = match attempt {
        Ok(opened) => (opened, None),
        Err(Unusable::Other(error)) => return Err(error),
        Err(unusable) => {
            let newer = matches!(unusable, Unusable::Newer);
            let kept = if newer { Kept::default() } else { salvage(&path) };
            let stamp = crate::clock::now().strftime("%Y%m%dT%H%M%SZ");
            let why = if newer { "newer" } else { "damaged" };
            let set_aside = sqlite_line::set_aside(&path, &format!("{why}-{stamp}"))?;
            if mark.exists() {
                std::fs::remove_file(&mark)?;
            }
            let opened = match self::attempt(&path, inherit) {
                Ok(opened) => opened,
                Err(Unusable::Other(error)) => return Err(error),
                Err(Unusable::Damaged | Unusable::Newer) => {
                    return Err(std::io::Error::other("a new database could not be made").into());
                }
            };
            carry_over(&opened.db, &kept, inherit)?;
            (opened, Some(Repair { set_aside, newer }))
        }
    };
    Ok(OpenStore { opened, lock, repair })
}

/// The empty file whose presence says that the database was seen to be damaged while in use.
pub(super) fn damage_mark(path: &Path) -> PathBuf {
    path.with_extension("db.is-damaged")
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
        match error {
            StoreError::Open(OpenError::Newer { .. }) => Self::Newer,
            error if error.is_damage() => Self::Damaged,
            error => Self::Other(error),
        }
    }
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

fn attempt(path: &Path, inherit: &Inherit) -> Result<sqlite_line::Opened, Unusable> {
    let setup = Setup { shrinks: true, ..Setup::new(path.to_owned(), "store-writer") };
    let after = |tx: &Transaction<'_>, found: i64| {
        if found < SEARCH_SCHEMA {
            super::search::rebuild(tx)?;
        }
        if (1..SERVERS_SCHEMA).contains(&found) {
            settle(tx, inherit)?;
        }
        Ok(())
    };
    let opened = setup.open(embedded::migrations::runner, &after).map_err(StoreError::from)?;
    let connection = &opened.db;
    if let Err(error) = super::reclaim::prepare(connection) {
        // For want of room, perhaps: deleted sessions leave free pages, which are used again.
        tracing::warn!(%error, "the database could not be written anew");
    }
    // Everything that is read before a start is over must be readable. Damage that is found later
    // is marked, and seen to at the next start.
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
    servers::ensure_this_computer(connection)?;
    for server in servers::all(connection)? {
        super::sessions::recent(connection, &server.id, FIRST_ROWS)?;
    }
    super::outbox::all(connection)?;
    super::drafts::all(connection)?;
    Ok(opened)
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

/// Rows that exist nowhere else and may still be readable in a damaged file.
#[derive(Default)]
struct Kept {
    /// The file was of an earlier version, and all in it belongs to one server.
    knows_no_servers: bool,
    servers: Vec<ServerRow>,
    outbox: Vec<OutboxRow>,
    drafts: Vec<(String, String, String)>,
}

fn salvage(path: &Path) -> Kept {
    let Ok(connection) = sqlite_line::reader(path, None) else { return Kept::default() };
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
