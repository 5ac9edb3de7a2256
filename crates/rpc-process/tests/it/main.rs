//! Real programs, started and ended.

#[cfg(unix)]
mod peer;
