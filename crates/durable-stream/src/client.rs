//! The client: what all streams of one server share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Origin, Url};

use crate::error::Error;
use crate::headers::HeaderProvider;
use crate::limits::{Limits, Timeouts};
use crate::nudge::Nudge;
use crate::retry::RetryPolicy;
use crate::trust::http_client;

/// Time that a connection may be silent before the system asks whether the other end is still
/// there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Connections, headers, and the rules for retries and limits. A clone shares them all.
///
/// # Examples
///
/// ```
/// use durable_stream::{Client, Url};
///
/// let client = Client::builder().header("x-tenant", "acme")?.build()?;
/// let stream = client.stream(Url::parse("https://streams.example.org/v1/stream/notes")?);
/// assert_eq!(stream.url().path(), "/v1/stream/notes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientInner>,
}

struct ClientInner {
    http: reqwest::Client,
    headers: HeaderMap,
    header_provider: Option<Arc<dyn HeaderProvider>>,
    trusted: Vec<Origin>,
    retry: RetryPolicy,
    follow_retry: RetryPolicy,
    timeouts: Timeouts,
    limits: Limits,
    nudge: Nudge,
}

impl fmt::Debug for Client {
    // L11: headers are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("retry", &self.shared.retry)
            .field("follow_retry", &self.shared.follow_retry)
            .field("timeouts", &self.shared.timeouts)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client with all defaults and no credentials.
    ///
    /// # Panics
    ///
    /// If the TLS backend or the system's resolver cannot be set up; [`ClientBuilder::build`]
    /// returns an error then.
    ///
    /// # Examples
    ///
    /// ```
    /// let client = durable_stream::Client::new();
    /// let stream = client.stream("https://streams.example.org/v1/stream/notes".parse()?);
    /// # let _ = stream;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build().expect("TLS and the resolver can be set up")
    }

    /// Starts a client with settings of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Client, RetryPolicy};
    ///
    /// let client = Client::builder().retry(RetryPolicy::none()).build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Reaches every reader and every waiting retry of this client.
    ///
    /// # Examples
    ///
    /// ```
    /// let client = durable_stream::Client::new();
    /// // The machine woke up.
    /// client.nudge().reconnect();
    /// ```
    #[must_use]
    pub fn nudge(&self) -> &Nudge {
        &self.shared.nudge
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.shared.http
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.shared.headers
    }

    pub(crate) fn header_provider(&self) -> Option<&dyn HeaderProvider> {
        self.shared.header_provider.as_deref()
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.shared.retry
    }

    pub(crate) fn follow_retry(&self) -> &RetryPolicy {
        &self.shared.follow_retry
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.shared.timeouts
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Whether credentials for `asked` may be shown to `target`, where a redirect leads.
    pub(crate) fn trusts(&self, asked: &Url, target: &Url) -> bool {
        let origin = target.origin();
        origin == asked.origin() || self.shared.trusted.contains(&origin)
    }
}

/// Settings of a [`Client`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use durable_stream::{Client, RetryPolicy, Timeouts};
///
/// let mut timeouts = Timeouts::default();
/// timeouts.connect = Duration::from_secs(3);
/// let client = Client::builder()
///     .header("authorization", "Bearer a-token")?
///     .timeouts(timeouts)
///     .follow_retry(RetryPolicy::doubling(Duration::from_secs(1), Duration::from_secs(60)))
///     .build()?;
/// # let _ = client;
/// # Ok::<(), durable_stream::Error>(())
/// ```
#[derive(Default)]
pub struct ClientBuilder {
    http: Option<reqwest::Client>,
    http_builder: Option<reqwest::ClientBuilder>,
    headers: HeaderMap,
    header_provider: Option<Arc<dyn HeaderProvider>>,
    trusted: Vec<Origin>,
    retry: Option<RetryPolicy>,
    follow_retry: Option<RetryPolicy>,
    timeouts: Timeouts,
    limits: Limits,
    nudge: Nudge,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("timeouts", &self.timeouts)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Uses a finished HTTP client.
    ///
    /// Give it `redirect::Policy::none()`: with any other policy it follows redirects by its own
    /// rules before this crate sees them. Where only settings such as a proxy or a root certificate
    /// are wanted, [`http_builder`](Self::http_builder) is better.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Client;
    ///
    /// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    /// let client = Client::builder().http(http).build()?;
    /// # let _ = client;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Uses the HTTP client that this builder makes: for proxies, root certificates, resolvers.
    /// Redirects and the time to connect are set over it. A system without CA certificates makes
    /// none from a builder without certificates of its own; [`http_client`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Client;
    ///
    /// let http = reqwest::Client::builder().proxy(reqwest::Proxy::all("http://proxy.example.org:3128")?);
    /// let client = Client::builder().http_builder(http).build()?;
    /// # let _ = client;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn http_builder(mut self, builder: reqwest::ClientBuilder) -> Self {
        self.http_builder = Some(builder);
        self
    }

    /// Sends a header with every request.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the name or the value is not allowed in a header.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Client;
    ///
    /// let client = Client::builder().header("x-tenant", "acme")?.build()?;
    /// assert!(Client::builder().header("x tenant", "acme").is_err());
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let invalid = |reason| Error::InvalidInput { what: "header", reason };
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid("the name is not allowed"))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| invalid("the value is not allowed"))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sends these headers with every request, besides those given before.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Client;
    /// use reqwest::header::{HeaderMap, HeaderValue};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-tenant", HeaderValue::from_static("acme"));
    /// let client = Client::builder().headers(headers).build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Asks for headers before every request: for tokens that are renewed. They go over those of
    /// [`headers`](Self::headers).
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Client;
    /// use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
    ///
    /// let client = Client::builder()
    ///     .header_provider(|| {
    ///         let token = HeaderValue::from_static("Bearer token-of-this-minute");
    ///         HeaderMap::from_iter([(AUTHORIZATION, token)])
    ///     })
    ///     .build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn header_provider(mut self, provider: impl HeaderProvider + 'static) -> Self {
        self.header_provider = Some(Arc::new(provider));
        self
    }

    /// Shows headers also to this origin (scheme, host and port of `url`) when a redirect leads
    /// there: for the other nodes of a cluster.
    ///
    /// A redirect to any other origin is followed with the body but without the caller's headers.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Client;
    ///
    /// let other_node = "https://node-2.example.org".parse()?;
    /// let client = Client::builder().header("x-tenant", "acme")?.trust_origin(&other_node).build()?;
    /// # let _ = client;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn trust_origin(mut self, url: &Url) -> Self {
        self.trusted.push(url.origin());
        self
    }

    /// How single requests are retried. Default [`RetryPolicy::requests`].
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Client, RetryPolicy};
    ///
    /// let client = Client::builder().retry(RetryPolicy::none()).build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// How readers retry. Default [`RetryPolicy::forever`].
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Client, RetryPolicy};
    ///
    /// let client = Client::builder().follow_retry(RetryPolicy::forever()).build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn follow_retry(mut self, policy: RetryPolicy) -> Self {
        self.follow_retry = Some(policy);
        self
    }

    /// Sets how long to wait for a server.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use durable_stream::{Client, Timeouts};
    ///
    /// let mut timeouts = Timeouts::default();
    /// timeouts.sse_first_event = Duration::from_secs(3);
    /// let client = Client::builder().timeouts(timeouts).build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets how much to take from a server.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Client, Limits};
    ///
    /// let mut limits = Limits::default();
    /// limits.body = 8 << 20;
    /// let client = Client::builder().limits(limits).build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the HTTP client cannot be set up.
    ///
    /// # Examples
    ///
    /// ```
    /// let client = durable_stream::Client::builder().build()?;
    /// # let _ = client;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    pub fn build(self) -> Result<Client, Error> {
        let connect = self.timeouts.connect;
        let ready = |builder: reqwest::ClientBuilder| {
            builder.redirect(reqwest::redirect::Policy::none()).connect_timeout(connect)
        };
        let made = match (self.http, self.http_builder) {
            (Some(http), _) => Ok(http),
            (None, Some(builder)) => ready(builder).build(),
            // A connection that only listens notices by this that the other end is gone.
            (None, None) => {
                http_client(|| ready(reqwest::Client::builder().tcp_keepalive(KEEP_ALIVE)))
            }
        };
        let http = made.map_err(|_| Error::InvalidInput {
            what: "HTTP client",
            reason: "TLS, a proxy or the resolver cannot be set up",
        })?;
        Ok(Client {
            shared: Arc::new(ClientInner {
                http,
                headers: self.headers,
                header_provider: self.header_provider,
                trusted: self.trusted,
                retry: self.retry.unwrap_or_else(RetryPolicy::requests),
                follow_retry: self.follow_retry.unwrap_or_else(RetryPolicy::forever),
                timeouts: self.timeouts,
                limits: self.limits,
                nudge: self.nudge,
            }),
        })
    }
}
