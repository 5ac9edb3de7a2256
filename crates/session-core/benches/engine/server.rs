//! As much of a server as the measures need: one finished log, or many sessions of which some stream.

use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;

use crate::log;
use crate::runtime;

/// Sessions that stream.
pub(crate) const STREAMING: usize = 3;
/// Chunks a second in each of them.
pub(crate) const RATE: u64 = 200;

/// Serves one closed stream; answers its URL.
pub(crate) async fn one_log(body: String) -> String {
    let body = Bytes::from(body);
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        ("stream-next-offset", "a"),
        ("stream-up-to-date", "true"),
        ("stream-closed", "true"),
    ];
    let router = Router::new().route("/log", get(move || async move { (headers, body) }));
    let base = serve(router).await;
    format!("{base}/log")
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

/// A server with so many sessions until its standard input ends; prints its URL.
pub(crate) fn child(sessions: usize) {
    runtime().block_on(async {
        let list = json!({"sessions": (0..sessions).map(|n| json!({
            "sessionId": format!("s{n:03}"),
            "title": format!("Session {n}"),
            // The first ones are the most recent.
            "lastActivityAt": format!("2026-03-01T10:{:02}:{:02}.000Z", 59 - n / 60, 59 - n % 60),
        })).collect::<Vec<_>>()});
        let router = Router::new()
            .route("/v1/sessions", get(move || async move { axum::Json(list) }))
            .route("/v1/stream/sessions/{id}", get(stream))
            .fallback(|| async { StatusCode::NO_CONTENT });
        println!("{}", serve(router).await);
        std::io::stdout().flush().unwrap();
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = ended.send(());
        });
        let _ = end.await;
    });
}

async fn stream(Path(id): Path<String>, RawQuery(query): RawQuery) -> Response {
    if !query.is_some_and(|query| query.contains("live=")) {
        let headers = [
            (CONTENT_TYPE.as_str(), "application/json"),
            ("stream-next-offset", "00000000"),
            ("stream-up-to-date", "true"),
        ];
        return (headers, "[]").into_response();
    }
    let streaming = id[1..].parse::<usize>().is_ok_and(|n| n < STREAMING);
    let events = futures::stream::unfold((0_usize, None), move |(n, ticks)| {
        let id = id.clone();
        async move {
            if !streaming && n > 0 {
                std::future::pending::<()>().await;
            }
            let mut ticks: tokio::time::Interval = ticks
                .unwrap_or_else(|| tokio::time::interval(Duration::from_micros(1_000_000 / RATE)));
            ticks.tick().await;
            let data = match n {
                0 => String::new(),
                // Answers of 1,000 chunks, one after the other.
                n => {
                    let (message, seq) = (format!("{id}-{}", n / 1000), n % 1000);
                    let item = match seq {
                        999 => log::finish(&message, seq),
                        _ => log::live_chunk(&message, seq, "some words "),
                    };
                    format!("event: data\ndata: [{item}]\n\n")
                }
            };
            let control = format!(
                "event: control\ndata: {{\"streamNextOffset\":\"{n:08}\",\"streamCursor\":\"1\",\"upToDate\":true}}\n\n"
            );
            let event = Ok::<_, std::io::Error>(Bytes::from(data + &control));
            Some((event, (n + 1, Some(ticks))))
        }
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}
