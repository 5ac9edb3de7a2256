//! `cargo xtask bundle`: packages that install.

use crate::packages::{self, Need};
use crate::step::{Failure, cargo, root, step, target_dir};
use crate::ui;
use std::path::PathBuf;
use std::process::Command;

/// Builds the .deb and the .rpm.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<(), Failure> {
    packages::ensure(&[Need::Build])?;
    ui::install()?;
    // It runs the agents, and is the command line: the packages hold both programs.
    step(
        "Build the program that runs the agents",
        &mut cargo(&["build", "--release", "-p", "threadkeep-cli"]),
    )?;
    let tauri = ui::folder().join("node_modules/.bin/tauri");
    // Tauri's own command builds the page (`beforeBuildCommand`), the release binary and packs
    // both.
    step(
        "Build the packages (an optimised build: 10 minutes or more the first time)",
        Command::new(tauri).args(["build", "--bundles", "deb,rpm"]).current_dir(root()),
    )?;
    for kind in ["deb", "rpm"] {
        println!("   {}", package(kind)?.display());
    }
    Ok(())
}

/// The newest package of `kind` (`deb`, `rpm`).
///
/// # Errors
/// When there is none.
pub(crate) fn package(kind: &str) -> Result<PathBuf, Failure> {
    let folder = target_dir().join("release/bundle").join(kind);
    let newest = std::fs::read_dir(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == kind))
        .max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    newest.map(|entry| entry.path()).ok_or_else(|| format!("no .{kind} in {}", folder.display()))
}
