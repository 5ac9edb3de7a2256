//! Where what is read goes.

use crate::model::{Problem, Session};

/// What takes sessions as they are read, one after the other.
pub trait Sink {
    /// Takes a session.
    ///
    /// # Errors
    ///
    /// Nothing more is wanted; reading ends.
    fn session(&mut self, session: Session) -> Result<(), Stop>;

    /// Takes down an item that could not be read, or not whole.
    fn problem(&mut self, problem: Problem);

    /// A file was begun: its path and size in bytes.
    fn file(&mut self, _path: &str, _size: u64) {}
}

/// Reading ends early, because who takes the sessions wants no more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;
