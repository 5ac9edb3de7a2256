//! The transaction that a job works in, and what becomes of it.

use durable_streams_server::protocol::error::Error;
use rusqlite::{Connection, Transaction};
use sqlite_line::Cause;

/// Milliseconds since 1970, now.
pub(super) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// The effect of a commit on those who wait for a stream.
pub(super) enum Effect {
    /// The stream has something new to read.
    Wake(String),
    /// The stream is gone.
    Gone(String),
}

/// Effects that the jobs of a transaction leave behind.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) effects: Vec<Effect>,
    /// Set when there are messages to delete.
    pub(super) litter: bool,
}

impl Notes {
    /// The transaction for one job.
    pub(super) fn tx<'a>(&'a mut self, db: &'a Transaction<'_>) -> Tx<'a> {
        Tx { db, now: now(), effects: &mut self.effects, litter: &mut self.litter }
    }
}

/// The transaction that a job works in.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) now: i64,
    pub(super) effects: &'a mut Vec<Effect>,
    pub(super) litter: &'a mut bool,
}

/// The reason why a job ended early: the request is refused and nothing was changed, or the
/// database failed.
pub(super) enum Stop {
    Refused(Error),
    Database(rusqlite::Error),
}

impl Stop {
    /// A refusal is an outcome like any other: it costs its neighbours in the transaction nothing.
    pub(super) fn split<T>(result: Result<T, Self>) -> rusqlite::Result<Result<T, Error>> {
        match result {
            Ok(done) => Ok(Ok(done)),
            Err(Self::Refused(error)) => Ok(Err(error)),
            Err(Self::Database(error)) => Err(error),
        }
    }

    /// The other way: what a split result says once it is committed, or was not.
    pub(super) fn join<T>(
        result: Result<Result<T, Error>, sqlite_line::Error>,
    ) -> Result<T, Error> {
        result.unwrap_or_else(|error| Err(failure(&error)))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// The error of a failed database for the one who asked. SQLite's texts hold no values (L11).
fn failure(error: &sqlite_line::Error) -> Error {
    const STORE: &str = "sqlite";
    let text = error.to_string();
    let sqlite_line::Error::Sqlite(error) = error else {
        return Error::storage_unavailable(STORE, "write", text);
    };
    match Cause::of(error) {
        Cause::Full => Error::storage_insufficient(STORE, "write", text),
        Cause::Unavailable => Error::storage_unavailable(STORE, "access", text),
        Cause::Damaged | Cause::Other => Error::Storage(text),
    }
}
