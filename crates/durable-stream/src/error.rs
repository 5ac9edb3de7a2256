//! Errors, and whether trying again helps.
//!
//! No variant carries body text, header values, userinfo or a query string, so an error may be
//! logged and shown as it is.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::body::BodyError;
use crate::headers::HeaderError;
use crate::offset::Offset;
use crate::sse::SseError;

/// The address of a stream without userinfo, query and fragment: fit for logs.
///
/// # Examples
///
/// ```
/// use durable_stream::{StreamUrl, Url};
///
/// let url = Url::parse("https://ana:secret@streams.example.org/notes?token=secret")?;
/// assert_eq!(StreamUrl::from(&url).as_str(), "https://streams.example.org/notes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StreamUrl(Box<str>);

impl StreamUrl {
    /// The address as text.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{StreamUrl, Url};
    ///
    /// let url = StreamUrl::from(&Url::parse("http://127.0.0.1:4437/notes?token=secret")?);
    /// assert_eq!(url.as_str(), "http://127.0.0.1:4437/notes");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Url> for StreamUrl {
    fn from(url: &Url) -> Self {
        let mut safe = url.clone();
        safe.set_query(None);
        safe.set_fragment(None);
        // Both fail only for URLs that cannot have userinfo.
        safe.set_username("").ok();
        safe.set_password(None).ok();
        Self(String::from(safe).into_boxed_str())
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of a request that took too long.
///
/// # Examples
///
/// ```
/// use durable_stream::{Error, Phase};
///
/// fn is_offline(error: &Error) -> bool {
///     matches!(error, Error::Connect { .. } | Error::Timeout { phase: Phase::Connect, .. })
/// }
/// # let _ = is_offline;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Opening the connection.
    Connect,
    /// From the request to the head of the answer.
    Headers,
    /// Between two pieces of a body.
    Idle,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Headers => "waiting for the answer",
            Self::Idle => "waiting for more of the body",
        })
    }
}

/// A failed operation on a stream.
///
/// The statuses are those of PROTOCOL.md §4.2 and §5; [`is_retryable`](Self::is_retryable) says
/// whether the same request may succeed later.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::Error;
///
/// match stream.head().await {
///     Ok(head) => println!("ends at {:?}", head.next_offset),
///     Err(Error::NotFound { .. }) => println!("there is no such stream"),
///     Err(error) if error.is_retryable() => println!("not now: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller gave something that cannot be sent. Nothing was sent.
    #[error("invalid {what}: {reason}")]
    InvalidInput {
        /// The thing that was given.
        what: &'static str,
        /// The fault.
        reason: &'static str,
    },
    /// The provider of request headers failed. Nothing was sent.
    #[error("no request headers for {url}")]
    Headers {
        /// The stream.
        url: StreamUrl,
        /// Why.
        source: HeaderError,
    },
    /// No connection could be made. Nothing was sent.
    #[error("cannot connect to {url}")]
    Connect {
        /// The stream.
        url: StreamUrl,
        /// The cause, without the URL.
        source: reqwest::Error,
    },
    /// The server cannot be trusted because the system has no CA certificates. Nothing was sent.
    #[error("cannot connect to {url}. {}", crate::trust::NO_CERTIFICATES)]
    NoCertificates {
        /// The stream.
        url: StreamUrl,
    },
    /// The request could not be carried out for a reason that is not the network's.
    #[error("the request to {url} cannot be sent")]
    Request {
        /// The stream.
        url: StreamUrl,
        /// The cause, without the URL.
        source: reqwest::Error,
    },
    /// Something took longer than [`Timeouts`](crate::Timeouts) allows.
    #[error("timed out {phase} ({after:?}): {url}")]
    Timeout {
        /// Where the time went.
        phase: Phase,
        /// The limit that was reached.
        after: Duration,
        /// The stream.
        url: StreamUrl,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection broke off: {url}")]
    Interrupted {
        /// The stream.
        url: StreamUrl,
        /// The cause, without the URL; `None` if the server ended the answer early but cleanly.
        source: Option<reqwest::Error>,
    },
    /// 400: the server refuses the request or does not know the offset.
    #[error("400: the server refuses the request or its offset: {url}")]
    BadRequest {
        /// The stream.
        url: StreamUrl,
    },
    /// 401: credentials are missing or not accepted.
    #[error("401: not signed in for {url}")]
    Unauthorized {
        /// The stream.
        url: StreamUrl,
    },
    /// 403: the credentials do not allow this.
    #[error("403: not allowed: {url}")]
    Forbidden {
        /// The stream.
        url: StreamUrl,
    },
    /// 403 with `Producer-Epoch`: another producer with this id has claimed a later epoch.
    #[error("403: the producer was replaced by epoch {epoch}: {url}")]
    Fenced {
        /// The epoch the server holds.
        epoch: u64,
        /// The stream.
        url: StreamUrl,
    },
    /// 404: there is no such stream.
    #[error("404: no such stream: {url}")]
    NotFound {
        /// The stream.
        url: StreamUrl,
    },
    /// 410: the stream was deleted, or what was asked for is no longer kept.
    #[error("410: the stream or this part of it is gone: {url}")]
    Gone {
        /// The stream.
        url: StreamUrl,
    },
    /// 409 with `Stream-Closed`: nothing can be appended any more.
    #[error("409: the stream is closed: {url}")]
    StreamClosed {
        /// The end of the stream, if the server said it.
        next_offset: Option<Offset>,
        /// The stream.
        url: StreamUrl,
    },
    /// 409 with `Producer-Expected-Seq`: an earlier request of this producer has not arrived.
    #[error(
        "409: the producer's sequence has a gap (expected {expected}, received {received}): {url}"
    )]
    SequenceGap {
        /// The sequence number the server waits for.
        expected: u64,
        /// The one it got.
        received: u64,
        /// The stream.
        url: StreamUrl,
    },
    /// 409: another configuration or content type, or a `Stream-Seq` that is not greater than the
    /// last.
    #[error("409: the request conflicts with the stream's state: {url}")]
    Conflict {
        /// The stream.
        url: StreamUrl,
    },
    /// 413: the body is larger than the server takes.
    #[error("413: the body is too large: {url}")]
    TooLarge {
        /// The stream.
        url: StreamUrl,
    },
    /// 429: too many requests.
    #[error("429: too many requests: {url}")]
    RateLimited {
        /// Time that the server asks to wait.
        retry_after: Option<Duration>,
        /// The stream.
        url: StreamUrl,
    },
    /// 408, 425 or 5xx other than 501 and 505: the server or something before it is in trouble.
    #[error("{status}: the server cannot answer now: {url}")]
    Unavailable {
        /// The status.
        status: u16,
        /// Time that the server asks to wait.
        retry_after: Option<Duration>,
        /// The stream.
        url: StreamUrl,
    },
    /// Any other status.
    #[error("{status}: unexpected answer: {url}")]
    UnexpectedStatus {
        /// The status.
        status: u16,
        /// The stream.
        url: StreamUrl,
    },
    /// A redirect that is not followed.
    #[error("redirect not followed, {reason}: {url}")]
    Redirect {
        /// Why.
        reason: &'static str,
        /// The address that redirected.
        url: StreamUrl,
    },
    /// The body is not what its content type says.
    #[error("unreadable body: {url}")]
    Body {
        /// The stream.
        url: StreamUrl,
        /// The fault.
        source: BodyError,
    },
    /// The event stream cannot be decoded.
    #[error("unreadable event stream: {url}")]
    Sse {
        /// The stream.
        url: StreamUrl,
        /// The fault.
        source: SseError,
    },
    /// The answer breaks the protocol.
    #[error("the answer breaks the protocol, {reason}: {url}")]
    Protocol {
        /// The fault.
        reason: &'static str,
        /// The stream.
        url: StreamUrl,
    },
    /// The producer was ended by an earlier failure, whose error its first waiter got.
    #[error("the producer has stopped after an earlier failure ({code})")]
    ProducerStopped {
        /// The [`code`](Error::code) of that failure.
        code: &'static str,
    },
}

impl Error {
    /// Whether the same request may succeed later without anything being changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Error, StreamUrl};
    ///
    /// let url = StreamUrl::from(&"http://127.0.0.1:4437/notes".parse().unwrap());
    /// assert!(Error::Unavailable { status: 503, retry_after: None, url: url.clone() }.is_retryable());
    /// assert!(!Error::NotFound { url }.is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Interrupted { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable { .. } => true,
            Self::Headers { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// Whether the server may have carried out the request although this error came back.
    ///
    /// After such a failure a request that is not idempotent must not simply be sent again.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Error, StreamUrl};
    ///
    /// let url = StreamUrl::from(&"http://127.0.0.1:4437/notes".parse().unwrap());
    /// assert!(Error::Interrupted { url: url.clone(), source: None }.outcome_unknown());
    /// assert!(!Error::RateLimited { retry_after: None, url }.outcome_unknown());
    /// ```
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Interrupted { .. }
            | Self::Unavailable { .. }
            | Self::Body { .. }
            | Self::Protocol { .. } => true,
            Self::Timeout { phase, .. } => *phase != Phase::Connect,
            _ => false,
        }
    }

    /// The HTTP status that led to this error, if one did.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Error, StreamUrl};
    ///
    /// let url = StreamUrl::from(&"http://127.0.0.1:4437/notes".parse().unwrap());
    /// assert_eq!(Error::Gone { url: url.clone() }.status(), Some(410));
    /// assert_eq!(Error::Interrupted { url, source: None }.status(), None);
    /// ```
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::BadRequest { .. } => Some(400),
            Self::Unauthorized { .. } => Some(401),
            Self::Forbidden { .. } | Self::Fenced { .. } => Some(403),
            Self::NotFound { .. } => Some(404),
            Self::StreamClosed { .. } | Self::SequenceGap { .. } | Self::Conflict { .. } => {
                Some(409)
            }
            Self::Gone { .. } => Some(410),
            Self::TooLarge { .. } => Some(413),
            Self::RateLimited { .. } => Some(429),
            Self::Unavailable { status, .. } | Self::UnexpectedStatus { status, .. } => {
                Some(*status)
            }
            _ => None,
        }
    }

    /// Time that the server asked to wait before the next request (`Retry-After`).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use durable_stream::{Error, StreamUrl};
    ///
    /// let url = StreamUrl::from(&"http://127.0.0.1:4437/notes".parse().unwrap());
    /// let error = Error::RateLimited { retry_after: Some(Duration::from_secs(3)), url };
    /// assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// A short name of the kind of failure, for a program to switch on. Never changes for a
    /// variant.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Error, StreamUrl};
    ///
    /// let url = StreamUrl::from(&"http://127.0.0.1:4437/notes".parse().unwrap());
    /// assert_eq!(Error::NotFound { url }.code(), "not-found");
    /// ```
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidInput { .. } => "invalid-input",
            Self::Headers { .. } => "headers",
            Self::Connect { .. } => "connect",
            Self::NoCertificates { .. } => "no-certificates",
            Self::Request { .. } => "request",
            Self::Timeout { .. } => "timeout",
            Self::Interrupted { .. } => "interrupted",
            Self::BadRequest { .. } => "bad-request",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Fenced { .. } => "fenced",
            Self::NotFound { .. } => "not-found",
            Self::Gone { .. } => "gone",
            Self::StreamClosed { .. } => "stream-closed",
            Self::SequenceGap { .. } => "sequence-gap",
            Self::Conflict { .. } => "conflict",
            Self::TooLarge { .. } => "too-large",
            Self::RateLimited { .. } => "rate-limited",
            Self::Unavailable { .. } => "unavailable",
            Self::UnexpectedStatus { .. } => "unexpected-status",
            Self::Redirect { .. } => "redirect",
            Self::Body { .. } => "body",
            Self::Sse { .. } => "sse",
            Self::Protocol { .. } => "protocol",
            Self::ProducerStopped { .. } => "producer-stopped",
        }
    }
}
