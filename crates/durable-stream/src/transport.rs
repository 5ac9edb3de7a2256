//! One HTTP exchange: headers, redirects, time limits, and statuses turned into errors.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::body::BodyError;
use crate::client::Client;
use crate::error::{Error, Phase, StreamUrl};
use crate::retry::RetryPolicy;
use crate::trust::lacks_certificates;
use crate::wire::ReplyHead;

const MAX_REDIRECTS: usize = 5;

/// The slowest upload that is not taken for a hanging one, in bytes a second.
const SLOWEST_UPLOAD: u64 = 16 << 10;

/// A request that can be sent any number of times, always the same.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The protocol's own headers. They come after the caller's, so that those cannot change their
    /// meaning.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// Time that the head of the answer may take.
    pub(crate) wait: Duration,
}

/// May a request be sent again when nobody knows whether it was carried out?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Yes: twice is as good as once.
    Freely,
    /// No: only if it surely was not carried out.
    IfNotDone,
}

/// The head of a successful answer, and the way to its body.
pub(crate) struct Response {
    inner: reqwest::Response,
    url: StreamUrl,
}

impl Client {
    /// Sends with the client's retries. Also tells whether an earlier attempt may have been carried
    /// out.
    pub(crate) async fn send(
        &self,
        request: &Request,
        repeat: Repeat,
    ) -> Result<(Response, bool), (Error, bool)> {
        self.send_by(self.retry(), request, repeat).await
    }

    pub(crate) async fn send_by(
        &self,
        retry: &RetryPolicy,
        request: &Request,
        repeat: Repeat,
    ) -> Result<(Response, bool), (Error, bool)> {
        let mut attempt = 0;
        let mut maybe_done = false;
        loop {
            let pulse = self.nudge().pulse();
            let error = match self.send_once(request).await {
                Ok(response) => return Ok((response, maybe_done)),
                Err(error) => error,
            };
            let again =
                error.is_retryable() && (repeat == Repeat::Freely || !error.outcome_unknown());
            let delay = retry.delay(attempt, error.retry_after());
            let Some(delay) = delay.filter(|_| again) else {
                return Err((error, maybe_done));
            };
            maybe_done |= error.outcome_unknown();
            attempt += 1;
            tracing::debug!(code = error.code(), attempt, ?delay, "request failed, will try again");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.nudge().woken(pulse) => {}
            }
        }
    }

    /// Sends once and follows redirects.
    pub(crate) async fn send_once(&self, request: &Request) -> Result<Response, Error> {
        let credentials = self.credentials(&request.url).await?;
        let mut method = request.method.clone();
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = HeaderMap::new();
            // Credentials are for the server they were given for: another one never sees them.
            if self.trusts(&request.url, &url) {
                headers.clone_from(&credentials);
            }
            for (name, value) in &request.headers {
                headers.insert(name.clone(), value.clone());
            }
            let mut builder = self.http().request(method.clone(), url.clone()).headers(headers);
            if let Some(body) = &request.body {
                builder = builder.body(body.clone());
            }
            let response = self.exchange(builder, request, &url).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(Response { inner: response, url: StreamUrl::from(&url) });
            }
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                let error = ReplyHead(response.headers()).error(status, &url);
                drain(response).await;
                return Err(error);
            }
            let reading = matches!(method, Method::GET | Method::HEAD);
            if !matches!(status.as_u16(), 307 | 308) && !reading {
                return Err(ReplyHead(response.headers()).error(status, &url));
            }
            if status == StatusCode::SEE_OTHER && method != Method::HEAD {
                method = Method::GET;
            }
            url = redirect_target(&url, response.headers())?;
            drain(response).await;
        }
        Err(Error::Redirect { reason: "there are too many", url: StreamUrl::from(&url) })
    }

    async fn exchange(
        &self,
        builder: reqwest::RequestBuilder,
        request: &Request,
        url: &Url,
    ) -> Result<reqwest::Response, Error> {
        let upload = request.body.as_ref().map_or(0, |body| body.len() as u64 / SLOWEST_UPLOAD);
        let wait = request.wait + Duration::from_secs(upload);
        match timeout(wait, builder.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.transport_error(error, StreamUrl::from(url))),
            Err(_) => Err(Error::Timeout {
                phase: Phase::Headers,
                after: wait,
                url: StreamUrl::from(url),
            }),
        }
    }

    fn transport_error(&self, error: reqwest::Error, url: StreamUrl) -> Error {
        // The URL may hold a token in its query.
        let source = error.without_url();
        if source.is_connect() && source.is_timeout() {
            Error::Timeout { phase: Phase::Connect, after: self.timeouts().connect, url }
        } else if lacks_certificates(&source) {
            Error::NoCertificates { url }
        } else if source.is_connect() {
            Error::Connect { url, source }
        } else if source.is_builder() || source.is_redirect() {
            Error::Request { url, source }
        } else {
            Error::Interrupted { url, source: Some(source) }
        }
    }

    /// The caller's headers for one request.
    async fn credentials(&self, url: &Url) -> Result<HeaderMap, Error> {
        let mut headers = self.headers().clone();
        if let Some(provider) = self.header_provider() {
            let made = provider
                .headers()
                .await
                .map_err(|source| Error::Headers { url: StreamUrl::from(url), source })?;
            for (name, value) in &made {
                headers.insert(name.clone(), value.clone());
            }
        }
        // L11: a sensitive value prints as `Sensitive`, in our logs and in those below us.
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        Ok(headers)
    }
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn reply(&self) -> ReplyHead<'_> {
        ReplyHead(self.inner.headers())
    }

    pub(crate) fn url(&self) -> &StreamUrl {
        &self.url
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    pub(crate) async fn piece(&mut self, idle: Duration) -> Result<Option<Bytes>, Error> {
        match timeout(idle, self.inner.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => {
                Err(Error::Interrupted { url: self.url.clone(), source: Some(error.without_url()) })
            }
            Err(_) => {
                Err(Error::Timeout { phase: Phase::Idle, after: idle, url: self.url.clone() })
            }
        }
    }

    /// The whole body, at most `limit` bytes of it.
    pub(crate) async fn body(mut self, limit: usize, idle: Duration) -> Result<Bytes, Error> {
        let too_long = |url| Error::Body { url, source: BodyError::TooLong { limit } };
        let announced = self.inner.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_long(self.url));
        }
        let Some(first) = self.piece(idle).await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.piece(idle).await? else {
            return if first.len() > limit { Err(too_long(self.url)) } else { Ok(first) };
        };
        // What a server announces is believed up to a point: it need not send it.
        let mut body =
            BytesMut::with_capacity(announced.unwrap_or(0).clamp(first.len() * 4, 64 << 20));
        body.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(piece) = next {
            if body.len() + piece.len() > limit {
                return Err(too_long(self.url));
            }
            body.extend_from_slice(&piece);
            next = self.piece(idle).await?;
        }
        Ok(body.freeze())
    }

    /// Reads what is left of a body that says nothing, so that its connection can be used again.
    pub(crate) async fn done(self) {
        drain(self.inner).await;
    }
}

/// Reads a short rest of an answer, and gives up on a long or slow one.
async fn drain(mut response: reqwest::Response) {
    const LONGEST: usize = 16 << 10;
    const TIME: Duration = Duration::from_millis(200);
    let read = async {
        let mut seen = 0;
        while let Ok(Some(piece)) = response.chunk().await {
            seen += piece.len();
            if seen > LONGEST {
                break;
            }
        }
    };
    // Running out of time only costs the connection.
    timeout(TIME, read).await.ok();
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let refuse = |reason| Err(Error::Redirect { reason, url: StreamUrl::from(from) });
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return refuse("it does not say where to");
    };
    let Ok(target) = from.join(location) else {
        return refuse("its target is not a URL");
    };
    match (from.scheme(), target.scheme()) {
        ("http" | "https", "https") | ("http", "http") => Ok(target),
        ("https", "http") => refuse("it leaves https"),
        _ => refuse("its target is not http or https"),
    }
}

/// Asks for an answer as it is: something on the way that compresses an event stream also holds it
/// back.
pub(crate) fn uncompressed(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}
