//! Requests that mean two things, readers that do not read, and HTTP/2 connections that ask without an end.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use axum::http::Request;
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use h2::client::SendRequest;
use reqwest::Method;
use serde_json::{Value, json};
use session_server::{Auth, Secret, TokenRole, Tokens};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::rig::{DEADLINE, Rig, answer};

/// A server with named tokens, the owner's is `owner`, and a session `s` in which something was said.
async fn named() -> (Rig, Tokens) {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(Secret::new("owner")));
        config.stream_limits.long_poll = DEADLINE * 4;
    })
    .await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    say(&rig, "hello").await;
    (rig, tokens)
}

async fn say(rig: &Rig, what: &str) {
    let say = rig.request(Method::POST, "/v1/sessions/s/messages").bearer_auth("owner");
    let (status, body) = answer(say.json(&json!({"content": what}))).await;
    assert_eq!(status, 200, "{body}");
}

/// The value of a sample, asked by the owner.
async fn sample(rig: &Rig, name: &str) -> f64 {
    let metrics = rig.request(Method::GET, "/metrics").bearer_auth("owner");
    let text = metrics.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("{name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until a sample is as it should be.
async fn until_sample(rig: &Rig, name: &str, done: impl Fn(f64) -> bool) {
    let look = async {
        while !done(sample(rig, name).await) {
            tokio::task::yield_now().await;
        }
    };
    let seen = timeout(DEADLINE, look).await;
    assert!(seen.is_ok(), "{name} is {} in the end", sample(rig, name).await);
}

/// Spellings of `live=MODE&offset=now` that the router reads as such.
const SPELLINGS: [&str; 10] = [
    "offset=now&live=MODE",
    "live=MODE&offset=now",
    "offset=now&l%69ve=MODE",
    "offset=now&%6cive=MODE",
    "offset=now&%6C%69%76%65=MODE",
    "%6f%66fset=%6e%6f%77&live=MODE",
    "offset=now&&live=MODE&",
    "offset=now&x=live&live=MODE",
    "offset=now&live;x=1&live=MODE",
    "offset=now&cursor=%26&live=MODE",
];

#[tokio::test]
async fn every_spelling_of_a_read_that_follows_ends_with_its_token() {
    let (rig, tokens) = named().await;
    let ann = tokens.create("ann", TokenRole::Manage, None).unwrap();
    let mut reads = Vec::new();
    for (path, modes) in [
        ("/v1/stream/sessions/s", ["sse", "s%73e", "long-poll", "long%2Dpoll"]),
        ("/v1/stream/sessions/%73", ["sse", "%73%73%65", "long-poll", "l%6Fng-poll"]),
    ] {
        for mode in modes {
            for query in SPELLINGS {
                reads.push(format!("{path}?{}", query.replace("MODE", mode)));
            }
        }
    }
    let count = reads.len();
    let streams = reads.iter().filter(|path| !path.contains("poll")).count();
    let begun = AtomicUsize::new(0);
    let follows = reads.into_iter().map(|path| {
        let request = rig.request(Method::GET, &path).bearer_auth(ann.expose());
        let begun = &begun;
        async move {
            let answer = request.send().await.unwrap();
            begun.fetch_add(1, Ordering::SeqCst);
            let status = answer.status().as_u16();
            (path, status, answer.text().await.unwrap_or_default())
        }
    });
    let revoke = async {
        until_sample(&rig, "threadkeep_live_readers", |readers| {
            readers == count as f64 && begun.load(Ordering::SeqCst) == streams
        })
        .await;
        assert!(tokens.revoke("ann").unwrap());
        Instant::now()
    };
    let (ended, revoked) = tokio::join!(join_all(follows), revoke);
    assert!(revoked.elapsed() < Duration::from_secs(5), "2 s, and what a slow machine needs");
    for (path, status, text) in ended {
        let is_poll = path.contains("poll");
        assert_eq!(status, if is_poll { 401 } else { 200 }, "{path}: {text}");
    }
    until_sample(&rig, "threadkeep_live_readers", |readers| readers == 0.0).await;
}

#[tokio::test]
async fn what_only_looks_like_a_read_that_follows_ends_by_itself() {
    let (rig, tokens) = named().await;
    let ann = tokens.create("ann", TokenRole::Manage, None).unwrap();
    for (read, expected) in [
        ("sessions/s?offset=now&LIVE=sse", 200),
        ("sessions/s?offset=now&l+ive=sse", 200),
        ("sessions/s?offset=now&live%3Dsse", 200),
        ("sessions/s?offset=now&l%2569ve=sse", 200),
        ("sessions/s?offset=now&live=SSE", 400),
        ("sessions/s?offset=now&live=s+se", 400),
        ("sessions/s?offset=now&live=", 400),
        ("sessions/s?offset=now&live=%ff", 400),
        ("sessions/s;live=sse?offset=now", 404),
        ("sessions/s%3Flive=sse?offset=now", 400),
        ("sessions%2Fs?offset=now&live=sse", 400),
        ("%73essions/s?offset=now&live=sse", 400),
        ("sessions/s/?offset=now&live=sse", 400),
        ("sessions//s?offset=now&live=sse", 400),
    ] {
        for token in ["owner", ann.expose()] {
            let path = format!("/v1/stream/{read}");
            let request = rig.request(Method::GET, &path).bearer_auth(token);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), expected, "{path}");
            answer.text().await.expect("it ends");
        }
    }
    for method in [Method::HEAD, Method::OPTIONS] {
        for query in SPELLINGS {
            let path = format!("/v1/stream/sessions/s?{}", query.replace("MODE", "sse"));
            let request = rig.request(method.clone(), &path).bearer_auth(ann.expose());
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{method} {path}");
            assert_eq!(answer.text().await.unwrap(), "", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_read_that_says_two_things_is_refused() {
    let (rig, _tokens) = named().await;
    for query in [
        "offset=-1&live=sse&live=long-poll",
        "offset=-1&live=sse&l%69ve=sse",
        "offset=-1&offset=now",
        "offset=now&%6Fffset=now&live=sse",
        "cursor=1&cursor=1",
    ] {
        let path = format!("/v1/stream/sessions/s?{query}");
        let (status, body) = answer(rig.request(Method::GET, &path).bearer_auth("owner")).await;
        assert_eq!((status.as_u16(), &body["code"]), (400, &json!("INVALID_REQUEST")), "{query}");
        assert_eq!(rig.get(&path).await.0, 401, "to nobody without a token");
    }
    // Longer than what the router is asked with could be.
    let path = format!("/v1/stream/sessions/s?offset={}", "%ff".repeat(10_000));
    let (status, _) = answer(rig.request(Method::GET, &path).bearer_auth("owner")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn who_follows_is_here_however_the_query_is_spelt() {
    let rig = Rig::with(|config| config.silence = Duration::from_millis(600)).await;
    let talk = rig.session("builtin:demo").await;
    for actor in ["ann", "bob"] {
        let body = json!({"actorId": actor, "deviceId": "d"});
        assert_eq!(rig.post(&talk.path("/login"), body).await.0, 200);
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let follow = async {
        while !stop.is_cancelled() {
            let path = format!("/v1/stream/sessions/{}?offset=now&l%69ve=long%2Dpoll", talk.id);
            let poll = rig.request(Method::GET, &path).header("x-actor-id", "ann");
            timeout(Duration::from_millis(100), poll.send()).await.ok();
        }
    };
    let watch = async {
        let log = talk.until("an absence", |log| log.items.len() == 4).await;
        stop.cancel();
        assert_eq!(log.items[3]["key"], "bob:d", "the other is here");
    };
    tokio::join!(follow, watch);
}

/// What the server says to these bytes.
async fn told(addr: SocketAddr, say: &str) -> String {
    let mut connection = TcpStream::connect(addr).await.unwrap();
    connection.write_all(say.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let read = timeout(DEADLINE, connection.read_to_string(&mut heard)).await;
    read.expect("the server ends the connection").ok();
    heard
}

#[tokio::test]
async fn a_request_is_for_one_host() {
    let rig = Rig::new().await;
    for (target, hosts, expected) in [
        ("/healthz", "Host: localhost\r\n", "200"),
        ("/healthz", "hOST: LOCALHOST:80\r\n", "200"),
        ("http://localhost/healthz", "Host: localhost\r\n", "200"),
        ("http://LOCALHOST/healthz", "Host: localhost\r\n", "200"),
        ("/healthz", "", "400"),
        ("/healthz", "Host: localhost\r\nHost: localhost\r\n", "400"),
        ("/healthz", "Host: localhost\r\nHost: evil.example\r\n", "400"),
        ("/healthz", "Host: evil.example\r\nhost: localhost\r\n", "400"),
        ("/healthz", "Host: localhost, evil.example\r\n", "400"),
        ("/healthz", "Host: a b\r\n", "400"),
        ("/healthz", "Host: ann@localhost\r\n", "400"),
        ("/healthz", "Host: \u{e9}\r\n", "400"),
        ("http://localhost/healthz", "Host: evil.example\r\n", "400"),
        ("http://evil.example/healthz", "Host: localhost\r\n", "400"),
        ("http://ann@localhost/healthz", "Host: localhost\r\n", "400"),
        ("http://localhost/healthz", "", "400"),
        ("/healthz", "Host: evil.example\r\n", "403"),
        ("/healthz", "Host: \r\n", "403"),
    ] {
        let say = format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let heard = told(rig.server.addr, &say).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {expected}")), "{say}{heard}");
    }
    let heard = told(rig.server.addr, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.0 403"), "{heard}");
}

#[tokio::test]
async fn a_request_has_one_token_and_every_origin_it_names_is_allowed() {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(Secret::new("owner")));
        config.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let (app, evil) = ("Origin: https://app.example\r\n", "Origin: https://evil.example\r\n");
    let owner = "Authorization: Bearer owner\r\n";
    for (headers, expected) in [
        (owner.to_owned(), "200"),
        (format!("{owner}Authorization: Bearer guess\r\n"), "401"),
        (format!("Authorization: Bearer guess\r\n{owner}"), "401"),
        (format!("{owner}{owner}"), "401"),
        (format!("{owner}{app}"), "200"),
        (format!("{owner}{app}{evil}"), "403"),
        (format!("{owner}{evil}{app}"), "403"),
    ] {
        let say = format!(
            "GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"
        );
        let heard = told(rig.server.addr, &say).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {expected}")), "{say}{heard}");
    }
}

const MESSAGE: usize = 2 << 20;

/// A server with one message of two megabytes in session `s`, whose readers may do nothing for a second.
async fn with_a_long_message() -> Rig {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(Secret::new("owner")));
        config.limits.answer_pause = Duration::from_secs(1);
        config.stream_limits.long_poll = Duration::from_secs(3);
        config.limits.held_bytes = 16 << 20;
        config.limits.held_bytes_each = 8 << 20;
    })
    .await;
    say(&rig, &"x".repeat(MESSAGE)).await;
    rig
}

/// A request for the long message.
fn ask(token: &str) -> Request<()> {
    Request::get("http://localhost/v1/stream/sessions/s?offset=-1")
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap()
}

/// An HTTP/2 connection that takes nothing of what it asks for, and what ends when the server cuts it.
async fn deaf(addr: SocketAddr) -> (SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let tcp = TcpStream::connect(addr).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (send, connection) = builder.initial_window_size(0).handshake(tcp).await.unwrap();
    (send, tokio::spawn(async move { connection.await.unwrap_or_default() }))
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_and_cut() {
    let rig = with_a_long_message().await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    let ann = tokens.create("ann", TokenRole::View, None).unwrap();
    let began = Instant::now();
    let mut connections = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let (send, ended) = deaf(rig.server.addr).await;
        connections.push(ended);
        for _ in 0..90 {
            let mut send = send.clone().ready().await.unwrap();
            asked.push(send.send_request(ask(ann.expose()), true).unwrap());
        }
    }
    until_sample(&rig, "threadkeep_held_bytes", |held| held > MESSAGE as f64).await;
    let mut most: f64 = 0.0;
    let watch = async {
        loop {
            most = most.max(sample(&rig, "threadkeep_held_bytes").await);
            assert_eq!(rig.get("/healthz").await.0, 200);
        }
    };
    let cut = async {
        for ended in connections {
            timeout(DEADLINE, ended).await.expect("it is cut").unwrap();
        }
    };
    tokio::select! {
        () = watch => {}
        () = cut => {}
    }
    // A share, and one answer of each thread beyond it.
    assert!(most < (8 << 20) as f64 + 10.0 * MESSAGE as f64, "{most} bytes were held");
    assert!(began.elapsed() > Duration::from_secs(1), "not before the pause was over");
    until_sample(&rig, "threadkeep_held_bytes", |held| held < MESSAGE as f64).await;
    // Others were not in the way.
    let read = rig.request(Method::GET, "/v1/stream/sessions/s").bearer_auth("owner");
    assert_eq!(answer(read).await.0, 200);
}

#[tokio::test]
async fn an_http2_connection_has_so_many_requests_at_once() {
    let rig = Rig::with(|config| config.limits.streams_per_connection = 7).await;
    let tcp = TcpStream::connect(rig.server.addr).await.unwrap();
    let (send, mut connection) = h2::client::handshake(tcp).await.unwrap();
    let mut ping = connection.ping_pong().unwrap();
    let drive = tokio::spawn(async move { connection.await.ok() });
    ping.ping(h2::Ping::opaque()).await.unwrap(); // its settings came before
    let send: SendRequest<Bytes> = send.ready().await.unwrap();
    assert_eq!(send.current_max_send_streams(), 7);
    drive.abort();
}

/// Asks for the long message on a connection whose system keeps little, and reads the head of the answer.
async fn begun(addr: SocketAddr, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut connection = socket.connect(addr).await.unwrap();
    let say = format!(
        "GET /v1/stream/sessions/s?offset=-1 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(say.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    connection.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    connection
}

/// Bytes that still come on a connection until it ends.
async fn rest(connection: TcpStream) -> usize {
    let mut heard = 0;
    let mut pieces = tokio_util::io::ReaderStream::new(connection);
    while let Some(Ok(piece)) = timeout(DEADLINE, pieces.next()).await.expect("it ends") {
        heard += piece.len();
    }
    heard
}

#[tokio::test]
async fn a_long_answer_ends_with_its_token() {
    let (rig, tokens) = named().await;
    say(&rig, &"x".repeat(MESSAGE)).await;
    let ann = tokens.create("ann", TokenRole::View, None).unwrap();
    let (ends, goes_on) =
        (begun(rig.server.addr, ann.expose()).await, begun(rig.server.addr, "owner").await);
    let path = "/v1/stream/sessions/s?offset=now&live=sse";
    let mut follows =
        rig.request(Method::GET, path).bearer_auth(ann.expose()).send().await.unwrap();
    assert!(tokens.revoke("ann").unwrap());
    // The answers lie ready; when the server has seen the revocation, one is not to be taken any more.
    while follows.chunk().await.unwrap().is_some() {}
    let heard = rest(ends).await;
    assert!(heard < MESSAGE, "{heard} bytes came after the token was revoked");
    assert!(rest(goes_on).await > MESSAGE, "others go on");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
    let rig = with_a_long_message().await;
    let deaf = begun(rig.server.addr, "owner").await;
    let mut slow = begun(rig.server.addr, "owner").await;
    let mut pace = tokio::time::interval(Duration::from_millis(60));
    let mut heard = 0;
    let mut piece = vec![0; 32 << 10];
    let began = Instant::now();
    loop {
        pace.tick().await;
        match timeout(DEADLINE, slow.read(&mut piece)).await.unwrap().unwrap() {
            0 => break,
            read => heard += read,
        }
    }
    assert!(heard > MESSAGE, "{heard}");
    assert!(began.elapsed() > Duration::from_secs(2), "slower than a reader may do nothing");
    // What the other's system had taken is still there, and then the end.
    let heard = rest(deaf).await;
    assert!(heard < MESSAGE, "{heard}");
    let cut = "threadkeep_refused_total{reason=\"ANSWER_NOT_TAKEN\"}";
    assert_eq!(sample(&rig, cut).await, 1.0);
    until_sample(&rig, "threadkeep_held_bytes", |held| held < MESSAGE as f64).await;
}

#[tokio::test]
async fn a_follower_that_waits_for_news_is_not_cut_and_one_that_does_not_take_them_is() {
    let rig = with_a_long_message().await;
    let tcp = TcpStream::connect(rig.server.addr).await.unwrap();
    let (mut send, connection) = h2::client::handshake(tcp).await.unwrap();
    let connection = tokio::spawn(async move { connection.await.ok() });
    let follow = Request::get("http://localhost/v1/stream/sessions/s?offset=now&live=sse")
        .header("authorization", "Bearer owner");
    let (answer, _) = send.send_request(follow.body(()).unwrap(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let first = body.data().await.unwrap().unwrap();
    body.flow_control().release_capacity(first.len()).unwrap();
    // Three pauses long there is nothing to take.
    let poll = "/v1/stream/sessions/s?offset=now&live=long-poll";
    let polled = rig.request(Method::GET, poll).bearer_auth("owner").send().await.unwrap();
    assert_eq!(polled.status(), 204);
    assert!(!connection.is_finished());
    say(&rig, &"y".repeat(MESSAGE)).await;
    let cut = timeout(DEADLINE, connection).await;
    assert!(cut.is_ok(), "who does not take it is cut");
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(Secret::new("owner")));
        config.limits.body_bytes = 1000;
    })
    .await;
    let body: Value = json!({"content": "x".repeat(2000)});
    let send = rig.request(Method::POST, "/v1/sessions/s/messages").bearer_auth("owner");
    assert_eq!(answer(send.json(&body)).await.0, 413);
    let name = "threadkeep_refused_total{reason=\"TOO_LARGE\"}";
    assert_eq!(sample(&rig, name).await, 1.0);
}
