//! The streams behind the sessions: in this process, or in another Durable Streams server.

mod embedded;
mod import;
mod json;
mod remote;
mod request;
mod routed;
mod store;
mod stored;

use async_trait::async_trait;
use axum::{body::Body, http::Request, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;

use crate::reading::{self, MOUNT};

pub(crate) use embedded::Embedded;
pub(crate) use remote::Remote;
pub(crate) use store::PAGE_BYTES;
pub use stored::stored_sessions;

pub(crate) use session_protocol::api::path::stream_name;

/// Marks an append so that repeating it stores nothing twice (PROTOCOL: idempotent producers).
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// Items of the stream before it.
    pub(crate) at: u64,
}

/// A failed stream operation. Texts carry no content of streams (L11).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the stream does not exist")]
    NotFound,
    #[error("the stream was deleted and its name is still held by forks")]
    Gone,
    #[error("the stream holds something else than a session")]
    Foreign,
    #[error("the stream is closed")]
    Closed,
    /// The stream knows this epoch of the writer, or a higher one where it does not say.
    #[error("another writer took over this session")]
    Fenced(Option<u64>),
    #[error("the stream server has no space left")]
    Full,
    #[error("the stream holds as much as a stream may; begin a new session or fork this one")]
    Long,
    #[error("an event is too large for the stream server")]
    TooLarge,
    #[error("the stream server is not available: {0}")]
    Unavailable(String),
    #[error("the stream server refused: {0}")]
    Refused(String),
}

/// One stream as listed by the storage.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) session_id: String,
    pub(crate) created_at: String,
    pub(crate) last_activity_at: String,
}

/// Pages of items, in order; an error is the last.
pub(crate) type Pages<'a> = BoxStream<'a, Result<Vec<Bytes>, StreamError>>;

/// A place where streams live. All names are without the mount, such as `sessions/abc`.
#[async_trait]
pub(crate) trait Streams: Send + Sync {
    /// Makes sure that the stream exists. Returns whether it is new.
    async fn create(&self, name: &str) -> Result<bool, StreamError>;

    /// Appends JSON items as one atomic batch. Repeating it with the same stamp stores nothing
    /// twice. What does not make the stream `grow` for long, an end or a deletion, has room in one
    /// that is as long as it may be. An epoch that the stream knows from before is
    /// [`StreamError::Fenced`], as an older one is.
    async fn append(
        &self,
        name: &str,
        items: Vec<Bytes>,
        stamp: &Stamp,
        grow: bool,
    ) -> Result<(), StreamError>;

    /// The items of the stream, oldest first, a page at a time: a long stream is never in memory as
    /// a whole.
    fn pages<'a>(&'a self, name: &'a str) -> Pages<'a>;

    /// Makes `name` a fork of `source` that holds its first `items` items. Returns false when that
    /// is not to be had here; then the name is as free as before.
    async fn fork(&self, name: &str, source: &str, items: u64) -> Result<bool, StreamError>;

    /// Whether the stream holds so many items, and no more: nobody else has written to it.
    async fn is_at(&self, name: &str, items: u64) -> Result<bool, StreamError>;

    /// Whether the stream exists.
    async fn exists(&self, name: &str) -> Result<bool, StreamError>;

    /// Whether the stream is closed: nothing can be appended any more.
    async fn is_closed(&self, name: &str) -> Result<bool, StreamError>;

    /// Deletes the stream; no error when there is none. Its name is free again where the place can
    /// do so although forks read through it.
    async fn delete(&self, name: &str) -> Result<(), StreamError>;

    /// Session streams in the order of their ids, behind this one, a page of them; none is the end.
    /// `None` where the place cannot say.
    async fn list(&self, after: &str) -> Result<Option<Vec<Listed>>, StreamError>;

    /// Whether [`serve`](Self::serve) also takes PUT, POST and DELETE.
    fn takes_writes(&self) -> bool {
        false
    }

    /// Whether the answer to a read may wait for what comes next, before there is anything of it.
    fn waits(&self, request: &Request<Body>) -> bool {
        reading::follows(request)
    }

    /// Answers a request of `/v1/stream/…` by the protocol. Who may ask, and how much, is decided
    /// before. `waits`: what [`waits`](Self::waits) says of it.
    async fn serve(&self, request: Request<Body>, waits: bool) -> Response;
}

/// Items as one JSON array, which is how a request carries them.
fn array(items: &[Bytes]) -> Bytes {
    let mut body = BytesMut::with_capacity(items.iter().map(|item| item.len() + 1).sum());
    for (n, item) in items.iter().enumerate() {
        body.put_u8(if n == 0 { b'[' } else { b',' });
        body.put_slice(item);
    }
    body.put_u8(b']');
    body.freeze()
}
