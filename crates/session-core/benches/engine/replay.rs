//! A log in memory: parsed, folded and committed, by us and by upstream's packages.

use std::borrow::Cow;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use session_protocol::SessionFold;

use crate::cost::{Cost, cheapest};
use crate::log::{self, Kind, Shape};
use crate::{Row, engine, runtime};

const CHUNKS: usize = 100_000;
const TURNS: usize = 7;

/// The floor: an item and its chunk, read into types and nothing else.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what is parsed need not be used")]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Value<'a>,
    #[serde(borrow)]
    headers: Headers<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what is parsed need not be used")]
struct Value<'a> {
    #[serde(borrow)]
    message_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    actor_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    chunk: Option<Cow<'a, str>>,
    seq: Option<u64>,
    #[serde(borrow)]
    created_at: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is parsed need not be used")]
struct Headers<'a> {
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    txid: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what is parsed need not be used")]
struct Chunk<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    delta: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_call_id: Option<Cow<'a, str>>,
    timestamp: Option<u64>,
}

/// Items as slices of one body, as the stream client hands them on.
pub(crate) fn slices(items: &[String]) -> Vec<Bytes> {
    let body = Bytes::from(items.concat());
    let mut start = 0;
    items
        .iter()
        .map(|item| {
            let slice = body.slice(start..start + item.len());
            start += item.len();
            slice
        })
        .collect()
}

fn parse(items: &[Bytes]) -> Cost {
    let started = Cost::now();
    for item in items {
        let item: Item<'_> = serde_json::from_slice(item).unwrap();
        if let Some(chunk) = &item.value.chunk {
            black_box(serde_json::from_str::<Chunk<'_>>(chunk).unwrap());
        }
        black_box(&item);
    }
    started.until_now()
}

fn fold(items: &[Bytes]) -> Cost {
    let started = Cost::now();
    let mut fold = SessionFold::new("s");
    black_box(fold.apply(items, &mut ()));
    started.until_now()
}

fn fold_and_commit(items: &[Bytes]) -> Cost {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let engine = engine(dir.path());
        let mut session = engine.measured("local/s").await.unwrap();
        let started = Cost::now();
        session.take_in(items, "0001");
        session.commit().await.unwrap();
        let elapsed = started.until_now();
        drop(session);
        engine.close().await;
        elapsed
    })
}

/// Does one thing once with a log.
pub(crate) fn child(kind: Kind, what: &str, chunks: &str) {
    let items = slices(&log::items(Shape::new(kind, chunks.parse().unwrap())));
    let cost = match what {
        "parse" => parse(&items),
        "fold" => fold(&items),
        "commit" => fold_and_commit(&items),
        _ => Cost::now().until_now(),
    };
    println!("{cost}");
}

pub(crate) fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut ours = None;
    for kind in [Kind::Delta, Kind::Agui] {
        let items = slices(&log::items(Shape::new(kind, CHUNKS)));
        let bytes: usize = items.iter().map(Bytes::len).sum();
        let (mut parses, mut folds, mut commits) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            parses.push(parse(&items));
            folds.push(fold(&items));
            commits.push(fold_and_commit(&items));
        }
        let [parse, fold, commit] = [parses, folds, commits].map(|costs| cheapest(&costs));
        let (ratio, of_fold) = (commit.ratio(parse), fold.ratio(parse));
        rows.push(Row::new(
            format!(
                "{CHUNKS} chunks ({kind:?}, {:.0} MB) to folded, committed",
                bytes as f64 / 1e6
            ),
            "at most 4 x typed parse",
            format!("{ratio:.1} x: {commit} (parse {parse}; fold {fold} = {of_fold:.1} x)"),
            ratio <= 4.0,
        ));
        ours = Some(commit);
    }
    rows.extend(ours.and_then(upstream));
    rows
}

/// Reads the log by `createStreamDB` and folds it by one `StreamProcessor` for each message.
fn upstream(ours: Cost) -> Option<Row> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop");
    if !folder.join("node_modules/@tanstack/ai").is_dir() {
        println!("upstream's packages are not installed: `npm ci` in tests/interop");
        return None;
    }
    let items = log::items(Shape::new(Kind::Agui, CHUNKS));
    let body = format!("[{}]", items.join(","));
    let runtime = runtime();
    let url = runtime.block_on(serve(body));
    let output =
        Command::new("node").current_dir(folder).args(["engine.mjs", &url]).output().ok()?;
    if !output.status.success() {
        println!("upstream failed: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |name: &str| answer[name].as_f64().unwrap();
    let theirs = Cost::of_millis(figure("wallMs"), figure("processorMs"));
    let ratio = theirs.ratio(ours);
    Some(Row::new(
        format!("the same {CHUNKS} chunks in upstream's packages"),
        "we are 20 x faster",
        format!(
            "{ratio:.0} x: {theirs} (preload {:.0} ms), {:.0} MB",
            figure("preloadMs"),
            figure("residentMb")
        ),
        ratio >= 20.0,
    ))
}

/// Serves one closed stream; answers its URL.
async fn serve(body: String) -> String {
    let body = Bytes::from(body);
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        ("stream-next-offset", "a"),
        ("stream-up-to-date", "true"),
        ("stream-closed", "true"),
    ];
    let router = Router::new().route("/log", get(move || async move { (headers, body) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/log", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
