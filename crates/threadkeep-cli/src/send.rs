//! `threadkeep send`: say something in a session.

use anyhow::bail;
use session_protocol::api::{CreateSession, RegisterAgents, SendMessage, header};
use session_protocol::{AgentSpec, Role, Triggers};
use uuid::Uuid;

use crate::remote::{Remote, ServerArgs};
use crate::tail::{Transcript, Until};

/// Send a message to a session.
///
/// Prints the message's id. With --wait it prints the answer instead, as it comes, and ends when
/// the answer is complete or waits for an approval. With --agent the session is made if it does not
/// exist, and the agent answers in it from now on.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep send --agent demo --wait first-steps \"Hello\"\n  \
    threadkeep send first-steps \"And now?\"\n  \
    echo \"A long question\" | threadkeep send first-steps -\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The session's name.
    session: String,

    /// Text of the message; `-` reads it from standard input.
    text: String,

    /// Let this agent answer: `demo`, `model`, `acp:NAME` of an agent that the server runs, or the
    /// URL of a webhook agent.
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,

    /// Print the answer, and end when it is complete or waits for an approval.
    #[arg(long)]
    wait: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let text = if args.text == "-" {
        tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??
    } else {
        args.text
    };
    if text.trim().is_empty() {
        bail!("there is nothing to send");
    }
    let remote = Remote::new(args.server, &args.session)?;
    let (client, session) = (remote.client(), remote.session());
    match args.agent {
        Some(agent) => {
            let agents = vec![spec(&agent)?];
            remote.granted(client.create(session, &CreateSession::default()).await)?;
            remote.granted(client.register_agents(session, &RegisterAgents { agents }).await)?;
        }
        None => remote.check().await?,
    }
    let id = Uuid::new_v4();
    let body = SendMessage {
        message_id: Some(id.to_string()),
        content: text,
        role: Some(Role::User),
        actor_id: Some(remote.actor().to_owned()),
        actor_type: Some(header::USER.to_owned()),
        txid: Some(Uuid::new_v4().to_string()),
        ..SendMessage::default()
    };
    remote.granted(client.send_message(session, &body).await)?;
    if args.wait {
        Transcript::text(&remote).after(id.to_string()).follow(&remote, Until::Answered).await
    } else {
        println!("{id}");
        Ok(())
    }
}

/// The agent as it is registered.
fn spec(agent: &str) -> anyhow::Result<AgentSpec> {
    let (id, endpoint) = match agent {
        "demo" | "model" => (agent, format!("builtin:{agent}")),
        named if named.strip_prefix("acp:").is_some_and(|name| !name.is_empty()) => {
            (named, named.to_owned())
        }
        url if url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) => {
            ("webhook", url.to_owned())
        }
        _ => bail!(
            "{agent} is no agent: give `demo`, `model`, `acp:NAME` or the http(s) URL of a webhook"
        ),
    };
    Ok(AgentSpec {
        id: id.to_owned(),
        name: Some(id.strip_prefix("acp:").unwrap_or(id).to_owned()),
        endpoint,
        method: None,
        headers: None,
        triggers: Some(Triggers::UserMessages),
        body_template: None,
    })
}
