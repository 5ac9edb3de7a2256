//! Agents and models that take processors and memory.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::hooks::{Connection, Hook, text};
use super::lab::{ANN, Attack, until};

/// How long a flood lasts, if the server lets it.
const FLOOD: Duration = Duration::from_secs(5);
/// Bytes that one flood sends at most, so that the disk stays what it is.
const MOST: usize = 400 << 20;

/// Writes `begin`, then `piece` again and again until nobody takes it.
async fn pour(
    mut to: Connection,
    begin: &str,
    piece: &[u8],
    pause: Duration,
) -> std::io::Result<()> {
    to.write_all(begin.as_bytes()).await?;
    let (end, mut sent) = (Instant::now() + FLOOD, 0);
    while Instant::now() < end && sent < MOST {
        to.write_all(piece).await?;
        sent += piece.len();
        if !pause.is_zero() {
            to.flush().await?;
            tokio::time::sleep(pause).await;
        }
    }
    to.flush().await
}

/// Calls the agents, lets them flood, and stops them as a person does.
async fn unleash(a: &mut Attack, agents: &[Hook]) {
    let names: Vec<String> = (0..agents.len()).map(|n| format!("rogue{n}")).collect();
    let specs: Vec<(&str, &str)> =
        names.iter().zip(agents).map(|(name, hook)| (name.as_str(), hook.url.as_str())).collect();
    let room = a.room(&specs).await;
    a.say(ANN, &room, &names.iter().map(|name| format!("@{name} ")).collect::<String>()).await;
    for agent in agents {
        a.check(a.asked(agent, 1).await, || "an agent was not called".to_owned());
    }
    tokio::time::sleep(FLOOD).await;
    let stopped = until(|| async { a.post(ANN, &room, "/stop", json!({})).await.is_ok() });
    a.check(stopped.await, || "a flooding agent could not be stopped".to_owned());
    // The session goes on.
    let honest = a.hooks.says(|_| text("hello"));
    let spec =
        json!({"agents": [{"id": "honest", "endpoint": honest.url, "triggers": "mentions"}]});
    let joined =
        until(|| async { a.post(super::lab::OWNER, &room, "/agents", spec.clone()).await.is_ok() });
    a.check(joined.await, || "nobody can join a session that was flooded".to_owned());
    a.say(ANN, &room, "@honest hello").await;
    a.check(a.asked(&honest, 1).await, || "a flooded session answers no more".to_owned());
    a.tidy_up().await;
}

/// Lines of an object that does not end, which must not be parsed again for each.
pub async fn unfinished_objects(mut a: Attack) {
    let (begin, line) = *a
        .dice
        .of(&[("data: {\"a\":[1\n", "data: ,1\n"), ("data: {\"a\":1\n", "data: ,\"a\":1\n")]);
    let much = format!("{begin}{}", line.repeat(2_600_000 / line.len()));
    let agents: Vec<Hook> = (0..2 + a.dice.below(3))
        .map(|_| {
            let much = much.clone();
            a.hooks.floods("", move |to| {
                let much = much.clone();
                async move { pour(to, &much, b": silence\n", Duration::from_millis(100)).await }
            })
        })
        .collect();
    unleash(&mut a, &agents).await;
}

/// Chunks as large as they may be, as fast as they go.
pub async fn large_chunks(mut a: Attack) {
    let size = *a.dice.of(&[64 << 10, 1 << 20, (4 << 20) - 200]);
    let delta = "x".repeat(size);
    let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": delta});
    let piece = format!("data: {chunk}\n\n");
    let agents: Vec<Hook> = (0..1 + a.dice.below(3))
        .map(|_| {
            let piece = piece.clone();
            a.hooks.floods("", move |to| {
                let piece = piece.clone();
                async move { pour(to, "", piece.as_bytes(), Duration::ZERO).await }
            })
        })
        .collect();
    unleash(&mut a, &agents).await;
}

/// A little that is much when it is unpacked.
pub async fn bombs(mut a: Attack) {
    let line = *a.dice.of(&["", "data: {\"type\":\"x\"}\n\n", "\n"]);
    let plain = if line.is_empty() {
        vec![b' '; 1 << 20]
    } else {
        line.repeat((1 << 20) / line.len()).into()
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..64 {
        packed.write_all(&plain).unwrap();
    }
    let packed = packed.finish().unwrap();
    let agent = a.hooks.floods("Content-Encoding: gzip\r\n", move |mut to| {
        let packed = packed.clone();
        async move {
            to.write_all(&packed).await?;
            to.flush().await
        }
    });
    unleash(&mut a, &[agent]).await;
}

/// A byte at a time.
pub async fn dribbles(mut a: Attack) {
    let agents: Vec<Hook> = (0..8)
        .map(|_| {
            let piece = *a.dice.of(&[&b"x"[..], b"\n", b"data: {\"type\":\"x\"}\n\n", b":\n"]);
            a.hooks.floods("", move |to| async move {
                pour(to, "data: ", piece, Duration::from_millis(1)).await
            })
        })
        .collect();
    unleash(&mut a, &agents).await;
}

/// A model's server whose line, event, arguments, words or calls have no end.
pub async fn endless_models(mut a: Attack) {
    let much = "x".repeat(64 << 10);
    let call = |arguments: &str, index: usize, id: &str| {
        let call = json!({"index": index, "id": id, "function": {"name": "save_note",
            "arguments": arguments}});
        format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]}))
    };
    let words = |field: &str| {
        let mut delta = json!({});
        delta[field] = much.as_str().into();
        format!("data: {}\n\n", json!({"choices": [{"delta": delta}]}))
    };
    let many: String = (0..100).map(|n| call("{}", n, &format!("call_number_{n}"))).collect();
    let (begin, piece) = match a.dice.below(7) {
        0 => ("data: ".to_owned(), much.clone()),
        1 => (String::new(), format!("data: {much}\n")),
        2 => (call("{\"text\":\"", 0, "call_endless"), call(&much, 0, "")),
        3 => (String::new(), words("content")),
        4 => (String::new(), words("reasoning_content")),
        5 => (String::new(), many),
        _ => ("event: ".to_owned(), much.clone()),
    };
    let model = a.hooks.floods("", move |to| {
        let (begin, piece) = (begin.clone(), piece.clone());
        async move { pour(to, &begin, piece.as_bytes(), Duration::ZERO).await }
    });
    let room = a.room(&[("model", "builtin:model")]).await;
    a.say(ANN, &room, &format!("@model {} go", model.key)).await;
    a.check(a.asked(&model, 1).await, || "the model was not asked".to_owned());
    tokio::time::sleep(FLOOD).await;
    let stopped = until(|| async { a.post(ANN, &room, "/stop", json!({})).await.is_ok() });
    a.check(stopped.await, || "an endless model could not be stopped".to_owned());
    a.tidy_up().await;
}
