//! The server under attack: a process of its own, which is started again when it falls.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Signs of a panic in what the server logs.
const PANIC: &str = "panicked at";

pub struct Server {
    process: Mutex<Child>,
    ended: AtomicBool,
    command: Mutex<Command>,
    pub address: SocketAddr,
    pub folder: PathBuf,
}

/// Ends the server with the value, whoever else holds it.
pub struct Running(pub Arc<Server>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        let mut process = self.0.process.lock().unwrap();
        process.kill().ok();
        process.wait().ok();
    }
}

impl Server {
    /// Starts the binary of `THREADKEEP_BIN` on a free port, with its data and its log in `folder`.
    pub fn start(folder: &Path, token: &str, more: &[&str]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fs::create_dir_all(folder).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("server.log"));
        let mut command = Command::new(std::env::var_os("THREADKEEP_BIN").unwrap());
        command.args(["serve", "--auth", "token", "--listen", &free.to_string(), "--data-dir"]);
        command.arg(folder.join("data")).args(more);
        command.env("THREADKEEP_TOKEN", token).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.unwrap());
        let process = Mutex::new(listening(&mut command));
        let command = Mutex::new(command);
        let ended = AtomicBool::new(false);
        Self { process, ended, command, address: free, folder: folder.to_owned() }
    }

    /// Ends it without a warning, and starts it on the same folder and port.
    pub fn restart(&self) {
        self.restart_with(|| {});
    }

    /// As [`restart`](Self::restart), with something that is done to the folder meanwhile.
    pub fn restart_with(&self, meanwhile: impl FnOnce()) {
        let mut process = self.process.lock().unwrap();
        if self.has_ended() {
            return;
        }
        process.kill().ok();
        process.wait().ok();
        meanwhile();
        *process = listening(&mut self.command.lock().unwrap());
    }

    /// It is not wanted any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub fn is_dead(&self) -> bool {
        !matches!(self.process.lock().unwrap().try_wait(), Ok(None))
    }

    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().id()
    }

    /// Memory in use now and at most since [`forget_peak`](Self::forget_peak), in MB.
    pub fn memory(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kb.unwrap_or_default() / 1024.0
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").ok();
    }

    /// Processor time that it took so far, in clock ticks.
    pub fn ticks(&self) -> u64 {
        ticks_of(&format!("/proc/{}/stat", self.pid()))
    }

    /// Lines of the log that tell of a panic.
    pub fn panics(&self) -> Vec<String> {
        let log = fs::read(self.folder.join("server.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(PANIC)).map(str::to_owned).collect()
    }
}

/// User and system time of a process.
pub fn ticks_of(stat: &str) -> u64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let behind_name = text.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
}

fn listening(command: &mut Command) -> Child {
    let mut process = command.spawn().expect("THREADKEEP_BIN starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "the server did not start: {line}");
    process
}
