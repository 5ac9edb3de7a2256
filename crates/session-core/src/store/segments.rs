//! Table `segments`: the raw log of messages, from which they are folded anew when a late chunk
//! comes.
//!
//! Each commit appends what it got, as plain JSON: one event alone does not compress. Segments are
//! packed together when there are [`PACK`] of them, and as a whole when the message is complete; so
//! a message that streams for hours does not leave a row for every commit, and a finished one is a
//! fifteenth of its log. A packed segment is told apart by how it begins.

use std::cell::RefCell;

use rusqlite::{Connection, params};

use super::SessionKey;

/// Number of plain segments that are packed into one.
const PACK: i64 = 64;
/// A complete message with so many segments is packed again.
const MANY: usize = 16;
/// Less than this does not pay.
const WORTH: usize = 512;
/// First bytes of a packed segment; a plain one begins with a bracket.
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Fast, and as small as any that is.
const LEVEL: i32 = 1;

thread_local! {
    /// The writer thread's; making one costs more than a small segment.
    static PACKER: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Appends to a message's log. `log` is a JSON array of raw entries.
pub(super) fn append(
    connection: &Connection,
    session: i64,
    message: &str,
    log: &str,
    complete: bool,
) -> rusqlite::Result<()> {
    let next: i64 = connection
        .prepare_cached(
            "SELECT coalesce(max(n), -1) + 1 FROM segments WHERE session = ?1 AND message = ?2",
        )?
        .query_row(params![session, message], |row| row.get(0))?;
    if complete && next == 0 {
        return insert(connection, session, message, next, &pack(log.as_bytes()));
    }
    insert(connection, session, message, next, log.as_bytes())?;
    if complete {
        let all = between(connection, session, message, 0, i64::MAX)?;
        let is_new = all.first().is_some_and(|first| !first.starts_with(&MAGIC));
        if is_new || all.len() >= MANY {
            replace(connection, session, message, 0, next, &all)?;
        }
    } else if (next + 1) % PACK == 0 {
        let some = between(connection, session, message, next + 1 - PACK, next)?;
        replace(connection, session, message, next + 1 - PACK, next, &some)?;
    }
    Ok(())
}

/// A message's log: JSON arrays of raw entries, in order.
pub(crate) fn read(
    connection: &Connection,
    session: SessionKey,
    message: &str,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    let segments = between(connection, session.0, message, 0, i64::MAX)?;
    Ok(segments.into_iter().map(unpack).collect())
}

fn insert(
    connection: &Connection,
    session: i64,
    message: &str,
    n: i64,
    log: &[u8],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO segments (session, message, n, log) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![session, message, n, log])?;
    Ok(())
}

fn between(
    connection: &Connection,
    session: i64,
    message: &str,
    from: i64,
    to: i64,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    connection
        .prepare_cached(
            "SELECT log FROM segments
             WHERE session = ?1 AND message = ?2 AND n BETWEEN ?3 AND ?4 ORDER BY n",
        )?
        .query_map(params![session, message, from, to], |row| {
            // Something that is no bytes is read as nothing.
            Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec())
        })?
        .collect()
}

/// Puts one packed segment in the place of several.
fn replace(
    connection: &Connection,
    session: i64,
    message: &str,
    from: i64,
    to: i64,
    segments: &[Vec<u8>],
) -> rusqlite::Result<()> {
    let mut whole = vec![b'['];
    for segment in segments {
        let plain = unpack(segment.clone());
        let Some(inner) = plain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
            // Not ours to lose: it stays as it is.
            return Ok(());
        };
        if whole.len() > 1 && !inner.is_empty() {
            whole.push(b',');
        }
        whole.extend_from_slice(inner);
    }
    whole.push(b']');
    connection
        .prepare_cached(
            "DELETE FROM segments WHERE session = ?1 AND message = ?2 AND n BETWEEN ?3 AND ?4",
        )?
        .execute(params![session, message, from, to])?;
    insert(connection, session, message, to, &pack(&whole))
}

fn pack(plain: &[u8]) -> Vec<u8> {
    if plain.len() < WORTH {
        return plain.to_vec();
    }
    let packed = PACKER.with_borrow_mut(|packer| {
        if packer.is_none() {
            *packer = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        packer.as_mut()?.compress(plain).ok()
    });
    packed.unwrap_or_else(|| plain.to_vec())
}

fn unpack(segment: Vec<u8>) -> Vec<u8> {
    if !segment.starts_with(&MAGIC) {
        return segment;
    }
    zstd::decode_all(segment.as_slice()).unwrap_or_else(|error| {
        tracing::error!(kind = ?error.kind(), "a packed segment cannot be unpacked");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Connection {
        let connection = Connection::open_in_memory().expect("SQLite is built in");
        connection
            .execute_batch(
                "CREATE TABLE segments (session INTEGER, message TEXT, n INTEGER, log BLOB,
                 PRIMARY KEY (session, message, n)) WITHOUT ROWID",
            )
            .expect("it is a table");
        connection
    }

    fn entries(connection: &Connection) -> Vec<u64> {
        read(connection, SessionKey(1), "m")
            .expect("it is read")
            .iter()
            .flat_map(|log| serde_json::from_slice::<Vec<(u64, String)>>(log).expect("JSON"))
            .map(|(n, _)| n)
            .collect()
    }

    #[test]
    fn a_log_is_the_same_however_it_is_packed() {
        let connection = table();
        let mut n = 0;
        for commit in 0..300u64 {
            let log: Vec<(u64, String)> = (0..3)
                .map(|_| {
                    n += 1;
                    (n, "some text ".repeat(5))
                })
                .collect();
            let log = serde_json::to_string(&log).expect("plain data");
            append(&connection, 1, "m", &log, commit >= 200).expect("it is written");
            if commit % 50 == 49 {
                assert_eq!(entries(&connection), (1..=n).collect::<Vec<_>>());
            }
        }
        let (rows, bytes): (i64, i64) = connection
            .query_row("SELECT count(*), sum(length(log)) FROM segments", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("it is counted");
        assert!(rows <= 20, "{rows}");
        assert!(bytes < 20_000, "{bytes}");
    }
}
