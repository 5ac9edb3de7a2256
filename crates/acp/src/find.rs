//! Which agents there are on this computer, and which could be.
//!
//! A program that a desktop started has a short `PATH`: what a person installed is where only their shell looks. So the
//! login shell is asked once for its own, and the folders where installers put programs are looked through behind it.
//! Nothing is installed here, and nothing is started but the shell and each program that is found, for its version.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures::future::join_all;
use tokio::{io::AsyncReadExt, process::Command, sync::OnceCell, time::timeout};

/// Time that the login shell has to say its `PATH`.
const SHELL: Duration = Duration::from_secs(2);
/// Time that a program has to say its version.
const VERSION: Duration = Duration::from_secs(4);
/// Bytes of what a program says that are looked at.
const SAID: u64 = 16 << 10;
/// Variables that begin so are this host's own, tokens and keys among them: no program gets them.
const OURS: &str = "THREADKEEP_";
/// Stands around what the shell is asked for: its own files may say anything.
const MARK: &str = "<threadkeep-path>";

/// An agent that is known to speak the protocol, and how it is started and installed.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// A short name.
    pub id: &'static str,
    /// The name that people know it by.
    pub name: &'static str,
    /// The program.
    pub program: &'static str,
    /// The arguments with which it speaks the protocol.
    pub arguments: &'static [&'static str],
    /// The line that installs it.
    pub install: &'static str,
    /// The oldest Node.js that runs it; 0 where it needs none.
    node: u32,
}

const fn known(
    id: &'static str,
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    install: &'static str,
    node: u32,
) -> Known {
    Known { id, name, program, arguments, install, node }
}

/// The agents that are known, the most used first.
pub const KNOWN: &[Known] = &[
    known(
        "claude",
        "Claude Code",
        "claude-agent-acp",
        &[],
        "npm install -g @agentclientprotocol/claude-agent-acp",
        22,
    ),
    known("codex", "Codex", "codex-acp", &[], "npm install -g @agentclientprotocol/codex-acp", 20),
    known("opencode", "OpenCode", "opencode", &["acp"], "npm install -g opencode-ai", 0),
    known("gemini", "Gemini CLI", "gemini", &["--acp"], "npm install -g @google/gemini-cli", 20),
    known("qwen", "Qwen Code", "qwen", &["--acp"], "npm install -g @qwen-code/qwen-code", 20),
    known("kimi", "Kimi Code", "kimi", &["acp"], "npm install -g @moonshot-ai/kimi-code", 22),
    known(
        "copilot",
        "GitHub Copilot",
        "copilot",
        &["--acp", "--stdio"],
        "npm install -g @github/copilot",
        22,
    ),
    known("cline", "Cline", "cline", &["--acp"], "npm install -g cline", 20),
    known("kilo", "Kilo Code", "kilo", &["acp"], "npm install -g @kilocode/cli", 20),
    known("qoder", "Qoder", "qodercli", &["--acp"], "npm install -g @qoder-ai/qodercli", 20),
    known("auggie", "Auggie", "auggie", &["--acp"], "npm install -g @augmentcode/auggie", 20),
    known("pi", "Pi", "pi-acp", &[], "npm install -g pi-acp", 20),
    known("hermes", "Hermes", "hermes", &["acp"], "uv tool install hermes-agent", 0),
];

/// A known agent, and what of it is here.
#[derive(Debug)]
pub struct Found {
    /// The agent.
    pub known: &'static Known,
    /// Its program; `None` when it is not installed.
    pub path: Option<PathBuf>,
    /// What it says its version is.
    pub version: Option<String>,
    /// What else it needs, in a sentence.
    pub needs: Option<String>,
}

impl Found {
    /// The command that starts it, as a shell reads it: with the whole path of the program where it was found.
    pub fn command(&self) -> String {
        let program = match &self.path {
            Some(path) => path.to_string_lossy().into_owned(),
            None => self.known.program.to_owned(),
        };
        let mut words = vec![quoted(&program)];
        words.extend(self.known.arguments.iter().map(|word| (*word).to_owned()));
        words.join(" ")
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Looks for the known agents; those that are installed come first. Takes some seconds at most.
///
/// # Cancel safety
///
/// What was started for it ends.
pub async fn discover() -> Vec<Found> {
    let folders = folders().await;
    let path = joined(&folders);
    let node = match program_in(&folders, "node") {
        Some(node) => version_of(&node, &path).await,
        None => None,
    };
    let node = node.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let (folders, path) = (&folders, &path);
    let looks = KNOWN.iter().map(|known| async move {
        let program = program_in(folders, known.program);
        let version = match &program {
            Some(program) => version_of(program, path).await,
            None => None,
        };
        Found { known, path: program, version, needs: needs(known, node) }
    });
    let mut found = join_all(looks).await;
    found.sort_by_key(|found| found.path.is_none());
    found
}

fn needs(known: &Known, node: Option<u32>) -> Option<String> {
    match node {
        _ if known.node == 0 => None,
        Some(node) if node >= known.node => None,
        Some(node) => Some(format!(
            "It needs Node.js {} or newer; version {node} was found. Update Node.js.",
            known.node
        )),
        None => Some(format!(
            "It needs Node.js {} or newer, which was not found. Install Node.js.",
            known.node
        )),
    }
}

/// The `PATH` for a program, so that it finds what it needs as in its owner's terminal; `None` when this process's own
/// has the program. The folder of the program itself is the first.
///
/// # Cancel safety
///
/// The shell that is asked ends.
pub async fn path_for(program: &OsStr) -> Option<OsString> {
    let is_bare = Path::new(program).components().count() == 1;
    let own: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    if is_bare && program_in(&own, &program.to_string_lossy()).is_some() {
        return None;
    }
    let mut folders = folders().await;
    if let Some(folder) = Path::new(program).parent().filter(|folder| folder.is_absolute()) {
        folders.insert(0, folder.to_owned());
    }
    Some(joined(&folders))
}

/// The folders that programs are looked for in: this process's `PATH`, the login shell's, and those of installers.
async fn folders() -> Vec<PathBuf> {
    static SHELLS: OnceCell<Option<OsString>> = OnceCell::const_new();
    let shells = SHELLS.get_or_init(shells_path).await;
    let own = env::var_os("PATH");
    let said = [own.as_ref(), shells.as_ref()].into_iter().flatten();
    let mut all: Vec<PathBuf> = said.flat_map(env::split_paths).collect();
    all.extend(env::home_dir().iter().flat_map(|home| installers(home)));
    let mut kept: Vec<PathBuf> = Vec::new();
    for folder in all {
        if folder.is_absolute() && !kept.contains(&folder) {
            kept.push(folder);
        }
    }
    kept
}

fn joined(folders: &[PathBuf]) -> OsString {
    // A folder whose name holds the separator cannot be in it.
    let fit = folders.iter().filter(|folder| env::join_paths([folder]).is_ok());
    env::join_paths(fit).unwrap_or_default()
}

/// Folders that installers put programs in.
fn installers(home: &Path) -> Vec<PathBuf> {
    const AT_HOME: [&str; 16] = [
        ".local/bin",
        "bin",
        ".npm-global/bin",
        ".npm/bin",
        ".bun/bin",
        ".deno/bin",
        ".cargo/bin",
        ".volta/bin",
        ".asdf/shims",
        ".local/share/mise/shims",
        ".local/share/pnpm",
        "Library/pnpm",
        ".opencode/bin",
        ".claude/local",
        "AppData/Roaming/npm",
        ".yarn/bin",
    ];
    const OTHERS: [&str; 4] =
        ["/opt/homebrew/bin", "/usr/local/bin", "/snap/bin", "/home/linuxbrew/.linuxbrew/bin"];
    let mut all: Vec<PathBuf> = AT_HOME.iter().map(|folder| home.join(folder)).collect();
    all.extend(OTHERS.iter().map(PathBuf::from));
    // A folder for each version of Node.js, the newest first.
    for versions in [".nvm/versions/node", ".local/share/fnm/node-versions", ".fnm/node-versions"] {
        let entries = std::fs::read_dir(home.join(versions)).into_iter().flatten().flatten();
        let mut entries: Vec<PathBuf> = entries.take(200).map(|entry| entry.path()).collect();
        entries.sort_by_key(|path| std::cmp::Reverse(numbers(&path.to_string_lossy())));
        all.extend(entries.iter().map(|path| path.join("bin")));
        all.extend(entries.iter().map(|path| path.join("installation/bin")));
    }
    all
}

/// The numbers in a name, by which versions are ordered.
fn numbers(name: &str) -> Vec<u64> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// A program in the first folder that has it.
fn program_in(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    let endings = endings();
    let files = folders.iter().flat_map(|folder| {
        endings.iter().map(move |ending| folder.join(format!("{name}{ending}")))
    });
    files.into_iter().find(|file| may_run(file))
}

#[cfg(windows)]
fn endings() -> Vec<String> {
    let all = env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".to_owned());
    all.split(';').filter(|ending| !ending.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(not(windows))]
fn endings() -> Vec<String> {
    vec![String::new()]
}

#[cfg(unix)]
fn may_run(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let about = std::fs::metadata(file);
    about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn may_run(file: &Path) -> bool {
    file.is_file()
}

/// The `PATH` of the login shell; `None` when there is no shell, or it does not say it in time.
#[cfg(unix)]
async fn shells_path() -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty())?;
    let mut command = Command::new(shell);
    // Interactive, because version managers write into the files that only such a shell reads.
    command.args(["-ilc", &format!("printf %s '{MARK}'; printenv PATH; printf %s '{MARK}'")]);
    let said = said(command, SHELL, MARK).await?;
    let mut parts = split(&said, MARK.as_bytes());
    let path = parts.nth(1)?.trim_ascii().to_vec();
    (!path.is_empty()).then(|| OsString::from_vec(path))
}

#[cfg(not(unix))]
async fn shells_path() -> Option<OsString> {
    None // programs of a desktop have the person's own
}

fn split<'a>(text: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.windows(mark.len()).position(|part| part == mark) {
            Some(at) => {
                rest = Some(&text[at + mark.len()..]);
                Some(&text[..at])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}

/// The version in what a program says when it is asked for it.
async fn version_of(program: &Path, path: &OsStr) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").env("PATH", path);
    let said = said(command, VERSION, "").await?;
    version_in(&String::from_utf8_lossy(&said))
}

/// The first word that is a version: numbers with points between them.
fn version_in(said: &str) -> Option<String> {
    let words = said.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '/' | '@'));
    let is_version = |word: &&str| {
        let mut parts = word.split(['.', '-', '+']);
        let mut number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
        number() && number() && word.len() <= 40
    };
    words.map(|word| word.trim_start_matches('v')).find(is_version).map(str::to_owned)
}

/// What a program says on its standard output, until it ends or has said the `mark` twice. It is in a group of its own and
/// does not outlive this.
async fn said(mut command: Command, within: Duration, mark: &str) -> Option<Vec<u8>> {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with(OURS) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().ok()?;
    let out = child.stdout.take()?;
    let group = Group(child.id());
    let mut heard = Vec::new();
    let reads = async {
        let mut out = out.take(SAID);
        loop {
            let read = out.read_buf(&mut heard).await.unwrap_or(0);
            let marks = |heard: &[u8]| split(heard, mark.as_bytes()).skip(1).take(2).count();
            if read == 0 || !mark.is_empty() && marks(&heard) == 2 {
                return;
            }
        }
    };
    let in_time = timeout(within, reads).await.is_ok();
    drop(group);
    child.start_kill().ok(); // it is gone, as a rule
    (in_time || !heard.is_empty()).then_some(heard)
}

/// A group of processes that is killed when it is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self.0.and_then(|pid| i32::try_from(pid).ok())
            && let Some(group) = rustix::process::Pid::from_raw(group)
        {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_whatever_is_said_around_it() {
        for (said, wanted) in [
            ("1.18.33\n", Some("1.18.33")),
            ("qwen v0.15.10 (linux)", Some("0.15.10")),
            ("codex-acp/2.6.0 node-v20.1.0", Some("2.6.0")),
            ("A new version is there!\n0.101.0-beta.2\n", Some("0.101.0-beta.2")),
            ("v22.1.0", Some("22.1.0")),
            ("usage: it [--acp]", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), wanted, "{said}");
        }
    }

    #[test]
    fn a_command_with_odd_letters_is_one_word_to_a_shell() {
        let found = Found {
            known: &KNOWN[3],
            path: Some("/home/ann's own/bin/gemini".into()),
            version: None,
            needs: None,
        };
        assert_eq!(found.command(), r"'/home/ann'\''s own/bin/gemini' --acp");
    }

    #[test]
    fn newer_versions_of_node_are_looked_at_first() {
        let home = tempfile::tempdir().expect("a folder");
        for version in ["v9.1.0", "v22.0.1", "v20.10.0"] {
            std::fs::create_dir_all(home.path().join(".nvm/versions/node").join(version))
                .expect("made");
        }
        let folders = installers(home.path());
        let at = |version: &str| {
            let place =
                folders.iter().position(|folder| folder.to_string_lossy().contains(version));
            place.expect("it is there")
        };
        assert!(at("v22") < at("v20") && at("v20") < at("v9"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_hangs_is_not_waited_for_and_does_not_live_on() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("hangs");
        let pid = folder.path().join("pid");
        let text = format!("#!/bin/sh\nsleep 600 & echo $! > {}\nwait\n", pid.display());
        std::fs::write(&program, text).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made");
        let command = Command::new(&program);
        let heard = said(command, Duration::from_millis(700), "").await;
        assert_eq!(heard, None);
        let pid: u32 =
            std::fs::read_to_string(pid).expect("it ran").trim().parse().expect("a number");
        let stat = format!("/proc/{pid}/stat");
        let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let gone = async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.expect("nothing is left of it");
    }
}
