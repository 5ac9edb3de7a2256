//! `threadkeep serve`: a session server until Ctrl-C.

mod agents;
pub(crate) mod allocator;
mod limits;
mod tools;

use std::env;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, ValueEnum};
use session_server::{
    Auth, ModelConfig, Secret, ServerConfig, ServerError, StreamsBackend, TlsFiles,
};
use url::Url;

use crate::passphrase::PassphraseArgs;
use crate::secrets;

const TOKEN: &str = "THREADKEEP_TOKEN";
const STREAMS_TOKEN: &str = "THREADKEEP_STREAMS_TOKEN";
const MODEL_KEY: &str = "THREADKEEP_MODEL_KEY";

/// The callers that the server lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    /// Anybody on this machine (loopback addresses only).
    None,
    /// Callers that send a token of `threadkeep token create` as `Authorization: Bearer …`.
    Token,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for programs that collect logs.
    Json,
}

/// Run a session server with its streams, until Ctrl-C.
///
/// Sessions are kept in the data folder; start again with the same folder to go on. The server
/// prints its URL on standard output when it is ready, and logs to standard error (set
/// RUST_LOG=debug for more). Logs never hold what people write.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep serve\n  \
    threadkeep serve --data-dir ~/sessions --model-url http://127.0.0.1:11434/v1 --model llama3.2\n  \
    threadkeep serve --acp 'qwen=qwen --acp' --acp-cwd ~/project\n  \
    threadkeep serve --mcp 'files=npx -y @modelcontextprotocol/server-filesystem .'\n  \
    threadkeep token create --data-dir ~/sessions --name ana --role manage\n  \
    threadkeep serve --data-dir ~/sessions --auth token --listen 0.0.0.0:4000\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN          with --auth token: one more token, which may do everything under any\n  \
                            name (or use --token-file)\n  \
    THREADKEEP_STREAMS_TOKEN  the token for --streams-url (or use --streams-token-file)\n  \
    THREADKEEP_MODEL_KEY      the API key of the model's server, if it needs one (or keep it by\n  \
                            `threadkeep secrets`, or use --ask-model-key)")]
pub(crate) struct Args {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDR:PORT")]
    listen: SocketAddr,

    /// Folder for sessions and the server's own database; made if it is not there.
    #[arg(long, default_value = "threadkeep-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// Keep the streams in this Durable Streams server instead of the data folder.
    #[arg(long, value_name = "URL")]
    streams_url: Option<Url>,

    /// File with the token that the server of --streams-url wants.
    #[arg(long, value_name = "FILE", requires = "streams_url")]
    streams_token_file: Option<PathBuf>,

    /// Callers that may use the server.
    #[arg(long, value_enum, default_value_t = AuthMode::None)]
    auth: AuthMode,

    /// File with one more token, which may do everything under any name (needs `--auth token`).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Serve HTTPS with this certificate chain (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Form of log lines on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Let webhook agents be at this private or loopback origin, e.g. http://127.0.0.1:3002.
    /// Repeatable.
    #[arg(long, value_name = "URL", value_parser = origin)]
    allow_agent_origin: Vec<Url>,

    /// Let web pages of this origin use the server (CORS), e.g. http://localhost:5173. Repeatable.
    #[arg(long, value_name = "ORIGIN", value_parser = page_origin)]
    allow_origin: Vec<String>,

    /// Answer to this host name too, for a reverse proxy in front that passes its name on.
    /// Repeatable.
    ///
    /// On a loopback address only requests for localhost, 127.x.y.z and ::1 are answered, because
    /// web pages can reach such an address under names of theirs.
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    allow_host: Vec<String>,

    /// Number of times in a row that agents may react to agents after a person spoke; 0: never.
    #[arg(long, default_value_t = 3, value_name = "N")]
    agent_depth: u32,

    /// OpenAI-compatible endpoint of the model agent, e.g. http://127.0.0.1:11434/v1.
    #[arg(long, value_name = "URL", requires = "model")]
    model_url: Option<Url>,

    /// Name of the model.
    #[arg(long, value_name = "NAME", requires = "model_url")]
    model: Option<String>,

    /// Ask for the model's API key at the terminal, and keep it for this run only.
    #[arg(long, requires = "model_url")]
    ask_model_key: bool,

    #[command(flatten)]
    passphrase: PassphraseArgs,

    #[command(flatten)]
    acp: agents::AcpArgs,

    #[command(flatten)]
    tools: tools::ToolArgs,

    // The heading is of everything behind it, too.
    #[command(flatten, next_help_heading = "Limits")]
    limits: limits::LimitArgs,

    #[command(flatten, next_help_heading = "Limits")]
    reading: limits::StreamArgs,

    /// Requests at once that one token or address may send after a pause; twice --rate-limit if
    /// absent.
    #[arg(long, env = "THREADKEEP_BURST", value_name = "N", help_heading = "Limits")]
    burst: Option<u32>,

    /// Bytes that one session's stream may hold; no limit if absent.
    #[arg(
        long,
        env = "THREADKEEP_MAX_STREAM",
        value_name = "BYTES",
        conflicts_with = "streams_url",
        help_heading = "Limits"
    )]
    max_stream: Option<u64>,

    /// Bytes that the file of all streams may have; until the disk is full if absent.
    #[arg(
        long,
        env = "THREADKEEP_MAX_STREAMS",
        value_name = "BYTES",
        conflicts_with = "streams_url",
        help_heading = "Limits"
    )]
    max_streams: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    logs(args.log_format);
    let config = tokio::task::spawn_blocking(move || config(args)).await??;
    raise_open_files();
    let server = match session_server::start(config).await {
        Ok(server) => server,
        Err(
            error @ ServerError::OpenToTheNetwork(_) | error @ ServerError::AnyOriginWithoutToken,
        ) => usage(&format!("{error} (--auth token)")),
        // Its sentence holds what the system said; as a cause it would be said twice.
        Err(error) => anyhow::bail!("{error}"),
    };
    let url = server.base_url();
    let mut stdout = std::io::stdout().lock();
    // Whoever started us may not read on; that is no reason to stop.
    writeln!(stdout, "listening on {}", url.as_str().trim_end_matches('/')).ok();
    stdout.flush().ok();
    drop(stdout);

    stop_signal().await;
    tracing::info!("stopping: runs under way are ended in the log");
    tokio::select! {
        () = server.shutdown() => {}
        () = stop_signal() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

fn config(args: Args) -> anyhow::Result<ServerConfig> {
    let kept = secrets::of_folder(&args.data_dir, &args.passphrase)?;
    let kept = |name: &str| kept.as_ref().and_then(|kept| kept.read(name)).map(Secret::new);
    let mut config = ServerConfig::new(args.data_dir);
    config.listen = args.listen;
    config.allowed_agent_origins = args.allow_agent_origin;
    config.allowed_origins = args.allow_origin;
    config.allowed_hosts = args.allow_host;
    config.agent_depth = args.agent_depth;
    config.acp = args.acp.resolve()?;
    config.tool_servers = Arc::new(args.tools.resolve()?);
    if let Some(url) = args.streams_url {
        config.streams = StreamsBackend::Remote(url);
        let given = secret(args.streams_token_file.as_deref(), STREAMS_TOKEN)?;
        config.streams_token = given.or_else(|| kept(secrets::STREAMS_TOKEN));
    }
    config.tls = match (args.tls_cert, args.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        _ => None,
    };
    args.limits.apply(&mut config.limits);
    args.reading.apply(&mut config.stream_limits);
    let twice = config.limits.requests_per_second.saturating_mul(2);
    config.limits.burst = args.burst.unwrap_or(twice);
    config.stream_limits.stream_bytes = args.max_stream;
    config.stream_limits.total_bytes = args.max_streams;
    config.auth = match (args.auth, args.token_file) {
        (AuthMode::None, None) => Auth::None,
        (AuthMode::None, Some(_)) => usage("--token-file needs --auth token"),
        (AuthMode::Token, file) => Auth::Named(secret(file.as_deref(), TOKEN)?),
    };
    if let (Some(base_url), Some(model)) = (args.model_url, args.model) {
        let api_key = if args.ask_model_key {
            let key = rpassword::prompt_password("API key of the model: ");
            Some(key.context("cannot read the key: is there a terminal?")?)
        } else {
            env::var(MODEL_KEY).ok()
        };
        let api_key = api_key.filter(|key| !key.is_empty()).map(Secret::new);
        let api_key = api_key.or_else(|| kept(secrets::MODEL_KEY));
        config.agents.model = Some(Arc::new(ModelConfig { base_url, model, api_key }));
    }
    Ok(config)
}

/// An origin, which is less than a URL.
fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous
    });
    url.ok_or_else(|| {
        "give http:// or https://, a host and perhaps a port, and nothing behind".to_owned()
    })
}

/// The origin of a page as browsers send it, or `*`.
fn page_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    Ok(origin(text)?.origin().ascii_serialization())
}

/// A host's name, without scheme and port.
fn host_name(text: &str) -> Result<String, String> {
    let host = url::Host::parse(text).map_err(|_| "give a host name without scheme and port")?;
    Ok(host.to_string())
}

/// A secret from a file, else from the environment: never from the command line, which others can
/// see.
fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Secret>> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token in {}", path.display()))?,
        None => env::var(variable).unwrap_or_default(),
    };
    let text = text.trim();
    if let (Some(path), true) = (file, text.is_empty()) {
        usage(&format!("{} is empty", path.display()));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

/// Wrong usage: one line with the command's help hint, exit code 2.
fn usage(message: &str) -> ! {
    crate::Cli::command().error(ErrorKind::ValueValidation, message).exit()
}

/// Logs for people on standard error.
pub(crate) fn logs_as_text() {
    logs(LogFormat::Text);
}

fn logs(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(
            "warn,durable_streams_server=error,session_server=info,threadkeep=info",
        )
    });
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let set = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    set.ok(); // a subscriber is there already: keep it
}

/// Each connection is an open file, and systems allow few unless asked for more.
pub(crate) fn raise_open_files() {
    #[cfg(unix)]
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "files that may be open"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// Ctrl-C, or the signal by which service managers stop a program.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    tokio::signal::ctrl_c().await.ok();
}
