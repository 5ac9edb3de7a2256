//! The same sessions with their streams in another server.

use std::sync::Arc;

use durable_streams_server::{Config, InMemoryStorage, build_router};
use reqwest::Method;
use serde_json::json;
use session_server::StreamsBackend;
use url::Url;

use crate::rig::Rig;

pub async fn stream_server() -> (Url, tokio::task::JoinHandle<()>) {
    let storage = Arc::new(InMemoryStorage::new(100 << 20, 10 << 20));
    let app = build_router(storage, &Config::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/stream", listener.local_addr().unwrap()).parse().unwrap();
    (url, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

#[tokio::test]
async fn sessions_live_in_a_remote_stream_server() {
    let (url, server) = stream_server().await;
    let rig = Rig::with(|config| config.streams = StreamsBackend::Remote(url.clone())).await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    assert_eq!(talk.approve(&log.approvals()[0], true).await, 204);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    log.assert_gapless();
    let direct = reqwest::get(format!("{url}/sessions/{}", talk.id)).await.unwrap();
    let direct: Vec<serde_json::Value> =
        serde_json::from_str(&direct.text().await.unwrap()).unwrap();
    assert_eq!(direct.len(), log.items.len());

    // A second server on the same streams goes on where the first one ended.
    let after =
        rig.crashed_copy(|config| config.streams = StreamsBackend::Remote(url.clone())).await;
    after.talk(&talk.id).send("long 3").await;
    after.talk(&talk.id).until("the next run", |log| log.ended() == 3).await.assert_gapless();

    let head = rig.request(Method::HEAD, &format!("/v1/stream/sessions/{}", talk.id));
    let head = head.send().await.unwrap();
    assert!(head.headers().contains_key("stream-next-offset"));
    assert_eq!(after.call(Method::DELETE, &talk.path(""), json!({})).await.0, 204);
    assert_eq!(after.get(&talk.path("")).await.0, 404);
    server.abort();
}

#[tokio::test]
async fn an_unreachable_stream_server_is_a_clear_error() {
    let url: Url = "http://127.0.0.1:9/v1/stream".parse().unwrap();
    let rig = Rig::with(|config| config.streams = StreamsBackend::Remote(url)).await;
    let (status, body) = rig.call(Method::PUT, "/v1/sessions/s", json!({})).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("STREAM_UNAVAILABLE")));
    assert_eq!(rig.get("/v1/stream/sessions/s").await.0, 502);
}
