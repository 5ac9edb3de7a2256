//! `cargo xtask test --live`: the model agent against a model server that people run.
//!
//! llama.cpp's server comes from PyPI as a wheel, and needs no download of a model:
//! `xtask/live/tiny_model.py` writes one of half a megabyte. What it says makes no sense; how it
//! says it is what is tried.

use crate::python;
use crate::step::{Failure, cargo, root, step, target_dir};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

const PACKAGES: [&str; 3] = ["xllamacpp==2026.10.11549", "gguf==0.19.0", "numpy==2.4.6"];

/// Installs and starts the server, and runs the tests that need it.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let folder = target_dir().join("live");
    let python = python::environment(&folder.join("venv"), &PACKAGES)?
        .join("python")
        .with_extension(std::env::consts::EXE_EXTENSION);
    let scripts = root().join("xtask/live");
    let model = folder.join("tiny.gguf");
    step("Write a model", Command::new(&python).arg(scripts.join("tiny_model.py")).arg(&model))?;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = port.map_err(|error| format!("no free port: {error}"))?.port();
    let mut server = Command::new(&python)
        .arg(scripts.join("llama_server.py"))
        .arg(&model)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("llama.cpp's server cannot be started: {error}"))?;
    let lines = BufReader::new(server.stdout.take().ok_or("the server has no output")?).lines();
    let mut ready = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("listening on ").map(|url| url.trim().to_owned()));
    let result = match ready.next() {
        Some(url) => step(
            "The model agent with llama.cpp's server",
            cargo(&["test", "-p", "threadkeep-cli", "--test", "live", "--", "--ignored"])
                .env("THREADKEEP_MODEL_SERVER", url),
        ),
        None => Err("llama.cpp's server did not start".to_owned()),
    };
    // It ends when its input does.
    drop(server.stdin.take());
    server.wait().ok();
    result
}
