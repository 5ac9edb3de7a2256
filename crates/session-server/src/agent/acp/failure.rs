//! Why an agent of this computer could not answer, in one sentence that says what to do.

use acp::{Ended, RpcError, StartError};

use crate::run::RunEnd;

/// Characters of an agent's own words that are shown.
const WORDS: usize = 300;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    /// The agent ended before it spoke.
    #[error(
        "{name} ended at once{code}. Run its command by hand on the server's computer to see why."
    )]
    AtOnce { name: String, code: String },
    /// The program speaks something else.
    #[error(
        "{name} does not speak the Agent Client Protocol. Check its command: most agents need a word such as acp or --acp."
    )]
    Foreign { name: String },
    #[error(
        "{name} speaks another version of the Agent Client Protocol. Update it, or this server."
    )]
    Version { name: String },
    #[error("{name} did not answer for {seconds} s and was ended. Send the message again.")]
    Silent { name: String, seconds: u64 },
    /// The agent wants a key or an account.
    #[error(
        "{name} wants you to sign in. Sign in with its own command in a terminal of the server's computer, or give its key, then send the message again."
    )]
    Login { name: String },
    #[error("{name} refused: {said}")]
    Refused { name: String, said: String },
    /// The agent ended in the middle of an answer.
    #[error(
        "{name} ended in the middle of its answer{code}. What it was doing may have happened. Send a message to go on."
    )]
    Exited { name: String, code: String },
}

impl Failure {
    /// The end of a program before its first word.
    pub(super) fn at_once(name: &str, ended: &Ended) -> Self {
        Self::AtOnce { name: name.to_owned(), code: code(ended) }
    }

    pub(super) fn exited(name: &str, ended: &Ended) -> Self {
        Self::Exited { name: name.to_owned(), code: code(ended) }
    }

    /// The error that an agent answered instead of a result. Its words are shown, without the home of this computer's
    /// user.
    pub(super) fn refused(name: &str, error: &RpcError) -> Self {
        if error.wants_login() {
            return Self::Login { name: name.to_owned() };
        }
        let home = std::env::var("HOME").ok().filter(|home| home.len() > 3);
        let said = match home {
            Some(home) => error.said.replace(&home, "~"),
            None => error.said.clone(),
        };
        let said: String = said.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        let said = said.trim_end_matches('.');
        Self::Refused {
            name: name.to_owned(),
            said: format!("{said}. Check its settings and try again."),
        }
    }

    /// The end of the run. Codes are stable: pages and programs switch on them.
    pub(super) fn end(&self) -> RunEnd {
        let code = match self {
            Self::Start(StartError::NotFound(_)) => "acp_not_found",
            Self::Start(StartError::NotExecutable(_)) => "acp_not_executable",
            Self::Start(StartError::NoFolder(_)) => "acp_no_folder",
            Self::Start(StartError::Failed { .. }) => "acp_not_started",
            Self::AtOnce { .. } | Self::Exited { .. } => "acp_exited",
            Self::Foreign { .. } | Self::Version { .. } => "acp_protocol",
            Self::Silent { .. } => "acp_silent",
            Self::Login { .. } => "acp_auth_required",
            Self::Refused { .. } => "acp_refused",
        };
        RunEnd::failed(code, self.to_string())
    }
}

fn code(ended: &Ended) -> String {
    match ended {
        Ended::Exited(Some(code)) => format!(" with code {code}"),
        Ended::Exited(None) | Ended::Silent => String::new(),
    }
}
