//! Three ursula nodes on loopback, whose leader is killed in mid-stream.
//!
//! `DURABLE_STREAM_URSULA` is the ursula binary; `cargo xtask test --servers` installs it and runs
//! this. What is killed when and who reads how is drawn from a seed: `DURABLE_STREAM_SEEDS=20` runs
//! as many, `DURABLE_STREAM_SEED=7` only that one.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use durable_stream::{
    AppendOptions, Bytes, Client, CreateOptions, Live, Offset, ProducerOptions, RetryPolicy,
    StreamHandle, Timeouts, Url,
};
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const NODES: usize = 3;

/// For an election, on a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(180);

struct Node {
    config: PathBuf,
    base: Url,
    child: Option<Child>,
}

/// The nodes and the folder of their logs; both are gone with the value.
struct Cluster {
    folder: PathBuf,
    nodes: Vec<Node>,
    http: reqwest::Client,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        if std::thread::panicking() {
            eprintln!("what the nodes printed is in {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Node {
    fn start(&mut self, binary: &Path) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.config.with_extension("log"))
            .unwrap();
        let child = Command::new(binary)
            .arg("server")
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .expect("DURABLE_STREAM_URSULA is a program");
        self.child = Some(child);
    }

    /// As by `kill -9`: it cannot hand anything over.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    fn start(binary: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("ursula-{:08x}", rand::random::<u32>()));
        std::fs::create_dir_all(&folder).unwrap();
        // All are held at once, so that they differ.
        let free: Vec<_> =
            (0..NODES * 2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> =
            free.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(free);
        let (ports, admin) = ports.split_at(NODES);
        let mut peers = String::new();
        for (id, port) in (1..).zip(ports) {
            write!(peers, "[[raft.peers]]\nnode_id = {id}\nurl = \"http://127.0.0.1:{port}\"\n")
                .unwrap();
        }
        let nodes = (0..NODES).map(|index| {
            let (id, port, admin) = (index + 1, ports[index], admin[index]);
            let config = folder.join(format!("node-{id}.toml"));
            let wal = folder.join(format!("wal-{id}"));
            // One group, so that one node leads everything.
            let text = format!(
                "[server]\nlisten = \"127.0.0.1:{port}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\
                 cluster_id = \"tests\"\n[runtime]\ncore_count = 1\ncpu_affinity = false\n\
                 [raft]\nnode_id = {id}\ngroup_count = 1\n[raft.wal]\npath = {wal:?}\n{peers}"
            );
            std::fs::write(&config, text).unwrap();
            let base = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
            Node { config, base, child: None }
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            folder,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        for node in &mut cluster.nodes {
            node.start(binary);
        }
        cluster
    }

    /// The index of the leader that all nodes agree on, when all could replace it.
    async fn leader(&self) -> usize {
        let started = Instant::now();
        loop {
            let seen = futures::future::join_all(self.nodes.iter().map(|node| self.seen_by(node)));
            if let [Some(a), Some(b), Some(c)] = seen.await[..]
                && a == b
                && b == c
            {
                return a;
            }
            assert!(started.elapsed() < DEADLINE, "the nodes agree on no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn seen_by(&self, node: &Node) -> Option<usize> {
        let url = node.base.join("__ursula/metrics").unwrap();
        let answer = self.http.get(url).timeout(Duration::from_secs(2)).send().await.ok()?;
        let metrics: Value = answer.json().await.ok()?;
        let group = &metrics["raft_groups"][0];
        if group["maintenance"]["recovery_ready"] != true {
            return None;
        }
        let id = group["current_leader"].as_u64()?;
        usize::try_from(id).unwrap().checked_sub(1)
    }
}

fn client() -> Client {
    let policy =
        RetryPolicy::new(None, Duration::from_millis(5), Duration::from_millis(250), 1.5).unwrap();
    let mut timeouts = Timeouts::default();
    timeouts.headers = Duration::from_secs(3);
    Client::builder()
        .http_builder(reqwest::Client::builder().no_proxy())
        .retry(policy)
        .follow_retry(policy)
        .timeouts(timeouts)
        .build()
        .unwrap()
}

async fn stored(stream: &StreamHandle) -> Vec<Bytes> {
    let batches = stream.follow(Offset::Beginning, Live::No);
    batches.map(|batch| batch.unwrap().items).collect::<Vec<_>>().await.concat()
}

/// One cluster and its leader's death. The client knows only a node that stays.
async fn run(binary: &Path, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(binary);
    let leader = cluster.leader().await;
    let others: Vec<_> = (0..NODES).filter(|node| *node != leader).collect();
    let entry = cluster.nodes[others[rng.random_range(0..others.len())]].base.clone();
    let stream = |name: &str| client().stream(entry.join(&format!("failover/{name}")).unwrap());
    let (produced, plain) = (stream("produced"), stream("plain"));
    produced.create(CreateOptions::json()).await.unwrap();
    plain.create(CreateOptions::json()).await.unwrap();

    let count = rng.random_range(200..600);
    let kill_at = rng.random_range(20..count - 100);
    let live = [Live::Auto, Live::Sse, Live::LongPoll][rng.random_range(0..3)];
    let options = ProducerOptions {
        max_batch_items: rng.random_range(1..6),
        max_in_flight: rng.random_range(1..6),
        linger: Duration::ZERO,
        ..ProducerOptions::new("writer")
    };
    let items: Vec<Bytes> = (0..count).map(|n| format!(r#"{{"n":{n}}}"#).into()).collect();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let (read, tried) = (AtomicUsize::new(0), AtomicUsize::new(0));

    let produce = async {
        let producer = produced.producer(options).unwrap();
        let mut waiting = Vec::new();
        for item in &items {
            let receipt = producer.append(item.clone()).await.unwrap();
            let acknowledged = Arc::clone(&acknowledged);
            waiting.push(tokio::spawn(async move {
                receipt.await.unwrap();
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }));
            // A writer that takes its time, so that there is a middle to be killed in.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        producer.flush().await.unwrap();
        for receipt in waiting {
            receipt.await.unwrap();
        }
    };
    // Without a stamp: what is not known to be stored is not sent again.
    let append = async {
        let mut sure = Vec::new();
        let mut lost = 0;
        for n in 0..count / 4 {
            let item = n.to_string();
            match plain.append(format!("[{item}]").into(), AppendOptions::default()).await {
                Ok(_) => sure.push(Bytes::from(item)),
                Err(error) => {
                    assert!(error.outcome_unknown(), "{error}");
                    lost += 1;
                }
            }
            tried.store(n + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (sure, lost)
    };
    let consume = async {
        let mut batches = produced.follow(Offset::Beginning, live);
        let mut got = Vec::new();
        while got.len() < items.len() {
            got.extend(batches.next().await.unwrap().unwrap().items);
            read.store(got.len(), Ordering::Relaxed);
        }
        got
    };
    let kill = async {
        while acknowledged.load(Ordering::Relaxed) < kill_at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.nodes[leader].kill();
        Instant::now()
    };
    let started = Instant::now();
    let all = async { tokio::join!(produce, append, consume, kill) };
    let Ok(((), (sure, lost), got, killed)) = tokio::time::timeout(DEADLINE, all).await else {
        panic!(
            "the deadline: {acknowledged:?} of {count} acknowledged, {read:?} read by {live:?}, {tried:?} plain \
             appends tried; node {} was killed, the client knows {entry}",
            leader + 1,
        );
    };

    assert!(got == items, "the reader got something else");
    assert!(stored(&produced).await == items, "the producer wrote something else");
    let written = stored(&plain).await;
    let count_of = |item: &Bytes| written.iter().filter(|other| *other == item).count();
    assert!(
        sure.iter().all(|item| count_of(item) == 1),
        "an acknowledged append is lost or doubled"
    );
    assert!(written.iter().all(|item| count_of(item) == 1), "an append is doubled");
    eprintln!(
        "seed {seed}: node {} killed after {kill_at} of {count}, read by {live:?}; all there {:.1} s later \
         ({:.1} s in all); of {} plain appends {lost} of unknown fate, {} stored",
        leader + 1,
        killed.elapsed().as_secs_f32(),
        started.elapsed().as_secs_f32(),
        sure.len() + lost,
        written.len(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ursula: `cargo xtask test --servers` runs it"]
async fn no_acknowledged_append_is_lost_or_doubled_when_the_leader_is_killed() {
    let binary = std::env::var_os("DURABLE_STREAM_URSULA")
        .expect("DURABLE_STREAM_URSULA is the path of the ursula binary");
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match number("DURABLE_STREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DURABLE_STREAM_SEEDS").unwrap_or(6),
    };
    for seed in seeds {
        eprintln!("DURABLE_STREAM_SEED={seed}");
        run(Path::new(&binary), seed).await;
    }
}
