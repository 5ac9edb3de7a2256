//! `threadkeep agent`: an agent of this computer in a session of any server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use durable_stream::RetryPolicy;
use session_core::ClientError;
use session_protocol::api::{AskForWork, BRIDGE, BridgeEvent, BridgeOutput, RegisterAgents};
use session_protocol::{AgentSpec, Triggers};
use session_server::{AcpAgent, FarAgent};
use tokio::sync::mpsc;

use crate::remote::{Remote, ServerArgs};

/// The backoff while the server cannot be reached.
const AGAIN: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(300), Duration::from_secs(10));

/// Let an agent of this computer answer in a session of a server.
///
/// The agent, a program that speaks the Agent Client Protocol, runs here, in this folder and with
/// your rights; its words are written by the server. Everybody who may write in the session starts
/// commands on this computer, and everybody who may approve there answers what the agent asks. The
/// token needs the role `manage`. Ctrl-C ends it; the session goes on.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep agent first-steps -- opencode acp\n  \
    threadkeep agent --url https://team.example --name coder plans -- qwen --acp\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The agent's name in the session; the program's if absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Folder that the agent works in; the present one if absent.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,

    /// Folder for what the agent remembers of the session.
    #[arg(long, value_name = "DIR", default_value = "threadkeep-agent")]
    data: PathBuf,

    /// The session's name.
    session: String,

    /// The agent's program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let remote = Remote::new(args.server, &args.session)?;
    remote.check().await?;
    let folder = args.cwd.unwrap_or_else(|| PathBuf::from("."));
    let folder = folder
        .canonicalize()
        .context("the folder of --cwd is not there; choose one that exists")?;
    let mut words = args.command.into_iter();
    let program = words.next().ok_or_else(|| anyhow!("give the agent's command behind --"))?;
    let named = PathBuf::from(&program);
    let named = named.file_stem().map(|name| name.to_string_lossy().into_owned());
    let name = args.name.or(named).unwrap_or_else(|| "agent".to_owned());
    let agent = AcpAgent {
        name: name.clone(),
        program,
        arguments: words.collect(),
        environment: Vec::new(),
        folder,
    };
    let mut far = FarAgent::open(&args.data, agent, remote.session(), &name)?;
    let spec = AgentSpec {
        id: name.clone(),
        name: Some(name.clone()),
        endpoint: format!("{BRIDGE}{name}"),
        method: None,
        headers: None,
        triggers: Some(Triggers::UserMessages),
        body_template: None,
    };
    let agents = RegisterAgents { agents: vec![spec] };
    let registered = remote.client().register_agents(remote.session(), &agents);
    remote.granted(registered.await)?;
    eprintln!("threadkeep: {name} answers in {} now; Ctrl-C ends it", remote.session());
    let ended = tokio::select! {
        ended = bridge(&remote, &name, &mut far) => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
    };
    far.close().await;
    ended
}

/// Carries work to the agent and its words to the server, until the server refuses.
async fn bridge(remote: &Remote, agent: &str, far: &mut FarAgent) -> anyhow::Result<()> {
    let bridge = far.bridge().to_owned();
    let (found, mut work) = mpsc::channel(1);
    let (say, said) = mpsc::channel(1);
    let (over, mut stopped) = mpsc::channel(16);
    let asks = ask(remote, agent, &bridge, found);
    let says = tell(remote, agent, said, over);
    tokio::pin!(asks, says);
    let mut unsaid = None;
    loop {
        tokio::select! {
            ended = &mut asks => return ended,
            ended = &mut says => return ended,
            Some(run_id) = stopped.recv() => far.stop(&run_id),
            Some(events) = work.recv() => events.into_iter().for_each(|event| far.hear(event)),
            output = far.says(), if unsaid.is_none() => unsaid = Some(output),
            Ok(room) = say.reserve(), if unsaid.is_some() => {
                if let Some(output) = unsaid.take() {
                    room.send(output);
                }
            }
        }
    }
}

/// Asks for work, again and again.
async fn ask(
    remote: &Remote,
    agent: &str,
    bridge: &str,
    found: mpsc::Sender<Vec<BridgeEvent>>,
) -> anyhow::Result<()> {
    let (mut attempt, mut after) = (0, 0);
    loop {
        let body = AskForWork { bridge: bridge.to_owned(), after };
        match remote.client().bridge_work(remote.session(), agent, &body).await {
            Ok(work) => {
                (attempt, after) = (0, work.last);
                if found.send(work.events).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => again(remote, error, &mut attempt).await?,
        }
    }
}

/// Gives what the agent says, each in its turn; the runs that the server does not want any more go
/// to `over`.
async fn tell(
    remote: &Remote,
    agent: &str,
    mut said: mpsc::Receiver<BridgeOutput>,
    over: mpsc::Sender<String>,
) -> anyhow::Result<()> {
    while let Some(output) = said.recv().await {
        let mut attempt = 0;
        loop {
            match remote.client().bridge_output(remote.session(), agent, &output).await {
                Ok(()) => break,
                Err(ClientError::Refused { status, .. }) if status == 409 => {
                    over.send(output.run_id.clone()).await.ok();
                    break;
                }
                Err(error) => again(remote, error, &mut attempt).await?,
            }
        }
    }
    Ok(())
}

/// Waits before the next attempt.
///
/// # Errors
///
/// The server will say the same again.
async fn again(remote: &Remote, error: ClientError, attempt: &mut u32) -> anyhow::Result<()> {
    if let ClientError::Refused { status, .. } = &error
        && status.is_client_error()
        && *status != 408
        && *status != 429
    {
        return remote.granted(Err(error));
    }
    if *attempt == 0 {
        eprintln!("threadkeep: {} cannot be reached now; trying again by itself", remote.base());
    }
    tokio::time::sleep(AGAIN.delay(*attempt, None).unwrap_or_default()).await;
    *attempt = attempt.saturating_add(1);
    Ok(())
}
