//! The client from outside: a server over HTTP that breaks off and forgets, and published servers.

#![allow(missing_docs, clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod http;
mod published;

use std::time::Duration;

use mcp::{Block, Call, CallEvent, CallResult, Client, Error, Outcome, Target};
use rpc_process::Pids;

/// Nothing in these tests takes this long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(60);

async fn connect(target: &Target) -> (Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let pids = Pids::new(dir.path());
    let http = reqwest::Client::new();
    let client = Client::connect(target, &pids, &http, None);
    let client = tokio::time::timeout(DEADLINE, client).await.expect("in time");
    (client.unwrap(), dir)
}

async fn done(mut call: Call) -> Result<CallResult, Error> {
    let over = async {
        loop {
            match call.next().await {
                CallEvent::Done(Ok(Outcome::Done(result))) => return Ok(result),
                CallEvent::Done(Ok(other)) => panic!("{other:?}"),
                CallEvent::Done(Err(error)) => return Err(error),
                CallEvent::Progress { .. } | CallEvent::Asks { .. } => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, over).await.expect("in time")
}

fn words(result: &CallResult) -> String {
    let texts = result.blocks.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
