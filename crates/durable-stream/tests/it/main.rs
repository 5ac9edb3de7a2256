//! The client against real servers, and against servers that misbehave.

mod faults;
mod plain;
mod producing;
mod proxy;
mod scripted;
mod support;
mod wire;
