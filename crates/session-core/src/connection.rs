//! The server the engine talks to now.

use std::sync::Arc;
use std::time::Duration;

use durable_stream::{Client, http_client};
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::endpoint::Endpoint;

/// A server, with the clients that talk to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) endpoint: Endpoint,
    pub(crate) http: reqwest::Client,
    pub(crate) streams: Client,
    /// Counts the calls of `connect`: a new number means to start over.
    pub(crate) generation: u64,
}

impl Connected {
    /// The clients for a server. Fails only when the platform's TLS set-up is broken; having no CA certificates is not.
    pub(crate) fn new(endpoint: Endpoint, generation: u64) -> Result<Self, String> {
        let http = http_client(builder).map_err(|error| error.to_string())?;
        // Connections of its own: a reader does not go on where a request was cut off.
        let reading = http_client(builder).map_err(|error| error.to_string())?;
        let token = Arc::clone(&endpoint.token);
        let streams = Client::builder()
            .http(reading)
            .header_provider(move || {
                let mut headers = HeaderMap::new();
                if let Some(value) = token.token().as_ref().and_then(bearer) {
                    headers.insert(AUTHORIZATION, value);
                }
                headers
            })
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { endpoint, http, streams, generation })
    }

    /// Forgets the connections that requests were sent on: they may be dead.
    pub(crate) fn renew(&mut self) {
        if let Ok(http) = http_client(builder) {
            self.http = http;
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // What a person writes is for this address and no other (L16).
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("threadkeep/", env!("CARGO_PKG_VERSION")))
}

fn bearer(token: &crate::endpoint::Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Adds the token, if there is one.
pub(crate) fn authorize(request: RequestBuilder, endpoint: &Endpoint) -> RequestBuilder {
    match endpoint.token.token().as_ref().and_then(bearer) {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    }
}
