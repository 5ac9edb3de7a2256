//! ChatGPT's data export: `conversations.json` or its shards, in a zip, a folder or alone; DeepSeek's is alike.
//!
//! A conversation is a tree of nodes. Nodes without a message, hidden ones and the system's are links of it. Calls have no
//! ids: a node of a tool belongs to the nearest open call of its name.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::citations;
use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{self, is, list, named, text};
use crate::media;
use crate::model::{Call, File, Message};
use crate::sink::Stop;
use crate::source::{self, Input, Listing, Made};
use crate::text as words;
use crate::time;
use crate::tree::{Entry, Tree};
use crate::turns::{Head, Of, Outcome, Told, Turns};

/// The file that says what assets were called.
const NAMES: &str = "conversation_asset_file_names.json";
/// Bytes of that file.
const MAX_NAMES: u64 = 64 << 20;

const LISTING: Listing = Listing {
    lists: &["conversations"],
    marker: &["mapping"],
    is_item: |value| value.get("mapping").is_some(),
    stamp: |value| {
        let id = named(value, "conversation_id").or_else(|| named(value, "id"))?;
        let size = value.get("mapping").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        let updated = time::at(value, "update_time").or_else(|| time::at(value, "updated_at"));
        Some((id.to_owned(), updated, size))
    },
};

/// Reads ChatGPT's.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let assets = Assets::of(input.tree);
    source::conversations(input, &LISTING, &mut |value, _, flaws| {
        conversation(value, &assets, flaws)
    })
}

fn conversation(value: &Value, assets: &Assets<'_>, flaws: &mut Vec<&'static str>) -> Made {
    let Some(mapping) = value.get("mapping").and_then(Value::as_object) else {
        return Err("a conversation without messages");
    };
    let is_broken = |node: &&Value| {
        let message = node.get("message").unwrap_or(&Value::Null);
        !node.is_object() || !(message.is_null() || message.is_object())
    };
    let broken = mapping.values().filter(is_broken).count();
    flaws.extend(std::iter::repeat_n("a message that is none", broken));
    let nodes: Vec<(&String, &Value)> = mapping.iter().collect();
    let dag = Dag::new(nodes.iter().map(|(id, node)| link(id, node, is_shown)).collect());
    let pointer = named(value, "current_node").and_then(|id| dag.find(id));
    let pointer = pointer.map(|at| (at, "current_node"));
    let id_of = |at: usize| nodes[at].0.clone();
    let Some(paths) = source::paths(&dag, pointer, &id_of) else { return Ok(None) };
    let model = text(value, "default_model_slug");
    let told = |path: &[usize]| {
        let mut turns = Turns::default();
        for at in path {
            let (id, node) = nodes[*at];
            if let Some(message) = node.get("message").filter(|message| !message.is_null()) {
                say(message, id, model, assets, &mut turns);
            }
        }
        turns.finish()
    };
    let others = paths.others.iter().map(|path| told(path).messages).collect();
    let id = named(value, "conversation_id").or_else(|| named(value, "id"));
    let first = nodes.first().map_or("", |(id, _)| id);
    let seed = [text(value, "title"), first];
    let session = source::session(Format::ChatGpt, id, &seed, told(&paths.shown));
    // Seconds with a fraction that says when a row was written, not when somebody spoke.
    let created = time::at(value, "create_time").or(session.created_at).map(time::whole_second);
    let session = session.titled(named(value, "title"));
    Ok(Some(session.dated(created, time::at(value, "update_time")).branched(paths.branch, others)))
}

fn link(id: &str, node: &Value, shows: fn(&Value) -> bool) -> Node {
    let message = node.get("message").filter(|message| message.is_object());
    Node {
        id: id.to_owned(),
        parent: named(node, "parent").map(str::to_owned),
        at: message.and_then(|message| {
            time::at(message, "create_time").or_else(|| time::at(message, "inserted_at"))
        }),
        shows: message.is_some_and(shows),
    }
}

fn kind(message: &Value) -> &str {
    message.get("content").map_or("", |content| text(content, "content_type"))
}

fn role(message: &Value) -> &str {
    message.get("author").map_or("", |author| text(author, "role"))
}

fn is_hidden(message: &Value) -> bool {
    let metadata = message.get("metadata").unwrap_or(&Value::Null);
    is(metadata, "is_visually_hidden_from_conversation")
        || is(metadata, "is_user_system_message")
        || !matches!(role(message), "user" | "assistant" | "tool")
        || matches!(
            kind(message),
            "user_editable_context" | "model_editable_context" | "reasoning_recap"
        )
}

/// Whether anything of a message is shown.
fn is_shown(message: &Value) -> bool {
    if is_hidden(message) {
        return false;
    }
    let content = message.get("content").unwrap_or(&Value::Null);
    let says = |part: &Value| match part {
        Value::String(words) => !words::is_blank(words),
        other => other.is_object(),
    };
    let metadata = message.get("metadata").unwrap_or(&Value::Null);
    list(content, "parts").iter().any(says)
        || named(content, "text").is_some()
        || named(content, "result").is_some()
        || !list(content, "thoughts").is_empty()
        || !list(metadata, "attachments").is_empty()
        || matches!(role(message), "tool")
}

fn say(message: &Value, node: &str, model: &str, assets: &Assets<'_>, turns: &mut Turns) {
    if is_hidden(message) {
        return;
    }
    let id = named(message, "id").unwrap_or(node);
    let metadata = message.get("metadata").unwrap_or(&Value::Null);
    let head = Head::new(Some(id), time::at(message, "create_time"));
    let content = message.get("content").unwrap_or(&Value::Null);
    match role(message) {
        "user" => {
            turns.user(head);
            parts(content, metadata, assets, turns);
        }
        "tool" => {
            turns.goes_on(head);
            tool(message, content, metadata, assets, turns);
        }
        _ => {
            let model = named(metadata, "model_slug").unwrap_or(model);
            turns.assistant(head.by(Some(model)));
            assistant(message, content, metadata, assets, turns);
        }
    }
}

/// What a node of the assistant says or calls.
fn assistant(
    message: &Value,
    content: &Value,
    metadata: &Value,
    assets: &Assets<'_>,
    turns: &mut Turns,
) {
    let recipient = named(message, "recipient").filter(|recipient| *recipient != "all");
    if let Some(name) = recipient {
        let input = named(content, "text").map_or_else(|| joined(content), str::to_owned);
        if !words::is_blank(&input) {
            let input = words::json_or_text(&input);
            turns.call(Call { name: name.to_owned(), input, ..Call::default() });
        }
        return;
    }
    match kind(message) {
        "thoughts" => {
            for thought in list(content, "thoughts") {
                let (summary, body) = (text(thought, "summary"), text(thought, "content"));
                let gap =
                    if words::is_blank(summary) || words::is_blank(body) { "" } else { "\n\n" };
                turns.reasoning(&format!("{summary}{gap}{body}"));
            }
        }
        "code" | "execution_output" => {
            let code = text(content, "text");
            if !words::is_blank(code) {
                let language = named(content, "language").filter(|name| *name != "unknown");
                turns.text(&words::fenced(language.unwrap_or_default(), &words::clean(code)));
            }
        }
        _ if text(message, "channel") == "analysis" => turns.reasoning(&joined(content)),
        _ => parts(content, metadata, assets, turns),
    }
}

/// What a node of a tool says: the end of a call, files, sources.
fn tool(
    message: &Value,
    content: &Value,
    metadata: &Value,
    assets: &Assets<'_>,
    turns: &mut Turns,
) {
    let name = message.get("author").map_or("", |author| text(author, "name"));
    let kind = kind(message);
    let said = named(content, "text").map_or_else(|| joined(content), str::to_owned);
    let is_page = matches!(kind, "tether_quote" | "sonic_webpage" | "tether_browsing_display");
    let outcome = if kind == "system_error" {
        Outcome::failed(said.clone())
    } else if is_page {
        // What was scraped is not shown.
        Outcome::done(Value::Null)
    } else {
        Outcome::done(Value::String(words::clean(&said)))
    };
    let failed = kind == "system_error";
    if !turns.result(&Of::Name(name), outcome) && !is_page && !words::is_blank(&said) {
        match turns.last_call(name) {
            Some(call) if failed => {
                call.error = Some(said.clone());
                call.state = crate::model::CallState::Failed;
            }
            Some(call) => {
                // One call may be answered by several nodes.
                let before = call.output.as_ref().and_then(Value::as_str).unwrap_or_default();
                let gap = if before.is_empty() { "" } else { "\n" };
                call.output = Some(Value::String(format!("{before}{gap}{said}")));
            }
            None => turns.stray_result(name, &Value::String(said.clone())),
        }
    }
    if matches!(kind, "tether_quote" | "sonic_webpage") {
        turns.page(text(content, "url"), named(content, "title"));
    }
    let parts = list(content, "parts").iter().filter(|part| part.is_object());
    let mut shown = Vec::new();
    for part in parts {
        pointer(part, metadata, assets, &mut shown, turns);
    }
    attachments(metadata, assets, &shown, turns);
    citations::sources(metadata, turns);
}

/// The strings of `parts`, one below the other.
fn joined(content: &Value) -> String {
    let parts = list(content, "parts").iter().filter_map(|part| match part {
        Value::String(words) => Some(words.as_str()),
        other => named(other, "text"),
    });
    parts.filter(|words| !words::is_blank(words)).collect::<Vec<_>>().join("\n\n")
}

/// Text and files of a node.
fn parts(content: &Value, metadata: &Value, assets: &Assets<'_>, turns: &mut Turns) {
    let mut shown = Vec::new();
    for part in list(content, "parts") {
        match part {
            Value::String(words) => {
                let words = citations::without_marks(words, metadata);
                turns.text(&words);
            }
            Value::Object(_) => pointer(part, metadata, assets, &mut shown, turns),
            _ => {}
        }
    }
    if content.get("parts").is_none() {
        let kind = text(content, "content_type");
        match named(content, "text").or_else(|| named(content, "result")) {
            Some(words) => turns.text(&citations::without_marks(words, metadata)),
            None if !matches!(kind, "" | "text" | "multimodal_text") => {
                turns.data(kind, content.clone());
            }
            None => {}
        }
    }
    attachments(metadata, assets, &shown, turns);
    citations::sources(metadata, turns);
}

/// An object among the parts: a pointer to an asset, what was heard, or something unknown.
fn pointer(
    part: &Value,
    metadata: &Value,
    assets: &Assets<'_>,
    shown: &mut Vec<String>,
    turns: &mut Turns,
) {
    match text(part, "content_type") {
        "audio_transcription" => turns.text(text(part, "text")),
        kind
        @ ("image_asset_pointer" | "audio_asset_pointer" | "video_container_asset_pointer") => {
            let id = asset_id(text(part, "asset_pointer"));
            let format = named(part, "format").map(|format| format!("audio/{format}"));
            let of_kind = match kind {
                "image_asset_pointer" => Some("image/*"),
                "audio_asset_pointer" => format.as_deref().or(Some("audio/*")),
                _ => Some("video/*"),
            };
            if shown.iter().any(|known| known == id) {
                return;
            }
            shown.push(id.to_owned());
            let attached = list(metadata, "attachments").iter().find(|a| text(a, "id") == id);
            turns.file(assets.file(id, attached, of_kind));
        }
        "real_time_user_audio_video_asset_pointer" => {
            for inner in ["audio_asset_pointer", "video_container_asset_pointer"] {
                if let Some(inner) = part.get(inner).filter(|inner| inner.is_object()) {
                    pointer(inner, metadata, assets, shown, turns);
                }
            }
            for frame in list(part, "frames_asset_pointers") {
                pointer(frame, metadata, assets, shown, turns);
            }
        }
        kind => match named(part, "text") {
            Some(words) => turns.text(&citations::without_marks(words, metadata)),
            None => turns.data(if kind.is_empty() { "part" } else { kind }, part.clone()),
        },
    }
}

/// Attachments that no pointer has shown.
fn attachments(metadata: &Value, assets: &Assets<'_>, shown: &[String], turns: &mut Turns) {
    let mut done: Vec<&str> = Vec::new();
    for attached in list(metadata, "attachments") {
        let id = text(attached, "id");
        let is_new = id.is_empty() || !shown.iter().any(|known| known == id) && !done.contains(&id);
        if is_new {
            done.push(id);
            turns.file(assets.file(id, Some(attached), None));
        }
    }
}

/// The id in an asset pointer.
fn asset_id(pointer: &str) -> &str {
    let id = pointer.split_once("://").map_or(pointer, |(_, id)| id);
    id.split(['#', '?']).next().unwrap_or(id)
}

/// The files beside the conversations, found by the beginning of their names.
struct Assets<'a> {
    tree: &'a Tree,
    by_name: BTreeMap<String, &'a Entry>,
    /// What they were called, by file name.
    names: HashMap<String, String>,
}

impl<'a> Assets<'a> {
    fn of(tree: &'a Tree) -> Self {
        let by_name = tree.entries.iter().map(|entry| (entry.name().to_owned(), entry)).collect();
        let mut names = HashMap::new();
        if let Some(entry) = tree.named(NAMES).next() {
            let map = tree.whole(entry, MAX_NAMES).ok().and_then(|bytes| json::parse(&bytes));
            for (file, name) in map.as_ref().and_then(Value::as_object).into_iter().flatten() {
                let name = name.as_str().or_else(|| named(name, "name")).unwrap_or_default();
                names.insert(media::base_name(file).to_owned(), name.to_owned());
            }
        }
        Self { tree, by_name, names }
    }

    fn find(&self, id: &str) -> Option<&'a Entry> {
        if id.is_empty() {
            return None;
        }
        let mut from =
            self.by_name.range(id.to_owned()..).take_while(|(name, _)| name.starts_with(id));
        let ends = |name: &str| !name[id.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
        from.find(|(name, _)| ends(name)).map(|(_, entry)| *entry)
    }

    /// The file of an id, with what an attachment says about it.
    fn file(&self, id: &str, attached: Option<&Value>, of_kind: Option<&str>) -> File {
        let said = |field| attached.and_then(|attached| named(attached, field));
        let entry = self.find(id);
        let mapped = entry.and_then(|entry| self.names.get(entry.name()));
        let by_id = || self.names.get(id);
        let own = entry.map(Entry::name).and_then(|name| name.strip_prefix(id)).and_then(|rest| {
            // `file-ID-name.png`
            rest.strip_prefix('-')
                .or_else(|| rest.strip_prefix('_'))
                .filter(|rest| !rest.is_empty())
        });
        let name =
            said("name").or(mapped.map(String::as_str)).or(own).or(by_id().map(String::as_str));
        let kind = said("mime_type").or_else(|| said("mimeType")).or(of_kind);
        let bytes = entry.and_then(|entry| self.tree.whole(entry, media::MAX_FILE as u64).ok());
        match bytes {
            Some(bytes) => media::of_bytes(name, kind, bytes),
            None => {
                let by_name = name.and_then(media::type_of_name);
                let vague = kind.is_some_and(|kind| kind.ends_with("/*"));
                media::missing(name, by_name.filter(|_| vague).or(kind))
            }
        }
    }
}

/// Reads DeepSeek's.
pub(crate) fn read_deepseek(input: &mut Input<'_>) -> Result<(), Stop> {
    source::conversations(input, &LISTING, &mut |value, _, _| fragments(value))
}

fn fragments(value: &Value) -> Made {
    let Some(mapping) = value.get("mapping").and_then(Value::as_object) else {
        return Err("a conversation without messages");
    };
    let nodes: Vec<(&String, &Value)> = mapping.iter().collect();
    let shows = |message: &Value| !list(message, "fragments").is_empty();
    let dag = Dag::new(nodes.iter().map(|(id, node)| link(id, node, shows)).collect());
    let pointer = named(value, "current_node").and_then(|id| dag.find(id));
    let id_of = |at: usize| nodes[at].0.clone();
    let pointer = pointer.map(|at| (at, "current_node"));
    let Some(paths) = source::paths(&dag, pointer, &id_of) else { return Ok(None) };
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            let (id, node) = nodes[*at];
            let message = node.get("message").unwrap_or(&Value::Null);
            fragment(message, id, &mut turns);
        }
        turns.finish()
    };
    let others: Vec<Vec<Message>> = paths.others.iter().map(|path| told(path).messages).collect();
    let seed = [text(value, "title"), text(value, "inserted_at")];
    let session = source::session(Format::DeepSeek, named(value, "id"), &seed, told(&paths.shown));
    let (created, updated) = (time::at(value, "inserted_at"), time::at(value, "updated_at"));
    let session = session.titled(named(value, "title")).dated(created, updated);
    Ok(Some(session.branched(paths.branch, others)))
}

fn fragment(message: &Value, id: &str, turns: &mut Turns) {
    let head = || Head::new(Some(id), time::at(message, "inserted_at")).by(named(message, "model"));
    for file in list(message, "files") {
        let name = named(file, "file_name").or_else(|| named(file, "name"));
        turns.user(head());
        turns.file(media::missing(name, None));
    }
    let mut begun = None;
    for fragment in list(message, "fragments") {
        let kind = text(fragment, "type");
        let is_user = kind == "REQUEST";
        if begun != Some(is_user) {
            begun = Some(is_user);
            let files = !list(message, "files").is_empty();
            match is_user {
                true if files => {}
                true => turns.user(head()),
                false => turns.assistant(head()),
            }
        }
        match kind {
            "REQUEST" | "RESPONSE" => turns.text(text(fragment, "content")),
            "THINK" => turns.reasoning(text(fragment, "content")),
            "SEARCH" | "TOOL_SEARCH" | "READ_LINK" => {
                for result in
                    list(fragment, "results").iter().chain(list(fragment, "search_results"))
                {
                    turns.page(text(result, "url"), named(result, "title"));
                }
            }
            "" => {}
            other => turns.data(other, fragment.clone()),
        }
    }
}
