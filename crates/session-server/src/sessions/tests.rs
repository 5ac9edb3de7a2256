//! Sessions whose tasks fall.

use async_trait::async_trait;
use axum::{body::Body, http::Request, response::Response};
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    ServerConfig,
    streams::{Embedded, Listed, Pages},
};

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

    fn pages<'a>(&'a self, name: &'a str) -> Pages<'a> {
        assert!(!name.ends_with("poison"), "it is poisoned");
        self.0.pages(name)
    }

    async fn fork(&self, name: &str, source: &str, items: u64) -> Result<bool, StreamError> {
        self.0.fork(name, source, items).await
    }

    async fn is_at(&self, name: &str, items: u64) -> Result<bool, StreamError> {
        self.0.is_at(name, items).await
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
        agents: Agents::new(&config, &store).unwrap(),
        store,
        metrics: Metrics::new(),
        budget: Budget::new(&config.limits),
        limits: config.limits.clone(),
        instance: "test".to_owned(),
        agent_depth: 3,
        silence: config.silence,
        signs: Signs::default(),
        making: Making::default(),
        shutdown_runs: CancellationToken::new(),
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
