//! Tool servers that speak the Model Context Protocol (MCP), from the side that uses their tools.
//!
//! ```text
//!   Target ─▶ Client ─▶ tools
//!               └─────▶ Call ─▶ Progress, Asks, Done
//! ```
//!
//! A [`Client`] is one connection: a program ([`rpc_process`]) or an address (streamable HTTP). It speaks both eras of the
//! protocol, with a handshake (to 2025-11-25) and without one (2026-07-28), and finds out which one a server knows. A
//! [`Call`] is one call of a tool; dropped before its end, it is cancelled.
//!
//! Everything that a server says is hostile input: lines, answers, lists, blocks and what is kept of each are bounded. What
//! is not understood is left out, and never an error of the whole. Nothing here knows sessions or who may do what.

mod client;
mod content;
mod ears;
mod error;
mod http;
mod line;
mod sse;
mod stdio;
mod tool;

pub use client::{Call, CallEvent, Client, Era, Outcome, Target, Unconnected};
pub use content::{Block, CallResult};
pub use error::Error;
pub use tool::{Elicitation, Tool, Traits};
