//! What the session server adds to its stream server: time per token, time to many readers, memory of idle sessions.
//!
//! The servers run in processes of their own (this binary, started again). "Bare" is the router of
//! `durable-streams-server` over its own storage on disk, without sessions. Every figure is printed with what is wanted.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response, routing::post};
use futures::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

const TOKENS: usize = 2_000;
const READERS: usize = 1_000;
const EVENTS: usize = 50;
const SESSIONS: usize = 10_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("serve-sessions"), Some(folder)) => runtime.block_on(sessions(Path::new(&folder))),
        (Some("serve-streams"), Some(folder)) => runtime.block_on(streams(Path::new(&folder))),
        (Some("at-rest"), _) => runtime.block_on(at_rest()),
        _ => runtime.block_on(measure()),
    }
}

async fn sessions(folder: &Path) {
    let mut config = session_server::ServerConfig::new(folder);
    config.demo_pace = Duration::ZERO;
    config.allow_private_agents = true;
    config.limits.requests_per_second = 0;
    if let Ok(bytes) = std::env::var(HISTORY) {
        config.limits.history_bytes = bytes.parse().unwrap();
    }
    let server = session_server::start(config).await.unwrap();
    announce(server.base_url().as_str()).await;
}

async fn streams(folder: &Path) {
    use durable_streams_server::{AcidStorage, Config, build_router, config::AcidBackend};
    let storage = AcidStorage::new(folder, 4, 1 << 36, 1 << 32, AcidBackend::File).unwrap();
    let app = build_router(Arc::new(storage), &Config::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    announce(&url).await;
}

async fn announce(url: &str) {
    println!("{url}");
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await.unwrap().ok();
    std::process::exit(0);
}

struct Server {
    child: Child,
    _out: BufReader<ChildStdout>,
    base: String,
    _folder: Arc<tempfile::TempDir>,
}

impl Server {
    fn start(mode: &str) -> Self {
        Self::start_in(mode, &Arc::new(tempfile::tempdir().unwrap()), &[])
    }

    /// A server over a folder that may have been another's.
    fn start_in(mode: &str, folder: &Arc<tempfile::TempDir>, with: &[(&str, &str)]) -> Self {
        let folder = Arc::clone(folder);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([mode, folder.path().to_str().unwrap()])
            .envs(with.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let base = line.trim().trim_end_matches('/').to_owned();
        Self { child, _out: out, base, _folder: folder }
    }

    /// Resident memory in megabytes.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn row(what: &str, want: &str, have: &str, ok: bool) {
    println!("{what:<58} want {want:<16} have {have:<24} {}", if ok { "ok" } else { "NOT OK" });
}

async fn measure() {
    tokens().await;
    waiting().await;
    readers().await;
    at_rest().await;
    idle().await;
}

/// The variable that says how many bytes of history a server gives an agent.
const HISTORY: &str = "BENCH_HISTORY_BYTES";
/// The variable that says how many chunks the long session has.
const CHUNKS: &str = "BENCH_CHUNKS";
/// Chunks of one exchange: a question, and an answer of so many words.
const EXCHANGE: usize = 200;

/// A message to a session at rest, until its agent is called: what a long session costs beside a short one.
async fn at_rest() {
    let long = std::env::var(CHUNKS).ok().and_then(|chunks| chunks.parse().ok());
    let long: usize = long.unwrap_or(1_000_000);
    for (history, want) in [("65536", 1.5), ("8388608", f64::INFINITY)] {
        let (short_wait, short_memory) = called_after(1_000, history).await;
        let (long_wait, long_memory) = called_after(long, history).await;
        let ratio = long_wait / short_wait;
        row(
            &format!(
                "message to {long} chunks at rest, {} KB for the agent",
                history.parse::<u64>().unwrap() >> 10
            ),
            &if want.is_finite() { format!("<= {want} x") } else { "what it weighs".to_owned() },
            &format!("{ratio:.2} x ({long_wait:.1} ms, {short_wait:.1} ms)"),
            ratio <= want,
        );
        println!(
            "{:<58} {long_memory:.0} MB, with 1000 chunks {short_memory:.0} MB",
            "  memory of the server"
        );
    }
}

/// The median wait of a message, and the server's memory after it. The server is started anew for each message.
async fn called_after(chunks: usize, history: &str) -> (f64, f64) {
    let (called, mut calls) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        post(move || async move {
            called.send(Instant::now()).ok();
            let end = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#;
            let body = format!("data: {end}\n\n");
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(Body::from(body))
                .unwrap()
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let http = Client::new();
    let (mut waits, mut memory) = (Vec::new(), 0.0);
    for round in 0..7 {
        let server = Server::start_in("serve-sessions", &folder, &[(HISTORY, history)]);
        let session = format!("{}/v1/sessions/s", server.base);
        if round == 0 {
            let agents = json!({"agents": [{"id": "a", "endpoint": agent}]});
            http.put(&session).json(&agents).send().await.unwrap().error_for_status().unwrap();
            let stream = format!("{}/v1/stream/sessions/s", server.base);
            for first in (0..chunks).step_by(20 * EXCHANGE) {
                let items: Vec<Value> =
                    (first..chunks.min(first + 20 * EXCHANGE)).map(chunk).collect();
                let append = http.post(&stream).json(&items).send().await.unwrap();
                append.error_for_status().unwrap();
            }
        }
        let started = Instant::now();
        let message =
            json!({"content": "go", "actorId": "ann", "txid": uuid::Uuid::new_v4().to_string()});
        let sent = http.post(format!("{session}/messages")).json(&message).send().await.unwrap();
        sent.error_for_status().unwrap();
        let at = calls.recv().await.unwrap();
        // The first one reads the stream and stores what it says.
        if round > 0 {
            waits.push((at - started).as_secs_f64() * 1e3);
            memory = server.memory();
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // until the run has ended
    }
    waits.sort_by(f64::total_cmp);
    (waits[waits.len() / 2], memory)
}

/// An item of a session of many exchanges.
fn chunk(n: usize) -> Value {
    let (exchange, at) = (n / EXCHANGE, n % EXCHANGE);
    let (message, role, seq) = match at {
        0 => (format!("q{exchange}"), "user", 0),
        at => (format!("a{exchange}"), "assistant", at - 1),
    };
    let chunk = match at {
        0 => {
            json!({"type": "whole-message", "message": {"id": message, "role": "user", "parts": [{"type": "text", "content": "And then?"}]}})
        }
        1 => json!({"type": "RUN_STARTED", "threadId": "t", "runId": format!("r{exchange}")}),
        at if at == EXCHANGE - 1 => {
            json!({"type": "RUN_FINISHED", "threadId": "t", "runId": format!("r{exchange}"), "finishReason": "stop"})
        }
        at => json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": format!("w{at} ")}),
    };
    let mut headers = json!({"operation": "insert"});
    if at == 0 {
        headers["txid"] = format!("t{exchange}").into();
    }
    json!({
        "type": "chunk", "key": format!("{message}:{seq}"), "headers": headers,
        "value": {"messageId": message, "actorId": if at == 0 { "ann" } else { "a" }, "role": role,
            "chunk": chunk.to_string(), "seq": seq, "createdAt": "2026-03-01T10:00:00.000Z"},
    })
}

/// An agent that says all its tokens as fast as they are taken.
async fn talkative() -> String {
    let app = Router::new().route("/", post(|| async {
        let start = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#.to_owned();
        let words = (0..TOKENS).map(|n| {
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": format!("word{n} ")}).to_string()
        });
        let end = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#.to_owned();
        let chunks: Vec<String> = std::iter::once(start).chain(words).chain([end]).collect();
        let body = futures::stream::iter(chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(format!("data: {chunk}\n\n"))));
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(body)).unwrap()
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// How long a word is on its way from its agent to a live reader: the wait for its batch, the append, the delivery.
async fn waiting() {
    let server = Server::start("serve-sessions");
    let http = Client::new();
    let epoch = Instant::now();
    let (words, pace) = (1_000, Duration::from_millis(3));
    let app = Router::new().route("/", post(move || async move {
        let ticks = tokio::time::interval(pace);
        let body = futures::stream::unfold((ticks, 0), move |(mut ticks, n)| async move {
            ticks.tick().await;
            let at = epoch.elapsed().as_micros().to_string();
            let chunk = match n {
                n if n < words => json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": format!("<{at}>")}),
                n if n == words => json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "finishReason": "stop"}),
                _ => return None,
            };
            Some((Ok::<_, std::io::Error>(format!("data: {chunk}\n\n")), (ticks, n + 1)))
        });
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(body)).unwrap()
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let session = format!("{}/v1/sessions/s", server.base);
    let agents = json!({"agents": [{"id": "a", "endpoint": agent}]});
    http.put(&session).json(&agents).send().await.unwrap().error_for_status().unwrap();
    let stream = format!("{}/v1/stream/sessions/s?offset=-1&live=sse", server.base);
    let mut live = http.get(stream).send().await.unwrap().bytes_stream();
    let message = json!({"content": "go", "actorId": "ann"});
    http.post(format!("{session}/messages")).json(&message).send().await.unwrap();
    let (mut delays, mut text) = (Vec::new(), String::new());
    while !text.contains("RUN_FINISHED") {
        let piece = live.next().await.unwrap().unwrap();
        let now = epoch.elapsed().as_micros() as f64;
        text = String::from_utf8_lossy(&piece).into_owned();
        let sent =
            text.split('<').skip(1).filter_map(|rest| rest.split_once('>')?.0.parse::<f64>().ok());
        delays.extend(sent.map(|sent| (now - sent) / 1e3));
    }
    delays.sort_by(f64::total_cmp);
    let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize];
    row(
        &format!("{words} words, one every 3 ms: agent to reader, p99"),
        "<= 10 ms",
        &format!("{:.1} ms (p50 {:.1}, most {:.1})", at(0.99), at(0.5), at(1.0)),
        at(0.99) <= 10.0,
    );
}

async fn tokens() {
    let server = Server::start("serve-sessions");
    let http = Client::new();
    let agent = talkative().await;
    let (mut through, mut direct, mut batches) = (Vec::new(), Vec::new(), 0);
    for round in 0..7 {
        // Through the server: from the message to the end of the answer in the stream.
        let session = format!("{}/v1/sessions/s{round}", server.base);
        let agents = json!({"agents": [{"id": "a", "endpoint": agent}]});
        http.put(&session).json(&agents).send().await.unwrap().error_for_status().unwrap();
        let stream = format!("{}/v1/stream/sessions/s{round}", server.base);
        let mut live =
            http.get(format!("{stream}?offset=-1&live=sse")).send().await.unwrap().bytes_stream();
        let started = Instant::now();
        let message = json!({"content": "go", "actorId": "ann"});
        let posted = http.post(format!("{session}/messages")).json(&message).send();
        let (posted, appended) = tokio::join!(posted, async {
            let mut text = String::new();
            while !text.contains("RUN_FINISHED") {
                text.push_str(&String::from_utf8_lossy(&live.next().await.unwrap().unwrap()));
            }
            (started.elapsed(), text)
        });
        posted.unwrap().error_for_status().unwrap();
        let (took, text) = appended;
        // The same batches, appended one after the other to a stream of the same server.
        let items: Vec<Vec<Value>> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok())
            .collect();
        batches = items.len();
        let bare = format!("{}/v1/stream/bare{round}", server.base);
        let json_type = ("content-type", "application/json");
        http.put(&bare)
            .header(json_type.0, json_type.1)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
        let bodies: Vec<Vec<u8>> =
            items.iter().map(|batch| serde_json::to_vec(batch).unwrap()).collect();
        let began = Instant::now();
        for body in bodies {
            let append = http.post(&bare).header(json_type.0, json_type.1).body(body);
            append.send().await.unwrap().error_for_status().unwrap();
        }
        if round > 1 {
            through.push(took.as_secs_f64());
            direct.push(began.elapsed().as_secs_f64());
        }
    }
    let (through, direct) = (median(&mut through), median(&mut direct));
    let ratio = direct / through;
    row(
        &format!("{TOKENS} tokens: rate of appending the same {batches} batches"),
        ">= 60 %",
        &format!("{:.0} % ({:.0} ms, {:.0} ms)", ratio * 100.0, through * 1e3, direct * 1e3),
        ratio >= 0.6,
    );
    row(
        &format!("{TOKENS} tokens: seconds through the server"),
        "< 7 to 12",
        &format!("{through:.3} ({:.0} tokens/s)", TOKENS as f64 / through),
        through < 7.0,
    );
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Milliseconds from an append to its arrival at each of many readers: the median and the 99th percentile.
async fn delivery(base: &str, path: &str, append: impl AsyncFn(usize)) -> (f64, f64) {
    let host = base.trim_start_matches("http://").to_owned();
    let (arrived, mut arrivals) = mpsc::unbounded_channel::<(usize, Instant)>();
    let ready = Arc::new(AtomicUsize::new(0));
    // They end with the measurement.
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (host, path, arrived, ready) =
            (host.clone(), path.to_owned(), arrived.clone(), Arc::clone(&ready));
        readers.spawn(async move {
            let mut socket = TcpStream::connect(&host).await.unwrap();
            let request = format!(
                "GET {path}?live=sse&offset=-1 HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).await.unwrap();
            let (mut seen, mut text, mut piece) = (0, Vec::new(), vec![0; 16 << 10]);
            let mut live = false;
            loop {
                let got = socket.read(&mut piece).await.unwrap();
                // Servers end event streams after a minute; these are over by then.
                assert!(got > 0, "the machine is too slow: a reader was sent away");
                let now = Instant::now();
                text.extend_from_slice(&piece[..got]);
                if !live && find(&text, b"upToDate").is_some() {
                    live = true;
                    ready.fetch_add(1, Ordering::Relaxed);
                }
                while let Some(at) = find(&text, format!("tick-{seen}-").as_bytes()) {
                    text.drain(..at);
                    arrived.send((seen, now)).ok();
                    seen += 1;
                }
            }
        });
    }
    while ready.load(Ordering::Relaxed) < READERS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut began = Vec::new();
    for n in 0..EVENTS {
        began.push(Instant::now());
        append(n).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut waits = Vec::with_capacity(READERS * EVENTS);
    while waits.len() < READERS * EVENTS {
        let (n, at) = arrivals.recv().await.unwrap();
        waits.push(at.duration_since(began[n]).as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    (waits[waits.len() / 2], waits[waits.len() * 99 / 100])
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

async fn readers() {
    let http = Client::new();
    let bare = Server::start("serve-streams");
    let stream = format!("{}/v1/stream/s", bare.base);
    http.put(&stream)
        .header("content-type", "application/json")
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let append = async |n: usize| {
        let body =
            json!([{"type": "chunk", "key": format!("m:{n}"), "text": format!("tick-{n}-")}])
                .to_string();
        let append = http.post(&stream).header("content-type", "application/json").body(body);
        append.send().await.unwrap().error_for_status().unwrap();
    };
    let (bare_median, bare_p99) = delivery(&bare.base, "/v1/stream/s", append).await;
    drop(bare);
    let server = Server::start("serve-sessions");
    let session = format!("{}/v1/sessions/s", server.base);
    http.put(&session).json(&json!({})).send().await.unwrap().error_for_status().unwrap();
    let append = async |n: usize| {
        let message = json!({"content": format!("tick-{n}-"), "actorId": "ann"});
        let append = http.post(format!("{session}/messages")).json(&message);
        append.send().await.unwrap().error_for_status().unwrap();
    };
    let (median, p99) = delivery(&server.base, "/v1/stream/sessions/s", append).await;
    let ratio = p99 / bare_p99;
    row(
        &format!("{READERS} live readers: p99 delivery, of the bare server's"),
        "<= 3 x",
        &format!("{ratio:.2} x ({p99:.1} ms, {bare_p99:.1} ms)"),
        ratio <= 3.0,
    );
    println!("{:<58} {median:.1} ms, bare {bare_median:.1} ms", "  medians");
}

async fn idle() {
    let server = Server::start("serve-sessions");
    let http = Client::new();
    let empty = server.memory();
    let work = futures::stream::iter(0..SESSIONS).map(|n| {
        let (http, base) = (http.clone(), server.base.clone());
        async move {
            let session = format!("{base}/v1/sessions/idle-{n}");
            let agents = json!({"agents": [{"id": "a", "endpoint": "builtin:demo"}]});
            http.put(&session).json(&agents).send().await.unwrap().error_for_status().unwrap();
            let message = json!({"content": "hello", "actorId": "ann"});
            let message = http.post(format!("{session}/messages")).json(&message);
            message.send().await.unwrap().error_for_status().unwrap();
        }
    });
    work.buffer_unordered(32).collect::<Vec<()>>().await;
    let busy = server.memory();
    // Sessions that nobody asks anything of are put away after a minute.
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut least = busy;
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_secs(5)).await;
        least = least.min(server.memory());
    }
    row(
        &format!("{SESSIONS} idle sessions: memory of the server"),
        "<= 200 MB",
        &format!("{least:.0} MB"),
        least <= 200.0,
    );
    println!(
        "{:<58} {busy:.0} MB; with no session {empty:.0} MB",
        "  just after all of them were answered"
    );
}
