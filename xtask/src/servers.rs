//! `cargo xtask test --servers`: the stream client against servers that others wrote.
//!
//! The servers are installed from crates.io into `target/servers`, which takes minutes the first
//! time, and run on free loopback ports with their data in `target/servers/data`. `XTASK_URSULA`
//! and `XTASK_DURABLE_STREAMS` name binaries to use instead of installed ones.

use crate::step::{Failure, cargo, skip, step, target_dir};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server of crates.io.
struct Server {
    /// The server's crate, at a version that the suite is known to pass with.
    package: &'static str,
    version: &'static str,
    binary: &'static str,
    /// The variable that names a binary to use instead.
    instead: &'static str,
    /// The path below which its streams are.
    path: &'static str,
}

const DURABLE_STREAMS: Server = Server {
    package: "durable-streams",
    version: "0.1.5",
    binary: "durable-streams-server",
    instead: "XTASK_DURABLE_STREAMS",
    path: "/",
};

const URSULA: Server = Server {
    package: "ursula",
    version: "0.11.5",
    binary: "ursula",
    instead: "XTASK_URSULA",
    // A bucket; it is there once a stream is.
    path: "/suite/",
};

/// Time that a server may take to serve.
const START: Duration = Duration::from_secs(60);

/// The tests that take any server.
const SUITE: &[&str] = &["plain::", "producing::", "faults::", "--nocapture"];

/// Installs the servers and runs the suite against each.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let started = Instant::now();
    let durable_streams = DURABLE_STREAMS.install()?;
    let ursula = URSULA.install()?;
    DURABLE_STREAMS.suite(|port, data| {
        let mut command = Command::new(&durable_streams);
        command.args(["--host", "127.0.0.1", "--port"]).arg(port.to_string());
        command.arg("--data-dir").arg(data);
        Ok(command)
    })?;
    URSULA.suite(|port, data| {
        let config = data.join("ursula.toml");
        let admin = free_port()?;
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\
             [runtime]\ncore_count = 2\ncpu_affinity = false\n[raft]\nnode_id = 1\ngroup_count = 4\n"
        );
        std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut command = Command::new(&ursula);
        command.arg("server").arg("--config").arg(config);
        Ok(command)
    })?;
    step(
        "Three nodes of ursula, whose leader is killed in mid-stream",
        test(&["cluster::", "--ignored", "--nocapture"]).env("DURABLE_STREAM_URSULA", &ursula),
    )?;
    println!("── The client passed with all servers in {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

fn test(filters: &[&str]) -> Command {
    let mut test = cargo(&["test", "-p", "durable-stream", "--test", "it", "--"]);
    test.args(filters);
    test
}

impl Server {
    /// The path of its binary, which is installed if it is missing or of another version.
    fn install(&self) -> Result<PathBuf, Failure> {
        let title = format!("Install {} {}", self.package, self.version);
        if let Some(binary) = std::env::var_os(self.instead) {
            skip(&title, &format!("{} names one", self.instead));
            return Ok(binary.into());
        }
        let root = folder();
        let binary =
            root.join("bin").join(self.binary).with_extension(std::env::consts::EXE_EXTENSION);
        let record = std::fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
        if record.contains(&format!("\"{} {} ", self.package, self.version)) && binary.exists() {
            skip(&title, &format!("it is in {}", root.display()));
            return Ok(binary);
        }
        // What is built stays until all is: an install that was interrupted goes on.
        let build = root.join("build").join(self.package);
        let mut install = cargo(&["install", "--locked", "--debug", "--root"]);
        install.arg(&root).arg("--target-dir").arg(&build);
        install.arg("--version").arg(format!("={}", self.version)).arg(self.package);
        step(&format!("{title} (minutes, the first time)"), &mut install)?;
        // It only takes room from here on.
        std::fs::remove_dir_all(build).ok();
        Ok(binary)
    }

    /// Runs the suite against one process, which `start` makes the command of.
    fn suite(
        &self,
        start: impl FnOnce(u16, &Path) -> Result<Command, Failure>,
    ) -> Result<(), Failure> {
        let data = folder().join("data").join(self.package);
        // What an earlier run may have left.
        std::fs::remove_dir_all(&data).ok();
        let io = |error| format!("{}: {error}", data.display());
        std::fs::create_dir_all(&data).map_err(io)?;
        let port = free_port()?;
        let mut command = start(port, &data)?;
        let log = data.join("server.log");
        let file = File::create(&log).map_err(io)?;
        // What it would leave in the system's folder for temporary files goes with the rest.
        command.env("TMPDIR", &data);
        command.stdin(Stdio::null()).stderr(file.try_clone().map_err(io)?).stdout(file);
        println!("── Start {} on 127.0.0.1:{port}", self.binary);
        let child = command
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", self.binary))?;
        let mut running = Running(child);
        running.wait_until_it_serves(port, &format!("{}ready", self.path)).map_err(|error| {
            format!("{} {error}; what it printed is in {}", self.binary, log.display())
        })?;
        step(
            &format!("The client's suite against {} {}", self.package, self.version),
            test(SUITE)
                .env("DURABLE_STREAM_SERVER", format!("http://127.0.0.1:{port}{}", self.path)),
        )?;
        drop(running);
        std::fs::remove_dir_all(&data).map_err(io)
    }
}

/// A server process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    /// Tries to create a stream until that works.
    fn wait_until_it_serves(&mut self, port: u16, path: &str) -> Result<(), Failure> {
        let started = Instant::now();
        while !creates(port, path).unwrap_or(false) {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("ended at its start ({status})"));
            }
            if started.elapsed() > START {
                return Err(format!("did not serve within {} s", START.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("   serves after {:.1} s", started.elapsed().as_secs_f32());
        Ok(())
    }
}

fn creates(port: u16, path: &str) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        connection,
        "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 20"))
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|error| format!("there is no free port: {error}"))
}

fn folder() -> PathBuf {
    target_dir().join("servers")
}
