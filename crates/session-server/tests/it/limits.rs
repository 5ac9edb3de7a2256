//! What one client may send, and HTTPS.

use reqwest::{Client, Method};
use serde_json::json;
use session_server::{
    Auth, Secret, ServerError, StreamsBackend, TlsFiles, TokenRole, Tokens, start,
};

use crate::{
    fake::{Fake, sse},
    rig::{DEADLINE, Rig, certified, config},
};

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_not() {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(Secret::new("owner")));
        config.limits.requests_per_second = 1;
        config.limits.burst = 5;
    })
    .await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    let ann = tokens.create("ann", TokenRole::Manage, None).unwrap();
    let ben = tokens.create("ben", TokenRole::Manage, None).unwrap();
    let list =
        |token: &Secret| rig.request(Method::GET, "/v1/sessions").bearer_auth(token.expose());
    let mut refused = None;
    for _ in 0..20 {
        let response = list(&ann).send().await.unwrap();
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status(), 200);
    }
    let refused = refused.expect("20 requests are more than 5 and a few seconds' worth");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "TOO_MANY_REQUESTS");
    assert_eq!(list(&ben).send().await.unwrap().status(), 200);
    assert_eq!(rig.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn every_request_is_counted_and_the_owners_apart_from_those_of_strangers() {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(Secret::new("owner")));
        config.limits.requests_per_second = 1;
        config.limits.burst = 5;
    })
    .await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    let ann = tokens.create("ann", TokenRole::Manage, None).unwrap();
    let list = "/v1/sessions";
    let follow = "/v1/stream/sessions/s?offset=-1&live=long-poll";
    let ask = async |path: &str, token: &str| {
        let request = rig.request(Method::GET, path).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    // 20 requests are more than 5 and a few seconds' worth.
    let until_refused = async |path: &str, token: &str, before: u16| {
        for _ in 0..20 {
            match ask(path, token).await {
                429 => return,
                status => assert_eq!(status, before, "{path} {token}"),
            }
        }
        panic!("{path} is not counted for {token}");
    };
    until_refused(follow, ann.expose(), 404).await;
    // Who goes on following comes back as often as somebody writes.
    for _ in 0..20 {
        let goes_on = "/v1/stream/sessions/s?offset=now&live=long-poll";
        assert_eq!(ask(goes_on, ann.expose()).await, 404);
    }
    until_refused("/v1/stream/sessions/s?offset=now&live=often", "owner", 404).await;
    until_refused(follow, "guess", 401).await;
    until_refused(list, "guess", 401).await;
    until_refused("/healthz", "", 200).await;
    let ben = tokens.create("ben", TokenRole::View, None).unwrap();
    assert_eq!(
        ask(list, ben.expose()).await,
        200,
        "not what strangers at its address have used up"
    );
}

#[tokio::test]
async fn a_session_that_is_as_long_as_it_may_be_says_so_and_others_are_not() {
    let rig = Rig::with(|config| config.stream_limits.stream_bytes = Some(2_000)).await;
    let send = |session: &str| {
        let path = format!("/v1/sessions/{session}/messages");
        let body = json!({"content": "x".repeat(300)});
        let rig = &rig;
        async move { rig.post(&path, body).await }
    };
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(send("s").await);
    }
    let (status, body) = answers.last().unwrap();
    assert_eq!((status.as_u16(), &body["code"]), (413, &json!("SESSION_FULL")));
    assert_eq!((answers[0].0.as_u16(), send("t").await.0.as_u16()), (200, 200));
}

#[tokio::test]
async fn a_run_that_fills_its_session_has_an_end_in_it() {
    let words: Vec<String> = (0..100)
        .map(|n| {
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": n.to_string()})
                .to_string()
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let fake = Fake::new([sse(&words)]).await;
    let rig = Rig::with(|config| config.stream_limits.stream_bytes = Some(4_000)).await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("its end", |log| log.count("RUN_ERROR") == 1).await.assert_gapless();
    assert_eq!(
        rig.post(&talk.path("/login"), json!({"actorId": "a", "deviceId": "d"})).await.0,
        200
    );
    let more = json!({"content": "x".repeat(4_000)});
    assert_eq!(rig.post(&talk.path("/messages"), more).await.0, 413);
    assert_eq!(rig.post(&talk.path("/reset"), json!({})).await.0, 200, "it can be cleared");
}

#[tokio::test]
async fn bodies_are_as_large_as_the_operator_says() {
    let rig = Rig::with(|config| {
        config.limits.body_bytes = 1000;
        config.limits.stream_body_bytes = 2000;
    })
    .await;
    let send =
        |size: usize| rig.post("/v1/sessions/s/messages", json!({"content": "x".repeat(size)}));
    assert_eq!(send(900).await.0, 200);
    let (status, body) = send(1000).await;
    assert_eq!((status.as_u16(), &body["code"]), (413, &json!("TOO_LARGE")));
    let write = |size: usize| {
        rig.call(Method::POST, "/v1/stream/sessions/s", json!([{"x": "x".repeat(size)}]))
    };
    assert_eq!(write(1500).await.0, 204);
    assert_eq!(write(2000).await.0, 413);
}

#[tokio::test]
async fn https_is_spoken_where_a_certificate_is_given() {
    let files = tempfile::tempdir().unwrap();
    let (tls, root) = certified(files.path());
    let rig = Rig::with(|config| config.tls = Some(tls.clone())).await;
    assert!(rig.base.starts_with("https://"));
    let port = rig.server.addr.port();
    let base = format!("https://localhost:{port}");
    let client = Client::builder()
        .tls_certs_only([root])
        .resolve("localhost", rig.server.addr)
        .timeout(DEADLINE)
        .build()
        .unwrap();
    // A connection that never shakes hands is in nobody's way.
    let _silent = tokio::net::TcpStream::connect(rig.server.addr).await.unwrap();
    let hello = json!({"content": "hello"});
    let send = client.post(format!("{base}/v1/sessions/s/messages")).json(&hello);
    let sent = send.header("origin", &base).send().await.unwrap();
    assert_eq!((sent.status().as_u16(), sent.version()), (200, reqwest::Version::HTTP_2));
    let evil = client.get(format!("{base}/v1/sessions")).header("origin", "https://evil.example");
    assert_eq!(evil.send().await.unwrap().status(), 403);
    assert!(Client::new().get(format!("{base}/healthz")).send().await.is_err(), "not trusted");
    assert!(Client::new().get(base.replace("https", "http")).send().await.is_err(), "not HTTP");

    let dir = tempfile::tempdir().unwrap();
    let mut wrong = config(dir.path());
    wrong.tls = Some(TlsFiles { certificate: tls.key.clone(), key: tls.key });
    assert!(matches!(start(wrong).await, Err(ServerError::Tls { .. })));
}

#[tokio::test]
async fn a_protected_stream_server_gets_its_token() {
    let protected = Rig::with(|config| config.auth = Auth::Token(Secret::new("streams"))).await;
    let url = format!("{}/v1/stream", protected.base);
    let server = async |token: Option<&str>| {
        let url = url.parse().unwrap();
        let token = token.map(Secret::new);
        Rig::with(|config| {
            config.streams = StreamsBackend::Remote(url);
            config.streams_token = token;
        })
        .await
    };
    let rig = server(Some("streams")).await;
    let talk = rig.session("builtin:demo").await;
    talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    // Streams of another server are written there.
    let path = format!("/v1/stream/sessions/{}", talk.id);
    assert_eq!(rig.call(Method::POST, &path, json!([{}])).await.0, 405);
    let rig = server(None).await;
    assert_eq!(rig.call(Method::PUT, "/v1/sessions/s", json!({})).await.0, 503);
}
