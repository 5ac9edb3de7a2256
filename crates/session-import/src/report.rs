//! What a dry run prints: `{"format","sessions":[…],"problems":n}`, one session after the other.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::Format;
use crate::model::{Call, CallState, File, Message, Part, Problem, Role, Session, Source};
use crate::sink::{Sink, Stop};
use crate::time;

/// Bytes of a file's text that are printed.
const MAX_CONTENT: usize = 1 << 20;

/// Prints sessions as they come.
pub struct Report<W> {
    out: W,
    count: usize,
    problems: Vec<Problem>,
    error: Option<io::Error>,
    /// Prints the paths that are not shown, too.
    branches: bool,
}

impl<W: Write> Report<W> {
    /// Begins a report. `format`: `None` prints `unknown`. `branches`: prints the paths that are not shown, too.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn begin(mut out: W, format: Option<Format>, branches: bool) -> io::Result<Self> {
        let name = format.map_or("unknown", Format::name);
        write!(out, "{{\"format\":{},\"sessions\":[", Value::from(name))?;
        Ok(Self { out, count: 0, problems: Vec::new(), error: None, branches })
    }

    /// Ends the report; the problems, which it counts.
    ///
    /// # Errors
    ///
    /// It cannot be written, or could not.
    pub fn end(mut self) -> io::Result<Vec<Problem>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        writeln!(self.out, "],\"problems\":{}}}", self.problems.len())?;
        self.out.flush()?;
        Ok(self.problems)
    }
}

impl<W: Write> Sink for Report<W> {
    fn session(&mut self, session: Session) -> Result<(), Stop> {
        let comma = if self.count > 0 { "," } else { "" };
        self.count += 1;
        let written = write!(self.out, "{comma}\n{}", printed(&session, self.branches));
        written.map_err(|error| {
            self.error = Some(error);
            Stop
        })
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

/// A session as it is printed.
pub fn printed(session: &Session, branches: bool) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("sourceId", session.source_id.clone().into());
    put("key", session.key.clone().into());
    put("title", session.title.clone().into());
    put("createdAt", session.created_at.map(time::text_of_time).into());
    let branch = session.branch.as_ref().map(|branch| {
        let mut told = json!({
            "leaf": branch.leaf, "why": branch.why, "otherLeaves": branch.other_leaves,
        });
        if let Some(origin) = &branch.continues {
            told["continues"] = origin.clone().into();
        }
        told
    });
    put("branch", branch.into());
    put("messages", messages(&session.messages));
    if branches && !session.others.is_empty() {
        put("otherBranch", messages(&session.others[0]));
        put("otherBranches", session.others.iter().map(|path| messages(path)).collect());
    }
    put("compactions", session.compactions.into());
    for (name, value) in [
        ("contextFrom", &session.context_from),
        ("systemPrompt", &session.system_prompt),
        ("workingDirectory", &session.working_directory),
    ] {
        if let Some(value) = value {
            put(name, value.clone().into());
        }
    }
    put("touchedFiles", session.touched_files.clone().into());
    put("interrupted", session.interrupted.into());
    Value::Object(out)
}

fn messages(messages: &[Message]) -> Value {
    messages.iter().map(message).collect()
}

fn message(message: &Message) -> Value {
    let mut out = Map::new();
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    out.insert("role".to_owned(), role.into());
    if let Some(id) = &message.id {
        out.insert("id".to_owned(), id.clone().into());
    }
    if let Some(at) = message.at {
        out.insert("createdAt".to_owned(), time::text_of_time(at).into());
    }
    out.insert("parts".to_owned(), message.parts.iter().filter_map(part).collect());
    Value::Object(out)
}

fn part(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Reasoning(text) => json!({"type": "reasoning", "text": text}),
        Part::Call(call) => self::call(call),
        Part::File(file) => self::file(file),
        Part::Source(source) => self::source(source),
        Part::Data { name, .. } => json!({"type": "data", "name": name}),
        Part::Step => return None,
    })
}

fn call(call: &Call) -> Value {
    let state = match call.state {
        CallState::Ready => "ready",
        CallState::Done => "done",
        CallState::Failed => "failed",
        CallState::Denied => "denied",
    };
    let mut out =
        json!({"type": "tool-call", "name": call.name, "input": call.input, "state": state});
    if let Some(id) = &call.id {
        out["id"] = id.clone().into();
    }
    if let Some(output) = &call.output {
        out["output"] = output.clone();
    }
    if let Some(error) = &call.error {
        out["error"] = error.clone().into();
    }
    out
}

fn file(file: &File) -> Value {
    let mut out = json!({"type": "file", "found": file.bytes.is_some()});
    if let Some(name) = &file.filename {
        out["filename"] = name.clone().into();
    }
    if let Some(kind) = &file.media_type {
        out["mediaType"] = kind.clone().into();
    }
    let text =
        file.bytes.as_ref().filter(|bytes| bytes.len() <= MAX_CONTENT && !bytes.contains(&0));
    if let Some(text) = text.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
        out["content"] = text.into();
    }
    out
}

fn source(source: &Source) -> Value {
    let mut out = json!({"type": "source"});
    match &source.url {
        Some(url) => out["url"] = url.clone().into(),
        None => out["kind"] = "document".into(),
    }
    if let Some(title) = &source.title {
        out["title"] = title.clone().into();
    }
    if let Some(name) = &source.filename {
        out["filename"] = name.clone().into();
    }
    out
}
