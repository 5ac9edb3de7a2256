//! Failures of commands as they cross to the page: a stable code and one sentence.

use serde::Serialize;

/// A refused or failed command.
///
/// `code` is stable and what the page switches on; `message` is one sentence for the person, with
/// what to do next. Neither holds user text, a token or a key (L11).
#[derive(Debug, Clone, Serialize, ts_rs::TS)]
#[ts(export)]
pub(crate) struct CommandError {
    /// Stable, `kebab-case`.
    pub code: String,
    /// One sentence, with what to do next.
    pub message: String,
}

impl CommandError {
    /// An error of the host itself.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl From<session_core::EngineError> for CommandError {
    fn from(error: session_core::EngineError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string() }
    }
}

impl From<crate::keychain::KeychainError> for CommandError {
    fn from(error: crate::keychain::KeychainError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// The answer of every command.
pub(crate) type CommandResult<T> = Result<T, CommandError>;
