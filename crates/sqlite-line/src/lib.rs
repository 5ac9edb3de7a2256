//! One SQLite file: a thread that writes, a pool of connections that read.
//!
//! ```text
//! write, submit ─▶ queue ─▶ one thread: group ─▶ one transaction ─▶ one fsync ─▶ answers
//! read          ─▶ pool  ─▶ one snapshot, beside whoever writes (WAL)
//! ```
//!
//! - **Group commit.** Jobs that wait while the disk is busy share the next transaction. Nobody is
//!   answered before the commit that holds his change is done.
//! - **Solo retry.** A transaction that fails is undone, and each of its jobs is tried alone: a
//!   large job that does not fit does not take a small one with it. A job may therefore run more
//!   than once, and only its last run counts.
//! - **Durability per job.** A commit is on the disk itself (`synchronous = FULL`) when one of its
//!   jobs asks for that.
//! - **Room for deletions.** A [`Reserve`](Room) of bytes beside the file is given up when a job
//!   that makes room finds the disk full. No other job is committed that would leave too little of
//!   it.
//! - **One version.** `user_version` says which migrations a file has. They are run by refinery,
//!   and what the program does after them is in one transaction with the new number: whoever is
//!   killed in between does it again.
//! - **Causes.** [`Cause`] tells a damaged file from a full disk: the one is set aside
//!   ([`set_aside`]), the other waited for.
//!
//! Deferred transactions that turn into writes can fail with `SQLITE_BUSY` in the middle, so every
//! write begins with `BEGIN IMMEDIATE`, and every read is a deferred transaction that never writes.

mod error;
mod file;
mod line;
mod open;
mod readers;
mod reserve;
mod setup;
mod terms;
mod thread;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Cause, Error, OpenError};
pub use file::{owner_only, reader, set_aside};
pub use line::{Line, Written};
pub use open::Opened;
pub use setup::{Checkpoint, Setup};
pub use terms::{Room, Terms};
pub use thread::Housekeeping;
pub use writer::Writer;
