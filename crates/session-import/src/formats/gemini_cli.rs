//! Gemini CLI: a log of messages for each session, of which a later one with the same id replaces the earlier, and
//! operations: set metadata, set all messages, take back.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::gemini_parts::{self, Status};
use crate::Format;
use crate::json::{self, Lines, list, named, text};
use crate::model::{Branch, Call};
use crate::shape::Shape;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Turns};

/// Bytes of a session as one JSON file.
const MAX_FILE: u64 = 256 << 20;

/// Reads the sessions. A session that lies there in both forms is one.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut sessions: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (at, entry) in input.entries.clone().into_iter().enumerate() {
        let id = session_id(input, &entry);
        let group = id.map_or(at, |id| *known.entry(id).or_insert(at));
        sessions.entry(group).or_default().push(entry);
    }
    for (_, mut entries) in sessions {
        // The earlier form first: the log goes on from it.
        entries.sort_by_key(|entry| is_log(input, entry));
        let mut log = Log::default();
        for entry in &entries {
            input.sink.file(&entry.path, entry.size);
            log.read(input, entry);
        }
        let entry = &entries[0];
        let is_subagent = text(&log.meta, "kind") == "subagent" || inside_chat(entry);
        if !is_subagent {
            let folder = folder(input, entry);
            input.session(log.session(&entry.path, folder.as_deref()))?;
        }
    }
    Ok(())
}

fn head(input: &Input<'_>, entry: &Entry) -> Vec<u8> {
    input.tree.head(entry, source::HEAD).unwrap_or_default()
}

fn is_log(input: &Input<'_>, entry: &Entry) -> bool {
    let head = head(input, entry);
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // A line is an object that is whole; one JSON file has its messages inside.
    first.trim_ascii().len() > 1 && !Shape::of(first).has("messages/[]")
}

fn session_id(input: &Input<'_>, entry: &Entry) -> Option<String> {
    let head = head(input, entry);
    let text = String::from_utf8_lossy(&head);
    let (_, rest) = text.split_once("\"sessionId\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    rest.split('"').next().map(str::to_owned)
}

/// Whether a log lies in the folder of another session.
fn inside_chat(entry: &Entry) -> bool {
    let mut folders = entry.folder().rsplit('/');
    folders.next().is_some_and(|own| own != "chats") && folders.next() == Some("chats")
}

/// The folder of the project, which a file beside the chats names.
fn folder(input: &Input<'_>, entry: &Entry) -> Option<String> {
    let project = entry.folder().strip_suffix("chats")?;
    let path = format!("{project}.project_root");
    let file = input.tree.named(".project_root").find(|entry| entry.path == path)?;
    let bytes = input.tree.whole(file, 4096).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// What the operations of a log leave.
#[derive(Default)]
struct Log {
    meta: Value,
    messages: Vec<Value>,
    /// Places of messages by id; those behind the end were taken back.
    places: HashMap<String, usize>,
}

impl Log {
    fn read(&mut self, input: &mut Input<'_>, entry: &Entry) {
        if is_log(input, entry) {
            let Ok(from) = input.tree.read(entry) else {
                return input.problem(&*entry.path, "it cannot be unpacked");
            };
            for line in Lines::new(from) {
                match line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object) {
                    Some(record) => self.take(record),
                    None => input
                        .problem(format!("{} line {}", entry.path, line.number), "it is not JSON"),
                }
            }
        } else {
            let bytes = input.tree.whole(entry, MAX_FILE);
            match bytes.ok().and_then(|bytes| json::parse(&bytes)) {
                Some(record) => self.take(record),
                None => input.problem(&*entry.path, "it is not JSON, or too large"),
            }
        }
    }

    fn take(&mut self, mut record: Value) {
        if let Some(set) = record.get_mut("$set").map(Value::take) {
            self.set(set);
        } else if let Some(to) = record.get("$rewindTo") {
            let at = to.as_str().and_then(|id| self.place(id));
            self.messages.truncate(at.unwrap_or(0));
        } else if record.get("sessionId").is_some() && record.get("type").is_none() {
            self.set(record);
        } else if record.get("type").is_some() {
            self.put(record);
        }
    }

    fn set(&mut self, mut fields: Value) {
        if let Some(Value::Array(messages)) = fields.get_mut("messages").map(Value::take) {
            self.messages.clear();
            messages.into_iter().filter(Value::is_object).for_each(|message| self.put(message));
        }
        if !self.meta.is_object() {
            self.meta = Value::Object(serde_json::Map::new());
        }
        if let (Value::Object(fields), Some(meta)) = (fields, self.meta.as_object_mut()) {
            meta.extend(fields.into_iter().filter(|(name, _)| name != "messages"));
        }
    }

    fn put(&mut self, message: Value) {
        let id = named(&message, "id").map(str::to_owned);
        match id.as_ref().and_then(|id| self.place(id)) {
            Some(at) => self.messages[at] = message,
            None => {
                if let Some(id) = id {
                    self.places.insert(id, self.messages.len());
                }
                self.messages.push(message);
            }
        }
    }

    fn place(&self, id: &str) -> Option<usize> {
        let at = *self.places.get(id)?;
        (named(self.messages.get(at)?, "id") == Some(id)).then_some(at)
    }

    fn session(&self, path: &str, folder: Option<&str>) -> Option<crate::Session> {
        let mut turns = Turns::default();
        let mut leaf = None;
        for message in &self.messages {
            let head = Head::new(named(message, "id"), time::at(message, "timestamp"));
            match text(message, "type") {
                "user" => {
                    let content = message.get("displayContent").or_else(|| message.get("content"));
                    let content = content.unwrap_or(&Value::Null);
                    if is_context(content) {
                        continue;
                    }
                    turns.user(head);
                    gemini_parts::content(content, &mut turns);
                }
                "gemini" | "model" | "assistant" => {
                    turns.assistant(head.by(named(message, "model")));
                    answer(message, &mut turns);
                }
                _ => continue,
            }
            leaf = named(message, "id").map(str::to_owned);
        }
        let session = source::session(
            Format::GeminiCli,
            named(&self.meta, "sessionId"),
            &[path],
            turns.finish(),
        );
        let branch = Branch {
            leaf,
            why: "what is left after taking back",
            other_leaves: 0,
            continues: None,
        };
        let created = time::at(&self.meta, "startTime");
        Some(
            session
                .titled(named(&self.meta, "summary"))
                .dated(created, time::at(&self.meta, "lastUpdated"))
                .working_in(folder)
                .branched(branch, Vec::new()),
        )
    }
}

/// Whether a text is one that the app put in.
fn is_context(content: &Value) -> bool {
    let first = match content {
        Value::String(text) => text.as_str(),
        Value::Array(parts) => {
            parts.first().map_or("", |part| part.as_str().unwrap_or_else(|| text(part, "text")))
        }
        _ => "",
    };
    first.trim_start().starts_with("<session_context>")
}

fn answer(message: &Value, turns: &mut Turns) {
    for thought in list(message, "thoughts") {
        let (subject, description) = (text(thought, "subject"), text(thought, "description"));
        let gap = if subject.is_empty() || description.is_empty() { "" } else { "\n\n" };
        turns.reasoning(&format!("{subject}{gap}{description}"));
    }
    gemini_parts::content(message.get("content").unwrap_or(&Value::Null), turns);
    for call in list(message, "toolCalls") {
        let response = list(call, "result").iter().find_map(|part| part.get("functionResponse"));
        let value = response.and_then(|response| response.get("response"));
        let status = text(call, "status");
        let display = call.get("resultDisplay").filter(|display| display.is_string());
        let value = value.or(display).unwrap_or(&Value::Null);
        let ended = matches!(status, "success" | "error" | "cancelled" | "canceled");
        let outcome = ended.then(|| gemini_parts::outcome(value, &Status::Told(status)));
        let id = named(call, "id").map(str::to_owned);
        let input = words::input_of(call.get("args"));
        let name = text(call, "name").to_owned();
        turns.call_with(Call { id, name, input, ..Call::default() }, outcome);
        for part in list(call, "result").iter().filter(|part| part.get("inlineData").is_some()) {
            gemini_parts::part(part, &Status::Unknown, turns);
        }
    }
}
