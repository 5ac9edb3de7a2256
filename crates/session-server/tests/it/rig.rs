//! A server on a free port, and a client that waits for what it expects.

use std::{path::Path, time::Duration};

use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use session_server::{RunningServer, ServerConfig, TlsFiles, start};
use tempfile::TempDir;
use uuid::Uuid;

/// Nothing in these tests takes this long unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(15);

pub struct Rig {
    pub dir: TempDir,
    pub server: RunningServer,
    pub client: Client,
    pub base: String,
}

pub fn config(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::new(dir);
    config.demo_pace = Duration::ZERO;
    config.allow_private_agents = true;
    config
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::at(dir, change).await
    }

    pub async fn at(dir: TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = config(dir.path());
        change(&mut config);
        let server = start(config).await.unwrap();
        let base = server.base_url().to_string().trim_end_matches('/').to_owned();
        Self { dir, server, client: Client::new(), base }
    }

    /// A server on a copy of this one's files as they are now: what a killed server would leave behind.
    pub async fn crashed_copy(&self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::at(self.copied_files(), change).await
    }

    /// A copy of this server's files as they are now.
    pub fn copied_files(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        dir
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).timeout(DEADLINE)
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(method, path).json(&body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, body).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// A session with one agent at `endpoint`.
    pub async fn session(&self, endpoint: &str) -> Talk<'_> {
        let id = Uuid::new_v4().to_string();
        let body = json!({"agents": [{"id": "agent", "name": "Agent", "endpoint": endpoint}]});
        let (status, _) = self.call(Method::PUT, &format!("/v1/sessions/{id}"), body).await;
        assert_eq!(status, 200);
        Talk { rig: self, id }
    }

    pub fn talk(&self, id: &str) -> Talk<'_> {
        Talk { rig: self, id: id.to_owned() }
    }
}

pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Files for HTTPS as `localhost`, and what trusts them.
pub fn certified(folder: &Path) -> (TlsFiles, Certificate) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = TlsFiles { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    std::fs::write(&tls.certificate, certified.cert.pem()).unwrap();
    std::fs::write(&tls.key, certified.signing_key.serialize_pem()).unwrap();
    let root = Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    (tls, root)
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// One session, as a client talks to it.
pub struct Talk<'a> {
    pub rig: &'a Rig,
    pub id: String,
}

impl Talk<'_> {
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/sessions/{}{rest}", self.id)
    }

    pub async fn send(&self, text: &str) -> String {
        let body = json!({"content": text, "actorId": "ann"});
        let (status, body) = self.rig.post(&self.path("/messages"), body).await;
        assert_eq!(status, 200, "{body}");
        body["messageId"].as_str().unwrap().to_owned()
    }

    pub async fn approve(&self, approval: &str, approved: bool) -> StatusCode {
        let body = json!({"approved": approved, "actorId": "ann"});
        self.rig.post(&self.path(&format!("/approvals/{approval}")), body).await.0
    }

    pub async fn items(&self) -> Vec<Value> {
        let (status, body) = self.rig.get(&format!("/v1/stream/sessions/{}", self.id)).await;
        assert_eq!(status, 200);
        body.as_array().unwrap().clone()
    }

    /// Follows the stream until its items satisfy `done`.
    pub async fn until(&self, what: &str, done: impl Fn(&Log) -> bool) -> Log {
        let follow = async {
            let mut log = Log::default();
            let mut offset = "-1".to_owned();
            loop {
                let path =
                    format!("/v1/stream/sessions/{}?live=long-poll&offset={offset}", self.id);
                let response = self.rig.request(Method::GET, &path).send().await.unwrap();
                assert!(response.status().is_success(), "{}", response.status());
                if let Some(next) = response.headers().get("stream-next-offset") {
                    offset = next.to_str().unwrap().to_owned();
                }
                let text = response.text().await.unwrap();
                if !text.is_empty() {
                    log.items.extend(serde_json::from_str::<Vec<Value>>(&text).unwrap());
                }
                if done(&log) {
                    return log;
                }
            }
        };
        match tokio::time::timeout(DEADLINE, follow).await {
            Ok(log) => log,
            Err(_) => panic!("not seen in time: {what}\n{:#?}", self.items().await),
        }
    }
}

/// A stream as read so far.
#[derive(Debug, Default, Clone)]
pub struct Log {
    pub items: Vec<Value>,
}

impl Log {
    /// Inner chunks of chunk rows: `(row value, chunk)`.
    pub fn chunks(&self) -> Vec<(&Value, Value)> {
        self.items
            .iter()
            .filter(|item| item["type"] == "chunk" && item.get("value").is_some())
            .map(|item| {
                let value = &item["value"];
                (value, serde_json::from_str(value["chunk"].as_str().unwrap()).unwrap())
            })
            .collect()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.chunks().iter().filter(|(_, chunk)| chunk["type"] == kind).count()
    }

    pub fn find(&self, kind: &str) -> Option<(Value, Value)> {
        let found = self.chunks().into_iter().find(|(_, chunk)| chunk["type"] == kind);
        found.map(|(row, chunk)| (row.clone(), chunk))
    }

    /// The last event is that an agent rests: a run's end is the last but one.
    pub fn rests(&self) -> bool {
        let status = self.items.last().map(|item| &item["value"]["status"]);
        status.is_some_and(|status| status == "idle" || status == "blocked")
    }

    /// Runs that ended, whichever way. Signals of people end, too, but are no runs.
    pub fn ended(&self) -> usize {
        let ends = ["RUN_FINISHED", "RUN_ERROR", "stop", "done", "error", "finish", "abort"];
        let chunks = self.chunks();
        let of_agents = chunks.iter().filter(|(row, _)| row["role"] == "assistant");
        of_agents.filter(|(_, chunk)| ends.iter().any(|end| chunk["type"] == *end)).count()
    }

    pub fn approvals(&self) -> Vec<String> {
        self.chunks()
            .iter()
            .filter(|(_, chunk)| chunk["type"] == "CUSTOM" && chunk["name"] == "approval-requested")
            .map(|(_, chunk)| chunk["value"]["approval"]["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Text of all assistants' AG-UI text chunks.
    pub fn text(&self) -> String {
        self.chunks()
            .iter()
            .filter(|(_, chunk)| chunk["type"] == "TEXT_MESSAGE_CONTENT")
            .map(|(_, chunk)| chunk["delta"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Asserts that every message's keys are `<id>:0..n` once each, in order.
    pub fn assert_gapless(&self) {
        let mut next = std::collections::HashMap::<String, u64>::new();
        for item in self.items.iter().filter(|item| item["type"] == "chunk") {
            let id = item["value"]["messageId"].as_str().unwrap();
            let seq = next.entry(id.to_owned()).or_default();
            assert_eq!(item["key"], format!("{id}:{seq}"));
            assert_eq!(item["value"]["seq"], *seq);
            *seq += 1;
        }
    }
}
