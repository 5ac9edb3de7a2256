//! Failures of a database, and what to do about them.

use rusqlite::{ErrorCode, ffi};

/// The meaning of a failure for the one who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The disk, or the size that was set, has no room. Free some, and try again.
    Full,
    /// The file is no database any more. Set it aside.
    Damaged,
    /// The disk or another process did not let SQLite. Try again later.
    Unavailable,
    /// A mistake in what was asked.
    Other,
}

impl Cause {
    /// The cause of a failure of SQLite.
    pub fn of(error: &rusqlite::Error) -> Self {
        // The shared index of the log cannot grow: SQLite says so in its own way.
        if error.sqlite_error().map(|error| error.extended_code) == Some(ffi::SQLITE_IOERR_SHMSIZE)
        {
            return Self::Full;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged,
            Some(
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure,
            ) => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

/// The reason why a job or a read was not done. SQLite's texts hold no values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused or could not do it; nothing of it was done.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The line was closed before it was done.
    #[error("the database is closed")]
    Closed,
}

/// The reason why a file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite refused or could not do it.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The tables could not be brought up to date.
    #[error("its tables could not be brought up to date ({0})")]
    Migration(Box<refinery::Error>),
    /// A newer version of the program has written the file.
    #[error(
        "a newer version has written it (its tables are version {found}, this one knows {known})"
    )]
    Newer {
        /// The version of the file.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The file could not be made or its mode not be set.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<refinery::Error> for OpenError {
    fn from(error: refinery::Error) -> Self {
        Self::Migration(Box::new(error))
    }
}

impl OpenError {
    /// The meaning of the failure. Tables that the migrations do not recognise are damage.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Sqlite(error) => Cause::of(error),
            Self::Migration(error) => {
                let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
                let mut cause = Cause::Damaged;
                while let Some(inner) = source {
                    if let Some(sqlite) = inner.downcast_ref() {
                        cause = Cause::of(sqlite);
                    }
                    source = inner.source();
                }
                cause
            }
            Self::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Cause::Full,
            Self::Io(_) => Cause::Unavailable,
            Self::Newer { .. } => Cause::Other,
        }
    }
}

/// No room on the disk, or beyond the configured size.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    Cause::of(error) == Cause::Full
}

/// A failure that the layer itself finds.
pub(crate) fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}
