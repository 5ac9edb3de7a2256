//! The engine of a durable AI session: follows a stream, keeps its rows on disk, publishes diffs.
//!
//! ```text
//!  stream ─▶ fold ─▶ view ─▶ diffs ─▶ feed ─▶ a window
//!               └──▶ store (SQLite)
//!  a person ─▶ outbox (durable first) ─▶ session server ─▶ stream
//! ```
//!
//! [`Engine`] is the whole of it: open it, tell it where the server is, ask it for a [`Feed`] for
//! each window. It works without a server: what is stored can be read, what is written waits in the
//! outbox.
//!
//! The laws that are upheld here, and where: L1 and L2 in the store's commits, L3 in the folding of
//! repeated batches, L4 in the feed's queue, L5 in a session's task, L6 in the outbox, L7 in the
//! view, L10 and L14 in the line to a stream, L11 everywhere, L12 in all that happens per token,
//! L13 in the opening of a session, L16 in a session's home.

mod address;
mod check;
mod client;
mod clock;
mod config;
mod connection;
mod diff;
mod endpoint;
mod engine;
mod error;
mod feed;
mod handle;
mod hub;
mod item;
mod link;
mod list;
mod lock;
mod outbox;
mod report;
mod said;
mod search;
mod server;
mod session;
mod shared;
mod store;
mod summary;
mod view;
mod wake;
mod words;

pub use address::{Address, THIS_COMPUTER, address_of};
pub use check::{ServerCheck, check_server};
pub use client::{ClientError, NoTls, SessionClient};
pub use config::{Actor, EngineConfig, FirstMessage, Inherit, Inherited, Limits, Load, NewSession};
pub use diff::{Diff, Direction, Misfit};
pub use endpoint::{Endpoint, NoToken, Secret, TokenProvider};
pub use engine::Engine;
pub use error::{EngineError, Notice};
pub use feed::{Feed, FeedBatch, FeedChange, HeadChange, HeadRow, ListQuery};
pub use item::{Delivery, DeliveryState, Item, ItemMeta};
pub use link::{Link, LinkError};
pub use said::{Said, SaidPage};
pub use search::{SearchField, SearchHit, SearchPage, SearchRequest};
pub use server::ServerSummary;
#[doc(hidden)]
pub use session::Measured;
pub use summary::{
    Connection, ConnectionState, DiskUse, Draft, OutboxItem, OutboxKind, SessionMeta, SessionSize,
    SessionState, SessionSummary, SharedBy, WaitingApproval,
};
pub use words::SearchRange;
