//! The crate from outside: real programs, recorded agents, and updates in any order.

mod laws;
#[cfg(unix)]
mod peer;
mod replay;
mod support;
