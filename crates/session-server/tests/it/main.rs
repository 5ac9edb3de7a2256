//! The server as its clients see it: real HTTP on a free port.

#![allow(missing_docs, unreachable_pub)]

mod flow;
mod rig;
