//! Many sessions, a few of which stream: the processor time of the engine alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use session_core::{Endpoint, FeedChange};

use crate::server::{RATE, STREAMING};
use crate::{Row, child as another, engine, runtime};

const SESSIONS: usize = 100;
const WARM: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(20);

/// The processor time of this process so far.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Behind the name: `utime` and `stime` in hundredths of a second.
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Follows the sessions of a server with one window that shows the first; prints the share of one
/// core and the tokens that the window saw a second.
pub(crate) fn child(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let engine = engine(dir.path());
        engine.connect(Some(Endpoint::open(url.parse().unwrap()))).unwrap();
        while engine.sessions().len() < SESSIONS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for session in engine.sessions() {
            engine.open_session(&session.id).await.unwrap();
        }
        let feed = engine.feed();
        feed.show(Some("s000".to_owned()));
        let (mut cursor, mut seen) = (0, 0);
        let warm = Instant::now() + WARM;
        let mut began = None;
        loop {
            let batch = feed.next(feed.epoch(), cursor).await;
            cursor = batch.to;
            let diffs = batch.changes.iter().filter(|c| matches!(c, FeedChange::Diff { .. }));
            if Instant::now() < warm {
                continue;
            }
            let (start, used) =
                *began.get_or_insert_with(|| (Instant::now(), processor_time().unwrap_or_default()));
            seen += diffs.count();
            if start.elapsed() >= MEASURED {
                let used = processor_time().unwrap_or_default().saturating_sub(used);
                let seconds = start.elapsed().as_secs_f64();
                println!("{} {}", 100.0 * used.as_secs_f64() / seconds, seen as f64 / seconds);
                return;
            }
        }
    });
}

/// A child that is killed when it is not wanted any longer.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(mut command: Command) -> (Guard, String) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let out = child.stdout.take().unwrap();
    let guard = Guard(child);
    BufReader::new(out).read_line(&mut line).unwrap();
    (guard, line.trim().to_owned())
}

pub(crate) fn run() -> Vec<Row> {
    let (_server, url) = started(another(&["server", &SESSIONS.to_string()]));
    let (_engine, line) = started(another(&["many", &url]));
    let figures: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [share, diffs] = figures[..] else { return Vec::new() };
    vec![Row::new(
        format!("{SESSIONS} sessions, {STREAMING} streaming {RATE} chunks/s each"),
        "at most 10 % of one core",
        format!("{share:.1} % (a window reads {diffs:.0} diffs/s)"),
        share <= 10.0,
    )]
}
