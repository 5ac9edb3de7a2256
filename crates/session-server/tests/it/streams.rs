//! The embedded streams by HTTP: bytes kept, pages, and what a killed or full server keeps.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use session_server::start;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::rig::{DEADLINE, Rig, config};

const FOLDER: &str = "THREADKEEP_TEST_FOLDER";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Not a test: the server that other tests kill, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of the tests that need one"]
async fn a_server_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let server = start(config(Path::new(&folder))).await.unwrap();
    println!("\nSERVES {}", server.base_url());
    std::future::pending::<()>().await;
}

/// A server in a process of its own; dropping it kills it.
pub struct Process {
    child: Child,
    pub streams: String,
    pub client: Client,
}

impl Process {
    pub async fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "streams::a_server_to_be_killed", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap().expect("the server ended");
            if let Some(url) = line.strip_prefix("SERVES ") {
                break url.to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, streams: format!("{url}v1/stream"), client: Client::new() }
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap(); // SIGKILL
    }

    pub async fn create(&self, name: &str) {
        let request = self.client.put(format!("{}/{name}", self.streams));
        assert!(request.header(JSON.0, JSON.1).send().await.unwrap().status().is_success());
    }

    pub async fn append(&self, name: &str, body: String) -> reqwest::Result<Response> {
        let request = self.client.post(format!("{}/{name}", self.streams));
        request.header(JSON.0, JSON.1).body(body).send().await
    }

    pub async fn read(&self, name: &str) -> Vec<Value> {
        let mut items = Vec::new();
        follow(&self.client, &format!("{}/{name}", self.streams), |page| items.extend(page)).await;
        items
    }

    /// Memory that is in use, in KiB.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    }
}

/// Reads from the start to the tail, page by page; how many pages.
async fn follow(client: &Client, url: &str, mut page: impl FnMut(Vec<Value>)) -> usize {
    let (mut offset, mut pages) = ("-1".to_owned(), 0);
    loop {
        let answer = client.get(format!("{url}?offset={offset}")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let header = |name: &str| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
        let up_to_date = header("stream-up-to-date");
        offset = header("stream-next-offset").unwrap();
        page(answer.json().await.unwrap());
        pages += 1;
        match up_to_date.as_deref() {
            Some("true") => return pages,
            other => assert_eq!(other, None, "clients look for the header, not its value"),
        }
    }
}

#[tokio::test]
async fn json_comes_back_byte_for_byte() {
    let rig = Rig::new().await;
    let stream = format!("{}/v1/stream/s", rig.base);
    let items = [
        r#"{"z":1.10,"a":1e2,"m":[ 1, 2.00 ],"big":12345678901234567890123}"#,
        r#""ä \u00e4""#,
        r#"{"b":{"y":0.0,"x":-0}}"#,
    ];
    let body = |items: &[&str]| format!("[ {} ]", items.join(" ,\n"));
    let write =
        |method, body| rig.client.request(method, &stream).header(JSON.0, JSON.1).body(body);
    assert_eq!(write(Method::PUT, body(&items[..1])).send().await.unwrap().status(), 201);
    assert_eq!(write(Method::POST, items[1].to_owned()).send().await.unwrap().status(), 204);
    let stamped = write(Method::POST, body(&items[1..]))
        .header("producer-id", "p")
        .header("producer-epoch", "0")
        .header("producer-seq", "0");
    assert_eq!(stamped.send().await.unwrap().status(), 200);
    let text = rig.client.get(&stream).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, format!("[{},{},{}]", items[0], items[1], items[1..].join(",")));
    assert_eq!(write(Method::POST, "[1,".to_owned()).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_long_stream_is_read_by_the_page_also_live() {
    let rig = Rig::new().await;
    let stream = format!("{}/v1/stream/s", rig.base);
    let write = |method| rig.client.request(method, &stream).header(JSON.0, JSON.1);
    write(Method::PUT).send().await.unwrap();
    let item = |n: usize| json!({"n": n, "text": "x".repeat(1000)});
    for batch in 0..20 {
        let items: Vec<_> = (0..100).map(|n| item(batch * 100 + n)).collect();
        assert_eq!(write(Method::POST).json(&items).send().await.unwrap().status(), 204);
    }
    let mut items = Vec::new();
    let pages = follow(&rig.client, &stream, |page| {
        assert!(page.len() < 300);
        items.extend(page);
    })
    .await;
    assert!(items.iter().eq(&(0..2000).map(item).collect::<Vec<_>>()) && pages > 5, "{pages}");

    // Nothing is appended meanwhile: nobody but the reader himself can wake him for his next page.
    let live = async {
        let url = format!("{stream}?offset=-1&live=sse");
        let mut answer = rig.client.get(url).send().await.unwrap();
        let (mut text, mut seen, mut events) = (String::new(), Vec::<Value>::new(), 0);
        while let Some(chunk) = answer.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.split_once("\ndata:").unwrap().1;
                if event.starts_with("event: data") {
                    seen.append(&mut serde_json::from_str(data).unwrap());
                } else {
                    let control: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(control.get("upToDate").is_some(), seen.len() == 2000);
                    if seen.len() == 2000 {
                        return (seen, events);
                    }
                }
                events += 1;
                text = rest.to_owned();
            }
        }
        panic!("the events ended after {} items", seen.len());
    };
    let (seen, events) = tokio::time::timeout(DEADLINE, live).await.expect("it stands still");
    assert!(seen == items && events > 10, "{events}");

    // An answer that did not change says nothing about the tail either.
    let answer = rig.client.get(&stream).send().await.unwrap();
    let etag = answer.headers()["etag"].clone();
    let again = rig.client.get(&stream).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &etag));
    assert!(!again.headers().contains_key("stream-up-to-date"));
}

#[tokio::test]
async fn the_end_of_a_stream_has_no_tag() {
    let rig = Rig::new().await;
    let stream = format!("{}/v1/stream/sessions/s", rig.base);
    let made = rig.client.put(&stream).header(JSON.0, JSON.1).send().await.unwrap();
    assert_eq!(made.status(), 201);
    for (query, tagged) in [("", true), ("?offset=-1", true), ("?offset=now", false)] {
        let answer = rig.client.get(format!("{stream}{query}")).send().await.unwrap();
        assert_eq!(answer.headers().contains_key("etag"), tagged, "{query}");
    }
}

#[tokio::test]
async fn writes_that_are_refused_say_why_as_every_route_does() {
    let rig = Rig::new().await;
    let write = async |method: Method, name: &str, headers: &[(&str, &str)], body: &str| {
        let mut request = rig.client.request(method, format!("{}/v1/stream/{name}", rig.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let (status, kind) = (answer.status(), answer.headers().get(JSON.0).cloned());
        let next = answer.headers().get("stream-next-offset").cloned();
        let text = answer.text().await.unwrap();
        (status.as_u16(), kind, next, serde_json::from_str(&text).unwrap_or(Value::Null))
    };
    for name in ["sessions/s", "notes"] {
        let (status, ..) = write(Method::POST, name, &[JSON], "[1]").await;
        assert_eq!(status, 404, "{name}");
        assert_eq!(write(Method::PUT, name, &[JSON], "[1]").await.0, 201);
        for (headers, body, expected) in [
            (vec![JSON], "[1,", 400),
            (vec![JSON], "[]", 400),
            (vec![(JSON.0, "text/plain")], "x", 409),
            (vec![JSON, ("stream-seq", "2")], "[2]", 204),
            (vec![JSON, ("stream-seq", "1")], "[3]", 409),
        ] {
            let (status, kind, _, problem) = write(Method::POST, name, &headers, body).await;
            assert_eq!(status, expected, "{name} {body}");
            if status < 400 {
                continue;
            }
            assert_eq!(kind.unwrap(), "application/problem+json");
            assert_eq!(
                (&problem["error"], problem["error"].is_string()),
                (&problem["title"], true)
            );
            assert_eq!(problem.get("details"), problem.get("detail"));
            assert_eq!(problem["status"], expected);
            assert!(problem["code"].is_string(), "{problem}");
        }
        let close = [JSON, ("stream-closed", "true")];
        assert_eq!(write(Method::POST, name, &close, "").await.0, 204);
        let (status, _, next, problem) = write(Method::POST, name, &[JSON], "[4]").await;
        assert_eq!((status, problem["error"].is_string()), (409, true));
        assert!(next.is_some(), "the protocol's headers stay");
    }
}

#[tokio::test]
async fn a_sessions_stream_is_json() {
    let rig = Rig::new().await;
    let put = |name: &str| rig.client.put(format!("{}/v1/stream/{name}", rig.base));
    for kind in [None, Some("text/plain"), Some("application/x-ndjson"), Some("")] {
        let mut request = put("sessions/s");
        if let Some(kind) = kind {
            request = request.header(JSON.0, kind);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 409, "{kind:?}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "NOT_A_SESSION", "{kind:?}");
    }
    assert_eq!(rig.get("/v1/sessions/s").await.0, 404);
    let kind = "Application/JSON; charset=utf-8";
    assert_eq!(put("sessions/s").header(JSON.0, kind).send().await.unwrap().status(), 201);
    let fork = put("sessions/t").header("stream-forked-from", "/v1/stream/sessions/s");
    assert_eq!(fork.send().await.unwrap().status(), 201, "it is of its source's type");
    assert_eq!(put("notes").header(JSON.0, "text/plain").send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn forks_may_leave_out_what_the_router_wants() {
    let rig = Rig::new().await;
    let url = |name: &str| format!("{}/v1/stream/{name}", rig.base);
    let made = rig.client.put(url("a")).header(JSON.0, JSON.1).body("[1,2,3]").send().await;
    assert_eq!(made.unwrap().status(), 201);
    let fork = |name: &str, sub: &str| {
        let request = rig.client.put(url(name)).header("stream-forked-from", "/v1/stream/a");
        let zero = "0000000000000000_0000000000000000";
        request.header("stream-fork-offset", zero).header("stream-fork-sub-offset", sub).body("[9]")
    };
    for wrong in ["-1", "+1", "01", "1.0", "", "x", "4"] {
        assert_eq!(fork("b", wrong).send().await.unwrap().status(), 400, "{wrong}");
    }
    let answer = fork("b", "2").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let text = rig.client.get(url("b")).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "[1,2,9]");
    assert_eq!(fork("b", "2").send().await.unwrap().status(), 200);
    assert_eq!(fork("b", "1").send().await.unwrap().status(), 409);
}

/// Appends `[writer, seq]` one after the other as a producer, repeating what got no answer, until `kills` kills are over.
async fn produce(writer: usize, servers: tokio::sync::watch::Receiver<Option<String>>) -> u64 {
    let client = Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let mut seq = 0;
    loop {
        let Some(streams) = servers.borrow().clone() else { return seq };
        let answer = client
            .post(format!("{streams}/s{}", writer % 2))
            .header(JSON.0, JSON.1)
            .header("producer-id", format!("p{writer}"))
            .header("producer-epoch", "0")
            .header("producer-seq", seq.to_string())
            .body(format!("[[{writer},{seq},0],[{writer},{seq},1]]"))
            .send()
            .await;
        match answer.map(|answer| answer.status()) {
            Ok(StatusCode::OK | StatusCode::NO_CONTENT) => seq += 1,
            Ok(status) => assert!(status.is_server_error(), "{status}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn nothing_is_lost_or_doubled(kills: u32) {
    const WRITERS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let mut server = Process::start(dir.path()).await;
    server.create("s0").await;
    server.create("s1").await;
    let (url, urls) = tokio::sync::watch::channel(Some(server.streams.clone()));
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(produce(writer, urls.clone()))).collect();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(u64::from(kill * 37 % 200 + 20))).await;
        server.kill().await;
        server = Process::start(dir.path()).await;
        url.send(Some(server.streams.clone())).unwrap();
    }
    url.send(None).unwrap();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.push(writer.await.unwrap());
    }
    let mut seen = [0; WRITERS];
    for name in ["s0", "s1"] {
        for pair in server.read(name).await.chunks(2) {
            let numbers = |item: &Value| serde_json::from_value::<[u64; 3]>(item.clone()).unwrap();
            let ([writer, seq, first], second) = (numbers(&pair[0]), numbers(&pair[1]));
            assert_eq!((first, second), (0, [writer, seq, 1]), "batches stay whole");
            let next = &mut seen[usize::try_from(writer).unwrap()];
            assert_eq!(seq, *next, "writer {writer}: nothing lost, nothing doubled");
            *next += 1;
        }
    }
    println!("{kills} kills, {} batches acknowledged", acknowledged.iter().sum::<u64>());
    for (writer, (seen, acknowledged)) in seen.iter().zip(acknowledged).enumerate() {
        // One more may have been stored without an answer.
        assert!((acknowledged..=acknowledged + 1).contains(seen), "writer {writer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    nothing_is_lost_or_doubled(6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: cargo xtask test --conformance"]
async fn nothing_acknowledged_is_lost_or_doubled_by_two_hundred_kills() {
    nothing_is_lost_or_doubled(200).await;
}

/// A disk of a few megabytes, where one may be made.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn new(folder: &Path, size: &str) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        let made = mount.stderr(std::process::Stdio::null()).status().ok()?.success();
        made.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the killed server may still be closing its files.
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_forgotten_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("streams");
    std::fs::create_dir(&folder).unwrap();
    let Some(disk) = SmallDisk::new(&folder, "6m") else {
        println!(
            "skipped: making a small disk needs root (the store's own test has a limit instead)"
        );
        return;
    };
    let server = Process::start(dir.path()).await;
    server.create("s").await;
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let mut stored = 0;
    let body = |n: usize| json!([{"n": n, "text": "x".repeat(20_000)}]).to_string();
    let refused = loop {
        let answer = server.append("s", body(stored)).await.unwrap();
        if !answer.status().is_success() {
            break answer;
        }
        stored += 1;
    };
    assert!(stored > 10, "{stored}");
    assert_eq!(refused.status(), 507);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&json!(507), &json!("INSUFFICIENT_STORAGE"))
    );
    assert_eq!(server.append("s", body(stored)).await.unwrap().status(), 507);
    assert_eq!(server.read("s").await.len(), stored, "what is there can be read");

    std::fs::remove_file(&filler).unwrap();
    for _ in 0..5 {
        assert_eq!(server.append("s", body(stored)).await.unwrap().status(), 204);
        stored += 1;
    }
    // Full again, killed while it is: all that was acknowledged is there, once.
    while server.append("s", body(stored)).await.unwrap().status().is_success() {
        stored += 1;
    }
    server.kill().await;
    let server = Process::start(dir.path()).await;
    let numbers: Vec<_> = server.read("s").await.iter().map(|item| item["n"].as_u64()).collect();
    assert_eq!(numbers, (0..stored as u64).map(Some).collect::<Vec<_>>());
    let deleted = server.client.delete(format!("{}/s", server.streams)).send().await.unwrap();
    assert_eq!(deleted.status(), 204, "a full disk can be tidied up");
    server.create("t").await;
    let deadline = Instant::now() + DEADLINE;
    while server.append("t", body(0)).await.unwrap().status() == 507 {
        assert!(Instant::now() < deadline, "deleting gave no room");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_a_full_disk_says_so_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::new(dir.path(), "4m") else {
        println!("skipped: making a small disk needs root");
        return;
    };
    let server = Process::start(&disk.0).await;
    let session = server.streams.replace("/v1/stream", "/v1/sessions/s");
    let made = server.client.put(&session).json(&json!({})).send().await.unwrap();
    assert!(made.status().is_success());
    let send = |id: uuid::Uuid, size: usize| {
        let body = json!({"content": "x".repeat(size), "actorId": "ann", "messageId": id});
        server.client.post(format!("{session}/messages")).json(&body).send()
    };
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap();
    let mut sent = Vec::new();
    let refused = loop {
        sent.push(uuid::Uuid::new_v4());
        let answer = send(*sent.last().unwrap(), 20_000).await.unwrap();
        if !answer.status().is_success() {
            break answer;
        }
    };
    assert_eq!(refused.status(), 507);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "NO_SPACE");
    std::fs::remove_file(&filler).unwrap();
    // What was refused is sent again, and so is something that was acknowledged.
    for id in [*sent.last().unwrap(), sent[0]] {
        assert_eq!(send(id, 20_000).await.unwrap().status(), 200);
    }
    let items = server.read("sessions/s").await;
    let messages = items.iter().filter(|item| item["type"] == "chunk");
    let ids: Vec<_> = messages.map(|item| item["value"]["messageId"].clone()).collect();
    assert_eq!(ids, sent.iter().map(|id| json!(id)).collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_on_a_disk_without_a_free_byte_and_deleting_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::new(dir.path(), "12m") else {
        println!("skipped: making a small disk needs root");
        return;
    };
    let server = Process::start(&disk.0).await;
    let say = |server: &Process, session: &str, size: usize| {
        let url = server.streams.replace("/v1/stream", &format!("/v1/sessions/{session}/messages"));
        server.client.post(url).json(&json!({"content": "x".repeat(size)})).send()
    };
    assert_eq!(say(&server, "small", 10).await.unwrap().status(), 200);
    while say(&server, "large", 50_000).await.unwrap().status() == 200 {}
    while say(&server, "large", 10).await.unwrap().status() == 200 {}
    // Not one byte is left.
    let mut filler = std::fs::File::create(disk.0.join("filler")).unwrap();
    let mut fill = || {
        for size in [1 << 16, 1 << 10, 1] {
            while std::io::Write::write_all(&mut filler, &vec![0; size]).is_ok() {}
        }
    };
    fill();
    let before = server.read("sessions/large").await.len();
    let mut kept = 2;
    server.kill().await;
    for _ in 0..2 {
        let server = Process::start(&disk.0).await;
        assert_eq!(server.read("sessions/large").await.len(), before, "what is there can be read");
        // A start puts a database's journal away, which makes room, also within its file.
        fill();
        let refused = loop {
            let status = say(&server, "small", 10_000).await.unwrap().status();
            if status != 200 {
                break status;
            }
            kept += 1;
            assert!(kept < 1_000, "the disk is not full");
        };
        assert_eq!(refused, 507);
        server.kill().await;
    }
    let server = Process::start(&disk.0).await;
    let large = server.streams.replace("/v1/stream", "/v1/sessions/large");
    assert_eq!(server.client.delete(&large).send().await.unwrap().status(), 204);
    let started = Instant::now();
    while say(&server, "small", 10_000).await.unwrap().status() != 200 {
        assert!(started.elapsed() < DEADLINE, "deleting made no room");
    }
    assert_eq!(server.read("sessions/small").await.len(), kept);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn reading_a_long_stream_takes_the_memory_of_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::start(dir.path()).await;
    server.create("s").await;
    let items = vec![json!({"text": "x".repeat(1000)}); 2000];
    let body = serde_json::to_string(&items).unwrap();
    for _ in 0..10 {
        assert_eq!(server.append("s", body.clone()).await.unwrap().status(), 204);
    }
    server.kill().await;
    let server = Process::start(dir.path()).await;
    let before = server.memory();
    let mut count = 0;
    let url = format!("{}/s", server.streams);
    let pages = follow(&server.client, &url, |page| count += page.len()).await;
    let grown = server.memory() - before;
    println!("20 MB in {pages} pages: {before} KiB at rest, {grown} KiB more after reading");
    assert_eq!(count, 20_000);
    assert!(grown < 10 << 10, "{grown} KiB");
}

#[tokio::test]
async fn a_session_that_is_made_by_its_stream_is_listed() {
    let rig = Rig::new().await;
    let make = rig.request(Method::PUT, "/v1/stream/sessions/raw");
    let made = make.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(made.status(), 201);
    assert_eq!(rig.get("/v1/sessions").await.1["sessions"][0]["sessionId"], "raw");
}

#[tokio::test]
async fn odd_names_and_times_to_live_are_refused_or_kept() {
    let rig = Rig::new().await;
    let put =
        |path: &str| rig.request(Method::PUT, &format!("/v1/stream/{path}")).header(JSON.0, JSON.1);
    for name in ["a%00b", "a%0Ab", "a%0d", "a%7fb", "sessions/a%01b"] {
        assert_eq!(put(name).send().await.unwrap().status(), 400, "{name}");
    }
    let made = put("a%20b%C3%BC").send().await.unwrap();
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.ends_with("/v1/stream/a%20b%C3%BC"), "{location}");
    for ttl in ["9000000000000", "9223372036854775807"] {
        let made = put("ttl").header("stream-ttl", ttl).send().await.unwrap();
        assert_eq!(made.status(), 400, "{ttl}");
    }
    assert_eq!(put("ttl").header("stream-ttl", "3600").send().await.unwrap().status(), 201);
    let fork = put("f").header("stream-fork-offset", "-1").send().await.unwrap();
    assert_eq!(fork.status(), 400, "a fork of nothing");
}

#[tokio::test]
async fn a_stream_made_with_a_time_to_live_is_a_session_too() {
    let rig = Rig::new().await;
    let made = rig.request(Method::PUT, "/v1/stream/sessions/s").header(JSON.0, JSON.1);
    assert_eq!(made.header("stream-ttl", "3600").send().await.unwrap().status(), 201);
    assert_eq!(rig.call(Method::PUT, "/v1/sessions/s", json!({})).await.0, 200);
    assert_eq!(rig.post("/v1/sessions/s/messages", json!({"content": "x"})).await.0, 200);
}
