//! `kill -9` at random moments, of the server and of its agents, while sessions chat.
//!
//! Server and agents are processes of their own: this test binary, started again. Clients repeat what was not answered
//! with the same ids until it is. Afterwards every acknowledged intent is in the log once, every run has an end, no
//! sequence number is missing or used twice, and no run was given to an agent twice.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::Response,
    routing::post,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use session_server::{ServerConfig, start};
use uuid::Uuid;

use crate::{
    acp::scripted,
    rig::{Log, config},
};

/// How long anything may take: an answer between the kills, rest after the last one.
const REST: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_lose_and_double_nothing() {
    Ordeal { sessions: 4, kills: 10, pause: 800, patience: 40 }.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo xtask test --server-kills"]
async fn five_hundred_kills_lose_and_double_nothing() {
    Ordeal { sessions: 20, kills: 500, pause: 2000, patience: 300 }.run().await;
}

struct Ordeal {
    sessions: usize,
    kills: usize,
    /// The longest time between two kills, in milliseconds.
    pause: u64,
    /// How long clients wait between two things they do, at most, in milliseconds.
    patience: u64,
}

impl Ordeal {
    async fn run(self) {
        let seed = std::env::var("THREADKEEP_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        println!("THREADKEEP_SEED={seed}");
        let mut dice = Dice(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut agents = [
            Process::new("agent_process", dir.path(), "agent-a"),
            Process::new("agent_process", dir.path(), "agent-b"),
        ];
        let mut server = Process::new("server_process", dir.path(), "server");
        let base = format!("http://127.0.0.1:{}", server.port);
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for n in 0..self.sessions {
            let urls = agents.each_ref().map(|agent| format!("http://127.0.0.1:{}/", agent.port));
            let talker = Talker::new(&base, urls, Dice(seed ^ (n as u64 + 1)), n % 2 == 1);
            let talker = Talker { patience: self.patience, ..talker };
            clients.push(tokio::spawn(talker.chat(Arc::clone(&stop))));
        }
        for _ in 0..self.kills {
            // Now and then long enough for something to get done, else in the middle of getting up.
            let pause = if dice.below(3) == 0 { self.pause } else { self.pause / 10 };
            tokio::time::sleep(Duration::from_millis(dice.below(pause))).await;
            match dice.below(5) {
                0 => agents[0].again(),
                1 => agents[1].again(),
                _ => server.again(),
            }
        }
        stop.store(true, Ordering::Relaxed);
        let mut messages = 0;
        let mut chunks = 0;
        let mut ends = HashMap::<String, usize>::new();
        for client in clients {
            let talker = client.await.expect("no client fails");
            let log = talker.check();
            messages += talker.said.len();
            chunks += log.chunks().len();
            for (_, chunk) in log.chunks() {
                let end = match chunk["type"].as_str() {
                    Some("RUN_ERROR") => chunk["code"].as_str().unwrap_or_default(),
                    Some("stop") => chunk["reason"].as_str().unwrap_or_default(),
                    Some("RUN_FINISHED") => "finished",
                    _ => continue,
                };
                *ends.entry(end.to_owned()).or_default() += 1;
            }
        }
        let mut called = HashSet::new();
        for agent in &agents {
            for run in std::fs::read_to_string(agent.log()).unwrap().lines() {
                assert!(called.insert(run.to_owned()), "run {run} was given to an agent twice");
            }
        }
        println!(
            "{} kills, {} sessions, {messages} messages, {chunks} chunks, {} calls of agents, ends: {ends:?}",
            self.kills,
            self.sessions,
            called.len()
        );
        assert!(messages > self.sessions, "they talked");
    }
}

/// A process that is killed without warning and started again on the same port.
pub struct Process {
    test: &'static str,
    folder: PathBuf,
    pub port: u16,
    child: Child,
    /// Kept open: a process that cannot write would end.
    _out: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub fn new(test: &'static str, dir: &Path, name: &str) -> Self {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (child, _out) = launch(test, &folder, port);
        Self { test, folder, port, child, _out }
    }

    /// Kills it, and starts it again.
    pub fn again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self._out) = launch(self.test, &self.folder, self.port);
    }

    fn log(&self) -> PathBuf {
        self.folder.join("calls.log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts a test of this binary as a process and waits until it listens.
fn launch(test: &str, folder: &Path, port: u16) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("kills::{test}"), "--nocapture"])
        .env("THREADKEEP_KILLS_FOLDER", folder)
        .env("THREADKEEP_KILLS_PORT", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = out.by_ref().map_while(Result::ok).any(|line| line.ends_with("listening"));
    assert!(ready, "{test} did not start");
    (child, out)
}

/// What a process was started with; `None` when this is an ordinary run of the tests.
fn started_as_process() -> Option<(PathBuf, u16)> {
    let folder = std::env::var_os("THREADKEEP_KILLS_FOLDER")?;
    let port = std::env::var("THREADKEEP_KILLS_PORT").ok()?.parse().ok()?;
    Some((folder.into(), port))
}

/// Says that the process listens, and stays until its parent is gone.
async fn stay() {
    println!("listening");
    std::io::stdout().flush().unwrap();
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    parent.await.unwrap().ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_process() {
    let Some((folder, port)) = started_as_process() else { return };
    let mut config: ServerConfig = config(&folder);
    config.listen.set_port(port);
    let agent = folder.join("agent");
    if agent.is_dir() {
        config.acp = vec![scripted("it", "resume", &agent)];
    }
    let _server = start(config).await.unwrap();
    stay().await;
    std::process::exit(0);
}

#[tokio::test]
async fn agent_process() {
    let Some((folder, port)) = started_as_process() else { return };
    let calls =
        std::fs::OpenOptions::new().create(true).append(true).open(folder.join("calls.log"));
    let app = Router::new().route("/", post(answer)).with_state(Arc::new(calls.unwrap()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    stay().await;
    std::process::exit(0);
}

/// An agent that talks, asks for approval, or wants a tool to be run, as the run's id has it.
async fn answer(State(calls): State<Arc<std::fs::File>>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let run = asked["runId"].as_str().unwrap();
    (&*calls).write_all(format!("{run}\n").as_bytes()).unwrap();
    let mut dice = Dice(Uuid::parse_str(run).unwrap().as_u64_pair().1);
    let mut chunks = vec![json!({"type": "RUN_STARTED", "threadId": "t", "runId": run})];
    for n in 0..dice.below(12) {
        chunks.push(
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": n.to_string()}),
        );
    }
    let call = format!("c-{run}");
    let mut end =
        json!({"type": "RUN_FINISHED", "threadId": "t", "runId": run, "finishReason": "stop"});
    let kind = if asked.get("resume").is_some() { 9 } else { dice.below(10) };
    if kind < 4 {
        chunks.push(json!({"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": "act"}));
        end = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": run, "outcome": {"type": "interrupt",
        "interrupts": [if kind < 2 {
            json!({"id": format!("a-{run}"), "reason": "approval_required", "toolCallId": call})
        } else {
            json!({"id": format!("i-{run}"), "reason": "client_tool_input", "toolCallId": call})
        }]}});
    }
    chunks.push(end);
    let pace = [0, 1, 5, 20][usize::try_from(dice.below(4)).unwrap()];
    let body = futures::stream::unfold(chunks.into_iter(), move |mut chunks| async move {
        let chunk = chunks.next()?;
        tokio::time::sleep(Duration::from_millis(pace)).await;
        Some((Ok::<_, std::io::Error>(format!("data: {chunk}\n\n")), chunks))
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Body::from_stream(body))
        .unwrap()
}

/// A client that gives up nothing: what is not answered is asked again with the same ids.
struct Talker {
    http: Client,
    base: String,
    id: String,
    agents: [String; 2],
    dice: Dice,
    patience: u64,
    /// It stops runs, so not every message has an answer.
    stops: bool,
    offset: String,
    log: Log,
    /// Acknowledged messages, and whether they mention the second agent.
    said: HashMap<String, bool>,
    approved: HashMap<String, bool>,
    results: HashMap<String, u64>,
}

impl Talker {
    fn new(base: &str, agents: [String; 2], dice: Dice, stops: bool) -> Self {
        Self {
            http: Client::new(),
            base: base.to_owned(),
            id: Uuid::new_v4().to_string(),
            agents,
            dice,
            patience: 0,
            stops,
            offset: "-1".to_owned(),
            log: Log::default(),
            said: HashMap::new(),
            approved: HashMap::new(),
            results: HashMap::new(),
        }
    }

    async fn chat(mut self, stop: Arc<AtomicBool>) -> Self {
        let agents = json!([
            {"id": "a", "endpoint": self.agents[0]},
            {"id": "b", "endpoint": self.agents[1], "triggers": "mentions"},
        ]);
        assert_eq!(self.ask(Method::PUT, "", json!({"agents": agents})).await, 200);
        while !stop.load(Ordering::Relaxed) {
            let pause = self.dice.below(self.patience);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match self.dice.below(10) {
                0..5 => self.say().await,
                5 if self.stops => {
                    assert_eq!(
                        self.ask(Method::POST, "/stop", json!({"actorId": "ann"})).await,
                        204
                    );
                }
                _ => {
                    self.read().await;
                    self.decide(1).await;
                }
            }
        }
        // To the end of everything that waits.
        let deadline = Instant::now() + REST;
        loop {
            self.read().await;
            if self.decide(usize::MAX).await == 0 && self.is_at_rest() {
                return self;
            }
            assert!(Instant::now() < deadline, "{}", self.unrest());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn say(&mut self) {
        let id = Uuid::new_v4().to_string();
        let both = self.dice.below(4) == 0;
        let mut body = json!({"messageId": id, "txid": Uuid::new_v4(), "actorId": "ann",
            "content": if both { "go on, @b too" } else { "go on" }});
        if self.stops && self.dice.below(4) == 0 {
            body["mode"] = "steer".into();
        }
        assert_eq!(self.ask(Method::POST, "/messages", body).await, 200);
        self.said.insert(id, both);
    }

    /// Answers what agents wait for, at most `most`; gives how many that were.
    async fn decide(&mut self, most: usize) -> usize {
        let mut asks = Vec::new();
        for (row, chunk) in self.log.chunks() {
            for interrupt in chunk["outcome"]["interrupts"].as_array().into_iter().flatten() {
                asks.push((row["messageId"].clone(), interrupt.clone()));
            }
        }
        let mut decided = 0;
        for (_, ask) in asks {
            let id = ask["id"].as_str().unwrap();
            let call = ask["toolCallId"].as_str().unwrap();
            if decided == most || self.approved.contains_key(id) || self.results.contains_key(call)
            {
                continue;
            }
            decided += 1;
            if ask["reason"] == "approval_required" {
                let approved = self.dice.below(2) == 0;
                let body = json!({"approved": approved, "actorId": "ann", "txid": Uuid::new_v4()});
                let status = self.ask(Method::POST, &format!("/approvals/{id}"), body).await;
                // Whoever stopped the run has denied what it asked.
                let denied = status == 409 && self.stops;
                assert!(status == 204 || denied, "{status}");
                self.approved.insert(id.to_owned(), approved && !denied);
            } else {
                let output = self.dice.below(1000);
                let body = json!({"toolCallId": call, "output": output, "actorId": "ann"});
                assert_eq!(self.ask(Method::POST, "/tool-results", body).await, 204);
                self.results.insert(call.to_owned(), output);
            }
        }
        decided
    }

    /// Asks until there is an answer that says yes or no.
    async fn ask(&self, method: Method, rest: &str, body: Value) -> u16 {
        let url = format!("{}/v1/sessions/{}{rest}", self.base, self.id);
        let deadline = Instant::now() + REST;
        loop {
            let call = self.http.request(method.clone(), &url).timeout(Duration::from_secs(20));
            match call.json(&body).send().await {
                Ok(answer) if answer.status().as_u16() != 503 => return answer.status().as_u16(),
                _ => {}
            }
            assert!(Instant::now() < deadline, "no answer to {method} {rest}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reads on where the last read ended. A read that breaks off is made again.
    async fn read(&mut self) {
        let deadline = Instant::now() + REST;
        loop {
            let url =
                format!("{}/v1/stream/sessions/{}?offset={}", self.base, self.id, self.offset);
            if let Ok(answer) = self.http.get(&url).timeout(Duration::from_secs(20)).send().await
                && answer.status() == 200
                && let Some(next) = answer.headers().get("stream-next-offset")
                && let Ok(next) = next.to_str().map(str::to_owned)
                && let Ok(items) = answer.json::<Vec<Value>>().await
            {
                if items.is_empty() {
                    return;
                }
                self.log.items.extend(items);
                self.offset = next;
                continue;
            }
            assert!(Instant::now() < deadline, "the stream cannot be read");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Messages of agents whose last chunk is no end, with that chunk.
    fn open(&self) -> Vec<(String, Value)> {
        let mut last = HashMap::new();
        for (row, chunk) in self.log.chunks() {
            if row["role"] == "assistant" {
                last.insert(row["messageId"].as_str().unwrap().to_owned(), chunk);
            }
        }
        last.into_iter().filter(|(_, chunk)| !is_end(chunk)).collect()
    }

    /// Every message of an agent is over, every message of a person has its answers, every decision its run.
    fn is_at_rest(&self) -> bool {
        let answers = self.answers();
        let runs = self.log.chunks().iter().filter(|(_, chunk)| is_end(chunk)).count();
        let decided = self.approved.len() + self.results.len();
        let all = self.stops || answers == self.wanted() && runs == answers + decided;
        all && self.open().is_empty()
    }

    /// What is missing, for a failure's message.
    fn unrest(&self) -> String {
        let runs = self.log.chunks().iter().filter(|(_, chunk)| is_end(chunk)).count();
        let decided = self.approved.len() + self.results.len();
        let mut tails = HashMap::<String, Vec<String>>::new();
        for (row, chunk) in self.log.chunks() {
            let said = format!("{} {}", row["role"], chunk["type"]);
            let tail = tails.entry(row["messageId"].to_string()).or_default();
            tail.push(said);
        }
        let decisions = ["approval-response", "TOOL_CALL_RESULT"];
        let stuck = tails.iter().filter(|(_, tail)| {
            tail.last().is_some_and(|last| decisions.iter().any(|kind| last.contains(kind)))
        });
        format!(
            "no rest: {} answers of {}, {runs} ends of {}, stops: {}, open: {:?}, decided without a run: {:?}",
            self.answers(),
            self.wanted(),
            self.answers() + decided,
            self.stops,
            self.open(),
            stuck.collect::<Vec<_>>(),
        )
    }

    fn wanted(&self) -> usize {
        self.said.len() + self.said.values().filter(|both| **both).count()
    }

    fn answers(&self) -> usize {
        let chunks = self.log.chunks();
        let agents = chunks.iter().filter(|(row, _)| row["actorId"] != "ann");
        agents.map(|(row, _)| row["messageId"].to_string()).collect::<HashSet<_>>().len()
    }

    /// What must hold when all is over.
    fn check(&self) -> &Log {
        let log = &self.log;
        log.assert_gapless();
        let mut said = HashMap::<String, usize>::new();
        let mut approved = HashMap::<String, Vec<bool>>::new();
        let mut results = HashMap::<String, Vec<String>>::new();
        let mut running = HashMap::<String, bool>::new();
        for (row, chunk) in log.chunks() {
            let message = row["messageId"].as_str().unwrap().to_owned();
            let text = |key: &str| chunk[key].as_str().unwrap().to_owned();
            match chunk["type"].as_str().unwrap() {
                "whole-message" => *said.entry(message).or_default() += 1,
                "approval-response" => {
                    approved.entry(text("approvalId")).or_default().push(chunk["approved"] == true);
                }
                "TOOL_CALL_RESULT" => {
                    results.entry(text("toolCallId")).or_default().push(text("content"));
                }
                "RUN_STARTED" => {
                    let before = running.insert(message, true);
                    assert_ne!(before, Some(true), "a run began in another");
                }
                _ if is_end(&chunk) => {
                    let before = running.insert(message, false);
                    // A run that was cut off before its first word has only an end.
                    let silent = chunk["type"] == "RUN_ERROR" || chunk["type"] == "stop";
                    assert!(before == Some(true) || silent, "{chunk} ends nothing");
                }
                _ => {}
            }
        }
        let once = self.said.keys().map(|id| (id.clone(), 1)).collect();
        assert_eq!(said, once, "every message once");
        let first = self.approved.iter().map(|(id, yes)| (id.clone(), vec![*yes])).collect();
        assert_eq!(approved, first, "every decision once");
        let found = self.results.iter().map(|(id, n)| (id.clone(), vec![n.to_string()])).collect();
        assert_eq!(results, found, "every result once");
        assert!(running.values().all(|running| !running));
        if self.stops {
            assert!(self.answers() <= self.wanted());
        }
        log
    }
}

fn is_end(chunk: &Value) -> bool {
    matches!(chunk["type"].as_str(), Some("RUN_FINISHED" | "RUN_ERROR" | "stop"))
}

/// SplitMix64: good enough to be unfair.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}
