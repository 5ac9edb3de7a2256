//! Hours of streaming must leave the page's memory flat; three minutes show whether they do.

use crate::support::app::{App, Computer};
use std::time::{Duration, Instant};

/// How long the page may warm up: fonts, code, caches, the collector's first sizes.
const WARM_UP: Duration = Duration::from_secs(90);
const MEASURED: Duration = Duration::from_secs(180);
/// Growth that is allowed, in MB per minute.
const ALLOWED: f64 = 5.0;

#[tokio::test]
#[ignore = "takes five minutes: cargo xtask test --soak"]
async fn soak_three_minutes_of_streaming_leave_the_page_s_memory_flat() {
    let computer = Computer::new();
    let app = computer.start().await;
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let started = Instant::now();
    while started.elapsed() < WARM_UP + MEASURED {
        // Answer after answer, as in a session that goes on for hours.
        app.say("long 600").await;
        app.wait("stop").await;
        while app.page().find("[data-testid=stop]").await.is_some() {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if started.elapsed() > WARM_UP {
                samples.push((started.elapsed().as_secs_f64() / 60.0, memory(&app)));
            }
        }
    }
    let shown: Vec<f64> = samples.iter().map(|(_, megabytes)| megabytes.round()).collect();
    let growth = slope(&samples);
    println!("web process, MB every 2 s of streaming: {shown:?}\ngrowth: {growth:.2} MB/min");
    app.save("soak").await;
    assert!(growth < ALLOWED, "the page grows by {growth:.2} MB/min");
}

/// The straight line through the samples that is nearest to them (least squares): its rise.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| samples.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let rise: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    rise / samples.iter().map(|sample| (sample.0 - x).powi(2)).sum::<f64>()
}

/// The web processes' own memory (not what they share with others), in MB.
fn memory(app: &App<'_>) -> f64 {
    let kilobytes: u64 = app.web_processes().into_iter().map(own).sum();
    assert!(kilobytes > 0, "a web process is found");
    kilobytes as f64 / 1024.0
}

fn own(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}
