//! The binary itself, as somebody at a terminal uses it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(20);

fn threadkeep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadkeep"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    for name in ["THREADKEEP_TOKEN", "THREADKEEP_URL", "THREADKEEP_ACTOR", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

async fn run(mut command: Command) -> Run {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let Output { status, stdout, stderr } =
        tokio::time::timeout(DEADLINE, output).await.expect("it ends by itself").unwrap();
    Run {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// How a command ended.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn succeeded(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// The one line that says what went wrong.
    fn failed(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (1, ""), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("threadkeep: "), "{self:?}");
        self.err
    }
}

/// `threadkeep serve` on a free port; ends with the value.
struct Server {
    url: String,
    _process: Child,
}

impl Server {
    async fn start(folder: &Path, more: &[&str], token: Option<&str>) -> Self {
        let mut command = threadkeep(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            folder.to_str().unwrap(),
        ]);
        command.args(more);
        if let Some(token) = token {
            command.env("THREADKEEP_TOKEN", token);
        }
        Self::listening(command).await
    }

    async fn listening(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line =
            tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let url = line.strip_prefix("listening on ").expect("it says where it listens").to_owned();
        Self { url, _process: process }
    }

    /// A command that talks to this server.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = threadkeep(arguments);
        command.env("THREADKEEP_URL", &self.url).env("THREADKEEP_ACTOR", "ana");
        command
    }
}

#[tokio::test]
async fn a_session_is_written_approved_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    let send = ["send", "--agent", "demo", "--wait", "first-steps", "Clean up my reports"];
    let answer = run(server.command(&send)).await.succeeded();
    assert!(answer.contains("delete_file"), "{answer}");
    assert!(answer.contains("threadkeep approve first-steps"), "it says how to go on: {answer}");

    let approved = run(server.command(&["approve", "first-steps", "--first"])).await.succeeded();
    assert!(approved.starts_with("Approved delete_file ("), "{approved}");
    let again = run(server.command(&["approve", "first-steps", "--first"])).await.failed();
    assert!(again.contains("nothing waits for an approval"), "{again}");

    // Followed until the agent has gone on.
    let mut tail = server.command(&["tail", "first-steps"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = tail.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("not really") {
        let read = tokio::time::timeout(DEADLINE, out.read_buf(&mut seen)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
    }
    drop(tail);

    let all = run(server.command(&["tail", "--no-follow", "first-steps"])).await.succeeded();
    assert!(all.contains("Clean up my reports") && all.contains("not really"), "{all}");
    let lines = run(server.command(&["tail", "--no-follow", "--json", "first-steps"])).await;
    for line in lines.succeeded().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }

    let missing = run(server.command(&["tail", "nowhere"])).await.failed();
    assert!(missing.contains("has no session nowhere"), "{missing}");
}

/// A program of a few lines that speaks the Agent Client Protocol, and asks before it answers.
#[cfg(unix)]
const ASKS: &str = r#"
echo "A banner that is no message"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*) echo "{\"id\":$id,\"result\":{\"protocolVersion\":1}}" ;;
    *'"session/new"'*) echo "{\"id\":$id,\"result\":{\"sessionId\":\"one\"}}" ;;
    *'"session/prompt"'*) prompt=$id
      echo '{"id":0,"method":"session/request_permission","params":{"sessionId":"one","toolCall":{"toolCallId":"c","title":"touch it","kind":"execute","rawInput":{"command":"touch it"}},"options":[{"optionId":"ever","name":"Always allow touch","kind":"allow_always"},{"optionId":"no","name":"Reject","kind":"reject_once"}]}}' ;;
    *'"outcome"'*)
      said=$(printf '%s' "$line" | sed -n 's/.*"optionId":"\([a-z]*\)".*/\1/p')
      echo "{\"method\":\"session/update\",\"params\":{\"sessionId\":\"one\",\"update\":{\"sessionUpdate\":\"agent_message_chunk\",\"content\":{\"type\":\"text\",\"text\":\"You chose $said in $(basename "$PWD") with key $KEY.\"}}}}"
      echo "{\"id\":$prompt,\"result\":{\"stopReason\":\"end_turn\"}}" ;;
  esac
done
"#;

#[cfg(unix)]
#[tokio::test]
async fn an_agent_of_this_computer_answers_and_its_options_are_chosen_from() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    std::fs::create_dir(&project).unwrap();
    let script = folder.path().join("agent.sh");
    std::fs::write(&script, ASKS).unwrap();
    let command = format!("it=KEY=plum sh '{}'", script.display());
    let data = folder.path().join("data");
    let flags = ["--acp", &command, "--acp-cwd", project.to_str().unwrap()];
    let server = Server::start(&data, &flags, None).await;
    let send = ["send", "--agent", "acp:it", "--wait", "work", "Touch it"];
    let asked = run(server.command(&send)).await.succeeded();
    assert!(asked.contains("--option ever   Always allow touch"), "{asked}");
    // Nothing that lasts is chosen for somebody.
    let plain = run(server.command(&["approve", "work", "--first"])).await.failed();
    assert!(
        plain.contains("choose with --option: ever (Always allow touch), no (Reject)"),
        "{plain}"
    );
    let other =
        run(server.command(&["approve", "work", "--first", "--option", "x"])).await.failed();
    assert!(other.contains("there is no option x"), "{other}");
    let chosen =
        run(server.command(&["approve", "work", "--first", "--option", "ever"])).await.succeeded();
    assert!(
        chosen.starts_with("Approved ") && chosen.ends_with(": Always allow touch\n"),
        "{chosen}"
    );
    let all = run(server.command(&["send", "--wait", "work", "Again"])).await.succeeded();
    assert!(all.contains("--option no"), "{all}");
    run(server.command(&["approve", "work", "--first", "--deny"])).await.succeeded();
    let said = async {
        loop {
            let all = run(server.command(&["tail", "--no-follow", "work"])).await.succeeded();
            if all.contains("You chose no") {
                return all;
            }
        }
    };
    let all = tokio::time::timeout(DEADLINE, said).await.expect("it goes on");
    assert!(all.contains("You chose ever in project with key plum."), "{all}");
    let unknown =
        run(server.command(&["send", "--agent", "acp:other", "work", "Hello"])).await.failed();
    assert!(unknown.contains("--acp NAME=COMMAND"), "{unknown}");
    let missing = threadkeep(&["serve", "--acp", "a=b", "--acp-cwd", "/nowhere/at/all"]);
    assert!(run(missing).await.failed().contains("--acp-cwd"));
}

#[tokio::test]
async fn what_goes_wrong_with_a_server_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let serve = ["serve", "--listen", &address, "--data-dir", data.to_str().unwrap()];
    let refused = run(threadkeep(&serve)).await.failed();
    assert!(refused.contains(&address) && refused.contains("already in use"), "{refused}");

    let open = ["serve", "--listen", "0.0.0.0:0", "--auth", "none", "--data-dir"];
    let mut open = threadkeep(&open);
    open.arg(&data);
    let refused = run(open).await;
    assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{refused:?}");
    assert!(refused.err.contains("without authentication"), "{refused:?}");

    drop(taken);
    let url = format!("http://{address}");
    let dead = run(threadkeep(&["send", "--url", &url, "s", "Hello"])).await.failed();
    assert!(dead.contains(&url) && dead.contains("cannot be reached"), "{dead}");
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--auth", "token"], Some("right")).await;
    let send = ["send", "--agent", "demo", "s", "Hello"];
    for token in [None, Some("wrong")] {
        let mut command = server.command(&send);
        if let Some(token) = token {
            command.env("THREADKEEP_TOKEN", token);
        }
        let refused = run(command).await.failed();
        assert!(refused.contains("refuses the token"), "{refused}");
        assert!(!refused.contains("wrong"), "L11: {refused}");
    }
    let mut command = server.command(&send);
    command.env("THREADKEEP_TOKEN", "right");
    let id = run(command).await.succeeded();
    assert_eq!(id.trim().len(), 36, "the message's id: {id}");
}

/// Connections that all asked for something and stay.
#[cfg(unix)]
async fn ask_on_100_connections(url: &str) -> Vec<tokio::net::TcpStream> {
    let address = url.strip_prefix("http://").unwrap();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        connection.write_all(ask).await.unwrap();
        open.push(connection);
    }
    open
}

#[cfg(unix)]
#[tokio::test]
async fn connections_are_as_many_as_the_system_allows_and_more_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |limit: &str| {
        let mut command = Command::new("sh");
        let script = format!(r#"ulimit {limit} 64 && exec "$0" "$@""#);
        command.args(["-c", &script, env!("CARGO_BIN_EXE_threadkeep"), "serve"]);
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path().join(limit));
        command.kill_on_drop(true);
        command
    };
    // Only the soft limit is low.
    let server = Server::listening(serve("-S -n")).await;
    for connection in &mut ask_on_100_connections(&server.url).await {
        let mut heard = [0; 12];
        let read = tokio::time::timeout(DEADLINE, connection.read_exact(&mut heard)).await;
        read.expect("every connection is served").unwrap();
        assert_eq!(&heard, b"HTTP/1.1 200");
    }
    drop(server);

    let server = Server::listening(serve("-n")).await;
    drop(ask_on_100_connections(&server.url).await);
    let probe = reqwest::Client::new().get(format!("{}/healthz", server.url)).timeout(DEADLINE);
    assert_eq!(probe.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn named_tokens_are_made_listed_and_revoked_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--auth", "token"], None).await;
    let token = async |arguments: &[&str]| {
        let mut command = threadkeep(&["token", arguments[0], "--data-dir"]);
        command.arg(folder.path()).args(&arguments[1..]);
        run(command).await
    };
    let create = ["create", "--name", "ben", "--role", "manage"];
    let made = token(&create).await;
    assert_eq!(made.code, 0, "{made:?}");
    let secret = made.out.lines().last().unwrap().to_owned();
    assert!(!made.err.contains(&secret));
    let again = token(&create).await.failed();
    assert!(again.contains("ben already"), "{again}");
    let create = ["create", "--name", "eve", "--role", "view", "--session", "a", "--session", "b"];
    assert_eq!(token(&create).await.code, 0);
    let listed = token(&["list"]).await.succeeded();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((rows[0][0], rows[0][1], rows[0][3]), ("ben", "manage", "all sessions"));
    assert_eq!((rows[1][0], rows[1][1], rows[1][3]), ("eve", "view", "a b"));
    assert!(!listed.contains(&secret));

    let send = async || {
        let mut command = server.command(&["send", "--agent", "demo", "s", "Hello"]);
        command.env("THREADKEEP_TOKEN", &secret);
        run(command).await
    };
    send().await.succeeded();
    let revoked = token(&["revoke", "--name", "ben"]).await.succeeded();
    assert_eq!(revoked, "Revoked ben\n");
    assert!(send().await.failed().contains("refuses the token"));
    assert!(token(&["revoke", "--name", "ben"]).await.failed().contains("no token named ben"));
}

#[tokio::test]
async fn tokens_of_a_folder_that_is_none_are_a_mistake_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for data in [folder.path().to_owned(), folder.path().join("absent")] {
        for arguments in [&["token", "list"][..], &["token", "revoke", "--name", "ben"]] {
            let mut command = threadkeep(arguments);
            command.arg("--data-dir").arg(&data);
            let refused = run(command).await.failed();
            assert!(refused.contains("there are no tokens in"), "{refused}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let name = ["token", "create", "--role", "view", "--name", "\u{202e}nna", "--data-dir"];
    let mut command = threadkeep(&name);
    command.arg(folder.path());
    let refused = run(command).await.failed();
    assert!(refused.contains("invisible"), "{refused}");
}

#[tokio::test]
async fn origins_and_hosts_that_can_never_match_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let serve = async |option: &str, value: &str| {
        // An address that is refused after the options are read.
        let mut command = threadkeep(&["serve", "--listen", "192.0.2.1:0", option, value]);
        command.arg("--data-dir").arg(folder.path());
        run(command).await
    };
    for origin in [
        "example.com",
        "localhost:5173",
        "ftp://example.com",
        "file:///",
        "http://",
        "http://example.com/agent",
        "http://example.com/?a=b",
        "http://example.com/#a",
        "http://ann:hush@example.com",
        "null",
        "",
    ] {
        for option in ["--allow-origin", "--allow-agent-origin"] {
            let refused = serve(option, origin).await;
            assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{origin} {refused:?}");
            assert!(refused.err.contains("give http:// or https://"), "{origin} {refused:?}");
        }
    }
    assert_eq!(serve("--allow-agent-origin", "*").await.code, 2);
    for host in ["http://sessions.example", "sessions.example:443", "a/b", ""] {
        let refused = serve("--allow-host", host).await;
        assert_eq!(refused.code, 2, "{host} {refused:?}");
        assert!(refused.err.contains("give a host name"), "{host} {refused:?}");
    }
    for (option, value) in [
        ("--allow-origin", "HTTPS://app.example:443/"),
        ("--allow-agent-origin", "http://127.0.0.1:3002"),
        ("--allow-host", "sessions.example"),
    ] {
        let refused = serve(option, value).await;
        assert!(refused.err.contains("without authentication"), "{value} {refused:?}");
    }
    // As the browser has it, whatever the operator wrote.
    let more = ["--allow-origin", "HTTP://App.Example:80/", "--allow-host", "Sessions.Example"];
    let server = Server::start(folder.path(), &more, None).await;
    let request = reqwest::Client::new().get(format!("{}/v1/sessions", server.url));
    let request = request.header("host", "sessions.example").timeout(DEADLINE);
    let answer = request.header("origin", "http://app.example").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://app.example");
}

#[tokio::test]
async fn logs_hold_neither_words_nor_tokens_nor_keys_however_talkative() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let data = folder.path().join("data");
    let mut command = threadkeep(&["serve", "--listen", "127.0.0.1:0", "--auth", "token"]);
    command.args(["--log-format", "json", "--allow-agent-origin", "http://127.0.0.1:9"]);
    command
        .arg("--data-dir")
        .arg(&data)
        .env("RUST_LOG", "trace")
        .env("THREADKEEP_TOKEN", "t0ken-x");
    command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let base = line.strip_prefix("listening on ").unwrap();

    let client = reqwest::Client::new();
    let call = async |method: Method, path: &str, body: Value| {
        let request = client.request(method, format!("{base}/v1/{path}")).bearer_auth("t0ken-x");
        let answer = request.json(&body).timeout(DEADLINE).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let agents = json!({"agents": [{
        "id": "a", "endpoint": "http://127.0.0.1:9/agent",
        "headers": {"authorization": "Bearer k3y-x"}, "bodyTemplate": {"k": "k3y-x"},
    }, {"id": "d", "endpoint": "builtin:demo"}], "title": "t1tle-x"});
    assert_eq!(call(Method::PUT, "sessions/s", agents).await.0, 200);
    let said = json!({"content": "w0rds-x", "actorId": "ann"});
    assert_eq!(call(Method::POST, "sessions/s/messages", said).await.0, 200);
    let wrong = json!({"content": "w0rds-x", "messageId": "m1stake-x"});
    assert_eq!(call(Method::POST, "sessions/s/messages", wrong).await.0, 400);
    let stream = "stream/sessions/s?offset=-1";
    let deadline = std::time::Instant::now() + DEADLINE;
    while !call(Method::GET, stream, json!(null)).await.1.contains("agent_unreachable") {
        assert!(std::time::Instant::now() < deadline, "the agent's run failed");
        tokio::task::yield_now().await;
    }
    process.kill().await.unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("session server listens"), "{log}");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap();
        for secret in ["t0ken-x", "k3y-x", "t1tle-x", "w0rds-x", "m1stake-x"] {
            assert!(!line.contains(secret), "L11: {line}");
        }
    }
}

#[tokio::test]
async fn items_are_folded_and_rubbish_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("items.json");
    let said = json!({"type": "whole-message", "message": {
        "id": "m", "role": "user", "parts": [{"type": "text", "content": "Hi"}]}});
    let items = json!([{
        "type": "chunk", "key": "m:0", "headers": {"operation": "insert"},
        "value": {"messageId": "m", "actorId": "ana", "role": "user", "seq": 0,
            "chunk": said.to_string(), "createdAt": "2026-01-01T00:00:00.000Z"},
    }]);
    std::fs::write(&file, items.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let from_file = run(threadkeep(&["materialize", path])).await.succeeded();
    let session: Value = serde_json::from_str(&from_file).unwrap();
    assert_eq!(session["messages"][0]["parts"][0]["text"], "Hi");

    let mut child = threadkeep(&["materialize", "-"]);
    child.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(items.to_string().as_bytes()).await.unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), from_file);

    for rubbish in ["{ not json", "{\"an\": \"object\"}", ""] {
        std::fs::write(&file, rubbish).unwrap();
        let refused = run(threadkeep(&["materialize", path])).await.failed();
        assert!(refused.contains("array of stream items"), "{refused}");
    }
    let missing = folder.path().join("missing.json");
    let refused = run(threadkeep(&["materialize", missing.to_str().unwrap()])).await.failed();
    assert!(refused.contains("cannot read") && refused.contains("missing.json"), "{refused}");
}

#[tokio::test]
async fn the_help_of_every_command_introduces_it_and_shows_how() {
    let introductions = [
        ("serve", "Sessions are kept in the data folder"),
        ("tail", "What was said so far is printed first"),
        ("send", "Prints the message's id"),
        ("approve", "waits until somebody decides"),
        ("materialize", "one JSON array of items"),
        ("token", "lets in whoever has a token made here"),
    ];
    let overview = run(threadkeep(&["--help"])).await.succeeded();
    assert!(overview.contains("First steps"), "{overview}");
    for (command, introduction) in introductions {
        let help = run(threadkeep(&[command, "--help"])).await.succeeded();
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(introduction), "{help}");
        assert!(help.contains(&format!("Examples:\n  threadkeep {command}")), "{help}");
        let line = help.lines().next().unwrap().trim_end_matches('.');
        assert!(overview.contains(line), "{line} in {overview}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    // It takes connections, and no more.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for command in [
        &["send", "s", "Hello"][..],
        &["send", "--agent", "demo", "s", "Hello"],
        &["tail", "s"],
        &["tail", "--no-follow", "s"],
        &["approve", "s", "--first"],
    ] {
        let mut command = threadkeep(command);
        command.args(["--url", &url, "--timeout", "0.2"]);
        let said = run(command).await.failed();
        assert!(said.contains(&url) && said.contains("takes too long to answer"), "{said}");
    }
    let wrong = run(threadkeep(&["tail", "--timeout", "0", "s"])).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("a number of seconds above 0"), "{wrong:?}");
}

#[tokio::test]
async fn what_others_hide_in_their_words_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    let made = reqwest::Client::new().put(format!("{}/v1/sessions/s", server.url));
    assert_eq!(made.send().await.unwrap().status(), 200);
    run(server.command(&["send", "s", "See \u{202e}this\u{3164} ❤\u{fe0f}"])).await.succeeded();
    let write = |chunk: Value| {
        let chunk = json!({"messageId": "m", "actorId": "rogue\u{2066}", "chunk": chunk});
        let request = reqwest::Client::new()
            .request(Method::POST, format!("{}/v1/sessions/s/chunks", server.url));
        request.json(&chunk).send()
    };
    for chunk in [
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "all is we\u{ad}ll"}),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "ru\u{200b}n"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{\"do\": \"rm \u{202e}fdp\"}"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c"}),
        json!({"type": "CUSTOM", "name": "approval-requested", "value": {
            "toolCallId": "c", "toolName": "ru\u{200b}n", "input": {"do": "rm \u{202e}fdp\u{fe0f}"},
            "approval": {"id": "approval_c", "needsApproval": true}}}),
    ] {
        assert_eq!(write(chunk).await.unwrap().status(), 200);
    }
    let text = run(server.command(&["tail", "--no-follow", "s"])).await.succeeded();
    for shown in [
        r"See \u{202e}this\u{3164} ❤️",
        r"rogue\u{2066}",
        r"all is we\u{ad}ll",
        r"ru\u{200b}n",
        r"rm \u{202e}fdp\u{fe0f}",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    let json = run(server.command(&["tail", "--no-follow", "--json", "s"])).await.succeeded();
    assert!(json.contains(r"rm \u202efdp"), "{json}");
    for out in [text, json] {
        assert!(!out.contains(['\u{202e}', '\u{ad}', '\u{200b}', '\u{2066}', '\u{3164}']), "{out}");
    }
    let approved = run(server.command(&["approve", "s", "--first"])).await.succeeded();
    assert_eq!(approved, "Approved ru\\u{200b}n (approval_c)\n");
}

#[tokio::test]
async fn limits_come_from_flags_and_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = threadkeep(&["serve", "--listen", "127.0.0.1:0", "--max-name", "4"]);
    command.arg("--data-dir").arg(folder.path()).env("THREADKEEP_MAX_BODY", "200");
    let server = Server::listening(command).await;
    let post = async |path: &str, body: Value| {
        let request = reqwest::Client::new().post(format!("{}/v1/sessions/s/{path}", server.url));
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("messages", json!({"content": "x".repeat(100)})).await, 200);
    assert_eq!(post("messages", json!({"content": "x".repeat(200)})).await, 413);
    let login = |name: &str| json!({"actorId": "a", "deviceId": "d", "name": name});
    assert_eq!(post("login", login("Anna")).await, 200);
    assert_eq!(post("login", login("Annas")).await, 400);
    for wrong in [["--answer-timeout", "0"], ["--max-body", "much"], ["--long-poll", "-1"]] {
        let refused = run(threadkeep(&[&["serve"], &wrong[..]].concat())).await;
        assert_eq!(refused.code, 2, "{refused:?}");
    }
}

#[tokio::test]
async fn a_session_has_one_name_however_it_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    run(server.command(&["send", "--agent", "demo", "caf\u{e9}", "Hello"])).await.succeeded();
    let all = run(server.command(&["tail", "--no-follow", "cafe\u{301}"])).await.succeeded();
    assert!(all.contains("Hello"), "{all}");
}

/// A case of the importer.
fn case(name: &str) -> String {
    format!("{}/../session-import/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The ids of the sessions that an import names, and its last line.
async fn import(server: &Server, path: &str) -> (Vec<String>, String) {
    let done = run(server.command(&["import", path])).await;
    assert_eq!(done.code, 0, "{done:?}");
    let ids = done.out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    (ids, done.err.lines().last().unwrap_or_default().to_owned())
}

/// The messages of a session, as its JSON has them.
async fn messages(server: &Server, session: &str) -> Value {
    let export = ["export", session, "--format", "json", "--with-secrets"];
    let done = run(server.command(&export)).await;
    assert_eq!(done.code, 0, "{done:?}");
    serde_json::from_str::<Value>(&done.out).unwrap()["messages"].clone()
}

#[tokio::test]
async fn a_dry_run_prints_what_it_read_and_writes_nothing() {
    let path = case("05-chatgpt-zip-shards/input.zip");
    let report = run(threadkeep(&["import", "--dry-run", "--json", &path])).await.succeeded();
    let report: Value = serde_json::from_str(&report).unwrap();
    let fields: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["format", "sessions", "problems"]);
    assert_eq!(report["format"], "chatgpt");
    assert_eq!(report["sessions"].as_array().unwrap().len(), 2);
    let lines = run(threadkeep(&["import", "--dry-run", &path])).await;
    assert!(
        lines.out.contains("First shard") && lines.err.contains("2 conversations"),
        "{lines:?}"
    );
    let nothing = run(threadkeep(&["import", "--dry-run", env!("CARGO_MANIFEST_DIR")])).await;
    assert!(nothing.failed().contains("nothing in there is a chat"));
}

#[tokio::test]
async fn an_import_is_a_session_that_is_read_and_goes_on_and_a_second_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    let path = case("13-claude-code/input.jsonl");
    let (ids, summed) = import(&server, &path).await;
    assert_eq!(ids.len(), 1);
    assert!(summed.contains("1 new, 0 changed, 0 as they were; 1 items"), "{summed}");
    let all = run(server.command(&["tail", "--no-follow", &ids[0]])).await.succeeded();
    assert!(all.contains("The rudder sticks") && all.contains("stuck is 0 now"), "{all}");
    let before = messages(&server, &ids[0]).await;
    assert_eq!(
        before[1]["parts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|part| part["state"] == "failed")
            .count(),
        1
    );

    // A person goes on, and imports again.
    let send = ["send", "--agent", "demo", "--wait", &ids[0], "And now?"];
    run(server.command(&send)).await.succeeded();
    let (again, summed) = import(&server, &path).await;
    assert_eq!(again, ids);
    assert!(summed.contains("0 new, 0 changed, 1 as they were"), "{summed}");
    let after = messages(&server, &ids[0]).await;
    let kept: Vec<&Value> =
        after.as_array().unwrap().iter().take(before.as_array().unwrap().len()).collect();
    assert_eq!(kept, before.as_array().unwrap().iter().collect::<Vec<_>>());
    assert!(after.as_array().unwrap().len() > kept.len());
}

#[tokio::test]
async fn what_was_added_at_the_source_comes_with_the_next_import() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    let message = |id: &str, sender: &str, text: &str| json!({"uuid": id, "sender": sender, "text": text, "content": []});
    let path = folder.path().join("chats.json");
    let write = |answer: &str, more: &[Value]| {
        let mut rows = vec![message("m1", "human", "Q"), message("m2", "assistant", answer)];
        rows.extend_from_slice(more);
        let chat = json!([{"uuid": "c", "name": "N", "chat_messages": rows}]);
        std::fs::write(&path, chat.to_string()).unwrap();
    };
    write("half an ans", &[]);
    let (ids, _) = import(&server, path.to_str().unwrap()).await;
    write("half an answer", &[message("m3", "human", "More")]);
    let (again, summed) = import(&server, path.to_str().unwrap()).await;
    assert_eq!(again, ids);
    assert!(summed.contains("0 new, 1 changed"), "{summed}");
    let words: Vec<String> = messages(&server, &ids[0])
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let parts = message["parts"].as_array().unwrap();
            parts.iter().filter_map(|part| part["text"].as_str()).collect()
        })
        .collect();
    assert_eq!(words, ["Q", "half an answer", "More"]);
}

#[tokio::test]
async fn a_raw_log_comes_back_as_the_same_transcript_and_so_does_the_json() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    let send = ["send", "--agent", "demo", "--wait", "first-steps", "Clean up my reports"];
    run(server.command(&send)).await.succeeded();
    run(server.command(&["approve", "first-steps", "--first"])).await.succeeded();
    let mut before = messages(&server, "first-steps").await;
    while !before.to_string().contains("nothing was touched)") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        before = messages(&server, "first-steps").await;
    }
    let raw = folder.path().join("raw.json");
    let export = ["export", "first-steps", "--format", "raw", "--out", raw.to_str().unwrap()];
    run(server.command(&export)).await.succeeded();
    let other = tempfile::tempdir().unwrap();
    let other = Server::start(other.path(), &[], None).await;
    let (ids, summed) = import(&other, raw.to_str().unwrap()).await;
    assert!(summed.contains("1 new"), "{summed}");
    let plain = |messages: Value| -> Vec<Value> {
        messages
            .as_array()
            .unwrap()
            .iter()
            .map(|message| {
                json!([message["id"], message["role"], message["createdAt"], message["parts"]])
            })
            .collect()
    };
    assert_eq!(plain(messages(&other, &ids[0]).await), plain(before.clone()));
    let (again, summed) = import(&other, raw.to_str().unwrap()).await;
    assert_eq!((again, summed.contains("1 as they were")), (ids, true), "{summed}");

    let json = folder.path().join("session.json");
    let export = ["export", "first-steps", "--format", "json", "--out", json.to_str().unwrap()];
    run(server.command(&export)).await.succeeded();
    let (ids, _) = import(&other, json.to_str().unwrap()).await;
    let words = |messages: &Value| -> Vec<String> {
        messages
            .as_array()
            .unwrap()
            .iter()
            .map(|message| {
                let parts = message["parts"].as_array().unwrap();
                format!(
                    "{} {}",
                    message["id"],
                    parts.iter().filter_map(|part| part["text"].as_str()).collect::<String>()
                )
            })
            .collect()
    };
    assert_eq!(words(&messages(&other, &ids[0]).await), words(&before));
}

#[tokio::test]
async fn secrets_are_told_and_hidden_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], None).await;
    let secret = ["ghp_", "Qz7Lm2Xc9Vb4Nk8Hj3Wd6Rt1Yp5Sf0Ga2BeK"].concat();
    let text = format!("my token is {secret} <script>alert(1)</script>");
    run(server.command(&["send", "--agent", "demo", "--wait", "s", &text])).await.succeeded();
    for form in ["markdown", "html", "json", "raw"] {
        let done = run(server.command(&["export", "s", "--format", form])).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert!(!done.out.contains(&secret) && done.out.contains("ghp_…"), "{form}: {}", done.out);
        assert!(
            done.err.contains("a GitHub token") && !done.err.contains(&secret),
            "{form}: {}",
            done.err
        );
        let kept = run(server.command(&["export", "s", "--format", form, "--with-secrets"])).await;
        assert!(kept.out.contains(&secret), "{form}");
    }
    let page = run(server.command(&["export", "s", "--format", "html"])).await.out;
    assert!(!page.contains("<script") && page.contains("default-src 'none'"), "{page}");
}
