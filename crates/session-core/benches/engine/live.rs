//! One live chunk: bytes in, diff out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use session_core::{Diff, FeedChange};

use crate::log::{self, Kind, Shape};
use crate::{Row, engine, median, replay, runtime};

const LIVE: usize = 4_000;
/// Chunks between two commits, as at 200 chunks a second.
const BETWEEN: usize = 50;

struct Figures {
    median: Duration,
    mean: Duration,
    diff: Vec<(usize, usize)>,
    batch: Vec<usize>,
}

fn measure(chunks: usize) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    let mut items = Vec::new();
    let shape = Shape { long: chunks, ..Shape::new(Kind::Agui, 2_000) };
    let message = log::write(shape, &mut |item| items.push(item.to_owned())).unwrap();
    let words = ["the", " quick", " brown", " fox", " jumps", " over", " naïve", " 🙂 dogs"];
    let live: Vec<(usize, [Bytes; 1])> = (0..LIVE)
        .map(|n| {
            let word = words[n % words.len()];
            (word.len(), [Bytes::from(log::live_chunk(&message, chunks + n, word))])
        })
        .collect();
    runtime().block_on(async {
        let engine = engine(dir.path());
        let mut session = engine.measured("local/s").await.unwrap();
        session.take_in(&replay::slices(&items), "0001");
        session.commit().await.unwrap();
        let feed = session.feed();
        let mut cursor = feed.next(feed.epoch(), 0).await.to;
        let mut times = Vec::with_capacity(LIVE);
        let mut figures =
            Figures { median: Duration::ZERO, mean: Duration::ZERO, diff: vec![], batch: vec![] };
        for (n, (word, item)) in live.iter().enumerate() {
            let started = Instant::now();
            session.take_in(item, "0002");
            times.push(started.elapsed());
            // The window reads after the first chunk of each round, so that it is one by itself.
            if n % BETWEEN == 0 || n % BETWEEN == BETWEEN - 1 {
                let batch = feed.next(feed.epoch(), cursor).await;
                cursor = batch.to;
                let patch = batch.changes.iter().find_map(|change| match change {
                    FeedChange::Diff { diff: diff @ Diff::Patch { .. }, .. } => Some(diff),
                    _ => None,
                });
                if let Some(patch) = patch
                    && n % BETWEEN == 0
                {
                    figures.diff.push((*word, serde_json::to_string(patch).unwrap().len()));
                    figures.batch.push(serde_json::to_string(&batch).unwrap().len());
                }
            }
            if n % BETWEEN == BETWEEN - 1 {
                session.commit().await.unwrap();
            }
        }
        figures.mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap();
        figures.median = median(&mut times);
        drop(session);
        engine.close().await;
        figures
    })
}

pub(crate) fn run() -> Vec<Row> {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (short, long) = (measure(200), measure(100_000));
    let mut rows: Vec<Row> = [(200, &short), (100_000, &long)]
        .into_iter()
        .map(|(chunks, figures)| {
            Row::new(
                format!("one live chunk, message of {chunks} chunks"),
                "at most 20 us",
                format!(
                    "median {:.1} us, mean {:.1} us",
                    micros(figures.median),
                    micros(figures.mean)
                ),
                micros(figures.mean) <= 20.0,
            )
        })
        .collect();
    let ratio = long.median.as_secs_f64() / short.median.as_secs_f64();
    rows.push(Row::new(
        "the long message compared with the short one",
        "the same",
        format!("{ratio:.2} x"),
        ratio <= 1.2,
    ));
    let over = |(word, diff): &(usize, usize)| diff.saturating_sub(3 * word);
    let worst = short.diff.iter().map(over).max().unwrap_or(0);
    let mean =
        |all: &mut dyn Iterator<Item = usize>, count: usize| all.sum::<usize>() / count.max(1);
    rows.push(Row::new(
        "diff bytes of one token",
        "at most 3 x token + 100",
        format!(
            "at most 3 x token + {worst}; mean {} B, its batch {} B",
            mean(&mut short.diff.iter().map(|(_, diff)| *diff), short.diff.len()),
            mean(&mut short.batch.iter().copied(), short.batch.len()),
        ),
        !short.diff.is_empty() && worst <= 100,
    ));
    rows
}
