//! What went wrong, as it crosses an edge: a code for programs and one sentence for people.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// An error as the window and HTTP clients see it. Programs switch on `code`, never on `message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
#[ts(export)]
pub struct Problem {
    /// Stable, in kebab-case.
    pub code: String,
    /// One clear sentence that says what to do next; never user text, never a secret (L11).
    pub message: String,
}

impl Problem {
    /// A problem from its two halves.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}
