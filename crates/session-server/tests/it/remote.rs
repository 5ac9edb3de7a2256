//! The same sessions with their streams in another server.

use std::sync::Arc;

use durable_streams_server::{Config, InMemoryStorage, build_router};
use reqwest::Method;
use serde_json::json;
use session_server::StreamsBackend;
use tokio::sync::watch;
use url::Url;

use crate::{
    fake::{Fake, Reply},
    rig::Rig,
};

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
    let log = talk.until("the end", |log| log.ended() == 2 && log.rests()).await;
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

#[tokio::test]
async fn a_run_is_ended_although_the_stream_server_starts_after_this_one() {
    let (url, server) = stream_server().await;
    let half = r#"data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"half"}

"#;
    let fake = Fake::new([Reply::Hang(half.to_owned())]).await;
    let gate = Gate::new(url.clone()).await;
    let rig = Rig::with(|config| config.streams = StreamsBackend::Remote(gate.url())).await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("a first word", |log| log.text() == "half").await;

    gate.close();
    let after =
        rig.crashed_copy(|config| config.streams = StreamsBackend::Remote(gate.url())).await;
    assert_eq!(after.get(&talk.path("")).await.0, 503);
    gate.open();
    let log = after.talk(&talk.id).until("an end", |log| log.ended() == 1).await;
    assert_eq!(log.find("RUN_ERROR").unwrap().1["code"], "interrupted");
    server.abort();
}

#[tokio::test]
async fn a_run_whose_agent_finished_while_the_stream_server_was_away_is_ended_when_it_is_back() {
    let (url, server) = stream_server().await;
    let (send, rest) = tokio::sync::mpsc::channel::<String>(4);
    let fed = Reply::Fed(Arc::new(std::sync::Mutex::new(Some(rest))));
    let fake = Fake::new([fed]).await;
    let gate = Gate::new(url).await;
    let rig = Rig::with(|config| config.streams = StreamsBackend::Remote(gate.url())).await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let word = |n: u32| {
        format!(
            "data: {}\n\n",
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": n.to_string()})
        )
    };
    send.send(word(1)).await.unwrap();
    talk.until("a first word", |log| log.text() == "1").await;
    gate.close();
    send.send(word(2)).await.unwrap();
    drop(send); // the agent is done, and nobody can be told
    let lost = async {
        // Until the server has given up.
        while rig.post(&talk.path("/messages"), json!({"content": "x"})).await.0 != 503 {}
    };
    tokio::time::timeout(2 * crate::rig::DEADLINE, lost).await.unwrap();
    gate.open();
    // Nobody touches the session.
    talk.until("an end", |log| log.ended() == 1).await.assert_gapless();
    server.abort();
}

/// A way to a stream server that can be closed: connections are cut, and nobody answers new ones.
struct Gate {
    addr: std::net::SocketAddr,
    open: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    async fn new(to: Url) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(true);
        let task = tokio::spawn(async move {
            let to = to.socket_addrs(|| None).unwrap();
            while let Ok((mut from, _)) = listener.accept().await {
                let (mut is_open, to) = (is_open.clone(), to.clone());
                tokio::spawn(async move {
                    if !*is_open.borrow() {
                        return;
                    }
                    let mut onward = tokio::net::TcpStream::connect(&to[..]).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut onward) => {}
                        _ = is_open.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { addr, open, task }
    }

    fn url(&self) -> Url {
        format!("http://{}/v1/stream", self.addr).parse().unwrap()
    }

    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}
