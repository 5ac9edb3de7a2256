//! Programs from PyPI, each in a virtual environment of its own below `target`.

use crate::step::{Failure, skip, step};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs packages (`name==version`) into an environment, unless it has them. Returns the folder
/// of its programs.
///
/// # Errors
/// When there is no Python, or PyPI cannot be reached.
pub(crate) fn environment(venv: &Path, packages: &[&str]) -> Result<PathBuf, Failure> {
    let bin = venv.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let pip = bin.join("pip").with_extension(std::env::consts::EXE_EXTENSION);
    let installed = Command::new(&pip).args(["list", "--format", "freeze"]).output();
    let installed = installed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let installed = installed.unwrap_or_default();
    if packages.iter().all(|package| installed.lines().any(|line| line == *package)) {
        skip(&packages.join(", "), "it is installed");
        return Ok(bin);
    }
    step("A Python environment", Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    step("Install from PyPI", Command::new(pip).args(["install", "--quiet"]).args(packages))?;
    Ok(bin)
}
