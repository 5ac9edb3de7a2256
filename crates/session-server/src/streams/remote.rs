//! Streams in another Durable Streams server.

use std::time::Duration;

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{HeaderValue, Request, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use durable_stream::{
    AppendOptions, Client, CreateOptions, Error, Live, Offset, ProducerStamp, RetryPolicy,
    StreamHandle, http_client,
};
use futures::{StreamExt, TryStreamExt, stream};
use url::Url;

use super::{Listed, MOUNT, Pages, Stamp, StreamError, Streams, array};
use crate::{config::Secret, error::ServerError, problem::Problem};

/// A long poll or an event stream is cut by its server long before.
const READ_IDLE: Duration = Duration::from_secs(120);

/// Request headers of a reader that mean something to a stream server.
const FORWARDED: [header::HeaderName; 4] =
    [header::ACCEPT, header::IF_NONE_MATCH, header::CACHE_CONTROL, header::USER_AGENT];

/// Streams reached by HTTP.
pub(crate) struct Remote {
    base: Url,
    /// The client for appends, which are repeated for a while: what they hold exists nowhere else.
    writer: Client,
    /// The client for everything that somebody can ask for again.
    client: Client,
    /// The client for readers: answers are passed on as they come, with the server's own status and
    /// headers.
    pass: reqwest::Client,
}

impl Remote {
    /// Streams below `url`, such as `http://streams.internal:4437/v1/stream`.
    pub(crate) fn new(url: &Url, token: Option<&Secret>) -> Result<Self, ServerError> {
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(ServerError::StreamsUrl(url.clone()));
        }
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| ServerError::StreamsToken)?;
            value.set_sensitive(true); // L11
            headers.insert(header::AUTHORIZATION, value);
        }
        let bad = |_| ServerError::StreamsUrl(url.clone());
        let client = |retries| {
            let (first, last) = (Duration::from_millis(100), Duration::from_secs(2));
            let retry = RetryPolicy::new(Some(retries), first, last, 2.0)?;
            Client::builder().headers(headers.clone()).retry(retry).follow_retry(retry).build()
        };
        let (writer, client) = (client(6).map_err(bad)?, client(2).map_err(bad)?);
        let pass = http_client(|| {
            reqwest::Client::builder()
                .default_headers(headers.clone())
                .connect_timeout(Duration::from_secs(10))
                .read_timeout(READ_IDLE)
        });
        let pass = pass.map_err(ServerError::HttpClient)?;
        Ok(Self { base: url.clone(), writer, client, pass })
    }

    fn url(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(name.split('/'));
        }
        url
    }

    /// Whether `name` holds exactly the first `items` items of `source`.
    async fn begins_alike(
        &self,
        name: &str,
        source: &str,
        items: usize,
    ) -> Result<bool, StreamError> {
        let one_by_one = |name| {
            self.pages(name)
                .map_ok(|page| stream::iter(page).map(Ok::<_, StreamError>))
                .try_flatten()
        };
        let (mut got, mut wanted) = (one_by_one(name), one_by_one(source).take(items));
        loop {
            match (got.try_next().await?, wanted.try_next().await?) {
                (None, None) => return Ok(true),
                (got, wanted) if got == wanted => {}
                _ => return Ok(false),
            }
        }
    }

    fn stream(&self, name: &str) -> StreamHandle {
        self.client.stream(self.url(name))
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

impl From<Error> for StreamError {
    fn from(error: Error) -> Self {
        match &error {
            Error::NotFound { .. } => Self::NotFound,
            Error::Gone { .. } => Self::Gone,
            Error::StreamClosed { .. } => Self::Closed,
            Error::Fenced { epoch, .. } => Self::Fenced(Some(*epoch)),
            Error::TooLarge { .. } => Self::TooLarge,
            Error::Unavailable { status: 507, .. } => Self::Full,
            _ if error.is_retryable() => Self::Unavailable(error.code().to_owned()),
            _ => Self::Refused(error.code().to_owned()),
        }
    }
}

#[async_trait]
impl Streams for Remote {
    async fn create(&self, name: &str) -> Result<bool, StreamError> {
        let stream = self.stream(name);
        match stream.create(CreateOptions::json()).await {
            Ok(created) => Ok(created.is_new),
            Err(error) if error.is_retryable() => Err(error.into()),
            // It is there and made otherwise, closed or with a time to live perhaps; or there and
            // gone.
            Err(error) => match stream.head().await {
                Ok(head) if is_json(head.content_type.as_deref()) => Ok(false),
                Ok(_) => Err(StreamError::Foreign),
                Err(gone @ Error::Gone { .. }) => Err(gone.into()),
                Err(_) => Err(error.into()),
            },
        }
    }

    async fn append(
        &self,
        name: &str,
        items: Vec<Bytes>,
        stamp: &Stamp,
        _grow: bool,
    ) -> Result<(), StreamError> {
        let Stamp { epoch, seq, at, .. } = *stamp;
        let stamp = ProducerStamp { id: stamp.id.clone(), epoch: stamp.epoch, seq: stamp.seq };
        let options = AppendOptions::content_type("application/json").stamped(stamp);
        let appended = self.writer.stream(self.url(name)).append(array(&items), options).await?;
        // The answer to the first attempt was lost, or somebody else had this epoch: then nothing
        // was added.
        if appended.duplicate && seq == 0 && self.is_at(name, at).await? {
            return Err(StreamError::Fenced(Some(epoch)));
        }
        Ok(())
    }

    fn pages<'a>(&'a self, name: &'a str) -> Pages<'a> {
        let items = async move {
            let stream = self.stream(name);
            if !is_json(stream.head().await?.content_type.as_deref()) {
                return Err(StreamError::Foreign);
            }
            let batches = stream.follow(Offset::Beginning, Live::No);
            Ok(batches.map_ok(|batch| batch.items).map_err(StreamError::from))
        };
        stream::once(items).try_flatten().boxed()
    }

    /// Forks, and looks at what was made: not every server forks, and not every one that does knows
    /// forks inside a batch.
    async fn fork(&self, name: &str, source: &str, items: u64) -> Result<bool, StreamError> {
        if self.exists(name).await? {
            return Ok(false);
        }
        let target = self.url(name);
        let made = self.stream(source).fork(target, Some(Offset::Beginning), items).await;
        match made {
            Ok(_) => {}
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(_) => return Ok(false),
        }
        let count = usize::try_from(items).unwrap_or(usize::MAX);
        let whole = self.begins_alike(name, source, count).await?;
        if !whole {
            self.delete(name).await?;
        }
        Ok(whole)
    }

    async fn is_at(&self, name: &str, items: u64) -> Result<bool, StreamError> {
        let mut left = items;
        let mut pages = self.pages(name);
        while let Some(page) = pages.try_next().await? {
            let Some(rest) = left.checked_sub(page.len() as u64) else { return Ok(false) };
            left = rest;
        }
        Ok(left == 0)
    }

    async fn exists(&self, name: &str) -> Result<bool, StreamError> {
        match self.stream(name).head().await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. } | Error::Gone { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn is_closed(&self, name: &str) -> Result<bool, StreamError> {
        Ok(self.stream(name).head().await?.closed)
    }

    async fn delete(&self, name: &str) -> Result<(), StreamError> {
        match self.stream(name).delete().await {
            Ok(()) | Err(Error::NotFound { .. } | Error::Gone { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&self, _after: &str) -> Result<Option<Vec<Listed>>, StreamError> {
        Ok(None) // the protocol has no listing
    }

    fn waits(&self, _: &Request<Body>) -> bool {
        true // for the other server
    }

    async fn serve(&self, request: Request<Body>, _: bool) -> Response {
        let path = request.uri().path();
        let name = path.strip_prefix(MOUNT).unwrap_or(path).trim_start_matches('/');
        let mut url = self.base.clone();
        // The path is taken as it came, percent escapes included.
        url.set_path(&format!("{}/{name}", self.base.path().trim_end_matches('/')));
        url.set_query(request.uri().query());
        if !url.path().starts_with(&format!("{}/", self.base.path().trim_end_matches('/'))) {
            return Problem::bad_request("the path leaves the streams").into_response();
        }
        let mut forward = self.pass.request(request.method().clone(), url);
        for name in FORWARDED {
            if let Some(value) = request.headers().get(&name) {
                forward = forward.header(name, value);
            }
        }
        let Ok(answer) = forward.send().await else {
            return Problem::bad_gateway().into_response();
        };
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            let hop = matches!(
                name.as_str(),
                "connection"
                    | "transfer-encoding"
                    | "keep-alive"
                    | "content-encoding"
                    | "content-length"
            );
            if !hop {
                response = response.header(name, value);
            }
        }
        response
            .body(Body::from_stream(answer.bytes_stream()))
            .unwrap_or_else(|_| Problem::bad_gateway().into_response())
    }
}
