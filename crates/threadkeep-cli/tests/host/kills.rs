//! `kill -9` of the window, of the host, and of both, at random moments, with a model at work and
//! approvals waiting.
//!
//! The window is this test binary, started again: an engine on a folder of its own that attaches,
//! talks, and approves. Afterwards every word of a person is in its session once, every answer is
//! whole or ended in the log, what was interrupted went on once at most, nothing was asked twice,
//! and no process is left.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use host_link::Starter;
use serde_json::{Value, json};
use session_core::{
    Actor, Endpoint as Server, Engine, EngineConfig, NewSession, Secret, THIS_COMPUTER,
};
use session_protocol::api::SendMode;
use uuid::Uuid;

use crate::lab::{Endpoint, Lab, WORDS, eventually, kill, lives, program, words};

/// Sessions with the model, and as many with the demo agent.
const SESSIONS: u128 = 3;
const FOLDER: &str = "THREADKEEP_HOST_KILLS_FOLDER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_kills_lose_double_and_leave_nothing() {
    ordeal(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo xtask test --host-kills"]
async fn hundreds_of_kills_lose_double_and_leave_nothing() {
    let kills = std::env::var("THREADKEEP_KILLS").ok().and_then(|kills| kills.parse().ok());
    ordeal(kills.unwrap_or(300)).await;
}

/// Numbers from a seed: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn session(n: u128) -> Uuid {
    Uuid::from_u128(0x7e57_0000_0000_4000_8000_0000_0000_0000 + n)
}

struct Window(Child);

impl Window {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::window_process", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn ordeal(kills: usize) {
    let seed = std::env::var("THREADKEEP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 | 1);
    println!("THREADKEEP_SEED={seed}");
    let mut dice = Dice(seed);
    let lab = Lab::new();
    let endpoint = Endpoint::start(Duration::from_millis(8)).await;
    lab.use_model(&endpoint);
    let mut window = Window::start(lab.data());
    let (mut windows, mut hosts, mut pids) = (0, 0, HashSet::new());
    for _ in 0..kills {
        // Now and then long enough for something to be finished, else in the middle of getting up.
        let pause = if dice.below(3) == 0 { 1500 } else { 250 };
        tokio::time::sleep(Duration::from_millis(dice.below(pause))).await;
        let which = dice.below(4);
        pids.extend(lab.pid());
        if which != 0
            && let Some(pid) = lab.pid()
        {
            kill(pid, "-9");
            hosts += 1;
        }
        if which == 0 || which == 3 {
            window = Window::start(lab.data());
            windows += 1;
        }
    }
    fs::write(lab.data().join("enough"), "").unwrap();
    let own = lab.attach().await;
    // Everything that was said is there, and nothing runs or waits any more.
    let said = || -> Vec<String> {
        let text = fs::read_to_string(lab.data().join("said")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let own = tokio::sync::Mutex::new(own);
    let logs = eventually("rest", || async {
        let mut own = own.lock().await;
        if own.is_gone() {
            *own = lab.attach().await;
        }
        let mut logs = HashMap::new();
        for n in 0..SESSIONS * 2 {
            let id = session(n).to_string();
            logs.insert(n, lab.chunks(&own, &id).await);
        }
        let there: HashSet<&str> = logs.values().flatten().map(|(id, ..)| id.as_str()).collect();
        let hello = own.hello();
        let rests = hello.running == 0 && hello.waiting == 0;
        let whole = said().iter().all(|line| there.contains(line.split(' ').nth(1).unwrap()));
        (rests && whole).then_some(logs)
    })
    .await;
    check(&logs, &said(), &endpoint);

    // Without a window the host ends by itself, and nothing else is left.
    pids.extend(lab.pid());
    drop(window);
    drop(own);
    for pid in pids {
        lab.gone(pid).await;
        assert!(!lives(pid));
    }
    let data = lab.data().display().to_string();
    let left: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|line| line.contains(&data))
        .collect();
    assert!(left.is_empty(), "these are left: {left:?}");
    println!("{kills} kills: {windows} windows, {hosts} hosts; {} messages", said().len());
}

type Chunks = Vec<(String, String, Value)>;

fn check(logs: &HashMap<u128, Chunks>, said: &[String], endpoint: &Endpoint) {
    let (mut whole, mut cut, mut continued) = (0, 0, 0);
    for (n, chunks) in logs {
        let mut own = HashMap::<&str, usize>::new();
        for (id, role, chunk) in chunks {
            if role == "user" && chunk["type"] == "whole-message" {
                *own.entry(id).or_default() += 1;
            }
        }
        assert!(own.values().all(|times| *times == 1), "a message is there twice: {own:?}");
        let mut answers: Vec<&str> = chunks
            .iter()
            .filter(|(_, role, _)| role == "assistant")
            .map(|(id, ..)| id.as_str())
            .collect();
        answers.sort_unstable();
        answers.dedup();
        for answer in answers {
            let of = |kind: &str| {
                chunks.iter().filter(|(id, _, chunk)| id == answer && chunk["type"] == kind).count()
            };
            let (errors, ends) = (of("RUN_ERROR"), of("RUN_FINISHED"));
            let asks: Vec<String> = chunks
                .iter()
                .filter(|(id, _, chunk)| id == answer && chunk["name"] == "approval-requested")
                .map(|(_, _, chunk)| chunk["value"]["approval"]["id"].to_string())
                .collect();
            assert!(asks.len() <= 1, "{answer} asks {} times", asks.len());
            assert!(errors + ends > 0, "{answer} has no end");
            let is_model = *n < SESSIONS;
            if is_model {
                assert!(errors <= 2, "{answer} was interrupted {errors} times");
                let text = words(chunks, answer);
                let text: Vec<&str> = text.split_whitespace().collect();
                let counted: Vec<String> = (1..=text.len()).map(|n| format!("w{n}")).collect();
                assert_eq!(text, counted, "every word once, in order");
                assert_eq!(
                    ends == 1,
                    text.len() == WORDS && errors < 2,
                    "{answer}: {errors} {ends}"
                );
                whole += ends;
                cut += usize::from(ends == 0);
                continued += usize::from(errors == 1);
                assert!(errors != 1 || ends == 1, "{answer} did not go on");
            }
        }
    }
    let mut asked = HashMap::<String, usize>::new();
    for (question, _) in endpoint.asked.lock().unwrap().iter() {
        *asked.entry(question.clone()).or_default() += 1;
    }
    assert!(
        asked.values().all(|times| *times <= 2),
        "a model is asked for an answer and its rest: {asked:?}"
    );
    println!("{} said, {whole} whole answers ({continued} went on), {cut} cut twice", said.len());
}

/// The window: an engine that attaches, talks and approves until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let engine = loop {
        let config = EngineConfig {
            data_dir: folder.join("engine"),
            actor: Actor { id: "ann".to_owned(), name: "Ann".to_owned() },
            device_id: "window".to_owned(),
            inherit: Default::default(),
        };
        // The one before may not be gone quite yet.
        match Engine::open(config) {
            Ok(engine) => break engine,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let here = engine.clone();
    let starter = Starter::new(&folder, program());
    tokio::spawn(async move {
        loop {
            let Ok(attached) = starter.attach().await else { continue };
            let token = Secret::new(attached.server_token());
            let base_url = attached.server().clone();
            let server = Server { base_url, token: Arc::new(move || Some(token.clone())) };
            here.connect(THIS_COMPUTER, Some(server)).unwrap();
            attached.ended().await;
        }
    });
    let approver = engine.clone();
    tokio::spawn(async move {
        let mut approvals = approver.approvals();
        loop {
            let waiting = approvals.borrow_and_update().clone();
            for one in waiting.iter() {
                // A person takes a while.
                tokio::time::sleep(Duration::from_millis(150)).await;
                let (session, approval) = (&one.session_id, &one.approval);
                let (message, id) = (&approval.message_id, &approval.id);
                approver.respond_approval(session, message, id, true, None, None).await.ok();
            }
            if approvals.changed().await.is_err() {
                return;
            }
        }
    });
    let mut dice = Dice(Uuid::new_v4().as_u64_pair().0 | 1);
    let started = Instant::now();
    let mut ids = HashMap::new();
    while started.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(100 + dice.below(500))).await;
        if folder.join("enough").exists() {
            std::future::pending::<()>().await;
        }
        let n = u128::from(dice.below(u64::try_from(SESSIONS * 2).unwrap()));
        let is_model = n < SESSIONS;
        if let Entry::Vacant(unmade) = ids.entry(n) {
            let endpoint = if is_model { "builtin:model" } else { "builtin:demo" };
            let agent = json!({"id": "agent", "name": "Agent", "endpoint": endpoint});
            let made = NewSession {
                server: THIS_COMPUTER.to_owned(),
                title: Some("talk".to_owned()),
                agents: vec![serde_json::from_value(agent).unwrap()],
                first: None,
            };
            let Ok(id) = engine.create_session_as(session(n), made).await else { continue };
            unmade.insert(id);
        }
        let message = Uuid::new_v4();
        let text =
            if is_model { format!("count {message}") } else { "what can you do?".to_owned() };
        if engine.send_message_as(&ids[&n], message, &text, SendMode::Queue, vec![]).await.is_ok() {
            // Only what was acknowledged has to arrive.
            let mut said =
                fs::OpenOptions::new().create(true).append(true).open(folder.join("said")).unwrap();
            writeln!(said, "{n} {message}").unwrap();
        }
    }
}
