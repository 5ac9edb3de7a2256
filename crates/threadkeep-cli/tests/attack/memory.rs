//! Sessions, forks, names and rows that are larger, or say that they are larger, than anybody
//! needs.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use session_server::{TokenRole, Tokens};

use super::hooks::text;
use super::lab::{ANN, Attack, Got, MALLORY, OWNER, row, until};

/// Anything that is asked of a session with odd rows.
const SOON: Duration = Duration::from_secs(5);
/// How long a session is made large at most.
const FILLING: Duration = Duration::from_secs(10);

/// Megabytes of messages, as many as the server takes; gives the session and the first message.
async fn big(a: &mut Attack, agents: &[(&str, &str)], messages: usize) -> (String, String) {
    let room = a.room(agents).await;
    let words = "x".repeat(3_900_000);
    let (mut first, end) = (None, Instant::now() + FILLING);
    for _ in 0..messages {
        if Instant::now() > end {
            break;
        }
        let id = a.id();
        let got =
            a.post(MALLORY, &room, "/messages", json!({"messageId": id, "content": words})).await;
        if got.is_ok() {
            first.get_or_insert(id);
        }
    }
    (room, first.unwrap_or_default())
}

/// Five agents are told a big session at once.
pub async fn five_agents_in_a_big_session(mut a: Attack) {
    let hooks: Vec<_> = (0..5).map(|_| a.hooks.says(|_| text("ok"))).collect();
    let names = ["a1", "a2", "a3", "a4", "a5"];
    let agents: Vec<_> =
        names.into_iter().zip(hooks.iter().map(|hook| hook.url.as_str())).collect();
    let messages = 15 + a.dice.below(25);
    let (room, _) = big(&mut a, &agents, messages).await;
    a.say(ANN, &room, "@a1 @a2 @a3 @a4 @a5 go").await;
    // Each is called, or its run ends in another way.
    let over = || async {
        let called = hooks.iter().filter(|hook| !hook.asked.lock().unwrap().is_empty()).count();
        let failed = a.post(ANN, &room, "/stop", json!({"messageId": "none"})).await;
        called == 5 && failed.is_ok()
    };
    until(over).await;
    a.post(ANN, &room, "/stop", json!({})).await;
    a.tidy_up().await;
}

/// Eight forks at once of a big session, at a message that something late belongs to.
pub async fn forks_at_once(mut a: Attack) {
    let messages = 10 + a.dice.below(25);
    let (room, first) = big(&mut a, &[], messages).await;
    let late = json!({"messageId": first, "actorId": ANN, "role": "user",
        "chunk": {"type": "approval-response", "approvalId": "x", "approved": true}});
    a.post(OWNER, &room, "/chunks", late).await;
    let forks = (0..8).map(|_| {
        let a = a.split();
        let body = json!({"atMessageId": first});
        let room = room.clone();
        async move {
            let got = a.post(MALLORY, &room, "/fork", body).await;
            if let Some(fork) = got.body["sessionId"].as_str() {
                a.keep(fork);
            }
            got
        }
    });
    let forks: Vec<_> = forks.collect();
    let got = join_all(forks).await;
    a.check(got.iter().any(|got| got.is_ok() || got.status == 503), || {
        format!(
            "no fork of a big session: {:?}",
            got.iter().map(|got| got.status).collect::<Vec<_>>()
        )
    });
    a.tidy_up().await;
}

/// Each fork costs its parent the same.
pub async fn many_forks(mut a: Attack) {
    let room = a.room(&[]).await;
    a.say(MALLORY, &room, "hello").await;
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for _ in 0..12 {
            let forks: Vec<_> =
                (0..5).map(|_| a.post(MALLORY, &room, "/fork", json!({}))).collect();
            for got in join_all(forks).await {
                if let Some(fork) = got.body["sessionId"].as_str() {
                    a.keep(fork);
                }
            }
        }
        let items = a.items(&room).await;
        sizes.push(items.iter().map(|item| item.to_string().len()).sum::<usize>());
    }
    let (second, third) = (sizes[1] - sizes[0], sizes[2] - sizes[1]);
    a.check(third <= second + second / 4 + 2000, || {
        format!("sixty forks cost their parent {} bytes, then {second}, then {third}", sizes[0])
    });
    a.tidy_up().await;
}

/// People and agents whose names have megabytes.
pub async fn names_of_megabytes(mut a: Attack) {
    let room = a.room(&[]).await;
    let long = "n".repeat(1 << (16 + a.dice.below(6)));
    for n in 0..20 {
        let login = json!({"actorId": "x", "deviceId": format!("d{n}"), "name": long});
        let who = *a.dice.of(&[MALLORY, ANN, OWNER]);
        a.post(who, &room, "/login", login).await;
        let id = format!("agent{}", n % 3);
        let spec =
            json!({"id": id, "name": long, "endpoint": "builtin:demo", "triggers": "mentions"});
        a.post(OWNER, &room, "/agents", json!({"agents": [spec]})).await;
    }
    let items = a.items(&room).await;
    let longest = items.iter().map(|item| item.to_string().len()).max().unwrap_or_default();
    a.check(longest <= 8 << 10, || format!("a name made a row of {longest} bytes"));
    a.tidy_up().await;
}

/// One append of millions of messages, by who manages one session.
pub async fn tiny_messages(mut a: Attack) {
    let room = a.room(&[]).await;
    let name = format!("manager-{}", a.dice.next());
    let token = a.new_token(&name, TokenRole::Manage, &room);
    let count = (2 << 20) + a.dice.below(14 << 20);
    let one = *a.dice.of(&["1", "\"\"", "{}", "[]"]);
    let body = format!("[{}{one}]", format!("{one},").repeat(count * 2 / (one.len() + 1)));
    let path = format!("/v1/stream/sessions/{room}");
    let got = a.ask_with(&token, Method::POST, &path, body).await;
    a.check(got.is_refused(), || format!("millions of messages in one append got {}", got.status));
    Tokens::open(&a.data()).unwrap().revoke(&name).unwrap();
    a.tidy_up().await;
}

/// Whatever rows stand in a session, what is asked of it is answered in time, and it can be
/// deleted.
pub async fn poisoned_rows(mut a: Attack) {
    let rooms: Vec<_> = (0..4).map(|_| poison(a.split())).collect();
    join_all(rooms).await;
    a.tidy_up().await;
}

async fn poison(mut a: Attack) {
    let presence = |seen: Value, beat: Value| {
        json!({"type": "presence", "key": "x:d", "headers": {"operation": "upsert"},
            "value": {"actorId": "x", "deviceId": "d", "actorType": "user", "status": "online",
                "lastSeenAt": seen, "heartbeatSeconds": beat}})
    };
    let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"});
    let far = |seq: u64| row("m", seq, "x", "assistant", &chunk);
    let rows = [
        ("seen in the year 9999", presence(json!("9999-12-30T22:00:00Z"), Value::Null)),
        ("seen in 9999, beating", presence(json!("9999-12-30T22:00:00Z"), json!(30))),
        ("seen in -9999", presence(json!("-009999-01-02T01:59:59Z"), json!(1e308))),
        ("beating every 1e19 s", presence(json!("2026-01-01T00:00:00Z"), json!(1e19))),
        ("seen at a number", presence(json!(i64::MAX), json!(-1e308))),
        ("row 200000000", far(200_000_000)),
        ("row 2^64-2", far(u64::MAX - 1)),
        ("row 2^64-1", far(u64::MAX)),
        ("row 2^53", far(1 << 53)),
    ];
    let first = a.dice.below(rows.len());
    let picked = [&rows[first], &rows[(first + 1 + a.dice.below(rows.len() - 1)) % rows.len()]];
    let shown = picked.map(|(name, _)| *name).join(" and ");
    let picked = picked.map(|(_, row)| row.clone());
    let agent = a.hooks.says(|_| text("hello"));
    let room = a.room(&[("agent", &agent.url)]).await;
    a.say(ANN, &room, "hello").await;
    a.append(OWNER, &room, &json!(picked)).await;
    let answers = |got: &Got| !matches!(got.status, 0 | 500..);
    let wishes = [
        ("/login", json!({"actorId": "y", "deviceId": "d", "heartbeatSeconds": 30})),
        ("/messages", json!({"messageId": a.id(), "content": "@agent are you there?"})),
        ("/chunks", json!({"messageId": "m", "actorId": "x", "chunk": chunk})),
        ("/fork", json!({})),
        ("/logout", json!({"actorId": "y", "deviceId": "d"})),
        ("/reset", json!({"clearPresence": true})),
        ("/messages", json!({"messageId": a.id(), "content": "hello again"})),
    ];
    for (path, body) in wishes {
        let asked = Instant::now();
        let mut got = a.post(OWNER, &room, path, body.clone()).await;
        // Busy is no answer yet; for ever is one.
        while got.status == 503 && asked.elapsed() < SOON {
            tokio::time::sleep(Duration::from_millis(200)).await;
            got = a.post(OWNER, &room, path, body.clone()).await;
        }
        let soon = asked.elapsed() < SOON;
        if path == "/fork"
            && let Some(fork) = got.body["sessionId"].as_str()
        {
            a.keep(fork);
        }
        a.check(answers(&got) && soon, || {
            format!("{path} got {} after {:?} behind {shown}", got.status, asked.elapsed())
        });
    }
    // No key stands for two rows.
    let items = a.items(&room).await;
    let mut keys: Vec<String> = items
        .iter()
        .filter(|item| item["type"] == "chunk" && item["headers"]["operation"] == "insert")
        .map(|item| item["key"].to_string())
        .collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    a.check(keys.len() == all, || format!("a key was written twice behind {shown}"));
}
