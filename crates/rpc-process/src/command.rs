//! The program of an agent: what is started, where, and why it could not be.

use std::{ffi::OsString, fmt, io, path::PathBuf, process::Stdio};

use tokio::process::Command as Tokio;

/// Variables that begin so are this host's own: tokens and keys among them. No agent gets them.
const OURS: &str = "THREADKEEP_";

/// A program with its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// A path, or a name that is looked for in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables of its environment, over those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder that it works in.
    pub folder: PathBuf,
}

// L11: arguments and variables may hold keys.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Why a program did not start. Each sentence says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program.
    #[error("The program {0} was not found. Install it, or give its whole path.")]
    NotFound(String),
    /// It is there and may not be run.
    #[error(
        "The program {0} cannot be run. Check that it is a program and that its file may be executed."
    )]
    NotExecutable(String),
    /// The folder is not there, or is a file.
    #[error("The working folder {0} is not there. Choose a folder that exists.")]
    NoFolder(String),
    /// Something else; the system's words.
    #[error("The program {program} could not be started: {source}. Try again.")]
    Failed {
        /// The program.
        program: String,
        /// The system's error.
        source: io::Error,
    },
}

impl Command {
    /// The program's name, without its folder.
    pub fn name(&self) -> String {
        let path = std::path::Path::new(&self.program);
        path.file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }

    /// The command as tokio starts it, with `life` in its environment, by which its descendants are known.
    pub(crate) fn prepare(&self, life: &str) -> Result<Tokio, StartError> {
        if !self.folder.is_dir() {
            let name = self.folder.file_name().unwrap_or(self.folder.as_os_str());
            return Err(StartError::NoFolder(name.to_string_lossy().into_owned()));
        }
        let mut command = Tokio::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OURS) {
                command.env_remove(name);
            }
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(crate::pids::LIFE, life)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    pub(crate) fn failed(&self, source: io::Error) -> StartError {
        const NO_PROGRAM: i32 = 8; // ENOEXEC
        match source.kind() {
            io::ErrorKind::NotFound => StartError::NotFound(self.name()),
            io::ErrorKind::PermissionDenied => StartError::NotExecutable(self.name()),
            _ if source.raw_os_error() == Some(NO_PROGRAM) => {
                StartError::NotExecutable(self.name())
            }
            _ => StartError::Failed { program: self.name(), source },
        }
    }
}
