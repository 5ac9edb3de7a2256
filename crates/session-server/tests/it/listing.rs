//! Lists by the page, what forks cost and show, and appends of many messages.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use session_server::{Auth, Secret, TokenRole, Tokens};
use uuid::Uuid;

use crate::rig::{Rig, answer};

const JSON: (&str, &str) = ("content-type", "application/json");

/// All items of a session, page by page.
pub async fn whole(rig: &Rig, session: &str) -> Vec<Value> {
    let (mut items, mut offset) = (Vec::new(), "-1".to_owned());
    loop {
        let path = format!("/v1/stream/sessions/{session}?offset={offset}");
        let answer = rig.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let end = answer.headers().contains_key("stream-up-to-date");
        offset = answer.headers()["stream-next-offset"].to_str().unwrap().to_owned();
        items.append(&mut answer.json::<Vec<Value>>().await.unwrap());
        if end {
            return items;
        }
    }
}

async fn named() -> (Rig, Tokens) {
    let rig = Rig::with(|config| config.auth = Auth::Named(Some(Secret::new("owner")))).await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    (rig, tokens)
}

async fn ask(
    rig: &Rig,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    answer(rig.request(method, path).bearer_auth(token).json(&body)).await
}

fn ids(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["sessionId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_list_comes_by_the_page_and_nobody_twice() {
    let rig = Rig::new().await;
    for n in 0..25 {
        rig.call(Method::PUT, &format!("/v1/sessions/s{n}"), json!({"title": "T"})).await;
    }
    let (status, all) = rig.get("/v1/sessions").await;
    assert_eq!(status, 200);
    let newest_first = ids(&all["sessions"]);
    assert_eq!((newest_first.len(), newest_first[0].as_str()), (25, "s24"));
    assert!(all.get("next").is_none(), "it is the last page");

    let (mut seen, mut path) = (Vec::new(), "/v1/sessions?limit=10".to_owned());
    loop {
        let (status, page) = rig.get(&path).await;
        assert_eq!(status, 200, "{page}");
        seen.append(&mut ids(&page["sessions"]));
        let Some(next) = page["next"].as_str() else { break };
        // One that was seen already is used, and so moves to the front.
        let body = json!({"content": "hello"});
        assert_eq!(rig.post(&format!("/v1/sessions/{}/messages", seen[3]), body).await.0, 200);
        path = format!("/v1/sessions?limit=10&cursor={next}");
    }
    assert_eq!(seen, newest_first);
    let (_, front) = rig.get("/v1/sessions?limit=1").await;
    assert_eq!(ids(&front["sessions"]), [seen[3].clone()]);
    for wrong in ["limit=0", "limit=1001", "limit=x", "cursor=*", "cursor=AAAA"] {
        let (status, problem) = rig.get(&format!("/v1/sessions?{wrong}")).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (400, &json!("INVALID_REQUEST")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_token_for_some_sessions_gets_pages_of_those() {
    let (rig, tokens) = named().await;
    for n in 0..12 {
        let path = format!("/v1/sessions/s{n}");
        assert_eq!(ask(&rig, "owner", Method::PUT, &path, json!({})).await.0, 200);
    }
    let some = ["s1", "s5", "s9", "not-there"].map(str::to_owned);
    let token = tokens.create("some", TokenRole::View, Some(&some)).unwrap();
    let get = |path: String| {
        let token = token.expose().to_owned();
        let rig = &rig;
        async move { ask(rig, &token, Method::GET, &path, json!(null)).await.1 }
    };
    let page = get("/v1/sessions?limit=2".to_owned()).await;
    assert_eq!(ids(&page["sessions"]), ["s9", "s5"]);
    let next = page["next"].as_str().unwrap();
    let page = get(format!("/v1/sessions?limit=2&cursor={next}")).await;
    assert_eq!((ids(&page["sessions"]), page.get("next")), (vec!["s1".to_owned()], None));
}

#[tokio::test]
async fn a_fork_costs_its_own_bytes_and_shows_no_other() {
    let (rig, tokens) = named().await;
    let owner = |method, path: String, body| {
        let rig = &rig;
        async move { ask(rig, "owner", method, &path, body).await }
    };
    let session = "/v1/sessions/parent";
    owner(Method::PUT, session.to_owned(), json!({})).await;
    let say = json!({"content": "hello", "messageId": Uuid::new_v4()});
    assert_eq!(owner(Method::POST, format!("{session}/messages"), say.clone()).await.0, 200);
    let stream = |id: &str| format!("/v1/stream/sessions/{id}");
    let before = owner(Method::GET, stream("parent"), json!(null)).await.1;
    let mut forks = Vec::new();
    for _ in 0..30 {
        let body = json!({"atMessageId": say["messageId"]});
        let (status, fork) = owner(Method::POST, format!("{session}/fork"), body).await;
        assert_eq!(status, 201);
        forks.push(fork["sessionId"].as_str().unwrap().to_owned());
    }
    let after = owner(Method::GET, stream("parent"), json!(null)).await.1;
    assert_eq!(after, before, "the parent costs nothing");
    let (first, last) = (
        owner(Method::GET, stream(&forks[0]), json!(null)).await.1,
        owner(Method::GET, stream(&forks[29]), json!(null)).await.1,
    );
    assert_eq!(first.to_string().len(), last.to_string().len(), "the last as much as the first");
    for id in forks.iter().filter(|id| **id != forks[29]).chain([&"parent".to_owned()]) {
        assert!(!last.to_string().contains(id.as_str()), "{id} is in another fork's stream");
    }

    // In order, by the page, and only as far as a token may see.
    let page = owner(Method::GET, format!("{session}/forks?limit=20"), json!(null)).await.1;
    assert_eq!(ids(&page["forks"]), forks[..20]);
    let next = page["next"].as_str().unwrap();
    let rest = owner(Method::GET, format!("{session}/forks?cursor={next}"), json!(null)).await.1;
    assert_eq!((ids(&rest["forks"]), rest.get("next")), (forks[20..].to_vec(), None));
    let one = [forks[3].clone()];
    let one = tokens.create("one", TokenRole::Manage, Some(&one)).unwrap();
    let list = ask(&rig, one.expose(), Method::GET, "/v1/sessions", json!(null)).await.1;
    assert_eq!(ids(&list["sessions"]), [forks[3].clone()]);
    assert!(list["sessions"][0].get("forkedFrom").is_none());
    let two = ["parent".to_owned(), forks[3].clone()];
    let two = tokens.create("two", TokenRole::View, Some(&two)).unwrap();
    let path = format!("{session}/forks");
    let seen = ask(&rig, two.expose(), Method::GET, &path, json!(null)).await.1;
    assert_eq!(ids(&seen["forks"]), [forks[3].clone()]);
    let list = ask(&rig, two.expose(), Method::GET, "/v1/sessions", json!(null)).await.1;
    assert_eq!(
        list["sessions"][0]["forkedFrom"],
        json!({"sessionId": "parent", "messageId": say["messageId"]})
    );
}

#[tokio::test]
async fn what_an_earlier_version_wrote_of_forks_is_not_inherited() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let first = talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    let name = |seq: usize, chunk: Value| {
        json!({
            "type": "chunk", "key": format!("name:{seq}"),
            "value": {
                "messageId": "name", "actorId": "ann", "role": "user", "seq": seq,
                "chunk": chunk.to_string(),
            },
            "headers": {"operation": "insert"},
        })
    };
    let forks = json!({"type": "config", "forks": [{"sessionId": "SIBLING"}], "forkedFrom": {"sessionId": "GRANDPARENT"}});
    let rows = json!([name(0, forks), name(1, json!({"type": "stop"}))]);
    let request = rig.request(Method::POST, &format!("/v1/stream/sessions/{}", talk.id));
    let added = request.header(JSON.0, JSON.1).body(rows.to_string()).send().await.unwrap();
    assert_eq!(added.status(), 204);
    let second = talk.send("again").await;
    talk.until("another answer", |log| log.ended() == 2).await;
    let (status, body) = rig.post(&talk.path("/fork"), json!({})).await;
    assert_eq!(status, 201, "{body}");
    let fork = rig.talk(body["sessionId"].as_str().unwrap());
    let text = json!(fork.items().await).to_string();
    assert!(text.contains(&first) && text.contains(&second));
    assert!(!text.contains("SIBLING") && !text.contains("GRANDPARENT"));
}

#[tokio::test]
async fn the_same_fork_asked_for_many_times_at_once_is_one() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let first = talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let asking = log.find("CUSTOM").unwrap().0["messageId"].clone();
    talk.send("later").await;
    talk.until("an answer", |log| log.ended() == 2).await;
    talk.approve(&log.approvals()[0], true).await; // a late row of an early message
    talk.until("the rest", |log| log.ended() == 3).await;
    let new = Uuid::new_v4();
    let body = json!({"atMessageId": asking, "newSessionId": new});
    let path = talk.path("/fork");
    let answers = futures::future::join_all((0..6).map(|_| rig.post(&path, body.clone()))).await;
    assert!(answers.iter().all(|(status, _)| *status == 201), "{answers:?}");
    let log = crate::rig::Log { items: rig.talk(&new.to_string()).items().await };
    assert_eq!((log.count("whole-message"), log.count("config")), (1, 1));
    assert_eq!(log.find("whole-message").unwrap().0["messageId"], first);
    log.assert_gapless();
}

#[tokio::test]
async fn an_append_has_so_many_messages_and_no_more() {
    let rig = Rig::with(|config| config.stream_limits.append_messages = 100).await;
    let write = async |method: Method, name: &str, headers: &[(&str, &str)], count: usize| {
        let body = format!("[{}]", vec!["7"; count].join(","));
        let mut request = rig.request(method, &format!("/v1/stream/{name}")).header(JSON.0, JSON.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.body(body)).await
    };
    assert_eq!(write(Method::PUT, "sessions/s", &[], 100).await.0, 201);
    assert_eq!(write(Method::POST, "sessions/s", &[], 100).await.0, 204);
    for (method, name, headers) in [
        (Method::POST, "sessions/s", vec![]),
        (Method::PUT, "sessions/t", vec![]),
        (Method::PUT, "fork", vec![("stream-forked-from", "/v1/stream/sessions/s")]),
    ] {
        let (status, problem) = write(method, name, &headers, 101).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (413, &json!("TOO_MANY_MESSAGES")),
            "{name}"
        );
    }
    assert_eq!(whole(&rig, "s").await, vec![json!(7); 200]);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_follow_what_an_append_is_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let server = crate::streams::Process::start(dir.path()).await;
    server.create("s").await;
    let before = server.memory();
    let many = format!("[{}]", vec!["1"; 4_000_000].join(","));
    let size = many.len() >> 10;
    assert_eq!(server.append("s", many.clone()).await.unwrap().status(), 413);
    let one = format!("[{many}]"); // one message
    assert_eq!(server.append("s", one).await.unwrap().status(), 204);
    let broken = format!("[{}", &many[..many.len() - 1]);
    assert_eq!(server.append("s", broken).await.unwrap().status(), 400);
    let grown = server.memory() - before;
    println!("{size} KiB of small numbers: {grown} KiB more");
    assert!(grown < 8 * size, "{grown} KiB");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn forks_of_a_large_session_at_once_take_the_memory_of_pages() {
    let dir = tempfile::tempdir().unwrap();
    let server = crate::streams::Process::start(dir.path()).await;
    server.create("sessions/s").await;
    let row = |message: &str, seq: usize, size: usize| {
        let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "x".repeat(size)});
        json!({
            "type": "chunk", "key": format!("{message}:{seq}"),
            "value": {
                "messageId": message, "actorId": "host", "role": "user",
                "chunk": chunk.to_string(),
            },
            "headers": {"operation": "insert"},
        })
    };
    let mut rows = vec![row("early", 0, 10), row("later", 0, 10)];
    for n in 0..24 {
        rows.push(row("early", n + 1, 1 << 20)); // late rows of the early message
        let body = json!(std::mem::take(&mut rows)).to_string();
        assert_eq!(server.append("sessions/s", body).await.unwrap().status(), 204);
    }
    server.kill().await;
    let server = crate::streams::Process::start(dir.path()).await;
    let before = server.memory();
    let url = server.streams.replace("/v1/stream", "/v1/sessions/s/fork");
    let fork = || server.client.post(&url).json(&json!({"atMessageId": "early"})).send();
    let answers = futures::future::join_all((0..6).map(|_| fork())).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 201);
        let fork: Value = answer.json().await.unwrap();
        let items = server.read(&format!("sessions/{}", fork["sessionId"].as_str().unwrap())).await;
        let keys: HashSet<_> = items.iter().filter_map(|item| item["key"].as_str()).collect();
        assert!(keys.contains("early:24") && !keys.contains("later:0"));
    }
    let grown = server.memory() - before;
    println!("6 forks at once of 24 MB: {grown} KiB more");
    assert!(grown < 72 << 10, "{grown} KiB");
}
