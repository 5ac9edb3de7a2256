//! Open WebUI: chats with a history of messages by id. The list beside it is a stale copy, and lists of children are
//! empty for answers: the path goes up from `currentId` by parents.

use serde_json::Value;

use super::details;
use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input, Listing, Made};
use crate::text as words;
use crate::time;
use crate::turns::{Head, Of, Outcome, Told, Turns};

const LISTING: Listing = Listing {
    lists: &["chats", "data"],
    marker: &["chat", "history"],
    is_item: |value| {
        let chat = chat_of(value);
        chat.get("history").is_some() || chat.get("messages").is_some()
    },
    stamp: |value| {
        let size = chat_of(value).pointer("/history/messages").and_then(Value::as_object);
        let updated = time::at(value, "updated_at");
        Some((id_of(value)?.to_owned(), updated, size.map_or(0, serde_json::Map::len)))
    },
};

/// Reads the chats.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    source::conversations(input, &LISTING, &mut |value, _, flaws| conversation(value, flaws))
}

/// The chat inside its row; older files hold it alone.
fn chat_of(value: &Value) -> &Value {
    value.get("chat").filter(|chat| chat.is_object()).unwrap_or(value)
}

fn id_of(value: &Value) -> Option<&str> {
    named(value, "id").or_else(|| named(chat_of(value), "id"))
}

fn conversation(value: &Value, flaws: &mut Vec<&'static str>) -> Made {
    let chat = chat_of(value);
    let history = chat.pointer("/history/messages").and_then(Value::as_object);
    let linear = list(chat, "messages");
    let messages: Vec<(String, &Value)> = match history.filter(|history| !history.is_empty()) {
        Some(history) => history.iter().map(|(id, message)| (id.clone(), message)).collect(),
        None if chat.get("history").is_none() && chat.get("messages").is_none() => {
            return Err("a conversation without messages");
        }
        None => {
            let id = |(at, message)| {
                (
                    named(message, "id").map_or_else(|| format!("message {at}"), str::to_owned),
                    message,
                )
            };
            linear.iter().enumerate().map(id).collect()
        }
    };
    let broken = messages.iter().filter(|(_, message)| !message.is_object()).count();
    flaws.extend(std::iter::repeat_n("a message that is none", broken));
    let is_tree = history.is_some_and(|history| !history.is_empty());
    let nodes = messages.iter().enumerate().map(|(at, (id, message))| Node {
        id: id.clone(),
        parent: match named(message, "parentId") {
            Some(parent) => Some(parent.to_owned()),
            None if is_tree => None,
            None => at.checked_sub(1).map(|before| messages[before].0.clone()),
        },
        at: time::at(message, "timestamp"),
        shows: matches!(text(message, "role"), "user" | "assistant"),
    });
    let dag = Dag::new(nodes.collect());
    let current = chat.pointer("/history/currentId").and_then(Value::as_str);
    let pointer = current.and_then(|id| dag.find(id)).map(|at| (at, "history.currentId"));
    let id = |at: usize| messages[at].0.clone();
    let Some(paths) = source::paths(&dag, pointer, &id) else { return Ok(None) };
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            let (id, message) = &messages[*at];
            say(message, id, &mut turns);
        }
        turns.finish()
    };
    let others = paths.others.iter().map(|path| told(path).messages).collect();
    let title = named(value, "title").or_else(|| named(chat, "title"));
    let seed = [title.unwrap_or_default(), messages.first().map_or("", |(id, _)| id)];
    let session = source::session(Format::OpenWebUi, id_of(value), &seed, told(&paths.shown));
    let created = time::at(value, "created_at").or_else(|| time::at(chat, "timestamp"));
    let system = messages.iter().find(|(_, message)| text(message, "role") == "system");
    let prompt = chat.pointer("/params/system").and_then(Value::as_str);
    let prompt = prompt.or_else(|| named(chat, "system"));
    let prompt = prompt.or_else(|| system.and_then(|(_, message)| named(message, "content")));
    let session = session.titled(title).dated(created, time::at(value, "updated_at"));
    Ok(Some(session.prompted(prompt).branched(paths.branch, others)))
}

fn say(message: &Value, id: &str, turns: &mut Turns) {
    let head = Head::new(Some(id), time::at(message, "timestamp"));
    match text(message, "role") {
        "user" => {
            turns.user(head);
            content(message, turns);
        }
        "assistant" => {
            turns.assistant(
                head.by(named(message, "model").or_else(|| named(message, "modelName"))),
            );
            let output = list(message, "output");
            if output.is_empty() {
                match message.get("content") {
                    Some(Value::String(words)) => details::say(words, turns),
                    _ => content(message, turns),
                }
            } else {
                items(output, turns);
            }
            if let Some(merged) = message.pointer("/merged/content").and_then(Value::as_str) {
                turns.text(merged);
            }
            if let Some(error) =
                message.get("error").filter(|error| error.is_object() || error.is_string())
            {
                turns.data("error", error.clone());
            }
        }
        _ => return,
    }
    files(message, turns);
    for source in list(message, "sources").iter().chain(list(message, "citations")) {
        sources(source, turns);
    }
}

fn content(message: &Value, turns: &mut Turns) {
    match message.get("content") {
        Some(Value::String(words)) => turns.text(words),
        Some(Value::Array(blocks)) => turns.blocks(blocks),
        _ => {}
    }
}

/// Items as OpenAI's Responses API has them.
pub(crate) fn items(items: &[Value], turns: &mut Turns) {
    for item in items {
        match text(item, "type") {
            "reasoning" => {
                let pieces = list(item, "content").iter().chain(list(item, "summary"));
                let texts: Vec<&str> = pieces.filter_map(|piece| named(piece, "text")).collect();
                turns.reasoning(&texts.join("\n\n"));
            }
            "function_call" => turns.call(Call {
                id: named(item, "call_id").or_else(|| named(item, "id")).map(str::to_owned),
                name: text(item, "name").to_owned(),
                input: words::input_of(item.get("arguments")),
                ..Call::default()
            }),
            "function_call_output" => {
                let output = item.get("output").unwrap_or(&Value::Null);
                let failed = matches!(text(item, "status"), "failed" | "error");
                if !turns.result(&Of::Id(text(item, "call_id")), Outcome::of(output, failed)) {
                    turns.stray_result("", output);
                }
            }
            "message" => match item.get("content") {
                Some(Value::String(words)) => details::say(words, turns),
                _ => turns.blocks(list(item, "content")),
            },
            "" => {}
            other => turns.data(other, item.clone()),
        }
    }
}

fn files(message: &Value, turns: &mut Turns) {
    for file in list(message, "files") {
        let inner = file.get("file").unwrap_or(&Value::Null);
        let name = named(file, "name").or_else(|| named(inner, "filename"));
        let meta = inner.get("meta").unwrap_or(&Value::Null);
        let kind = named(meta, "content_type").or_else(|| named(file, "content_type"));
        match text(file, "type") {
            "image" => turns.file(media::by_url(text(file, "url"), kind.or(Some("image/*")), name)),
            "file" | "doc" | "text" | "" => {
                let content = inner.pointer("/data/content").and_then(Value::as_str);
                let content = content.or_else(|| named(file, "content"));
                turns.file(match content {
                    Some(content) => media::of_text(name, kind, content),
                    None => media::by_url(text(file, "url"), kind, name),
                });
            }
            // Collections and searches are no files.
            kind => turns.data(kind, file.clone()),
        }
    }
}

fn sources(source: &Value, turns: &mut Turns) {
    let about = source.get("source").unwrap_or(&Value::Null);
    let name = named(about, "name");
    if let Some(url) = named(about, "url").filter(|url| url.starts_with("http")) {
        turns.page(url, name);
        return;
    }
    let mut found = false;
    for meta in list(source, "metadata") {
        let url = named(meta, "source").or_else(|| named(meta, "url")).unwrap_or_default();
        if url.starts_with("http") {
            found = true;
            turns.page(url, named(meta, "title").or_else(|| named(meta, "name")).or(name));
        }
    }
    if !found {
        match name.filter(|name| name.starts_with("http")) {
            Some(url) => turns.page(url, None),
            None => turns.document(name, None),
        }
    }
}
