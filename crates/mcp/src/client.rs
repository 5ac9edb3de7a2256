//! One connection to a server, in the era of the protocol that it knows, and calls of its tools.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::header::HeaderMap;
use rpc_process::{Aside, Command, NO_METHOD, Pids, RpcError};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use url::Url;

use crate::{
    content::CallResult,
    ears::{Heard, Request},
    error::Error,
    http::Http,
    line::Line,
    stdio::Stdio,
    tool::{Elicitation, Tool, cut},
};

/// The version without a handshake.
const MODERN: &str = "2026-07-28";
/// The newest version with one.
const LEGACY: &str = "2025-11-25";
/// The error of a server that does not speak this version.
const WRONG_VERSION: i64 = -32022;
/// Time for an answer to the question which era it is.
const PROBE: Duration = Duration::from_secs(10);
/// Time for the handshake: a program that is fetched first takes a minute.
const GREETING: Duration = Duration::from_secs(90);
/// Time for a page of the list of tools.
const LIST: Duration = Duration::from_secs(60);
/// Time that a call may be silent: without progress and without asking anybody.
const SILENCE: Duration = Duration::from_secs(30 * 60);
/// Pages of the list, and tools, that are read.
const PAGES: usize = 50;
const TOOLS: usize = 500;
/// Questions in one result.
const ASKS: usize = 16;

/// Where a server is.
#[derive(Clone)]
pub enum Target {
    /// A program of this computer.
    Program(Command),
    /// An address, and headers that it is sent with everything.
    Address {
        /// The endpoint.
        url: Url,
        /// Headers, which may hold keys.
        headers: HeaderMap,
    },
}

// L11: commands, addresses and headers may hold keys.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program(_) => "Program(…)",
            Self::Address { .. } => "Address(…)",
        })
    }
}

/// An era of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// With a handshake, to 2025-11-25.
    Legacy,
    /// Without one, 2026-07-28.
    Modern,
}

/// A connection that did not come to be.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct Unconnected {
    /// Why.
    #[source]
    pub error: Error,
    /// The last words of a program, for the owner of the host only.
    pub said: String,
}

// L11: last words may hold keys.
impl fmt::Debug for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unconnected").field("error", &self.error).finish_non_exhaustive()
    }
}

/// A connection. Dropped, it ends.
pub struct Client {
    line: Line,
    era: Era,
    name: String,
    next: Arc<AtomicU64>,
    has_tools: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("era", &self.era).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects. `known` is the era that the server was found to speak before.
    ///
    /// # Errors
    ///
    /// The server cannot be started or reached, or does not speak the protocol.
    ///
    /// # Cancel safety
    ///
    /// A program that was started ends when the future is dropped.
    pub async fn connect(
        target: &Target,
        pids: &Pids,
        http: &reqwest::Client,
        known: Option<Era>,
    ) -> Result<Self, Unconnected> {
        let silent = |error: Error| Unconnected { error, said: String::new() };
        let mut client = Self::open(target, pids, http).map_err(silent)?;
        if known != Some(Era::Legacy) {
            match client.discover(PROBE).await {
                Ok(true) => return Ok(client),
                Ok(false) => {}
                // Some programs end at a request that they do not expect.
                Err(Error::Gone(_) | Error::Lost) if matches!(target, Target::Program(_)) => {
                    client = Self::open(target, pids, http).map_err(silent)?;
                }
                Err(error) => return Err(client.unconnected(error)),
            }
        }
        match client.greet().await {
            Ok(()) => Ok(client),
            // One that was slow to say that it needs no handshake.
            Err(Error::Refused(error)) if error.code == WRONG_VERSION => {
                match client.discover(GREETING).await {
                    Ok(true) => Ok(client),
                    Ok(false) => Err(client.unconnected(Error::Refused(error))),
                    Err(error) => Err(client.unconnected(error)),
                }
            }
            Err(error) => Err(client.unconnected(error)),
        }
    }

    fn unconnected(&self, error: Error) -> Unconnected {
        let Some(aside) = self.aside() else { return Unconnected { error, said: String::new() } };
        // What speaks something else, and nothing of this, is no such server.
        let is_foreign = aside.noise() > 0 && matches!(error, Error::Silent(_));
        let said = match aside.stderr() {
            none if none.trim().is_empty() => aside.noise_lines().join("\n"),
            said => said,
        };
        Unconnected { error: if is_foreign { Error::Foreign } else { error }, said }
    }

    fn open(target: &Target, pids: &Pids, http: &reqwest::Client) -> Result<Self, Error> {
        let line = match target {
            Target::Program(command) => Line::Stdio(Arc::new(Stdio::start(command, pids)?)),
            Target::Address { url, headers } => {
                Line::Http(Arc::new(Http::new(http.clone(), url.clone(), headers.clone())))
            }
        };
        let next = Arc::new(AtomicU64::new(1));
        Ok(Self { line, era: Era::Legacy, name: String::new(), next, has_tools: true })
    }

    /// Asks whether the server needs no handshake; any error means that it does.
    async fn discover(&mut self, patience: Duration) -> Result<bool, Error> {
        self.era = Era::Modern;
        if let Line::Http(http) = &self.line {
            http.speaks(MODERN, true);
        }
        let found = match self.request("server/discover", Map::new(), patience).await {
            Ok(found) => found,
            Err(error @ (Error::Unreachable | Error::Certificate | Error::Unauthorized(_))) => {
                return Err(error);
            }
            Err(error @ (Error::Gone(_) | Error::Lost)) if matches!(self.line, Line::Stdio(_)) => {
                return Err(error);
            }
            Err(_) => Value::Null,
        };
        let versions = found.get("supportedVersions").and_then(Value::as_array);
        let knows = versions.is_some_and(|all| all.iter().any(|version| version == MODERN));
        if !knows {
            self.era = Era::Legacy;
            if let Line::Http(http) = &self.line {
                http.speaks("", false);
            }
            return Ok(false);
        }
        let info = found.get("serverInfo").or_else(|| {
            found.get("_meta").and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo"))
        });
        self.named(info);
        self.can(found.get("capabilities"));
        if self.tells_changes(&found) {
            let mut params = Map::new();
            params.insert("notifications".to_owned(), json!({"toolsListChanged": true}));
            let number = self.number();
            let params = self.with_meta(params, None);
            // Heard by the line, and answered at the end of the connection.
            drop(self.line.send(Request { number, method: "subscriptions/listen", params })?);
        }
        Ok(true)
    }

    async fn greet(&mut self) -> Result<(), Error> {
        let mut params = Map::new();
        params.insert("protocolVersion".to_owned(), LEGACY.into());
        params.insert("capabilities".to_owned(), capabilities());
        params.insert("clientInfo".to_owned(), who());
        let found = self.request("initialize", params, GREETING).await?;
        let version = found.get("protocolVersion").and_then(Value::as_str);
        let Some(version) = version.filter(|version| version.len() <= 32) else {
            return Err(Error::Foreign);
        };
        self.named(found.get("serverInfo"));
        self.can(found.get("capabilities"));
        match &self.line {
            Line::Stdio(_) => self.line.notify("notifications/initialized", json!({})),
            Line::Http(http) => {
                http.speaks(version, false);
                http.told("notifications/initialized").await?;
                if self.tells_changes(&found) {
                    Http::follow_news(http);
                }
            }
        }
        Ok(())
    }

    fn tells_changes(&self, found: &Value) -> bool {
        found.pointer("/capabilities/tools/listChanged") == Some(&Value::Bool(true))
    }

    fn can(&mut self, capabilities: Option<&Value>) {
        self.has_tools = capabilities.is_none_or(|can| can.get("tools").is_some());
    }

    fn named(&mut self, info: Option<&Value>) {
        let text = |name: &str| info.and_then(|info| info.get(name)).and_then(Value::as_str);
        self.name = cut(text("title").or(text("name")).unwrap_or_default(), 256);
    }

    /// The server's name for itself; empty where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The era that it speaks.
    pub fn era(&self) -> Era {
        self.era
    }

    /// What a program says beside the protocol; `None` of an address.
    pub fn aside(&self) -> Option<Arc<Aside>> {
        match &self.line {
            Line::Stdio(stdio) => Some(stdio.aside()),
            Line::Http(_) => None,
        }
    }

    /// Whether the connection is over: the program ended, or the server does not know it any more.
    pub fn is_gone(&self) -> bool {
        self.line.is_gone()
    }

    /// Changes each time that the server says that its tools have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.line.changes()
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn with_meta(&self, mut params: Map<String, Value>, progress: Option<u64>) -> Value {
        let mut meta = Map::new();
        if let Some(number) = progress {
            meta.insert("progressToken".to_owned(), number.into());
        }
        if self.era == Era::Modern {
            let name = |name: &str| format!("io.modelcontextprotocol/{name}");
            meta.insert(name("protocolVersion"), MODERN.into());
            meta.insert(name("clientInfo"), who());
            meta.insert(name("clientCapabilities"), capabilities());
        }
        if !meta.is_empty() {
            params.insert("_meta".to_owned(), meta.into());
        }
        params.into()
    }

    /// Asks for something that nobody is asked about.
    async fn request(
        &self,
        method: &'static str,
        params: Map<String, Value>,
        patience: Duration,
    ) -> Result<Value, Error> {
        let number = self.number();
        let params = self.with_meta(params, None);
        let mut heard = self.line.send(Request { number, method, params })?;
        let answer = timeout(patience, async {
            loop {
                match heard.recv().await {
                    Some(Heard::Answer(answer)) => return answer.map_err(Error::Refused),
                    Some(Heard::Failed(error)) => return Err(error),
                    Some(Heard::Request { id, .. }) => self.line.answer(id, Err(not_offered())),
                    Some(Heard::Progress(_)) => {}
                    None => return Err(Error::Gone(None)),
                }
            }
        });
        answer.await.unwrap_or_else(|_| {
            self.line.cancel(number);
            Err(Error::Silent(patience.as_secs()))
        })
    }

    /// Lists the tools, page by page, those that can be called and are not too large. Of two with one name the first.
    ///
    /// # Errors
    ///
    /// The server refused, or is gone.
    pub async fn tools(&self) -> Result<Vec<Tool>, Error> {
        let mut tools: Vec<Tool> = Vec::new();
        let mut cursor: Option<Value> = None;
        if !self.has_tools {
            return Ok(tools);
        }
        for _ in 0..PAGES {
            let mut params = Map::new();
            params.extend(cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
            let page = self.request("tools/list", params, LIST).await?;
            let listed = page.get("tools").and_then(Value::as_array).ok_or(Error::Foreign)?;
            for tool in listed.iter().filter_map(Tool::read) {
                if tools.len() < TOOLS && !tools.iter().any(|known| known.name == tool.name) {
                    tools.push(tool);
                }
            }
            cursor = page.get("nextCursor").filter(|cursor| cursor.is_string()).cloned();
            if cursor.is_none() || tools.len() >= TOOLS {
                break;
            }
        }
        Ok(tools)
    }

    /// Calls a tool. `state` and `responses` are of a call that needed input before.
    ///
    /// # Errors
    ///
    /// The connection is gone, and nothing was asked.
    pub fn call(
        &self,
        tool: &str,
        arguments: &Value,
        state: Option<&str>,
        responses: Option<Map<String, Value>>,
    ) -> Result<Call, Error> {
        let mut params = Map::new();
        params.insert("name".to_owned(), tool.into());
        params.insert("arguments".to_owned(), arguments.clone());
        if let Some(state) = state {
            params.insert("requestState".to_owned(), state.into());
        }
        if let Some(responses) = responses {
            params.insert("inputResponses".to_owned(), responses.into());
        }
        let number = self.number();
        let params = self.with_meta(params, Some(number));
        let from = self.line.send(Request { number, method: "tools/call", params })?;
        Ok(Call { from, line: self.line.clone(), number, over: false })
    }

    /// Ends the connection, and waits until a program is gone.
    ///
    /// # Cancel safety
    ///
    /// A program ends also when the future is dropped.
    pub async fn close(self) {
        let task = match &self.line {
            Line::Stdio(stdio) => stdio.take_task(),
            Line::Http(http) => {
                http.close().await;
                None
            }
        };
        drop(self);
        if let Some(task) = task {
            task.await.ok(); // it has ended, however
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Line::Http(http) = &self.line {
            http.stop(); // its tasks hold it
        }
    }
}

fn not_offered() -> RpcError {
    RpcError::new(NO_METHOD, "not offered here")
}

fn who() -> Value {
    json!({"name": "threadkeep", "title": "Threadkeep", "version": env!("CARGO_PKG_VERSION")})
}

fn capabilities() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}})
}

/// What a call does next.
#[derive(Debug)]
pub enum CallEvent {
    /// It goes on.
    Progress {
        /// How far it is.
        progress: Option<f64>,
        /// How far it will go.
        total: Option<f64>,
        /// What it does, in the server's words.
        message: Option<String>,
    },
    /// The server asks a person something, and waits.
    Asks {
        /// The id to answer under.
        id: Value,
        /// What it asks.
        ask: Elicitation,
    },
    /// It is over.
    Done(Result<Outcome, Error>),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A result.
    Done(CallResult),
    /// Questions, after whose answers the call is made again.
    NeedsInput {
        /// Each with the name that its answer is given under.
        asks: Vec<(String, Elicitation)>,
        /// What the server wants to be told again, unread.
        state: Option<String>,
    },
}

/// A call that goes on. Dropped before its end, it is cancelled.
pub struct Call {
    from: mpsc::Receiver<Heard>,
    line: Line,
    number: u64,
    over: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("over", &self.over).finish_non_exhaustive()
    }
}

impl Call {
    /// What it does next. Nothing comes behind [`CallEvent::Done`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> CallEvent {
        loop {
            let heard = match timeout(SILENCE, self.from.recv()).await {
                Ok(heard) => heard,
                Err(_) => Some(Heard::Failed(Error::Silent(SILENCE.as_secs()))),
            };
            match heard {
                Some(Heard::Progress(params)) => {
                    let number = |name: &str| params.get(name).and_then(Value::as_f64);
                    let message = params.get("message").and_then(Value::as_str);
                    return CallEvent::Progress {
                        progress: number("progress"),
                        total: number("total"),
                        message: message.map(|message| cut(message, 500)),
                    };
                }
                Some(Heard::Request { id, method, params }) if method == "elicitation/create" => {
                    return CallEvent::Asks { id, ask: Elicitation::read(&params) };
                }
                Some(Heard::Request { id, .. }) => self.line.answer(id, Err(not_offered())),
                Some(Heard::Answer(answer)) => {
                    self.over = true;
                    return CallEvent::Done(answer.map_err(Error::Refused).and_then(outcome));
                }
                Some(Heard::Failed(error)) => {
                    self.over = !matches!(error, Error::Silent(_));
                    return CallEvent::Done(Err(error));
                }
                None => {
                    self.over = true;
                    return CallEvent::Done(Err(Error::Gone(None)));
                }
            }
        }
    }

    /// Answers a question of the call. `result` is [`Elicitation::answer`].
    pub fn answer(&self, id: Value, result: Value) {
        self.line.answer(id, Ok(result));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            self.line.cancel(self.number);
        }
    }
}

fn outcome(result: Value) -> Result<Outcome, Error> {
    let kind = result.get("resultType").and_then(Value::as_str);
    if kind != Some("input_required") {
        if kind == Some("task") {
            return Err(Error::Wants("to go on in the background"));
        }
        return CallResult::read(result).map(Outcome::Done).ok_or(Error::Foreign);
    }
    let mut asks = Vec::new();
    let requests = result.get("inputRequests").and_then(Value::as_object);
    for (name, request) in requests.into_iter().flatten().take(ASKS) {
        match request.get("method").and_then(Value::as_str) {
            Some("elicitation/create") => {
                let params = request.get("params").unwrap_or(&Value::Null);
                asks.push((name.clone(), Elicitation::read(params)));
            }
            Some("sampling/createMessage") => return Err(Error::Wants("the model of this side")),
            Some("roots/list") => return Err(Error::Wants("folders of this side")),
            _ => return Err(Error::Wants("something unknown")),
        }
    }
    let state = result.get("requestState").and_then(Value::as_str).map(str::to_owned);
    if asks.is_empty() && state.is_none() {
        return Err(Error::Foreign);
    }
    Ok(Outcome::NeedsInput { asks, state })
}
