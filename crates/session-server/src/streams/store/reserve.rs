//! Room that is kept for deleting: on a full disk a deletion is what makes room, and needs some itself.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

const FILE: &str = "reserve";
/// What a deletion and the giving back of its pages write at once, and a little more.
const BYTES: usize = 1 << 20;

/// A file that is given up when the disk is full.
pub(super) struct Reserve {
    path: PathBuf,
    kept: bool,
}

impl Reserve {
    /// The reserve in a folder, which is made if there is room for it.
    pub(super) fn new(folder: &Path) -> Self {
        let mut reserve = Self { path: folder.join(FILE), kept: false };
        reserve.keep();
        reserve
    }

    /// Makes the file again where it is missing. Without room for it there is none, until later.
    pub(super) fn keep(&mut self) {
        if self.kept {
            return;
        }
        let whole = self.path.metadata().is_ok_and(|file| file.len() == BYTES as u64);
        self.kept = whole || fill(&self.path).is_ok();
        if !self.kept {
            fs::remove_file(&self.path).ok(); // part of it would be in the way
        }
    }

    /// Gives the room up. Whether there was any.
    pub(super) fn give_up(&mut self) -> bool {
        self.kept = false;
        fs::remove_file(&self.path).is_ok()
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; BYTES])?;
    file.sync_all()
}
