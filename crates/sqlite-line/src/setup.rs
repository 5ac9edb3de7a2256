//! What a file is like.

use std::path::PathBuf;

/// When the log beside the file is folded into it.
#[derive(Debug, Clone, Copy)]
pub enum Checkpoint {
    /// By SQLite, after a commit that finds this many pages in it.
    Pages(u32),
    /// Between commits, after about this many bytes.
    Bytes(usize),
}

/// What a file is like.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The database.
    pub file: PathBuf,
    /// The name of the thread that writes.
    pub thread: &'static str,
    /// Only its owner can read it.
    pub private: bool,
    /// A new file gives free pages back to the disk (`auto_vacuum = INCREMENTAL`).
    pub shrinks: bool,
    /// Every commit is on the disk itself when it is done, also those whose jobs do not ask for it.
    pub durable: bool,
    /// All that is deleted is overwritten; otherwise only where that costs no write.
    pub overwrites: bool,
    /// When the log is folded.
    pub checkpoint: Checkpoint,
    /// Bytes to which the log is cut when it was folded.
    pub log_bytes: u64,
    /// KiB of pages that the writer keeps in memory; `None` is SQLite's own.
    pub writer_cache: Option<u32>,
    /// The same for each reader.
    pub reader_cache: Option<u32>,
    /// Bytes that the file may have at most.
    pub max_bytes: Option<u64>,
    /// Readers that are kept open. As many at most read at once by [`Line::read_soon`](crate::Line::read_soon).
    pub readers: usize,
    /// Bytes that are kept beside the file for deletions, and what one deletion needs.
    pub reserve: Option<(u64, u64)>,
}

impl Setup {
    /// A file with SQLite's usual ways: a log that is folded after 1,000 pages, commits that a power cut may lose,
    /// four readers, no reserve.
    pub fn new(file: PathBuf, thread: &'static str) -> Self {
        Self {
            file,
            thread,
            private: false,
            shrinks: false,
            durable: false,
            overwrites: false,
            checkpoint: Checkpoint::Pages(1000),
            log_bytes: 8 << 20,
            writer_cache: None,
            reader_cache: None,
            max_bytes: None,
            readers: 4,
            reserve: None,
        }
    }
}
