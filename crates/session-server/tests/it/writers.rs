//! The table of ARCHITECTURE.md that says who may write what, tried with every type and every writer.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use session_protocol::materialize;
use uuid::Uuid;

use crate::{
    fake::{Fake, sse},
    rig::{Log, Rig, Talk},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../session-protocol/tests/fixtures");

/// One row of the table.
struct Rule {
    kinds: Vec<String>,
    /// What becomes of it: an agent's output, chunks from outside as `assistant` and as `user`, in the fold.
    outcomes: [String; 4],
}

fn table() -> Vec<Rule> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (_, table) = page.split_once("<!-- writers -->").expect("the page has the table");
    let (table, _) = table.split_once("<!-- /writers -->").expect("it ends");
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, kinds, outcomes @ ..] = &cells[..] else { panic!("{row}") };
        let kinds = kinds.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let outcomes: Vec<String> = outcomes.iter().map(|word| (*word).to_owned()).collect();
        Rule { kinds, outcomes: outcomes.try_into().unwrap() }
    })
    .collect()
}

/// A chunk of this type about things that are not its writer's.
fn chunk(kind: &str) -> Value {
    json!({
        "type": kind, "approvalId": "theirs", "approved": true, "toolCallId": "theirs", "toolName": "t",
        "toolCallName": "t", "toolCall": {"id": "theirs", "function": {"name": "t", "arguments": "{}"}},
        "output": "forged", "content": "forged", "delta": "forged", "title": "forged", "role": "user",
        "message": {"id": "theirs", "role": "user", "parts": [{"type": "text", "content": "forged"}]},
    })
}

fn kinds_in(log: &Log, message: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let chunks = log.chunks();
    let rows = chunks.iter().filter(|(row, _)| message(row));
    rows.filter_map(|(_, chunk)| chunk["type"].as_str().map(str::to_owned)).collect()
}

async fn outside(talk: &Talk<'_>, kind: &str, role: &str) -> &'static str {
    let body =
        json!({"messageId": Uuid::new_v4(), "actorId": "x", "role": role, "chunk": chunk(kind)});
    match talk.rig.post(&talk.path("/chunks"), body).await.0.as_u16() {
        200 => "written",
        400 => "refused",
        other => panic!("{kind} as {role}: {other}"),
    }
}

fn folded(kind: &str) -> &'static str {
    let row = json!({"type": "chunk", "key": "m:0", "value": {"messageId": "m", "actorId": "k", "seq": 0,
        "role": "assistant", "chunk": chunk(kind).to_string()}, "headers": {"operation": "insert"}});
    let session = materialize(&[row]);
    assert!(
        session.messages.iter().all(|message| message.role == session_protocol::Role::Assistant)
    );
    assert!(session.hidden_messages.is_empty(), "{kind}");
    match session.messages[0].refused {
        0 => "its own",
        _ => "left out",
    }
}

#[tokio::test]
async fn each_writer_writes_what_the_table_says() {
    let rig = Rig::new().await;
    let rules = table();
    let all = rules.iter().flat_map(|rule| rule.kinds.iter().map(String::as_str));
    // Nothing of a response counts behind an error: each has one of its own.
    let (errors, others): (Vec<&str>, Vec<&str>) =
        all.partition(|kind| matches!(*kind, "RUN_ERROR" | "error"));
    let one = |kinds: &[&str]| {
        let lines: Vec<String> = kinds.iter().map(|kind| chunk(kind).to_string()).collect();
        sse(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let replies = errors.iter().map(|kind| one(&[*kind]));
    let agent = Fake::new(std::iter::once(one(&others)).chain(replies)).await;
    let talk = rig.session(&agent.agent_url()).await;
    talk.send("hello").await;
    talk.until("all of it", |log| log.count("hologram") == 1).await;
    for _ in &errors {
        talk.send("and").await;
    }
    let told = |log: &Log| errors.iter().all(|kind| log.count(kind) > 0);
    let log = talk.until("the errors", told).await;
    let written = kinds_in(&log, |row| row["actorId"] == "agent");
    for rule in &rules {
        for kind in &rule.kinds {
            let by_agent = if written.contains(kind) { "written" } else { "refused" };
            let got = [
                by_agent,
                outside(&talk, kind, "assistant").await,
                outside(&talk, kind, "user").await,
                folded(kind),
            ];
            assert_eq!(got, rule.outcomes.each_ref().map(String::as_str), "{kind}");
        }
    }
}

#[test]
fn the_table_has_every_type_that_is_known() {
    fn walk(value: &Value, kinds: &mut BTreeSet<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, kinds)),
            Value::Object(fields) => {
                let chunk = fields.get("chunk").and_then(Value::as_str);
                let chunk = chunk.and_then(|text| serde_json::from_str::<Value>(text).ok());
                if let Some(kind) = chunk.as_ref().and_then(|chunk| chunk["type"].as_str()) {
                    kinds.insert(kind.to_owned());
                }
                fields.values().for_each(|field| walk(field, kinds));
            }
            _ => {}
        }
    }
    let mut seen = BTreeSet::new();
    for folder in ["wire-cases", "wire-captures"] {
        for file in std::fs::read_dir(format!("{FIXTURES}/{folder}")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            walk(&serde_json::from_str(&text).unwrap(), &mut seen);
        }
    }
    let listed: BTreeSet<String> = table().into_iter().flat_map(|rule| rule.kinds).collect();
    assert!(seen.len() > 40);
    assert!(seen.is_subset(&listed), "{:?}", seen.difference(&listed));
}
