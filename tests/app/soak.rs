//! Hours of streaming must leave the page's memory flat; three minutes show whether they do.

use crate::support::app::{App, Computer};
use std::time::{Duration, Instant};

const MINUTES: f64 = 3.0;
/// Growth that is allowed, in MB per minute.
const ALLOWED: f64 = 5.0;

#[tokio::test]
#[ignore = "takes three minutes: cargo xtask test --soak"]
async fn soak_three_minutes_of_streaming_leave_the_page_s_memory_flat() {
    let computer = Computer::new();
    let app = computer.start().await;
    // Several long answers warm up what the page keeps for good: fonts, code, a screen of rows.
    app.say("long 100000").await;
    app.messages_until("the answer is on its way", |m| m.iter().any(|m| m.text.len() > 2_000))
        .await;
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (started, before) = (Instant::now(), memory(&app));
    let mut samples = vec![before];
    while started.elapsed().as_secs_f64() < MINUTES * 60.0 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        samples.push(memory(&app));
        let running =
            app.page().execute("return !!document.querySelector('[data-testid=stop]')").await;
        assert_eq!(running, true, "the answer still streams");
    }
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let growth = (samples.last().unwrap() - before) / minutes;
    println!(
        "web process, MB every 5 s: {samples:.0?}\ngrowth: {growth:.2} MB/min over {minutes:.1} min"
    );
    assert!(growth < ALLOWED, "the page grows by {growth:.2} MB/min");
}

/// The web processes' resident memory, in MB.
fn memory(app: &App<'_>) -> f64 {
    let kilobytes: u64 = app.web_processes().into_iter().map(resident).sum();
    assert!(kilobytes > 0, "a web process is found");
    kilobytes as f64 / 1024.0
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}
