//! Settings that a server is started with.

use std::{
    ffi::OsString, fmt, future::Future, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc,
    time::Duration,
};

use url::Url;

/// A boxed future, so that [`ModelSettings`] stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A key or token. Never shown by `Debug` (law L11).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key or token.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)") // L11
    }
}

/// Where the session streams live.
#[derive(Debug, Clone)]
pub enum StreamsBackend {
    /// Streams in this process, on disk under `data_dir/streams`.
    Embedded,
    /// Streams in another Durable Streams server. The stream of a session is `{url}/sessions/{id}`.
    Remote(Url),
}

/// Limits of the embedded streams. By default they grow until the disk is full: then appends are answered 507, and work
/// again when there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes of messages of one stream; more is answered 413.
    pub stream_bytes: Option<u64>,
    /// Bytes of the whole database file (at least 64 KiB); more is answered 507.
    pub total_bytes: Option<u64>,
    /// Messages of one append; more is answered 413. A body of a few megabytes may hold millions.
    pub append_messages: usize,
    /// Time that a long poll waits for something new, in whole seconds.
    pub long_poll: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            stream_bytes: None,
            total_bytes: None,
            append_messages: 50_000,
            long_poll: Duration::from_secs(30),
        }
    }
}

/// The rule for who may use the server.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Anybody who can connect. Only allowed on a loopback address; requests by web pages of other origins are refused.
    None,
    /// One token, sent as `Authorization: Bearer <token>`, for everything under any name.
    Token(Secret),
    /// Holders of the data folder's named tokens (see [`Tokens`](crate::Tokens)), each with its role and under its
    /// name; and whoever sends the token given here, who may do everything under any name.
    Named(Option<Secret>),
}

/// Where the model agent sends its requests.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Base URL of an OpenAI-compatible API, with its version: `http://127.0.0.1:11434/v1`.
    pub base_url: Url,
    /// The model's name as that API knows it.
    pub model: String,
    /// The API key, where one is needed.
    pub api_key: Option<Secret>,
}

/// Gives the model agent its settings at the start of each run, so that a change needs no restart.
pub trait ModelSettings: Send + Sync {
    /// The settings now, or one sentence saying what is missing and what to do.
    fn load(&self) -> BoxFuture<'_, Result<ModelConfig, String>>;
}

impl ModelSettings for ModelConfig {
    fn load(&self) -> BoxFuture<'_, Result<ModelConfig, String>> {
        let config = self.clone();
        Box::pin(async move { Ok(config) })
    }
}

/// Agents that run inside the server.
#[derive(Clone)]
pub struct BuiltinAgents {
    /// `builtin:demo`, which needs neither key nor network.
    pub demo: bool,
    /// `builtin:model`, any OpenAI-compatible endpoint.
    pub model: Option<Arc<dyn ModelSettings>>,
}

impl fmt::Debug for BuiltinAgents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltinAgents")
            .field("demo", &self.demo)
            .field("model", &self.model.is_some())
            .finish()
    }
}

/// An agent that the server runs as a program of this computer, and that speaks the Agent Client Protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct AcpAgent {
    /// The agent's name; sessions have it under the endpoint `acp:NAME`.
    pub name: String,
    /// A path, or a name that is looked for in `PATH`.
    pub program: OsString,
    /// The command's arguments.
    pub arguments: Vec<OsString>,
    /// Variables of its environment, over those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder that it works in, as an absolute path.
    pub folder: PathBuf,
}

impl AcpAgent {
    /// Reads `NAME=COMMAND`, the command as a shell reads it: variables may stand in front, quotes hold words together.
    /// The folder is empty.
    ///
    /// # Errors
    ///
    /// One sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, command) =
            text.split_once('=').ok_or("give NAME=COMMAND, as in qwen='qwen --acp'")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err("the name has letters, digits, - . and _ only".to_owned());
        }
        let CommandLine { program, arguments, environment } = CommandLine::parse(command)?;
        let name = name.to_owned();
        Ok(Self { name, program, arguments, environment, folder: PathBuf::new() })
    }
}

/// A command as a shell has it.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: OsString,
    /// The command's arguments.
    pub arguments: Vec<OsString>,
    /// The variables in front of it.
    pub environment: Vec<(OsString, OsString)>,
}

// L11: arguments and variables may hold keys.
impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLine").field("program", &self.program).finish_non_exhaustive()
    }
}

impl CommandLine {
    /// Reads a command as a shell does: variables, the program, its arguments.
    ///
    /// # Errors
    ///
    /// One sentence that says what is wrong.
    pub fn parse(command: &str) -> Result<Self, String> {
        let words = shlex::split(command).ok_or("a quote in the command has no end")?;
        let mut words = words.into_iter().peekable();
        let mut environment = Vec::new();
        while let Some((variable, value)) = words.peek().and_then(|word| assignment(word)) {
            environment.push((variable.into(), value.into()));
            words.next();
        }
        let program = words.next().ok_or("there is no command behind the name")?;
        let (program, arguments) = (program.into(), words.map(Into::into).collect());
        Ok(Self { program, arguments, environment })
    }
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_name = begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

// L11: arguments and variables may hold keys.
impl fmt::Debug for AcpAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcpAgent").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A server of tools (MCP) for the model agent.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolServer {
    /// The server's name: letters, digits, `-` and `_`. Its tools are called `NAME__TOOL`.
    pub name: String,
    /// Where it is.
    pub target: ToolServerTarget,
    /// Whether its claims about its tools are believed: those that only look run unasked, and those that may be done
    /// twice are done again where nobody knows what became of the first time.
    pub is_trusted: bool,
    /// Whether sessions have it that were not told otherwise.
    pub is_on: bool,
}

/// Where a [`ToolServer`] is.
#[derive(Clone, PartialEq, Eq)]
pub enum ToolServerTarget {
    /// A program of this computer.
    Program {
        /// A path, or a name that is looked for in `PATH`.
        program: OsString,
        /// The program's arguments.
        arguments: Vec<OsString>,
        /// Variables of its environment, over those of this process.
        environment: Vec<(OsString, OsString)>,
        /// The folder that it works in, as an absolute path.
        folder: PathBuf,
    },
    /// An address that speaks streamable HTTP.
    Address {
        /// The endpoint.
        url: Url,
        /// Headers that it is sent, such as `Authorization`.
        headers: Vec<(String, Secret)>,
    },
}

// L11: commands, addresses and headers may hold keys.
impl fmt::Debug for ToolServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolServer").field("name", &self.name).finish_non_exhaustive()
    }
}

// L11
impl fmt::Debug for ToolServerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToolServerTarget(…)")
    }
}

/// Gives the servers of tools at the start of each run, so that a change needs no restart.
pub trait ToolServers: fmt::Debug + Send + Sync {
    /// The servers now. Of two with one name the first counts.
    fn load(&self) -> BoxFuture<'_, Vec<ToolServer>>;
}

impl ToolServers for Vec<ToolServer> {
    fn load(&self) -> BoxFuture<'_, Vec<ToolServer>> {
        let servers = self.clone();
        Box::pin(async move { servers })
    }
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, then those that it was signed with.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

/// Limits of what one client may send. The defaults are far above what people and agents need.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Bytes of one direct write to a stream, which is
    /// [`TokenRole::Manage`](session_protocol::api::TokenRole::Manage)'s.
    pub stream_body_bytes: usize,
    /// Requests a second of one token, or of one address without a token; 0 is no limit. Of the polls of readers who
    /// follow a stream there may be 50 times as many.
    pub requests_per_second: u32,
    /// Requests at once, after a pause; 0 is as many as in a second.
    pub burst: u32,
    /// Connections at once; more are closed as soon as they are made.
    pub connections: usize,
    /// Connections of one address at once (of IPv6 a /64); loopback addresses may have all.
    pub connections_per_address: usize,
    /// Bytes that are held at once for others, in the whole process: output that waits for a commit, answers that are
    /// not taken yet, what runs are given to read. More waits, or is answered 503.
    pub held_bytes: usize,
    /// Bytes of them that one session, one client or one agent may have.
    pub held_bytes_each: usize,
    /// Bytes of a name that is shown: of a person, a device or an agent.
    pub name_bytes: usize,
    /// Bytes of what is merged into an agent's requests, as JSON.
    pub template_bytes: usize,
    /// Bytes of the headers that an agent is sent, names and values.
    pub agent_header_bytes: usize,
    /// Requests that one HTTP/2 connection may have at once.
    pub streams_per_connection: u32,
    /// Time that an answer may lie ready without anything of it being taken; then the connection is cut. Who waits for
    /// news has nothing to take.
    pub answer_pause: Duration,
    /// Bytes of one line, event or chunk that an agent or a model answers. The run of a longer one fails.
    pub chunk_bytes: usize,
    /// Bytes of all that an agent or a model answers to one request. The run of a longer answer fails.
    pub answer_bytes: u64,
    /// Bytes of the arguments of one call that a model makes. The run of longer ones fails.
    pub arguments_bytes: usize,
    /// Bytes of the messages that an agent is given: of a longer session it gets the newest, and a note that there were
    /// others. A model's own answers in one run have as much again.
    pub history_bytes: usize,
    /// Time that the head of a request may take, which is also how long a connection may rest between two requests and
    /// how long an HTTP/2 peer may be silent before it is asked whether it is there, and then before it answers.
    pub head: Duration,
    /// Time that the next piece of a request's body may take; then the answer is 408.
    pub body_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20, // a message of four million letters is not a message
            stream_body_bytes: 32 << 20,
            requests_per_second: 2_000,
            burst: 4_000,
            connections: 10_000,
            connections_per_address: 2_000,
            held_bytes: 96 << 20,
            held_bytes_each: 24 << 20,
            name_bytes: 256,
            template_bytes: 64 << 10,
            agent_header_bytes: 32 << 10,
            streams_per_connection: 100, // as few as RFC 9113 recommends
            answer_pause: Duration::from_secs(30),
            chunk_bytes: 4 << 20,    // a row of a stream cannot be split
            answer_bytes: 256 << 20, // older dialects say everything again in each chunk
            arguments_bytes: 1 << 20,
            history_bytes: 8 << 20, // two million tokens
            head: Duration::from_secs(30),
            body_pause: Duration::from_secs(30),
        }
    }
}

/// The settings that [`start`](crate::start) needs. Begin with [`ServerConfig::new`] and change fields.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder for streams and the server's own database. Made if absent (mode 0700).
    pub data_dir: PathBuf,
    /// The key that agents' headers are encrypted with: any random text of 32 or more characters, from a keychain for
    /// example. `None` makes a key in the file `server.key` (mode 0600) of the data folder.
    pub secret_key: Option<Secret>,
    /// Where the streams live.
    pub streams: StreamsBackend,
    /// The token that a [remote](StreamsBackend::Remote) stream server wants as `Authorization: Bearer …`.
    pub streams_token: Option<Secret>,
    /// Sizes that embedded streams may have.
    pub stream_limits: StreamLimits,
    /// The rule for who may use the server.
    pub auth: Auth,
    /// Serve HTTPS; `None` is HTTP.
    pub tls: Option<TlsFiles>,
    /// Limits of what one client may send.
    pub limits: Limits,
    /// Origins (scheme, host, port) of webhook agents that may be reached although they are private.
    pub allowed_agent_origins: Vec<Url>,
    /// Lets webhook agents have any address, also private ones.
    pub allow_private_agents: bool,
    /// Host names, without a port, that requests may name beside those of loopback, for a reverse proxy that passes its
    /// own name on. Only a server that listens on a loopback address looks: web pages can reach it under names of
    /// theirs.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call the server (CORS), such as `http://localhost:5173`; `*` for any, which
    /// needs a token. Empty: no other origin.
    pub allowed_origins: Vec<String>,
    /// Agents that run inside the server.
    pub agents: BuiltinAgents,
    /// Agents that run as programs of this computer, with the rights of its user. Who may register one (the owner, or
    /// `manage`) lets everybody who may write in the session start commands here.
    pub acp: Vec<AcpAgent>,
    /// Servers of tools (MCP) for the model agent. Their programs run with the rights of this process's user.
    pub tool_servers: Arc<dyn ToolServers>,
    /// Number of times in a row that agents may react to agents after a person spoke; 0: never.
    pub agent_depth: u32,
    /// A device that logged in without promising to heartbeat is written offline when its actor neither followed the
    /// session's stream nor did anything in it for so long.
    pub silence: Duration,
    /// Time that the demo agent waits between two chunks.
    pub demo_pace: Duration,
    /// Lets built-in agents go on by themselves, once, with a run that the end of the server interrupted, where the log
    /// says everything that happened in it. Else a person asks them again.
    pub continue_runs: bool,
}

impl ServerConfig {
    /// A server on a free loopback port with embedded streams, no auth and the demo agent.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: data_dir.into(),
            secret_key: None,
            streams: StreamsBackend::Embedded,
            streams_token: None,
            stream_limits: StreamLimits::default(),
            auth: Auth::None,
            tls: None,
            limits: Limits::default(),
            allowed_agent_origins: Vec::new(),
            allow_private_agents: false,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            agents: BuiltinAgents { demo: true, model: None },
            acp: Vec::new(),
            tool_servers: Arc::new(Vec::new()),
            agent_depth: 3,
            silence: Duration::from_secs(90), // three missed beats of the usual 30 s
            demo_pace: Duration::from_millis(15),
            continue_runs: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_a_shell_reads_it() {
        let agent = AcpAgent::parse(r#"q=KEY=x A_B='two words' /opt/q --acp "it's" a=b"#)
            .expect("it is one");
        assert_eq!((agent.name.as_str(), agent.program.to_str()), ("q", Some("/opt/q")));
        assert_eq!(agent.arguments, ["--acp", "it's", "a=b"]);
        let variables: Vec<_> = agent
            .environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
            .collect();
        assert_eq!(variables, [("KEY", "x"), ("A_B", "two words")]);
    }

    #[test]
    fn what_is_no_agent_is_told_in_one_sentence() {
        for (text, says) in [
            ("qwen", "NAME=COMMAND"),
            ("=x", "letters"),
            ("a b=x", "letters"),
            ("a=", "no command"),
            ("a='x", "quote"),
            ("a=K=v", "no command"),
        ] {
            let error = AcpAgent::parse(text).expect_err("it is none");
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
