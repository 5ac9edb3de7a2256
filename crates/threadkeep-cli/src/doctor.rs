//! `threadkeep doctor`: what on this computer may keep Threadkeep from working, and what to do.
//!
//! What is printed is made to be pasted into a report: no address of a person's folder, no name of
//! a person, no value of a variable and nothing of any session stands in it (L11).

mod bus;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use session_core::{ClientError, Endpoint, SessionClient};
use url::Url;

use crate::folders;

/// Bytes of free disk under which a data folder is in trouble, and under which it will be soon.
const LITTLE: (u64, u64) = (200 << 20, 2 << 30);
/// Time that anything on this computer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Programs that are agents, or start some.
const AGENTS: [&str; 11] = [
    "claude",
    "claude-agent-acp",
    "codex",
    "codex-acp",
    "gemini",
    "qwen",
    "opencode",
    "goose",
    "copilot",
    "node",
    "npx",
];

/// Check this computer, and say what to do about what is wrong.
///
/// Looks at the data folder, its locks and its disk, the keychain, notifications, ports, the
/// certificates, the server and the programs of agents. Nothing is changed and nothing is sent
/// anywhere but to the server of --url. What is printed has nothing private in it. Ends with 1 when
/// something is broken.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep doctor\n  \
    threadkeep doctor --json --data-dir ~/sessions --url http://127.0.0.1:4000")]
pub(crate) struct Args {
    /// Data folder of a server; that of the app if absent.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Session server to ask; none if absent.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// State of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Something is missing that is not needed.
    Warning,
    /// Something does not work.
    Broken,
}

/// A thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    /// Name of the thing.
    name: &'static str,
    /// State of it.
    state: State,
    /// Sentence for the person.
    says: String,
    /// Sentence that says what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<&'static str>,
}

impl Check {
    fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, state: State::Ok, says: says.into(), todo: None }
    }

    fn warning(name: &'static str, says: impl Into<String>, todo: &'static str) -> Self {
        Self { name, state: State::Warning, says: says.into(), todo: Some(todo) }
    }

    fn broken(name: &'static str, says: impl Into<String>, todo: &'static str) -> Self {
        Self { name, state: State::Broken, says: says.into(), todo: Some(todo) }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            State::Ok => "ok     ",
            State::Warning => "warning",
            State::Broken => "broken ",
        };
        write!(f, "{word}  {}: {}", self.name, self.says)?;
        self.todo.map_or(Ok(()), |todo| write!(f, "\n         {todo}"))
    }
}

/// Everything that is known.
#[derive(Serialize)]
struct Told {
    version: &'static str,
    system: String,
    checks: Vec<Check>,
}

/// Runs the command. `true`: nothing is broken.
pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let folder = args.data_dir.or_else(folders::app);
    let mut checks = Vec::new();
    match &folder {
        Some(folder) => checks.extend([data_folder(folder), locks(folder), disk(folder)]),
        None => checks.push(Check::broken(
            "data folder",
            "this person has no home folder",
            "Set HOME, or give a folder by --data-dir.",
        )),
    }
    let buses = tokio::task::spawn_blocking(|| bus::ask(PATIENCE));
    checks.extend(buses.await?);
    checks.extend([loopback(), port(4000), certificates()]);
    if let Some(url) = args.url {
        checks.push(server(url).await);
    }
    checks.push(agents(std::env::var_os("PATH").unwrap_or_default().as_os_str()));
    let told = Told { version: env!("CARGO_PKG_VERSION"), system: system(), checks };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        println!("threadkeep {} on {}", told.version, told.system);
        told.checks.iter().for_each(|check| println!("{check}"));
    }
    Ok(told.checks.iter().all(|check| check.state != State::Broken))
}

/// The system, and how the desktop is there.
fn system() -> String {
    let is = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut words = vec![std::env::consts::OS.to_owned(), std::env::consts::ARCH.to_owned()];
    let name = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = name.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    words.extend(name.map(|name| name.trim_matches('"').to_owned()));
    for (name, word) in [
        ("WAYLAND_DISPLAY", "Wayland"),
        ("DISPLAY", "X11"),
        ("FLATPAK_ID", "Flatpak"),
        ("APPIMAGE", "AppImage"),
        ("SSH_CONNECTION", "over SSH"),
    ] {
        if is(name) {
            words.push(word.to_owned());
        }
    }
    if cfg!(target_os = "linux") && !is("WAYLAND_DISPLAY") && !is("DISPLAY") {
        words.push("no display".to_owned());
    }
    words.join(", ")
}

fn data_folder(folder: &Path) -> Check {
    const NAME: &str = "data folder";
    let Ok(meta) = fs::metadata(folder) else {
        return Check::ok(NAME, "not there yet; it is made at the first start");
    };
    if !meta.is_dir() {
        return Check::broken(NAME, "a file is in its place", "Move that file away.");
    }
    if tempfile::tempfile_in(folder).is_err() {
        let todo = "Make it writable for yourself (chown, chmod), or free the disk.";
        return Check::broken(NAME, "nothing can be written there", todo);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let open = |path: &Path| {
            fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
        };
        let secret = folders::FILES
            .iter()
            .filter(|file| file.ends_with(".key") || file.ends_with(".sealed"));
        if secret.into_iter().any(|file| open(&folder.join(file))) {
            let todo = "Close it: chmod -R go-rwx on the data folder.";
            return Check::broken(NAME, "others on this computer can read the keys in it", todo);
        }
    }
    Check::ok(NAME, "there, and can be written")
}

fn locks(folder: &Path) -> Check {
    match folders::workers(folder).as_slice() {
        [] => Check::ok("locks", "nothing works in the data folder now"),
        workers => {
            Check::ok("locks", format!("{} works in the data folder", workers.join(" and ")))
        }
    }
}

fn disk(folder: &Path) -> Check {
    const NAME: &str = "disk";
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let Some(free) = free_bytes(there) else {
        return Check::ok(NAME, "the free space cannot be asked for on this system");
    };
    let says = format!("{} MiB are free for the data folder", free >> 20);
    let todo = "Free some space: under 200 MiB nothing more is written.";
    match free {
        free if free < LITTLE.0 => Check::broken(NAME, says, todo),
        free if free < LITTLE.1 => Check::warning(NAME, says, todo),
        _ => Check::ok(NAME, says),
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

fn loopback() -> Check {
    const NAME: &str = "loopback";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let reached =
        listener.and_then(|listener| TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE));
    match reached {
        Ok(_) => Check::ok(NAME, "programs of this computer reach each other"),
        Err(_) => Check::broken(
            NAME,
            "a port on 127.0.0.1 cannot be opened and reached",
            "Bring up the loopback interface, and let a firewall or sandbox allow it.",
        ),
    }
}

/// The port that `threadkeep serve` takes when nothing is said.
fn port(port: u16) -> Check {
    const NAME: &str = "port 4000";
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(NAME, "free for `threadkeep serve`"),
        Err(_) => Check::warning(
            NAME,
            "another program has it, perhaps a server of ours",
            "Give `threadkeep serve` another one by --listen. The app takes a free one by itself.",
        ),
    }
}

fn certificates() -> Check {
    const NAME: &str = "certificates";
    // A client that trusts nobody cannot be made.
    match reqwest::Client::builder().build() {
        Ok(_) => Check::ok(NAME, "servers and models behind HTTPS can be trusted"),
        Err(_) => Check::broken(
            NAME,
            "this computer trusts no certificates, so nothing behind HTTPS can be reached",
            "Install the package ca-certificates.",
        ),
    }
}

async fn server(url: Url) -> Check {
    const NAME: &str = "server";
    let Ok(client) = SessionClient::new(Endpoint::open(url), PATIENCE) else {
        return Check::broken(
            NAME,
            "its address cannot be used",
            "Give http:// or https://, a host and a port.",
        );
    };
    match client.patient(PATIENCE).me().await {
        Ok(_) => Check::ok(NAME, "it answers, and asks for no token"),
        Err(ClientError::Refused { status, .. }) if matches!(status.as_u16(), 401 | 403) => {
            Check::ok(NAME, "it answers, and asks for a token")
        }
        Err(ClientError::Refused { status, .. }) => Check::warning(
            NAME,
            format!("it answers HTTP {}", status.as_u16()),
            "Is it a Threadkeep session server, of a version like this one?",
        ),
        Err(ClientError::NoCertificates) => Check::broken(
            NAME,
            "it cannot be reached without certificates",
            "Install the package ca-certificates.",
        ),
        Err(ClientError::Silent { .. }) => Check::broken(
            NAME,
            "it does not answer in three seconds",
            "Look at the server's log, and at the way to it.",
        ),
        Err(_) => Check::broken(
            NAME,
            "it cannot be reached",
            "Is it running? `threadkeep serve` starts one. Check the address, and a firewall in between.",
        ),
    }
}

/// The programs of agents that are on the path.
fn agents(path: &std::ffi::OsStr) -> Check {
    const NAME: &str = "agents";
    let found = |program: &&str| {
        std::env::split_paths(path).any(|folder| {
            ["", ".exe", ".cmd"]
                .iter()
                .any(|end| is_program(&folder.join(format!("{program}{end}"))))
        })
    };
    let there: Vec<&str> = AGENTS.iter().copied().filter(|program| found(program)).collect();
    if there.is_empty() {
        return Check::warning(
            NAME,
            "no program of an agent that is known is on the path",
            "Install one, or start the app from a shell whose PATH has it. The demo agent and models need none.",
        );
    }
    Check::ok(NAME, format!("on the path: {}", there.join(", ")))
}

fn is_program(path: &Path) -> bool {
    let Ok(meta) = fs::metadata(path) else { return false };
    #[cfg(unix)]
    let runs = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let runs = true;
    meta.is_file() && runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_told_by_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(data_folder(&folder.path().join("none")).state, State::Ok);
        assert_eq!(data_folder(folder.path()).state, State::Ok);
        fs::write(folder.path().join("server.key"), "key").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = folder.path().join("server.key");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(data_folder(folder.path()).state, State::Broken);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(data_folder(folder.path()).state, State::Ok);
        assert_eq!(data_folder(&folder.path().join("server.key")).state, State::Broken);
        let lock = fs::File::create(folder.path().join("server.lock")).unwrap();
        lock.lock().unwrap();
        assert!(locks(folder.path()).says.contains("a session server works"));
    }

    #[test]
    fn agents_are_found_on_the_path_when_they_can_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(agents(folder.path().as_os_str()).state, State::Warning);
        let file = folder.path().join("gemini");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(agents(folder.path().as_os_str()).state, State::Warning);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(agents(folder.path().as_os_str()).says, "on the path: gemini");
    }

    #[test]
    fn a_full_port_and_a_free_one_are_told_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        assert_eq!(port(taken).state, State::Warning);
        drop(listener);
        assert_eq!(port(taken).state, State::Ok);
        assert_eq!(loopback().state, State::Ok);
    }
}
