//! Full disks and older databases: on servers of their own.

use std::fs;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::lab::{Attack, Lab, OWNER, until};
use super::server::{Running, Server};

/// A small server of its own.
fn another(a: &Attack, more: &[&str]) -> (tempfile::TempDir, Running, Attack) {
    let folder = tempfile::tempdir().unwrap();
    let token = a.token(OWNER).to_owned();
    let server = Arc::new(Server::start(folder.path(), &token, more));
    let lab = Arc::new(Lab::new(server, a.hooks.clone(), token));
    let running = Running(Arc::clone(&lab.server));
    (folder, running, Attack::new(&lab, a.dice.clone(), &a.found))
}

/// A full disk can be read and tidied up, and an answer says what was done.
pub async fn full_disk(mut a: Attack) {
    let size = (4 + a.dice.below(16)) << 20;
    let (_folder, _running, mut b) = another(&a, &["--max-streams", &size.to_string()]);
    let words = "x".repeat(*a.dice.of(&[100_000, 500_000, 2_000_000]));
    let mut rooms = Vec::new();
    let mut full = false;
    while !full {
        let room = b.id();
        for _ in 0..5 {
            let body = json!({"messageId": b.id(), "content": words});
            let got = b.post(OWNER, &room, "/messages", body).await;
            full |= got.status == 507;
        }
        rooms.push(room);
    }
    for room in &rooms {
        let path = format!("/v1/sessions/{room}");
        let there = b.ask(OWNER, Method::GET, &path, Value::Null).await.status == 200;
        let read = b.items(room).await.len();
        let got = b.ask(OWNER, Method::DELETE, &path, Value::Null).await;
        let gone = b.ask(OWNER, Method::GET, &path, Value::Null).await.status == 404;
        b.check(!there || read > 0, || "a session on a full disk cannot be read".to_owned());
        b.check(got.is_ok() || !there, || {
            format!("DELETE on a full disk of {size} got {} (gone: {gone})", got.status)
        });
    }
    let room = b.id();
    let body = json!({"messageId": b.id(), "content": words});
    let again = until(|| async { b.post(OWNER, &room, "/messages", body.clone()).await.is_ok() });
    b.check(again.await, || format!("a disk of {size} that was tidied up stays full"));
    b.check(b.server.panics().is_empty(), || "a server on a full disk panicked".to_owned());
}

/// An older `server.sqlite` beside newer streams goes on.
pub async fn older_database(mut a: Attack) {
    let (_folder, _running, mut b) = another(&a, &[]);
    let room = b.id();
    let send = |id: String| json!({"messageId": id, "content": "hello"});
    let body = send(b.id());
    b.post(OWNER, &room, "/messages", body).await;
    b.server.restart();
    let saved = tempfile::tempdir().unwrap();
    let data = b.data();
    let databases = || {
        let entries = fs::read_dir(&data).unwrap().flatten();
        entries.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("server.sqlite"))
    };
    for name in databases() {
        fs::copy(data.join(&name), saved.path().join(&name)).unwrap();
    }
    for _ in 0..2 + a.dice.below(4) {
        b.server.restart();
        let body = send(b.id());
        b.post(OWNER, &room, "/messages", body).await;
    }
    b.server.restart_with(|| {
        for name in databases() {
            fs::remove_file(data.join(name)).unwrap();
        }
        for entry in fs::read_dir(saved.path()).unwrap().flatten() {
            fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
        }
    });
    let body = send(b.id());
    let got = b.post(OWNER, &room, "/messages", body).await;
    b.check(got.is_ok(), || format!("with an older database, a message got {}", got.status));
}
