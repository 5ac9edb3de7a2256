//! Programs that speak JSON-RPC on their standard input and output, from the side that starts them.
//!
//! ```text
//!   Command ─▶ Peer ─▶ Message
//! ```
//!
//! [`Peer`] starts a program in a group of its own, sends it messages and reads its own, and ends the whole group. Agents
//! (ACP) and tool servers (MCP) are both such programs. Nothing here knows what the messages mean.
//!
//! Whatever a program says is hostile input: lines, what is held and what is kept of its standard error are bounded.

mod command;
mod lines;
mod message;
mod peer;
mod pids;

pub use command::{Command, StartError};
pub use lines::{Lines, MAX_LINE};
pub use message::{AUTH_REQUIRED, CANCELLED, Message, NO_METHOD, RpcError};
pub use peer::{Aside, Ended, Incoming, PATIENCE, Peer};
pub use pids::Pids;
