//! Conversations as OpenAI's APIs take them, one a line: messages, requests of a batch, prompts with their completion,
//! items of the Responses API. An array of messages is one conversation.

use serde_json::Value;

use super::openwebui;
use crate::Format;
use crate::json::{self, Item, Items, Lines, list, named, text};
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Of, Outcome, Turns};

/// Reads the conversations.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let head = input.tree.head(&entry, 64).unwrap_or_default();
        let Ok(from) = input.tree.read(&entry) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        // Lines that are messages, not conversations, are one conversation.
        let mut loose = Vec::new();
        if head.trim_ascii_start().starts_with(b"[") {
            let is_item =
                |value: &Value| value.get("role").is_some() || value.get("messages").is_some();
            let mut items = Items::new(from, &[], is_item);
            while let Some(item) = items.next() {
                let place = format!("{} #{}", entry.path, items.count);
                match item {
                    Item::Value(value) => take(input, place, value, &mut loose)?,
                    Item::Broken(reason) => input.problem(place, reason),
                }
            }
        } else if crate::shape::Shape::of(
            &input.tree.head(&entry, source::HEAD).unwrap_or_default(),
        )
        .has("messages/[]")
            && !head.trim_ascii_start().starts_with(b"{\"")
        {
            whole(input, &entry)?;
        } else {
            for line in Lines::new(from) {
                let place = format!("{} line {}", entry.path, line.number);
                match line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object) {
                    Some(value) => take(input, place, value, &mut loose)?,
                    None => input.problem(place, "it is not JSON"),
                }
            }
        }
        if !loose.is_empty() {
            let session = session(&Value::Null, &loose);
            input.session(Some(session))?;
        }
    }
    Ok(())
}

/// One object over several lines.
fn whole(input: &mut Input<'_>, entry: &Entry) -> Result<(), Stop> {
    match input.tree.whole(entry, 256 << 20).ok().and_then(|bytes| json::parse(&bytes)) {
        Some(value) => take(input, entry.path.clone(), value, &mut Vec::new()),
        None => {
            input.problem(&*entry.path, "it is not JSON, or too large");
            Ok(())
        }
    }
}

fn take(
    input: &mut Input<'_>,
    place: String,
    value: Value,
    loose: &mut Vec<Value>,
) -> Result<(), Stop> {
    if value.get("role").is_some() {
        loose.push(value);
        return Ok(());
    }
    match messages(&value) {
        Some(messages) => {
            let session = session(&value, &messages);
            input.session(Some(session))
        }
        None => {
            input.problem(place, "a conversation without messages");
            Ok(())
        }
    }
}

/// The messages of a line.
fn messages(line: &Value) -> Option<Vec<Value>> {
    let body = line.get("body").filter(|body| body.is_object()).unwrap_or(line);
    for field in ["messages", "conversations", "input"] {
        if let Some(Value::Array(messages)) = body.get(field) {
            let mut messages = messages.clone();
            messages.extend(list(body, "output").iter().cloned());
            if let Some(instructions) = named(body, "instructions") {
                messages.insert(0, serde_json::json!({"role": "system", "content": instructions}));
            }
            return Some(messages);
        }
    }
    if let Some(Value::String(words)) = body.get("input") {
        let mut messages = vec![serde_json::json!({"role": "user", "content": words})];
        messages.extend(list(body, "output").iter().cloned());
        return Some(messages);
    }
    let (prompt, completion) = (body.get("prompt")?, body.get("completion"));
    let side = |role: &str, value: &Value| match value {
        Value::Array(messages) => messages.clone(),
        other => vec![serde_json::json!({"role": role, "content": other})],
    };
    let mut messages = side("user", prompt);
    messages.extend(completion.map(|completion| side("assistant", completion)).unwrap_or_default());
    Some(messages)
}

fn session(line: &Value, messages: &[Value]) -> crate::Session {
    let mut turns = Turns::default();
    let mut system = Vec::new();
    for message in messages.iter().filter(|message| message.is_object()) {
        say(message, &mut turns, &mut system);
    }
    let seed = if line.is_null() {
        messages.first().map(Value::to_string).unwrap_or_default()
    } else {
        line.to_string()
    };
    let id = named(line, "conversation_id").or_else(|| named(line, "id"));
    source::session(Format::OpenAiJsonl, id, &[&seed], turns.finish())
        .titled(named(line, "title"))
        .dated(time::at(line, "created_at").or_else(|| time::at(line, "created")), None)
        .prompted(Some(&system.join("\n\n")))
}

fn say(message: &Value, turns: &mut Turns, system: &mut Vec<String>) {
    let at = time::at(message, "created_at").or_else(|| time::at(message, "timestamp"));
    let head = Head::new(named(message, "id"), at);
    let content = message.get("content").unwrap_or(&Value::Null);
    match text(message, "role") {
        "system" | "developer" => system.push(words::of_blocks(content).unwrap_or_default()),
        "user" | "human" => {
            turns.user(head);
            self::content(content, turns);
        }
        "tool" | "function" => {
            turns.goes_on(head);
            let of = match named(message, "tool_call_id") {
                Some(id) => Of::Id(id),
                None => Of::Name(text(message, "name")),
            };
            if !turns.result(&of, Outcome::of(content, false)) {
                turns.stray_result(text(message, "name"), content);
            }
        }
        "" => {
            turns.goes_on(head);
            openwebui::items(std::slice::from_ref(message), turns);
        }
        _ => {
            turns.assistant(head.by(named(message, "name").or_else(|| named(message, "model"))));
            let thought =
                named(message, "reasoning_content").or_else(|| named(message, "reasoning"));
            turns.reasoning(thought.unwrap_or_default());
            self::content(content, turns);
            turns.text(text(message, "refusal"));
            for call in list(message, "tool_calls").iter().chain(message.get("function_call")) {
                let function = call.get("function").or_else(|| call.get("custom")).unwrap_or(call);
                let input = function.get("arguments").or_else(|| function.get("input"));
                turns.call(Call {
                    id: named(call, "id").map(str::to_owned),
                    name: text(function, "name").to_owned(),
                    input: words::input_of(input),
                    ..Call::default()
                });
            }
        }
    }
}

fn content(content: &Value, turns: &mut Turns) {
    match content {
        Value::String(words) => turns.text_with_thoughts(words),
        Value::Array(parts) => {
            for part in parts {
                match named(part, "refusal") {
                    Some(refusal) => turns.text(refusal),
                    None if matches!(text(part, "type"), "thinking" | "reasoning") => {
                        let words = named(part, "thinking").or_else(|| named(part, "text"));
                        turns.reasoning(words.unwrap_or_default());
                    }
                    None => turns.blocks(std::slice::from_ref(part)),
                }
            }
        }
        _ => {}
    }
}
