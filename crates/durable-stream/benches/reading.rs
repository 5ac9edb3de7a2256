//! Reading against a server in the same process: what this crate adds to plain HTTP.
//!
//! `catch-up/plain` is `reqwest` and the same cut into items; `catch-up/follow` is to come close to
//! it. `live/events` is the time for 10,000 events that come one by one, each with its control
//! event; client and server share one thread.
//!
//! At the end a summary compares both ways to catch up in turns, and says how much memory a long
//! event stream takes.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use axum::extract::{Path, RawQuery};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use criterion::{Criterion, Throughput, criterion_group};
use durable_stream::{Bytes, Client, Live, Offset, Url, split_items};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};

const BODY_BYTES: usize = 50 << 20;
const EVENTS: usize = 10_000;

/// Bytes of the stream whose memory is measured, and of its part after which the measure begins.
const MANY_EVENTS: usize = 1_000_000;
const WARM: usize = 100_000;

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

fn event(number: usize, last: usize) -> Bytes {
    let closed = if number == last { ",\"streamClosed\":true" } else { "" };
    Bytes::from(format!(
        "event: data\ndata: [{{\"n\":{number},\"text\":\"a token\"}}]\n\n\
         event: control\ndata: {{\"streamNextOffset\":\"{number:08}\",\"streamCursor\":\"1\"{closed}}}\n\n"
    ))
}

async fn serve() -> Url {
    let body = body();
    let json = [(CONTENT_TYPE.as_str(), "application/json")];
    let end = [("stream-next-offset", "a"), ("stream-up-to-date", "true")];
    let router = axum::Router::new()
        .route("/body", get(move || async move { (json, end, [("stream-closed", "true")], body) }))
        .route(
            "/events/{count}",
            get(move |Path(count): Path<usize>, RawQuery(query): RawQuery| async move {
                if query.is_some_and(|query| query.contains("live=sse")) {
                    let pieces = futures::stream::iter(0..count)
                        .map(move |number| Ok::<_, std::io::Error>(event(number, count - 1)));
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

async fn plain(http: &reqwest::Client, url: &Url) -> usize {
    let answer = http.get(url.join("body").unwrap()).send().await.unwrap();
    split_items("application/json", &answer.bytes().await.unwrap()).unwrap().len()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn reading(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let url = runtime.block_on(serve());
    let client = Client::new();
    let http = reqwest::Client::new();

    let mut group = criterion.benchmark_group("catch-up");
    group.sample_size(10).throughput(Throughput::Bytes(BODY_BYTES as u64));
    group.bench_function("plain", |bencher| {
        bencher.to_async(&runtime).iter(|| plain(&http, &url));
    });
    group.bench_function("follow", |bencher| {
        bencher.to_async(&runtime).iter(|| follow(&client, &url, "body"));
    });
    group.finish();

    let runtime = one_thread();
    let url = runtime.block_on(serve());
    let client = Client::new();
    let path = format!("events/{EVENTS}");
    let mut group = criterion.benchmark_group("live");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("events", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || assert_eq!(follow(&client, &url, &path).await, EVENTS));
    });
    group.finish();
}

/// In turns, so that both see the same machine.
fn compare_catch_up() {
    const TURNS: usize = 21;
    let runtime = Runtime::new().unwrap();
    let (client, http) = (Client::new(), reqwest::Client::new());
    let (mut plainly, mut followed) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let url = serve().await;
        for _ in 0..TURNS {
            let started = Instant::now();
            let items = plain(&http, &url).await;
            plainly.push(started.elapsed());
            let started = Instant::now();
            assert_eq!(follow(&client, &url, "body").await, items);
            followed.push(started.elapsed());
        }
    });
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[TURNS / 2].as_secs_f64()
    };
    let (plainly, followed) = (median(&mut plainly), median(&mut followed));
    let mb = BODY_BYTES as f64 / 1e6;
    println!(
        "catch-up of {mb:.0} MB, median of {TURNS} in turns: plain {:.0} MB/s, follow {:.0} MB/s = {:.0} %",
        mb / plainly,
        mb / followed,
        100.0 * plainly / followed,
    );
}

/// The memory of this process that is not swapped out, in MB. The server is in it, but makes each
/// event as it goes.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().split(' ').next()?.parse::<f64>().ok()? / 1000.0)
}

fn long_event_stream() {
    let runtime = one_thread();
    runtime.block_on(async {
        let url = serve().await;
        let stream = Client::new().stream(url.join(&format!("events/{MANY_EVENTS}")).unwrap());
        let mut batches = stream.follow(Offset::Beginning, Live::Sse);
        let (mut items, mut warm, mut greatest) = (0, None, 0_f64);
        let started = Instant::now();
        while let Some(batch) = batches.next().await {
            let before = items;
            items += batch.unwrap().items.len();
            if items / WARM > before / WARM {
                let now = resident().unwrap_or_default();
                greatest = greatest.max(now);
                warm = warm.or(Some(now));
            }
        }
        assert_eq!(items, MANY_EVENTS);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{MANY_EVENTS} events, client and server on one thread: {:.0} events/s",
            items as f64 / seconds
        );
        match warm {
            Some(warm) if warm > 0.0 => println!(
                "memory: {warm:.1} MB after {WARM} events, at most {greatest:.1} MB until the last of {MANY_EVENTS}"
            ),
            _ => println!("memory: /proc/self/status is not here to measure it"),
        }
    });
}

criterion_group!(benches, reading);

fn main() {
    benches();
    // As a test it only has to run.
    if std::env::args().any(|argument| argument == "--bench") {
        Criterion::default().configure_from_args().final_summary();
        println!();
        compare_catch_up();
        long_event_stream();
    }
}
