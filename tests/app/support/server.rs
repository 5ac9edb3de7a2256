//! A session server in a process of its own: `threadkeep serve`.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `threadkeep serve`; killed with the value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on a free port and waits until it says that it is ready.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_with(data, &[&["--auth", "none"], arguments].concat(), &[])
    }

    /// The same with its own `--auth` and environment.
    pub fn start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the headless binary is built");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("the server says that it is ready").unwrap();
        let start = line.find("http://").expect("a URL in its first line") + "http://".len();
        let text = line[start..].split(|c: char| c.is_whitespace() || c == '/').next().unwrap();
        Self { child, address: text.parse().unwrap() }
    }

    /// Sends JSON to a route of a session.
    pub async fn post(&self, session: &str, path: &str, body: Value) {
        let url = format!("{}/v1/sessions/{session}/{path}", self.url());
        let sent = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        sent.error_for_status().unwrap();
    }

    /// Makes a session.
    pub async fn put(&self, session: &str) {
        let url = format!("{}/v1/sessions/{session}", self.url());
        reqwest::Client::new().put(url).send().await.unwrap().error_for_status().unwrap();
    }

    /// An agent from outside writes a chunk of a message.
    pub async fn chunk(&self, session: &str, message: &str, chunk: Value) {
        let said =
            json!({ "messageId": message, "actorId": "bot", "role": "assistant", "chunk": chunk });
        self.post(session, "chunks", said).await;
    }

    /// An agent from outside asks in a session whether it may delete a file.
    pub async fn ask(&self, session: &str) {
        self.ask_for(session, "delete_file").await;
    }

    /// An agent from outside asks in a session whether it may use a tool on a file.
    pub async fn ask_for(&self, session: &str, tool: &str) {
        let input = json!({ "path": "/tmp/report.txt" });
        for chunk in [
            json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": tool}),
            json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": input.to_string()}),
            json!({"type": "CUSTOM", "name": "approval-requested", "value": {
                "toolCallId": "c", "toolName": tool, "input": input,
                "approval": {"id": "a", "needsApproval": true}}}),
        ] {
            self.chunk(session, "asks", chunk).await;
        }
    }

    /// Whether a session's stream has a word.
    pub async fn says(&self, session: &str, word: &str) -> bool {
        let url = format!("{}/v1/stream/sessions/{session}", self.url());
        let items = reqwest::get(url).await.unwrap().text().await.unwrap();
        items.contains(word)
    }

    /// The server's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The headless binary: `THREADKEEP_CLI`, or the one beside the app.
pub fn binary() -> PathBuf {
    std::env::var_os("THREADKEEP_CLI").map_or_else(
        || Path::new(env!("CARGO_BIN_EXE_threadkeep-desktop")).with_file_name("threadkeep"),
        PathBuf::from,
    )
}
