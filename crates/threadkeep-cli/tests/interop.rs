//! The main job against upstream's world: its published packages write streams that our engine
//! opens, and read streams that our server wrote. Needs Node and `npm ci` in `tests/interop`, which
//! `cargo xtask test` does.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use serde_json::{Value, json};
use session_core::{Actor, Endpoint, Engine, EngineConfig, FeedChange, Item, NewSession};
use session_server::{ServerConfig, StreamsBackend};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use url::Url;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn upstream(arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg("upstream.mjs").args(arguments).current_dir(root().join("tests/interop"));
    command.kill_on_drop(true).stderr(Stdio::inherit());
    command
}

/// The npm stream server; ends with the value.
struct NpmServer {
    url: Url,
    _stdin: ChildStdin,
    _child: Child,
}

impl NpmServer {
    async fn start() -> Self {
        let mut child =
            upstream(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        let line = line.expect("npm ci was run in tests/interop");
        Self {
            url: line.trim().parse().unwrap(),
            _stdin: child.stdin.take().unwrap(),
            _child: child,
        }
    }
}

async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "gave up waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The items that a window shows first.
async fn shown(engine: &Engine, session: &str) -> Vec<Item> {
    let feed = engine.feed();
    feed.show(Some(session.to_owned())).unwrap();
    let mut items = Vec::new();
    for change in feed.next(0, 0).await.changes {
        if let FeedChange::Diff { diff, .. } = change {
            diff.apply(&mut items).unwrap();
        }
    }
    items
}

fn engine(folder: &Path) -> Engine {
    Engine::open(EngineConfig {
        data_dir: folder.to_path_buf(),
        actor: Actor { id: "ana".to_owned(), name: "Ana".to_owned() },
        device_id: "laptop".to_owned(),
        inherit: session_core::Inherit::default(),
    })
    .unwrap()
}

#[tokio::test]
async fn a_stream_written_by_the_npm_client_opens_in_our_engine_with_the_right_messages() {
    let npm = NpmServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(folder.path().join("server"));
    config.streams = StreamsBackend::Remote(npm.url.join("/v1/stream").unwrap());
    let server = session_server::start(config).await.unwrap();
    let engine = engine(&folder.path().join("engine"));
    engine.connect(session_core::THIS_COMPUTER, Some(Endpoint::open(server.base_url()))).unwrap();

    let captures = root().join("crates/session-protocol/tests/fixtures/wire-captures");
    let mut files: Vec<_> =
        std::fs::read_dir(captures).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "json"));
    files.sort();
    assert!(files.len() >= 10, "the captures are there");
    for file in files {
        let items: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        if items.is_empty() {
            continue;
        }
        let id = Uuid::new_v4();
        let url = npm.url.join(&format!("/v1/stream/sessions/{id}")).unwrap();
        let written = upstream(&["write", url.as_str(), file.to_str().unwrap()]).status().await;
        assert!(written.unwrap().success(), "the npm client wrote {}", file.display());

        let want: Vec<Item> =
            session_protocol::materialize(&items).messages.iter().map(Item::from_message).collect();
        let session = engine.create_session_as(id, NewSession::default()).await.unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let got = eventually(&format!("{name} in the engine"), async || {
            let items = shown(&engine, &session).await;
            (items.len() >= want.len()
                && items.iter().zip(&want).all(|(got, want)| got.parts == want.parts))
            .then_some(items)
        })
        .await;
        let ids = |items: &[Item]| items.iter().map(|item| item.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&got), ids(&want), "{name}");
        assert!(!want.is_empty(), "{name} has messages");
    }
    engine.close().await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_stream_written_by_our_server_is_read_back_by_the_npm_package_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(folder.path());
    config.demo_pace = Duration::ZERO;
    let server = session_server::start(config).await.unwrap();
    let base = server.base_url().to_string();
    let session = format!("{}v1/sessions/{}", base, Uuid::new_v4());
    let http = reqwest::Client::new();
    let send = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{} {}", answer.url(), answer.status());
    };
    send(http.put(&session).json(&json!({}))).await;
    let login = json!({ "actorId": "ana", "deviceId": "laptop", "name": "Ana" });
    send(http.post(format!("{session}/login")).json(&login)).await;
    let demo = json!({ "id": "demo", "name": "Demo agent", "endpoint": "builtin:demo" });
    send(http.post(format!("{session}/agents")).json(&json!({ "agents": [demo] }))).await;
    let message = json!({ "content": "Tidy up the old report", "actorId": "ana" });
    send(http.post(format!("{session}/messages")).json(&message)).await;

    let stream = session.replace("/v1/sessions/", "/v1/stream/sessions/");
    let items =
        async || -> Vec<Value> { http.get(&stream).send().await.unwrap().json().await.unwrap() };
    let approval = eventually("an approval", async || {
        let pending = session_protocol::materialize(&items().await).pending_approvals;
        pending.first().map(|approval| approval.id.clone())
    })
    .await;
    let answer = json!({ "approved": true });
    let answered = http.post(format!("{session}/approvals/{approval}")).header("X-Actor-Id", "ana");
    send(answered.json(&answer)).await;
    let items = eventually("the end of the run", async || {
        let items = items().await;
        let seen = session_protocol::materialize(&items);
        // A run that waits is complete too; this one has gone on with what was decided.
        let went_on = seen.tool_calls.iter().any(|call| {
            call.call.name == "delete_file" && call.call.state == session_protocol::ToolState::Done
        });
        let done = seen.active_generations.is_empty()
            && seen.messages.iter().all(|message| message.is_complete)
            && went_on;
        done.then_some(items)
    })
    .await;

    let output = upstream(&["read", &stream]).stdout(Stdio::piped()).output().await.unwrap();
    let theirs: Value = serde_json::from_slice(&output.stdout).expect("the npm package reads it");
    for (collection, kind, count) in
        [("chunks", "chunk", 50), ("presence", "presence", 1), ("agents", "agent", 1)]
    {
        let theirs = rows(theirs[collection].as_array().unwrap());
        let ours = collapse(&items, kind);
        assert!(ours.len() >= count, "{collection}: {}", ours.len());
        assert_eq!(
            theirs.keys().collect::<Vec<_>>(),
            ours.keys().collect::<Vec<_>>(),
            "{collection}"
        );
        for (key, ours) in ours {
            for (field, value) in ours.as_object().unwrap() {
                assert_eq!(&theirs[&key][field], value, "{collection} {key} {field}");
            }
        }
    }
    server.shutdown().await;
}

#[tokio::test]
async fn upstreams_packages_drive_every_route_and_show_what_each_of_them_did() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(folder.path());
    config.allow_private_agents = true;
    let server = session_server::start(config).await.unwrap();
    let mut drive = Command::new("node");
    drive.args(["routes.mjs", server.base_url().as_str()]);
    drive.current_dir(root().join("tests/interop")).kill_on_drop(true).stderr(Stdio::piped());
    let output = tokio::time::timeout(2 * DEADLINE, drive.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let chunks = report["rows"]["chunks"].as_array().unwrap();
    assert!(chunks.len() > 40, "{}", chunks.len());
    // Every route of the document was asked.
    let source = std::fs::read_to_string(root().join("tests/interop/routes.mjs")).unwrap();
    let document = reqwest::get(server.base_url().join("openapi.json").unwrap()).await.unwrap();
    let document: Value = document.json().await.unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        let last = path.rsplit('/').find(|part| !part.starts_with('{')).unwrap();
        assert!(source.contains(last), "{path} is not driven");
    }
    server.shutdown().await;
}

/// What StreamDB shows, by key.
fn rows(rows: &[Value]) -> BTreeMap<String, Value> {
    rows.iter().map(|row| (row["$key"].as_str().unwrap().to_owned(), row.clone())).collect()
}

/// The rows of one type after all events, merged shallowly as StreamDB does.
fn collapse(items: &[Value], kind: &str) -> BTreeMap<String, Value> {
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for item in items.iter().filter(|item| item["type"] == kind) {
        let key = item["key"].as_str().unwrap().to_owned();
        if item["headers"]["operation"] == "delete" {
            rows.remove(&key);
            continue;
        }
        let row = rows.entry(key).or_insert_with(|| json!({}));
        for (field, value) in item["value"].as_object().unwrap() {
            row[field] = value.clone();
        }
    }
    rows
}
