//! A session server, as the commands that talk to one see it.

use std::{env, time::Duration};

use anyhow::{Context, anyhow, bail};
use durable_stream::{Client, NO_CERTIFICATES, StreamHandle, http_client, lacks_certificates};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use session_server::normalised;
use url::Url;

use crate::foreign::clean;
use crate::seconds::Seconds;

const TOKEN: &str = "THREADKEEP_TOKEN";
/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
const SILENT: &str = "takes too long to answer. Try again later, or with a longer --timeout";

/// Which server, and as whom.
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// The session server.
    #[arg(
        long,
        env = "THREADKEEP_URL",
        default_value = "http://127.0.0.1:4000",
        value_name = "URL"
    )]
    url: Url,

    /// The name you act under.
    #[arg(long, env = "THREADKEEP_ACTOR", value_name = "NAME")]
    actor: Option<String>,

    /// How long the server may take to answer a request.
    #[arg(
        long,
        env = "THREADKEEP_TIMEOUT",
        default_value_t = Seconds(Duration::from_secs(30)),
        value_name = "SECONDS"
    )]
    timeout: Seconds,
}

/// A session on a server.
pub(crate) struct Remote {
    base: Url,
    session: String,
    actor: String,
    headers: HeaderMap,
    patience: Duration,
    http: reqwest::Client,
    streams: Client,
}

impl Remote {
    /// Prepares to talk to a session. Nothing is sent.
    pub(crate) fn new(server: ServerArgs, session: &str) -> anyhow::Result<Self> {
        if !matches!(server.url.scheme(), "http" | "https") {
            bail!("{} is no http or https URL", server.url);
        }
        if session.is_empty() || session.contains('/') {
            bail!("a session's name is not empty and has no slash");
        }
        let actor = server.actor.or_else(|| env::var("USER").ok()).filter(|name| !name.is_empty());
        let mut headers = HeaderMap::new();
        if let Ok(token) = env::var(TOKEN)
            && !token.trim().is_empty()
        {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| anyhow!("{TOKEN} has characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let Seconds(patience) = server.timeout;
        let streams = Client::builder()
            .headers(headers.clone())
            .build()
            .context("TLS cannot be set up on this system")?;
        let http = || {
            let connect = CONNECT.min(patience);
            reqwest::Client::builder().connect_timeout(connect).timeout(patience)
        };
        let http = http_client(http).context("TLS cannot be set up on this system")?;
        Ok(Self {
            base: server.url,
            session: normalised(session), // as every session is named
            actor: actor.unwrap_or_else(|| "cli".to_owned()),
            headers,
            patience,
            http,
            streams,
        })
    }

    /// The session's name.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// The person.
    pub(crate) fn actor(&self) -> &str {
        &self.actor
    }

    /// The server's address, to be shown.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    fn address(&self, rest: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(rest);
        }
        url
    }

    /// The session's stream.
    pub(crate) fn stream(&self) -> StreamHandle {
        self.streams.stream(self.address(&["v1", "stream", "sessions", &self.session]))
    }

    /// A request to one of the session's routes.
    pub(crate) fn request(&self, method: Method, rest: &[&str]) -> RequestBuilder {
        let mut path = vec!["v1", "sessions", self.session.as_str()];
        path.extend(rest);
        self.http
            .request(method, self.address(&path))
            .headers(self.headers.clone())
            .header("x-actor-id", &self.actor)
            .header("x-actor-type", "user")
    }

    /// Sends a request; anything but success is an error that says what to do.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::NOT_FOUND {
            bail!("{}", self.not_found(reason(response).await.as_deref()));
        }
        bail!("{}", self.refused(status.as_u16(), reason(response).await.as_deref()));
    }

    /// Fails when the session does not exist or cannot be reached.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        self.send(self.request(Method::GET, &[])).await.map(drop)
    }

    /// What the server says next, in the time that it may take.
    pub(crate) async fn in_time<T>(&self, says: impl Future<Output = T>) -> anyhow::Result<T> {
        let said = tokio::time::timeout(self.patience, says).await;
        said.map_err(|_| anyhow!("{} {SILENT}.", self.base))
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        if lacks_certificates(error) {
            return anyhow!("{} cannot be reached. {NO_CERTIFICATES}", self.base);
        }
        let what = if error.is_connect() && !error.is_timeout() {
            "cannot be reached. Is it running? `threadkeep serve` starts one"
        } else if error.is_timeout() {
            SILENT
        } else {
            "does not answer as a session server does. Check --url"
        };
        anyhow!("{} {what}.", self.base)
    }

    fn not_found(&self, said: Option<&str>) -> String {
        match said {
            // The server knows the route and says what is missing.
            Some(said) if said != "Session not found" && said != "Not found" => {
                format!("{said} (session {})", self.session)
            }
            _ => format!(
                "{} has no session {}. `threadkeep send --agent demo {} \"Hello\"` makes one.",
                self.base, self.session, self.session
            ),
        }
    }

    fn refused(&self, status: u16, said: Option<&str>) -> String {
        match status {
            401 => format!("{} refuses the token. Set {TOKEN} to the server's token.", self.base),
            403 => format!("{} does not allow this. Ask whoever runs it for access.", self.base),
            _ => match said {
                Some(said) => format!("{} refused: {said} (HTTP {status})", self.base),
                None => format!(
                    "{} answered HTTP {status}. Is it a Threadkeep session server?",
                    self.base
                ),
            },
        }
    }

    /// An error of the stream, in words that say what to do.
    pub(crate) fn stream_error(&self, error: &durable_stream::Error) -> anyhow::Error {
        match error.status() {
            Some(404 | 410) => anyhow!("{}", self.not_found(None)),
            Some(status) => anyhow!("{}", self.refused(status, None)),
            None => anyhow!("{}: {error}", self.base),
        }
    }
}

/// The sentence in a server's answer.
async fn reason(response: Response) -> Option<String> {
    let body: Value = response.json().await.ok()?;
    ["detail", "message", "details", "error"]
        .iter()
        .find_map(|key| body.get(key)?.as_str())
        .map(|said| clean(&said.chars().take(300).collect::<String>()).replace('\n', " "))
}
