//! A client for [Durable Streams]: append-only, replayable logs over HTTP.
//!
//! A stream is a URL. Writers append to it, readers read it from any place and follow it live, and
//! a reader that was away goes on exactly where it was. This crate reads and writes such streams
//! exactly: every item once and in order, whatever the network does in between.
//!
//! ```
//! use durable_stream::{AppendOptions, Bytes, Client, CloseOptions, CreateOptions, Live, Offset, Url};
//! use futures::TryStreamExt;
//! # use std::sync::Arc;
//! # use durable_streams_server::{Config, InMemoryStorage, build_router};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let router = build_router(Arc::new(InMemoryStorage::new(1 << 20, 1 << 20)), &Config::default());
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let server = format!("http://{}", listener.local_addr()?);
//! # tokio::spawn(async move { axum::serve(listener, router).await });
//!
//! let stream = Client::new().stream(Url::parse(&format!("{server}/v1/stream/notes"))?);
//! stream.create(CreateOptions::json()).await?;
//! stream.append(Bytes::from_static(br#"[{"note":"one"},{"note":"two"}]"#), AppendOptions::default()).await?;
//! stream.close(CloseOptions::default()).await?;
//!
//! let mut notes = Vec::new();
//! let mut batches = stream.follow(Offset::Beginning, Live::Auto);
//! while let Some(batch) = batches.try_next().await? {
//!     notes.extend(batch.items);
//!     // Store `batch.next_offset` together with the items to go on from here after a restart.
//! }
//! assert_eq!(notes, [r#"{"note":"one"}"#, r#"{"note":"two"}"#]);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | to | see |
//! | --- | --- |
//! | share connections, headers, limits | [`Client`], [`ClientBuilder`] |
//! | send a token that is renewed | [`HeaderProvider`] |
//! | make the addresses of streams | [`UrlTemplate`] |
//! | read and follow | [`StreamHandle::follow`], [`Batch`], [`Live`] |
//! | show whether a reader is connected | [`FollowOptions::on_state`], [`FollowState`] |
//! | try again at once, after a sleep | [`Nudge`] |
//! | wait as this crate does | [`RetryPolicy::delay`], [`retry_after`] |
//! | write once | [`StreamHandle::append`], [`ProducerStamp`] |
//! | write much, each item exactly once | [`Producer`] |
//! | make, fork, close and delete | [`StreamHandle::create`], [`Fork`], [`StreamHandle::close`], [`StreamHandle::delete`] |
//! | tell failures apart | [`Error`] |
//!
//! # What it promises
//!
//! - A [`Batch`] is committed by the server: its items and its `next_offset` belong together, and
//!   no data is handed out before the server has said where it ends.
//! - Items are the bytes that the server sent, not a copy that was parsed and written anew.
//! - A reader ends only at the end of a closed stream or at an error that trying again does not
//!   mend.
//! - A write is repeated only if that cannot store it twice. What cannot be known is told
//!   ([`Error::outcome_unknown`]).
//! - A server cannot make the client hold more than [`Limits`] or wait longer than [`Timeouts`].
//! - No error, no `Debug` output and no log line holds a header value, a body or a query string.
//!
//! The protocol is that of `PROTOCOL.md` in the [Durable Streams] repository; section numbers in
//! these pages are its.
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
mod media;
mod nudge;
mod offset;
mod pairing;
mod producer;
mod retry;
mod sse;
mod template;
mod transport;
mod trust;
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
pub use retry::{RetryPolicy, retry_after};
pub use sse::{SseDecoder, SseError, SseEvent};
pub use template::UrlTemplate;
pub use trust::{NO_CERTIFICATES, http_client, lacks_certificates};

pub use bytes::Bytes;
pub use url::Url;

/// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
