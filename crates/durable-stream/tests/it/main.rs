//! The client against real servers, and against servers that misbehave.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic as the tests do")]

mod cluster;
mod faults;
mod npm;
mod plain;
mod producing;
mod proxy;
mod scripted;
mod support;
mod wire;
