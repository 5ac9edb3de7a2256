//! `cargo xtask test --agents`: agents that people run, against a model server that has no model.
//!
//! OpenCode and Qwen Code come from npm, in a folder of their own, with their versions pinned: they
//! change every week. `xtask/agents/model.mjs` is their model.

use crate::step::{Failure, cargo, root, step, target_dir};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const PACKAGES: [&str; 2] = ["opencode-ai@1.18.33", "@qwen-code/qwen-code@0.15.10"];

/// Installs the agents, starts the model server, and runs the tests that need them.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let folder = target_dir().join("agents");
    std::fs::create_dir_all(&folder).map_err(|error| format!("no folder for agents: {error}"))?;
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    step(
        "OpenCode and Qwen Code from npm",
        Command::new(npm)
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&folder)
            .args(PACKAGES),
    )?;
    let mut model = Command::new("node")
        .arg(root().join("xtask/agents/model.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("node cannot be started: {error}"))?;
    let lines = BufReader::new(model.stdout.take().ok_or("the model has no output")?).lines();
    let mut ready = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
    let result = match ready.next() {
        Some(url) => step(
            "Agents that people run, killed and answered",
            cargo(&["test", "-p", "threadkeep-cli", "--test", "real_agents", "--"])
                .args(["--ignored", "--nocapture", "--test-threads", "1"])
                .env("THREADKEEP_TEST_MODEL", url)
                .env("THREADKEEP_TEST_AGENTS", folder.join("node_modules/.bin")),
        ),
        None => Err("the model server did not start".to_owned()),
    };
    // It ends when its input does.
    drop(model.stdin.take());
    model.wait().ok();
    result
}
