//! Agents that people run, as this server runs them: `cargo xtask test --agents` brings them and a model server.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Two slow cores start an agent in half a minute.
const DEADLINE: Duration = Duration::from_secs(150);

struct World {
    /// Of the server, of the person whose agent it is, and of the project.
    folders: [tempfile::TempDir; 3],
    command: String,
    server: Option<Child>,
    url: String,
    client: Client,
}

impl World {
    async fn new(agent: &str) -> Self {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [_, home, _] = &folders;
        let programs = PathBuf::from(std::env::var_os("THREADKEEP_TEST_AGENTS").unwrap());
        let model = std::env::var("THREADKEEP_TEST_MODEL").unwrap();
        let program = programs.join(agent);
        let at =
            format!("HOME={} {}", home.path().display(), variables(agent, &model, home.path()));
        let argument = if agent == "qwen" { "--acp" } else { "acp" };
        let command = format!("it={at} {} {argument}", program.display());
        let mut world =
            Self { folders, command, server: None, url: String::new(), client: Client::new() };
        world.start().await;
        let agents = json!({"agents": [{"id": "it", "endpoint": "acp:it"}]});
        let made = world.client.put(world.at("")).json(&agents).send().await.unwrap();
        assert!(made.status().is_success());
        world
    }

    async fn start(&mut self) {
        let [data, _, project] = &self.folders;
        let mut command = Command::new(env!("CARGO_BIN_EXE_threadkeep"));
        command
            .args(["serve", "--auth", "none", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path())
            .args(["--acp", &self.command, "--acp-cwd"])
            .arg(project.path())
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let line =
            tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        self.url = line.strip_prefix("listening on ").unwrap().trim_end_matches('/').to_owned();
        self.server = Some(server);
    }

    /// Kills the server, as the system does, and starts it again.
    async fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.start_kill().unwrap(); // SIGKILL
        server.wait().await.unwrap();
        self.start().await;
    }

    fn at(&self, rest: &str) -> String {
        format!("{}/v1/sessions/s{rest}", self.url)
    }

    async fn post(&self, rest: &str, body: Value) -> u16 {
        self.client.post(self.at(rest)).json(&body).send().await.unwrap().status().as_u16()
    }

    async fn say(&self, words: &str) {
        assert_eq!(self.post("/messages", json!({"content": words, "actorId": "ann"})).await, 200);
    }

    async fn chunks(&self) -> Vec<Value> {
        let stream = format!("{}/v1/stream/sessions/s?offset=-1", self.url);
        let text = self.client.get(&stream).send().await.unwrap().text().await.unwrap();
        let items: Vec<Value> = serde_json::from_str(&text).unwrap();
        let chunks = items.iter().filter_map(|item| item["value"]["chunk"].as_str());
        chunks.map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
    }

    async fn until(&self, what: &str, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let seen = async {
            loop {
                let chunks = self.chunks().await;
                if done(&chunks) {
                    return chunks;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, seen).await {
            Ok(chunks) => chunks,
            Err(_) => panic!("not seen in time: {what}\n{:#?}", self.chunks().await),
        }
    }

    /// Waits until so many runs have ended; all chunks.
    async fn ended(&self, count: usize) -> Vec<Value> {
        self.until(&format!("{count} runs have ended"), |all| ends(all) >= count).await
    }

    /// Waits until so many requests were asked in all; the last one's id.
    async fn asked(&self, count: usize) -> String {
        let all = self.until("it asks", |all| asks(all).len() >= count).await;
        asks(&all).pop().unwrap()
    }

    fn made(&self) -> PathBuf {
        self.folders[2].path().join("made-by-the-agent.txt")
    }

    /// Processes that work in the project, as its agent does.
    fn programs(&self) -> usize {
        let project = self.folders[2].path().canonicalize().unwrap();
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let works = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == project)
        };
        all.filter(works).count()
    }

    async fn gone(&self) {
        let gone = async {
            while self.programs() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), gone).await.expect("no program is left");
    }
}

fn variables(agent: &str, model: &str, home: &Path) -> String {
    if agent == "qwen" {
        return format!(
            "OPENAI_API_KEY=x OPENAI_BASE_URL={model} OPENAI_MODEL=tiny QWEN_CODE_NO_RELAUNCH=true"
        );
    }
    let folder = home.join(".config/opencode");
    std::fs::create_dir_all(&folder).unwrap();
    let config = json!({"model": "test/tiny", "autoupdate": false, "permission": {"bash": "ask", "edit": "ask"},
        "provider": {"test": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": model, "apiKey": "x"},
            "models": {"tiny": {"limit": {"context": 100_000, "output": 10_000}}}}}});
    std::fs::write(folder.join("opencode.json"), config.to_string()).unwrap();
    "OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_AUTOUPDATE=1".to_owned()
}

fn ends(all: &[Value]) -> usize {
    let is_end =
        |chunk: &&Value| ["RUN_FINISHED", "RUN_ERROR"].iter().any(|end| chunk["type"] == *end);
    all.iter().filter(is_end).count()
}

fn asks(all: &[Value]) -> Vec<String> {
    let asked = all.iter().filter(|chunk| chunk["name"] == "approval-requested");
    asked.map(|chunk| chunk["value"]["approval"]["id"].as_str().unwrap().to_owned()).collect()
}

fn text(all: &[Value]) -> String {
    let words = all.iter().filter(|chunk| chunk["type"] == "TEXT_MESSAGE_CONTENT");
    words.filter_map(|chunk| chunk["delta"].as_str()).collect()
}

async fn an_agent_serves(agent: &str) {
    let mut world = World::new(agent).await;
    world.say("hello").await;
    let all = world.ended(1).await;
    assert!(text(&all).contains("Hello from the model."), "{}", text(&all));
    let options = world.client.get(world.at("/agents")).send().await.unwrap().text().await.unwrap();
    assert!(options.contains("\"category\":\"mode\""), "its modes are told: {options}");
    assert!(options.contains("\"commands\":["), "its commands are told: {options}");

    // Allowed, then refused: the file is the witness.
    world.say("RUN it").await;
    let id = world.asked(1).await;
    assert!(!world.made().exists(), "nothing happens while it asks");
    world.post(&format!("/approvals/{id}"), json!({"approved": true, "actorId": "bob"})).await;
    world.ended(2).await;
    assert!(world.made().exists(), "it was allowed");
    std::fs::remove_file(world.made()).unwrap();
    world.say("RUN it once more").await;
    let id = world.asked(2).await;
    world.post(&format!("/approvals/{id}"), json!({"approved": false, "actorId": "bob"})).await;
    world.ended(3).await;
    assert!(!world.made().exists(), "it was refused");

    // Stopped in mid answer; the next message is answered by the same agent.
    world.say("SLOW please").await;
    world.until("it writes", |all| text(all).contains("word3 ")).await;
    let stopped = std::time::Instant::now();
    assert_eq!(world.post("/stop", json!({"actorId": "bob"})).await, 204);
    world.ended(4).await;
    assert!(stopped.elapsed() < Duration::from_secs(5));
    world.say("hello after the stop").await;
    let before = text(&world.ended(5).await).matches("Hello from the model.").count();

    // The server is killed in mid answer.
    world.say("SLOW again").await;
    world.until("it writes", |all| text(all).matches("word2 ").count() > 1).await;
    world.kill().await;
    let all = world.ended(6).await;
    let words = text(&all).matches("word").count();
    world.say("hello after the kill").await;
    let all = world.ended(7).await;
    assert_eq!(text(&all).matches("word").count(), words, "nothing is said twice");
    assert_eq!(text(&all).matches("Hello from the model.").count(), before + 1);
    let lost = all.iter().filter(|chunk| chunk["name"] == "acp.notice").count();
    assert_eq!(lost, 0, "it remembers the session");

    // And while it asks: the request lapses, and nothing runs for it any more.
    world.say("RUN it a last time").await;
    let id = world.asked(3).await;
    world.kill().await;
    let all = world.ended(8).await;
    let lapsed =
        |chunk: &&Value| chunk["type"] == "approval-response" && chunk["approvalId"] == id.as_str();
    let lapsed = all.iter().find(lapsed).unwrap();
    assert_eq!((&lapsed["approved"], &lapsed["reason"]), (&json!(false), &json!("lapsed")));
    world.post(&format!("/approvals/{id}"), json!({"approved": true, "actorId": "bob"})).await;
    world.say("hello at last").await;
    let all = world.ended(9).await;
    assert_eq!(text(&all).matches("Hello from the model.").count(), before + 2);
    assert!(!world.made().exists(), "an answer that comes too late runs nothing");
    world.server.take().unwrap().kill().await.unwrap();
    world.gone().await;
}

#[tokio::test]
#[ignore = "npm: cargo xtask test --agents"]
async fn opencode_answers_asks_stops_and_outlives_kills() {
    an_agent_serves("opencode").await;
}

#[tokio::test]
#[ignore = "npm: cargo xtask test --agents"]
async fn qwen_code_answers_asks_stops_and_outlives_kills() {
    an_agent_serves("qwen").await;
}
