//! The database file: its tables and how it is opened.
//!
//! A message's row id is `stream << 37 | sequence number`: one B-tree holds all messages in reading
//! order, and an append touches its last leaf, the stream's row and the producer's row. 67 million
//! streams, 137 billion messages each.

use std::path::Path;

use sqlite_line::{Checkpoint, OpenError, Opened, Setup};

mod embedded {
    refinery::embed_migrations!("migrations/streams");
}

/// Bits of a message's row id that hold its sequence number.
const SEQ_BITS: u32 = 37;
/// Bytes that are kept on the disk for deletions, and what one of them needs: a page of each table,
/// and a slice of messages or a few pages that change places.
const RESERVE: (u64, u64) = (1 << 20, 512 << 10);
/// The log beside the database is folded into it when about this much was written.
const CHECKPOINT_BYTES: usize = 6 << 20;

/// The row id of a message.
pub(super) const fn message_id(stream: i64, seq: u64) -> i64 {
    (stream << SEQ_BITS) | (seq as i64 & ((1 << SEQ_BITS) - 1))
}

/// Opens the file, and makes the tables where there are none.
///
/// A commit is on the disk when it returns. Freed pages go back to the file system, and what was
/// deleted is overwritten.
pub(super) fn open(file: &Path, max_bytes: Option<u64>) -> Result<Opened, OpenError> {
    let setup = Setup {
        private: true,
        shrinks: true,
        durable: true,
        overwrites: true,
        checkpoint: Checkpoint::Bytes(CHECKPOINT_BYTES),
        log_bytes: 16 << 20,
        writer_cache: Some(4096),
        reader_cache: Some(1024),
        max_bytes,
        reserve: Some(RESERVE),
        ..Setup::new(file.to_owned(), "streams")
    };
    setup.open(embedded::migrations::runner, &|_, _| Ok(()))
}
