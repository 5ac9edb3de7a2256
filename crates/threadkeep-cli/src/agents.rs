//! `threadkeep agents`: which agents are installed on this computer, and which could be.

use std::io::Write as _;

use session_protocol::api::KnownAgent;

use crate::foreign::clean;

/// Show which agents are installed on this computer, and how the others would be.
///
/// An agent is a program that speaks the Agent Client Protocol. Those that are installed are shown
/// with the command for `threadkeep serve --acp`; of the others the line that installs each is
/// shown. Nothing is installed.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep agents\n  \
    threadkeep serve --acp opencode='opencode acp'")]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let known = session_server::known_agents().await;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&known)?)?;
        return Ok(());
    }
    let (here, others): (Vec<_>, Vec<_>) =
        known.agents.into_iter().partition(|agent| agent.path.is_some());
    writeln!(out, "{}", if here.is_empty() { "No agent is installed." } else { "Installed:" })?;
    for agent in &here {
        writeln!(out, "  {}", clean(&installed(agent)))?;
    }
    writeln!(out, "{}", if here.is_empty() { "These could be:" } else { "These could be, too:" })?;
    for agent in &others {
        writeln!(out, "  {:<15} {}", agent.name, agent.install)?;
    }
    Ok(())
}

fn installed(agent: &KnownAgent) -> String {
    let version = agent.version.as_deref().unwrap_or("version unknown");
    let command = format!("{}={}", agent.id, agent.command);
    let needs = agent.needs.iter().map(|needs| format!("\n  {:<15} {needs}", ""));
    let line = format!("{:<15} {version}  --acp {}", agent.name, quoted(&command));
    std::iter::once(line).chain(needs).collect()
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
