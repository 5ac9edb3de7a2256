//! Streams in this process: the router of `durable-streams-server` over a store of ours.
//!
//! The protocol's rules of HTTP are the router's. What the router lacks is done here, in front of
//! it: forks inside a batch, forks with a body or without a content type, JSON kept as it came, no
//! claim to be up to date in the middle of a stream, and no waiting for the disk on a thread of the
//! runtime.

use std::{path::Path, str::FromStr, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderName, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use durable_streams_server::{
    Config, build_router_with_ready,
    protocol::{error::Error, offset::Offset, producer::ProducerHeaders},
    storage::{CreateStreamResult, ProducerAppendResult, StreamConfig},
};
use futures::{StreamExt, stream};
use percent_encoding::percent_decode_str;
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    Listed, MOUNT, Pages, Stamp, StreamError, Streams, import, json,
    request::{ForkPart, Scope},
    routed::Routed,
    store::{Append, Create, Fork, StreamStore},
    stream_name,
};
use crate::{
    config::StreamLimits,
    problem::{Problem, ProblemCode},
    reading,
};

/// Bytes of a page that is not made on a thread that answers others, too.
const MUCH: u64 = 64 << 10;

const JSON: &str = "application/json";

const FORKED_FROM: HeaderName = HeaderName::from_static("stream-forked-from");
const OFFSET: HeaderName = HeaderName::from_static("stream-fork-offset");
const SUB_OFFSET: HeaderName = HeaderName::from_static("stream-fork-sub-offset");
const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");

/// Seconds that a stream may ask to live, a hundred years: the router cannot count to the end of
/// longer ones.
const MAX_TTL: u64 = 100 * 366 * 24 * 3600;

/// Pages that are made for requests at once, beside the threads that answer them.
static READS: Semaphore = Semaphore::const_new(2);
/// Reads of the server's own at once. Who waits for one needs no thread.
static OWN_READS: Semaphore = Semaphore::const_new(2);

/// Streams on this machine's disk.
pub(crate) struct Embedded {
    store: Arc<StreamStore>,
    router: Router,
    append_messages: usize,
}

impl Embedded {
    /// Whether there are streams in `folder`, of this version or an earlier one.
    pub(crate) fn found(folder: &Path) -> bool {
        StreamStore::found(folder) || import::found(folder)
    }

    /// Opens the streams in `folder`, recovering from an unclean stop.
    pub(crate) fn open(
        folder: &Path,
        limits: StreamLimits,
        shutdown: CancellationToken,
    ) -> Result<Self, String> {
        let store = Arc::new(StreamStore::open(folder, limits)?);
        import::acid(folder, &store)?;
        let mut config = Config::default();
        config.http.stream_base_path = MOUNT.to_owned();
        // No origin: CORS is decided in front, see `guard`.
        config.http.cors_origins = String::new();
        config.transport.connection.long_poll_timeout_secs = limits.long_poll.as_secs();
        let routed = Arc::new(Routed(Arc::clone(&store)));
        let router = build_router_with_ready(routed, &config, None, shutdown);
        Ok(Self { store, router, append_messages: limits.append_messages })
    }

    /// Whether a read that follows has much to read before it waits.
    fn is_far_behind(&self, request: &Request<Body>) -> bool {
        let offset = || {
            let offset = reading::of(request)?.as_ref().ok()?.offset()?;
            Offset::from_str(offset).ok().filter(|offset| !offset.is_now())
        };
        let Some(offset) = offset() else { return false };
        let (_, from) = offset.parse_components().unwrap_or_default();
        let path = request.uri().path().strip_prefix(MOUNT).unwrap_or_default();
        // As the router reads it. What it does not know, it will say.
        let name = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
        let head = self.store.head(&name).ok();
        let tail = head.and_then(|head| head.next_offset.parse_components());
        tail.is_some_and(|(_, tail)| tail.saturating_sub(from) > MUCH)
    }

    /// Reads on a thread that may wait for the disk, which is no runtime worker.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StreamStore) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StreamError> {
        let store = Arc::clone(&self.store);
        let seat = OWN_READS.acquire().await.expect("nobody closes it");
        let read = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            work(&store)
        });
        read.await
            .map_err(|_| StreamError::Unavailable("the storage task ended".into()))?
            .map_err(StreamError::from)
    }
}

impl From<Error> for StreamError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) | Error::StreamExpired => Self::NotFound,
            Error::StreamGone(_) | Error::StreamPathBlocked(_) => Self::Gone,
            Error::StreamClosed => Self::Closed,
            Error::EpochFenced { current, .. } => Self::Fenced(Some(current)),
            Error::StreamSizeLimitExceeded => Self::Long,
            Error::MemoryLimitExceeded | Error::InsufficientStorage(_) => Self::Full,
            Error::Unavailable(failure) => Self::Unavailable(failure.operation),
            Error::Storage(detail) => Self::Unavailable(detail),
            other => Self::Refused(other.to_string()),
        }
    }
}

#[async_trait]
impl Streams for Embedded {
    async fn create(&self, name: &str) -> Result<bool, StreamError> {
        let config = StreamConfig::new(JSON.to_owned());
        let create = Create { name: name.to_owned(), config, items: Vec::new(), close: false };
        match self.store.create_soon(create).await {
            Ok(created) => Ok(created.status == CreateStreamResult::Created),
            // It is there and made otherwise, closed or with a time to live perhaps.
            Err(Error::ConfigMismatch) => {
                let name = name.to_owned();
                let head = self.reading(move |store| store.head(&name)).await?;
                let is_json = head.config.content_type == JSON;
                if is_json { Ok(false) } else { Err(StreamError::Foreign) }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn append(
        &self,
        name: &str,
        items: Vec<Bytes>,
        stamp: &Stamp,
        grow: bool,
    ) -> Result<(), StreamError> {
        let producer = ProducerHeaders { id: stamp.id.clone(), epoch: stamp.epoch, seq: stamp.seq };
        let append = Append {
            stream: name.to_owned(),
            items,
            content_type: JSON.to_owned(),
            producer: Some(producer),
            writer_seq: None,
            close: false,
            beyond: !grow,
        };
        match self.store.append_soon(append).await? {
            ProducerAppendResult::Accepted { .. } => Ok(()),
            // Nothing is sent twice here: somebody else had this epoch.
            ProducerAppendResult::Duplicate { epoch, .. } => Err(StreamError::Fenced(Some(epoch))),
        }
    }

    fn pages<'a>(&'a self, name: &'a str) -> Pages<'a> {
        let pages = stream::try_unfold(Some(Offset::start()), move |from| async move {
            let Some(from) = from else { return Ok(None) };
            let name = name.to_owned();
            let (page, is_json) = self.reading(move |store| store.page(&name, &from)).await?;
            if !is_json {
                return Err(StreamError::Foreign);
            }
            let next = (!page.at_tail).then_some(page.next_offset);
            Ok(Some((page.messages, next)))
        });
        pages.boxed()
    }

    async fn fork(&self, name: &str, source: &str, items: u64) -> Result<bool, StreamError> {
        let fork = Fork {
            name: name.to_owned(),
            source: source.to_owned(),
            at: Some(Offset::new(0, 0)),
            part: items,
            config: StreamConfig::new(JSON.to_owned()),
            typed: false,
            body: Bytes::new(),
        };
        let store = Arc::clone(&self.store);
        let forked = tokio::task::spawn_blocking(move || store.fork(fork)).await;
        match forked.map_err(|_| StreamError::Unavailable("the storage task ended".into()))? {
            Ok(_) => Ok(true),
            Err(Error::ConfigMismatch) => Ok(false), // the name is taken
            Err(error) => Err(error.into()),
        }
    }

    async fn is_at(&self, name: &str, items: u64) -> Result<bool, StreamError> {
        let name = name.to_owned();
        Ok(self.reading(move |store| store.head(&name)).await?.message_count == items)
    }

    async fn exists(&self, name: &str) -> Result<bool, StreamError> {
        let name = name.to_owned();
        self.reading(move |store| match store.head(&name) {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_) | Error::StreamGone(_) | Error::StreamExpired) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    async fn is_closed(&self, name: &str) -> Result<bool, StreamError> {
        let name = name.to_owned();
        Ok(self.reading(move |store| store.head(&name)).await?.closed)
    }

    async fn delete(&self, name: &str) -> Result<(), StreamError> {
        match self.store.retire(name).await.map_err(StreamError::from) {
            Ok(()) | Err(StreamError::NotFound | StreamError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, after: &str) -> Result<Option<Vec<Listed>>, StreamError> {
        let after = stream_name(after);
        let streams = self.reading(move |store| store.list_below("sessions/", &after)).await?;
        let listed = streams
            .into_iter()
            .filter_map(|(name, head)| {
                let time = |at: i64| {
                    jiff::Timestamp::from_millisecond(at)
                        .map(|at| format!("{at:.3}"))
                        .unwrap_or_default()
                };
                let created = head.created_at.timestamp_millis();
                let updated = head.updated_at.map_or(created, |at| at.timestamp_millis());
                Some(Listed {
                    session_id: name.strip_prefix("sessions/")?.to_owned(),
                    created_at: time(created),
                    last_activity_at: time(updated),
                })
            })
            .collect();
        Ok(Some(listed))
    }

    fn takes_writes(&self) -> bool {
        true
    }

    fn waits(&self, request: &Request<Body>) -> bool {
        reading::follows(request) && !self.is_far_behind(request)
    }

    async fn serve(&self, request: Request<Body>, waits: bool) -> Response {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if has_controls(&path) {
            let problem = Problem::bad_request("a stream's name has no control characters");
            return problem
                .titled(ProblemCode::InvalidId, "Invalid id in the path")
                .into_response();
        }
        parts.extensions.clear(); // our router's path parameters are not theirs
        // Their proxy rules want a peer; ours have been applied already.
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        parts.extensions.insert(axum::extract::ConnectInfo(peer));
        let router = self.router.clone();
        if matches!(parts.method, Method::GET | Method::HEAD) {
            let scope = Arc::new(Scope::default());
            let request = Request::from_parts(parts, Body::empty());
            if waits {
                let Ok(answer) = scope.run(router.oneshot(request)).await;
                return read_answer(answer, &scope);
            }
            // Making a page takes its time, and a thread that does it answers nobody else.
            let seat = READS.acquire().await.expect("nobody closes it");
            let (runtime, reads) = (Handle::current(), Arc::clone(&scope));
            let answer = tokio::task::spawn_blocking(move || {
                let _seat = seat;
                runtime.block_on(async {
                    let Ok(answer) = reads.run(router.oneshot(request)).await;
                    with_its_first_frame(read_answer(answer, &reads)).await
                })
            });
            return answer
                .await
                .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return Problem::bad_request("the body ended early").into_response();
        };
        let items = match json::items(&body, self.append_messages) {
            // A fork without a type has that of its source.
            Err(json::NoItems::TooMany)
                if is_json(&parts.headers) || !parts.headers.contains_key(header::CONTENT_TYPE) =>
            {
                return too_many_messages(self.append_messages).into_response();
            }
            items => items.ok(),
        };
        let plain = match is_json(&parts.headers) {
            true => stand_in(&body, items.as_deref()),
            false => body.clone(),
        };
        let scope = match scope(&parts.method, &parts.headers, body, items) {
            Ok(scope) => Arc::new(scope),
            Err(error) => return error.into_response(),
        };
        let body = plain;
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        let request = Request::from_parts(parts, Body::from(body));
        // A write waits for the disk; so many wait together, and share the wait.
        let runtime = Handle::current();
        let answer = tokio::task::spawn_blocking(move || {
            let Ok(answer) = runtime.block_on(scope.run(router.oneshot(request)));
            answer
        });
        let mut answer =
            answer.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
        locate(answer.headers_mut(), &path);
        answer
    }
}

/// The answer with its first frame made. Only for one that has it ready.
async fn with_its_first_frame(answer: Response) -> Response {
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let mut rest = body.into_data_stream();
    let first = rest.next().await;
    Response::from_parts(parts, Body::from_stream(stream::iter(first).chain(rest)))
}

/// Whether a path has escapes of control characters, which would end up in a header.
fn has_controls(path: &str) -> bool {
    let escapes = path.split('%').skip(1).filter_map(|escape| escape.get(..2));
    let mut bytes = escapes.filter_map(|escape| u8::from_str_radix(escape, 16).ok());
    bytes.any(|byte| byte.is_ascii_control())
}

/// Writes the name in `Location` as it was asked for: the router has decoded it.
fn locate(headers: &mut HeaderMap, path: &str) {
    let Some(location) = headers.get(header::LOCATION) else { return };
    let location = String::from_utf8_lossy(location.as_bytes());
    let Some(at) = location.find(MOUNT) else { return };
    if let Ok(location) = format!("{}{path}", &location[..at]).parse() {
        headers.insert(header::LOCATION, location);
    }
}

/// The part of a writing request that the storage has to know and the router does not pass on.
fn scope(
    method: &Method,
    headers: &HeaderMap,
    body: Bytes,
    items: Option<Vec<Bytes>>,
) -> Result<Scope, Error> {
    let sub_offset = headers.get(SUB_OFFSET).map(|value| parse_sub_offset(value.as_bytes()));
    let sub_offset = sub_offset.transpose()?;
    let ttl = headers.get("stream-ttl").and_then(|ttl| ttl.to_str().ok()?.parse::<u64>().ok());
    if ttl.is_some_and(|ttl| ttl > MAX_TTL) {
        let reason = format!("a stream may live for {MAX_TTL} seconds");
        return Err(Error::InvalidHeader { header: "Stream-TTL".to_owned(), reason });
    }
    let mut scope = Scope::default();
    if method == Method::PUT && headers.contains_key(FORKED_FROM) {
        scope.fork = Some(ForkPart {
            sub_offset: sub_offset.unwrap_or(0),
            typed: headers.contains_key(header::CONTENT_TYPE),
            body,
        });
    } else if method == Method::PUT && (sub_offset.is_some() || headers.contains_key(OFFSET)) {
        let reason = "it needs Stream-Forked-From beside it".to_owned();
        return Err(Error::InvalidHeader { header: "Stream-Fork-Offset".to_owned(), reason });
    } else {
        scope.items = items;
    }
    Ok(scope)
}

/// Whether the body is said to be JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(JSON)
}

/// The body that the router is given instead of a JSON one, of which it would make a tree: as many
/// items, or something that is no JSON either.
fn stand_in(body: &Bytes, items: Option<&[Bytes]>) -> Bytes {
    match items {
        _ if body.is_empty() => Bytes::new(),
        Some(items) => format!("[{}]", vec!["0"; items.len()].join(",")).into(),
        None => Bytes::from_static(b"["),
    }
}

fn too_many_messages(limit: usize) -> Problem {
    let title = "The append has too many messages";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::TooManyMessages, title)
        .details(format!("an append may have {limit} messages; send several"))
}

/// A plain decimal number, as PROTOCOL wants it: no sign, no leading zero.
fn parse_sub_offset(value: &[u8]) -> Result<u64, Error> {
    let plain = !value.is_empty()
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value[0] != b'0');
    let number = std::str::from_utf8(value).ok().filter(|_| plain).and_then(|n| n.parse().ok());
    number.ok_or_else(|| Error::InvalidHeader {
        header: "Stream-Fork-Sub-Offset".to_owned(),
        reason: "it has to be a plain decimal number".to_owned(),
    })
}

/// Tells a reader in the middle of a stream so by the absence of `Stream-Up-To-Date`: clients look
/// for the header, whatever it says. A body that is made while it is sent keeps its scope.
fn read_answer(mut answer: Response, scope: &Arc<Scope>) -> Response {
    let headers = answer.headers_mut();
    if scope.is_behind() {
        headers.remove(UP_TO_DATE);
    }
    if headers.contains_key(CLOSED) {
        headers.remove(CURSOR); // nothing more comes for it
    }
    let live = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if live { answer.map(|body| scope.keep(body)) } else { answer }
}
