//! Room on the disk that is kept for tidying up: on a full disk a deletion is what makes room, and
//! needs some itself.
//!
//! A deletion writes a little into the log beside its database, and the log can only be emptied
//! when what it holds fits into the database's file. So before a commit that makes the file longer
//! there must be a reserve for that and for a deletion behind it ([`Reserve::covers`]); then a full
//! disk can always be tidied up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ffi};

use crate::error::{failure, is_full};
use crate::file::owner_only;

const FILE: &str = "reserve";
/// A reserve that was made longer for a large commit keeps at most this afterwards.
const KEPT: u64 = 8 << 20;
const PIECE: usize = 64 << 10;

/// A file of zeros that is given up when the disk is full.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// Bytes that it should have.
    wanted: u64,
    /// Bytes of them that a deletion needs.
    work: u64,
    /// Bytes that it has.
    held: u64,
}

impl Reserve {
    /// The reserve in a folder, as it is now. [`Self::keep`] makes it.
    pub(crate) fn found(folder: &Path, wanted: u64, work: u64) -> Self {
        let path = folder.join(FILE);
        let held = path.metadata().map_or(0, |file| file.len());
        Self { path, wanted, work, held }
    }

    /// Whether nothing of the reserve is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.held >= self.wanted
    }

    /// Fills the file up where something is missing, as far as there is room.
    pub(crate) fn keep(&mut self) {
        if !self.is_whole() {
            self.extend(self.wanted).ok(); // what could be written is kept
        }
    }

    /// Whether a commit after which the database's file must get so many bytes longer leaves enough
    /// for a deletion. The reserve is made longer for it where it can be. One that was given up or
    /// is not complete covers nothing: what room there is belongs to who tidies up.
    pub(crate) fn covers(&mut self, growth: u64) -> bool {
        let enough = growth.saturating_add(self.work);
        self.is_whole() && (self.held >= enough || self.lengthen(enough))
    }

    /// Makes the file so long at least, or leaves it as it is.
    fn lengthen(&mut self, to: u64) -> bool {
        let before = self.held;
        // In larger steps than asked for: a log grows by small ones.
        self.extend(to.next_multiple_of(1 << 20)).ok();
        if self.held >= to {
            return true;
        }
        if before == 0 {
            self.give_up();
        } else {
            self.shorten(before);
        }
        false
    }

    /// Gives back the part that only a large commit needed.
    pub(crate) fn trim(&mut self) {
        if self.held > KEPT.max(self.wanted) {
            self.shorten(KEPT.max(self.wanted));
        }
    }

    /// Gives the room up. Returns whether there was any.
    pub(crate) fn give_up(&mut self) -> bool {
        let there = std::mem::take(&mut self.held) > 0;
        fs::remove_file(&self.path).is_ok() && there
    }

    fn extend(&mut self, to: u64) -> io::Result<()> {
        let written = owner_only(&self.path).and_then(|()| {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            let zeros = vec![0; PIECE];
            let mut left = to.saturating_sub(file.metadata()?.len());
            while left > 0 {
                let piece = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                file.write_all(&zeros[..piece])?;
                left -= piece as u64;
            }
            file.sync_all() // some file systems say only here that there is no room
        });
        self.held = self.path.metadata().map_or(0, |file| file.len());
        if written.is_err() && self.held == 0 {
            fs::remove_file(&self.path).ok();
        }
        written
    }

    fn shorten(&mut self, to: u64) {
        if self.held > to {
            let file = OpenOptions::new().write(true).open(&self.path);
            file.and_then(|file: File| file.set_len(to)).ok();
            self.held = self.path.metadata().map_or(0, |file| file.len());
        }
    }
}

/// Bytes that the database's file gets longer by when its log is folded into it, with what the open
/// transaction wrote.
pub(crate) fn growth(db: &Connection, file: &Path) -> rusqlite::Result<u64> {
    let number = |pragma| db.prepare_cached(pragma)?.query_row([], |row| row.get::<_, u64>(0));
    let pages = number("PRAGMA page_count")?;
    let there = file.metadata().map_or(0, |file| file.len());
    Ok((pages * number("PRAGMA page_size")?).saturating_sub(there))
}

/// Folds the log into the database's file (SQLite's checkpoint); on a full disk with the reserve,
/// which is made again from what the log gives back. Where the reserve is too small it is put off:
/// half a checkpoint would take the last room.
pub(crate) fn fold(
    db: &Connection,
    file: &Path,
    how: &str,
    reserve: &mut Reserve,
) -> rusqlite::Result<()> {
    let longer = growth(db, file)?;
    if longer > reserve.held && !reserve.lengthen(longer) {
        return Err(failure(ffi::SQLITE_FULL));
    }
    let mut folded = checkpoint(db, how);
    if folded.as_ref().is_err_and(is_full) && reserve.give_up() {
        folded = checkpoint(db, "TRUNCATE");
        reserve.keep();
    }
    reserve.trim();
    folded
}

/// Folds the log into the database's file.
pub(crate) fn checkpoint(db: &Connection, how: &str) -> rusqlite::Result<()> {
    db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_grows_for_a_large_commit_and_shrinks_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::found(dir.path(), 1 << 20, 512 << 10);
        let size = || dir.path().join(FILE).metadata().map_or(0, |file| file.len());
        reserve.keep();
        assert_eq!(size(), 1 << 20);
        assert!(reserve.covers(512 << 10) && size() == 1 << 20);
        assert!(reserve.covers(20 << 20) && size() >= (20 << 20) + (512 << 10));
        reserve.trim();
        assert_eq!(size(), KEPT);
        assert!(reserve.give_up() && !reserve.give_up() && size() == 0);
        assert!(!reserve.covers(0), "it was given up");
        reserve.keep();
        assert!(reserve.covers(0) && reserve.is_whole());
    }
}
