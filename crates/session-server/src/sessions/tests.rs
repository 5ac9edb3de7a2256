//! Sessions whose tasks fall.

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;
use sqlite_line::Terms;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::ServerConfig;
use crate::agent::Agents;
use crate::book::Wish;
use crate::budget::Budget;
use crate::busy::Busy;
use crate::event::Role;
use crate::forking::Making;
use crate::metrics::Metrics;
use crate::run::Continues;
use crate::session::{Input, RawChunk};
use crate::snapshots::Snapshots;
use crate::store::Store;
use crate::streams::{Embedded, Listed, Pages, Place, Streams};

const DEADLINE: Duration = Duration::from_secs(15);

/// Streams of which those named `poison` cannot be read without a panic.
struct Poisoned(Embedded);

#[async_trait]
impl Streams for Poisoned {
    async fn create(&self, name: &str) -> Result<bool, StreamError> {
        self.0.create(name).await
    }

    async fn append(
        &self,
        name: &str,
        items: Vec<Bytes>,
        stamp: &Stamp,
        grow: bool,
    ) -> Result<(), StreamError> {
        self.0.append(name, items, stamp, grow).await
    }

    fn pages<'a>(&'a self, name: &'a str, from: Place) -> Pages<'a> {
        assert!(!name.ends_with("poison"), "it is poisoned");
        self.0.pages(name, from)
    }

    async fn fork(&self, name: &str, source: &str, items: u64) -> Result<bool, StreamError> {
        self.0.fork(name, source, items).await
    }

    async fn is_at(&self, name: &str, items: u64) -> Result<bool, StreamError> {
        self.0.is_at(name, items).await
    }

    async fn end_at(&self, name: &str, items: u64) -> Result<Option<Place>, StreamError> {
        self.0.end_at(name, items).await
    }

    async fn exists(&self, name: &str) -> Result<bool, StreamError> {
        self.0.exists(name).await
    }

    async fn is_closed(&self, name: &str) -> Result<bool, StreamError> {
        self.0.is_closed(name).await
    }

    async fn delete(&self, name: &str) -> Result<(), StreamError> {
        self.0.delete(name).await
    }

    async fn list(&self, after: &str) -> Result<Option<Vec<Listed>>, StreamError> {
        self.0.list(after).await
    }

    async fn serve(&self, request: Request<Body>, waits: bool) -> Response {
        self.0.serve(request, waits).await
    }
}

fn sessions() -> (TempDir, Sessions) {
    let dir = tempfile::tempdir().unwrap();
    let config = ServerConfig::new(dir.path());
    let streams = dir.path().join("streams");
    std::fs::create_dir(&streams).unwrap();
    let streams = Embedded::open(&streams, config.stream_limits, CancellationToken::new()).unwrap();
    let store = Store::open(dir.path(), None).unwrap();
    let shared = Shared {
        streams: Arc::new(Poisoned(streams)),
        snapshots: Snapshots::of(&store),
        agents: Agents::new(&config, &store).unwrap(),
        store,
        metrics: Metrics::new(),
        budget: Budget::new(&config.limits),
        limits: config.limits.clone(),
        instance: "test".to_owned(),
        agent_depth: 3,
        silence: config.silence,
        signs: Arc::default(),
        making: Making::default(),
        shutdown_runs: CancellationToken::new(),
        continues: Continues::new(false),
        busy: Busy::new(),
        tasks: TaskTracker::new(),
    };
    (dir, Sessions::new(Arc::new(shared)))
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("nobody waits for ever")
}

#[tokio::test]
async fn a_wish_that_panics_is_a_failure_of_its_session_and_of_no_other() {
    let (_dir, sessions) = sessions();
    for id in ["bad", "good"] {
        sessions.with(id, Open::Create, |_| Ok(())).await.unwrap();
    }
    let panics = sessions.with("bad", Open::Create, |_| -> Result<(), Problem> {
        panic!("it falls over a row");
    });
    let waits = sessions.with("bad", Open::Create, |_| Ok(()));
    let (fell, waited) = in_time(async { tokio::join!(panics, waits) }).await;
    assert_eq!(fell, Err(Problem::session_failed()));
    // Asked before the fall was seen, or behind it.
    assert!(waited.is_ok() || waited == Err(Problem::session_failed()));
    in_time(sessions.with("good", Open::Existing, |_| Ok(()))).await.unwrap();
    in_time(sessions.with("bad", Open::Existing, |_| Ok(()))).await.unwrap();
    in_time(sessions.delete("bad")).await.unwrap();
    let gone = in_time(sessions.with("bad", Open::Existing, |_| Ok(()))).await;
    assert_eq!(gone, Err(Problem::session_not_found()));
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_can_be_deleted() {
    let (_dir, sessions) = sessions();
    let streams = Arc::clone(&sessions.shared().streams);
    streams.create(&stream_name("poison")).await.unwrap();
    for _ in 0..2 {
        let opened = in_time(sessions.with("poison", Open::Existing, |_| Ok(()))).await;
        assert_eq!(opened, Err(Problem::session_failed()));
    }
    // Asked at once with others, which do not keep it from being done.
    let wish = sessions.with("poison", Open::Existing, |_| Ok(()));
    let (opened, deleted) = in_time(async { tokio::join!(wish, sessions.delete("poison")) }).await;
    assert_eq!((opened, deleted), (Err(Problem::session_failed()), Ok(())));
    assert!(!streams.exists(&stream_name("poison")).await.unwrap());
}

/// Writes chunks as an agent outside does.
async fn say(
    sessions: &Sessions,
    id: &str,
    chunks: Vec<(String, &'static str, serde_json::Value)>,
) {
    let raw = chunks.into_iter().enumerate().map(|(n, (message_id, role, chunk))| RawChunk {
        txid: Some(format!("{message_id}-{n}")),
        message_id,
        actor_id: "k".to_owned(),
        role: if role == "user" { Role::User } else { Role::Assistant },
        kind: chunk["type"].as_str().unwrap_or_default().to_owned(),
        chunk: chunk.to_string(),
    });
    let raw: Vec<RawChunk> = raw.collect();
    sessions.apply(id, Open::Create, Input::Write(raw)).await.unwrap();
}

/// Messages that ended, and one that asks.
fn talk(name: &str, messages: usize) -> Vec<(String, &'static str, serde_json::Value)> {
    let mut chunks = Vec::new();
    for n in 0..messages {
        let question = json!({"type": "whole-message", "message": {"role": "user", "parts": [{"type": "text", "content": "why"}]}});
        chunks.push((format!("{name}-q{n}"), "user", question));
        for chunk in [
            json!({"type": "RUN_STARTED", "runId": format!("{name}-{n}"), "threadId": "t"}),
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": format!("because {n}")}),
            json!({"type": "TOOL_CALL_START", "toolCallId": format!("c{n}"), "toolCallName": "t"}),
            json!({"type": "TOOL_CALL_RESULT", "toolCallId": format!("c{n}"), "content": "ok"}),
            json!({"type": "RUN_FINISHED", "finishReason": "stop"}),
        ] {
            chunks.push((format!("{name}-a{n}"), "assistant", chunk));
        }
    }
    let value = json!({"toolCallId": "w", "approval": {"id": name}});
    let asks = json!({"type": "CUSTOM", "name": "approval-requested", "value": value});
    chunks.push((format!("{name}-ask"), "assistant", asks));
    chunks
}

/// All that a book says, with what it has to bring for it.
fn all_of(book: &mut RunBook, ids: &[String]) -> Vec<String> {
    let mut all = vec![format!("{} {:?} {:?}", book.items(), book.title(), book.presence())];
    for id in ids {
        book.bring(id);
        book.bring_wishes(Some(&format!("{id}-0")));
        let run = book.message(id).map(|run| {
            format!(
                "{} {:?} {:?} {:?} {} {}",
                run.position(),
                run.lifecycle(),
                run.deliveries(),
                run.run_id(),
                run.steps(),
                run.actor_id()
            )
        });
        let wish = book.by_txid(Wish::Message, &format!("{id}-0")).map(str::to_owned);
        let (next, asks) = (book.next_seq(id), book.open_asks(id));
        all.push(format!("{id} {run:?} {wish:?} {next} {asks:?} {}", book.is_waiting(id)));
    }
    all
}

#[tokio::test]
async fn a_session_goes_on_from_what_is_stored_or_is_read_from_its_beginning() {
    let (_dir, sessions) = sessions();
    let shared = sessions.shared();
    let ids = |name: &str| {
        let talk = talk(name, 60).into_iter().map(|(id, ..)| id);
        talk.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    // What is done to the database, and whether the snapshot is of use then.
    let harms: [(&str, bool); 6] = [
        ("", true),
        ("UPDATE folds SET format = format + 1", false),
        ("UPDATE folds SET head = replace(head, 'stored', 'stared') || ' '", false),
        ("UPDATE folded SET fold = replace(fold, 'a', 'b') WHERE standing", false),
        ("UPDATE folds SET proof = zeroblob(32)", false),
        ("UPDATE folds SET place = place || '0'", false),
    ];
    for (n, (harm, is_of_use)) in harms.into_iter().enumerate() {
        let id = &format!("s{n}");
        let all = [ids("one"), ids("two")].concat();
        say(&sessions, id, talk("one", 60)).await;
        let mut kept = keeping::read(shared, id).await.unwrap();
        let stored = keeping::store_grown(shared, id, &mut kept.book, kept.shelved, true).await;
        assert!(stored.items > 300, "{stored:?}");
        say(&sessions, id, talk("two", 3)).await;
        shared
            .store
            .line()
            .write_blocking(Terms::default(), move |tx, ()| tx.execute_batch(harm))
            .unwrap();
        let mut kept = keeping::read(shared, id).await.unwrap();
        assert_eq!(kept.shelved.items > 0, is_of_use, "{harm}");
        let in_memory = kept.book.messages().count();
        assert_eq!(in_memory < 20, is_of_use, "{harm}: {in_memory}");
        let mut whole = keeping::read_whole(&*shared.streams, id).await.unwrap();
        assert_eq!(kept.book.asking("one"), ["one-ask"]);
        assert_eq!(all_of(&mut kept.book, &all), all_of(&mut whole.book, &all), "{harm}");
        assert!(!kept.book.is_damaged());
    }
    // A row that cannot be read is found out when it is asked for.
    let id = "late";
    say(&sessions, id, talk("one", 60)).await;
    let mut kept = keeping::read(shared, id).await.unwrap();
    keeping::store_grown(shared, id, &mut kept.book, kept.shelved, true).await;
    let harm = "UPDATE folded SET fold = 'x' WHERE message_id = 'one-a7'";
    shared
        .store
        .line()
        .write_blocking(Terms::default(), move |tx, ()| tx.execute_batch(harm))
        .unwrap();
    let mut kept = keeping::read(shared, id).await.unwrap();
    kept.book.bring("one-a8");
    assert!(!kept.book.is_damaged());
    kept.book.bring("one-a7");
    assert!(kept.book.is_damaged());
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_not_taken_for_the_one_that_was_stored() {
    let (_dir, sessions) = sessions();
    let shared = sessions.shared();
    say(&sessions, "s", talk("one", 60)).await;
    let mut kept = keeping::read(shared, "s").await.unwrap();
    keeping::store_grown(shared, "s", &mut kept.book, kept.shelved, true).await;
    // Somebody else makes it anew, with items as long as those before.
    let name = stream_name("s");
    shared.streams.delete(&name).await.unwrap();
    shared.streams.create(&name).await.unwrap();
    let mut pages = sessions_items("two").await;
    let stamp = Stamp { id: "x".to_owned(), epoch: 0, seq: 0, at: 0 };
    shared.streams.append(&name, std::mem::take(&mut pages), &stamp, true).await.unwrap();
    let kept = keeping::read(shared, "s").await.unwrap();
    assert_eq!(kept.shelved.items, 0);
    assert!(kept.book.message("one-ask").is_none() && kept.book.message("two-ask").is_some());
}

/// The items of a session of its own.
async fn sessions_items(name: &str) -> Vec<Bytes> {
    let (_dir, other) = sessions();
    say(&other, "s", talk(name, 60)).await;
    let stream = stream_name("s");
    let mut pages = other.shared().streams.pages(&stream, Place::default());
    let mut items = Vec::new();
    while let Some(page) = pages.try_next().await.unwrap() {
        items.extend(page.items);
    }
    items
}
