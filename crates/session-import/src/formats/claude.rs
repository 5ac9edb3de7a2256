//! Claude.ai's export, and single chats as browser extensions save them.
//!
//! All versions of a message are in one flat list in no reliable order: the path goes up by parents. The text of a message
//! is in its blocks, or, in older ones, in `text` alone.

use serde_json::{Value, json};

use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{is, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input, Listing, Made};
use crate::text as words;
use crate::time;
use crate::turns::{Head, Of, Outcome, Told, Turns};

/// The parent of what has none.
const ROOT: &str = "00000000-0000-4000-8000-000000000000";
/// What stands in the flattened copy for a call.
const PLACEHOLDER: &str = "```\nThis block is not supported on your current device yet.\n```";

const LISTING: Listing = Listing {
    lists: &["conversations"],
    marker: &["chat_messages"],
    is_item: |value| value.get("chat_messages").is_some(),
    stamp: |value| {
        let size = list(value, "chat_messages").len();
        Some((named(value, "uuid")?.to_owned(), time::at(value, "updated_at"), size))
    },
};

/// Reads the conversations.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    source::conversations(input, &LISTING, &mut |value, _, flaws| conversation(value, flaws))
}

fn conversation(value: &Value, flaws: &mut Vec<&'static str>) -> Made {
    let Some(messages) = value.get("chat_messages").and_then(Value::as_array) else {
        return Err("a conversation without messages");
    };
    let is_message = |message: &&Value| message.is_object();
    let broken = messages.iter().filter(|message| !is_message(message)).count();
    flaws.extend(std::iter::repeat_n("a message that is none", broken));
    let messages: Vec<&Value> = messages.iter().filter(is_message).collect();
    let id = |at: usize| {
        named(messages[at], "uuid").map_or_else(|| format!("message {at}"), str::to_owned)
    };
    let nodes = messages.iter().enumerate().map(|(at, message)| Node {
        id: id(at),
        parent: match message.get("parent_message_uuid") {
            Some(Value::String(parent)) if parent == ROOT => None,
            Some(Value::String(parent)) => Some(parent.clone()),
            // Older exports are linear.
            _ => at.checked_sub(1).map(id),
        },
        at: time::at(message, "created_at"),
        shows: shows(message),
    });
    let dag = Dag::new(nodes.collect());
    let pointer = named(value, "current_leaf_message_uuid").and_then(|id| dag.find(id));
    let pointer = pointer.map(|at| (at, "current_leaf_message_uuid"));
    let Some(paths) = source::paths(&dag, pointer, &id) else { return Ok(None) };
    let model = named(value, "model");
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            say(messages[*at], &id(*at), model, &mut turns);
        }
        turns.finish()
    };
    let others = paths.others.iter().map(|path| told(path).messages).collect();
    let first = messages.first().map_or("", |message| text(message, "uuid"));
    let seed = [text(value, "name"), first];
    let session = source::session(Format::Claude, named(value, "uuid"), &seed, told(&paths.shown));
    let (created, updated) = (time::at(value, "created_at"), time::at(value, "updated_at"));
    let session = session.titled(named(value, "name")).dated(created, updated);
    Ok(Some(session.branched(paths.branch, others)))
}

fn shows(message: &Value) -> bool {
    named(message, "text").is_some()
        || ["content", "attachments", "files", "files_v2"]
            .iter()
            .any(|field| !list(message, field).is_empty())
}

fn say(message: &Value, id: &str, model: Option<&str>, turns: &mut Turns) {
    let head = Head::new(Some(id), time::at(message, "created_at"));
    let is_human = text(message, "sender") == "human";
    if is_human {
        turns.user(head);
    } else {
        turns.assistant(head.by(named(message, "model").or(model)));
    }
    let blocks = list(message, "content");
    let says = |block: &Value| {
        text(block, "type") != "text" && !is_human || named(block, "text").is_some()
    };
    if !blocks.iter().any(says) {
        // Human turns of older exports, and empty blocks beside a text.
        turns.text(&text(message, "text").replace(PLACEHOLDER, ""));
    }
    for block in blocks {
        self::block(block, turns);
    }
    files(message, turns);
}

fn block(block: &Value, turns: &mut Turns) {
    match text(block, "type") {
        "text" => {
            turns.text(text(block, "text"));
            for citation in list(block, "citations") {
                let details = citation.get("details").unwrap_or(&Value::Null);
                let url = named(details, "url").or_else(|| named(citation, "url"));
                let title = named(citation, "title").or_else(|| named(details, "title"));
                turns.page(url.unwrap_or_default(), title);
            }
        }
        "thinking" => {
            let thought = text(block, "thinking");
            if words::is_blank(thought) {
                let summaries = list(block, "summaries").iter().map(|one| text(one, "summary"));
                turns.reasoning(&summaries.collect::<Vec<_>>().join("\n\n"));
            } else {
                turns.reasoning(thought);
            }
        }
        "redacted_thinking" | "token_budget" => {}
        "tool_use" => turns.call(Call {
            id: named(block, "id").map(str::to_owned),
            name: text(block, "name").to_owned(),
            input: words::input_of(block.get("input")),
            ..Call::default()
        }),
        "tool_result" => result(block, turns),
        "voice_note" => turns.text(text(block, "text")),
        "" => {}
        kind => match media::of_block(block) {
            Some(file) => turns.file(file),
            None => turns.data(kind, block.clone()),
        },
    }
}

fn result(block: &Value, turns: &mut Turns) {
    let content = block.get("content").unwrap_or(&Value::Null);
    let items = list(block, "content");
    let is_text = |item: &&Value| text(item, "type") == "text";
    let texts: Vec<&str> = items.iter().filter(is_text).map(|item| text(item, "text")).collect();
    let pages = items.iter().filter(|item| text(item, "type") == "knowledge");
    let value = match content {
        Value::String(words) => Value::String(words::clean(words)),
        _ if !texts.is_empty() => Value::String(words::clean(&texts.join("\n"))),
        _ => pages
            .map(|page| json!({"title": text(page, "title"), "url": text(page, "url")}))
            .collect(),
    };
    let failed = is(block, "is_error");
    let outcome = if failed {
        Outcome::failed(value.as_str().map_or_else(|| words::error_of(content), str::to_owned))
    } else {
        Outcome::done(value.clone())
    };
    let name = text(block, "name");
    let of = match named(block, "tool_use_id") {
        Some(id) if turns.has_call(id) => Of::Id(id),
        _ => Of::Name(name),
    };
    if !turns.result(&of, outcome) {
        turns.stray_result(name, &value);
    }
    for item in items {
        match text(item, "type") {
            "knowledge" => turns.page(text(item, "url"), named(item, "title")),
            "image" => turns.file(media::of_block(item).unwrap_or_default()),
            _ => {}
        }
    }
}

fn files(message: &Value, turns: &mut Turns) {
    let attachments = list(message, "attachments");
    for attached in attachments {
        let name = named(attached, "file_name");
        let kind = named(attached, "file_type").filter(|kind| kind.contains('/'));
        turns.file(match named(attached, "extracted_content") {
            Some(content) => media::of_text(name, kind, content),
            None => media::missing(name, kind),
        });
    }
    let mut files = list(message, "files");
    if files.is_empty() {
        files = list(message, "files_v2");
    }
    for file in files {
        let name = named(file, "file_name");
        let is_known = |known: &Value| name.is_some() && named(known, "file_name") == name;
        if !attachments.iter().any(is_known) {
            turns.file(media::missing(name, None));
        }
    }
}
