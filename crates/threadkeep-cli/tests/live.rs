//! The model agent with a model server that people run. `cargo xtask test --live` brings one.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// `threadkeep serve` with the model server that is tried; ends with the value.
struct Server {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(model: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = threadkeep(&["serve", "--auth", "none", "--listen", "127.0.0.1:0"])
            .args(["--model-url", model, "--model", "tiny", "--data-dir"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("it is ready").to_owned();
        Self { process, url, _folder: folder }
    }

    fn say(&self, text: &str) -> Output {
        let to = ["send", "--url", &self.url, "--agent", "model", "--wait", "session", text];
        threadkeep(&to).output().unwrap()
    }

    /// What the session's stream folds to.
    async fn folded(&self) -> Value {
        let stream = format!("{}/v1/stream/sessions/session?offset=-1", self.url);
        let items = reqwest::get(stream).await.unwrap().bytes().await.unwrap();
        let mut fold = threadkeep(&["materialize", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        fold.stdin.take().unwrap().write_all(&items).unwrap();
        serde_json::from_slice(&fold.wait_with_output().unwrap().stdout).unwrap()
    }
}

/// The messages of the agent.
fn answers(folded: &Value) -> Vec<&Value> {
    let messages = folded["messages"].as_array().unwrap().iter();
    messages.filter(|message| message["role"] == "assistant").collect()
}

fn text(message: &Value) -> String {
    let parts = message["parts"].as_array().unwrap().iter();
    parts.filter_map(|part| part["text"].as_str().or(part["content"].as_str())).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn threadkeep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadkeep"));
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

#[tokio::test]
#[ignore = "needs a model server; cargo xtask test --live brings one"]
async fn a_real_model_server_answers_again_and_again_and_says_why_it_cannot() {
    let model = std::env::var("THREADKEEP_MODEL_SERVER").expect("the address of a model server");
    let server = Server::start(&format!("{model}/v1"));
    for n in 1..=2 {
        let said = server.say("Hello there");
        assert!(said.status.success(), "{said:?}");
        let folded = server.folded().await;
        let answers = answers(&folded);
        assert_eq!(answers.len(), n, "{folded:#}");
        let last = answers[n - 1];
        assert_eq!(
            (&last["isComplete"], &last["error"]),
            (&Value::Bool(true), &Value::Null),
            "{last:#}"
        );
        assert!(!text(last).is_empty(), "{last:#}");
        let reason = last["finishReason"].as_str().unwrap();
        assert!(matches!(reason, "stop" | "length"), "{last:#}");
    }

    // More than the model can take in.
    let said = server.say(&"word ".repeat(3_000));
    assert!(!said.status.success(), "{said:?}");
    let folded = server.folded().await;
    let error = &answers(&folded)[2]["error"];
    assert_eq!(error["code"], "model_http_400", "{error}");
    assert!(error["message"].as_str().unwrap().contains("context"), "{error}");
}
