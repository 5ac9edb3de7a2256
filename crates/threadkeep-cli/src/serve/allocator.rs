//! Memory that is given back: what others made the server hold for a moment, it does not keep.

/// Starts this program anew, in the same process, with an allocator that gives large blocks back to
/// the system.
///
/// glibc keeps freed blocks of up to 32 MiB for later, in several arenas, and reads its settings
/// only at the start of a program. Returns where that is not the allocator, when somebody has set
/// it already, and when it cannot be done.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn set_up() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const SETTINGS: [(&str, &str); 2] =
        [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_ARENA_MAX", "2")];
    if SETTINGS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut args = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    let error = again.args(args).envs(SETTINGS).exec();
    tracing::debug!(%error, "the allocator stays as it is");
}

/// Does nothing: the allocator here is another one.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn set_up() {}
