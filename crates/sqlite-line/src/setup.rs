//! Settings of a file.

use std::path::PathBuf;

/// The moment at which the log beside the file is folded into it.
#[derive(Debug, Clone, Copy)]
pub enum Checkpoint {
    /// SQLite folds it, after a commit that finds this many pages in it.
    Pages(u32),
    /// The thread folds it between commits, after about this many bytes.
    Bytes(usize),
}

/// Settings of a file.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The database.
    pub file: PathBuf,
    /// The name of the thread that writes.
    pub thread: &'static str,
    /// The file can be read by its owner only.
    pub private: bool,
    /// A new file gives free pages back to the disk (`auto_vacuum = INCREMENTAL`).
    pub shrinks: bool,
    /// Every commit is on the disk itself when it is done, also those whose jobs do not ask for it.
    pub durable: bool,
    /// All that is deleted is overwritten; otherwise only where that costs no write.
    pub overwrites: bool,
    /// The moment at which the log is folded.
    pub checkpoint: Checkpoint,
    /// Bytes to which the log is cut when it was folded.
    pub log_bytes: u64,
    /// KiB of pages that the writer keeps in memory; `None` is SQLite's own.
    pub writer_cache: Option<u32>,
    /// KiB of pages that each reader keeps in memory; `None` is SQLite's own.
    pub reader_cache: Option<u32>,
    /// Bytes that the file may have at most.
    pub max_bytes: Option<u64>,
    /// Readers that are kept open. As many at most read at once by
    /// [`Line::read_soon`](crate::Line::read_soon).
    pub readers: usize,
    /// Bytes that are kept beside the file for deletions, and what one deletion needs.
    pub reserve: Option<(u64, u64)>,
}

impl Setup {
    /// A file with SQLite's usual ways: a log that is folded after 1,000 pages, commits that a
    /// power cut may lose, four readers, no reserve.
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
