//! Names on the wire, and what the head of an answer says.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::error::{Error, StreamUrl};
use crate::offset::Offset;
use crate::retry::retry_after;

pub(crate) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(crate) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(crate) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(crate) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(crate) const TTL: HeaderName = HeaderName::from_static("stream-ttl");
pub(crate) const EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
pub(crate) const SEQ: HeaderName = HeaderName::from_static("stream-seq");
pub(crate) const FORKED_FROM: HeaderName = HeaderName::from_static("stream-forked-from");
pub(crate) const FORK_OFFSET: HeaderName = HeaderName::from_static("stream-fork-offset");
pub(crate) const FORK_SUB_OFFSET: HeaderName = HeaderName::from_static("stream-fork-sub-offset");
pub(crate) const SSE_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");
pub(crate) const SSE_CONTENT_TYPE: HeaderName = HeaderName::from_static("stream-data-content-type");
pub(crate) const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
pub(crate) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(crate) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
pub(crate) const PRODUCER_EXPECTED: HeaderName = HeaderName::from_static("producer-expected-seq");
pub(crate) const PRODUCER_RECEIVED: HeaderName = HeaderName::from_static("producer-received-seq");

/// The greatest number that a producer's epoch or sequence may have (PROTOCOL.md §5.2.1).
pub(crate) const MAX_PRODUCER_NUMBER: u64 = (1 << 53) - 1;

/// A server that asks for a longer wait than this is taken at this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The head of an answer.
pub(crate) struct ReplyHead<'a>(pub(crate) &'a HeaderMap);

impl ReplyHead<'_> {
    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.0.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &HeaderName) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn next_offset(&self) -> Option<Offset> {
        self.text(&NEXT_OFFSET).map(Offset::from)
    }

    /// Whether the header for the end of the stream is there. Its value does not count: servers
    /// differ in it.
    pub(crate) fn up_to_date(&self) -> bool {
        self.0.contains_key(&UP_TO_DATE)
    }

    // L10: closed is this header with exactly `true`, in any case of letters.
    pub(crate) fn closed(&self) -> bool {
        self.text(&CLOSED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn cursor(&self) -> Option<String> {
        self.text(&CURSOR).map(str::to_owned)
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.text(&CONTENT_TYPE)
    }

    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.number(&TTL).map(Duration::from_secs)
    }

    pub(crate) fn expires_at(&self) -> Option<String> {
        self.text(&EXPIRES_AT).map(str::to_owned)
    }

    pub(crate) fn producer_epoch(&self) -> Option<u64> {
        self.number(&PRODUCER_EPOCH)
    }

    pub(crate) fn producer_seq(&self) -> Option<u64> {
        self.number(&PRODUCER_SEQ)
    }

    /// The type of the data in an event stream, from servers that say so (ursula does).
    pub(crate) fn sse_content_type(&self) -> Option<&str> {
        self.text(&SSE_CONTENT_TYPE)
    }

    pub(crate) fn is_base64_sse(&self) -> bool {
        self.text(&SSE_ENCODING).is_some_and(|value| value.eq_ignore_ascii_case("base64"))
    }

    fn retry_after(&self) -> Option<Duration> {
        retry_after(self.0).map(|wait| wait.min(LONGEST_RETRY_AFTER))
    }

    /// The error that a status other than success means.
    pub(crate) fn error(&self, status: StatusCode, url: &Url) -> Error {
        let url = StreamUrl::from(url);
        match status.as_u16() {
            400 => Error::BadRequest { url },
            401 => Error::Unauthorized { url },
            403 => match self.producer_epoch() {
                Some(epoch) => Error::Fenced { epoch, url },
                None => Error::Forbidden { url },
            },
            404 => Error::NotFound { url },
            409 if self.closed() => Error::StreamClosed { next_offset: self.next_offset(), url },
            409 => match (self.number(&PRODUCER_EXPECTED), self.number(&PRODUCER_RECEIVED)) {
                (Some(expected), Some(received)) => Error::SequenceGap { expected, received, url },
                _ => Error::Conflict { url },
            },
            410 => Error::Gone { url },
            413 => Error::TooLarge { url },
            429 => Error::RateLimited { retry_after: self.retry_after(), url },
            501 | 505 => Error::UnexpectedStatus { status: status.as_u16(), url },
            408 | 425 | 500..=599 => {
                Error::Unavailable { status: status.as_u16(), retry_after: self.retry_after(), url }
            }
            other => Error::UnexpectedStatus { status: other, url },
        }
    }
}

/// A header value from caller's text.
pub(crate) fn header_value(what: &'static str, text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::InvalidInput { what, reason: "not allowed in a header" })
}
