//! `threadkeep materialize`: folds a file of stream items and prints the collections.

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;
use session_protocol::api::path;

use crate::foreign::clean_json;

/// Fold a file of stream items and print the session's collections as JSON.
///
/// The input is what a catch-up read of a session stream returns: one JSON array of items. The
/// output is one JSON object with messages, hiddenMessages, toolCalls, approvals, pendingApprovals,
/// activeGenerations, presence, agents, sessionStats and skipped. The clock is the newest createdAt
/// in the input. No server is needed.
#[derive(clap::Args)]
#[command(after_long_help = examples())]
pub(crate) struct Args {
    /// A file with a JSON array of stream items, or `-` for standard input.
    #[arg(value_name = "FILE|-")]
    input: PathBuf,
}

fn examples() -> String {
    let stream = path::SESSION_STREAM.replace("{session}", "first-steps");
    format!(
        "Examples:\n  \
        threadkeep materialize session.json | jq .messages\n  \
        curl -s http://127.0.0.1:4000{stream} | threadkeep materialize -"
    )
}

/// Runs `threadkeep materialize`.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    if args.input.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(&args.input)
            .with_context(|| format!("cannot read {}", args.input.display()))?;
    }
    let items: Value = serde_json::from_slice(&bytes)
        .context("the input is not JSON; expected an array of stream items")?;
    let Value::Array(items) = items else {
        bail!("the input is not a JSON array of stream items");
    };
    let session = session_protocol::materialize(&items);
    let mut out = std::io::stdout().lock();
    let json = serde_json::to_string_pretty(&session).context("cannot write the result")?;
    writeln!(out, "{}", clean_json(&json)).context("cannot write the result")
}
