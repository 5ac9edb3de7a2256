//! The web UI of llama.cpp: conversations with the tree of their messages, in JSON or a line for each message.

use serde_json::{Value, json};

use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{self, Item, Items, Lines, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Of, Outcome, Told, Turns};

/// Reads the conversations.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let head = input.tree.head(&entry, source::HEAD).unwrap_or_default();
        let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = crate::shape::Shape::of(first);
        let Ok(from) = input.tree.read(&entry) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        if first.has("currNode") && !first.has("messages/[]") {
            lines(input, &entry, from)?;
            continue;
        }
        let mut items = Items::new(from, &[], |value| value.get("conv").is_some());
        while let Some(item) = items.next() {
            let place = format!("{} #{}", entry.path, items.count);
            match item {
                Item::Value(value) if value.get("conv").is_some() => {
                    input.session(session(&value["conv"], list(&value, "messages")))?;
                }
                Item::Value(_) => input.problem(place, "a conversation without messages"),
                Item::Broken(reason) => input.problem(place, reason),
            }
        }
    }
    Ok(())
}

/// A header with the conversation, then its messages; the next header begins the next one.
fn lines(
    input: &mut Input<'_>,
    entry: &Entry,
    from: Box<dyn std::io::BufRead>,
) -> Result<(), Stop> {
    let (mut about, mut messages) = (Value::Null, Vec::new());
    for line in Lines::new(from) {
        let row = line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        let Some(row) = row else {
            input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON");
            continue;
        };
        if row.get("role").is_some() {
            messages.push(row);
        } else if row.get("currNode").is_some() {
            input.session(session(&about, &messages))?;
            (about, messages) = (row, Vec::new());
        }
    }
    input.session(session(&about, &messages))
}

fn id(value: &Value, field: &str) -> Option<String> {
    match value.get(field)? {
        Value::String(id) if !id.is_empty() && id != "-1" => Some(id.clone()),
        Value::Number(id) if id.as_i64() != Some(-1) => Some(id.to_string()),
        _ => None,
    }
}

fn session(about: &Value, messages: &[Value]) -> Option<crate::Session> {
    let id_of = |at: usize| id(&messages[at], "id").unwrap_or_else(|| format!("message {at}"));
    let nodes = messages.iter().enumerate().map(|(at, message)| Node {
        id: id_of(at),
        parent: id(message, "parent"),
        at: time::at(message, "timestamp"),
        shows: text(message, "type") != "root" && text(message, "role") != "system",
    });
    let dag = Dag::new(nodes.collect());
    let pointer = id(about, "currNode").and_then(|id| dag.find(&id)).map(|at| (at, "currNode"));
    let paths = source::paths(&dag, pointer, &id_of)?;
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            say(&messages[*at], &id_of(*at), &mut turns);
        }
        turns.finish()
    };
    let others = paths.others.iter().map(|path| told(path).messages).collect();
    let system = messages.iter().find(|message| text(message, "role") == "system");
    let source_id = id(about, "id");
    let session =
        source::session(Format::LlamaCpp, source_id.as_deref(), &[&id_of(0)], told(&paths.shown))
            .titled(named(about, "name"))
            .dated(None, time::at(about, "lastModified"))
            .prompted(system.and_then(|message| named(message, "content")));
    Some(session.branched(paths.branch, others))
}

fn say(message: &Value, id: &str, turns: &mut Turns) {
    if text(message, "type") == "root" {
        return;
    }
    let head = Head::new(Some(id), time::at(message, "timestamp"));
    match text(message, "role") {
        "user" => turns.user(head),
        "assistant" => turns.assistant(head.by(named(message, "model"))),
        "tool" => {
            turns.goes_on(head);
            let content = message.get("content").unwrap_or(&Value::Null);
            let of = named(message, "toolCallId").or_else(|| named(message, "tool_call_id"));
            turns.result(&Of::Id(of.unwrap_or_default()), Outcome::of(content, false));
            return;
        }
        _ => return,
    }
    let thought = ["reasoningContent", "reasoning_content", "thinking"]
        .iter()
        .find_map(|field| named(message, field));
    turns.reasoning(thought.unwrap_or_default());
    match message.get("content") {
        Some(Value::String(words)) => turns.text_with_thoughts(words),
        Some(Value::Array(blocks)) => turns.blocks(blocks),
        _ => {}
    }
    let calls = match message.get("toolCalls") {
        Some(Value::String(text)) => json::parse(text.as_bytes()).unwrap_or_default(),
        Some(other) => other.clone(),
        None => Value::Null,
    };
    for call in calls.as_array().into_iter().flatten() {
        let function = call.get("function").unwrap_or(call);
        turns.call(Call {
            id: named(call, "id").map(str::to_owned),
            name: text(function, "name").to_owned(),
            input: words::input_of(function.get("arguments")),
            ..Call::default()
        });
    }
    for extra in list(message, "extra") {
        let name = named(extra, "name");
        match text(extra, "type").to_ascii_lowercase().as_str() {
            "textfile" | "text" | "context" => {
                turns.file(media::of_text(name, None, text(extra, "content")))
            }
            "imagefile" | "image" => {
                turns.file(media::by_url(text(extra, "base64Url"), Some("image/*"), name))
            }
            kind => turns.data(kind, json!({"name": name})),
        }
    }
}
