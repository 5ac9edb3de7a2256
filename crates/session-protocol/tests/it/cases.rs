//! The recorded cases: what upstream's readers made of a stream, and what is right where they err.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use session_protocol::materialize;

pub(crate) fn fixtures(folder: &str) -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("fixtures are in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect()
}

/// A string that holds JSON is that JSON.
fn js(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}

fn state(kind: &str, word: &str) -> String {
    let tanstack = [
        ("awaiting-input", "started"),
        ("input-streaming", "streaming"),
        ("input-complete", "ready"),
        ("approval-requested", "waiting"),
        ("approval-responded", "answered"),
        ("complete", "done"),
        ("error", "failed"),
    ];
    let aisdk = [
        ("input-streaming", "streaming"),
        ("input-available", "ready"),
        ("approval-requested", "waiting"),
        ("approval-responded", "answered"),
        ("output-available", "done"),
        ("output-error", "failed"),
        ("output-denied", "denied"),
    ];
    let table: &[(&str, &str)] = if kind == "tool-call" { &tanstack } else { &aisdk };
    table.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to).to_owned()
}

/// Parts of either side in one form.
fn canonical(parts: &Value) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    let mut tools: BTreeMap<String, usize> = BTreeMap::new();
    for part in parts.as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |name: &str| part.get(name).and_then(Value::as_str);
        let kind = text("type").unwrap_or_default();
        match kind {
            "text" => {
                let said = text("text").or_else(|| text("content")).unwrap_or_default();
                if !said.is_empty() {
                    out.push(json!(["text", said]));
                }
            }
            "thinking" | "reasoning" => {
                let said = text("text").or_else(|| text("content")).unwrap_or_default();
                out.push(json!(["reasoning", said]));
            }
            "tool-result" => {
                let id = text("toolCallId").unwrap_or_default();
                let content = js(part.get("content").unwrap_or(&Value::Null));
                if let Some(at) = tools.get(id) {
                    let failed = text("state") == Some("error") || part.get("error").is_some();
                    out[*at][6] = content;
                    out[*at][4] = json!(if failed { "failed" } else { "done" });
                } else {
                    out.push(json!(["result", id, content]));
                }
            }
            "error" => {}
            kind if kind == "dynamic-tool" || kind.starts_with("tool-") => {
                let id = text("id").or_else(|| text("toolCallId")).unwrap_or_default();
                let name = text("name").or_else(|| text("toolName")).unwrap_or_else(|| &kind[5..]);
                let arguments = match part.get("input") {
                    Some(input) if !input.is_null() => input.clone(),
                    _ => js(&json!(text("arguments").unwrap_or_default())),
                };
                let approval = part.get("approval").and_then(|a| a.get("id")).cloned();
                tools.insert(id.to_owned(), out.len());
                out.push(json!([
                    "tool",
                    id,
                    name,
                    arguments,
                    state(kind, text("state").unwrap_or_default()),
                    approval,
                    js(part.get("output").unwrap_or(&Value::Null)),
                ]));
            }
            other => out.push(json!(["other", other])),
        }
    }
    out
}

/// True when canonical parts have what a recommendation names.
fn has(wanted: &Value, got: &[Value]) -> bool {
    let wanted: Vec<&Value> = wanted
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter(|part| part["type"] != "tool-result")
        .collect();
    wanted.len() == got.len()
        && wanted.iter().zip(got).all(|(want, got)| match want["type"].as_str() {
            Some("text") => {
                let said = want.get("content").or_else(|| want.get("text"));
                got[0] == "text" && Some(&got[1]) == said
            }
            Some("tool-call") => {
                got[0] == "tool"
                    && got[1] == want["id"]
                    && want.get("output").is_none_or(|output| got[6] == js(output))
            }
            _ => true,
        })
}

fn ids(rows: &Value, name: &str) -> BTreeSet<String> {
    rows.as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|row| row.get(name).unwrap_or(row))
        .map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned))
        .collect()
}

/// What of a case does not match.
fn mismatches(case: &Value) -> Vec<String> {
    let events = case["events"].as_array().expect("events");
    let got = serde_json::to_value(materialize(events)).expect("serialises");
    let expect = &case["expect"];
    let none = Map::new();
    let recommended = case.get("recommended").and_then(Value::as_object).unwrap_or(&none);
    let mut bad = Vec::new();
    let hidden = ids(recommended.get("hiddenMessages").unwrap_or(&Value::Null), "id");
    if !hidden.is_subset(&ids(&got["hiddenMessages"], "id")) {
        bad.push("hidden messages".to_owned());
    }
    let over = recommended.get("messages").and_then(Value::as_object).unwrap_or(&none);
    if expect.get("messages").is_some() || !over.is_empty() {
        let wanted: Vec<&Value> = expect["messages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .filter(|m| !hidden.contains(m["id"].as_str().unwrap_or_default()))
            .collect();
        let wanted_ids: Vec<Value> = match recommended.get("messageIds").and_then(Value::as_array) {
            Some(ids) => ids.clone(),
            None => wanted.iter().map(|m| m["id"].clone()).collect(),
        };
        let have = got["messages"].as_array().expect("messages");
        let have_ids: Vec<Value> = have.iter().map(|m| m["id"].clone()).collect();
        if wanted_ids != have_ids {
            bad.push(format!("ids: want {wanted_ids:?}, got {have_ids:?}"));
        }
        for message in have {
            let id = message["id"].as_str().unwrap_or_default();
            let parts = canonical(&message["parts"]);
            if let Some(want) = over.get(id) {
                if want.get("parts").is_some_and(|wanted| !has(wanted, &parts)) {
                    bad.push(format!("{id}: parts {parts:?}"));
                }
                if want.get("text").is_some_and(|text| parts != [json!(["text", text])]) {
                    bad.push(format!("{id}: text {parts:?}"));
                }
                if want.get("isComplete").is_some_and(|c| *c != message["isComplete"]) {
                    bad.push(format!("{id}: isComplete"));
                }
                if want.get("error").is_some_and(|e| e["message"] != message["error"]["message"]) {
                    bad.push(format!("{id}: error"));
                }
            } else if let Some(want) = wanted.iter().find(|m| m["id"] == id)
                && want.get("parts").is_some()
            {
                let role = want.get("role").cloned().unwrap_or_else(|| json!("assistant"));
                if role != message["role"] {
                    bad.push(format!("{id}: role"));
                }
                if recommended.is_empty() {
                    let right = canonical(&want["parts"]);
                    if right != parts {
                        bad.push(format!("{id}: want {right:?}, got {parts:?}"));
                    }
                    let complete = want.get("isComplete").cloned().unwrap_or(json!(true));
                    if complete != message["isComplete"] {
                        bad.push(format!("{id}: isComplete"));
                    }
                }
            }
        }
        for (call, output) in
            recommended.get("toolOutputs").and_then(Value::as_object).unwrap_or(&none)
        {
            let found = have
                .iter()
                .flat_map(|m| canonical(&m["parts"]))
                .any(|part| part[0] == "tool" && part[1] == call.as_str() && part[6] == js(output));
            if !found {
                bad.push(format!("output of {call}"));
            }
        }
    }
    for wanted in recommended
        .get("approvals")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let status = if wanted["approved"] == true { "approved" } else { "denied" };
        let found = got["approvals"].as_array().expect("approvals").iter().any(|a| {
            a["id"] == wanted["id"]
                && a["status"] == status
                && a["respondedBy"] == wanted["respondedBy"]
        });
        if !found {
            bad.push(format!("approval {}", wanted["id"]));
        }
    }
    for (figure, value) in
        recommended.get("sessionStats").and_then(Value::as_object).unwrap_or(&none)
    {
        if got["sessionStats"][figure.as_str()] != *value {
            bad.push(format!("sessionStats.{figure}"));
        }
    }
    for (rows, name) in [
        ("pendingApprovals", "id"),
        ("activeGenerations", "messageId"),
        ("presence", "actorId"),
        ("agents", "agentId"),
    ] {
        let Some(wanted) = recommended.get(rows).or_else(|| expect.get(rows)) else { continue };
        let mut wanted = ids(wanted, name);
        if rows == "activeGenerations" {
            wanted.retain(|id| !hidden.contains(id));
        }
        let have = ids(&got[rows], name);
        if wanted != have {
            bad.push(format!("{rows}: want {wanted:?}, got {have:?}"));
        }
    }
    bad
}

#[test]
fn every_recorded_case_folds_as_it_should() {
    let mut failures = Vec::new();
    let cases = fixtures("wire-cases");
    assert!(cases.len() >= 33, "all cases are there");
    for (name, case) in cases {
        let bad = mismatches(&case);
        if !bad.is_empty() {
            failures.push(format!("{name}: {}", bad.join("; ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The same chunks are a bare stream's too; there the AI SDK itself is the reader.
#[test]
fn bare_ai_sdk_parts_are_those_of_the_ai_sdk_itself() {
    let cases = fixtures("wire-cases");
    let (_, case) = cases.iter().find(|(name, _)| name == "43-aisdk-rich").expect("the case");
    let chunks: Vec<Value> = case["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["value"]["messageId"] == "a1")
        .map(|event| js(&event["value"]["chunk"]))
        .collect();
    let session = materialize(&chunks);
    let message = session.messages.first().expect("the answer");
    let printed = serde_json::to_value(&session).expect("serialises");
    let got = printed["messages"][0]["parts"].as_array().expect("parts");
    let want = case["readUIMessageStream"]["a1"]["message"]["parts"].as_array().expect("parts");
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        for field in ["type", "text", "url", "title", "mediaType", "data"] {
            if let Some(value) = want.get(field) {
                assert_eq!(got.get(field), Some(value), "{field} of {want}");
            }
        }
    }
    assert!(message.is_complete);
}

/// What the facts of a fold case want and the fold does not give.
fn missing(case: &Value) -> Vec<String> {
    let items = case["items"].as_array().expect("items");
    let got = serde_json::to_value(materialize(items)).expect("serialises");
    let messages = got["messages"].as_array().expect("messages");
    let mut bad = Vec::new();
    for (id, want) in case["expect"]["messages"].as_object().into_iter().flatten() {
        let Some(message) = messages.iter().find(|message| message["id"] == id.as_str()) else {
            bad.push(format!("{id} is not there"));
            continue;
        };
        let parts: Vec<Value> = canonical(&message["parts"])
            .into_iter()
            .filter(|part| part[0] != "other")
            .map(|part| match part[0].as_str() {
                // id, name, input, state, output
                Some("tool") => json!(["tool", "*", part[2], part[3], part[4], part[6]]),
                _ => part,
            })
            .collect();
        if want["parts"] != json!(parts) {
            bad.push(format!("{id}: want {}, got {parts:?}", want["parts"]));
        }
        if want["complete"] != message["isComplete"] {
            bad.push(format!("{id}: isComplete"));
        }
    }
    if let Some(want) = case["expect"].get("asks_for") {
        let inbox: Vec<Value> = got["pendingApprovals"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| json!([one["toolName"], one["input"]]))
            .collect();
        let cards: Vec<Value> = messages
            .iter()
            .flat_map(|message| message["parts"].as_array().into_iter().flatten())
            .filter(|part| part["approval"].is_object() && part["approval"]["approved"].is_null())
            .map(|part| json!([part["name"], part["input"]]))
            .collect();
        if *want != json!(inbox) || *want != json!(cards) {
            bad.push(format!("asked for {inbox:?} on {cards:?}"));
        }
    }
    bad
}

#[test]
fn what_people_met_elsewhere_folds_as_it_should() {
    let cases = fixtures("fold-cases");
    assert_eq!(cases.len(), 3, "all cases are there");
    for (name, case) in cases {
        assert_eq!(missing(&case), Vec::<String>::new(), "{name}");
    }
}
