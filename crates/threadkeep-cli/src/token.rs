//! `threadkeep token`: who may use a server that runs with `--auth token`.

use std::path::PathBuf;

use anyhow::bail;
use clap::builder::PossibleValue;
use clap::{Subcommand, ValueEnum};
use session_server::{TokenRole, Tokens, normalised};

use crate::foreign::clean;

/// Make, list and revoke the tokens of a server.
///
/// A server that runs with --auth token lets in whoever has a token made here, with the token's
/// role and under its name. It may run meanwhile: it sees new and revoked tokens at once.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep token create --data-dir ~/sessions --name ana --role manage\n  \
    threadkeep token create --data-dir ~/sessions --name guest --role view --session first-steps\n  \
    threadkeep token list --data-dir ~/sessions\n  \
    threadkeep token revoke --data-dir ~/sessions --name guest")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token. It is printed once, as the last line.
    Create(Create),
    /// List tokens: name, role, when they were made, their sessions.
    List(DataDir),
    /// End a token.
    Revoke(Revoke),
}

#[derive(clap::Args)]
struct DataDir {
    /// The server's data folder.
    #[arg(long, default_value = "threadkeep-data", value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(clap::Args)]
struct Create {
    #[command(flatten)]
    folder: DataDir,

    /// Name of the actor: what is written with the token appears under it.
    #[arg(long)]
    name: String,

    /// Right that the token gives.
    #[arg(long, value_enum)]
    role: RoleName,

    /// A session that the token is for. Repeatable; without it the token is for all sessions.
    #[arg(long, value_name = "ID")]
    session: Vec<String>,
}

#[derive(clap::Args)]
struct Revoke {
    #[command(flatten)]
    folder: DataDir,

    /// The token's name.
    #[arg(long)]
    name: String,
}

/// A role on the command line.
#[derive(Clone, Copy)]
struct RoleName(TokenRole);

impl ValueEnum for RoleName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [RoleName; 4] = [
            RoleName(TokenRole::View),
            RoleName(TokenRole::Chat),
            RoleName(TokenRole::Approve),
            RoleName(TokenRole::Manage),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            TokenRole::View => "read sessions",
            TokenRole::Chat => "and make sessions, write in them, stop agents",
            TokenRole::Approve => "and decide for agents: approvals and results of tools",
            TokenRole::Manage => "and everything else: agents, deleting, writing streams directly",
        };
        Some(PossibleValue::new(self.0.as_str()).help(help))
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    // SQLite waits for the server's transactions: not on a runtime worker.
    tokio::task::spawn_blocking(move || match args.command {
        Command::Create(args) => create(&args),
        Command::List(args) => list(&args),
        Command::Revoke(args) => revoke(&args),
    })
    .await?
}

fn create(args: &Create) -> anyhow::Result<()> {
    let tokens = Tokens::open(&args.folder.data_dir)?;
    let sessions: Vec<String> = args.session.iter().map(|id| normalised(id)).collect();
    let sessions = (!sessions.is_empty()).then_some(sessions.as_slice());
    let name = normalised(&args.name);
    let token = tokens.create(&name, args.role.0, sessions)?;
    eprintln!("This token is shown only now. Keep it where only {} can read it.", clean(&name));
    println!("{}", token.expose());
    Ok(())
}

fn list(args: &DataDir) -> anyhow::Result<()> {
    for token in Tokens::open_existing(&args.data_dir)?.list()? {
        let sessions = match &token.sessions {
            None => "all sessions".to_owned(),
            Some(ids) => clean(&ids.join(" ")),
        };
        println!("{}\t{}\t{}\t{sessions}", clean(&token.name), token.role, token.created_at);
    }
    Ok(())
}

fn revoke(args: &Revoke) -> anyhow::Result<()> {
    if !Tokens::open_existing(&args.folder.data_dir)?.revoke(&args.name)? {
        bail!("there is no token named {}; `threadkeep token list` shows all", clean(&args.name));
    }
    println!("Revoked {}", clean(&args.name));
    Ok(())
}
