//! One call of a tool in a turn: what was said of it, and what of that was told.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Local,
    output::{Output, PACE},
    patch::{self, Patch, patch},
};
use crate::caps::{cost, middle_out, short, shrink};

/// What arguments may cost.
const INPUT: usize = 16 << 10;
/// What a result may cost.
const RESULT: usize = 24 << 10;
/// What a title may cost.
const TITLE: usize = 400;
/// What all patches of one call may cost.
const PATCHES: usize = 16 << 10;
/// Diffs and locations of one call.
const MANY: usize = 20;

/// What a result says where a call ended without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// The turn ended as its agent says.
    Ended,
    /// The turn was stopped.
    Stopped,
    /// The agent is gone.
    Lost,
    /// A person refused it.
    Refused,
}

impl Without {
    fn words(self) -> &'static str {
        match self {
            Self::Ended => "The agent did not say what came of it.",
            Self::Stopped => "Stopped in mid action. It may have happened.",
            Self::Lost => "The agent ended in mid action. It may have happened.",
            Self::Refused => "Refused.",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Diff {
    key: u64,
    path: String,
    patch: Patch,
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    /// Its id in the session.
    pub(super) id: String,
    name: String,
    title: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    locations: Vec<Value>,
    diffs: Vec<Diff>,
    input: Option<Value>,
    raw_output: Option<Value>,
    text: Option<String>,
    exit: Option<Value>,
    output: Output,
    started: bool,
    ready: bool,
    pub(super) ended: bool,
    /// A person said no to it.
    pub(super) refused: bool,
    /// What `acp.tool` said last, by field.
    told: Map<String, Value>,
    dirty: bool,
    told_at: Option<Duration>,
}

fn text_of<'a>(update: &'a Value, name: &str) -> Option<&'a str> {
    update.get(name)?.as_str().filter(|text| !text.is_empty())
}

impl Call {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            name: String::new(),
            title: None,
            kind: None,
            status: None,
            locations: Vec::new(),
            diffs: Vec::new(),
            input: None,
            raw_output: None,
            text: None,
            exit: None,
            output: Output::default(),
            started: false,
            ready: false,
            ended: false,
            refused: false,
            told: Map::new(),
            dirty: false,
            told_at: None,
        }
    }

    /// True when it was announced.
    pub(super) fn begun(&self) -> bool {
        self.started
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    pub(super) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    pub(super) fn input(&self) -> Option<&Value> {
        self.input.as_ref()
    }

    /// Takes what is given in an update; everything else stays as it was.
    pub(super) fn take(&mut self, update: &Value, local: &Local) {
        let meta = update.get("_meta");
        let words = |name: &str, limit: usize| {
            text_of(update, name).map(|text| short(&local.text(text), limit))
        };
        if let Some(title) = words("title", TITLE) {
            self.title = Some(title);
        }
        if let Some(kind) = words("kind", 40) {
            self.kind = Some(kind);
        }
        if let Some(status) = words("status", 40) {
            self.status = Some(status);
        }
        if !self.started {
            let claude = meta.and_then(|meta| meta.get("claudeCode"));
            let named = text_of(update, "name")
                .or_else(|| text_of(claude?, "toolName"))
                .or_else(|| text_of(meta?, "toolName"));
            if let Some(name) = named {
                self.name = short(name, 120);
            } else if self.name.is_empty() {
                self.name = self.kind.clone().unwrap_or_else(|| "tool".to_owned());
            }
        }
        if let Some(Value::Array(all)) = update.get("locations") {
            let places = all.iter().take(MANY).filter_map(|place| {
                let path = short(&local.path(text_of(place, "path")?), TITLE);
                let line = place.get("line").and_then(Value::as_u64);
                Some(match line {
                    Some(line) => json!({"path": path, "line": line}),
                    None => json!({"path": path}),
                })
            });
            self.locations = places.collect();
        }
        let is_nothing = |value: &Value| {
            value.is_null()
                || value.as_object().is_some_and(Map::is_empty)
                || value.as_str() == Some("")
        };
        if let Some(input) = update.get("rawInput").filter(|input| !is_nothing(input)) {
            self.input = Some(shrink(input, INPUT, &|text| local.text(text)));
        }
        if let Some(output) = update.get("rawOutput").filter(|output| !is_nothing(output)) {
            self.raw_output = Some(output_of(output, local));
        }
        if let Some(Value::Array(content)) = update.get("content") {
            self.take_content(content, local);
        }
        let output = meta.and_then(|meta| text_of(meta.get("terminal_output")?, "data"));
        if let Some(data) = output {
            self.output.append(&local.text(data));
        }
        if let Some(exit) =
            meta.and_then(|meta| meta.get("terminal_exit")).filter(|exit| exit.is_object())
        {
            let field = |name: &str| {
                exit.get(name).filter(|value| value.is_u64() || value.is_i64() || value.is_string())
            };
            let mut told = Map::new();
            for (from, to) in [("exit_code", "code"), ("exitCode", "code"), ("signal", "signal")] {
                if let Some(value) = field(from) {
                    told.insert(to.to_owned(), shrink(value, 40, &str::to_owned));
                }
            }
            self.exit = Some(told.into());
        }
        self.dirty = true;
    }

    fn take_content(&mut self, content: &[Value], local: &Local) {
        let mut text = String::new();
        let mut diffs = Vec::new();
        let mut left = PATCHES;
        for block in content {
            match text_of(block, "type") {
                Some("content") => {
                    let inner = block.get("content").unwrap_or(&Value::Null);
                    let said =
                        text_of(inner, "text").map(str::to_owned).or_else(|| named(inner, local));
                    if let Some(said) = said {
                        if !text.is_empty() && !text.ends_with('\n') {
                            text.push('\n');
                        }
                        text.push_str(&said);
                    }
                }
                Some("diff") if diffs.len() < MANY => {
                    let old = block.get("oldText").and_then(Value::as_str).unwrap_or_default();
                    let new = block.get("newText").and_then(Value::as_str).unwrap_or_default();
                    let path = block.get("path").and_then(Value::as_str).unwrap_or_default();
                    let key = patch::key(path, old, new);
                    let known = self.diffs.iter().find(|diff| diff.key == key).cloned();
                    let mut diff = known.unwrap_or_else(|| Diff {
                        key,
                        path: short(&local.path(path), TITLE),
                        patch: patch(old, new),
                    });
                    let cost = cost(&diff.patch.text);
                    if cost > left {
                        diff.patch.text.clear();
                        diff.patch.truncated = true;
                    }
                    left = left.saturating_sub(cost);
                    diffs.push(diff);
                }
                _ => {}
            }
        }
        if !diffs.is_empty() {
            self.diffs = diffs;
        }
        if !text.is_empty() {
            let text = local.text(&text);
            self.output.set(&text);
            self.text = Some(middle_out(&super::output::plain(&text).0, RESULT));
        }
    }

    /// Whether its agent says that it is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.status.as_deref(), Some("completed" | "failed" | "cancelled"))
    }

    /// Announces it, when nobody did.
    pub(super) fn start(&mut self, message_id: &str, out: &mut Vec<Value>) {
        if self.started {
            return;
        }
        self.started = true;
        out.push(json!({
            "type": "TOOL_CALL_START", "toolCallId": self.id, "toolCallName": self.name,
            "toolName": self.name, "parentMessageId": message_id,
        }));
    }

    /// Says its arguments, once: they are told as a whole, because agents change them until it runs.
    pub(super) fn ready(&mut self, out: &mut Vec<Value>) {
        if self.ready {
            return;
        }
        self.ready = true;
        let input = self.input.clone().unwrap_or_else(|| json!({}));
        out.push(
            json!({"type": "TOOL_CALL_ARGS", "toolCallId": self.id, "delta": input.to_string()}),
        );
        // Older readers take the arguments from here.
        out.push(json!({"type": "TOOL_CALL_END", "toolCallId": self.id}));
    }

    /// True when it runs with arguments that are known.
    pub(super) fn runs(&self) -> bool {
        self.status.as_deref() == Some("in_progress") && self.input.is_some()
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        put("title", self.title.clone().map(Value::from));
        put("kind", self.kind.clone().map(Value::from));
        put("status", self.status.clone().map(Value::from));
        put("locations", (!self.locations.is_empty()).then(|| self.locations.clone().into()));
        put("exit", self.exit.clone());
        let diffs = self.diffs.iter().map(|diff| {
            let Patch { text, added, removed, truncated } = &diff.patch;
            let mut told = json!({"type": "diff", "path": diff.path, "patch": text, "added": added, "removed": removed});
            if *truncated {
                told["truncated"] = true.into();
            }
            told
        });
        put("content", (!self.diffs.is_empty()).then(|| diffs.collect()));
        fields
    }

    /// Says what changed since it was said, whatever the time.
    pub(super) fn tell(&mut self, now: Duration, out: &mut Vec<Value>) -> bool {
        if !std::mem::take(&mut self.dirty) {
            return false;
        }
        let fields = self.fields();
        let mut value = Map::new();
        value.insert("toolCallId".to_owned(), self.id.clone().into());
        for (name, new) in &fields {
            if self.told.get(name) != Some(new) {
                value.insert(name.clone(), new.clone());
            }
        }
        if value.len() == 1 {
            return false;
        }
        self.told = fields;
        self.told_at = Some(now);
        out.push(json!({"type": "CUSTOM", "name": "acp.tool", "value": value}));
        true
    }

    /// When it has something to say; `None` when it has not.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.ended || !self.started {
            return None;
        }
        let wait = if self.dirty { Some(PACE) } else { self.output.pace() }?;
        Some(self.told_at.map_or(Duration::ZERO, |at| at + wait))
    }

    /// Says what is due: what changed of it, or what it put out.
    pub(super) fn elapse(&mut self, now: Duration, out: &mut Vec<Value>) {
        if self.due().is_none_or(|at| at > now) || self.tell(now, out) {
            return;
        }
        if self.due().is_some_and(|at| at <= now)
            && let Some(piece) = self.output.take()
        {
            let mut value = json!({"toolCallId": self.id, "append": piece.append});
            if piece.anew {
                value["anew"] = true.into();
            }
            if piece.truncated {
                value["truncated"] = true.into();
            }
            self.told_at = Some(now);
            out.push(json!({"type": "CUSTOM", "name": "acp.terminal", "value": value}));
        }
    }

    /// Ends it, with its result where there is one.
    pub(super) fn end(
        &mut self,
        without: Without,
        now: Duration,
        message_id: &str,
        out: &mut Vec<Value>,
    ) {
        if self.ended {
            return;
        }
        let over = self.is_over();
        self.start(message_id, out);
        self.ready(out);
        if !over {
            self.status = Some("failed".to_owned());
            self.dirty = true;
        }
        self.tell(now, out);
        let failed = self.status.as_deref() != Some("completed");
        let said = self.text.take().or_else(|| {
            let raw = self.raw_output.take()?;
            Some(raw.as_str().map_or_else(|| raw.to_string(), str::to_owned))
        });
        let said = said.or_else(|| Some(self.output.last()).filter(|last| !last.trim().is_empty()));
        let said = said.map(|said| middle_out(&said, RESULT));
        let content = match (over, said) {
            (true, Some(said)) => said,
            (true, None) if self.refused && failed => Without::Refused.words().to_owned(),
            (true, None) => String::new(),
            (false, _) if self.refused => Without::Refused.words().to_owned(),
            (false, Some(said)) => format!("{}\n\n{said}", without.words()),
            (false, None) => without.words().to_owned(),
        };
        let mut chunk = json!({
            "type": "TOOL_CALL_RESULT", "messageId": message_id, "toolCallId": self.id,
            "content": content, "role": "tool",
        });
        if failed {
            chunk["state"] = "output-error".into();
        }
        out.push(chunk);
        self.ended = true;
        // Nothing of it is needed any more but its id and that it ended.
        *self = Self {
            started: true,
            ready: true,
            ended: true,
            ..Self::new(std::mem::take(&mut self.id))
        };
    }
}

/// What a result says: agents wrap the text in objects of their own.
fn output_of(output: &Value, local: &Local) -> Value {
    let text = output.as_str().or_else(|| {
        ["formatted_output", "aggregated_output", "output", "stdout", "error", "message"]
            .into_iter()
            .find_map(|name| text_of(output, name))
    });
    match text {
        Some(text) => middle_out(&super::output::plain(&local.text(text)).0, RESULT).into(),
        None => shrink(output, RESULT, &|text| local.text(text)),
    }
}

/// A block that is no text, in words: what it is, and its size.
pub(super) fn named(block: &Value, local: &Local) -> Option<String> {
    let kind = text_of(block, "type")?;
    let inner = block.get("resource").unwrap_or(block);
    if let Some(text) = text_of(inner, "text") {
        return Some(text.to_owned());
    }
    let name =
        text_of(block, "name").or_else(|| text_of(inner, "uri")).map(|name| local.path(name));
    let media = text_of(inner, "mimeType").unwrap_or("of an unknown type");
    let data = text_of(inner, "data").or_else(|| text_of(inner, "blob"));
    let size = data.map(|data| format!(", {} bytes", data.len() / 4 * 3)).unwrap_or_default();
    Some(short(&format!("[{kind} {} {media}{size}]", name.unwrap_or_default()), TITLE))
}
