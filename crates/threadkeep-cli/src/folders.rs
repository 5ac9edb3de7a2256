//! The folders in which Threadkeep keeps things, and what in them is ours.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The application's id, which its folder is named by.
const APP: &str = "dev.threadkeep.desktop";

/// The app's data folder: where it is on this system, whether it is there or not. `None` where the
/// person has no home.
pub(crate) fn app() -> Option<PathBuf> {
    let home = || env::home_dir().filter(|home| home.is_absolute());
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(target_os = "macos") {
        home()?.join("Library/Application Support")
    } else if cfg!(windows) {
        set("APPDATA")?
    } else {
        match set("XDG_DATA_HOME") {
            Some(data) => data,
            None => home()?.join(".local/share"),
        }
    };
    Some(base.join(APP))
}

/// The databases that may be in a data folder, in the order in which they are copied: what is
/// stored beside a stream goes on from where it stopped, so the streams are the last.
pub(crate) const DATABASES: [&str; 6] = [
    "threadkeep.db",
    "engine/threadkeep.db",
    "server.sqlite",
    "server/server.sqlite",
    "streams/streams.sqlite",
    "server/streams/streams.sqlite",
];

/// The other files.
pub(crate) const FILES: [&str; 7] = [
    "settings.json",
    "secrets.sealed",
    "server/secrets.sealed",
    "server.key",
    "server/server.key",
    "models.json",
    "server/models.json",
];

/// The folders of which every file is ours.
pub(crate) const FOLDERS: [&str; 6] =
    ["notes", "server/notes", "acp", "server/acp", "mcp", "server/mcp"];

/// Folders that say which programs run now; a copy of that would be wrong tomorrow.
const PASSING: [&str; 4] =
    ["acp/running", "server/acp/running", "mcp/running", "server/mcp/running"];

/// The files that are held open by who works in a data folder.
pub(crate) const LOCKS: [(&str, &str); 5] = [
    ("host.lock", "the process that runs the agents of this computer"),
    ("server.lock", "a session server"),
    ("server/server.lock", "the session server of the app"),
    ("threadkeep.lock", "the app"),
    ("engine/threadkeep.lock", "the app"),
];

/// Whether a path inside a data folder is that of something of ours. Slashes, whatever the system.
pub(crate) fn is_ours(path: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0'])
    };
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    path.split('/').all(plain)
        && !PASSING.iter().any(|folder| below(folder))
        && (DATABASES.contains(&path)
            || FILES.contains(&path)
            || FOLDERS.iter().any(|folder| below(folder)))
}

/// Who works in a data folder, and keeps it locked.
pub(crate) fn workers(folder: &Path) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (file, who) in LOCKS {
        let Ok(file) = File::open(folder.join(file)) else { continue };
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && !found.contains(&who) {
            found.push(who);
        }
    }
    found
}

/// The files of ours that are in a folder, as paths inside it, in order.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = FILES
        .iter()
        .filter(|path| folder.join(path).is_file())
        .map(|path| (*path).to_owned())
        .collect();
    for top in FOLDERS {
        let mut todo = vec![top.to_owned()];
        while let Some(inside) = todo.pop() {
            for entry in fs::read_dir(folder.join(&inside)).into_iter().flatten().flatten() {
                let path = format!("{inside}/{}", entry.file_name().to_string_lossy());
                // A link may lead anywhere.
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => todo.push(path),
                    Ok(kind) if kind.is_file() && is_ours(&path) => found.push(path),
                    _ => {}
                }
            }
        }
    }
    found.sort();
    found
}

/// Whether anything of ours is in a folder.
pub(crate) fn holds_ours(folder: &Path) -> bool {
    DATABASES.iter().any(|path| folder.join(path).is_file()) || !files(folder).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_told_from_what_is() {
        for ours in ["server/server.sqlite", "settings.json", "server/acp/s/a/x.txt", "notes/a.md"]
        {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "",
            "/etc/passwd",
            "notes",
            "notes/",
            "notes/../settings.json",
            "notes/./a",
            "localstorage/x",
            "server/acp/running/1",
            "engine/../server.key",
            "notes/a\\b",
            "C:/server.key",
            "server.lock",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
