//! Goose: sessions and messages in a database, before 1.10 a log for each session.

use serde_json::{Value, json};

use crate::Format;
use crate::db::{self, Db, Rows};
use crate::json::{self, Lines, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{COMPACTION, Head, Of, Outcome, Turns};

/// Reads databases and logs.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        let head = input.tree.head(&entry, 16).unwrap_or_default();
        if head.starts_with(b"SQLite format 3\0") {
            db::read(input, &entry, &mut |input, db| database(input, &entry, db))?;
        } else {
            input.sink.file(&entry.path, entry.size);
            log(input, &entry)?;
        }
    }
    Ok(())
}

/// Whether sessions of this kind are a person's.
fn is_listed(kind: &str) -> bool {
    !matches!(kind, "hidden" | "sub_agent" | "subagent" | "subAgent" | "SubAgent")
}

fn database(input: &mut Input<'_>, entry: &Entry, db: &Db) -> Rows {
    let sessions = db.connection.prepare("SELECT * FROM sessions ORDER BY created_at, id");
    let messages = db.connection.prepare(
        "SELECT *, rowid AS place FROM messages WHERE session_id = ?1 ORDER BY created_timestamp, rowid",
    );
    let (Ok(mut sessions), Ok(mut messages)) = (sessions, messages) else { return Ok(None) };
    db::each(&mut sessions, [], &mut |row| {
        if !is_listed(&db::text(row, "session_type")) {
            return Ok(Some(()));
        }
        let id = db::text(row, "id");
        let about = json!({
            "name": db::text(row, "name"), "description": db::text(row, "description"),
            "working_dir": db::text(row, "working_dir"),
            "created": db::plain(row, "created_at"), "updated": db::plain(row, "updated_at"),
        });
        let model = db::value(row, "model_config_json");
        let model = model.as_ref().and_then(|model| named(model, "model_name"));
        let mut turns = Turns::default();
        let whole = db::each(&mut messages, [&id], &mut |row| {
            let own = db::named(row, "message_id")
                .unwrap_or_else(|| format!("row {}", db::text(row, "place")));
            let Some(Value::Array(content)) = db::value(row, "content_json") else {
                input.problem(format!("{} message {own} of {id}", entry.path), "it is not JSON");
                return Ok(Some(()));
            };
            let metadata = db::value(row, "metadata_json").unwrap_or_default();
            if metadata.get("userVisible") != Some(&Value::Bool(false)) {
                let head = Head::new(Some(&own), time::of(&db::plain(row, "created_timestamp")));
                say(&db::text(row, "role"), head.by(model), &content, &mut turns);
            }
            Ok(Some(()))
        })?;
        input.session(Some(session(Some(&id), &about, turns)))?;
        Ok(whole)
    })
}

fn session(id: Option<&str>, about: &Value, turns: Turns) -> crate::Session {
    source::session(Format::Goose, id, &[], turns.finish())
        .titled(named(about, "name").or_else(|| named(about, "description")))
        .dated(time::at(about, "created"), time::at(about, "updated"))
        .working_in(named(about, "working_dir"))
}

fn log(input: &mut Input<'_>, entry: &Entry) -> Result<(), Stop> {
    let Ok(from) = input.tree.read(entry) else {
        input.problem(&*entry.path, "it cannot be unpacked");
        return Ok(());
    };
    let mut about = Value::Null;
    let mut turns = Turns::default();
    for line in Lines::new(from) {
        let row = line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        let Some(row) = row else {
            input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON");
            continue;
        };
        if row.get("role").is_none() {
            about = row;
        } else if row.pointer("/metadata/userVisible") != Some(&Value::Bool(false)) {
            let head = Head::new(named(&row, "id"), time::at(&row, "created"));
            say(text(&row, "role"), head, list(&row, "content"), &mut turns);
        }
    }
    let id = entry.name().strip_suffix(".jsonl").or_else(|| named(&about, "id"));
    input.session(Some(session(id, &about, turns)))
}

fn say(role: &str, head: Head, content: &[Value], turns: &mut Turns) {
    let is_result = |item: &Value| text(item, "type") == "toolResponse";
    let only_results = !content.is_empty() && content.iter().all(is_result);
    if role == "user" && !only_results {
        turns.user(Head { author: None, ..head });
    } else if role == "user" {
        turns.goes_on(head);
    } else {
        turns.assistant(head);
    }
    for item in content {
        match text(item, "type") {
            "text" => turns.text_with_thoughts(text(item, "text")),
            "thinking" | "reasoning" => {
                turns.reasoning(named(item, "thinking").unwrap_or_else(|| text(item, "text")));
            }
            "image" => {
                turns.file(media::encoded(text(item, "data"), named(item, "mimeType"), None))
            }
            "toolRequest" | "frontendToolRequest" => request(item, turns),
            "toolResponse" => response(item, turns),
            "conversationCompacted" | "summarizationRequested" => turns.mark(COMPACTION, json!({})),
            "redactedThinking"
            | "toolConfirmationRequest"
            | "actionRequired"
            | "systemNotification"
            | "contextLengthExceeded"
            | "" => {}
            kind => turns.data(kind, item.clone()),
        }
    }
}

fn request(item: &Value, turns: &mut Turns) {
    let call = item.get("toolCall").unwrap_or(&Value::Null);
    let value = call.get("value").unwrap_or(call);
    let failed = text(call, "status") == "error";
    let outcome =
        failed.then(|| Outcome::failed(words::error_of(call.get("error").unwrap_or(&Value::Null))));
    let made = Call {
        id: named(item, "id").map(str::to_owned),
        name: named(value, "name").unwrap_or("tool").to_owned(),
        input: words::input_of(value.get("arguments")),
        ..Call::default()
    };
    turns.call_with(made, outcome);
}

fn response(item: &Value, turns: &mut Turns) {
    let result = item.get("toolResult").unwrap_or(&Value::Null);
    let value = result.get("value").unwrap_or(&Value::Null);
    let blocks = value.as_array().map_or_else(|| list(value, "content"), Vec::as_slice);
    let texts: Vec<Value> =
        blocks.iter().filter(|block| media::of_block(block).is_none()).cloned().collect();
    let is_error = value.get("isError") == Some(&Value::Bool(true));
    let outcome = if text(result, "status") == "error" {
        let error = words::error_of(result.get("error").unwrap_or(&Value::Null));
        let refused = error.contains("user has declined") || error.contains("declined by the user");
        if refused { Outcome::denied(error) } else { Outcome::failed(error) }
    } else if blocks.is_empty() && !value.is_array() && value.get("content").is_none() {
        Outcome::of(value, is_error)
    } else {
        Outcome::of(&Value::Array(texts), is_error)
    };
    if !turns.result(&Of::Id(text(item, "id")), outcome) {
        turns.stray_result("", value);
    }
    for file in blocks.iter().filter_map(media::of_block) {
        turns.file(file);
    }
}
