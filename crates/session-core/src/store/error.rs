//! Failures of the database, in words for a person.

use sqlite_line::{Cause, OpenError};

use crate::error::EngineError;

/// A failure of the local database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite refused or could not do it.
    #[error("the local database could not be used ({0})")]
    Sqlite(#[from] rusqlite::Error),
    /// The file could not be opened or brought up to date.
    #[error("the local database could not be opened ({0})")]
    Open(#[from] OpenError),
    /// The data directory could not be made, locked or renamed in.
    #[error("the data directory could not be used ({0})")]
    Io(#[from] std::io::Error),
    /// Another process has this data directory open.
    #[error("another Threadkeep process is using this data directory")]
    InUse,
    /// The writer thread has ended, because the engine is closing.
    #[error("the local database is closed")]
    Closed,
}

impl From<sqlite_line::Error> for StoreError {
    fn from(error: sqlite_line::Error) -> Self {
        match error {
            sqlite_line::Error::Sqlite(error) => Self::Sqlite(error),
            sqlite_line::Error::Closed => Self::Closed,
        }
    }
}

impl StoreError {
    /// Whether the file itself is broken, so that it should be set aside.
    pub(crate) fn is_damage(&self) -> bool {
        self.cause() == Some(Cause::Damaged)
    }

    /// Whether the disk is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.cause() == Some(Cause::Full)
    }

    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Sqlite(error) => Some(Cause::of(error)),
            Self::Open(error) => Some(error.cause()),
            Self::Io(_) | Self::InUse | Self::Closed => None,
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse => Self::InUse,
            StoreError::Closed => Self::Closed,
            error if error.is_disk_full() => Self::DiskFull,
            error => Self::Store(format!("{error}.")),
        }
    }
}
