//! Kills of the agent and of the server, and stops, at any moment: whatever happens, the session is left in order.

#![cfg(target_os = "linux")]

use std::{path::Path, time::Duration};

use reqwest::Client;
use serde_json::{Value, json};
use session_protocol::{Lifecycle, SessionFold, ToolState};
use uuid::Uuid;

use super::{Log, gone, pids, rig, runs, talk, with};
use crate::kills::Process;

fn kill(pid: u32) {
    std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
}

/// Every call ended, no request is open, no run goes, and no row is missing or twice.
fn assert_in_order(log: &Log) {
    log.assert_gapless();
    let mut fold = SessionFold::new("s");
    fold.apply(log.items.iter().map(ToString::to_string), &mut ());
    let now = "2100-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(fold.pending_approvals(now).len(), 0);
    assert_eq!(fold.asks(now), []);
    for run in fold.runs() {
        assert_ne!(run.lifecycle(), Lifecycle::Open, "{}", run.message_id());
        assert_eq!(run.deliveries(), session_protocol::Deliveries::default());
    }
    let failed_or_stopped =
        |id: &str| fold.message(id).is_some_and(|m| m.error.is_some() || m.stopped.is_some());
    for call in fold.tool_calls() {
        let over =
            matches!(call.call.state, ToolState::Done | ToolState::Failed | ToolState::Denied);
        assert!(
            over || failed_or_stopped(&call.message_id),
            "{} is {:?}",
            call.call.id,
            call.call.state
        );
    }
    // Words of one answer are there once, in order.
    for message in fold.messages() {
        let text = message.plain_text();
        let words: Vec<u32> = text
            .split("word ")
            .skip(1)
            .filter_map(|rest| rest.split(' ').next()?.parse().ok())
            .collect();
        assert!(words.iter().copied().eq(0..u32::try_from(words.len()).unwrap()), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_was_killed_while_its_agent_asked_ends_both() {
    let (first, state) = rig("stays").await;
    let id = talk(&first).await.id;
    first.talk(&id).send("ask").await;
    let log = first.talk(&id).until("it asks", |log| log.approvals().len() == 1).await;
    // What a killed server leaves behind: its files, and its agents.
    let second = first.crashed_copy(with("resume", state.path())).await;
    gone(state.path()).await;
    let talk = second.talk(&id);
    let after = talk.until("its run has ended", |log| log.ended() == 1).await;
    assert_in_order(&after);
    assert_eq!(talk.approve(&log.approvals()[0], true).await, 204, "a late answer does nothing");
    talk.send("count").await;
    let after = talk.until("it goes on", |log| log.ended() == 2).await;
    assert!(after.text().contains("prompt 1 of"), "resumed: {}", after.text());
    assert_in_order(&after);
}

/// A server in a process of its own, and one session with the scripted agent.
struct Far {
    server: Process,
    client: Client,
}

impl Far {
    async fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("server/agent")).unwrap();
        let server = Process::new("server_process", folder, "server");
        let far = Self { server, client: Client::new() };
        let agents = json!({"agents": [{"id": "agent", "endpoint": "acp:it"}]});
        let made = far.client.put(far.at("/v1/sessions/s")).json(&agents).send().await.unwrap();
        assert!(made.status().is_success());
        far
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.server.port)
    }

    async fn post(&self, rest: &str, body: Value) {
        let path = self.at(&format!("/v1/sessions/s{rest}"));
        self.client.post(path).json(&body).send().await.unwrap();
    }

    async fn log(&self) -> Log {
        let path = self.at("/v1/stream/sessions/s");
        let text = self.client.get(path).send().await.unwrap().text().await.unwrap();
        Log { items: serde_json::from_str(&text).unwrap() }
    }

    async fn answer_all(&self, log: &Log, mut approved: impl FnMut() -> bool) {
        for approval in log.approvals() {
            let body = json!({"approved": approved(), "actorId": "ann"});
            self.post(&format!("/approvals/{approval}"), body).await;
        }
    }
}

async fn an_ordeal(kills: usize) {
    let seed = std::env::var("THREADKEEP_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut seed: u64 = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    println!("THREADKEEP_SEED={seed}");
    let mut below = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("server/agent");
    let mut far = Far::new(folder.path()).await;
    let words = ["slow", "ask", "two", "count", "huge slow", "die asking", "withdraw slow", "deaf"];
    for n in 0..kills {
        let said = words[usize::try_from(below(words.len() as u64)).unwrap()];
        far.post("/messages", json!({"content": said, "actorId": "ann"})).await;
        tokio::time::sleep(Duration::from_millis(below(250))).await;
        if below(3) == 0 {
            far.answer_all(&far.log().await, || below(2) == 0).await;
        }
        match below(3) {
            0 => pids(&state).into_iter().filter(|pid| runs(*pid)).for_each(kill),
            1 => far.server.again(),
            _ => far.post("/stop", json!({"actorId": "ann"})).await,
        }
        // Whoever is asked now says no, until it rests.
        let rest = async {
            loop {
                let log = far.log().await;
                if log.ended() > n {
                    return log;
                }
                far.answer_all(&log, || false).await;
                if log.text().contains("word") && !log.rests() {
                    far.post("/stop", json!({"actorId": "ann"})).await;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        let log = tokio::time::timeout(Duration::from_secs(40), rest).await;
        assert_in_order(&log.unwrap_or_else(|_| panic!("{said} does not come to an end")));
    }
    assert_in_order(&far.log().await);
    drop(far);
    gone(&state).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_kills_leave_every_session_in_order_and_no_program_behind() {
    an_ordeal(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo xtask test --server-kills"]
async fn three_hundred_kills_leave_every_session_in_order_and_no_program_behind() {
    an_ordeal(300).await;
}
