//! A client for [Durable Streams]: append-only, replayable logs over HTTP.
//!
//! [Durable Streams]: https://github.com/durable-streams/durable-streams

mod append;
mod body;
mod client;
mod create;
mod error;
mod follow;
mod handle;
mod headers;
mod limits;
mod nudge;
mod offset;
mod pairing;
mod producer;
mod retry;
mod sse;
mod template;
mod transport;
mod wire;

pub use append::{AppendOptions, Appended, CloseOptions, Closed, ProducerStamp};
pub use body::{BodyError, split_items};
pub use client::{Client, ClientBuilder};
pub use create::{CreateOptions, Created, Fork};
pub use error::{Error, Phase, StreamUrl};
pub use follow::{Batch, Follow, FollowOptions, FollowState, Live, OnState};
pub use handle::{Head, StreamHandle};
pub use headers::{HeaderError, HeaderProvider};
pub use limits::{Limits, Timeouts};
pub use nudge::Nudge;
pub use offset::Offset;
pub use producer::{Pending, Position, Producer, ProducerOptions, Receipt};
pub use retry::RetryPolicy;
pub use sse::{SseDecoder, SseError, SseEvent};
pub use template::UrlTemplate;

pub use bytes::Bytes;
pub use url::Url;
