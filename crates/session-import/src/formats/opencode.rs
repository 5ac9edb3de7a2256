//! OpenCode: sessions, messages and parts, in a database or, before 1.2, in a file each. Both may lie there with different
//! sessions.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::Format;
use crate::db::{self, Db, Rows};
use crate::json::{self, is, list, named, text};
use crate::media;
use crate::model::{Call, Role};
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{COMPACTION, Head, Outcome, Turns};

/// Bytes of a file of a session, a message or a part.
const MAX_FILE: u64 = 256 << 20;

/// A message with its parts in order.
struct Row {
    id: String,
    at: Value,
    data: Value,
    parts: Vec<(String, Value)>,
}

/// Reads databases, then the files of what is in none of them.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut done = HashSet::new();
    let mut files = Vec::new();
    for entry in input.entries.clone() {
        let head = input.tree.head(&entry, 16).unwrap_or_default();
        if !head.starts_with(b"SQLite format 3\0") {
            files.push(entry);
            continue;
        }
        db::read(input, &entry, &mut |input, db| database(input, &entry, db, &mut done))?;
    }
    stored(input, &files, &mut done)
}

fn database(input: &mut Input<'_>, entry: &Entry, db: &Db, done: &mut HashSet<String>) -> Rows {
    let sessions = db.connection.prepare("SELECT * FROM session ORDER BY time_created, id");
    let messages = db
        .connection
        .prepare("SELECT * FROM message WHERE session_id = ?1 ORDER BY time_created, id");
    let parts = db.connection.prepare("SELECT * FROM part WHERE message_id = ?1 ORDER BY id");
    let (Ok(mut sessions), Ok(mut messages), Ok(mut parts)) = (sessions, messages, parts) else {
        return Ok(None);
    };
    db::each(&mut sessions, [], &mut |row| {
        let id = db::text(row, "id");
        if db::named(row, "parent_id").is_some() || !done.insert(id.clone()) {
            return Ok(Some(()));
        }
        let about = json!({
            "id": id, "title": db::text(row, "title"), "directory": db::text(row, "directory"),
            "revert": db::value(row, "revert"),
            "time": {"created": db::plain(row, "time_created"), "updated": db::plain(row, "time_updated")},
        });
        let mut found = Vec::new();
        let whole = db::each(&mut messages, [&id], &mut |row| {
            let own = db::text(row, "id");
            let Some(data) = db::value(row, "data").filter(Value::is_object) else {
                input.problem(format!("{} message {own}", entry.path), "it is not JSON");
                return Ok(Some(()));
            };
            let mut pieces = Vec::new();
            let whole = db::each(&mut parts, [&own], &mut |row| {
                let part = db::text(row, "id");
                match db::value(row, "data").filter(Value::is_object) {
                    Some(data) => pieces.push((part, data)),
                    None => input.problem(format!("{} part {part}", entry.path), "it is not JSON"),
                }
                Ok(Some(()))
            });
            found.push(Row { id: own, at: db::plain(row, "time_created"), data, parts: pieces });
            whole
        })?;
        // What could be read of a damaged one is shown.
        input.session(Some(session(&about, found)))?;
        Ok(whole)
    })
}

/// Reads `session/PROJECT/SESSION.json`, `message/SESSION/MESSAGE.json`, `part/MESSAGE/PART.json`.
fn stored(input: &mut Input<'_>, files: &[Entry], done: &mut HashSet<String>) -> Result<(), Stop> {
    let mut by_folder: BTreeMap<(String, String), Vec<Entry>> = BTreeMap::new();
    for entry in files {
        let mut folders = entry.folder().rsplit('/');
        let (inner, kind) =
            (folders.next().unwrap_or_default(), folders.next().unwrap_or_default());
        by_folder.entry((kind.to_owned(), inner.to_owned())).or_default().push(entry.clone());
    }
    let sessions: Vec<Entry> = by_folder
        .iter()
        .filter(|((kind, _), _)| kind == "session")
        .flat_map(|(_, entries)| entries.clone())
        .collect();
    let read = |input: &mut Input<'_>, entry: &Entry| {
        let bytes = input.tree.whole(entry, MAX_FILE);
        let value = bytes.ok().and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        if value.is_none() {
            input.problem(&*entry.path, "it is not JSON, or too large");
        }
        value
    };
    let in_folder = |kind: &str, inner: &str| {
        by_folder.get(&(kind.to_owned(), inner.to_owned())).cloned().unwrap_or_default()
    };
    for entry in sessions {
        input.sink.file(&entry.path, entry.size);
        let Some(about) = read(input, &entry) else { continue };
        let id = named(&about, "id")
            .unwrap_or_else(|| entry.name().trim_end_matches(".json"))
            .to_owned();
        if named(&about, "parentID").is_some() || !done.insert(id.clone()) {
            continue;
        }
        let mut rows = Vec::new();
        for entry in in_folder("message", &id) {
            let Some(data) = read(input, &entry) else { continue };
            let own = named(&data, "id")
                .unwrap_or_else(|| entry.name().trim_end_matches(".json"))
                .to_owned();
            let mut parts = Vec::new();
            for entry in in_folder("part", &own) {
                if let Some(part) = read(input, &entry) {
                    let id = named(&part, "id").unwrap_or_else(|| entry.name());
                    parts.push((id.to_owned(), part));
                }
            }
            parts.sort_by(|a, b| a.0.cmp(&b.0));
            let at = data.pointer("/time/created").cloned().unwrap_or_default();
            rows.push(Row { id: own, at, data, parts });
        }
        rows.sort_by(|a, b| (time::of(&a.at), &a.id).cmp(&(time::of(&b.at), &b.id)));
        input.session(Some(session(&about, rows)))?;
    }
    Ok(())
}

fn session(about: &Value, mut rows: Vec<Row>) -> crate::Session {
    revert(about.get("revert").unwrap_or(&Value::Null), &mut rows);
    let mut turns = Turns::default();
    let mut asked = false; // a compaction was asked for, and its summary comes
    let (mut context_from, mut interrupted, mut touched) = (None, false, Vec::new());
    for row in &rows {
        let summary = is(&row.data, "summary") && text(&row.data, "role") == "assistant";
        let asks = row.parts.iter().any(|(_, part)| text(part, "type") == "compaction");
        if std::mem::take(&mut asked) || summary {
            let words = row.parts.iter().filter(|_| summary).map(|(_, part)| text(part, "text"));
            let words = words.collect::<Vec<_>>().join("\n");
            turns.mark(COMPACTION, json!({"summary": words}));
        }
        if summary {
            context_from = Some(row.id.clone());
            continue;
        }
        asked = asks;
        interrupted = say(row, &mut turns, &mut touched);
    }
    if asked {
        turns.mark(COMPACTION, json!({}));
    }
    let time = |field: &str| about.pointer(&format!("/time/{field}")).and_then(time::of);
    let mut session = source::session(Format::OpenCode, named(about, "id"), &[], turns.finish())
        .titled(named(about, "title"))
        .dated(time("created"), time("updated"))
        .working_in(named(about, "directory"));
    // A compaction behind it does not finish an answer.
    let last = rows
        .iter()
        .rev()
        .find(|row| text(&row.data, "role") == "assistant" && !is(&row.data, "summary"));
    session.interrupted = interrupted || last.is_some_and(is_broken_off);
    session.context_from = context_from;
    session.touched_files = touched;
    session
}

/// Hides what was taken back: a message and all behind it, or a part and all behind it.
fn revert(revert: &Value, rows: &mut Vec<Row>) {
    let Some(message) = named(revert, "messageID") else { return };
    let Some(at) = rows.iter().position(|row| row.id == message) else { return };
    match named(revert, "partID")
        .and_then(|part| rows[at].parts.iter().position(|(id, _)| id == part))
    {
        Some(part) => {
            rows[at].parts.truncate(part);
            rows.truncate(at + 1);
        }
        None => rows.truncate(at),
    }
}

fn is_broken_off(row: &Row) -> bool {
    let aborted =
        row.data.pointer("/error/name").and_then(Value::as_str) == Some("MessageAbortedError");
    let running = row.parts.iter().any(|(_, part)| {
        matches!(part.pointer("/state/status").and_then(Value::as_str), Some("running" | "pending"))
    });
    aborted || running
}

/// Says a message; whether it was broken off.
fn say(row: &Row, turns: &mut Turns, touched: &mut Vec<String>) -> bool {
    let head = Head::new(Some(&row.id), time::of(&row.at));
    let role = if text(&row.data, "role") == "user" { Role::User } else { Role::Assistant };
    let model = named(&row.data, "modelID");
    turns.entry(role, if role == Role::Assistant { head.by(model) } else { head });
    for (_, part) in &row.parts {
        match text(part, "type") {
            "text" if is(part, "synthetic") || is(part, "ignored") => {}
            "text" => turns.text(text(part, "text")),
            "reasoning" => turns.reasoning(text(part, "text")),
            "file" => turns.file(media::by_url(
                text(part, "url"),
                named(part, "mime"),
                named(part, "filename"),
            )),
            "tool" => tool(part, turns),
            "patch" => {
                for file in list(part, "files").iter().filter_map(Value::as_str) {
                    if !touched.iter().any(|known| known == file) {
                        touched.push(file.to_owned());
                    }
                }
            }
            "subtask" => turns.data("subtask", part.clone()),
            _ => {}
        }
    }
    let error = row.data.get("error").filter(|error| error.is_object());
    if let Some(error) = error
        && text(error, "name") != "MessageAbortedError"
    {
        turns.data("error", error.clone());
    }
    role == Role::Assistant && is_broken_off(row)
}

fn tool(part: &Value, turns: &mut Turns) {
    let state = part.get("state").unwrap_or(&Value::Null);
    let name = text(part, "tool");
    let outcome = match text(state, "status") {
        "completed" => {
            let output = state.get("output").unwrap_or(&Value::Null);
            Some(Outcome::of(output, name == "invalid"))
        }
        "error" => {
            let error = words::error_of(state.get("error").unwrap_or(&Value::Null));
            let refused = error.contains("rejected permission") || error.contains("user dismissed");
            Some(if refused { Outcome::denied(error) } else { Outcome::failed(error) })
        }
        _ => None,
    };
    let call = Call {
        id: named(part, "callID").map(str::to_owned),
        name: name.to_owned(),
        input: words::input_of(state.get("input")),
        ..Call::default()
    };
    turns.call_with(call, outcome);
    for file in list(state, "attachments") {
        turns.file(media::by_url(text(file, "url"), named(file, "mime"), named(file, "filename")));
    }
}
