//! Zed's threads: a row each, JSON plain or packed.

use std::io::Read;

use serde_json::Value;

use crate::Format;
use crate::db::{self, Db, Rows};
use crate::json::{self, is, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Of, Outcome, Told, Turns};

/// Bytes that a thread unpacks to.
const MAX_THREAD: u64 = 256 << 20;

/// Reads the databases.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        db::read(input, &entry, &mut |input, db| database(input, &entry, db))?;
    }
    Ok(())
}

fn database(input: &mut Input<'_>, entry: &Entry, db: &Db) -> Rows {
    let has_parents = db.has("threads", &["parent_id"]);
    let is_main = if has_parents { "parent_id IS NULL OR parent_id = ''" } else { "1" };
    let sql = format!("SELECT * FROM threads WHERE {is_main} ORDER BY rowid");
    let Ok(mut threads) = db.connection.prepare(&sql) else { return Ok(None) };
    db::each(&mut threads, [], &mut |row| {
        let id = db::text(row, "id");
        let data = db::bytes(row, "data");
        let unpacked = match db::text(row, "data_type").as_str() {
            "zstd" => unpack(&data),
            _ => Some(data),
        };
        let thread = unpacked.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        let Some(thread) = thread else {
            input.problem(format!("{} thread {id}", entry.path), "it is damaged, or too large");
            return Ok(Some(()));
        };
        let title = db::named(row, "summary");
        let title = title.as_deref().or_else(|| named(&thread, "title"));
        let updated =
            time::of(&db::plain(row, "updated_at")).or_else(|| time::at(&thread, "updated_at"));
        let created = time::of(&db::plain(row, "created_at")).or(updated);
        let folders = db::text(row, "folder_paths");
        let session = source::session(Format::Zed, Some(&id), &[], told(&thread))
            .titled(title)
            .dated(created, updated)
            .working_in(folders.lines().next());
        input.session(Some(session))?;
        Ok(Some(()))
    })
}

fn unpack(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut from = zstd::stream::read::Decoder::with_buffer(data).ok()?;
    from.window_log_max(27).ok()?;
    from.take(MAX_THREAD + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 <= MAX_THREAD).then_some(out)
}

fn told(thread: &Value) -> Told {
    let mut turns = Turns::default();
    let model = thread.pointer("/model/model").and_then(Value::as_str);
    for message in list(thread, "messages") {
        if let Some(user) = message.get("User") {
            turns.user(Head::new(named(user, "id"), None));
            contents(user, &mut turns);
        } else if let Some(agent) = message.get("Agent") {
            turns.assistant(Head::default().by(model));
            contents(agent, &mut turns);
            for (id, result) in
                agent.get("tool_results").and_then(Value::as_object).into_iter().flatten()
            {
                self::result(id, result, &mut turns);
            }
        } else if message.is_object() {
            earlier(message, model, &mut turns);
        }
    }
    turns.finish()
}

fn result(id: &str, result: &Value, turns: &mut Turns) {
    let content = result.get("content").unwrap_or(&Value::Null);
    let blocks = content.as_array().map_or(std::slice::from_ref(content), Vec::as_slice);
    let texts: Vec<&str> =
        blocks.iter().filter_map(|block| block.as_str().or_else(|| named(block, "Text"))).collect();
    let value = match texts.is_empty() {
        false => Value::String(words::clean(&texts.join("\n"))),
        true => result.get("output").cloned().unwrap_or(Value::Null),
    };
    let outcome = Outcome::of(&value, is(result, "is_error"));
    if !turns.result(&Of::Id(id), outcome) {
        turns.stray_result(text(result, "tool_name"), &value);
    }
    for block in blocks {
        if let Some(image) = block.get("Image") {
            turns.file(media::encoded(text(image, "source"), Some("image/*"), None));
        }
    }
}

fn contents(message: &Value, turns: &mut Turns) {
    for part in list(message, "content") {
        let Some((kind, inside)) = part.as_object().and_then(|part| part.iter().next()) else {
            turns.text(part.as_str().unwrap_or_default());
            continue;
        };
        match kind.as_str() {
            "Text" => turns.text(inside.as_str().unwrap_or_else(|| text(inside, "text"))),
            "Thinking" => turns.reasoning(inside.as_str().unwrap_or_else(|| text(inside, "text"))),
            "RedactedThinking" => {}
            "ToolUse" => turns.call(Call {
                id: named(inside, "id").map(str::to_owned),
                name: text(inside, "name").to_owned(),
                input: match inside.get("input").filter(|input| !input.is_null()) {
                    Some(input) => input.clone(),
                    None => words::input_of(inside.get("raw_input")),
                },
                ..Call::default()
            }),
            "Mention" => {
                let name = mentioned(inside.get("uri").unwrap_or(&Value::Null));
                let name = name.as_deref().map(media::base_name);
                turns.file(match named(inside, "content") {
                    Some(content) => media::of_text(name, None, content),
                    None => media::missing(name, None),
                });
            }
            "Image" => turns.file(media::encoded(text(inside, "source"), Some("image/*"), None)),
            other => turns.data(other, inside.clone()),
        }
    }
}

/// The name in the address of what is mentioned: text, or a kind with its fields.
fn mentioned(uri: &Value) -> Option<String> {
    match uri {
        Value::String(uri) => Some(uri.trim_end_matches('/').to_owned()),
        Value::Object(kinds) => {
            let (kind, inside) = kinds.iter().next()?;
            let fields = ["abs_path", "path", "name", "title", "url"];
            let name =
                fields.iter().find_map(|field| named(inside, field)).or_else(|| inside.as_str());
            Some(name.unwrap_or(kind).to_owned())
        }
        _ => None,
    }
}

/// A message as versions before 0.3 wrote it.
fn earlier(message: &Value, model: Option<&str>, turns: &mut Turns) {
    let id = message.get("id").map(Value::to_string);
    let head = Head::new(id.as_deref(), None);
    match text(message, "role") {
        "user" => turns.user(head),
        "assistant" => turns.assistant(head.by(model)),
        _ => return,
    }
    turns.text(text(message, "text"));
    for segment in list(message, "segments") {
        match text(segment, "type") {
            "thinking" => turns.reasoning(text(segment, "text")),
            "redacted_thinking" => {}
            _ => turns.text(text(segment, "text")),
        }
    }
    for call in list(message, "tool_uses") {
        turns.call(Call {
            id: named(call, "id").map(str::to_owned),
            name: text(call, "name").to_owned(),
            input: words::input_of(call.get("input")),
            ..Call::default()
        });
    }
    for result in list(message, "tool_results") {
        let value = result.get("content").unwrap_or(&Value::Null);
        let value = value.get("Text").unwrap_or(value);
        turns.result(
            &Of::Id(text(result, "tool_use_id")),
            Outcome::of(value, is(result, "is_error")),
        );
    }
}
