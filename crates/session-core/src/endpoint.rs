//! The address of a session server, and the proof of who the engine is to it.

use std::fmt;
use std::sync::Arc;

use session_protocol::api::path;
use url::Url;

/// A token or key. `Debug` does not show it (L11).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself; take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A source of tokens, asked for each request, so that a renewed token is used at once. Must not
/// block: read the keychain beforehand.
pub trait TokenProvider: Send + Sync {
    /// The token to send as `Authorization: Bearer …`; `None` sends no such header.
    fn token(&self) -> Option<Secret>;
}

impl<F> TokenProvider for F
where
    F: Fn() -> Option<Secret> + Send + Sync,
{
    fn token(&self) -> Option<Secret> {
        self()
    }
}

/// A server that asks for no token.
#[derive(Debug, Clone, Copy)]
pub struct NoToken;

impl TokenProvider for NoToken {
    fn token(&self) -> Option<Secret> {
        None
    }
}

/// A session server.
#[derive(Clone)]
pub struct Endpoint {
    /// The server's base, e.g. `http://127.0.0.1:4000/`.
    pub base_url: Url,
    /// Tokens for the server.
    pub token: Arc<dyn TokenProvider>,
}

impl Endpoint {
    /// A server that asks for no token.
    pub fn open(base_url: Url) -> Self {
        Self { base_url, token: Arc::new(NoToken) }
    }

    /// The URL of a path below the base: a pattern of [`path`], and the ids that it has; each is
    /// escaped.
    pub(crate) fn url(&self, pattern: &str, ids: &[&str]) -> Url {
        let mut url = self.base_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path::segments(pattern, ids));
        }
        url
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base_url", &self.base_url.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_below_the_base_and_escaped() {
        for base in ["http://h:1/api", "http://h:1/api/", "http://h:1/api?x=1#y"] {
            let endpoint = Endpoint::open(Url::parse(base).unwrap());
            assert_eq!(
                endpoint.url("/a/{id}/c", &["a/b c"]).as_str(),
                "http://h:1/api/a/a%2Fb%20c/c"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
