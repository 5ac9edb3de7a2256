//! The server as its clients see it: real HTTP on a free port.

#![allow(missing_docs, unreachable_pub, reason = "test code")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod access;
mod acp;
mod agui;
mod authority;
mod border;
mod cases;
mod conformance;
mod connections;
mod continuing;
mod defects;
mod edge;
mod ends;
mod fake;
mod flow;
mod folded;
mod guard;
mod human;
mod kills;
mod limits;
mod listeners;
mod listing;
mod matrix;
mod memory;
mod model;
mod names;
mod observe;
mod presence;
mod quirks;
mod remote;
mod restart;
mod rig;
mod room;
mod secrets;
mod stop;
mod streams;
mod tidy;
mod tools;
mod upstream;
mod webhook;
mod writers;
