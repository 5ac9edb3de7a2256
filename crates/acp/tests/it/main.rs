//! The crate from outside: recorded agents, and updates in any order.

mod laws;
mod replay;
mod support;
