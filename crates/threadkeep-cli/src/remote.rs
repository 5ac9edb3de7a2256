//! A session server, as the commands that talk to one see it.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use durable_stream::{NO_CERTIFICATES, StreamHandle};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use session_core::{ClientError, Endpoint, NoToken, Secret, SessionClient, TokenProvider};
use session_protocol::api::{ProblemCode, ProblemReport};
use session_server::normalised;
use url::Url;

use crate::foreign::clean;
use crate::seconds::Seconds;

const TOKEN: &str = "THREADKEEP_TOKEN";
/// Time that opening a connection may take.
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

    /// Time that the server may take to answer a request.
    #[arg(
        long,
        env = "THREADKEEP_TIMEOUT",
        default_value_t = Seconds(Duration::from_secs(30)),
        value_name = "SECONDS"
    )]
    timeout: Seconds,
}

impl ServerArgs {
    /// The server's address.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

/// A session on a server.
pub(crate) struct Remote {
    base: Url,
    session: String,
    actor: String,
    patience: Duration,
    client: SessionClient,
}

impl Remote {
    /// Prepares to talk to a session. Nothing is sent.
    pub(crate) fn new(server: ServerArgs, session: &str) -> anyhow::Result<Self> {
        let token = token()?;
        Self::build(server, session, token)
    }

    /// Prepares to talk to a session of the server at `url`. The token of the environment is for
    /// the server of the arguments: it goes to no other (L16).
    pub(crate) fn at(mut server: ServerArgs, url: Url, session: &str) -> anyhow::Result<Self> {
        let same = url.origin() == server.url.origin();
        let token: Arc<dyn TokenProvider> = if same { token()? } else { Arc::new(NoToken) };
        server.url = url;
        Self::build(server, session, token)
    }

    fn build(
        server: ServerArgs,
        session: &str,
        token: Arc<dyn TokenProvider>,
    ) -> anyhow::Result<Self> {
        if !matches!(server.url.scheme(), "http" | "https") {
            bail!("{} is no http or https URL", server.url);
        }
        if session.is_empty() || session.contains('/') {
            bail!("a session's name is not empty and has no slash");
        }
        let actor = server.actor.or_else(|| env::var("USER").ok()).filter(|name| !name.is_empty());
        let actor = actor.unwrap_or_else(|| "cli".to_owned());
        let Seconds(patience) = server.timeout;
        let endpoint = Endpoint { base_url: server.url.clone(), token };
        let client = SessionClient::new(endpoint, CONNECT.min(patience))?;
        Ok(Self {
            base: server.url,
            session: normalised(session), // as every session is named
            client: client.acting_as(&actor).patient(patience),
            actor,
            patience,
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

    /// The client that sends the requests.
    pub(crate) fn client(&self) -> &SessionClient {
        &self.client
    }

    /// The session's stream.
    pub(crate) fn stream(&self) -> StreamHandle {
        self.client.stream(&self.session)
    }

    /// The answer to a request; a refusal is an error that says what to do.
    pub(crate) fn granted<T>(&self, answer: Result<T, ClientError>) -> anyhow::Result<T> {
        answer.map_err(|error| match error {
            ClientError::Refused { status: StatusCode::NOT_FOUND, report, .. } => {
                anyhow!("{}", self.not_found(&report))
            }
            ClientError::Refused { status, report, .. } => {
                anyhow!("{}", self.refused(status.as_u16(), said(&report).as_deref()))
            }
            ClientError::NoCertificates => {
                anyhow!("{} cannot be reached. {NO_CERTIFICATES}", self.base)
            }
            error => anyhow!("{} {}.", self.base, unanswered(&error)),
        })
    }

    /// Fails when the session does not exist or cannot be reached.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        self.granted(self.client.find(&self.session).await)
    }

    /// The server's next words, in the time that they may take.
    pub(crate) async fn in_time<T>(&self, says: impl Future<Output = T>) -> anyhow::Result<T> {
        let said = tokio::time::timeout(self.patience, says).await;
        said.map_err(|_| anyhow!("{} {SILENT}.", self.base))
    }

    fn not_found(&self, report: &ProblemReport) -> String {
        use ProblemCode::{NotFound, SessionNotFound, StreamNotFound};
        match (report.code, said(report)) {
            // The server knows the route and says what is missing.
            (Some(code), Some(said))
                if !matches!(code, NotFound | SessionNotFound | StreamNotFound) =>
            {
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
            Some(404 | 410) => anyhow!("{}", self.not_found(&ProblemReport::default())),
            Some(status) => anyhow!("{}", self.refused(status, None)),
            None => anyhow!("{}: {error}", self.base),
        }
    }
}

/// The token that the environment gives.
fn token() -> anyhow::Result<Arc<dyn TokenProvider>> {
    let Some(token) = env::var(TOKEN).ok().filter(|token| !token.trim().is_empty()) else {
        return Ok(Arc::new(NoToken));
    };
    let token = Secret::new(token.trim());
    if HeaderValue::from_str(token.expose()).is_err() {
        bail!("{TOKEN} has characters that no token has");
    }
    Ok(Arc::new(move || Some(token.clone())))
}

/// The reason why there is no answer, to stand behind the server's address.
fn unanswered(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable => {
            "cannot be reached. Is it running? `threadkeep serve` starts one"
        }
        ClientError::Silent { .. } => SILENT,
        _ => "does not answer as a session server does. Check --url",
    }
}

/// The sentence in a server's answer, as it may be shown.
fn said(report: &ProblemReport) -> Option<String> {
    report.sentence.as_deref().map(clean)
}
