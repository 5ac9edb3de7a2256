//! What stands around sessions, as somebody at a terminal uses it: backups, checks of the computer, links, secrets,
//! completions, and exports of everything.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A secret of a shape that is known, made here so that no scanner takes this file for a leak.
fn secret() -> String {
    ["ghp_", "Qz7Lm2Xc9Vb4Nk8Hj3Wd6Rt1Yp5Sf0Ga2BeK"].concat()
}

fn threadkeep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadkeep"));
    command.args(arguments).stdin(Stdio::null());
    for name in [
        "THREADKEEP_TOKEN",
        "THREADKEEP_URL",
        "THREADKEEP_ACTOR",
        "THREADKEEP_PASSPHRASE",
        "RUST_LOG",
        "DISPLAY",
        "WAYLAND_DISPLAY",
    ] {
        command.env_remove(name);
    }
    command
}

fn run(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs a command that must succeed; its output.
fn done(command: Command) -> String {
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{err}");
    out
}

/// Runs a command that must fail; what it says.
fn refused(command: Command) -> String {
    let (code, _, err) = run(command);
    assert_eq!(code, 1, "{err}");
    err
}

/// `threadkeep serve` on a free port; ends with the value.
struct Server {
    url: String,
    process: Child,
}

impl Server {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = threadkeep(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            folder.to_str().unwrap(),
        ]);
        let mut process =
            command.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(process.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        let url =
            line.trim().strip_prefix("listening on ").expect("it says where it listens").to_owned();
        Self { url, process }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = threadkeep(arguments);
        command.env("THREADKEEP_URL", &self.url).env("THREADKEEP_ACTOR", "ana");
        command
    }

    fn say(&self, session: &str, words: &str) {
        done(self.command(&["send", "--agent", "demo", "--wait", session, words]));
    }

    fn messages(&self, session: &str) -> Value {
        let text = done(self.command(&["export", session, "--format", "json"]));
        serde_json::from_str::<Value>(&text).unwrap()["messages"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok(); // it may have ended
        self.process.wait().ok();
    }
}

#[test]
fn a_backup_of_a_running_server_has_everything_and_is_put_elsewhere() {
    let (data, other, out) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(data.path(), &[]);
    server.say("first", "long 20");
    server.say("second", "Hello");
    let before = [server.messages("first"), server.messages("second")];
    let file = out.path().join("all.threadkeep-backup");
    let (file, here, there) =
        (file.to_str().unwrap(), data.path().to_str().unwrap(), other.path().to_str().unwrap());
    done(threadkeep(&["backup", "--data-dir", here, file]));
    assert!(refused(threadkeep(&["backup", "--data-dir", here, file])).contains("--overwrite"));
    assert!(
        refused(threadkeep(&["restore", "--data-dir", here, "--replace", file]))
            .contains("works in")
    );
    let (code, _, says) = run(threadkeep(&["restore", "--check", file]));
    assert!(code == 0 && says.contains("whole"), "{says}");
    done(threadkeep(&["restore", "--data-dir", there, file]));
    let again = Server::start(other.path(), &[]);
    assert_eq!([again.messages("first"), again.messages("second")], before);
    // It is a server like any other.
    again.say("first", "Hello again");
    drop(again);
    assert!(refused(threadkeep(&["restore", "--data-dir", there, file])).contains("--replace"));
    done(threadkeep(&["restore", "--data-dir", there, "--replace", file]));
    assert_eq!(Server::start(other.path(), &[]).messages("first"), before[0]);
}

#[test]
fn every_session_is_written_to_a_file_of_its_own_and_secrets_are_chosen_one_by_one() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(data.path(), &[]);
    server.say("a", "Same words");
    server.say("b", "Same words");
    server.say("c", &format!("a token {} here", secret()));
    let folder = out.path().join("chats");
    let folder = folder.to_str().unwrap();
    for _ in 0..2 {
        done(server.command(&["export", "--all", "--out", folder]));
        let names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(
            names.iter().all(|name| name.starts_with("20") && name.ends_with(".md")),
            "{names:?}"
        );
        for name in &names {
            assert!(!fs::read_to_string(Path::new(folder).join(name)).unwrap().contains(&secret()));
        }
    }
    let none = out.path().join("none");
    done(server.command(&[
        "export",
        "--all",
        "--until",
        "2020-01-01",
        "--out",
        none.to_str().unwrap(),
    ]));
    assert_eq!(fs::read_dir(&none).unwrap().count(), 0);

    let listed = done(server.command(&["export", "c", "--review"]));
    let line = listed.lines().find(|line| line.contains("a GitHub token")).unwrap();
    assert!(
        line.contains("\thidden\t")
            && line.contains("a token ghp_…2BeK here")
            && !listed.contains(&secret()),
        "{listed}"
    );
    let id = line.split('\t').next().unwrap();
    for form in ["markdown", "html", "json", "raw"] {
        let kept = done(server.command(&["export", "c", "--format", form, "--keep", id]));
        assert!(kept.contains(&secret()), "{form}");
    }
}

#[test]
fn the_doctor_says_what_is_wrong_and_nothing_private() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let folder = data.path().to_str().unwrap();
    let ask = |more: &[&str]| {
        let mut command = threadkeep(&["doctor", "--data-dir", folder, "--url", &server.url]);
        command.args(more).env("THREADKEEP_TOKEN", secret()).env("THREADKEEP_MODEL_KEY", secret());
        // A bus that nobody serves.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus");
        run(command)
    };
    let (code, text, _) = ask(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("server: it answers") && text.contains("a session server works"),
        "{text}"
    );
    for private in [secret().as_str(), folder, &server.url, env!("CARGO_MANIFEST_DIR")] {
        assert!(!text.contains(private), "{private} in {text}");
    }
    let (_, json, _) = ask(&["--json"]);
    let told: Value = serde_json::from_str(&json).unwrap();
    let state = |name: &str| {
        let checks = told["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"] == name)
            .map(|check| check["state"].clone())
            .unwrap()
    };
    assert_eq!(state("data folder"), "ok");
    assert_eq!(state("loopback"), "ok");
    if cfg!(target_os = "linux") {
        assert_eq!(state("session bus"), "warning");
    }
    // What is broken is told by the exit code, too.
    let gone = threadkeep(&["doctor", "--data-dir", folder, "--url", "http://127.0.0.1:1"]);
    let (code, text, _) = run(gone);
    assert!(code == 1 && text.contains("broken   server"), "{text}");
}

#[test]
fn a_link_is_opened_here_and_a_strangers_server_is_asked_about() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    server.say("s", "Hello there");
    let here = done(server.command(&["open", "threadkeep://open?session=s"]));
    assert!(here.contains("Hello there"), "{here}");
    let link = format!(
        "threadkeep://open?session=s&server={}",
        server.url.replace(':', "%3A").replace('/', "%2F")
    );
    assert!(done(server.command(&["open", &link])).contains("Hello there"));
    // Another server than the one that is used: asked about, and not without a terminal.
    let says = refused(threadkeep(&["open", &link]));
    assert!(says.contains("not a server that you use"), "{says}");
    let mut trusted = threadkeep(&["open", "--yes", &link]);
    trusted.env("THREADKEEP_TOKEN", secret());
    assert!(done(trusted).contains("Hello there"));
    for bad in [
        "https://x.example",
        "threadkeep://run?x=1",
        "threadkeep://open",
        "threadkeep://open?session=s&server=file%3A%2F%2Fx",
    ] {
        assert_eq!(refused(server.command(&["open", bad])).lines().count(), 1, "{bad}");
    }
    let invitation = format!("threadkeep://join?token={}&server=https%3A%2F%2Fx.example", secret());
    let (code, out, err) = run(server.command(&["open", "--yes", &invitation]));
    assert!(code == 0 && !format!("{out}{err}").contains(&secret()), "{err}");
}

#[test]
fn a_token_goes_to_no_server_that_a_link_names() {
    // A server that keeps what it is sent.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let count = std::io::Read::read(&mut stream, &mut bytes).unwrap();
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    });
    let mut command = threadkeep(&[
        "open",
        "--yes",
        &format!("threadkeep://open?session=s&server=http%3A%2F%2F127.0.0.1%3A{port}"),
    ]);
    command.env("THREADKEEP_TOKEN", secret());
    refused(command);
    let heard = heard.join().unwrap();
    assert!(
        heard.starts_with("GET ")
            && !heard.contains(&secret())
            && !heard.to_lowercase().contains("authorization"),
        "{heard}"
    );
}

/// Runs a command with something on standard input.
fn fed(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_key_in_the_file_of_secrets_reaches_the_model_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let with = |arguments: &[&str], passphrase: &str| {
        let mut command = threadkeep(arguments);
        command.args(["--data-dir", folder]);
        if !passphrase.is_empty() {
            command.env("THREADKEEP_PASSPHRASE", passphrase);
        }
        command
    };
    let phrase = "correct horse battery";
    let (code, out, err) =
        fed(with(&["secrets", "set", "model-key"], phrase), &format!("{}\n", secret()));
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert_eq!(done(with(&["secrets", "list"], phrase)), "model-key\n");
    assert!(refused(with(&["secrets", "list"], "another passphrase")).contains("does not open"));
    assert!(refused(with(&["secrets", "list"], "")).contains("THREADKEEP_PASSPHRASE"));
    assert!(!fs::read_to_string(data.path().join("secrets.sealed")).unwrap().contains(&secret()));

    // A model that keeps the headers it is sent.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let model = format!("http://127.0.0.1:{}/v1", listener.local_addr().unwrap().port());
    let (told, headers) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut bytes = [0; 8192];
            let count = std::io::Read::read(&mut stream, &mut bytes).unwrap_or(0);
            told.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).ok(); // the test may be over
            stream
                .write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .ok();
        }
    });
    let phrases = data.path().join("phrase");
    fs::write(&phrases, format!("{phrase}\n")).unwrap();
    let server = Server::start(
        data.path(),
        &["--model-url", &model, "--model", "m", "--passphrase-file", phrases.to_str().unwrap()],
    );
    run(server.command(&["send", "--agent", "model", "s", "Hello"]));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let heard = headers
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .expect("the model is asked");
        if heard.contains(&secret()) {
            break;
        }
    }
    assert!(
        !done(server.command(&["export", "s", "--format", "raw", "--with-secrets"]))
            .contains(&secret())
    );

    done(with(&["secrets", "remove", "model-key"], phrase));
    assert_eq!(done(with(&["secrets", "list"], phrase)), "");
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = done(threadkeep(&["completions", shell]));
        for word in ["serve", "backup", "doctor", "import", "--data-dir"] {
            assert!(text.contains(word.trim_start_matches("--")), "{shell}: {word}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    done(threadkeep(&["man", folder.path().to_str().unwrap()]));
    for page in
        ["threadkeep.1", "threadkeep-serve.1", "threadkeep-backup.1", "threadkeep-token-create.1"]
    {
        let text = fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
}
