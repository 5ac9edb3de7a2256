//! LibreChat: a conversation a file, its messages nested by `children`, flat with parents, or in `messagesTree`.

use serde_json::Value;

use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{is, list, named, text};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input, Listing, Made};
use crate::text as words;
use crate::time;
use crate::turns::{Head, Outcome, Told, Turns};

/// The parent of what has none.
const ROOT: &str = "00000000-0000-0000-0000-000000000000";

const LISTING: Listing = Listing {
    lists: &["conversations"],
    marker: &["messages", "messagesTree"],
    is_item: |value| value.get("conversationId").is_some(),
    stamp: |value| {
        let messages = flat(value);
        let updated =
            messages.iter().filter_map(|(message, _)| time::at(message, "createdAt")).max();
        Some((named(value, "conversationId")?.to_owned(), updated, messages.len()))
    },
};

/// Reads the conversations.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    source::conversations(input, &LISTING, &mut |value, _, _| conversation(value))
}

/// All messages with the ids of their parents, in the order of the file.
fn flat(value: &Value) -> Vec<(&Value, Option<&str>)> {
    let mut roots = list(value, "messages");
    if roots.is_empty() {
        roots = list(value, "messagesTree");
    }
    let mut out = Vec::new();
    let mut todo: Vec<(&Value, Option<&str>)> =
        roots.iter().rev().map(|root| (root, None)).collect();
    while let Some((message, above)) = todo.pop() {
        if !message.is_object() {
            continue;
        }
        let own = named(message, "parentMessageId").filter(|id| *id != ROOT);
        out.push((message, above.or(own)));
        let id = named(message, "messageId");
        todo.extend(list(message, "children").iter().rev().map(|child| (child, id)));
    }
    out
}

fn conversation(value: &Value) -> Made {
    if value.get("messages").is_none() && value.get("messagesTree").is_none() {
        return Err("a conversation without messages");
    }
    let messages = flat(value);
    let id = |at: usize| {
        named(messages[at].0, "messageId").map_or_else(|| format!("message {at}"), str::to_owned)
    };
    let linked = messages.iter().any(|(_, parent)| parent.is_some());
    let nodes = messages.iter().enumerate().map(|(at, (message, parent))| Node {
        id: id(at),
        parent: match parent {
            Some(parent) => Some((*parent).to_owned()),
            None if linked => None,
            None => at.checked_sub(1).map(id),
        },
        at: time::at(message, "createdAt"),
        shows: true,
    });
    let dag = Dag::new(nodes.collect());
    let Some(paths) = source::paths(&dag, None, &id) else { return Ok(None) };
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            say(messages[*at].0, &id(*at), &mut turns);
        }
        turns.finish()
    };
    let others = paths.others.iter().map(|path| told(path).messages).collect();
    let source_id = named(value, "conversationId");
    let session = source::session(Format::LibreChat, source_id, &[&id(0)], told(&paths.shown));
    let prompt = value.pointer("/options/promptPrefix").and_then(Value::as_str);
    let prompt = prompt.or_else(|| value.pointer("/options/system").and_then(Value::as_str));
    let session = session.titled(named(value, "title")).prompted(prompt);
    let (created, updated) = (time::at(value, "createdAt"), time::at(value, "updatedAt"));
    Ok(Some(session.dated(created, updated).branched(paths.branch, others)))
}

fn say(message: &Value, id: &str, turns: &mut Turns) {
    let head = Head::new(Some(id), time::at(message, "createdAt"));
    let is_user = is(message, "isCreatedByUser")
        || message.get("isCreatedByUser").is_none() && text(message, "sender") == "User";
    if is_user {
        turns.user(head);
    } else {
        turns.assistant(head.by(named(message, "model").or_else(|| named(message, "sender"))));
    }
    let content = list(message, "content");
    if content.is_empty() {
        if is_user {
            turns.text(text(message, "text"));
        } else {
            turns.text_with_thoughts(text(message, "text"));
        }
    }
    for part in content {
        self::part(part, turns);
    }
    for file in list(message, "files").iter().chain(list(message, "attachments")) {
        let name = named(file, "filename");
        if name.is_some() || named(file, "type").is_some_and(|kind| kind.contains('/')) {
            turns.file(media::missing(name, named(file, "type")));
        }
    }
}

/// A text as a string or as `{value}`.
fn value_of<'a>(part: &'a Value, field: &str) -> &'a str {
    match part.get(field) {
        Some(Value::String(text)) => text,
        Some(inner) => text(inner, "value"),
        None => "",
    }
}

fn part(part: &Value, turns: &mut Turns) {
    match text(part, "type") {
        "text" => turns.text_with_thoughts(value_of(part, "text")),
        "think" => turns.reasoning(value_of(part, "think")),
        "tool_call" => {
            let call = part.get("tool_call").unwrap_or(part);
            let function = call.get("function").unwrap_or(&Value::Null);
            let input = call.get("args").or_else(|| function.get("arguments"));
            let output = call.get("output").or_else(|| function.get("output"));
            let output = output.filter(|output| !output.is_null());
            let ended = output.is_some_and(|output| output.as_str() != Some(""))
                || output.is_some() && call.get("progress").and_then(Value::as_f64) == Some(1.0);
            let outcome = output.filter(|_| ended).map(|output| Outcome::of(output, false));
            let call = Call {
                id: named(call, "id").map(str::to_owned),
                name: named(call, "name").unwrap_or_else(|| text(function, "name")).to_owned(),
                input: words::input_of(input),
                ..Call::default()
            };
            turns.call_with(call, outcome);
        }
        "image_file" | "image_url" => {
            let inner = part.get("image_file").or_else(|| part.get("image_url")).unwrap_or(part);
            let name = named(inner, "filename");
            let url = inner.as_str().unwrap_or_else(|| text(inner, "url"));
            let kind = named(inner, "type").filter(|kind| kind.contains('/'));
            turns.file(media::by_url(url, kind.or(Some("image/*")), name));
        }
        "error" => {
            let error = part.get("error").cloned().unwrap_or(Value::Null);
            turns.data("error", error);
        }
        "agent_update" | "" => {}
        other => turns.data(other, part.clone()),
    }
}
