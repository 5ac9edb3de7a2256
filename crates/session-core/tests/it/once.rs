//! The outbox under any mix of failure, crash and echo: each wish is done once, in order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use session_core::Engine;
use session_server::RunningServer;

use crate::faulty::{Asked, Fate, Way};
use crate::support::{DEADLINE, Home, Random, Window, connect, demo, log};

/// Number of seeds that the plain suite tries. Another part of them in each run of the long one.
const SEEDS: u64 = 3;
const STEPS: u64 = 25;

/// A wish whose place in the log is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    Message { id: String, text: String },
    Title(String),
}

/// The wishes as the log has them, and how often each approval was answered.
async fn done(server: &RunningServer, session: &str) -> (Vec<Wish>, HashMap<String, usize>) {
    let mut wishes = Vec::new();
    let mut answers: HashMap<String, usize> = HashMap::new();
    for item in log(server, session).await {
        let Some(chunk) = item["value"]["chunk"].as_str() else { continue };
        let chunk: Value = serde_json::from_str(chunk).expect("a chunk is JSON");
        let of = |value: &Value| value.as_str().expect("it is text").to_owned();
        match chunk["type"].as_str() {
            Some("whole-message") => wishes.push(Wish::Message {
                id: of(&chunk["message"]["id"]),
                text: of(&chunk["message"]["parts"][0]["content"]),
            }),
            Some("config") => wishes.push(Wish::Title(of(&chunk["title"]))),
            Some("approval-response") => *answers.entry(of(&chunk["approvalId"])).or_default() += 1,
            _ => {}
        }
    }
    (wishes, answers)
}

/// A bad day of a network.
fn bad_day(seed: u64) -> impl FnMut(Asked<'_>) -> Fate + Send + 'static {
    let mut random = Random::new(seed);
    move |asked| {
        if asked.is_stream() {
            return match random.below(8) {
                0 => Fate::Lost,
                1 => Fate::Refused(503),
                2..=4 => Fate::Cut(200 + random.below(6000) as usize),
                5 => Fate::Late(Duration::from_millis(random.below(60))),
                _ => Fate::Pass,
            };
        }
        match random.below(14) {
            0 => Fate::Lost,
            1 => Fate::Refused(429),
            2 => Fate::Refused([500, 502, 503, 504][random.below(4) as usize]),
            3 => Fate::Refused(401),
            4 | 5 => Fate::AnswerLost,
            6 => Fate::AnswerFalse(502),
            7 => Fate::Late(Duration::from_millis(random.below(30))),
            8 => Fate::Held,
            _ => Fate::Pass,
        }
    }
}

async fn try_seed(seed: u64) {
    let home = Home::new();
    let server = home.server().await;
    let way = Way::to(server.addr, bad_day(seed)).await;
    let mut random = Random::new(!seed);
    let start = |home: &Home| {
        let engine = home.engine();
        connect(&engine, &way.url());
        engine
    };
    let mut engine = start(&home);
    let session = engine.create_session(demo()).await.expect("it is saved");
    let mut wishes: Vec<Wish> = Vec::new();
    let mut discarded: Vec<String> = Vec::new();
    for step in 0..STEPS {
        match random.below(20) {
            0..=7 => {
                let text = ["hello", "thanks", "long 6", "Please clean up"];
                let text = text[random.below(4) as usize].to_owned();
                let id = engine.send_message(&session, &text).await.expect("it is saved");
                wishes.push(Wish::Message { id, text });
            }
            8 | 9 => {
                let title = format!("title {step}");
                engine.rename_session(&session, &title).await.expect("it is saved");
                wishes.push(Wish::Title(title));
            }
            10 | 11 => {
                // What may be changed still, is changed.
                if let Some(Wish::Message { id, text }) = wishes.last_mut()
                    && engine.edit_entry(id, "hello, edited").await.is_ok()
                {
                    "hello, edited".clone_into(text);
                }
            }
            12 => {
                if let Some(Wish::Message { id, .. }) = wishes.last()
                    && engine.discard_entry(id).await.is_ok()
                {
                    discarded.push(id.clone());
                    wishes.pop();
                }
            }
            13 => drop(engine.stop(&session).await),
            14 => answer_all(&engine, &session, random.below(2) == 0).await,
            15 | 16 => {
                drop(engine);
                engine = start(&home);
            }
            17 => engine.reconnect(),
            18 => engine.nudge(),
            _ => tokio::time::sleep(Duration::from_millis(random.below(40))).await,
        }
    }
    way.calm();
    engine.reconnect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        engine.nudge();
        answer_all(&engine, &session, true).await;
        let view = Window::opened(&engine, &session).await;
        let quiet = view.is_settled() && view.meta().pending_approvals.is_empty();
        let found = done(&server, &session).await.0;
        if quiet && found.len() >= wishes.len() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "seed {seed}: not in time: {:?} {:?}\n{found:#?}\nshould be {wishes:#?}",
            view.meta(),
            view.items.iter().map(|item| (&item.id, &item.meta)).collect::<Vec<_>>(),
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut found, answers) = done(&server, &session).await;
    let mut ghosts = Vec::new();
    found.retain(|wish| match wish {
        Wish::Message { id, .. } if discarded.contains(id) => {
            ghosts.push(id.clone());
            false
        }
        _ => true,
    });
    assert_eq!(
        found, wishes,
        "seed {seed}: each once, in the order they were asked for, as they were edited"
    );
    ghosts.dedup();
    assert!(ghosts.len() <= discarded.len(), "what was discarded too late is there once");
    assert!(answers.values().all(|times| *times == 1), "{answers:?}");
}

async fn answer_all(engine: &Engine, session: &str, approved: bool) {
    let waiting = engine.approvals().borrow().clone();
    for waiting in waiting.iter() {
        let approval = &waiting.approval;
        engine
            .respond_approval(session, &approval.message_id, &approval.id, approved, None, None)
            .await
            .expect("it is saved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wish_is_done_once_and_in_order_whatever_fails() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        try_seed(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: cargo xtask test --kills"]
async fn each_wish_is_done_once_and_in_order_with_many_seeds() {
    let seeds = std::env::var("THREADKEEP_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let started = Instant::now();
    for seed in 1000..1000 + seeds {
        println!("seed {seed}");
        try_seed(seed).await;
    }
    println!("{seeds} seeds in {:.0?}", started.elapsed());
}
