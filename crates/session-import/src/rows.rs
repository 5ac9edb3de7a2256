//! A session as rows of a stream: one whole message each, as every reader of sessions folds them.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::{Call, CallState, File, Message, Part, Role, Session};
use crate::source::hash;
use crate::time;

/// Bytes of one row. A server takes at most four MiB.
const MAX_ROW: usize = 3 << 20;
/// Bytes of a file that is written into its message; a larger one is marked as missing.
const MAX_INLINE: usize = MAX_ROW / 2;
/// Bytes that are left of a text that is too long.
const CUT_TEXT: usize = 256 << 10;
/// The address of a file that the import did not hold. Nothing is there.
pub const MISSING: &str = "urn:threadkeep:missing";

/// A message as it is written.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id, the same each time.
    pub message_id: String,
    /// Who speaks.
    pub role: Role,
    /// The model or agent; `None` for the person of the import.
    pub author: Option<String>,
    /// The message, JSON text.
    pub message: String,
}

impl Row {
    /// The chunk that opens a message. A message that began with a chunk may be stated again; one that was written whole
    /// at once stays as it is.
    pub const OPEN: &str = r#"{"type":"start"}"#;

    /// The chunk that states the message, the first time and again.
    pub fn whole(&self) -> String {
        format!("{{\"type\":\"whole-message\",\"message\":{}}}", self.message)
    }
}

impl std::fmt::Debug for Row {
    // L11: the message is a conversation.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("role", &self.role).finish_non_exhaustive()
    }
}

/// The shown path of a session as rows, and whether something was too large and was cut.
pub fn rows(session: &Session) -> (Vec<Row>, bool) {
    path(session, &session.messages, 0)
}

/// Another path of a session as rows; `which` is its place among [`Session::others`], from 0.
pub fn other_rows(session: &Session, which: usize) -> (Vec<Row>, bool) {
    let messages = session.others.get(which).map(Vec::as_slice).unwrap_or_default();
    path(session, messages, which + 1)
}

fn path(session: &Session, messages: &[Message], which: usize) -> (Vec<Row>, bool) {
    let (mut ids, mut calls, mut cut) = (HashSet::new(), HashSet::new(), false);
    let mut out = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let own = message.id.as_deref().filter(|id| is_plain(id) && ids.insert((*id).to_owned()));
        let message_id = own.map_or_else(
            || {
                let place = at.to_string();
                hash(&[&session.key, message.id.as_deref().unwrap_or_default(), &place])
            },
            str::to_owned,
        );
        let mut parts = Vec::new();
        if at == 0 {
            parts.push(origin(session, which));
        }
        for (place, part) in message.parts.iter().enumerate() {
            cut |= matches!(part, Part::File(file) if file.bytes.as_ref().is_some_and(|bytes| bytes.len() >= MAX_INLINE));
            parts.push(self::part(part, &format!("{message_id}.{place}"), &mut calls));
        }
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let mut told = json!({"id": message_id, "role": role, "parts": parts});
        if let Some(at) = message.at {
            told["createdAt"] = time::text_of_time(at).into();
        }
        let mut written = told.to_string();
        if written.len() > MAX_ROW {
            cut = true;
            shorten(&mut told);
            written = told.to_string();
        }
        out.push(Row {
            message_id,
            role: message.role,
            author: message.author.clone().filter(|name| is_name(name)),
            message: written,
        });
    }
    (out, cut)
}

/// Whether a model's or agent's name can be an actor's.
fn is_name(name: &str) -> bool {
    let plain = |byte| matches!(byte, b' '..=b'~');
    !name.trim().is_empty() && name.len() <= 128 && name.bytes().all(plain)
}

/// Whether an id can be one of ours.
fn is_plain(id: &str) -> bool {
    id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Where a session comes from, in its first message.
fn origin(session: &Session, which: usize) -> Value {
    let mut data = json!({
        "format": session.format.name(),
        "sourceId": session.source_id,
        "createdAt": session.created_at.map(time::text_of_time),
    });
    for (name, value) in [
        ("systemPrompt", &session.system_prompt),
        ("workingDirectory", &session.working_directory),
        ("contextFrom", &session.context_from),
    ] {
        if let Some(value) = value {
            let short: String = value.chars().take(CUT_TEXT / 4).collect();
            data[name] = short.into();
        }
    }
    if which > 0 {
        data["branch"] = which.into();
    }
    json!({"type": "data-import", "id": "import", "data": data})
}

fn part(part: &Part, id: &str, calls: &mut HashSet<String>) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Reasoning(text) => json!({"type": "reasoning", "text": text}),
        Part::Call(call) => self::call(call, id, calls),
        Part::File(file) => self::file(file),
        Part::Source(source) => {
            let kind = if source.url.is_some() { "source-url" } else { "source-document" };
            let mut out = json!({"type": kind, "sourceId": id});
            for (name, value) in
                [("url", &source.url), ("title", &source.title), ("filename", &source.filename)]
            {
                if let Some(value) = value {
                    out[name] = value.clone().into();
                }
            }
            if kind == "source-document" && source.title.is_none() {
                out["title"] = source.filename.clone().into();
            }
            out
        }
        Part::Data { name, data } => {
            json!({"type": format!("data-{name}"), "id": id, "data": data})
        }
        Part::Step => json!({"type": "step-start"}),
    }
}

fn call(call: &Call, id: &str, calls: &mut HashSet<String>) -> Value {
    let own = call.id.as_ref().filter(|own| calls.insert((*own).clone()));
    let state = match call.state {
        CallState::Ready => "input-available",
        CallState::Done => "output-available",
        CallState::Failed => "output-error",
        CallState::Denied => "output-denied",
    };
    let mut out = json!({
        "type": "dynamic-tool", "toolName": call.name,
        "toolCallId": own.map_or(id, String::as_str), "state": state, "input": call.input,
    });
    if let Some(output) = &call.output {
        out["output"] = output.clone();
    }
    if let Some(error) = &call.error {
        out["errorText"] = error.clone().into();
    }
    out
}

fn file(file: &File) -> Value {
    let kind = file.media_type.as_deref();
    let url = file.bytes.as_ref().filter(|bytes| bytes.len() < MAX_INLINE).map_or_else(
        || MISSING.to_owned(),
        |bytes| {
            let kind =
                kind.filter(|kind| !kind.ends_with("/*")).unwrap_or("application/octet-stream");
            format!("data:{kind};base64,{}", STANDARD.encode(bytes))
        },
    );
    let mut out = Map::new();
    out.insert("type".to_owned(), "file".into());
    out.insert("url".to_owned(), url.into());
    if let Some(kind) = kind {
        out.insert("mediaType".to_owned(), kind.into());
    }
    if let Some(name) = &file.filename {
        out.insert("filename".to_owned(), name.clone().into());
    }
    Value::Object(out)
}

/// Leaves out the bytes of files and the ends of long texts, until a row is one.
fn shorten(message: &mut Value) {
    let Some(parts) = message.get_mut("parts").and_then(Value::as_array_mut) else { return };
    let share = (MAX_ROW / 2 / parts.len().max(1)).min(CUT_TEXT);
    for part in parts {
        let Some(fields) = part.as_object_mut() else { continue };
        for (name, value) in fields {
            let length = value.as_str().map_or_else(|| value.to_string().len(), str::len);
            if length <= share {
                continue;
            }
            *value = match (name.as_str(), &*value) {
                ("url", _) => MISSING.into(),
                (_, Value::String(text)) => {
                    let end = text.floor_char_boundary(share);
                    format!("{}…", &text[..end]).into()
                }
                (_, other) => {
                    let text = other.to_string();
                    let end = text.floor_char_boundary(share);
                    format!("{}…", &text[..end]).into()
                }
            };
        }
    }
}
