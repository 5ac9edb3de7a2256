//! Failures of the database, in words for a person.

/// A failure of the local database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite refused or could not do it.
    #[error("the local database could not be used ({0})")]
    Sqlite(#[from] rusqlite::Error),
    /// The schema could not be brought up to date.
    #[error("the local database could not be upgraded ({0})")]
    Migration(Box<refinery::Error>),
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

impl From<refinery::Error> for StoreError {
    fn from(error: refinery::Error) -> Self {
        Self::Migration(Box::new(error))
    }
}

impl StoreError {
    /// Whether the file itself is broken, so that it should be set aside.
    pub(crate) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let code = match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            Self::Migration(error) => {
                let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
                let mut code = None;
                while let Some(inner) = source {
                    if let Some(sqlite) = inner.downcast_ref::<rusqlite::Error>() {
                        code = sqlite.sqlite_error_code();
                    }
                    source = inner.source();
                }
                // A schema that refinery does not recognise is as useless as a broken file.
                return code.is_none() || matches!(code, Some(DatabaseCorrupt | NotADatabase));
            }
            Self::Io(_) | Self::InUse | Self::Closed => None,
        };
        matches!(code, Some(DatabaseCorrupt | NotADatabase))
    }

    /// Whether the disk is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Sqlite(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}
