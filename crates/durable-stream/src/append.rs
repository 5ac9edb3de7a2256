//! Writing to a stream, and closing it.

use std::fmt;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::error::Error;
use crate::handle::StreamHandle;
use crate::offset::Offset;
use crate::transport::{Repeat, Response};
use crate::wire::{self, MAX_PRODUCER_NUMBER, header_value};

/// Names one append, so that the server stores it once however often it arrives (PROTOCOL.md
/// §5.2.1).
///
/// The stamp is of the request: whoever sends it again must send the identical body.
///
/// # Examples
///
/// ```
/// use durable_stream::{AppendOptions, ProducerStamp};
///
/// let stamp = ProducerStamp { id: "sensor-7".to_owned(), epoch: 0, seq: 41 };
/// let next = ProducerStamp { seq: stamp.seq + 1, ..stamp.clone() };
/// let options = AppendOptions::default().stamped(next);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducerStamp {
    /// The producer; not empty, the same across restarts.
    pub id: String,
    /// Which run of the producer; a later one shuts out all earlier ones. At most 2⁵³ − 1.
    pub epoch: u64,
    /// The number of the request within the epoch, from 0 without gaps. At most 2⁵³ − 1.
    pub seq: u64,
}

impl ProducerStamp {
    pub(crate) fn write(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        let invalid = |reason| Err(Error::InvalidInput { what: "producer stamp", reason });
        if self.id.is_empty() {
            return invalid("the id must not be empty");
        }
        if self.epoch > MAX_PRODUCER_NUMBER || self.seq > MAX_PRODUCER_NUMBER {
            return invalid("epoch and sequence must be at most 2^53 - 1");
        }
        headers.insert(wire::PRODUCER_ID, header_value("producer id", &self.id)?);
        headers.insert(wire::PRODUCER_EPOCH, HeaderValue::from(self.epoch));
        headers.insert(wire::PRODUCER_SEQ, HeaderValue::from(self.seq));
        Ok(())
    }
}

/// How to append.
///
/// # Examples
///
/// ```
/// use durable_stream::AppendOptions;
///
/// let options = AppendOptions { at_least_once: true, ..AppendOptions::content_type("text/plain") };
/// assert_eq!(AppendOptions::default().content_type, "application/json");
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct AppendOptions {
    /// The type of the body, which must be that of the stream. Default `application/json`.
    pub content_type: String,
    /// A sequence for coordination between writers: the server refuses one that is not greater,
    /// byte by byte, than the last.
    pub seq: Option<String>,
    /// Makes the append idempotent.
    pub producer: Option<ProducerStamp>,
    /// Close the stream with this append, in one step.
    pub close: bool,
    /// Send again also when an attempt may have been stored although its answer was lost: the data
    /// may then be in the stream twice. Has no meaning with `producer`, which makes that safe.
    pub at_least_once: bool,
}

impl Default for AppendOptions {
    fn default() -> Self {
        Self {
            content_type: "application/json".to_owned(),
            seq: None,
            producer: None,
            close: false,
            at_least_once: false,
        }
    }
}

impl AppendOptions {
    /// Appends to a stream of this content type.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::AppendOptions;
    ///
    /// assert_eq!(AppendOptions::content_type("text/plain").content_type, "text/plain");
    /// ```
    #[must_use]
    pub fn content_type(content_type: impl Into<String>) -> Self {
        Self { content_type: content_type.into(), ..Self::default() }
    }

    /// Makes the append idempotent.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{AppendOptions, ProducerStamp};
    ///
    /// let stamp = ProducerStamp { id: "sensor-7".to_owned(), epoch: 0, seq: 0 };
    /// let options = AppendOptions::default().stamped(stamp.clone());
    /// assert_eq!(options.producer, Some(stamp));
    /// ```
    #[must_use]
    pub fn stamped(mut self, stamp: ProducerStamp) -> Self {
        self.producer = Some(stamp);
        self
    }
}

/// An append that is stored.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// # let stamp = durable_stream::ProducerStamp { id: "sensor-7".to_owned(), epoch: 0, seq: 0 };
/// use durable_stream::{AppendOptions, Bytes};
///
/// let body = Bytes::from_static(br#"[{"celsius":21.5}]"#);
/// let appended = stream.append(body, AppendOptions::default().stamped(stamp)).await?;
/// if appended.duplicate {
///     println!("an earlier attempt had stored it");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The end of the stream after it.
    pub next_offset: Option<Offset>,
    /// An earlier attempt or call had stored it: the stamp was known.
    pub duplicate: bool,
    /// The greatest sequence number that the server has accepted from this producer in this epoch.
    pub producer_seq: Option<u64>,
    /// The producer's epoch as the server holds it.
    pub producer_epoch: Option<u64>,
}

/// How to close.
///
/// # Examples
///
/// ```
/// use durable_stream::{Bytes, CloseOptions};
///
/// let last = Bytes::from_static(br#"[{"done":true}]"#);
/// let options = CloseOptions { body: last, ..CloseOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct CloseOptions {
    /// Last content, stored in the same step; for a JSON stream an array of items. May be empty.
    pub body: Bytes,
    /// The type of `body`. Default `application/json`.
    pub content_type: Option<String>,
    /// Makes closing with a body idempotent. Without a body it always is.
    pub producer: Option<ProducerStamp>,
}

impl fmt::Debug for CloseOptions {
    // L11: the body is the user's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseOptions")
            .field("body_bytes", &self.body.len())
            .field("content_type", &self.content_type)
            .field("producer", &self.producer)
            .finish()
    }
}

/// A stream that is closed.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::CloseOptions;
///
/// let closed = stream.close(CloseOptions::default()).await?;
/// println!("the stream ends at {:?} for good", closed.next_offset);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The end of the stream, for good.
    pub next_offset: Option<Offset>,
}

impl StreamHandle {
    /// Appends `body`, which is the unit that is stored or not. For a JSON stream it is an array of
    /// items: `[{"a":1},{"a":2}]` are two, and an item that is itself an array is wrapped,
    /// `[[1,2]]`.
    ///
    /// With a [`ProducerStamp`] it is retried until it is known to be stored once. Without one it
    /// is retried only while it surely was not stored, unless
    /// [`at_least_once`](AppendOptions::at_least_once) allows more; [`Error::outcome_unknown`]
    /// tells the cases apart.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::StreamClosed`], [`Error::Conflict`], [`Error::TooLarge`], with
    /// a stamp also [`Error::Fenced`] and [`Error::SequenceGap`]; [`Error::InvalidInput`] for an
    /// empty body; and whatever can befall a request.
    ///
    /// # Cancel safety
    ///
    /// The append may or may not have been stored. With a stamp it may be called again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::{AppendOptions, Bytes, ProducerStamp};
    ///
    /// let stamp = ProducerStamp { id: "sensor-7".to_owned(), epoch: 0, seq: 0 };
    /// let body = Bytes::from_static(br#"[{"celsius":21.5}]"#);
    /// let appended = stream.append(body, AppendOptions::default().stamped(stamp)).await?;
    /// println!("stored; the stream now ends at {:?}", appended.next_offset);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn append(&self, body: Bytes, options: AppendOptions) -> Result<Appended, Error> {
        if body.is_empty() && !options.close {
            return Err(Error::InvalidInput {
                what: "body",
                reason: "an append must not be empty",
            });
        }
        let repeat = if options.producer.is_some() || options.at_least_once || body.is_empty() {
            Repeat::Freely
        } else {
            Repeat::IfNotDone
        };
        let stamped = options.producer.is_some();
        let request = self.request(Method::POST, options.headers(&body)?, Some(body));
        let (response, _) = self.client.send(&request, repeat).await.map_err(|(error, _)| error)?;
        let appended = Appended::of(&response, stamped);
        response.done().await;
        Ok(appended)
    }

    /// Closes the stream: nothing can be appended after it. Closing a closed stream succeeds.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::StreamClosed`] if there is a body to append and the stream was
    /// closed before; and whatever can befall a request.
    ///
    /// # Cancel safety
    ///
    /// The stream may or may not have been closed; without a body, or with a stamp, it may be
    /// called again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::{Bytes, CloseOptions};
    ///
    /// // The last item and the end of the stream, in one step.
    /// let last = Bytes::from_static(br#"[{"done":true}]"#);
    /// stream.close(CloseOptions { body: last, ..CloseOptions::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self, options: CloseOptions) -> Result<Closed, Error> {
        let append = AppendOptions {
            content_type: options.content_type.unwrap_or_else(|| "application/json".to_owned()),
            producer: options.producer,
            close: true,
            ..AppendOptions::default()
        };
        let appended = self.append(options.body, append).await?;
        Ok(Closed { next_offset: appended.next_offset })
    }
}

impl AppendOptions {
    pub(crate) fn headers(&self, body: &Bytes) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, header_value("content type", &self.content_type)?);
        }
        if let Some(seq) = &self.seq {
            headers.insert(wire::SEQ, header_value("sequence", seq)?);
        }
        if let Some(producer) = &self.producer {
            producer.write(&mut headers)?;
        }
        if self.close {
            headers.insert(wire::CLOSED, HeaderValue::from_static("true"));
        }
        Ok(headers)
    }
}

impl Appended {
    pub(crate) fn of(response: &Response, stamped: bool) -> Self {
        let reply = response.reply();
        Self {
            next_offset: reply.next_offset(),
            // A plain append is answered with 204 too: only with a stamp does it tell new from
            // seen.
            duplicate: stamped && response.status() == StatusCode::NO_CONTENT,
            producer_seq: reply.producer_seq(),
            producer_epoch: reply.producer_epoch(),
        }
    }
}
