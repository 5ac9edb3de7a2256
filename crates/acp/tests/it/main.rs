//! The crate from outside, with real programs.

#[cfg(unix)]
mod peer;
