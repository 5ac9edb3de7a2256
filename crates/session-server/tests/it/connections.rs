//! Peers that are slow, silent or many.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Method};
use serde_json::json;
use session_server::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::rig::{DEADLINE, Rig, certified};

const SHORT: Duration = Duration::from_millis(200);
const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn connect(addr: SocketAddr, say: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(addr).await.unwrap();
    // Whom the server has closed already cannot say anything.
    connection.write_all(say).await.ok();
    connection
}

/// What the server says before it ends the connection.
async fn until_cut(mut connection: TcpStream) -> String {
    let mut heard = Vec::new();
    let read = timeout(DEADLINE, connection.read_to_end(&mut heard)).await;
    read.expect("the server ends the connection").ok();
    String::from_utf8_lossy(&heard).into_owned()
}

/// Whether the server answers on this connection, which stays.
async fn is_answered(connection: &mut TcpStream) -> bool {
    let mut heard = [0; 12];
    let read = timeout(DEADLINE, connection.read_exact(&mut heard)).await;
    read.expect("an answer, or an end").is_ok() && heard == *b"HTTP/1.1 200"
}

#[tokio::test]
async fn silent_peers_do_not_hold_up_a_handshake() {
    let files = tempfile::tempdir().unwrap();
    let (tls, root) = certified(files.path());
    let rig = Rig::with(|config| config.tls = Some(tls)).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(connect(rig.server.addr, b"").await);
    }
    let client = Client::builder()
        .tls_certs_only([root])
        .resolve("localhost", rig.server.addr)
        .timeout(Duration::from_secs(5)) // a handshake may take 10
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/healthz", rig.server.addr.port());
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_cut() {
    let rig = Rig::with(|config| config.limits.head = SHORT).await;
    for say in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /healthz HTTP/1.1\r\nHo"] {
        let connection = connect(rig.server.addr, say.as_bytes()).await;
        assert!(!until_cut(connection).await.contains("200"), "{say:?}");
    }
    let rests = connect(rig.server.addr, ASK).await;
    assert!(until_cut(rests).await.starts_with("HTTP/1.1 200"));
    // HTTP/2: settings and a request for /, then no answer to the server's pings.
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    hello.extend(b"\0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09localhost");
    let deaf = connect(rig.server.addr, &hello).await;
    assert!(until_cut(deaf).await.contains("threadkeep-session-server"));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_408_and_does_nothing() {
    let rig = Rig::with(|config| config.limits.body_pause = SHORT).await;
    for (what, body) in [
        ("POST /v1/sessions/s/messages", r#"{"content":"#),
        ("PUT /v1/stream/sessions/s", "[{}"),
        ("PUT /v1/stream/notes", "["),
    ] {
        let head = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 50";
        let say = format!("{what} HTTP/1.1\r\n{head}\r\n\r\n{body}");
        let heard = until_cut(connect(rig.server.addr, say.as_bytes()).await).await;
        assert!(heard.starts_with("HTTP/1.1 408") && heard.contains("TOO_SLOW"), "{heard}");
    }
    assert_eq!(rig.get("/v1/sessions/s").await.0, 404);
    assert_eq!(rig.get("/v1/stream/notes").await.0, 404);
}

#[tokio::test]
async fn readers_that_wait_are_not_cut() {
    let rig = Rig::with(|config| {
        config.limits = Limits { head: SHORT, body_pause: SHORT, ..Limits::default() };
        config.stream_limits.long_poll = Duration::from_secs(1);
    })
    .await;
    assert_eq!(rig.call(Method::PUT, "/v1/sessions/s", json!({})).await.0, 200);
    let path = "/v1/stream/sessions/s?offset=now&live=";
    let follow = |live: &str| rig.request(Method::GET, &format!("{path}{live}")).send();
    let mut follows = follow("sse").await.unwrap();
    let polled = follow("long-poll").await.unwrap();
    assert_eq!(polled.status(), 204, "it waited five times as long as a head may take");
    assert_eq!(rig.post("/v1/sessions/s/messages", json!({"content": "hello"})).await.0, 200);
    let mut heard = String::new();
    while !heard.contains("hello") {
        heard += std::str::from_utf8(&follows.chunk().await.unwrap().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn more_connections_than_there_may_be_are_closed_at_once() {
    let rig = Rig::with(|config| {
        config.limits.connections = 3;
        config.limits.connections_per_address = 1; // not for this machine
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(connect(rig.server.addr, ASK).await);
        assert!(is_answered(open.last_mut().unwrap()).await);
    }
    assert_eq!(until_cut(connect(rig.server.addr, b"").await).await, "");
    assert!(!is_answered(&mut connect(rig.server.addr, ASK).await).await);
    open.pop();
    // The server needs a moment to see who left.
    let another = async { while !is_answered(&mut connect(rig.server.addr, ASK).await).await {} };
    timeout(DEADLINE, another).await.expect("there is room again");
}

/// Bytes that the server holds for others, as it counts them.
async fn held(rig: &Rig) -> usize {
    let metrics = rig.client.get(format!("{}/metrics", rig.base)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with("threadkeep_held_bytes ")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn bodies_under_way_have_room_in_their_senders_share() {
    let rig = Rig::with(|config| config.limits.held_bytes_each = 1 << 20).await;
    let path = "/v1/sessions/s/messages";
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
        1 << 20
    );
    let half = connect(rig.server.addr, head.as_bytes()).await;
    let there = async {
        while held(&rig).await < 1 << 20 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, there).await.expect("what is announced is counted");
    let body = json!({"content": "x".repeat(600_000)});
    let (status, refused) = rig.post(path, body.clone()).await;
    assert_eq!((status.as_u16(), &refused["code"]), (503, &json!("BUSY")));
    drop(half);
    assert_eq!(rig.post(path, body).await.0, 200, "it waits until the other is gone");
    // A body that does not say how long it is counts as it comes.
    let pieces = (0..40).map(|_| Ok::<_, std::io::Error>(" ".repeat(64 << 10)));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let request = rig.request(Method::POST, path).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
}
