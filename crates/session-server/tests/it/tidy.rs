//! Full disks, deletions, and faults that stay in one session.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    rig::{DEADLINE, Log, Rig, answer},
    streams::{Process, SmallDisk},
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// How a disk is filled.
#[derive(Clone, Copy, PartialEq)]
enum Filler {
    Sessions,
    File,
}

struct Disk {
    server: Process,
    /// Messages that were acknowledged, by session.
    said: Vec<usize>,
    filler: Option<std::fs::File>,
}

impl Disk {
    fn url(&self, session: usize, rest: &str) -> String {
        self.server.streams.replace("/v1/stream", &format!("/v1/sessions/s{session}{rest}"))
    }

    async fn say(&mut self, session: usize, size: usize) -> StatusCode {
        let request = self.server.client.post(self.url(session, "/messages"));
        let answer = request.json(&json!({"content": "x".repeat(size)})).send().await.unwrap();
        self.said[session] += usize::from(answer.status() == 200);
        answer.status()
    }

    async fn delete(&self, session: usize) -> StatusCode {
        self.server.client.delete(self.url(session, "")).send().await.unwrap().status()
    }

    /// Four sessions on a disk without room: by messages of these sizes, or by a file when there are some.
    async fn full(folder: &Path, filler: Filler, sizes: &[usize]) -> Self {
        let server = Process::start(folder).await;
        let mut disk = Self { server, said: vec![0; 4], filler: None };
        let mut full = false;
        for (n, size) in sizes.iter().cycle().enumerate() {
            full = full || (filler == Filler::File && n == 24);
            if full || disk.say(n % 4, *size).await != 200 {
                break;
            }
        }
        if filler == Filler::File {
            let mut file = std::fs::File::create(folder.join("filler")).unwrap();
            for size in [1 << 16, 1 << 10, 1] {
                while file.write_all(&vec![0; size]).is_ok() {}
            }
            disk.filler = Some(file);
        }
        for size in [20_000, 1_000] {
            while disk.say(0, size).await == 200 {}
        }
        disk
    }
}

async fn a_full_disk_is_tidied_up(size: &str, filler: Filler, sizes: &[usize], killed: bool) {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::new(dir.path(), size) else {
        println!("skipped: making a small disk needs root");
        return;
    };
    let mut disk = Disk::full(&small.0, filler, sizes).await;
    println!("{size}: {:?}", disk.said);
    if killed {
        disk.server.kill().await;
        disk.server = Process::start(&small.0).await;
    }
    let started = Instant::now();
    assert_eq!(disk.delete(1).await, 204, "{size}");
    while disk.say(0, 50_000).await != 200 {
        assert!(started.elapsed() < DEADLINE, "{size}: deleting gave no room");
    }
    for session in [2, 3] {
        assert_eq!(disk.delete(session).await, 204, "{size}");
    }
    let list = disk.server.streams.replace("/v1/stream", "/v1/sessions");
    let list: Value = disk.server.client.get(list).send().await.unwrap().json().await.unwrap();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    let read = |items: Vec<Value>| items.iter().filter(|item| item["type"] == "chunk").count();
    assert_eq!(read(disk.server.read("sessions/s0").await), disk.said[0]);
    assert_eq!(disk.delete(0).await, 204);
    disk.server.kill().await;
    let server = Process::start(&small.0).await;
    let file = small.0.join("streams/streams.sqlite");
    let started = Instant::now();
    while file.metadata().unwrap().len() > 256 << 10 {
        assert!(
            started.elapsed() < DEADLINE,
            "{size}: {} are left",
            file.metadata().unwrap().len()
        );
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_sessions_filled_is_tidied_up() {
    a_full_disk_is_tidied_up("24m", Filler::Sessions, &[300_000], false).await;
    a_full_disk_is_tidied_up("32m", Filler::Sessions, &[3_500_000, 10, 3_000], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_another_file_filled_is_tidied_up() {
    a_full_disk_is_tidied_up("24m", Filler::File, &[300_000], true).await;
    a_full_disk_is_tidied_up("48m", Filler::File, &[1_000_000, 500, 2_000], false).await;
    a_full_disk_is_tidied_up("64m", Filler::File, &[30_000], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_without_a_reserve_says_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::new(dir.path(), "16m") else {
        println!("skipped: making a small disk needs root");
        return;
    };
    let mut disk = Disk::full(&small.0, Filler::Sessions, &[300_000]).await;
    disk.server.kill().await;
    for reserve in ["reserve", "streams/reserve"] {
        std::fs::remove_file(small.0.join(reserve)).ok();
    }
    let mut filler = std::fs::File::create(small.0.join("filler")).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    disk.server = Process::start(&small.0).await;
    for session in 0..4 {
        let status = disk.delete(session).await;
        let there = disk.server.client.get(disk.url(session, "")).send().await.unwrap().status();
        match status.as_u16() {
            204 => assert_eq!(there, 404),
            507 => assert_eq!(there, 200),
            other => panic!("{other}"),
        }
    }
    drop(filler);
    std::fs::remove_file(small.0.join("filler")).unwrap();
    for session in 0..4 {
        assert_eq!(disk.delete(session).await, 204, "with room again");
    }
}

#[tokio::test]
async fn words_of_a_deleted_session_are_not_in_the_files_after_a_stop() {
    let rig = Rig::new().await;
    let say = async |session: &str, text: String| {
        let path = format!("/v1/sessions/{session}/messages");
        let (status, body) = rig.post(&path, json!({"content": text})).await;
        assert_eq!(status, 200);
        body["messageId"].as_str().unwrap().to_owned()
    };
    let mut first = String::new();
    for n in 0..60 {
        say("kept", format!("STAYS {n} {}", "k".repeat(n * 50))).await;
        let said = say("gone", format!("HUSHHUSH {n} {}", "g".repeat(n * 150))).await;
        let said_too = say("early", format!("SHARED {n}")).await;
        if n == 0 {
            first = said_too;
        } else {
            say("early", format!("HUSHLATER {n}")).await;
        }
        drop(said);
    }
    rig.call(Method::PATCH, "/v1/sessions/gone", json!({"title": "HUSHTITLE"})).await;
    let (status, fork) = rig.post("/v1/sessions/early/fork", json!({"atMessageId": first})).await;
    assert_eq!(status, 201);
    for session in ["gone", "early"] {
        let path = format!("/v1/sessions/{session}");
        assert_eq!(rig.call(Method::DELETE, &path, json!({})).await.0, 204);
    }
    say("kept", "and on".to_owned()).await;
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    let has = |word: &str| {
        let files = ["server.sqlite", "streams/streams.sqlite"]
            .iter()
            .flat_map(|name| ["", "-wal"].map(|end| dir.path().join(format!("{name}{end}"))));
        files
            .filter_map(|file| std::fs::read(file).ok())
            .any(|bytes| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    for word in ["HUSHHUSH", "HUSHLATER", "HUSHTITLE"] {
        assert!(!has(word), "{word} is left");
    }
    assert!(has("STAYS") && has("SHARED 0"), "{fork}");
}

async fn append(rig: &Rig, session: &str, items: &Value) {
    let request = rig.request(Method::POST, &format!("/v1/stream/sessions/{session}"));
    let answer = request.header(JSON.0, JSON.1).body(items.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

fn present(actor: &str, device: &str, last_seen: &str, beat: &Value) -> Value {
    json!({
        "type": "presence",
        "key": format!("{actor}:{device}"),
        "value": {
            "actorId": actor, "deviceId": device, "actorType": "user", "status": "online",
            "lastSeenAt": last_seen, "heartbeatSeconds": beat,
        },
        "headers": {"operation": "upsert"},
    })
}

#[tokio::test]
async fn no_time_that_a_row_holds_stops_its_session() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let rows = ["9999-12-30T22:00:00Z", "-009999-01-02T01:59:59Z", "1970-01-01T00:00:00Z", "x"];
    let rows: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(n, at)| present("ann", &format!("d{n}"), at, &json!([null, 1e300, 0.1])[n % 3]))
        .collect();
    append(&rig, &talk.id, &json!(rows)).await;
    let rig = rig.crashed_copy(|_| {}).await;
    let talk = rig.talk(&talk.id);
    talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    assert_eq!(rig.post(&talk.path("/reset"), json!({"clearPresence": true})).await.0, 200);
    assert_eq!(rig.call(Method::DELETE, &talk.path(""), json!({})).await.0, 204);
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_nobody_online() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let tomorrow = jiff_tomorrow();
    let other = {
        let mut row = present("bob", "d", &tomorrow, &json!(0.2));
        row["key"] = json!("somebody's own key");
        row
    };
    append(&rig, &talk.id, &json!([present("ann", "d", &tomorrow, &json!(0.2)), other])).await;
    talk.send("hello").await;
    let offline = |log: &Log, key: &str| {
        let last = log.items.iter().rfind(|item| item["key"] == key);
        last.is_some_and(|item| item["value"]["status"] == "offline")
    };
    let log = talk
        .until("absences", |log| offline(log, "ann:d") && offline(log, "somebody's own key"))
        .await;
    let ends = log.items.iter().filter(|item| item["value"]["status"] == "offline").count();
    assert_eq!(ends, 2, "each is said once");
}

fn jiff_tomorrow() -> String {
    let now = std::time::SystemTime::now() + Duration::from_secs(24 * 3600);
    let seconds = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // Days since 1970 as a date (Howard Hinnant's algorithm).
    let (days, rest) = (i64::try_from(seconds / 86_400).unwrap() + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (rest / 3600, rest / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00.000Z")
}

#[tokio::test]
async fn a_login_costs_the_same_however_many_devices_there_are() {
    let rig = Rig::new().await;
    let (few, many) = (rig.session("builtin:demo").await, rig.session("builtin:demo").await);
    let rows: Vec<Value> = (0..8_000)
        .map(|n| present(&format!("a{n}"), "d", "2026-01-01T00:00:00.000Z", &json!(3600)))
        .collect();
    append(&rig, &many.id, &json!(rows)).await;
    let login = async |path: &str| {
        let body = json!({"actorId": "ann", "deviceId": "d", "heartbeatSeconds": 3600});
        assert_eq!(rig.post(path, body).await.0, 200);
    };
    let mut took = Vec::new();
    for talk in [few, many] {
        let path = talk.path("/login");
        login(&path).await; // which opens the session
        let started = Instant::now();
        for _ in 0..100 {
            login(&path).await;
        }
        took.push(started.elapsed());
    }
    println!("100 logins among one and among 8,000 devices: {took:?}");
    assert!(took[1] < took[0] * 3 + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn clearing_deletes_the_rows_that_exist_whatever_their_numbers() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let row = |key: &str, message: &str| {
        json!({
            "type": "chunk",
            "key": key,
            "value": {
                "messageId": message, "actorId": "host", "role": "user",
                "chunk": r#"{"type":"whole-message"}"#,
            },
            "headers": {"operation": "insert"},
        })
    };
    let keys = ["m:200000000", "m:3", "m:18446744073709551614", "n:007", "plain", "other:0"];
    let messages = ["m", "m", "m", "n", "n", "n"];
    let rows: Vec<Value> =
        keys.iter().zip(messages).map(|(key, message)| row(key, message)).collect();
    append(&rig, &talk.id, &json!(rows)).await;
    let started = Instant::now();
    assert_eq!(rig.post(&talk.path("/reset"), json!({})).await.0, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    let items = talk.items().await;
    let mut deleted: Vec<&str> = items
        .iter()
        .filter(|item| item["headers"]["operation"] == "delete")
        .map(|item| item["key"].as_str().unwrap())
        .collect();
    deleted.sort_unstable();
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    assert_eq!(deleted, keys);
}

#[tokio::test]
async fn a_long_session_is_cleared_a_part_at_a_time() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let chunk = r#"{"type":"TEXT_MESSAGE_CONTENT","delta":"x"}"#;
    let row = |n: usize| {
        json!({
            "type": "chunk",
            "key": format!("m{}:{}", n / 100, n % 100),
            "value": {
                "messageId": format!("m{}", n / 100), "actorId": "host", "role": "user",
                "chunk": chunk,
            },
            "headers": {"operation": "insert"},
        })
    };
    append(&rig, &talk.id, &json!((0..10_000).map(row).collect::<Vec<_>>())).await;
    assert_eq!(rig.post(&talk.path("/reset"), json!({})).await.0, 200);
    let items = crate::listing::whole(&rig, &talk.id).await;
    let deleted = items.iter().filter(|item| item["headers"]["operation"] == "delete").count();
    assert_eq!(deleted, 10_000);
}

#[tokio::test]
async fn an_older_database_beside_newer_streams_goes_on() {
    let rig = Rig::new().await;
    let said = async |rig: &Rig, text: &str| {
        let body = json!({"content": text});
        rig.post("/v1/sessions/s/messages", body).await.0
    };
    assert_eq!(said(&rig, "0").await, 200);
    let Rig { mut dir, server, .. } = rig;
    server.shutdown().await;
    let file = |end: &str| format!("server.sqlite{end}");
    let old = tempfile::tempdir().unwrap();
    let backup = old.path().join("server.sqlite");
    let db = rusqlite::Connection::open(dir.path().join(file(""))).unwrap();
    db.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    drop(db);
    for n in 1..5 {
        let rig = Rig::at(dir, |_| {}).await;
        for m in 0..3 {
            assert_eq!(said(&rig, &format!("{n}.{m}")).await, 200);
        }
        rig.server.shutdown().await;
        dir = rig.dir;
    }
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(dir.path().join(file(end))).ok();
    }
    std::fs::copy(&backup, dir.path().join(file(""))).unwrap();
    let rig = Rig::at(dir, |_| {}).await;
    for n in 0..4 {
        assert_eq!(said(&rig, &format!("after {n}")).await, 200);
    }
    let log = Log { items: rig.talk("s").items().await };
    assert_eq!(log.count("whole-message"), 1 + 4 * 3 + 4, "all that was acknowledged is there");
}

#[tokio::test]
async fn a_forged_epoch_of_the_server_itself_stops_nothing() {
    let rig = Rig::new().await;
    let say = async || rig.post("/v1/sessions/s/messages", json!({"content": "x"})).await.0;
    assert_eq!(say().await, 200);
    let db = rusqlite::Connection::open(rig.dir.path().join("server.sqlite")).unwrap();
    let instance: String = db
        .query_row("SELECT value FROM meta WHERE key = 'instance'", [], |row| row.get(0))
        .unwrap();
    for epoch in [1_u64, 1_000_000, (1 << 53) - 1, i64::MAX as u64 - 1, i64::MAX as u64] {
        let forged = rig
            .request(Method::POST, "/v1/stream/sessions/s")
            .header(JSON.0, JSON.1)
            .header("producer-id", &instance)
            .header("producer-epoch", epoch.to_string())
            .header("producer-seq", if epoch == 1 { "1" } else { "0" })
            .body("[{}]");
        let status = forged.send().await.unwrap().status();
        assert!(status.is_success() || status == 400, "{epoch} {status}");
        for _ in 0..2 {
            assert_eq!(say().await, 200, "{epoch}");
        }
    }
    assert_eq!(Log { items: rig.talk("s").items().await }.count("whole-message"), 11);
}

#[tokio::test]
async fn a_word_for_what_exists_makes_no_session() {
    let rig = Rig::new().await;
    let say = |session: &str| {
        let path = format!("/v1/sessions/{session}/messages");
        let request = rig.request(Method::POST, &path).header("if-match", "*");
        answer(request.json(&json!({"content": "hello"})))
    };
    assert_eq!(say("never").await.0, 404);
    assert_eq!(rig.get("/v1/sessions/never").await.0, 404);
    assert!(rig.call(Method::PUT, "/v1/sessions/made", json!({})).await.0.is_success());
    assert_eq!(say("made").await.0, 200);
    assert!(rig.call(Method::DELETE, "/v1/sessions/made", json!(null)).await.0.is_success());
    let (status, body) = say("made").await;
    assert!(status == 404 || status == 410, "{status} {body}");
}
