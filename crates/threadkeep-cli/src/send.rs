//! `threadkeep send`: say something in a session.

pub(crate) mod remote;

use anyhow::bail;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::tail::{Transcript, Until};
use remote::{Remote, ServerArgs};

/// Send a message to a session.
///
/// Prints the message's id. With --wait it prints the answer instead, as it comes, and ends when the
/// answer is complete or waits for an approval. With --agent the session is made if it does not
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

    /// What to say; `-` reads it from standard input.
    text: String,

    /// Let this agent answer: `demo`, `model`, or the URL of a webhook agent.
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
    match args.agent {
        Some(agent) => {
            remote.send(remote.request(Method::PUT, &[]).json(&json!({}))).await?;
            let agents = json!({ "agents": [spec(&agent)?] });
            remote.send(remote.request(Method::POST, &["agents"]).json(&agents)).await?;
        }
        None => remote.check().await?,
    }
    let id = Uuid::new_v4();
    let body = json!({
        "messageId": id, "content": text, "role": "user",
        "actorId": remote.actor(), "actorType": "user", "txid": Uuid::new_v4(),
    });
    remote.send(remote.request(Method::POST, &["messages"]).json(&body)).await?;
    if args.wait {
        Transcript::text(&remote).after(id.to_string()).follow(&remote, Until::Answered).await
    } else {
        println!("{id}");
        Ok(())
    }
}

/// The agent as it is registered.
fn spec(agent: &str) -> anyhow::Result<serde_json::Value> {
    Ok(match agent {
        "demo" | "model" => {
            json!({ "id": agent, "name": agent, "endpoint": format!("builtin:{agent}"), "triggers": "user-messages" })
        }
        url if url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) => {
            json!({ "id": "webhook", "name": "webhook", "endpoint": url, "triggers": "user-messages" })
        }
        _ => bail!("{agent} is no agent: give `demo`, `model` or the http(s) URL of a webhook"),
    })
}
