//! A process that is really killed, again and again, while it streams and sends.
//!
//! The parent starts this test binary again with [`CHILD`] in its environment. The child opens the
//! engine, writes messages and prints the id of each as soon as the engine says that it is saved.
//! After the last kill everything that was printed must be in the stream once, and what the engine
//! shows must be what the stream says.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use session_protocol::Role;

use crate::support::{DEADLINE, Home, Window, connect, demo, engine_in, true_items, truth};

const CHILD: &str = "THREADKEEP_CRASH_CHILD";
const KILLS: u64 = 20;
/// The run can be repeated: kill points come from this.
const SEED: u64 = 0x5eed_0002;

/// A small generator: the same points in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
#[ignore = "started by the test below"]
fn child() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let mut order = order.split('|');
    let mut next = || order.next().expect("the parent says what to do").to_owned();
    let (dir, url, session) = (PathBuf::from(next()), next(), next());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let engine = engine_in(&dir);
        println!("opened");
        connect(&engine, &url.parse().expect("it is a URL"));
        let mut window = Window::open(&engine, &session);
        for n in 0.. {
            let text = if n % 3 == 0 { "long 40" } else { "hello" };
            let id = engine.send_message(&session, text).await.expect("it is saved");
            println!("saved {id}");
            let target = Instant::now() + Duration::from_millis(30);
            while Instant::now() < target {
                tokio::time::timeout(Duration::from_millis(30), window.pull()).await.ok();
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_torn_or_doubled_by_twenty_kills() {
    let home = Home::new();
    let server = home.server_with(|config| config.demo_pace = Duration::from_millis(1)).await;
    let dir = home.path("engine");
    let session = {
        let engine = home.engine();
        let session = engine.create_session(demo()).await.expect("it is saved");
        engine.close().await;
        session
    };
    let mut state = SEED;
    let mut saved = BTreeSet::new();
    for kill in 0..KILLS {
        let order = format!("{}|{}|{session}", dir.display(), server.base_url());
        let mut child = Command::new(std::env::current_exe().expect("it has a path"))
            .args(["--exact", "crash::child", "--ignored", "--nocapture"])
            .env(CHILD, order)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary starts");
        let output = child.stdout.take().expect("it is piped");
        // Every other child has saved something by then, however slow the machine is.
        let begins = if kill % 2 == 0 { "opened" } else { "saved " };
        let (began, has_begun) = tokio::sync::oneshot::channel();
        let reader = std::thread::spawn(move || {
            let mut began = Some(began);
            let mut saved = Vec::new();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The test runner writes on the same lines.
                if line.contains(begins) {
                    began.take().map(|began| began.send(()));
                }
                if let Some((_, id)) = line.split_once("saved ") {
                    saved.push(id.trim().to_owned());
                }
            }
            saved
        });
        tokio::time::timeout(DEADLINE, has_begun).await.expect("in time").expect("it begins");
        tokio::time::sleep(Duration::from_millis(random(&mut state) % 180)).await;
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        saved.extend(reader.join().expect("it does not panic"));
    }
    assert!(saved.len() as u64 >= KILLS / 2, "the children got to work: {}", saved.len());

    let engine = home.engine_on(&server);
    let mut window = Window::open(&engine, &session);
    let started = Instant::now();
    loop {
        window.until("everything is sent", |w| w.is_settled()).await;
        let answers = truth(&server, &session).await;
        let asked = answers.iter().filter(|message| message.role == Role::User).count();
        let done = answers
            .iter()
            .filter(|message| message.role == Role::Assistant && message.is_complete)
            .count();
        if asked == done {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{asked} asked, {done} answered");
        window.pull().await;
    }
    let said: Vec<String> = truth(&server, &session)
        .await
        .into_iter()
        .filter(|message| message.role == Role::User)
        .map(|message| message.id)
        .collect();
    let once: BTreeSet<String> = said.iter().cloned().collect();
    assert_eq!(once.len(), said.len(), "nothing is there twice");
    assert!(once.is_superset(&saved), "everything that was saved was sent");
    assert!(
        said.len() - saved.len() <= KILLS as usize,
        "at most one for each kill was saved without being told"
    );
    window.until("the last answer", |w| w.is_settled()).await;
    let truth = true_items(&server, &session).await;
    let shown = window.items.len();
    assert_eq!(window.items[..], truth[truth.len() - shown..], "what is shown is what was said");
    // And the same again from the disk alone.
    engine.close().await;
    let view = home.engine().open_session(&session).await.expect("it is stored");
    assert_eq!(view.items[..], truth[truth.len() - view.items.len()..]);
}
