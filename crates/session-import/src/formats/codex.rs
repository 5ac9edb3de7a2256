//! Codex: a log ("rollout") for each session, in which everything stands twice.
//!
//! Lines are cut into turns. In a turn the items of the model's protocol count, and events only for what it has no items
//! of; the same words in two turns are two messages. Turns that were rolled back are gone.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Format;
use crate::json::{self, Lines, is, list, named, text};
use crate::media;
use crate::model::{Branch, Call};
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{COMPACTION, Head, Of, Outcome, Turns};

/// What begins texts that a person did not write.
const NOT_SAID: &[&str] = &[
    "# AGENTS.md instructions",
    "<environment_context>",
    "<user_instructions>",
    "<INSTRUCTIONS>",
    "<permissions",
    "<user_shell_command>",
    "<recommended_plugins>",
    "<hook_prompt>",
    "<turn_aborted>",
    "<subagent_notification>",
    "<skill>",
];
/// What stands ahead of what a person wrote, with context above it.
const REQUEST: &str = "## My request for Codex:";

/// Where a line comes from; the first of them that a turn has is the one that counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Item,
    Event,
    Completed,
}

/// What a line says.
enum Said {
    User(Origin),
    Words(Origin),
    Thoughts(Origin),
    /// A call, a result, a compaction: only items say so.
    Other,
}

struct Line {
    at: Option<Timestamp>,
    said: Said,
    kind: String,
    payload: Value,
}

#[derive(Default)]
struct Turn {
    id: Option<String>,
    lines: Vec<Line>,
}

impl Turn {
    fn answers(&self) -> bool {
        let is_answer = |line: &Line| match line.said {
            Said::Words(_) | Said::Thoughts(_) => true,
            Said::Other => !line.kind.starts_with("compact"),
            Said::User(_) => false,
        };
        self.lines.iter().any(is_answer)
    }

    fn asks(&self, origin: Option<Origin>) -> bool {
        self.lines.iter().any(|line| match line.said {
            Said::User(own) => origin.is_none_or(|origin| own == origin),
            _ => false,
        })
    }
}

/// What is known of a file before it is read.
struct Known {
    id: String,
    turns: HashSet<String>,
    lines: usize,
}

/// Reads the sessions.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let entries = input.entries.clone();
    let several = entries.len() > 1;
    let known: Vec<Option<Known>> =
        entries.iter().map(|entry| several.then(|| know(input, entry)).flatten()).collect();
    let names = names(input);
    for (at, entry) in entries.iter().enumerate() {
        // A session that lies there twice, such as packed and unpacked: the longer one.
        let own = known[at].as_ref();
        let is_shorter = known.iter().enumerate().any(|(other, known)| {
            let (Some(own), Some(known)) = (own, known) else { return false };
            other != at && own.id == known.id && (known.lines, at) > (own.lines, other)
        });
        if is_shorter {
            continue;
        }
        input.sink.file(&entry.path, entry.size);
        let session = session(input, entry, &known, &names);
        input.session(session)?;
    }
    Ok(())
}

/// A line in the form of today; `None` for those that say nothing.
fn normal(mut row: Value) -> Option<(Option<Timestamp>, String, Value)> {
    let at = time::at(&row, "timestamp");
    if let Some(payload) = row.get_mut("payload").map(Value::take) {
        return Some((at, text(&row, "type").to_owned(), payload));
    }
    if row.get("record_type").is_some() {
        return None;
    }
    let kind = if row.get("type").is_some() { "response_item" } else { "session_meta" };
    (kind == "response_item" || row.get("id").is_some()).then(|| (at, kind.to_owned(), row))
}

fn know(input: &Input<'_>, entry: &Entry) -> Option<Known> {
    let (mut id, mut turns, mut lines) = (None, HashSet::new(), 0);
    for line in Lines::new(input.tree.read(entry).ok()?) {
        lines += 1;
        let row = line.bytes.and_then(|bytes| json::parse(&bytes));
        let Some((_, kind, payload)) = row.and_then(normal) else { continue };
        match kind.as_str() {
            "session_meta" if id.is_none() => id = named(&payload, "id").map(str::to_owned),
            "turn_context" | "event_msg" => {
                turns.extend(named(&payload, "turn_id").map(str::to_owned));
            }
            _ => {}
        }
    }
    Some(Known { id: id?, turns, lines })
}

/// Titles by session, of the index beside the logs.
fn names(input: &Input<'_>) -> HashMap<String, String> {
    let mut names = HashMap::new();
    for entry in input.tree.named("session_index.jsonl") {
        for line in input.tree.read(entry).into_iter().flat_map(Lines::new) {
            let Some(row) = line.bytes.and_then(|bytes| json::parse(&bytes)) else { continue };
            let name = named(&row, "thread_name").or_else(|| named(&row, "title"));
            if let (Some(id), Some(name)) = (named(&row, "id"), name) {
                names.insert(id.to_owned(), name.to_owned());
            }
        }
    }
    names
}

fn session(
    input: &mut Input<'_>,
    entry: &Entry,
    known: &[Option<Known>],
    names: &HashMap<String, String>,
) -> Option<crate::Session> {
    let Ok(from) = input.tree.read(entry) else {
        input.problem(&*entry.path, "it cannot be unpacked");
        return None;
    };
    let mut meta = None;
    let mut turns = vec![Turn::default()];
    let (mut model, mut folder, mut aborted) = (None, None, false);
    for line in Lines::new(from) {
        let row = line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
        let Some(row) = row else {
            input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON");
            continue;
        };
        let Some((at, kind, payload)) = normal(row) else { continue };
        match kind.as_str() {
            // The first one names the file; a fork has its parent's too.
            "session_meta" => {
                meta.get_or_insert(payload);
            }
            "turn_context" => {
                model = model.or_else(|| named(&payload, "model").map(str::to_owned));
                folder = folder.or_else(|| named(&payload, "cwd").map(str::to_owned));
                begin(&mut turns, named(&payload, "turn_id"));
            }
            "response_item" => item(at, payload, &mut turns),
            "compacted" => put(&mut turns, Line { at, said: Said::Other, kind, payload }),
            "event_msg" => {
                aborted = match text(&payload, "type") {
                    "turn_aborted" => true,
                    "task_started" | "turn_started" | "user_message" => false,
                    _ => aborted,
                };
                event(at, payload, &mut turns);
            }
            _ => {}
        }
    }
    let meta = meta.unwrap_or(Value::Null);
    if meta.pointer("/source/subagent").is_some() {
        return None;
    }
    let origin = named(&meta, "forked_from_id");
    let parent = origin.and_then(|id| known.iter().flatten().find(|known| known.id == id));
    if let Some(parent) = parent {
        let is_own = |turn: &Turn| turn.id.as_ref().is_some_and(|id| !parent.turns.contains(id));
        let is_copied = |turn: &Turn| turn.id.as_ref().is_some_and(|id| parent.turns.contains(id));
        let own = turns.iter().position(is_own).unwrap_or(turns.len());
        let copied = turns[..own].iter().rposition(is_copied).map_or(0, |at| at + 1);
        turns.drain(..copied);
    }
    let mut out = Turns::default();
    for turn in &turns {
        tell(turn, model.as_deref(), &mut out);
    }
    let id = named(&meta, "id").or_else(|| named(&meta, "session_id"));
    let title = id.and_then(|id| names.get(id)).map(String::as_str);
    let prompt = meta.pointer("/base_instructions/text").and_then(Value::as_str);
    let mut session = source::session(Format::Codex, id, &[&entry.path], out.finish())
        .titled(title)
        .dated(time::at(&meta, "timestamp"), None)
        .working_in(named(&meta, "cwd").or(folder.as_deref()))
        .prompted(prompt.or_else(|| named(&meta, "instructions")));
    session.interrupted = aborted;
    if let Some(origin) = origin {
        let branch = Branch {
            leaf: None,
            why: "what is left after turns were rolled back",
            other_leaves: 0,
            continues: Some(origin.to_owned()),
        };
        session = session.branched(branch, Vec::new());
    }
    Some(session)
}

/// A turn begins, unless the last one has not been answered yet.
fn begin(turns: &mut Vec<Turn>, id: Option<&str>) {
    let last = turns.last_mut().expect("there is always one");
    let other = id.is_some() && last.id.is_some() && last.id.as_deref() != id && last.asks(None);
    if last.answers() || other {
        turns.push(Turn::default());
    }
    let last = turns.last_mut().expect("there is always one");
    last.id = last.id.take().or_else(|| id.map(str::to_owned));
}

fn put(turns: &mut Vec<Turn>, line: Line) {
    if let Said::User(origin) = line.said {
        let last = turns.last().expect("there is always one");
        if last.answers() || last.asks(Some(origin)) {
            turns.push(Turn::default());
        }
    }
    turns.last_mut().expect("there is always one").lines.push(line);
}

fn item(at: Option<Timestamp>, payload: Value, turns: &mut Vec<Turn>) {
    let kind = text(&payload, "type").to_owned();
    let said = match (kind.as_str(), text(&payload, "role")) {
        ("message", "user") if texts(&payload).is_some() => Said::User(Origin::Item),
        ("message", "assistant") => Said::Words(Origin::Item),
        ("message" | "ghost_snapshot" | "", _) => return,
        // What is only encrypted says nothing.
        ("reasoning", _) if thoughts(&payload).is_empty() => return,
        ("reasoning", _) => Said::Thoughts(Origin::Item),
        _ => Said::Other,
    };
    put(turns, Line { at, said, kind, payload });
}

fn event(at: Option<Timestamp>, payload: Value, turns: &mut Vec<Turn>) {
    let kind = text(&payload, "type").to_owned();
    let said = match kind.as_str() {
        "user_message"
            if typed(text(&payload, "message")).is_some()
                || !list(&payload, "images").is_empty() =>
        {
            Said::User(Origin::Event)
        }
        "agent_message" => Said::Words(Origin::Event),
        "agent_reasoning" => Said::Thoughts(Origin::Event),
        "item_completed" => match payload.pointer("/item/type").and_then(Value::as_str) {
            Some("UserMessage") => Said::User(Origin::Completed),
            Some("AgentMessage") => Said::Words(Origin::Completed),
            Some("Reasoning") => Said::Thoughts(Origin::Completed),
            _ => return,
        },
        "context_compacted" => Said::Other,
        "task_started" | "turn_started" => return begin(turns, named(&payload, "turn_id")),
        "thread_rolled_back" => {
            return roll_back(turns, payload.get("num_turns").and_then(Value::as_u64));
        }
        _ => return,
    };
    put(turns, Line { at, said, kind, payload });
}

/// Takes back the last turns in which the person said something.
fn roll_back(turns: &mut Vec<Turn>, count: Option<u64>) {
    for _ in 0..count.unwrap_or(1) {
        let Some(at) = turns.iter().rposition(|turn| turn.asks(None)) else { break };
        turns.truncate(at);
    }
    turns.push(Turn::default());
}

/// What a person wrote, of a text with context ahead of it.
fn typed(text: &str) -> Option<&str> {
    let text = text.rfind(REQUEST).map_or(text, |at| &text[at + REQUEST.len()..]).trim();
    let is_said = !text.is_empty() && !NOT_SAID.iter().any(|begin| text.starts_with(begin));
    is_said.then_some(text)
}

/// The words and images of a message of a person; `None` when there are none.
fn texts(payload: &Value) -> Option<Vec<&Value>> {
    let blocks = list(payload, "content").iter().filter(|block| match named(block, "text") {
        Some(text) => typed(text).is_some(),
        None => text(block, "type").contains("image") || text(block, "type").contains("file"),
    });
    let blocks: Vec<&Value> = blocks.collect();
    (!blocks.is_empty()).then_some(blocks)
}

fn thoughts(payload: &Value) -> String {
    let pieces = |field| {
        list(payload, field)
            .iter()
            .filter_map(|piece| piece.as_str().or_else(|| named(piece, "text")))
    };
    let summary: Vec<&str> = pieces("summary").chain(pieces("summary_text")).collect();
    let all = if summary.is_empty() {
        pieces("content").chain(pieces("raw_content")).collect()
    } else {
        summary
    };
    all.join("\n\n")
}

/// Says a turn: of each kind of line those of the best origin.
fn tell(turn: &Turn, model: Option<&str>, turns: &mut Turns) {
    let mut best: [Option<Origin>; 3] = [None; 3];
    for line in &turn.lines {
        let (kind, origin) = match line.said {
            Said::User(origin) => (0, origin),
            Said::Words(origin) => (1, origin),
            Said::Thoughts(origin) => (2, origin),
            Said::Other => continue,
        };
        best[kind] = Some(best[kind].map_or(origin, |known| known.min(origin)));
    }
    let compacted = turn.lines.iter().filter(|line| line.kind == "compacted").count();
    for line in &turn.lines {
        let payload = &line.payload;
        let inner = payload.get("item").unwrap_or(payload);
        let head = || Head::new(named(inner, "id"), line.at);
        match line.said {
            Said::User(origin) if Some(origin) == best[0] => {
                turns.user(head());
                for block in texts(inner).unwrap_or_default() {
                    match named(block, "text").and_then(typed) {
                        Some(words) => turns.text(words),
                        None => turns.blocks(std::slice::from_ref(block)),
                    }
                }
                if origin == Origin::Event {
                    turns.text(typed(text(payload, "message")).unwrap_or_default());
                    for image in list(payload, "images").iter().filter_map(Value::as_str) {
                        turns.file(media::by_url(image, Some("image/*"), None));
                    }
                }
            }
            Said::Words(origin) if Some(origin) == best[1] => {
                turns.assistant(head().by(model));
                match origin {
                    Origin::Event => turns.text(text(payload, "message")),
                    _ => {
                        for block in list(inner, "content") {
                            match named(block, "text").or_else(|| named(block, "refusal")) {
                                Some(words) => turns.text(words),
                                None => turns.blocks(std::slice::from_ref(block)),
                            }
                        }
                    }
                }
            }
            Said::Thoughts(origin) if Some(origin) == best[2] => {
                turns.assistant(head().by(model));
                match origin {
                    Origin::Event => turns.reasoning(text(payload, "text")),
                    _ => turns.reasoning(&thoughts(inner)),
                }
            }
            Said::Other => other(line, model, compacted, turns),
            _ => {}
        }
    }
}

fn other(line: &Line, model: Option<&str>, compacted: usize, turns: &mut Turns) {
    let payload = &line.payload;
    let id = named(payload, "call_id").or_else(|| named(payload, "id"));
    let call = |name: &str, input: Value| Call {
        id: id.map(str::to_owned),
        name: name.to_owned(),
        input,
        ..Call::default()
    };
    let kind = line.kind.as_str();
    if kind.starts_with("compact") || kind == "context_compacted" {
        // One compaction is told by up to three lines.
        if kind == "compacted" || compacted == 0 {
            turns.mark(COMPACTION, json!({"summary": text(payload, "message")}));
        }
        return;
    }
    turns.assistant(Head::new(None, line.at).by(model));
    match kind {
        "function_call" => {
            turns.call(call(text(payload, "name"), words::input_of(payload.get("arguments"))))
        }
        "custom_tool_call" => {
            turns.call(call(text(payload, "name"), words::input_of(payload.get("input"))))
        }
        "image_generation_call" => {
            let prompt = text(payload, "revised_prompt");
            let outcome = named(payload, "result").map(|_| Outcome::done(Value::Null));
            turns.call_with(call("image_generation", json!({"prompt": prompt})), outcome);
            if let Some(image) = named(payload, "result") {
                turns.file(media::encoded(image, Some("image/png"), None));
            }
        }
        _ if kind.ends_with("_call") => {
            let input = payload.get("action").or_else(|| payload.get("arguments"));
            let outcome = match text(payload, "status") {
                "completed" if kind != "local_shell_call" => Some(Outcome::done(Value::Null)),
                "failed" => Some(Outcome::failed(words::error_of(
                    payload.get("error").unwrap_or(&Value::Null),
                ))),
                _ => None,
            };
            turns.call_with(call(kind.trim_end_matches("_call"), words::input_of(input)), outcome);
        }
        _ if kind.ends_with("_output") => {
            let output =
                payload.get("output").or_else(|| payload.get("tools")).unwrap_or(&Value::Null);
            if !turns.result(&Of::Id(id.unwrap_or_default()), outcome(output)) {
                turns.stray_result("", output);
            }
            for block in output.as_array().into_iter().flatten() {
                if let Some(file) = media::of_block(block) {
                    turns.file(file);
                }
            }
        }
        _ => {}
    }
}

/// How a call ended: JSON in text with an exit code, text that tells one, or blocks.
fn outcome(output: &Value) -> Outcome {
    let parsed = match output {
        Value::String(text) if text.trim_start().starts_with('{') => json::parse(text.as_bytes()),
        Value::Object(_) => Some(output.clone()),
        _ => None,
    };
    let inner =
        parsed.as_ref().and_then(|parsed| parsed.get("output").or_else(|| parsed.get("content")));
    let code = parsed
        .as_ref()
        .and_then(|parsed| parsed.pointer("/metadata/exit_code"))
        .and_then(Value::as_i64);
    let success = parsed.as_ref().and_then(|parsed| parsed.get("success")).and_then(Value::as_bool);
    let is_envelope = inner.is_some() && (code.is_some() || success.is_some());
    let value = if is_envelope { inner.cloned().unwrap_or_default() } else { output.clone() };
    let value = match &value {
        Value::Array(blocks) => Value::Array(
            blocks.iter().filter(|block| media::of_block(block).is_none()).cloned().collect(),
        ),
        other => other.clone(),
    };
    let said = words::of_blocks(&value).unwrap_or_default();
    let code = code.or_else(|| {
        let (_, rest) =
            said.get(..said.len().min(2_000)).unwrap_or(&said).split_once("exited with code ")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        rest[..digits].parse().ok()
    });
    if said.contains("rejected by user") || said.starts_with("aborted by user") {
        return Outcome::denied(said);
    }
    let failed = code.is_some_and(|code| code != 0)
        || success == Some(false)
        || parsed.as_ref().is_some_and(|parsed| is(parsed, "isError"));
    Outcome::of(&value, failed)
}
