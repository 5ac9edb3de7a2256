//! The session server: the only appender of session streams.
//!
//! The server keeps no truth in memory. A session is one Durable Stream (`/v1/stream/sessions/{id}`,
//! readable by any Durable Streams client). Everything the server must know to write to it (sequence
//! numbers, runs, open approvals, registered agents) is rebuilt from that stream and from a small
//! database. The database holds what must not be in the stream (agents' headers, tokens, the parents
//! of forks), what is not there yet (runs that were planned or under way), and the list of sessions.
//!
//! ```text
//! routes ─▶ input ─▶ session (book, runs) ─▶ effects ─▶ batch ─▶ store, then stream ─▶ replies, runs
//!               ▲                                                                           │
//!               └──────────────────────────── chunks of agents ◀───────────────────────────┘
//! ```
//!
//! - One task owns a session's state (law L5). A route sends it an input and gets the reply when everything that the
//!   input led to is in the stream.
//! - While one append is under way, further events gather in the next batch, so an agent is never slowed to one
//!   round trip per token.
//! - Every run ends in the log: finished, failed, stopped, or interrupted by a restart.
//!
//! Start one with [`start`]; [`RunningServer::base_url`] is what a client needs.

mod access;
mod agent;
mod book;
mod budget;
mod config;
mod delivery;
mod error;
mod event;
mod failures;
mod following;
mod forking;
mod guard;
mod history;
mod limits;
mod metrics;
mod names;
mod pace;
mod problem;
mod reading;
mod routes;
mod run;
mod runner;
mod seal;
mod serve;
mod server;
mod session;
mod sessions;
mod shared;
mod signs;
mod snapshots;
mod ssrf;
mod store;
mod streams;
mod terminal;
mod tls;
mod tokens;

pub use agent::{FarAgent, FarError, known_agents, model_findings};
pub use config::{
    AcpAgent, Auth, BoxFuture, BuiltinAgents, CommandLine, Limits, ModelConfig, ModelSettings,
    Secret, ServerConfig, StreamLimits, StreamsBackend, TlsFiles, ToolServer, ToolServerTarget,
    ToolServers,
};
pub use error::ServerError;
pub use names::{hides, normalised, shapes};
pub use server::{RunningServer, start};
pub use session_protocol::api::{TokenRole, UnknownRole};
pub use streams::stored_sessions;
pub use tokens::{TokenError, TokenInfo, Tokens};
