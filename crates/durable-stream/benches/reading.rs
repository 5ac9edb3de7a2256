//! Reading against a server in the same process: what this crate adds to plain HTTP.
//!
//! `catch-up/plain` is `reqwest` and the same cut into items; `catch-up/follow` is to come close to it. `events` is the
//! time for 10,000 events that come one by one, each with its control event.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::fmt::Write as _;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use durable_stream::{Bytes, Client, Live, Offset, Url, split_items};
use futures::StreamExt;
use tokio::runtime::Runtime;

const BODY_BYTES: usize = 50 << 20;
const EVENTS: usize = 10_000;

/// An array of items as a session has them, about 200 bytes each.
fn body() -> Bytes {
    const CHUNK: &str =
        r#""{\"type\":\"TEXT_MESSAGE_CONTENT\",\"delta\":\"a few words of an answer, é\"}""#;
    let mut body = String::with_capacity(BODY_BYTES + 1024);
    let mut number = 0;
    while body.len() < BODY_BYTES {
        let start = if number == 0 { '[' } else { ',' };
        write!(
            body,
            r#"{start}{{"type":"chunk","key":"m:{number}","value":{{"seq":{number},"chunk":{CHUNK}}},"headers":{{"operation":"insert"}}}}"#,
        )
        .unwrap();
        number += 1;
    }
    body.push(']');
    body.into()
}

fn events() -> Vec<Bytes> {
    let event = |number: usize| {
        let closed = if number + 1 == EVENTS { ",\"streamClosed\":true" } else { "" };
        Bytes::from(format!(
            "event: data\ndata: [{{\"n\":{number},\"text\":\"a token\"}}]\n\n\
             event: control\ndata: {{\"streamNextOffset\":\"{number:08}\",\"streamCursor\":\"1\"{closed}}}\n\n"
        ))
    };
    (0..EVENTS).map(event).collect()
}

async fn serve() -> Url {
    let body = body();
    let events = events();
    let json = [(CONTENT_TYPE.as_str(), "application/json")];
    let end = [("stream-next-offset", "a"), ("stream-up-to-date", "true")];
    let router = axum::Router::new()
        .route("/body", get(move || async move { (json, end, [("stream-closed", "true")], body) }))
        .route(
            "/events",
            get(move |axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
                if query.is_some_and(|query| query.contains("live=sse")) {
                    let pieces = futures::stream::iter(events).map(Ok::<_, std::io::Error>);
                    let kind = [(CONTENT_TYPE.as_str(), "text/event-stream")];
                    (kind, axum::body::Body::from_stream(pieces)).into_response()
                } else {
                    (json, end, "[]").into_response()
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn follow(client: &Client, url: &Url, path: &str) -> usize {
    let stream = client.stream(url.join(path).unwrap());
    let mut batches = stream.follow(Offset::Beginning, Live::Sse);
    let mut items = 0;
    while let Some(batch) = batches.next().await {
        items += batch.unwrap().items.len();
    }
    items
}

fn reading(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let url = runtime.block_on(serve());
    let client = Client::new();
    let http = reqwest::Client::new();

    let mut group = criterion.benchmark_group("catch-up");
    group.sample_size(10).throughput(Throughput::Bytes(BODY_BYTES as u64));
    group.bench_function("plain", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let answer = http.get(url.join("body").unwrap()).send().await.unwrap();
            split_items("application/json", &answer.bytes().await.unwrap()).unwrap().len()
        });
    });
    group.bench_function("follow", |bencher| {
        bencher.to_async(&runtime).iter(|| follow(&client, &url, "body"));
    });
    group.finish();

    let mut group = criterion.benchmark_group("live");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("events", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || assert_eq!(follow(&client, &url, "events").await, EVENTS));
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
