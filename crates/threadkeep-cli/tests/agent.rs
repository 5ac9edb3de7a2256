//! `threadkeep agent` and `threadkeep agents`: agents of this computer, in sessions of a server.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use std::io::{BufRead as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(30);

/// A small agent, which this binary is when it is started so.
#[test]
#[ignore = "started by other tests"]
fn an_agent() {
    if std::env::var_os("AN_AGENT").is_none() {
        return;
    }
    let say = |message: Value| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{message}").unwrap();
        out.flush().unwrap();
    };
    let text = |text: &str| {
        let content = json!({"type": "text", "text": text});
        let update = json!({"sessionUpdate": "agent_message_chunk", "content": content});
        let params = json!({"sessionId": "s", "update": update});
        say(json!({"method": "session/update", "params": params}));
    };
    let mut prompt = Value::Null;
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let id = &message["id"];
        let end = |prompt: &Value, reason: &str| {
            say(json!({"id": prompt, "result": {"stopReason": reason}}));
        };
        match message["method"].as_str() {
            Some("initialize") => {
                let can = json!({"sessionCapabilities": {"resume": {}}});
                say(json!({"id": id, "result": {"protocolVersion": 1, "agentCapabilities": can}}));
            }
            Some("session/new" | "session/resume") => {
                say(json!({"id": id, "result": {"sessionId": "s"}}));
            }
            Some("session/cancel") => end(&prompt, "cancelled"),
            Some("session/prompt") => {
                prompt = id.clone();
                let blocks = message["params"]["prompt"].as_array().unwrap();
                let words = blocks.last().unwrap()["text"].as_str().unwrap();
                text(&format!("heard {words}. "));
                if words.contains("ask") {
                    let call = json!({"toolCallId": "one", "title": "touch it", "kind": "execute",
                        "rawInput": {"command": "touch it"}});
                    let options = json!([{"optionId": "yes", "kind": "allow_once", "name": "Yes"},
                        {"optionId": "no", "kind": "reject_once", "name": "No"}]);
                    let params = json!({"sessionId": "s", "toolCall": call, "options": options});
                    say(json!({"id": 7, "method": "session/request_permission", "params": params}));
                } else if !words.contains("wait") {
                    end(&prompt, "end_turn");
                }
            }
            Some(_) => say(json!({"id": id, "error": {"code": -32601, "message": "no"}})),
            None => {
                let chosen = message["result"]["outcome"]["optionId"].as_str().unwrap_or("nothing");
                text(&format!("chosen: {chosen}"));
                end(&prompt, "end_turn");
            }
        }
    }
}

fn threadkeep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadkeep"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::null());
    for name in ["THREADKEEP_TOKEN", "THREADKEEP_URL", "THREADKEEP_ACTOR", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

struct World {
    folder: tempfile::TempDir,
    url: String,
    _server: Child,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = threadkeep(&["serve", "--auth", "none", "--listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(folder.path().join("server")).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let line =
            tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let url = line.strip_prefix("listening on ").expect("it is ready").to_owned();
        let world = Self { folder, url, _server: server, client: Client::new() };
        let made = world.client.put(world.at("")).json(&json!({})).send().await.unwrap();
        assert!(made.status().is_success());
        world
    }

    fn at(&self, rest: &str) -> String {
        format!("{}/v1/sessions/far{rest}", self.url.trim_end_matches('/'))
    }

    /// The bridge, with an agent that works in a folder of its own.
    fn bridge(&self) -> Child {
        let mut command = threadkeep(&["agent", "--url", &self.url, "--name", "coder"]);
        command.arg("--data").arg(self.folder.path().join("bridge"));
        command.arg("--cwd").arg(self.folder.path()).args(["far", "--"]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "an_agent"]).env("AN_AGENT", "1");
        command.spawn().unwrap()
    }

    async fn post(&self, rest: &str, body: Value) -> u16 {
        let answer = self.client.post(self.at(rest)).json(&body).send().await.unwrap();
        answer.status().as_u16()
    }

    async fn registered(&self) {
        let there = async {
            loop {
                let list = self.client.get(self.at("/agents")).send().await.unwrap();
                if list.text().await.unwrap().contains("bridge:coder") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, there).await.expect("the agent is registered");
    }

    /// The chunks of the session once they satisfy `done`.
    async fn until(&self, what: &str, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let stream = format!("{}/v1/stream/sessions/far?offset=-1", self.url.trim_end_matches('/'));
        let seen = async {
            loop {
                let text = self.client.get(&stream).send().await.unwrap().text().await.unwrap();
                let items: Vec<Value> = serde_json::from_str(&text).unwrap();
                let chunks = items.iter().filter_map(|item| item["value"]["chunk"].as_str());
                let chunks: Vec<Value> =
                    chunks.map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
                if done(&chunks) {
                    return chunks;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, seen).await {
            Ok(chunks) => chunks,
            Err(_) => panic!("not seen in time: {what}"),
        }
    }
}

fn text(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["delta"].as_str()).collect()
}

fn count(chunks: &[Value], kind: &str) -> usize {
    chunks.iter().filter(|chunk| chunk["type"] == kind).count()
}

#[tokio::test]
async fn a_bridged_agent_answers_asks_and_is_stopped_as_one_of_the_server() {
    let world = World::new().await;
    let mut bridge = world.bridge();
    world.registered().await;
    world.post("/messages", json!({"content": "hello", "actorId": "ann"})).await;
    world
        .until("it answers", |all| {
            text(all).contains("heard hello") && count(all, "RUN_FINISHED") == 1
        })
        .await;
    // A permission is a durable ask, which anybody with the role answers inside the run.
    world.post("/messages", json!({"content": "ask", "actorId": "ann"})).await;
    let asked = |all: &[Value]| all.iter().any(|chunk| chunk["name"] == "approval-requested");
    let chunks = world.until("it asks", asked).await;
    let ask = chunks.iter().find(|chunk| chunk["name"] == "approval-requested").unwrap();
    let id = ask["value"]["approval"]["id"].as_str().unwrap();
    let body = json!({"approved": true, "optionId": "yes", "actorId": "bob"});
    assert_eq!(world.post(&format!("/approvals/{id}"), body).await, 204);
    world
        .until("it goes on", |all| {
            text(all).contains("chosen: yes") && count(all, "RUN_FINISHED") == 2
        })
        .await;
    // A stop reaches it, and the next message is answered.
    world.post("/messages", json!({"content": "wait", "actorId": "ann"})).await;
    world.until("it works", |all| text(all).contains("heard wait")).await;
    assert_eq!(world.post("/stop", json!({"actorId": "bob"})).await, 204);
    world.post("/messages", json!({"content": "again", "actorId": "ann"})).await;
    world.until("it answers", |all| text(all).contains("heard again")).await;
    // A bridge that is killed loses its run, and nothing of the session: started again it goes on.
    world.post("/messages", json!({"content": "wait more", "actorId": "ann"})).await;
    world.until("it works", |all| text(all).contains("heard wait more")).await;
    bridge.kill().await.unwrap();
    let _second = world.bridge();
    let lost = |all: &[Value]| all.iter().any(|chunk| chunk["code"] == "bridge_lost");
    world.until("its run is lost", lost).await;
    world.post("/messages", json!({"content": "at last", "actorId": "ann"})).await;
    let chunks = world.until("it answers", |all| text(all).contains("heard at last")).await;
    assert_eq!(text(&chunks).matches("heard hello").count(), 1);
}

#[tokio::test]
async fn one_bridge_at_a_time_runs_an_agent() {
    let world = World::new().await;
    let _first = world.bridge();
    world.registered().await;
    world.post("/messages", json!({"content": "hello", "actorId": "ann"})).await;
    world.until("it answers", |all| text(all).contains("heard hello")).await;
    let body = json!({"bridge": "another", "after": 1});
    assert_eq!(world.post("/agents/coder/bridge/work", body).await, 409);
    let same_folder = tokio::time::timeout(DEADLINE, world.bridge().wait()).await.expect("it ends");
    assert!(!same_folder.unwrap().success());
}

#[tokio::test]
async fn a_message_for_a_bridge_that_is_away_is_answered_with_what_to_do() {
    let world = World::new().await;
    let agents = json!({"agents": [{"id": "coder", "endpoint": "bridge:coder"}]});
    assert_eq!(world.post("/agents", agents).await, 200);
    world.post("/messages", json!({"content": "hello", "actorId": "ann"})).await;
    let failed = |all: &[Value]| count(all, "RUN_ERROR") == 1;
    let chunks = world.until("it fails", failed).await;
    let error = chunks.iter().find(|chunk| chunk["type"] == "RUN_ERROR").unwrap();
    assert_eq!(error["code"], "bridge_away");
    assert!(error["message"].as_str().unwrap().contains("threadkeep agent"));
}

#[tokio::test]
async fn the_agents_of_this_computer_are_listed_with_what_installs_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let output = threadkeep(&["agents", "--json"])
        .env("HOME", folder.path())
        .env("SHELL", "/bin/false")
        .stdout(Stdio::piped())
        .output();
    let output = tokio::time::timeout(DEADLINE, output).await.unwrap().unwrap();
    assert!(output.status.success());
    let known: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = known["agents"].as_array().unwrap();
    for id in ["claude", "codex", "opencode", "gemini", "qwen"] {
        let agent = all.iter().find(|agent| agent["id"] == id).unwrap();
        assert!(agent["install"].as_str().unwrap().starts_with("npm install -g "), "{agent}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_agent_that_only_the_login_shell_finds_is_found_with_its_version() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = |path: std::path::PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let hidden = folder.path().join("hidden/bin");
    let opencode = program(hidden.join("opencode"), "#!/bin/sh\necho opencode 1.18.33\n");
    program(hidden.join("gemini"), "#!/bin/sh\nsleep 100\n");
    let shell = format!(
        "#!/bin/sh\necho welcome\nPATH={}:$PATH\nexport PATH\neval \"$2\"\n",
        hidden.display()
    );
    let shell = program(folder.path().join("shell"), &shell);
    let output = threadkeep(&["agents"])
        .env("HOME", folder.path())
        .env("SHELL", &shell)
        .stdout(Stdio::piped())
        .output();
    let output = tokio::time::timeout(DEADLINE, output).await.unwrap().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let line = told.lines().find(|line| line.contains("OpenCode")).unwrap();
    assert!(line.contains("1.18.33"), "{told}");
    assert!(line.contains(&format!("opencode={} acp", opencode.display())), "{told}");
    let slow = told.lines().find(|line| line.contains("Gemini")).unwrap();
    assert!(slow.contains("version unknown"), "{told}");
}
