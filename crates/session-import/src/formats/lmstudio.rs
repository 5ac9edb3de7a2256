//! LM Studio: a file for each conversation, whose messages have versions.
//!
//! There are no ids: a conversation is told apart by when it was made, a message by its place.

use std::collections::HashMap;

use serde_json::Value;

use crate::Format;
use crate::json::{self, list, named, text};
use crate::media;
use crate::model::{Branch, Call, CallState};
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Tree;
use crate::turns::{Head, Of, Outcome, Told, Turns};

/// Bytes of one conversation.
const MAX_FILE: u64 = 256 << 20;

/// Reads the conversations.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let bytes = input.tree.whole(&entry, MAX_FILE);
        let Some(value) = bytes.ok().and_then(|bytes| json::parse(&bytes)) else {
            input.problem(&*entry.path, "it is not JSON, or too large");
            continue;
        };
        for (at, message) in list(&value, "messages").iter().enumerate() {
            if list(message, "versions").is_empty() {
                input.problem(
                    format!("{} message {}", entry.path, at + 1),
                    "a message that is none",
                );
            }
        }
        let made = value.get("createdAt").map_or_else(String::new, Value::to_string);
        let stem = entry.name().trim_end_matches(".json").trim_end_matches(".conversation");
        let seed = if time::at(&value, "createdAt").is_some() { made.as_str() } else { stem };
        let session = conversation(&value, seed, input.tree);
        input.session(Some(session))?;
    }
    Ok(())
}

fn conversation(value: &Value, seed: &str, tree: &Tree) -> crate::Session {
    let messages: Vec<&Value> = list(value, "messages")
        .iter()
        .filter(|message| !list(message, "versions").is_empty())
        .collect();
    let selected: Vec<usize> = messages
        .iter()
        .map(|message| {
            let last = list(message, "versions").len() - 1;
            let chosen = message.get("currentlySelected").and_then(Value::as_u64);
            chosen.and_then(|at| usize::try_from(at).ok()).map_or(last, |at| at.min(last))
        })
        .collect();
    let told = |upto: usize, version: Option<usize>| -> Told {
        let mut turns = Turns::default();
        for (at, message) in messages.iter().take(upto).enumerate() {
            let version = version.filter(|_| at + 1 == upto).unwrap_or(selected[at]);
            say(&list(message, "versions")[version], at, tree, &mut turns);
        }
        turns.finish()
    };
    let mut others = Vec::new();
    let mut count = 0;
    for (at, message) in messages.iter().enumerate() {
        for version in (0..list(message, "versions").len()).filter(|one| *one != selected[at]) {
            count += 1;
            if others.len() < 8 {
                others.push(told(at + 1, Some(version)).messages);
            }
        }
    }
    let field = |key: &str| {
        let fields = value.pointer("/perChatPredictionConfig/fields").and_then(Value::as_array)?;
        let field = fields.iter().find(|field| text(field, "key") == key)?;
        named(field, "value")
    };
    let system = messages.iter().zip(&selected).find_map(|(message, at)| {
        let version = list(message, "versions").get(*at)?;
        let is_system = text(version, "role") == "system";
        is_system.then(|| version.pointer("/content/0/text").and_then(Value::as_str)).flatten()
    });
    let prompt =
        named(value, "systemPrompt").or_else(|| field("llm.prediction.systemPrompt")).or(system);
    let branch = Branch {
        leaf: None,
        why: "currentlySelected of each message",
        other_leaves: count,
        continues: None,
    };
    source::session(Format::LmStudio, None, &[seed], told(messages.len(), None))
        .titled(named(value, "name"))
        .dated(time::at(value, "createdAt"), time::at(value, "userLastMessagedAt"))
        .prompted(prompt)
        .branched(branch, others)
}

fn say(version: &Value, at: usize, tree: &Tree, turns: &mut Turns) {
    let head = Head::new(Some(&format!("message {at}")), None);
    match text(version, "role") {
        "user" => {
            turns.user(head);
            for item in list(version, "content") {
                content(item, false, &HashMap::new(), tree, turns);
            }
        }
        "system" => {}
        _ => {
            let sender = version.pointer("/senderInfo/senderName").and_then(Value::as_str);
            turns.assistant(head.by(sender));
            for item in list(version, "content") {
                content(item, false, &HashMap::new(), tree, turns);
            }
            steps(list(version, "steps"), tree, turns);
        }
    }
}

/// The id of a call, which may be a number.
fn id_of(value: &Value, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| match value.get(*field)? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    })
}

fn steps(steps: &[Value], tree: &Tree, turns: &mut Turns) {
    let statuses: HashMap<String, &Value> = steps
        .iter()
        .filter(|step| text(step, "type") == "toolStatus")
        .filter_map(|step| Some((id_of(step, &["callId"])?, step.pointer("/statusState/status")?)))
        .collect();
    for step in steps.iter().filter(|step| text(step, "type") == "contentBlock") {
        let thinks = step.pointer("/style/type").and_then(Value::as_str) == Some("thinking");
        for item in list(step, "content") {
            content(item, thinks, &statuses, tree, turns);
        }
    }
}

fn content(
    item: &Value,
    thinks: bool,
    statuses: &HashMap<String, &Value>,
    tree: &Tree,
    turns: &mut Turns,
) {
    match text(item, "type") {
        "text" if thinks => turns.reasoning(text(item, "text")),
        "text" => turns.text_with_thoughts(text(item, "text")),
        "file" => {
            let name = named(item, "fileIdentifier").or_else(|| named(item, "name"));
            let kind = match text(item, "fileType") {
                "image" => Some("image/*"),
                kind if kind.contains('/') => Some(kind),
                _ => None,
            };
            let kind = name.and_then(media::type_of_name).or(kind);
            let beside = name.and_then(|name| tree.named(name).next());
            let bytes = beside.and_then(|entry| tree.whole(entry, media::MAX_FILE as u64).ok());
            turns.file(match bytes {
                Some(bytes) => media::of_bytes(name, kind, bytes),
                None => media::missing(name, kind),
            });
        }
        "toolCallRequest" => {
            let id = id_of(item, &["callId", "toolCallRequestId"]);
            let outcome =
                id.as_ref().and_then(|id| statuses.get(id)).and_then(|status| ended(status));
            let input = item.get("parameters").or_else(|| item.get("arguments"));
            let call = Call {
                id,
                name: text(item, "name").to_owned(),
                input: words::input_of(input),
                state: CallState::Ready,
                ..Call::default()
            };
            turns.call_with(call, outcome);
        }
        "toolCallResult" => {
            let id = id_of(item, &["toolCallId", "callId"]).unwrap_or_default();
            let value = match item.get("content") {
                Some(Value::String(content)) => words::json_or_text(content),
                Some(other) => other.clone(),
                None => Value::Null,
            };
            let outcome = match statuses.get(&id).and_then(|status| ended(status)) {
                Some(known) if known.state == CallState::Failed => {
                    Outcome::failed(words::error_of(&value))
                }
                Some(known) => known,
                None => Outcome::of(&value, false),
            };
            if !turns.result(&Of::Id(&id), outcome) {
                turns.stray_result("", &value);
            }
        }
        "" => {}
        kind => turns.data(kind, item.clone()),
    }
}

/// How a call ended by its status, where it did not succeed.
fn ended(status: &Value) -> Option<Outcome> {
    let kind = text(status, "type");
    let why = || {
        let error = status.get("error").or_else(|| status.get("denyReason"));
        error.map(words::error_of).unwrap_or_default()
    };
    if kind.contains("Denied") || kind.contains("Rejected") || kind.contains("Cancel") {
        Some(Outcome::denied(why()))
    } else if kind.contains("Fail") || kind.contains("Error") {
        Some(Outcome::failed(why()))
    } else {
        None
    }
}
