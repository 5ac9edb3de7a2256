//! Everything at once: a producer and a reader behind a proxy that breaks half of all requests.
//!
//! `DURABLE_STREAM_SEEDS=10000` runs as many seeds, `DURABLE_STREAM_SEED=7` only that one.

use std::sync::Arc;
use std::time::Duration;

use durable_stream::{
    Batch, Bytes, Client, CreateOptions, FollowOptions, Live, Offset, ProducerOptions, Timeouts,
};
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::proxy::FaultProxy;
use crate::support::{Server, eager};

/// Runs at the same time; they mostly wait, but more would starve each other on a small machine.
const PARALLEL: usize = 6;

/// Time that a stalled connection costs a run. Too little, and a busy machine takes its own
/// slowness for stalls.
const PATIENCE: Duration = Duration::from_millis(400);

/// A run takes a fraction of a second.
const DEADLINE: Duration = Duration::from_secs(60);

fn patient() -> Client {
    let mut timeouts = Timeouts::default();
    timeouts.headers = PATIENCE;
    timeouts.long_poll = PATIENCE;
    timeouts.idle = PATIENCE;
    timeouts.sse_idle = PATIENCE;
    timeouts.sse_first_event = PATIENCE;
    eager().timeouts(timeouts).build().unwrap()
}

/// Also what event streams cannot carry: a space at the start of a line, with the servers there
/// are.
fn text(rng: &mut StdRng) -> String {
    const ALPHABET: [&str; 9] = ["a", "zz", " ", "\n", "é", "€", "😀", "\"", "\\"];
    (0..rng.random_range(0..30)).map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())]).collect()
}

async fn run(server: &Server, client: &Client, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let content_type =
        ["application/json", "application/json", "text/plain", "application/octet-stream"]
            [rng.random_range(0..4)];
    let is_json = content_type == "application/json";
    let live = [Live::Auto, Live::Sse, Live::LongPoll][rng.random_range(0..3)];
    let rate = rng.random_range(10..60);
    let name = format!("seed-{seed}");
    let direct = server.stream(&name);
    let options =
        CreateOptions { content_type: Some(content_type.to_owned()), ..CreateOptions::default() };
    direct.create(options).await.unwrap();
    let items: Vec<Bytes> = (0..rng.random_range(1..60))
        .map(|number| {
            let text = text(&mut rng);
            match content_type {
                "application/json" => {
                    serde_json::json!({ "n": number, "text": text }).to_string().into()
                }
                "text/plain" if live == Live::Sse => {
                    format!("{number} {}.", text.replace('\n', "\n|")).into()
                }
                _ => Bytes::from(format!("{number} {text}.")),
            }
        })
        .collect();

    let proxy = FaultProxy::start(&server.base, seed, rate).await;
    let stream = client.stream(server.url(&proxy.base, &name));

    let options = ProducerOptions {
        content_type: content_type.to_owned(),
        max_batch_items: rng.random_range(1..8),
        max_in_flight: rng.random_range(1..6),
        linger: Duration::from_millis(rng.random_range(0..3)),
        ..ProducerOptions::new("writer")
    };
    let produce = async {
        let producer = stream.producer(options).unwrap();
        let (last, others) = items.split_last().unwrap();
        for item in others {
            drop(producer.append(item.clone()).await.unwrap());
        }
        producer.close(Some(last.clone())).await.unwrap();
    };
    let restart_after = rng.random_range(2..10);
    let consume = async {
        let mut got = Vec::new();
        let mut from = Offset::Beginning;
        let mut cursor = None;
        // A reader that is dropped and started anew from the last offset, as after a crash.
        loop {
            let options = FollowOptions::new(from.clone(), live).cursor(cursor.clone());
            let mut batches = stream.follow_with(options).take(restart_after);
            while let Some(batch) = batches.next().await {
                let Batch { items, next_offset, cursor: next_cursor, closed, .. } = batch.unwrap();
                got.extend(items);
                from = next_offset;
                cursor = next_cursor;
                if closed {
                    return got;
                }
            }
        }
    };
    let both = futures::future::join(produce, consume);
    let ((), got) =
        tokio::time::timeout(DEADLINE, both).await.expect("it ends before the deadline");

    let stored: Vec<Bytes> = direct
        .follow(Offset::Beginning, Live::No)
        .map(|batch| batch.unwrap().items)
        .collect::<Vec<_>>()
        .await
        .concat();
    if is_json {
        let parsed = |items: &[Bytes]| -> Vec<serde_json::Value> {
            items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect()
        };
        assert!(parsed(&stored) == parsed(&items), "the producer wrote something else");
        assert!(parsed(&got) == parsed(&items), "the reader got something else");
    } else {
        assert!(stored.concat() == items.concat(), "the producer wrote something else");
        assert!(got.concat() == items.concat(), "the reader got something else");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_any_faults_each_item_is_written_once_and_read_once_in_order() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match number("DURABLE_STREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DURABLE_STREAM_SEEDS").unwrap_or(48),
    };
    let shared = Arc::new((Server::start().await, patient()));
    let failed: Vec<u64> = futures::stream::iter(seeds)
        .map(|seed| {
            let shared = Arc::clone(&shared);
            async move {
                let run = tokio::spawn(async move { run(&shared.0, &shared.1, seed).await });
                // What went wrong was printed by the panic.
                run.await.err().map(|_| seed)
            }
        })
        .buffer_unordered(PARALLEL)
        .filter_map(async |failed| failed)
        .collect()
        .await;
    assert!(failed.is_empty(), "DURABLE_STREAM_SEED=n brings each of these again: {failed:?}");
}
