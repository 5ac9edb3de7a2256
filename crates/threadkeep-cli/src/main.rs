//! `threadkeep`: durable AI sessions without a window.
//!
//! One command per file. Errors are one clear line on stderr; the exit code is 2 for wrong usage and
//! 1 for everything else that fails.

mod approve;
mod materialize;
mod send;
mod serve;
mod tail;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Durable AI sessions without a window: serve, follow, write, approve, inspect.
#[derive(Parser)]
#[command(name = "threadkeep", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a session server with its streams, until Ctrl-C.
    Serve(serve::Args),
    /// Follow a session and print it as it grows.
    Tail(tail::Args),
    /// Send a message to a session.
    Send(send::Args),
    /// Approve or deny a tool call that waits.
    Approve(approve::Args),
    /// Fold a file of stream items and print the session's collections as JSON.
    Materialize(materialize::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("threadkeep: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Approve(args) => approve::run(args).await,
            Command::Materialize(args) => materialize::run(args).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` puts the causes on the same line.
            eprintln!("threadkeep: {error:#}");
            ExitCode::FAILURE
        }
    }
}
