//! Making streams: new ones and forks.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::error::Error;
use crate::handle::StreamHandle;
use crate::offset::Offset;
use crate::transport::Repeat;
use crate::wire::{self, header_value};

/// The configuration of a new stream.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use durable_stream::CreateOptions;
///
/// let options = CreateOptions { ttl: Some(Duration::from_secs(3600)), ..CreateOptions::json() };
/// assert_eq!(options.content_type.as_deref(), Some("application/json"));
/// ```
#[derive(Clone, Default)]
pub struct CreateOptions {
    /// The type of the stream. `None`: the server's default, or for a fork that of its source.
    pub content_type: Option<String>,
    /// The stream goes when it was neither read nor written for this long; rounded up to whole
    /// seconds. Excludes `expires_at`.
    pub ttl: Option<Duration>,
    /// When the stream goes, as an RFC 3339 time. Excludes `ttl`.
    pub expires_at: Option<String>,
    /// Close the stream as it is made: `body` is all it will ever hold.
    pub closed: bool,
    /// The first content; for a JSON stream an array of items. May be empty.
    pub body: Bytes,
    /// Start as a fork of another stream of the same server.
    pub fork: Option<Fork>,
}

impl fmt::Debug for CreateOptions {
    // L11: the body is the user's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateOptions")
            .field("content_type", &self.content_type)
            .field("ttl", &self.ttl)
            .field("expires_at", &self.expires_at)
            .field("closed", &self.closed)
            .field("body_bytes", &self.body.len())
            .field("fork", &self.fork)
            .finish()
    }
}

impl CreateOptions {
    /// A stream of JSON items.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::CreateOptions;
    ///
    /// assert_eq!(CreateOptions::json().content_type.as_deref(), Some("application/json"));
    /// ```
    #[must_use]
    pub fn json() -> Self {
        Self { content_type: Some("application/json".to_owned()), ..Self::default() }
    }
}

/// Where a fork leaves its source (PROTOCOL.md §4.2).
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::{CreateOptions, Fork, Offset};
///
/// // A fork that has the first ten items of another stream.
/// let source = "https://streams.example.org/v1/stream/notes".parse().expect("it is a URL");
/// let fork = Fork::of(&source).at(Offset::Beginning, 10);
/// stream.create(CreateOptions { fork: Some(fork), ..CreateOptions::default() }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The path of the source's URL, on the same server.
    pub source: String,
    /// An offset that the server gave for the source. `None`: its end.
    pub offset: Option<Offset>,
    /// Length of what is inherited beyond `offset`: items of a JSON stream, bytes of any other.
    pub sub_offset: u64,
}

impl Fork {
    /// A fork at the end of `source`.
    ///
    /// # Examples
    ///
    /// ```
    /// let source = "https://streams.example.org/v1/stream/notes".parse()?;
    /// let fork = durable_stream::Fork::of(&source);
    /// assert_eq!((fork.source.as_str(), fork.offset), ("/v1/stream/notes", None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(source: &Url) -> Self {
        Self { source: source.path().to_owned(), offset: None, sub_offset: 0 }
    }

    /// Leaves the source at `offset` and `sub_offset` items (of a JSON stream; bytes of any other)
    /// after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Fork, Offset};
    ///
    /// let source = "https://streams.example.org/v1/stream/notes".parse()?;
    /// let fork = Fork::of(&source).at(Offset::Beginning, 10);
    /// assert_eq!((fork.offset, fork.sub_offset), (Some(Offset::Beginning), 10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn at(mut self, offset: Offset, sub_offset: u64) -> Self {
        self.offset = Some(offset);
        self.sub_offset = sub_offset;
        self
    }
}

/// A stream that exists now.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::CreateOptions;
///
/// let created = stream.create(CreateOptions::json()).await?;
/// if !created.is_new {
///     println!("it was there before and ends at {:?}", created.next_offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The stream was made by this call. `false`: it was there before, with the same configuration.
    ///
    /// After a retry this may be `false` although an earlier attempt of the same call made it.
    pub is_new: bool,
    /// The end of the stream.
    pub next_offset: Option<Offset>,
}

impl StreamHandle {
    /// Makes the stream, or makes sure that it is there with this configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if it is there with another configuration or another closure status,
    /// [`Error::InvalidInput`] if the options contradict each other, and whatever can befall a
    /// request.
    ///
    /// # Cancel safety
    ///
    /// The stream may or may not have been made; calling again is harmless.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use std::time::Duration;
    /// use durable_stream::{Bytes, CreateOptions};
    ///
    /// let options = CreateOptions {
    ///     ttl: Some(Duration::from_secs(3600)),
    ///     body: Bytes::from_static(br#"[{"n":1}]"#),
    ///     ..CreateOptions::json()
    /// };
    /// stream.create(options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create(&self, options: CreateOptions) -> Result<Created, Error> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = &options.content_type {
            headers.insert(CONTENT_TYPE, header_value("content type", content_type)?);
        }
        if options.ttl.is_some() && options.expires_at.is_some() {
            return Err(Error::InvalidInput {
                what: "life time",
                reason: "TTL and expiry exclude each other",
            });
        }
        if let Some(ttl) = options.ttl {
            headers.insert(wire::TTL, HeaderValue::from(whole_seconds(ttl)));
        }
        if let Some(expires_at) = &options.expires_at {
            headers.insert(wire::EXPIRES_AT, header_value("expiry", expires_at)?);
        }
        if options.closed {
            headers.insert(wire::CLOSED, HeaderValue::from_static("true"));
        }
        if let Some(fork) = &options.fork {
            headers.insert(wire::FORKED_FROM, header_value("fork source", &fork.source)?);
            if let Some(offset) = &fork.offset {
                headers.insert(wire::FORK_OFFSET, header_value("fork offset", offset.as_str())?);
            }
            if fork.sub_offset > 0 {
                headers.insert(wire::FORK_SUB_OFFSET, HeaderValue::from(fork.sub_offset));
            }
        }
        let body = Some(options.body).filter(|body| !body.is_empty());
        let request = self.request(Method::PUT, headers, body);
        let (response, _) =
            self.client.send(&request, Repeat::Freely).await.map_err(|(error, _)| error)?;
        let created = Created {
            is_new: response.status() == StatusCode::CREATED,
            next_offset: response.reply().next_offset(),
        };
        response.done().await;
        Ok(created)
    }

    /// Makes `target` a fork of this stream. See [`Fork`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if this stream is not there, [`Error::BadRequest`] if it has no such
    /// place, [`Error::InvalidInput`] if `target` is on another server, and those of
    /// [`create`](Self::create).
    ///
    /// # Cancel safety
    ///
    /// The fork may or may not have been made; calling again is harmless.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// let target = stream.url().join("copy-of-notes").expect("it is a URL");
    /// let fork = stream.fork(target, None, 0).await?;
    /// println!("{} has all that is in {} now", fork.url(), stream.url());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fork(
        &self,
        target: Url,
        offset: Option<Offset>,
        sub_offset: u64,
    ) -> Result<StreamHandle, Error> {
        if target.origin() != self.url().origin() {
            return Err(Error::InvalidInput {
                what: "fork",
                reason: "both streams must be on one server",
            });
        }
        let fork = Fork { source: self.url().path().to_owned(), offset, sub_offset };
        let handle = self.client.stream(target);
        handle.create(CreateOptions { fork: Some(fork), ..CreateOptions::default() }).await?;
        Ok(handle)
    }
}

/// Rounded up: a life of less than a second would be none.
fn whole_seconds(ttl: Duration) -> u64 {
    ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0))
}
