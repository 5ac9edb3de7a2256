//! Qwen Code: a log of records for each session, with the parent of each and Gemini's parts.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::gemini_parts::{self, Status};
use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{self, Lines, is, named, text};
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::time;
use crate::turns::{COMPACTION, Head, Told, Turns};

/// Reads the sessions.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut done: HashMap<String, ()> = HashMap::new();
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let Ok(from) = input.tree.read(&entry) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        let mut rows = Vec::new();
        for line in Lines::new(from) {
            match line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object) {
                Some(row) if !is(&row, "isSidechain") => rows.push(row),
                Some(_) => {}
                None => {
                    input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON")
                }
            }
        }
        let Some(session) = session(&rows, &entry.path) else { continue };
        if done.insert(session.key.clone(), ()).is_none() {
            input.session(Some(session))?;
        }
    }
    Ok(())
}

fn is_turn(row: &Value) -> bool {
    matches!(text(row, "type"), "user" | "assistant" | "tool_result")
        || text(row, "subtype") == "mid_turn_user_message"
}

fn session(rows: &[Value], path: &str) -> Option<crate::Session> {
    let rows: Vec<&Value> = rows.iter().filter(|row| named(row, "uuid").is_some()).collect();
    let nodes = rows.iter().map(|row| Node {
        id: text(row, "uuid").to_owned(),
        parent: named(row, "parentUuid").map(str::to_owned),
        at: time::at(row, "timestamp"),
        shows: is_turn(row),
    });
    let dag = Dag::new(nodes.collect()).in_file_order();
    let shown = dag.path(dag.find(text(rows.last()?, "uuid"))?);
    let leaf = shown.iter().rev().find(|at| is_turn(rows[**at])).copied();
    let id_of = |at: usize| text(rows[at], "uuid").to_owned();
    let counts = |at: usize| matches!(text(rows[at], "type"), "user" | "assistant");
    let leaves = dag.others_that(&shown, &counts);
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            say(rows[*at], &mut turns);
        }
        turns.finish()
    };
    let others = leaves.iter().take(16).map(|leaf| told(&dag.path(*leaf)).messages).collect();
    let branch = crate::Branch {
        leaf: leaf.map(id_of),
        why: "the last record of the main chain",
        other_leaves: leaves.len(),
        continues: rows.iter().find_map(|row| match row.get("forkedFrom") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(from) => named(from, "sessionId").map(str::to_owned),
            None => None,
        }),
    };
    let title = rows.iter().rev().filter(|row| text(row, "subtype") == "custom_title");
    let title =
        title.filter_map(|row| row.pointer("/systemPayload/customTitle")).find_map(Value::as_str);
    let compaction =
        shown.iter().rev().find(|at| text(rows[**at], "subtype") == "chat_compression");
    let source_id = rows.iter().find_map(|row| named(row, "sessionId"));
    let mut session = source::session(Format::QwenCode, source_id, &[path], told(&shown))
        .titled(title)
        .working_in(rows.iter().find_map(|row| named(row, "cwd")))
        .branched(branch, others);
    session.context_from = compaction.map(|at| id_of(*at));
    Some(session)
}

fn say(row: &Value, turns: &mut Turns) {
    let head = Head::new(named(row, "uuid"), time::at(row, "timestamp"));
    let message = row.get("message").unwrap_or(&Value::Null);
    let payload = row.get("systemPayload").unwrap_or(&Value::Null);
    let status = row.pointer("/toolCallResult/status").and_then(Value::as_str);
    let status = status.map_or(Status::Unknown, Status::Told);
    match text(row, "type") {
        "user" => {
            turns.user(head);
            let shown = named(payload, "displayText");
            turns.text(shown.unwrap_or_default());
            for part in gemini_parts::parts(message) {
                if part.get("functionResponse").is_some() {
                    gemini_parts::part(part, &status, turns);
                } else if shown.is_none() || part.get("text").is_none() {
                    gemini_parts::part(part, &Status::Unknown, turns);
                }
            }
        }
        "assistant" => {
            turns.assistant(head.by(named(row, "model")));
            for part in gemini_parts::parts(message) {
                gemini_parts::part(part, &Status::Unknown, turns);
            }
        }
        "tool_result" => {
            turns.goes_on(head);
            for part in gemini_parts::parts(message) {
                // Other parts are what the tool gave the model to read.
                if ["functionResponse", "inlineData"].iter().any(|kind| part.get(kind).is_some()) {
                    gemini_parts::part(part, &status, turns);
                }
            }
        }
        "system" => match text(row, "subtype") {
            "chat_compression" => {
                turns.mark(COMPACTION, payload.get("info").cloned().unwrap_or_else(|| json!({})))
            }
            "mid_turn_user_message" => {
                turns.user(head);
                let fields = ["displayText", "text", "message", "content"];
                let words = payload
                    .as_str()
                    .or_else(|| fields.iter().find_map(|field| named(payload, field)));
                match words {
                    Some(words) => turns.text(words),
                    None => gemini_parts::parts(message)
                        .iter()
                        .for_each(|part| gemini_parts::part(part, &Status::Unknown, turns)),
                }
            }
            _ => {}
        },
        _ => {}
    }
}
