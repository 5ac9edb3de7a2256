//! Numbers of sessions, and numbers as SQLite has them.

/// The database's own number of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(pub(crate) i64);

/// SQLite's integers are signed.
pub(crate) fn as_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
