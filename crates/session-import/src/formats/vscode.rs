//! GitHub Copilot in VS Code: an object with requests, or a log of operations that make it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Format;
use crate::json::{self, Lines, is, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Outcome, Told, Turns};

/// Bytes of one session.
const MAX_FILE: u64 = 1 << 30;

/// Reads the sessions. Of a session in both forms the log is read.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut sessions: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in input.entries.clone() {
        let stem = entry.path.rsplit_once('.').map_or(&*entry.path, |(stem, _)| stem).to_owned();
        let known = sessions.get(&stem);
        if known.is_none_or(|known| !known.path.ends_with(".jsonl")) {
            sessions.insert(stem, entry);
        }
    }
    for entry in sessions.into_values() {
        input.sink.file(&entry.path, entry.size);
        let Some(state) = state(input, &entry) else { continue };
        let folder = folder(input, &entry);
        let session = session(&state, &entry).working_in(folder.as_deref());
        input.session(Some(session))?;
    }
    Ok(())
}

fn state(input: &mut Input<'_>, entry: &Entry) -> Option<Value> {
    let head = input.tree.head(entry, source::HEAD).unwrap_or_default();
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_log = first.len() > 1 && crate::shape::Shape::of(first).has("kind");
    if !is_log {
        let bytes = input.tree.whole(entry, MAX_FILE);
        let value = bytes.ok().and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        if value.is_none() {
            input.problem(&*entry.path, "it is not JSON, or too large");
        }
        return value;
    }
    let mut state = Value::Null;
    let Ok(from) = input.tree.read(entry) else {
        input.problem(&*entry.path, "it cannot be unpacked");
        return None;
    };
    for line in Lines::new(from) {
        let row = line
            .bytes
            .and_then(|bytes| json::parse(&bytes))
            .filter(|row| row.get("kind").is_some());
        match row {
            Some(row) => operate(&mut state, row),
            None => input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON"),
        }
    }
    Some(state)
}

/// Does one operation: 0 the whole state, 1 sets, 2 cuts a list and adds to it, 3 deletes.
fn operate(state: &mut Value, mut row: Value) {
    let value = row.get_mut("v").map(Value::take).unwrap_or_default();
    let path = list(&row, "k");
    match row.get("kind").and_then(Value::as_u64) {
        Some(0) => *state = value,
        Some(1) => {
            if let Some(place) = place(state, path) {
                *place = value;
            }
        }
        Some(2) => {
            let Some(place) = place(state, path) else { return };
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let Some(items) = place.as_array_mut() else { return };
            if let Some(cut) = row.get("i").and_then(Value::as_u64) {
                items.truncate(usize::try_from(cut).unwrap_or(usize::MAX));
            }
            match value {
                Value::Array(more) => items.extend(more),
                Value::Null => {}
                one => items.push(one),
            }
        }
        Some(3) => {
            let Some((last, above)) = path.split_last() else { return };
            match (place(state, above), last) {
                (Some(Value::Object(fields)), Value::String(name)) => {
                    fields.remove(name);
                }
                (Some(Value::Array(items)), Value::Number(at)) => {
                    let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                    if let Some(at) = at.filter(|at| *at < items.len()) {
                        items.remove(at);
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

/// The place at a path; fields that are not there are made, places in lists only at their end.
fn place<'a>(mut at: &'a mut Value, path: &[Value]) -> Option<&'a mut Value> {
    for step in path {
        at = match step {
            Value::String(name) => {
                if at.is_null() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut()?.entry(name.clone()).or_insert(Value::Null)
            }
            Value::Number(index) => {
                let index = usize::try_from(index.as_u64()?).ok()?;
                let items = at.as_array_mut()?;
                if index == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
    Some(at)
}

/// The folder of the workspace, which a file above the sessions names.
fn folder(input: &Input<'_>, entry: &Entry) -> Option<String> {
    let above = entry.folder().strip_suffix("chatSessions")?;
    let path = format!("{above}workspace.json");
    let file = input.tree.named("workspace.json").find(|entry| entry.path == path)?;
    let about = json::parse(&input.tree.whole(file, 64 << 10).ok()?)?;
    let folder = named(&about, "folder")?;
    Some(folder.strip_prefix("file://").unwrap_or(folder).replace("%20", " "))
}

fn session(state: &Value, entry: &Entry) -> crate::Session {
    let requests = list(state, "requests");
    let mut turns = Turns::default();
    for request in requests {
        say(request, &mut turns);
    }
    let told: Told = turns.finish();
    let first = requests.first().map_or("", |request| text(request, "requestId"));
    let seed = [if first.is_empty() { entry.path.as_str() } else { first }];
    let mut session =
        source::session(Format::VsCodeCopilot, named(state, "sessionId"), &seed, told)
            .titled(named(state, "customTitle"))
            .dated(time::at(state, "creationDate"), time::at(state, "lastMessageDate"));
    session.interrupted = requests.last().is_some_and(|request| is(request, "isCanceled"));
    session
}

fn say(request: &Value, turns: &mut Turns) {
    let at = time::at(request, "timestamp");
    turns.user(Head::new(named(request, "requestId"), at));
    let message = request.get("message").unwrap_or(&Value::Null);
    turns.text(message.as_str().unwrap_or_else(|| text(message, "text")));
    for variable in
        request.pointer("/variableData/variables").and_then(Value::as_array).into_iter().flatten()
    {
        let name = named(variable, "name");
        match text(variable, "kind") {
            "image" => {
                turns.file(media::missing(name, named(variable, "mimeType").or(Some("image/*"))))
            }
            "file" => turns.file(media::missing(name.map(media::base_name), None)),
            _ => {}
        }
    }
    let head = Head::new(named(request, "responseId"), at.map(time::just_after));
    turns.assistant(head.by(named(request, "modelId")));
    for item in list(request, "response") {
        respond(item, turns);
    }
}

/// A string, or Markdown with its string inside.
fn markdown(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| text(value, "value"))
}

fn respond(item: &Value, turns: &mut Turns) {
    let value = item.get("value").unwrap_or(&Value::Null);
    match text(item, "kind") {
        "" => turns.more_text(markdown(value)),
        "markdownContent" | "markdownVuln" => {
            turns.more_text(markdown(item.get("content").unwrap_or(&Value::Null)));
        }
        "thinking" => match value {
            Value::Array(pieces) => {
                let pieces: Vec<&str> = pieces.iter().filter_map(Value::as_str).collect();
                turns.reasoning(&pieces.concat());
            }
            other => turns.reasoning(markdown(other)),
        },
        "inlineReference" => {
            let reference = item.get("inlineReference").unwrap_or(&Value::Null);
            let location =
                reference.get("location").or_else(|| reference.get("uri")).unwrap_or(reference);
            let location = location.get("uri").unwrap_or(location);
            let path = named(location, "path").or_else(|| named(location, "fsPath"));
            let name = named(item, "name").or_else(|| named(reference, "name"));
            let name = name.or_else(|| path.map(media::base_name)).unwrap_or_default();
            if !name.is_empty() {
                turns.more_text(&format!("`{name}`"));
            }
        }
        "toolInvocationSerialized" | "toolInvocation" => call(item, turns),
        _ => {}
    }
}

fn call(item: &Value, turns: &mut Turns) {
    let details = item.get("resultDetails").unwrap_or(&Value::Null);
    let specific = item.get("toolSpecificData").unwrap_or(&Value::Null);
    let command = specific.pointer("/commandLine/original").or_else(|| specific.get("command"));
    let input = match (named(details, "input"), specific.get("rawInput"), command) {
        (Some(input), ..) => words::json_or_text(input),
        (None, Some(input), _) => input.clone(),
        (None, None, Some(command)) => serde_json::json!({"command": command}),
        _ => Value::Object(Map::new()),
    };
    let outputs =
        list(details, "output").iter().filter(|one| one.get("isText") != Some(&Value::Bool(false)));
    let outputs: Vec<&str> = outputs.filter_map(|one| named(one, "value")).collect();
    let printed = specific.pointer("/terminalCommandOutput/text").and_then(Value::as_str);
    let output = match outputs.is_empty() {
        false => Value::String(words::clean(&outputs.join("\n"))),
        true => printed.map_or(Value::Null, |text| Value::String(words::clean(text))),
    };
    // What a confirmation was: 0 denied, 5 skipped.
    let confirmed = item.get("isConfirmed").unwrap_or(&Value::Null);
    let kind = confirmed.get("type").and_then(Value::as_u64);
    let refused = confirmed == &Value::Bool(false) || matches!(kind, Some(0 | 5));
    let outcome = if refused {
        Some(Outcome::denied(String::new()))
    } else if is(details, "isError") {
        Some(Outcome::failed(words::error_of(&output)))
    } else {
        is(item, "isComplete").then(|| Outcome::done(output))
    };
    let made = Call {
        id: named(item, "toolCallId").map(str::to_owned),
        name: text(item, "toolId").to_owned(),
        input,
        ..Call::default()
    };
    turns.call_with(made, outcome);
}
