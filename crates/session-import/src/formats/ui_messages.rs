//! Lists of messages with parts: the AI SDK's, version 4 and later, TanStack AI's, and what `threadkeep materialize` and
//! the JSON export write.

use serde_json::{Map, Value};

use crate::Format;
use crate::json::{self, Item, Items, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{COMPACTION, Head, Of, Outcome, Turns};

/// Bytes of one chat with its messages.
const MAX_CHAT: u64 = 512 << 20;

/// Reads the AI SDK's.
pub(crate) fn read_ai_sdk(input: &mut Input<'_>) -> Result<(), Stop> {
    read(input, Format::AiSdk)
}

/// Reads TanStack AI's.
pub(crate) fn read_tanstack(input: &mut Input<'_>) -> Result<(), Stop> {
    read(input, Format::TanStackAi)
}

/// Reads the sessions of our own JSON export.
pub(crate) fn read_own(input: &mut Input<'_>) -> Result<(), Stop> {
    read(input, Format::ThreadkeepJson)
}

fn read(input: &mut Input<'_>, format: Format) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let head = input.tree.head(&entry, source::HEAD).unwrap_or_default();
        let is_list = head.trim_ascii_start().starts_with(b"[");
        if !is_list {
            match input.tree.whole(&entry, MAX_CHAT).ok().and_then(|bytes| json::parse(&bytes)) {
                Some(chat) => self::chat(input, format, &entry, &chat)?,
                // A list that was cut off is read as far as it goes.
                None => pieces(input, format, &entry)?,
            }
            continue;
        }
        pieces(input, format, &entry)?;
    }
    Ok(())
}

/// A list of messages, which are one chat, or of chats.
fn pieces(input: &mut Input<'_>, format: Format, entry: &Entry) -> Result<(), Stop> {
    let Ok(from) = input.tree.read(entry) else {
        input.problem(&*entry.path, "it cannot be unpacked");
        return Ok(());
    };
    let mut messages = Vec::new();
    let is_item = |value: &Value| value.get("role").is_some() || value.get("messages").is_some();
    let mut items = Items::new(from, &["messages", "chats"], is_item);
    while let Some(item) = items.next() {
        match item {
            Item::Value(value) if value.get("messages").is_some() => {
                chat(input, format, entry, &value)?
            }
            Item::Value(value) if value.get("role").is_some() => messages.push(value),
            Item::Value(_) => {
                input.problem(format!("{} #{}", entry.path, items.count), "a message that is none");
            }
            Item::Broken(reason) => {
                input.problem(format!("{} #{}", entry.path, items.count), reason)
            }
        }
    }
    let mut about = Map::new();
    about.insert("messages".to_owned(), Value::Array(messages));
    chat(input, format, entry, &Value::Object(about))
}

fn chat(input: &mut Input<'_>, format: Format, entry: &Entry, chat: &Value) -> Result<(), Stop> {
    let mut turns = Turns::default();
    let mut system = Vec::new();
    for (at, message) in list(chat, "messages").iter().enumerate() {
        if !message.is_object() {
            input.problem(format!("{} #{}", entry.path, at + 1), "a message that is none");
            continue;
        }
        let created = time::at(message, "createdAt")
            .or_else(|| message.pointer("/metadata/createdAt").and_then(time::of));
        let head = Head::new(named(message, "id"), created);
        match text(message, "role") {
            "user" => turns.user(head),
            "assistant" => {
                let model = message.pointer("/metadata/model").and_then(Value::as_str);
                turns.assistant(head.by(named(message, "actorId").or(model)));
            }
            "system" | "developer" => {
                let parts = list(message, "parts").iter().map(said);
                system
                    .push(named(message, "content").map_or_else(|| parts.collect(), str::to_owned));
                continue;
            }
            _ => continue,
        }
        say(message, &mut turns);
    }
    let messages = list(chat, "messages");
    let first =
        messages.iter().find(|message| text(message, "role") == "user").or(messages.first());
    let seed = first.map_or_else(String::new, |first| {
        let words: String = list(first, "parts").iter().map(said).collect();
        format!("{}\n{}{}", text(first, "id"), text(first, "content"), words)
    });
    let id = named(chat, "id").or_else(|| named(chat, "sessionId"));
    let prompt = named(chat, "systemPrompt").map_or_else(|| system.join("\n\n"), str::to_owned);
    let session = source::session(format, id, &[&seed], turns.finish())
        .titled(named(chat, "title"))
        .dated(time::at(chat, "createdAt"), time::at(chat, "updatedAt"))
        .prompted(Some(&prompt))
        .working_in(named(chat, "workingDirectory"));
    input.session(Some(session))
}

/// The words of a text part, under either name.
fn said(part: &Value) -> &str {
    named(part, "text").unwrap_or_else(|| text(part, "content"))
}

fn say(message: &Value, turns: &mut Turns) {
    let parts = list(message, "parts");
    if parts.is_empty() {
        turns.reasoning(text(message, "reasoning"));
        for invocation in list(message, "toolInvocations") {
            self::invocation(invocation, turns);
        }
        match message.get("content") {
            Some(Value::String(words)) => turns.text(words),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| self::part(part, turns)),
            _ => {}
        }
    }
    for part in parts {
        self::part(part, turns);
    }
    for file in list(message, "experimental_attachments").iter().chain(list(message, "attachments"))
    {
        let kind = named(file, "contentType").or_else(|| named(file, "mediaType"));
        let name = named(file, "name").or_else(|| named(file, "filename"));
        turns.file(media::by_url(text(file, "url"), kind, name));
    }
}

fn part(part: &Value, turns: &mut Turns) {
    let kind = text(part, "type");
    match kind {
        "text" => turns.text(said(part)),
        "thinking" => turns.reasoning(said(part)),
        "reasoning" => match named(part, "reasoning") {
            Some(words) => turns.reasoning(words),
            None => turns.reasoning(said(part)),
        },
        "tool-invocation" => invocation(part.get("toolInvocation").unwrap_or(part), turns),
        "tool-call" => tanstack_call(part, turns),
        "tool-result" => tanstack_result(part, turns),
        "dynamic-tool" => call(text(part, "toolName"), part, turns),
        "file" => turns.file(match named(part, "data") {
            Some(data) => {
                let kind = named(part, "mimeType").or_else(|| named(part, "mediaType"));
                media::encoded(data, kind, named(part, "filename"))
            }
            None => {
                let kind = named(part, "mediaType").or_else(|| named(part, "mimeType"));
                media::by_url(text(part, "url"), kind, named(part, "filename"))
            }
        }),
        "source-url" => turns.page(text(part, "url"), named(part, "title")),
        "source-document" => turns.document(named(part, "filename"), named(part, "title")),
        "source" => {
            let source = part.get("source").unwrap_or(part);
            match named(source, "url") {
                Some(url) => turns.page(url, named(source, "title")),
                None => turns.document(named(source, "filename"), named(source, "title")),
            }
        }
        "step-start" | "" => {}
        "data" if text(part, "name") == COMPACTION => {
            turns.mark(COMPACTION, part.get("data").cloned().unwrap_or_default());
        }
        "data" if named(part, "name").is_some() => {
            turns.data(text(part, "name"), part.get("data").cloned().unwrap_or_default());
        }
        "data-compaction" => turns.mark(COMPACTION, part.get("data").cloned().unwrap_or_default()),
        _ if kind.starts_with("tool-") && part.get("toolCallId").is_some() => {
            call(&kind[5..], part, turns)
        }
        _ => match (kind.strip_prefix("data-"), media::of_block(part)) {
            (Some(name), _) => turns.data(name, part.get("data").cloned().unwrap_or_default()),
            (None, Some(file)) => turns.file(file),
            (None, None) => turns.data(kind, part.clone()),
        },
    }
}

/// A call of the AI SDK from version 5 on.
fn call(name: &str, part: &Value, turns: &mut Turns) {
    let error = || text(part, "errorText").to_owned();
    let refused = part.pointer("/approval/approved") == Some(&Value::Bool(false));
    let outcome = match text(part, "state") {
        "output-available" => {
            Some(Outcome::done(part.get("output").map(words::output_of).unwrap_or_default()))
        }
        "output-error" => Some(Outcome::failed(error())),
        "output-denied" => Some(Outcome::denied(error())),
        _ if refused => Some(Outcome::denied(text(part, "reason").to_owned())),
        _ => None,
    };
    let input = part.get("input").filter(|input| !input.is_null()).or_else(|| part.get("rawInput"));
    let made = Call {
        id: named(part, "toolCallId").map(str::to_owned),
        name: name.to_owned(),
        input: words::input_of(input),
        ..Call::default()
    };
    turns.call_with(made, outcome);
}

/// A call of the AI SDK's version 4.
fn invocation(part: &Value, turns: &mut Turns) {
    let outcome = (text(part, "state") == "result")
        .then(|| Outcome::of(part.get("result").unwrap_or(&Value::Null), false));
    let made = Call {
        id: named(part, "toolCallId").map(str::to_owned),
        name: text(part, "toolName").to_owned(),
        input: words::input_of(part.get("args")),
        ..Call::default()
    };
    turns.call_with(made, outcome);
}

/// JSON in a string, or anything else.
fn unpacked(value: &Value) -> Value {
    match value {
        Value::String(text) => words::json_or_text(text),
        other => other.clone(),
    }
}

/// A call of TanStack AI's, or of ours, whose states say how it ended.
fn tanstack_call(part: &Value, turns: &mut Turns) {
    let input =
        part.get("input").filter(|input| !input.is_null()).or_else(|| part.get("arguments"));
    let output = part.get("output").filter(|output| !output.is_null());
    let error = named(part, "error").map(str::to_owned);
    let refused = part.pointer("/approval/approved") == Some(&Value::Bool(false));
    let said = || error.clone().or_else(|| output.map(words::error_of)).unwrap_or_default();
    let outcome = match text(part, "state") {
        "failed" | "error" | "output-error" => Some(Outcome::failed(said())),
        "denied" => Some(Outcome::denied(said())),
        _ if refused => Some(Outcome::denied(said())),
        "done" => Some(Outcome::done(output.cloned().unwrap_or_default())),
        _ => output.map(|output| Outcome::done(unpacked(output))),
    };
    let made = Call {
        id: named(part, "id").or_else(|| named(part, "toolCallId")).map(str::to_owned),
        name: named(part, "name").unwrap_or_else(|| text(part, "toolName")).to_owned(),
        input: words::input_of(input),
        ..Call::default()
    };
    turns.call_with(made, outcome);
}

fn tanstack_result(part: &Value, turns: &mut Turns) {
    let content = part.get("content").or_else(|| part.get("output")).or_else(|| part.get("result"));
    let value = unpacked(content.unwrap_or(&Value::Null));
    let error = named(part, "error");
    let outcome = match (error, text(part, "state")) {
        (Some(error), _) => Outcome::failed(error.to_owned()),
        (None, "error") => Outcome::failed(words::error_of(&value)),
        (None, "streaming") => return,
        _ => Outcome::done(value.clone()),
    };
    if !turns.result(&Of::Id(text(part, "toolCallId")), outcome) {
        turns.stray_result(text(part, "toolName"), &value);
    }
}
