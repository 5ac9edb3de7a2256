//! Jan: a folder for each thread, with `thread.json` and `messages.jsonl`; on phones the same JSON in a database.
//!
//! Jan itself refuses a thread with one bad line. Here a line costs itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Format;
use crate::dag::{Dag, Node};
use crate::db::{self, Db};
use crate::json::{self, Lines, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text::{self as words, Stretch};
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Outcome, Told, Turns};

/// Bytes of a `thread.json`.
const MAX_THREAD: u64 = 16 << 20;

/// Reads the threads.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut threads: BTreeMap<String, (Option<Entry>, Option<Entry>)> = BTreeMap::new();
    for entry in input.entries.clone() {
        let head = input.tree.head(&entry, source::HEAD).unwrap_or_default();
        if head.starts_with(b"SQLite format 3\0") {
            db::read(input, &entry, &mut |input, db| database(input, &entry, db))?;
            continue;
        }
        let is_lines = head.windows(16).any(|at| at == b"\"thread.message\"");
        // Files that lie side by side without folders are threads of their own.
        let known = threads.entry(entry.folder().to_owned()).or_default();
        let place = if is_lines { &mut known.1 } else { &mut known.0 };
        if place.is_some() {
            let own = entry.path.clone();
            threads.entry(own).or_default().1 = Some(entry).filter(|_| is_lines);
        } else {
            *place = Some(entry);
        }
    }
    for (_, (thread, messages)) in threads {
        self::thread(input, thread.as_ref(), messages.as_ref())?;
    }
    Ok(())
}

fn thread(
    input: &mut Input<'_>,
    thread: Option<&Entry>,
    messages: Option<&Entry>,
) -> Result<(), Stop> {
    let about = thread.and_then(|entry| {
        let read = input.tree.whole(entry, MAX_THREAD).ok().and_then(|bytes| json::parse(&bytes));
        if read.is_none() {
            input.problem(&*entry.path, "it is not JSON");
        }
        read
    });
    let about = about.unwrap_or(Value::Null);
    let Some(entry) = messages else { return Ok(()) };
    input.sink.file(&entry.path, entry.size);
    let Ok(from) = input.tree.read(entry) else {
        input.problem(&*entry.path, "it cannot be unpacked");
        return Ok(());
    };
    let mut rows = Vec::new();
    for line in Lines::new(from) {
        let row = line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        match row {
            Some(row) => rows.push(row),
            None => input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON"),
        }
    }
    tell(input, &about, &rows, entry)
}

fn database(input: &mut Input<'_>, entry: &Entry, db: &Db) -> db::Rows {
    let order = if db.has("messages", &["created_at"]) { "created_at, rowid" } else { "rowid" };
    let sql = format!("SELECT data FROM messages WHERE thread_id = ?1 ORDER BY {order}");
    let Ok(mut messages) = db.connection.prepare(&sql) else { return Ok(None) };
    let Ok(mut threads) = db.connection.prepare("SELECT id, data FROM threads ORDER BY rowid")
    else {
        return Ok(None);
    };
    db::each(&mut threads, [], &mut |row| {
        let id = db::text(row, "id");
        let mut about = db::value(row, "data").filter(Value::is_object).unwrap_or_else(|| {
            input.problem(format!("{} thread {id}", entry.path), "it is not JSON");
            Value::Object(serde_json::Map::new())
        });
        about["id"] = id.clone().into();
        let mut rows = Vec::new();
        let whole = db::each(&mut messages, [&id], &mut |row| {
            match db::value(row, "data").filter(Value::is_object) {
                Some(data) => rows.push(data),
                None => input.problem(format!("{} thread {id}", entry.path), "it is not JSON"),
            }
            Ok(Some(()))
        })?;
        tell(input, &about, &rows, entry)?;
        Ok(whole)
    })
}

/// Hands on a thread.
fn tell(input: &mut Input<'_>, about: &Value, rows: &[Value], entry: &Entry) -> Result<(), Stop> {
    let id =
        |at: usize| named(&rows[at], "id").map_or_else(|| format!("message {at}"), str::to_owned);
    let nodes = rows.iter().enumerate().map(|(at, row)| Node {
        id: id(at),
        parent: row
            .pointer("/metadata/parentId")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| at.checked_sub(1).map(id)),
        at: time::at(row, "created_at"),
        shows: matches!(text(row, "role"), "user" | "assistant"),
    });
    let dag = Dag::new(nodes.collect()).in_file_order();
    let Some(paths) = source::paths(&dag, None, &id) else { return Ok(()) };
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            say(&rows[*at], &mut turns);
        }
        turns.finish()
    };
    let folder = Some(entry.folder().rsplit('/').next().unwrap_or_default());
    let source_id = named(about, "id")
        .or_else(|| rows.iter().find_map(|row| named(row, "thread_id")))
        .or(folder.filter(|folder| !folder.is_empty()));
    let session = source::session(Format::Jan, source_id, &[&entry.path], told(&paths.shown));
    let assistant = list(about, "assistants").first().unwrap_or(&Value::Null);
    let system = rows.iter().find(|row| text(row, "role") == "system");
    let system =
        system.and_then(|row| row.pointer("/content/0/text/value")).and_then(Value::as_str);
    let mut session = session
        .titled(named(about, "title"))
        .dated(time::at(about, "created"), time::at(about, "updated"))
        .prompted(named(assistant, "instructions").or(system));
    if paths.branch.other_leaves > 0 {
        let others = paths.others.iter().map(|path| told(path).messages).collect();
        session = session.branched(paths.branch, others);
    }
    input.session(Some(session))
}

/// Says a row: what was thought, what was called, what was said.
fn say(row: &Value, turns: &mut Turns) {
    let at = time::at(row, "created_at").or_else(|| time::at(row, "completed_at"));
    let head = Head::new(named(row, "id"), at);
    let is_user = match text(row, "role") {
        "user" => true,
        "assistant" | "tool" => false,
        _ => return,
    };
    if is_user {
        turns.user(head)
    } else {
        turns.assistant(head)
    }
    let said = |block: &Value| match block.get("text") {
        Some(Value::String(words)) => words::clean(words),
        Some(inner) => words::clean(text(inner, "value")),
        None => String::new(),
    };
    let blocks = list(row, "content");
    let mut texts = Vec::new();
    for block in blocks {
        match text(block, "type") {
            "reasoning" => turns.reasoning(&said(block)),
            "text" | "" if is_user => texts.push(said(block)),
            "text" | "" => {
                let words = said(block);
                for stretch in words::stretches(&words) {
                    match stretch {
                        Stretch::Thought(thought) => turns.reasoning(thought.trim()),
                        Stretch::Said(words) => texts.push(words.to_owned()),
                    }
                }
            }
            _ => {}
        }
    }
    for call in row.pointer("/metadata/tool_calls").and_then(Value::as_array).into_iter().flatten()
    {
        self::call(call, turns);
    }
    for text in texts {
        turns.text(&text);
    }
    for block in blocks {
        let kind = text(block, "type");
        if matches!(kind, "reasoning" | "text" | "") {
        } else if let Some(file) = media::of_block(block) {
            turns.file(file);
        } else {
            turns.data(kind, block.clone());
        }
    }
}

fn call(call: &Value, turns: &mut Turns) {
    let tool = call.get("tool").unwrap_or(call);
    let function = tool.get("function").unwrap_or(tool);
    let response = call.get("response").filter(|response| !response.is_null());
    let error = response.and_then(|response| named(response, "error"));
    let outcome = match (text(call, "state"), response) {
        ("denied" | "rejected" | "cancelled", _) => {
            Some(Outcome::denied(error.unwrap_or_default().to_owned()))
        }
        (_, None) => None,
        (_, Some(response)) => Some(match error {
            Some(error) => Outcome::failed(error.to_owned()),
            None => Outcome::of(response, response.get("isError") == Some(&Value::Bool(true))),
        }),
    };
    let made = Call {
        id: named(tool, "id").map(str::to_owned),
        name: text(function, "name").to_owned(),
        input: words::input_of(function.get("arguments")),
        ..Call::default()
    };
    turns.call_with(made, outcome);
}
