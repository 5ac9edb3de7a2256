//! The client of a session server: a method for each request of [`session_protocol::api`] that a
//! person's programs send.
//!
//! The engine sends what waits in the outbox through it, and the command line tool what was typed,
//! so both say the same and understand a refusal alike. A request is sent once: whoever wants it
//! tried again does so, with the same ids.
//!
//! What a person writes goes to the address of the [`Endpoint`] and to no other: redirects are not
//! followed (L16). Memory is bounded: of a refusal 16 KiB are read, of an answer 16 MiB. Errors
//! hold no URL, no token and nothing of what was sent (L11).

use std::sync::Arc;
use std::time::Duration;

use durable_stream::{Client, StreamHandle, http_client, lacks_certificates, retry_after};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use session_protocol::api::{
    AnswerApproval, AskForWork, BridgeOutput, BridgeWork, ChooseFolder, CreateSession, ForkSession,
    KnownAgents, LocalAgents, LogIn, LogOut, Me, PageQuery, ProblemReport, PutLocalAgent,
    RecentFolders, Regenerate, RegisterAgents, RenameSession, Request, SendMessage, SessionFolder,
    SessionPage, SetAgentOption, Stop, WriteChunks, header, path,
};

use crate::endpoint::{Endpoint, Secret};

/// Time that a request may take, unless [`SessionClient::patient`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a refusal that are read.
const REFUSAL_BYTES: usize = 16 << 10;
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 16 << 20;

/// The reason why a request was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The request is no HTTP, such as a name with a line break in a header.
    #[error("This could not be put into a request.")]
    Unsendable,
    /// The system has no CA certificates.
    #[error("{}", durable_stream::NO_CERTIFICATES)]
    NoCertificates,
    /// No connection could be made.
    #[error("The server cannot be reached. Check its address, and that it runs.")]
    Unreachable,
    /// The time ran out.
    #[error("The server takes too long to answer. Try again later.")]
    Silent {
        /// Whether there was a connection, on which the request may have arrived.
        connected: bool,
    },
    /// The connection ended before the answer did, or carried no HTTP.
    #[error("The connection to the server broke. Try again.")]
    Broken,
    /// The server answered that it does not do this.
    #[error("{}", refusal(*.status, .report))]
    Refused {
        /// The status of the answer, also of a redirect.
        status: StatusCode,
        /// The server's words about it.
        report: ProblemReport,
        /// Time to wait before asking again.
        retry_after: Option<Duration>,
    },
    /// The answer is a success and not what a session server answers.
    #[error("What answers is not a session server. Check its address.")]
    Stranger,
}

impl ClientError {
    /// Whether the server may have taken the request all the same.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unsendable | Self::NoCertificates | Self::Unreachable => false,
            Self::Silent { connected } => *connected,
            Self::Broken | Self::Refused { .. } | Self::Stranger => true,
        }
    }

    fn of(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            Self::Unsendable
        } else if lacks_certificates(error) {
            Self::NoCertificates
        } else if error.is_timeout() {
            Self::Silent { connected: !error.is_connect() }
        } else if error.is_connect() {
            Self::Unreachable
        } else {
            Self::Broken
        }
    }
}

/// The sentence of a refusal.
fn refusal(status: StatusCode, report: &ProblemReport) -> String {
    match &report.sentence {
        Some(sentence) => format!("The server refused: {sentence} (HTTP {}).", status.as_u16()),
        None => format!("The server refused this (HTTP {}).", status.as_u16()),
    }
}

/// The platform's TLS set-up is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up on this system.")]
pub struct NoTls;

/// A session server, and who talks to it. Cheap to clone; clones share their connections.
///
/// # Cancel safety
///
/// A method that is dropped leaves it open whether the server has the request. Requests that change
/// something carry ids (`messageId`, `txid`, the approval's id), so that sending one again with the
/// same ids is safe.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use session_core::{Endpoint, SessionClient};
/// use session_protocol::api::SendMessage;
///
/// let endpoint = Endpoint::open("http://127.0.0.1:4000".parse()?);
/// let client = SessionClient::new(endpoint, Duration::from_secs(10))?.acting_as("ann");
/// let message = SendMessage { content: "Hello".to_owned(), ..SendMessage::default() };
/// client.send_message("first-steps", &message).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionClient {
    endpoint: Endpoint,
    http: reqwest::Client,
    streams: Client,
    connect: Duration,
    patience: Duration,
    /// Id of the actor, where the token does not say it.
    actor: Option<Arc<str>>,
}

impl SessionClient {
    /// A client of one server. Nothing is sent. `connect`: how long making a connection may take.
    ///
    /// # Errors
    ///
    /// The platform's TLS set-up is broken. Having no CA certificates is no such error: plain HTTP
    /// and loopback work.
    pub fn new(endpoint: Endpoint, connect: Duration) -> Result<Self, NoTls> {
        let http = http_client(|| builder(connect)).map_err(|_| NoTls)?;
        // Connections of its own: a reader does not go on where a request was cut off.
        let reading = http_client(|| builder(connect)).map_err(|_| NoTls)?;
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
            .map_err(|_| NoTls)?;
        Ok(Self { endpoint, http, streams, connect, patience: PATIENCE, actor: None })
    }

    /// Sets the actor, where the token does not say it.
    #[must_use]
    pub fn acting_as(self, actor: &str) -> Self {
        Self { actor: Some(actor.into()), ..self }
    }

    /// Sets the time for each request, from connecting to the end of the answer; 30 s unless given.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The address of the server, and the token by which we are known to it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The client that reads the streams of this server.
    pub(crate) fn streams(&self) -> &Client {
        &self.streams
    }

    /// Forgets the connections that requests were sent on: they may be dead.
    pub(crate) fn renew(&mut self) {
        if let Ok(http) = http_client(|| builder(self.connect)) {
            self.http = http;
        }
    }

    /// The stream of a session. Nothing is sent.
    pub fn stream(&self, session: &str) -> StreamHandle {
        self.streams.stream(self.endpoint.url(path::SESSION_STREAM, &[session]))
    }

    /// Asks who we are at the server, and what the token allows.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. A server that does not say it answers 404.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn me(&self) -> Result<Me, ClientError> {
        let request = self.request(Method::GET, path::ME, &[]);
        self.read(request).await
    }

    /// Asks for a page of the sessions that the token may see, newest activity first.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn sessions(&self, page: &PageQuery) -> Result<SessionPage, ClientError> {
        let request = self.request(Method::GET, path::SESSIONS, &[]).query(page);
        self.read(request).await
    }

    /// Asks whether the server has a session.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. One that does not exist is refused with 404.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn find(&self, session: &str) -> Result<(), ClientError> {
        let request = self.request(Method::GET, path::SESSION, &[session]);
        self.granted(request).await.map(drop)
    }

    /// Makes a session, or names it when it is there.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The session may exist; making it again changes nothing.
    pub async fn create(&self, session: &str, body: &CreateSession) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Makes a session with the history of `source`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. A `newSessionId` that is another session's is refused with 409.
    ///
    /// # Cancel safety
    ///
    /// The fork may exist; asking again with the same `newSessionId` makes no second one.
    pub async fn fork(&self, source: &str, body: &ForkSession) -> Result<(), ClientError> {
        self.send(&[source], body).await
    }

    /// Gives a session a title.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The title may be given; asking again with the same `txid` changes nothing.
    pub async fn rename(&self, session: &str, body: &RenameSession) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Deletes a session: its stream, its agents, everything.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. Our server deletes what is not there, too; upstream's proxies may
    /// answer 404.
    ///
    /// # Cancel safety
    ///
    /// The session may be deleted; deleting it again changes nothing.
    pub async fn delete(&self, session: &str) -> Result<(), ClientError> {
        self.granted(self.request(Method::DELETE, path::SESSION, &[session])).await.map(drop)
    }

    /// Registers agents in a session.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The agents may be registered; doing it again replaces each by itself.
    pub async fn register_agents(
        &self,
        session: &str,
        body: &RegisterAgents,
    ) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Chooses something of an agent: its mode, its model.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. What only the owner of the agent's computer may choose is refused with
    /// 403.
    ///
    /// # Cancel safety
    ///
    /// It may be chosen; choosing it again changes nothing.
    pub async fn set_agent_option(
        &self,
        session: &str,
        agent: &str,
        body: &SetAgentOption,
    ) -> Result<(), ClientError> {
        self.send(&[session, agent], body).await
    }

    /// Sends a message to a session that exists. A message makes no session: upstream's clients
    /// make one so, and the server lets them, so this request says that it wants none (`If-Match:
    /// *`, RFC 9110 §13.1.1).
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. A session that is not there is refused with 404, 410 or 412.
    ///
    /// # Cancel safety
    ///
    /// The message may be said; sending it again with the same `messageId` says it once.
    pub async fn send_message(&self, session: &str, body: &SendMessage) -> Result<(), ClientError> {
        let request = self.with_body(&[session], body).header(IF_MATCH, "*");
        self.granted(request).await.map(drop)
    }

    /// Writes chunks of one message, in their order. Needs the role `manage`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The chunks may be written; sending them again writes them again, which changes nothing where
    /// they are whole messages.
    pub async fn write_chunks(&self, session: &str, body: &WriteChunks) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Has a message answered again.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// An answer may have begun; asking again with the same `txid` begins no other.
    pub async fn regenerate(&self, session: &str, body: &Regenerate) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Stops an answer that is being written.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The answer may be stopped; stopping it again changes nothing, as long as the message is
    /// named.
    pub async fn stop(&self, session: &str, body: &Stop) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Answers an approval.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. One that was answered otherwise before is refused with 409.
    ///
    /// # Cancel safety
    ///
    /// The answer may be given; giving it again with the same `txid` changes nothing.
    pub async fn answer_approval(
        &self,
        session: &str,
        approval: &str,
        body: &AnswerApproval,
    ) -> Result<(), ClientError> {
        self.send(&[session, approval], body).await
    }

    /// Asks for what an agent has to do that a bridge runs, and waits for it some 20 s. Needs the
    /// role `manage`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. While another bridge runs the agent it is refused with 409.
    ///
    /// # Cancel safety
    ///
    /// An event that is not heard is told again.
    pub async fn bridge_work(
        &self,
        session: &str,
        agent: &str,
        body: &AskForWork,
    ) -> Result<BridgeWork, ClientError> {
        self.read(self.with_body(&[session, agent], body)).await
    }

    /// Gives what such an agent says.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. For a run that is over, or was stopped, it is refused with 409.
    ///
    /// # Cancel safety
    ///
    /// The output may be written; giving it again with the same number writes it once.
    pub async fn bridge_output(
        &self,
        session: &str,
        agent: &str,
        body: &BridgeOutput,
    ) -> Result<(), ClientError> {
        self.send(&[session, agent], body).await
    }

    /// The folder that the local agents of a session work in. Needs the role `manage`, as all that
    /// is about programs of the server's computer.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn folder(&self, session: &str) -> Result<SessionFolder, ClientError> {
        self.read(self.request(Method::GET, path::FOLDER, &[session])).await
    }

    /// Chooses that folder.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. A folder that is not there is refused with 400, another one than an
    /// agent works in with 409.
    ///
    /// # Cancel safety
    ///
    /// The choice may be made; making it again changes nothing.
    pub async fn choose_folder(
        &self,
        session: &str,
        body: &ChooseFolder,
    ) -> Result<SessionFolder, ClientError> {
        self.read(self.with_body(&[session], body)).await
    }

    /// Folders that were chosen lately.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn recent_folders(&self) -> Result<RecentFolders, ClientError> {
        self.read(self.request(Method::GET, path::FOLDERS, &[])).await
    }

    /// The agents that the server runs as programs of its computer.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn local_agents(&self) -> Result<LocalAgents, ClientError> {
        self.read(self.request(Method::GET, path::LOCAL_AGENTS, &[])).await
    }

    /// Adds a program to them, or replaces it. Only the owner may.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. A command or a folder that cannot be is refused with 400.
    ///
    /// # Cancel safety
    ///
    /// The program may be there; adding it again replaces it by itself.
    pub async fn put_local_agent(
        &self,
        name: &str,
        body: &PutLocalAgent,
    ) -> Result<(), ClientError> {
        self.send(&[name], body).await
    }

    /// Takes a program away from them. Only the owner may.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The program may be gone; taking it away again changes nothing.
    pub async fn remove_local_agent(&self, name: &str) -> Result<(), ClientError> {
        self.granted(self.request(Method::DELETE, path::LOCAL_AGENT, &[name])).await.map(drop)
    }

    /// The agents that could be, and which of them are installed on the server's computer. Takes
    /// seconds.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed anywhere.
    pub async fn known_agents(&self) -> Result<KnownAgents, ClientError> {
        self.read(self.request(Method::GET, path::KNOWN_AGENTS, &[])).await
    }

    /// Reports that somebody is in a session, or still is.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The others may have been told; telling them again is a beat.
    pub async fn log_in(&self, session: &str, body: &LogIn) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Reports that somebody has left a session.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The others may have been told; telling them again changes nothing.
    pub async fn log_out(&self, session: &str, body: &LogOut) -> Result<(), ClientError> {
        self.send(&[session], body).await
    }

    /// Sends a body whose answer holds nothing that is needed.
    async fn send<R: Request>(&self, ids: &[&str], body: &R) -> Result<(), ClientError> {
        self.granted(self.with_body(ids, body)).await.map(drop)
    }

    fn with_body<R: Request>(&self, ids: &[&str], body: &R) -> RequestBuilder {
        let method = R::METHOD.as_str().parse().expect("methods of the contract are HTTP's");
        self.request(method, R::PATH, ids).json(body)
    }

    fn request(&self, method: Method, pattern: &str, ids: &[&str]) -> RequestBuilder {
        let url = self.endpoint.url(pattern, ids);
        let mut request = self.http.request(method, url).timeout(self.patience);
        if let Some(token) = self.endpoint.token.token().as_ref().and_then(bearer) {
            request = request.header(AUTHORIZATION, token);
        }
        match &self.actor {
            Some(actor) => {
                request.header(header::ACTOR_ID, &**actor).header(header::ACTOR_TYPE, header::USER)
            }
            None => request,
        }
    }

    /// The answer to a request that was granted.
    async fn granted(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| ClientError::of(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers());
        // Half a refusal still has its status.
        let body = body(response, REFUSAL_BYTES).await.unwrap_or_default();
        Err(ClientError::Refused { status, report: ProblemReport::read(&body), retry_after })
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = body(self.granted(request).await?, ANSWER_BYTES).await?;
        serde_json::from_slice(&body).map_err(|_| ClientError::Stranger)
    }
}

/// The body of an answer.
///
/// # Errors
///
/// The body is larger than `most` bytes, or it ended before its end.
async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| ClientError::of(&error))? {
        if body.len() + piece.len() > most {
            return Err(ClientError::Stranger);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn builder(connect: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // What a person writes is for this address and no other (L16).
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .user_agent(concat!("threadkeep/", env!("CARGO_PKG_VERSION")))
}

fn bearer(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_gone_out_may_have_arrived() {
        let refused = ClientError::Refused {
            status: StatusCode::BAD_GATEWAY,
            report: ProblemReport::default(),
            retry_after: None,
        };
        for error in [refused, ClientError::Broken, ClientError::Silent { connected: true }] {
            assert!(error.may_have_arrived(), "{error:?}");
        }
        let silent = ClientError::Silent { connected: false };
        for error in [ClientError::Unsendable, ClientError::Unreachable, silent] {
            assert!(!error.may_have_arrived(), "{error:?}");
        }
    }
}
