//! Opening what is stored.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use session_core::FeedChange;
use tempfile::TempDir;

use crate::log::{self, Kind, Shape};
use crate::{Row, engine, median, millis, runtime};

/// The stored sessions: id and chunks.
const STORED: [(&str, usize); 3] =
    [("local/s1k", 1_000), ("local/s100k", 100_000), ("local/s1m", 1_000_000)];
/// The greatest of them.
pub(crate) const LARGEST: &str = "local/s1m";
const BATCH: usize = 10_000;
const TURNS: usize = 21;

/// A database with the sessions.
pub(crate) fn store() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (id, chunks) in STORED {
        let started = Instant::now();
        let (sender, items) = std::sync::mpsc::sync_channel::<Vec<Bytes>>(2);
        let writer = std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            log::write(Shape::new(Kind::Agui, chunks), &mut |item| {
                batch.push(Bytes::copy_from_slice(item.as_bytes()));
                if batch.len() == BATCH {
                    sender.send(std::mem::take(&mut batch)).unwrap();
                }
            });
            sender.send(batch).unwrap();
        });
        runtime().block_on(async {
            let engine = engine(dir.path());
            let mut session = engine.measured(id).await.unwrap();
            for (n, batch) in items.iter().enumerate() {
                session.take_in(&batch, &format!("{n:08}"));
                session.commit().await.unwrap();
            }
            drop(session);
            engine.close().await;
        });
        writer.join().unwrap();
        println!("stored {chunks} chunks as {id} in {:.1} s", started.elapsed().as_secs_f32());
    }
    dir
}

/// From asking for a session that is not in memory to its last 60 items.
fn opened(dir: &Path, id: &str) -> Duration {
    runtime().block_on(async {
        let engine = engine(dir);
        let started = Instant::now();
        let feed = engine.feed();
        feed.show(Some(id.to_owned())).unwrap();
        let batch = feed.next(0, 0).await;
        let elapsed = started.elapsed();
        assert!(matches!(batch.changes.last(), Some(FeedChange::Diff { .. })));
        engine.close().await;
        elapsed
    })
}

pub(crate) fn run(dir: &Path) -> Vec<Row> {
    let mut times = vec![Vec::new(); STORED.len()];
    for _ in 0..TURNS {
        for (at, (id, _)) in STORED.iter().enumerate() {
            times[at].push(opened(dir, id));
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    // A session of 1,000 chunks has no 60 messages; what fills the window is compared.
    let base = medians[1].as_secs_f64();
    STORED
        .iter()
        .zip(&medians)
        .map(|((_, chunks), time)| {
            let ratio = time.as_secs_f64() / base;
            Row::new(
                format!("open a stored session of {chunks} chunks"),
                "at most 5 ms, +-20 %",
                format!("{:.2} ms, {ratio:.2} x that of 100000", millis(*time)),
                millis(*time) <= 5.0 && ratio <= 1.2,
            )
        })
        .collect()
}
