//! `threadkeep`: durable AI sessions without a window.
//!
//! One command per file. Errors are one clear line on stderr; the exit code is 2 for wrong usage
//! and 1 for everything else that fails.

mod approve;
mod backup;
mod completions;
mod doctor;
mod export;
mod folders;
mod foreign;
mod host;
mod import;
mod materialize;
mod open;
mod passphrase;
mod remote;
mod seconds;
mod secrets;
mod send;
mod serve;
mod tail;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use foreign::clean;

/// Durable AI sessions without a window: serve, follow, write, approve, inspect.
///
/// A session is a log on a server that people and agents write to and follow. It stays when
/// programs end, and whoever comes later reads all of it. `threadkeep serve` starts a server; the
/// other commands talk to one.
#[derive(Parser)]
#[command(
    name = "threadkeep",
    version,
    propagate_version = true,
    after_long_help = "First steps, in two terminals:\n  \
    threadkeep serve\n  \
    threadkeep send --agent demo --wait first-steps \"Clean up my reports\"\n  \
    threadkeep approve first-steps --first\n  \
    threadkeep tail first-steps\n\n\
    `threadkeep help COMMAND` says more about a command.\n\n\
    Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// The words for `--help` are those of each command's `Args`: a comment here would replace them.
#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Tail(tail::Args),
    Send(send::Args),
    Approve(approve::Args),
    Materialize(materialize::Args),
    Import(import::Args),
    Export(Box<export::Args>),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Open(open::Args),
    Secrets(secrets::Args),
    Token(token::Args),
    #[command(hide = true)]
    Host(host::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(completions::ManArgs),
}

/// Runs what waits for disks and people on a thread of its own.
async fn blocking(
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(work).await?
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Serve(_) | Command::Host(_)) {
        serve::allocator::set_up();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("threadkeep: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Approve(args) => approve::run(args).await,
            Command::Materialize(args) => materialize::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Export(args) => export::run(*args).await,
            Command::Backup(args) => blocking(move || backup::backup(&args)).await,
            Command::Restore(args) => blocking(move || backup::restore(&args)).await,
            Command::Open(args) => open::run(args).await,
            Command::Secrets(args) => blocking(move || secrets::run(args)).await,
            Command::Token(args) => token::run(args).await,
            Command::Host(args) => host::run(args).await,
            Command::Doctor(args) => return doctor::run(args).await,
            Command::Completions(args) => blocking(move || completions::run(&args)).await,
            Command::Man(args) => blocking(move || completions::man(&args)).await,
        }
        .map(|()| true)
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        // What was looked at is not as it should be; it was said.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // `{:#}` puts the causes on the same line.
            eprintln!("threadkeep: {}", clean(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
