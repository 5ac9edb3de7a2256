//! The list of many sessions on several servers: starting with it, and one change in it.

use std::path::Path;
use std::time::{Duration, Instant};

use session_core::{Address, FeedChange, THIS_COMPUTER};
use tempfile::TempDir;

use crate::{Row, engine, median, millis, runtime};

const MANY: usize = 10_000;
const FEW: usize = 100;
const TURNS: usize = 11;

/// A database with sessions on three servers.
fn store(sessions: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let servers = runtime().block_on(async {
        let engine = engine(dir.path());
        let mut servers = vec![THIS_COMPUTER.to_owned()];
        for name in ["team", "lab"] {
            let url = format!("https://{name}.example").parse().unwrap();
            servers.push(engine.join_server(&url, name).await.unwrap());
        }
        engine.close().await;
        servers
    });
    let mut database = rusqlite::Connection::open(dir.path().join("threadkeep.db")).unwrap();
    let transaction = database.transaction().unwrap();
    for n in 0..sessions {
        let id = Address::new(&servers[n % servers.len()], &format!("session-{n:05}")).to_string();
        let at = format!("2026-{:02}-{:02}T10:00:00.{:03}Z", 1 + n % 12, 1 + n % 28, n % 1000);
        transaction
            .execute(
                "INSERT INTO sessions (id, title, created_at, last_activity, preview, remote)
                 VALUES (?1, ?2, ?3, ?3, ?4, 1)",
                (
                    id,
                    format!("What was asked in {n}"),
                    at,
                    "The beginning of an answer. ".repeat(5),
                ),
            )
            .unwrap();
    }
    transaction.commit().unwrap();
    dir
}

/// From opening the engine to the first batch of a window.
fn started(dir: &Path) -> Duration {
    runtime().block_on(async {
        let started = Instant::now();
        let engine = engine(dir);
        let feed = engine.feed();
        let batch = feed.next(0, 0).await;
        let elapsed = started.elapsed();
        assert!(batch.reset);
        engine.close().await;
        elapsed
    })
}

/// Bytes of the batch that tells a window of a draft in one session, and of the first batch.
fn told(dir: &Path) -> (usize, usize) {
    runtime().block_on(async {
        let engine = engine(dir);
        let feed = engine.feed();
        let first = feed.next(0, 0).await;
        let session = engine.sessions()[0].id.clone();
        engine.save_draft(&session, "half a thought").await.unwrap();
        let mut cursor = first.to;
        let change = loop {
            let batch = feed.next(feed.epoch(), cursor).await;
            cursor = batch.to;
            let is_it = |change: &FeedChange| match change {
                FeedChange::Sessions { servers, .. } => {
                    servers.iter().flat_map(|head| &head.rows).any(|row| row.session.id == session)
                }
                _ => false,
            };
            if batch.changes.iter().any(is_it) {
                break batch;
            }
        };
        engine.close().await;
        let bytes = |batch| serde_json::to_string(batch).unwrap().len();
        (bytes(&change), bytes(&first))
    })
}

pub(crate) fn run() -> Vec<Row> {
    let stores = [store(FEW), store(MANY)];
    let mut times = [vec![], vec![]];
    for _ in 0..TURNS {
        for (dir, times) in stores.iter().zip(&mut times) {
            times.push(started(dir.path()));
        }
    }
    let [few, many] = times.map(|mut times| median(&mut times));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    let (change, first) = told(stores[1].path());
    vec![
        Row::new(
            format!("start with {MANY} sessions on 3 servers, beside {FEW}"),
            "at most 1.5 x",
            format!("{ratio:.2} x ({:.1} ms, {:.1} ms)", millis(many), millis(few)),
            ratio <= 1.5,
        ),
        Row::new(
            format!("bytes to the page for one change of {MANY} sessions"),
            "at most 1000",
            format!("{change} B (the first batch {first} B)"),
            change <= 1000,
        ),
    ]
}
