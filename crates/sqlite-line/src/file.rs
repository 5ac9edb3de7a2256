//! A file apart from what is in it: its mode, connections that only read it, and setting it aside.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rusqlite::{Connection, OpenFlags};

/// Time that a connection waits for another process that has the file locked.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

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

/// Makes the file, or tightens one that is there, to mode 0600. SQLite gives the files beside it
/// the same mode.
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

/// Renames a database and the files beside it to `{file}.{why}`, with a number behind it where that
/// is taken. Returns the new name. Nothing is deleted.
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

/// Sets how many KiB of pages a connection keeps in memory.
pub(crate) fn cache(db: &Connection, kib: Option<u32>) -> rusqlite::Result<()> {
    kib.map_or(Ok(()), |kib| db.pragma_update(None, "cache_size", -i64::from(kib)))
}
