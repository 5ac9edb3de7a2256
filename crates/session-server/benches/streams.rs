//! The embedded streams beside the store that their router comes with: `cargo xtask bench streams`.
//!
//! Each server is a process of its own, asked by HTTP. Printed: starting with 1,000 streams, appends of 1 KB one after the
//! other and by many at once, and the memory of reading a stream of 200 MB from end to end.

#![allow(missing_docs, reason = "a bench")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed bench")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use durable_streams_server::{AcidStorage, Config, build_router, config::AcidBackend};
use reqwest::{Client, Method};
use session_server::{ServerConfig, start};

const KIND: &str = "THREADKEEP_BENCH_SERVER";
const FOLDER: &str = "THREADKEEP_BENCH_FOLDER";
const STREAMS: usize = 1_000;
const APPENDS: usize = 3_000;
const WRITERS: usize = 64;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match (std::env::var(KIND), std::env::var_os(FOLDER)) {
        (Ok(kind), Some(folder)) => runtime.block_on(serve(&kind, Path::new(&folder))),
        _ => runtime.block_on(async {
            for kind in ["ours", "bare"] {
                measure(kind).await;
            }
        }),
    }
}

/// The process that is measured.
async fn serve(kind: &str, folder: &Path) {
    let begun = Instant::now();
    if kind == "ours" {
        let mut config = ServerConfig::new(folder);
        config.limits.requests_per_second = 0;
        let server = start(config).await.unwrap();
        println!("{} {}", begun.elapsed().as_micros(), server.base_url());
        std::future::pending::<()>().await;
    }
    let storage = AcidStorage::new(folder, 16, 1 << 40, 1 << 40, AcidBackend::File).unwrap();
    let router = build_router(Arc::new(storage), &Config::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    println!("{} {url}", begun.elapsed().as_micros());
    let app = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, app).await.unwrap();
}

struct Server {
    child: Child,
    streams: String,
    started: Duration,
}

impl Server {
    fn start(kind: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(KIND, kind)
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (micros, url) = line.trim().split_once(' ').unwrap();
        let started = Duration::from_micros(micros.parse().unwrap());
        Self { child, streams: format!("{url}v1/stream"), started }
    }

    /// The most memory that it ever used, in MB; 0 where that cannot be asked.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn send(client: &Client, method: Method, url: &str, body: String) {
    let request = client.request(method, url).header("content-type", "application/json");
    let status = request.body(body).send().await.unwrap().status();
    assert!(status.is_success(), "{status}");
}

fn item(bytes: usize) -> String {
    format!(r#"{{"type":"chunk","value":"{}"}}"#, "x".repeat(bytes))
}

async fn measure(kind: &'static str) {
    let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let client = Client::new();
    let server = Server::start(kind, dir.path());
    for n in 0..STREAMS {
        let url = format!("{}/sessions/{n}", server.streams);
        send(&client, Method::PUT, &url, format!("[{}]", item(1000))).await;
    }
    drop(server);
    let server = Server::start(kind, dir.path());
    println!(
        "{kind}: start with {STREAMS} streams {:.1} ms, {:.0} MB",
        server.started.as_secs_f64() * 1e3,
        server.memory()
    );

    let mut times = Vec::new();
    for _ in 0..APPENDS {
        let begun = Instant::now();
        send(&client, Method::POST, &format!("{}/sessions/0", server.streams), item(1000)).await;
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "{kind}: append 1 KB p50 {:.2} ms, p99 {:.2} ms",
        times[APPENDS / 2].as_secs_f64() * 1e3,
        times[APPENDS * 99 / 100].as_secs_f64() * 1e3
    );

    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let (client, url) = (client.clone(), format!("{}/sessions/{writer}", server.streams));
        tokio::spawn(async move {
            for _ in 0..100 {
                send(&client, Method::POST, &url, item(1000)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let rate = (WRITERS * 100) as f64 / begun.elapsed().as_secs_f64();
    println!("{kind}: {WRITERS} writers at once, {rate:.0} appends of 1 KB a second");

    let long = format!("{}/long", server.streams);
    send(&client, Method::PUT, &long, "[]".to_owned()).await;
    let batch = format!("[{}]", vec![item(1000); 1000].join(","));
    for _ in 0..200 {
        send(&client, Method::POST, &long, batch.clone()).await;
    }
    let written = server.memory();
    drop(server);
    let server = Server::start(kind, dir.path());
    let at_rest = server.memory();
    let (mut offset, mut bytes) = ("-1".to_owned(), 0);
    let begun = Instant::now();
    loop {
        let url = format!("{}/long?offset={offset}", server.streams);
        let answer = client.get(url).send().await.unwrap();
        let header = |name| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
        let up_to_date = header("stream-up-to-date");
        offset = header("stream-next-offset").unwrap();
        bytes += answer.bytes().await.unwrap().len();
        if up_to_date.is_some() {
            break;
        }
    }
    println!(
        "{kind}: 200 MB: memory after writing {written:.0} MB; a new process {at_rest:.0} MB, after reading \
         {} MB in {:.2} s {:.0} MB",
        bytes >> 20,
        begun.elapsed().as_secs_f64(),
        server.memory()
    );
}
