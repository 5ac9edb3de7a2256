//! A data folder with a host, a model endpoint, and sessions as the host's server has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use futures::{StreamExt, stream};
use host_link::files::Address;
use host_link::{Attached, Starter};
use serde_json::{Value, json};

/// Time that anything may take.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Words of an answer of the endpoint.
pub const WORDS: usize = 30;

/// The program under test.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_threadkeep").into()
}

/// Asks again and again until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "gave up waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process is there. One that nobody has waited for is gone.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub fn kill(pid: u32, signal: &str) {
    let killed = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    killed.expect("kill is there");
}

/// The host's process, as its address says.
pub fn pid(data: &Path) -> Option<u32> {
    Address::read(data).map(|address| address.pid).filter(|pid| lives(*pid))
}

/// A folder, and the host that a test leaves behind is ended with it.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub http: reqwest::Client,
}

impl Lab {
    pub fn new() -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), http }
    }

    pub fn data(&self) -> &Path {
        self.dir.path()
    }

    pub fn starter(&self) -> Starter {
        Starter::new(self.data(), program())
    }

    pub async fn attach(&self) -> Attached {
        match self.starter().attach().await {
            Ok(attached) => attached,
            Err(error) => panic!("{error}\n{}", self.log()),
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(host_link::files::log(self.data())).unwrap_or_default()
    }

    pub fn pid(&self) -> Option<u32> {
        pid(self.data())
    }

    /// Waits until no host is there.
    pub async fn gone(&self, pid: u32) {
        eventually("the host to end", || async { (!lives(pid)).then_some(()) }).await;
    }

    /// A request to the session server of an attached host.
    pub async fn call(
        &self,
        to: &Attached,
        method: reqwest::Method,
        path: &str,
        body: Value,
    ) -> Value {
        let url = to.server().join(path).unwrap();
        let request = self.http.request(method, url).bearer_auth(to.server_token()).json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes a session with one agent and says something in it.
    pub async fn say(&self, to: &Attached, session: &str, agent: &str, text: &str) {
        let agents = json!({"agents": [{"id": "agent", "name": "Agent", "endpoint": agent}]});
        self.call(to, reqwest::Method::PUT, &format!("v1/sessions/{session}"), agents).await;
        let said = json!({"content": text, "actorId": "ann"});
        self.call(to, reqwest::Method::POST, &format!("v1/sessions/{session}/messages"), said)
            .await;
    }

    /// The chunks of a session: message, role and chunk.
    pub async fn chunks(&self, to: &Attached, session: &str) -> Vec<(String, String, Value)> {
        let url = to.server().join(&format!("v1/stream/sessions/{session}")).unwrap();
        let answer = self.http.get(url).bearer_auth(to.server_token()).send().await.unwrap();
        if !answer.status().is_success() {
            return Vec::new();
        }
        let items: Vec<Value> = answer.json().await.unwrap();
        let rows = items.iter().filter(|item| item["type"] == "chunk");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rows.filter_map(|item| {
            let row = item.get("value")?;
            let chunk = serde_json::from_str(row["chunk"].as_str()?).ok()?;
            Some((text(&row["messageId"]), text(&row["role"]), chunk))
        })
        .collect()
    }

    /// Points the model agent at an endpoint.
    pub fn use_model(&self, endpoint: &Endpoint) {
        let settings = json!({"settings": {"modelBaseUrl": endpoint.url, "modelName": "tiny"}});
        fs::write(host_link::files::settings(self.data()), settings.to_string()).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            kill(pid, "-9");
        }
    }
}

/// The text of a message.
pub fn words(chunks: &[(String, String, Value)], message: &str) -> String {
    let own = chunks.iter().filter(|(id, ..)| id == message);
    let text = own.filter(|(_, _, chunk)| chunk["type"] == "TEXT_MESSAGE_CONTENT");
    text.filter_map(|(_, _, chunk)| chunk["delta"].as_str()).collect()
}

/// An endpoint of chat completions that counts `w1 … w30`, and goes on where an answer was cut off.
pub struct Endpoint {
    pub url: String,
    /// Its requests: the person's last words, and who asked.
    pub asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Endpoint {
    pub async fn start(pace: Duration) -> Self {
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .with_state((Arc::clone(&asked), pace));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked }
    }
}

type Asked = Arc<Mutex<Vec<(String, String)>>>;

async fn complete(
    State((asked, pace)): State<(Asked, Duration)>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    let said = |role: &str, message: &Value| {
        (message["role"] == role)
            .then(|| message["content"].as_str().unwrap_or_default().to_owned())
    };
    let cut_off = messages.last().and_then(|last| said("user", last));
    let goes_on = cut_off.is_some_and(|text| text.contains("cut off"));
    let users: Vec<String> = messages.iter().filter_map(|message| said("user", message)).collect();
    let question = users[users.len() - 1 - usize::from(goes_on)].clone();
    let so_far = messages.iter().rev().find_map(|message| said("assistant", message));
    let counted = so_far.filter(|_| goes_on).map_or(0, |text| text.split_whitespace().count());
    let key = headers.get("authorization").and_then(|key| key.to_str().ok()).unwrap_or_default();
    asked.lock().unwrap().push((question, key.to_owned()));
    // As a model does: the blank comes with the word behind it.
    let words = (counted + 1..=WORDS).map(|n| match n {
        1 => json!({"content": "w1"}),
        n => json!({"content": format!(" w{n}")}),
    });
    let chunk = |delta: Value, end: Value| {
        let choice = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": end}]});
        format!("data: {choice}\n\n")
    };
    let mut pieces: Vec<String> = words.map(|word| chunk(word, Value::Null)).collect();
    pieces.push(chunk(json!({}), "stop".into()));
    pieces.push("data: [DONE]\n\n".to_owned());
    let pieces = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pace).await;
        Ok::<_, std::convert::Infallible>(piece)
    });
    let answer = Response::builder().header("content-type", "text/event-stream");
    answer.body(Body::from_stream(pieces)).unwrap()
}
