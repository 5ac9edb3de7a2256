//! Agents and a model of the attacker: an HTTP server whose answers are written byte by byte.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// More of a request is read and forgotten.
const REMEMBERED: usize = 4 << 20;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n";

pub type Connection = BufStream<TcpStream>;
type Answer =
    Arc<dyn Fn(Value, Connection) -> BoxFuture<'static, std::io::Result<()>> + Send + Sync>;

/// All of them, on one port.
#[derive(Clone)]
pub struct Hooks {
    pub origin: String,
    hooks: Arc<Mutex<HashMap<String, (Answer, Asked)>>>,
}

/// Bodies of the requests that one got.
pub type Asked = Arc<Mutex<Vec<Value>>>;

/// One agent, or one model.
#[derive(Clone)]
pub struct Hook {
    /// Of an agent; a model is called when a message names its `key`.
    pub url: String,
    pub key: String,
    pub asked: Asked,
}

impl Hooks {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let new = Self { origin, hooks: Arc::default() };
        let hooks = new.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hooks = hooks.clone();
                tokio::spawn(async move { hooks.serve(BufStream::new(stream)).await.ok() });
            }
        });
        new
    }

    /// One that writes what it likes to the connection.
    pub fn raw<F>(&self, answer: impl Fn(Value, Connection) -> F + Send + Sync + 'static) -> Hook
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let (key, asked) = (Uuid::new_v4().simple().to_string(), Asked::default());
        let answer: Answer = Arc::new(move |body, connection| Box::pin(answer(body, connection)));
        self.hooks.lock().unwrap().insert(key.clone(), (answer, Arc::clone(&asked)));
        Hook { url: format!("{}/agents/{key}", self.origin), key, asked }
    }

    /// One that answers with these payloads, as server-sent events.
    pub fn says(&self, payloads: impl Fn(&Value) -> Vec<String> + Send + Sync + 'static) -> Hook {
        let payloads = Arc::new(payloads);
        self.raw(move |body, mut connection| {
            let payloads = payloads(&body);
            async move {
                connection.write_all(format!("{HEAD}\r\n").as_bytes()).await?;
                for payload in payloads {
                    connection.write_all(format!("{payload}\n\n").as_bytes()).await?;
                }
                connection.flush().await
            }
        })
    }

    /// One that begins an answer, with more headers, and lets `write` go on as long as the server
    /// takes it.
    pub fn floods<F>(
        &self,
        headers: &'static str,
        write: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) -> Hook
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let write = Arc::new(write);
        self.raw(move |_, mut connection| {
            let write = Arc::clone(&write);
            async move {
                connection.write_all(format!("{HEAD}{headers}\r\n").as_bytes()).await?;
                write(connection).await
            }
        })
    }

    async fn serve(&self, mut connection: Connection) -> std::io::Result<()> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if connection.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v)
        };
        let body = match header("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => take(&mut connection, length).await?,
            None => chunked(&mut connection).await?,
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let said = body["messages"].as_array().into_iter().flatten().rev();
        let said = said.filter_map(|message| message["content"].as_str());
        // The model is one for the whole server: what was said last names whose turn it is.
        let mut names = said.flat_map(str::split_whitespace);
        let found = {
            let hooks = self.hooks.lock().unwrap();
            match path.strip_prefix("/agents/") {
                Some(key) => hooks.get(key).cloned(),
                None => names.find_map(|name| hooks.get(name).cloned()),
            }
        };
        let Some((answer, asked)) = found else { return Ok(()) };
        asked.lock().unwrap().push(body.clone());
        answer(body, connection).await
    }
}

/// Reads so many bytes, and keeps them if they are not too many.
async fn take(connection: &mut Connection, length: usize) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if length <= REMEMBERED {
        body.resize(length, 0);
        connection.read_exact(&mut body).await?;
    } else {
        let mut rest = connection.take(length as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    }
    Ok(body)
}

async fn chunked(connection: &mut Connection) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or_default();
        let piece = take(connection, length).await?;
        connection.read_line(&mut String::new()).await?;
        if length == 0 {
            return Ok(body);
        }
        if body.len() < REMEMBERED {
            body.extend(piece);
        }
    }
}

/// A payload as an event's line.
pub fn event(chunk: &Value) -> String {
    format!("data: {chunk}")
}

/// A run that says a text.
pub fn text(text: &str) -> Vec<String> {
    let said = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": text});
    let end =
        json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "finishReason": "stop"});
    vec![event(&said), event(&end)]
}

/// A run that calls a tool and waits: for an approval of this id, or without one for the tool's
/// result.
pub fn waits(call: &str, approval: Option<&str>) -> Vec<String> {
    let start = json!({"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": "act"});
    let arguments = json!({"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": "{\"n\":1}"});
    let over = json!({"type": "TOOL_CALL_END", "toolCallId": call});
    let interrupt = match approval {
        Some(id) => json!({"id": id, "reason": "approval_required", "toolCallId": call}),
        None => {
            json!({"id": format!("i-{call}"), "reason": "client_tool_input", "toolCallId": call})
        }
    };
    let end = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r",
        "outcome": {"type": "interrupt", "interrupts": [interrupt]}});
    [start, arguments, over, end].iter().map(event).collect()
}

/// What a run is told: the answers to what it asked.
pub fn resumed(body: &Value) -> Option<&Vec<Value>> {
    body["resume"].as_array()
}
