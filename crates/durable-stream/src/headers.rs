//! Headers that are made for each request, such as a token that is renewed.

use futures::future::{BoxFuture, FutureExt, ready};
use reqwest::header::HeaderMap;

/// A source of request headers, called anew for each request, retries included.
///
/// Every `Fn() -> HeaderMap` is one. Implement the trait where a token must be fetched first.
///
/// # Examples
///
/// ```
/// use durable_stream::Client;
/// use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
///
/// let client = Client::builder()
///     .header_provider(|| {
///         let mut headers = HeaderMap::new();
///         headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer token-of-this-minute"));
///         headers
///     })
///     .build()?;
/// # let _ = client;
/// # Ok::<(), durable_stream::Error>(())
/// ```
pub trait HeaderProvider: Send + Sync {
    /// The headers for the next request.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] ends the request before anything is sent.
    fn headers(&self) -> BoxFuture<'_, Result<HeaderMap, HeaderError>>;
}

impl<F> HeaderProvider for F
where
    F: Fn() -> HeaderMap + Send + Sync,
{
    fn headers(&self) -> BoxFuture<'_, Result<HeaderMap, HeaderError>> {
        ready(Ok(self())).boxed()
    }
}

/// Why there are no headers. Carries no text of the provider's, so that no secret can slip out.
///
/// # Examples
///
/// ```
/// use durable_stream::{HeaderError, HeaderProvider};
/// use futures::future::{BoxFuture, FutureExt, ready};
/// use reqwest::header::HeaderMap;
///
/// /// Somebody who has signed out.
/// struct SignedOut;
///
/// impl HeaderProvider for SignedOut {
///     fn headers(&self) -> BoxFuture<'_, Result<HeaderMap, HeaderError>> {
///         ready(Err(HeaderError::Permanent)).boxed()
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Headers may be had later: a token server does not answer.
    #[error("not available at the moment")]
    Temporary,
    /// Headers cannot be had without the user: signed out.
    #[error("not available")]
    Permanent,
}

impl HeaderError {
    pub(crate) fn is_retryable(self) -> bool {
        self == Self::Temporary
    }
}
