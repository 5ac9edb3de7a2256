//! A process that is really killed, again and again, while it streams and sends.
//!
//! The parent starts this test binary again with [`CHILD`] in its environment. The child opens the
//! engine, makes the session, writes messages and titles and prints each as soon as the engine says
//! that it is saved. After the last kill of a round everything that was printed must be in the
//! stream once and in order, and what the engine shows must be what the stream says. Each round
//! begins with an empty folder, so that kills meet the making of the database too.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use session_core::Engine;
use session_protocol::Role;
use session_server::RunningServer;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use uuid::Uuid;

use crate::support::{DEADLINE, Home, Random, Window, connect, demo, engine_in, log, true_items};

const CHILD: &str = "THREADKEEP_CRASH_CHILD";
const KILLS_OF_A_ROUND: u64 = 20;
/// The kill points come from this.
const SEED: u64 = 0x5eed_0002;

#[test]
#[ignore = "started by the tests below"]
fn child() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let mut order = order.split('|');
    let mut next = || order.next().expect("the parent says what to do").to_owned();
    let (dir, url, session, seed) = (next(), next(), next(), next());
    let mut random = Random::new(seed.parse().expect("it is a number"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let engine = engine_in(Path::new(&dir));
        println!("opened");
        connect(&engine, &url.parse().expect("it is a URL"));
        let id: Uuid = session.parse().expect("it is a UUID");
        engine.create_session_as(id, demo()).await.expect("it is saved");
        let mut window = Window::open(&engine, &session);
        loop {
            let wish = match random.below(8) {
                0 => {
                    let title = format!("title-{}", Uuid::new_v4());
                    engine.rename_session(&session, &title).await.expect("it is saved");
                    title
                }
                1 | 2 => engine.send_message(&session, "long 40").await.expect("it is saved"),
                _ => engine.send_message(&session, "hello").await.expect("it is saved"),
            };
            println!("saved {wish}");
            let target = Instant::now() + Duration::from_millis(random.below(20));
            while Instant::now() < target {
                tokio::time::timeout(Duration::from_millis(10), window.pull()).await.ok();
            }
        }
    });
}

/// Starts a child, kills it at some point, and answers what it has said to be saved.
async fn kill_one(order: &str, random: &mut Random) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("it has a path"))
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(CHILD, format!("{order}|{}", random.below(u64::MAX)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("this binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut saved = Vec::new();
    // The test runner writes on the same lines.
    let mut note = |line: &str| {
        if let Some((_, wish)) = line.split_once("saved ") {
            saved.push(wish.trim().to_owned());
        }
    };
    // While it starts; when it has opened the database; when it has begun to work.
    let (begins, within) = [("", 60), ("opened", 30), ("saved ", 60)][random.below(3) as usize];
    let begun = async {
        while !begins.is_empty() {
            let line = lines.next_line().await.expect("it can be read").expect("it says more");
            note(&line);
            if line.contains(begins) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, begun).await.expect("it begins in time");
    tokio::time::sleep(Duration::from_micros(random.below(within * 1000))).await;
    child.kill().await.expect("it can be killed");
    while let Ok(Some(line)) = lines.next_line().await {
        note(&line);
    }
    saved
}

/// The ids of messages and the titles, in the order of the stream.
async fn wishes(server: &RunningServer, session: &str) -> Vec<String> {
    let mut wishes = Vec::new();
    for item in log(server, session).await {
        let Some(chunk) = item["value"]["chunk"].as_str() else { continue };
        let chunk: serde_json::Value = serde_json::from_str(chunk).expect("a chunk is JSON");
        let wish = match chunk["type"].as_str() {
            Some("whole-message") => &chunk["message"]["id"],
            Some("config") => &chunk["title"],
            _ => continue,
        };
        wishes.push(wish.as_str().expect("it is text").to_owned());
    }
    wishes
}

/// Everything is sent and answered, and the window has it.
async fn settle(server: &RunningServer, session: &str, window: &mut Window) {
    let started = Instant::now();
    loop {
        window.until("everything is sent", Window::is_settled).await;
        let truth = true_items(server, session).await;
        let asked = truth.iter().filter(|item| item.meta.role == Role::User).count();
        let answered = truth
            .iter()
            .filter(|item| item.meta.role == Role::Assistant && item.meta.is_complete)
            .count();
        if asked == answered && window.items.last() == truth.last() {
            return;
        }
        assert!(started.elapsed() < 2 * DEADLINE, "{asked} asked, {answered} answered");
        tokio::time::timeout(Duration::from_millis(100), window.pull()).await.ok();
    }
}

/// SQLite's own opinion of the file, when nobody has it open.
fn check_database(file: &Path) {
    let database = rusqlite::Connection::open(file).expect("it opens");
    let opinion: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be asked");
    assert_eq!(opinion, "ok");
}

async fn round(home: &Home, server: &RunningServer, name: &str, kills: u64, random: &mut Random) {
    let dir = home.path(name);
    let session = Uuid::new_v4().to_string();
    let order = format!("{}|{}|{session}", dir.display(), server.base_url());
    let mut saved = Vec::new();
    for _ in 0..kills {
        saved.extend(kill_one(&order, random).await);
    }
    let open = || -> Engine {
        let engine = engine_in(&dir);
        assert_eq!(engine.notices(), [], "the database is as it should be");
        connect(&engine, &server.base_url());
        engine
    };
    let engine = open();
    let id: Uuid = session.parse().expect("it is a UUID");
    engine.create_session_as(id, demo()).await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    settle(server, &session, &mut window).await;

    let done = wishes(server, &session).await;
    let mut untold = done.len();
    let mut told = saved.iter().peekable();
    for wish in &done {
        // What was saved without being told lies in between.
        untold -= usize::from(told.next_if_eq(&wish).is_some());
    }
    assert_eq!(told.peek(), None, "everything that was saved was done, in order: {done:?}");
    assert!(untold as u64 <= kills, "at most one for each kill was saved without being told");
    let mut once = done.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), done.len(), "nothing is there twice");

    let truth = true_items(server, &session).await;
    let shown = window.items.len();
    assert_eq!(window.items[..], truth[truth.len() - shown..], "what is shown is what was said");
    // And the same again from the disk alone.
    drop(window);
    engine.close().await;
    check_database(&dir.join("threadkeep.db"));
    let engine = engine_in(&dir);
    let mut window = Window::opened(&engine, &session).await;
    // A window lets go of rows at the end when it goes far up.
    let mut rows = window.items.clone();
    while window.has_more_before {
        let first = window.items[0].id.clone();
        window.go_up().await;
        let older = window.items.iter().take_while(|item| item.id != first).cloned();
        rows.splice(..0, older.collect::<Vec<_>>());
    }
    assert_eq!(rows, truth, "every row is there, whole");
    drop(window);
    engine.close().await;
}

async fn kill(kills: u64, seed: u64) {
    let home = Home::on_disk();
    let server = home.server_with(|config| config.demo_pace = Duration::from_millis(1)).await;
    let mut random = Random::new(seed);
    let started = Instant::now();
    let mut killed = 0;
    while killed < kills {
        let now = KILLS_OF_A_ROUND.min(kills - killed);
        round(&home, &server, &format!("round {killed}"), now, &mut random).await;
        killed += now;
        println!("seed {seed}: {killed} kills in {:.0?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_torn_or_doubled_by_twenty_kills() {
    kill(KILLS_OF_A_ROUND, SEED).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: cargo xtask test --kills"]
async fn nothing_is_lost_torn_or_doubled_by_a_thousand_kills() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("THREADKEEP_SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    kill(number("THREADKEEP_KILLS").unwrap_or(1000), seed).await;
}
