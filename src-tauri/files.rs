//! Files that a person takes out of a session: written beside those that are there, never over one.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Letters of a file's name that are kept.
const LONGEST: usize = 120;
/// Names that are tried before giving up.
const TRIES: u32 = 1_000;

/// Writes a file under a name like `name`, which an agent may have chosen: no path, nothing that a system refuses.
///
/// # Errors
///
/// The folder cannot be written, or has a thousand files of this name.
pub(crate) fn save_new(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = safe_name(name);
    let (stem, end) = match name.rfind('.').filter(|at| *at > 0) {
        Some(at) => name.split_at(at),
        None => (name.as_str(), ""),
    };
    for n in 1..=TRIES {
        let tried = if n == 1 { name.clone() } else { format!("{stem} ({n}){end}") };
        let path = folder.join(tried);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn safe_name(name: &str) -> String {
    let is_bad = |letter: char| letter.is_control() || "/\\:*?\"<>|".contains(letter);
    let kept: String = name
        .chars()
        .map(|letter| if is_bad(letter) { '_' } else { letter })
        .take(LONGEST)
        .collect();
    let kept = kept.trim_matches([' ', '.']);
    if kept.is_empty() { "file".to_owned() } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_written_over_another_one_or_into_another_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, written) in [
            ("notes.txt", "notes.txt"),
            ("notes.txt", "notes (2).txt"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "file"),
            ("a\u{0}b.png", "a_b.png"),
            ("", "file (2)"),
        ] {
            let path = save_new(folder.path(), name, b"x").expect("it is written");
            assert_eq!(path, folder.path().join(written), "{name}");
        }
    }
}
