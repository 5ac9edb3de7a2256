//! The window's page: `npm ci` and `npm run build`, each only when its inputs changed.

use crate::step::{Failure, root, skip, step};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs the page's dependencies when the lock file changed since the last time.
///
/// # Errors
/// When npm fails.
pub(crate) fn install() -> Result<(), Failure> {
    let stamp = folder().join("node_modules/.threadkeep-stamp");
    let digest = digest(&[folder().join("package-lock.json"), folder().join("package.json")]);
    if fs::read_to_string(&stamp).is_ok_and(|seen| seen == digest) {
        skip("UI dependencies", "the lock file has not changed");
        return Ok(());
    }
    step("UI dependencies (npm ci)", &mut npm(&["ci", "--no-fund", "--no-audit"]))?;
    fs::write(&stamp, digest).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// Builds `ui/dist` when a source changed since the last time.
///
/// # Errors
/// When the build fails.
pub(crate) fn build() -> Result<(), Failure> {
    let stamp = folder().join("dist/.threadkeep-stamp");
    let mut inputs = Vec::new();
    for name in
        ["package-lock.json", "package.json", "index.html", "vite.config.ts", "tsconfig.json"]
    {
        inputs.push(folder().join(name));
    }
    for name in ["svelte.config.js", "src", "public"] {
        collect(&folder().join(name), &mut inputs);
    }
    let digest = digest(&inputs);
    if fs::read_to_string(&stamp).is_ok_and(|seen| seen == digest) {
        skip("UI build", "its sources have not changed");
        return Ok(());
    }
    step("UI build", &mut npm(&["run", "build", "--silent"]))?;
    fs::write(&stamp, digest).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// An npm command in `ui/`.
pub(crate) fn npm(arguments: &[&str]) -> Command {
    npm_in(&folder(), arguments)
}

/// An npm command in `folder`.
pub(crate) fn npm_in(folder: &Path, arguments: &[&str]) -> Command {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    command
}

/// The page's folder.
pub(crate) fn folder() -> PathBuf {
    root().join("ui")
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else {
        if path.is_file() {
            into.push(path.to_path_buf());
        }
        return;
    };
    for entry in entries.flatten() {
        collect(&entry.path(), into);
    }
}

fn digest(paths: &[PathBuf]) -> String {
    let mut paths = paths.to_vec();
    paths.sort();
    let mut hasher = DefaultHasher::new();
    for path in paths {
        path.strip_prefix(root()).unwrap_or(&path).hash(&mut hasher);
        fs::read(&path).unwrap_or_default().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
