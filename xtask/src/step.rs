//! Steps: a titled command whose output is shown, timed, and whose failure names it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The reason why a command of this list stopped: one sentence for the person.
pub(crate) type Failure = String;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the repository's root").to_path_buf()
}

/// The folder in which cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Announces a step that is skipped, and why.
pub(crate) fn skip(title: &str, why: &str) {
    println!("── {title}: skipped, {why}");
}

/// Runs `command` as the step `title`, with its output shown.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub(crate) fn step(title: &str, command: &mut Command) -> Result<(), Failure> {
    println!("── {title}");
    println!("   {}", shown(command));
    let started = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("{title}: `{}` cannot be started: {error}", name(command)))?;
    let seconds = started.elapsed().as_secs_f32();
    if status.success() {
        println!("   done in {seconds:.1} s");
        Ok(())
    } else {
        Err(format!("{title} failed ({status}) after {seconds:.1} s: {}", shown(command)))
    }
}

/// A cargo command in the repository's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Whether `program` can be found on the path.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    format!("{program} {}", arguments.join(" "))
}
