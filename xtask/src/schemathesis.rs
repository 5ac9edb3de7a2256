//! `cargo xtask test --schemathesis`: requests made up from the server's OpenAPI document; none may
//! be answered by 5xx.
//!
//! Schemathesis comes from PyPI into a virtual environment under `target/schemathesis`, the first
//! time. The server is the headless binary, with a token, on a free port.

use crate::python;
use crate::step::{Failure, cargo, step, target_dir};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PACKAGE: &str = "schemathesis==4.32.5";
const TOKEN: &str = "made-up-for-this-run";

/// Installs schemathesis, starts a server and lets it be tried.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let folder = target_dir().join("schemathesis");
    let program = python::environment(&folder.join("venv"), &[PACKAGE])?
        .join("st")
        .with_extension(std::env::consts::EXE_EXTENSION);
    step("Build the headless binary", &mut cargo(&["build", "-p", "threadkeep-cli"]))?;
    let data = folder.join("data");
    std::fs::remove_dir_all(&data).ok();
    std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let (server, url) = start(&data)?;
    let result = step(
        "Schemathesis: no request is answered by 5xx",
        Command::new(program)
            .args(["run", &format!("{url}/openapi.json"), "--checks", "not_a_server_error"])
            .args(["-H", &format!("Authorization: Bearer {TOKEN}"), "--continue-on-failure"])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "50"])
            // A read that follows is answered late, not never.
            .args(["--request-timeout", "60", "--suppress-health-check", "all"])
            .args(["--warnings", "off"])
            .current_dir(&folder),
    );
    drop(server);
    result
}

/// A server process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start(data: &Path) -> Result<(Running, String), Failure> {
    let log = data.join("server.log");
    let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let binary =
        target_dir().join("debug/threadkeep").with_extension(std::env::consts::EXE_EXTENSION);
    let mut child = Command::new(&binary)
        .args(["serve", "--listen", "127.0.0.1:0", "--auth", "token", "--rate-limit", "0"])
        .arg("--data-dir")
        .arg(data.join("sessions"))
        .env("THREADKEEP_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", binary.display()))?;
    let out = child.stdout.take().ok_or("the server has no output")?;
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).map_err(|error| format!("the server: {error}"))?;
    let url = line.trim().strip_prefix("listening on ");
    let url = url.ok_or_else(|| format!("the server did not start; see {}", log.display()))?;
    Ok((running, url.to_owned()))
}
