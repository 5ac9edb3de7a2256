//! Memory of a process that has one large session open.

use std::path::Path;

use bytes::Bytes;

use crate::{Row, engine, log, open, runtime};

const LIVE: usize = 100_000;
const BETWEEN: usize = 50;

/// The memory of this process that is not swapped out, in MB.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().split(' ').next()?.parse::<f64>().ok()? / 1024.0)
}

/// Opens the session, streams into it, prints the memory after opening, after a tenth and at most.
pub(crate) fn child(dir: &str, id: &str) {
    runtime().block_on(async {
        let engine = engine(Path::new(dir));
        let mut session = engine.measured(id).await.unwrap();
        let feed = session.feed();
        let mut cursor = feed.next(feed.epoch(), 0).await.to;
        let opened = resident().unwrap_or_default();
        let (mut warm, mut most) = (0.0_f64, 0.0_f64);
        for n in 0..LIVE {
            // An answer of 1,000 chunks after the other.
            let message = format!("live-{}", n / 1000);
            let item = log::live_chunk(&message, n % 1000, "some words ");
            session.take_in(&[Bytes::from(item)], &format!("1{n:07}"));
            if n % 1000 == 999 {
                let end = log::finish(&message, 1000);
                session.take_in(&[Bytes::from(end)], &format!("1{n:07}"));
                cursor = feed.next(feed.epoch(), cursor).await.to;
            }
            if n % BETWEEN == BETWEEN - 1 {
                session.commit().await.unwrap();
                let now = resident().unwrap_or_default();
                most = most.max(now);
                if n < LIVE / 10 {
                    warm = most;
                }
            }
        }
        println!("{opened} {warm} {most}");
    });
}

pub(crate) fn run(dir: &Path) -> Vec<Row> {
    let output = child_output(dir);
    let figures: Vec<f64> = output.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [opened, warm, most] = figures[..] else { return Vec::new() };
    vec![
        Row::new(
            "resident memory with a session of 1,000,000 chunks open",
            "at most 60 MB",
            format!("{opened:.1} MB, at most {most:.1} MB while it streams"),
            most > 0.0 && most <= 60.0,
        ),
        Row::new(
            format!("growth from chunk {} to chunk {LIVE} of streaming", LIVE / 10),
            "flat",
            format!("{:+.1} MB", most - warm),
            most - warm <= 3.0,
        ),
    ]
}

fn child_output(dir: &Path) -> String {
    let output = crate::child(&["memory", dir.to_str().unwrap(), open::LARGEST]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
