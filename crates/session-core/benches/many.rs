//! Cost of 100 live sessions for the engine, 3 of them streaming about 200 chunks a second each,
//! one of those shown in a window: `cargo bench -p session-core --bench many`.
//!
//! The server runs in a process of its own (this one, started again), so that the processor time of
//! this process is the engine's: reading, folding, diffs, and SQLite.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use session_core::{
    Actor, ConnectionState, Endpoint, Engine, EngineConfig, FeedChange, Item, Limits, NewSession,
    SessionMeta,
};
use session_protocol::{AgentSpec, Part, Role};

const SERVER: &str = "THREADKEEP_BENCH_SERVER";
const SESSIONS: usize = 100;
const STREAMING: usize = 3;
/// The demo agent's pause; with what it takes itself about 200 chunks a second.
const PACE: Duration = Duration::from_micros(3800);
const MEASURED: Duration = Duration::from_secs(15);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    if let Ok(dir) = std::env::var(SERVER) {
        runtime.block_on(serve(&dir));
    } else {
        runtime.block_on(measure());
    }
}

async fn serve(dir: &str) {
    let mut config = session_server::ServerConfig::new(dir);
    config.demo_pace = PACE;
    let server = session_server::start(config).await.expect("the server starts");
    println!("{}", server.base_url());
    std::future::pending::<()>().await;
}

/// Processor time of this process so far. `None` where there is no `/proc`.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold spaces; user and system time are the 14th and 15th field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // USER_HZ, which is 100 on every Linux.
    Some(Duration::from_millis(ticks * 10))
}

/// Resident memory in MB.
fn memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn demo() -> NewSession {
    let agent = AgentSpec {
        id: "demo".to_owned(),
        name: None,
        endpoint: "builtin:demo".to_owned(),
        method: None,
        headers: None,
        triggers: None,
        body_template: None,
    };
    NewSession { agents: vec![agent], ..NewSession::default() }
}

/// The first picture of a window: the items, and the session's meta.
async fn shown(engine: &Engine, session: &str) -> (Vec<Item>, SessionMeta) {
    let feed = engine.feed();
    feed.show(Some(session.to_owned())).expect("it exists");
    let (mut items, mut its_meta) = (Vec::new(), None);
    for change in feed.next(0, 0).await.changes {
        match change {
            FeedChange::Meta { meta } => its_meta = Some(*meta),
            FeedChange::Diff { diff, .. } => diff.apply(&mut items).expect("it is a reset"),
            _ => {}
        }
    }
    (items, its_meta.expect("a full state has it"))
}

/// The last number in an answer of the demo agent: how many chunks it has.
async fn chunks(engine: &Engine, session: &str) -> u64 {
    let (items, _) = shown(engine, session).await;
    let answer = items.last().filter(|item| item.meta.role == Role::Assistant);
    let Some(Part::Text { text, .. }) = answer.and_then(|item| item.parts.last()) else { return 0 };
    text.split_whitespace().rev().find_map(|word| word.parse().ok()).unwrap_or(0)
}

/// Processor time in percent of one core.
async fn load_of(what: &str, time: Duration) -> Option<f64> {
    let before = processor_time()?;
    let started = Instant::now();
    tokio::time::sleep(time).await;
    let used = processor_time()?.saturating_sub(before).as_secs_f64();
    let percent = 100.0 * used / started.elapsed().as_secs_f64();
    println!("{what}: {percent:.1} % of one core");
    Some(percent)
}

async fn measure() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Command::new(std::env::current_exe().expect("it has a path"))
        .env(SERVER, dir.path().join("server"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this binary starts");
    let mut url = String::new();
    let mut output = BufReader::new(server.stdout.take().expect("it is piped"));
    output.read_line(&mut url).expect("the server says where it is");
    let config = EngineConfig {
        data_dir: dir.path().join("engine"),
        actor: Actor { id: "ana".to_owned(), name: "Ana".to_owned() },
        device_id: "laptop".to_owned(),
        inherit: session_core::Inherit::default(),
    };
    let limits = Limits { background: SESSIONS, ..Limits::default() };
    let engine = Engine::open_with(config, limits).expect("the engine opens");
    let url = url.trim().parse().expect("it is a URL");
    engine.connect(session_core::THIS_COMPUTER, Some(Endpoint::open(url))).expect("TLS works here");
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(engine.create_session(demo()).await.expect("it is saved"));
    }
    for session in &sessions {
        loop {
            let (_, meta) = shown(&engine, session).await;
            if meta.connection.state == ConnectionState::Live && meta.queued == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    println!("{SESSIONS} sessions live: {:?}", engine.load());
    load_of("nothing happens", MEASURED).await;

    for session in &sessions[..STREAMING] {
        engine.send_message(session, "long 100000").await.expect("it is saved");
    }
    let feed = engine.feed();
    feed.show(Some(sessions[0].clone())).expect("it exists");
    let epoch = feed.epoch();
    let reader = tokio::spawn(async move {
        let (mut after, mut diffs) = (0, 0_u64);
        loop {
            let batch = feed.next(epoch, after).await;
            after = batch.to;
            let is_diff = |change: &&FeedChange| matches!(change, FeedChange::Diff { .. });
            diffs += batch.changes.iter().filter(is_diff).count() as u64;
            std::hint::black_box(diffs);
        }
    });
    for session in &sessions[..STREAMING] {
        while chunks(&engine, session).await < 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut before = 0;
    for session in &sessions[..STREAMING] {
        before += chunks(&engine, session).await;
    }
    let started = Instant::now();
    let percent = load_of("3 stream", MEASURED).await;
    let mut after = 0;
    for session in &sessions[..STREAMING] {
        after += chunks(&engine, session).await;
    }
    let rate = (after - before) as f64 / started.elapsed().as_secs_f64();
    println!("chunks: {rate:.0} a second, of {STREAMING} sessions");
    if let Some(percent) = percent {
        let scaled = percent * 600.0 / rate;
        println!("each chunk: {:.0} µs", percent / 100.0 / rate * 1e6);
        println!("at 3 × 200 chunks a second: {scaled:.1} % of one core (must be at most 10 %)");
    }
    if let Some(memory) = memory() {
        println!("resident memory: {memory:.0} MB");
    }
    reader.abort();
    server.kill().expect("it can be killed");
    server.wait().expect("it ends");
}
