//! One stream, and the operations that need no options.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use crate::client::Client;
use crate::error::{Error, StreamUrl};
use crate::offset::Offset;
use crate::transport::{Repeat, Request};

/// One stream of a server. A clone is cheap and the same stream.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::{AppendOptions, Bytes, CloseOptions, CreateOptions};
///
/// stream.create(CreateOptions::json()).await?;
/// stream.append(Bytes::from_static(br#"[{"n":1}]"#), AppendOptions::default()).await?;
/// stream.close(CloseOptions::default()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StreamHandle {
    pub(crate) client: Client,
    url: Url,
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamHandle").field(&StreamUrl::from(&self.url)).finish()
    }
}

/// A server's description of a stream, without its items.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// let head = stream.head().await?;
/// if !head.closed {
///     println!("{:?} ends at {:?} so far", head.content_type, head.next_offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The end of the stream.
    pub next_offset: Option<Offset>,
    /// The content type that every append must have.
    pub content_type: Option<String>,
    /// The stream is closed: it ends here for good.
    pub closed: bool,
    /// The stream goes when it was neither read nor written for this long.
    pub ttl: Option<Duration>,
    /// When the stream goes, as an RFC 3339 time.
    pub expires_at: Option<String>,
}

impl Client {
    /// The stream at `url`. Nothing is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let client = durable_stream::Client::new();
    /// let stream = client.stream("https://streams.example.org/v1/stream/notes".parse()?);
    /// assert_eq!(stream.url().path(), "/v1/stream/notes");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stream(&self, url: Url) -> StreamHandle {
        StreamHandle { client: self.clone(), url }
    }
}

impl StreamHandle {
    /// The address of the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// let url: durable_stream::Url = "https://streams.example.org/v1/stream/notes".parse()?;
    /// let stream = durable_stream::Client::new().stream(url.clone());
    /// assert_eq!(*stream.url(), url);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The end of the stream, its type and its life time. Does not count as a read for the TTL.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Gone`], and whatever can befall a request.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::Live;
    /// use futures::TryStreamExt;
    ///
    /// // From now on only.
    /// let head = stream.head().await?;
    /// let mut batches = stream.follow(head.next_offset.unwrap_or_default(), Live::Auto);
    /// while let Some(batch) = batches.try_next().await? {
    ///     println!("{} new items", batch.items.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn head(&self) -> Result<Head, Error> {
        let request = self.request(Method::HEAD, HeaderMap::new(), None);
        let (response, _) =
            self.client.send(&request, Repeat::Freely).await.map_err(|(error, _)| error)?;
        let reply = response.reply();
        Ok(Head {
            next_offset: reply.next_offset(),
            content_type: reply.content_type().map(str::to_owned),
            closed: reply.closed(),
            ttl: reply.ttl(),
            expires_at: reply.expires_at(),
        })
    }

    /// Deletes the stream. While forks of it exist the server keeps what they need.
    ///
    /// A 404 or 410 that answers a repeated attempt is a success: the attempt before it did the
    /// work.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Gone`] if it was deleted before, and whatever can befall a
    /// request.
    ///
    /// # Cancel safety
    ///
    /// The stream may or may not have been deleted.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::Error;
    ///
    /// match stream.delete().await {
    ///     Ok(()) | Err(Error::NotFound { .. } | Error::Gone { .. }) => println!("it is gone"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete(&self) -> Result<(), Error> {
        let request = self.request(Method::DELETE, HeaderMap::new(), None);
        match self.client.send(&request, Repeat::Freely).await {
            Ok((response, _)) => {
                response.done().await;
                Ok(())
            }
            Err((Error::NotFound { .. } | Error::Gone { .. }, true)) => Ok(()),
            Err((error, _)) => Err(error),
        }
    }

    pub(crate) fn request(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Option<bytes::Bytes>,
    ) -> Request {
        Request {
            method,
            url: self.url.clone(),
            headers,
            body,
            wait: self.client.timeouts().headers,
        }
    }
}
