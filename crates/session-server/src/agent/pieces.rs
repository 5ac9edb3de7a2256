//! The pieces of a chat completion: what its chunks say, whatever the server.
//!
//! Nothing that is odd costs more than itself: a field of another type than it should have is read for what it may
//! mean, or not at all. Which servers send what is a table in ARCHITECTURE.md.
//!
//! An error is never a part of an answer, in whatever shape it comes; and an answer without a reason for its end was
//! cut off.

use serde_json::{Map, Value};

use super::{
    calls::{Call, CallNews, Calls},
    lenient,
    lines::AgentEvent,
    thoughts::{Said, Thoughts},
};

/// Why a model's answer failed. The message is for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Reasoning(String),
    /// All text of this answer so far, since the last reasoning, was reasoning.
    Rethought,
    Call(CallNews),
}

/// Tokens, as the provider counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) total_tokens: u64,
}

/// Data that a model gave beside its words, to get it back.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Given {
    /// The field that its reasoning came in, or the opening tag.
    pub(crate) field: Option<String>,
    /// Fields of its message.
    pub(crate) extra: Map<String, Value>,
}

/// Fields that reasoning comes in. Of several that say something the first counts: they say the same.
const REASONING: [&str; 5] =
    ["reasoning_content", "reasoning", "thinking", "reasoning_text", "thoughts"];
/// Fields of a message that its model wants back as they were.
const GIVEN: [&str; 10] = [
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
    "provider_specific_fields",
    "reasoning_opaque",
    "encrypted_content",
    "reasoning_signature",
    "thought_signature",
    "signature",
    "thinking_signature",
];
/// The field that says that reasoning came in tags.
pub(crate) const TAGS: &str = "<think>";

/// Reads the events of one answer in order.
#[derive(Default)]
pub(crate) struct Pieces {
    /// Bytes of calls and of what is given beside words that an answer may have.
    limit: usize,
    calls: Calls,
    thoughts: Thoughts,
    halves: [Option<u32>; 2],
    /// The number of the choice that is read: the first one's.
    choice: Option<u64>,
    /// Words come in deltas; whole messages beside them say the same.
    has_delta: bool,
    /// Text and reasoning of whole messages, which may say everything again in each chunk.
    shown: [String; 2],
    is_whole: bool,
    /// Why the answer ended.
    reason: Option<String>,
    usage: Option<Usage>,
    given: Given,
    given_bytes: usize,
    out: Vec<Piece>,
}

/// An answer that is complete, beside its words.
pub(crate) struct Complete {
    pub(crate) calls: Vec<Call>,
    pub(crate) reason: String,
    pub(crate) usage: Option<Usage>,
    pub(crate) given: Given,
}

impl Complete {
    /// Whether the answer ended before the model had said everything.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(&*self.reason, "length" | "content_filter")
    }
}

impl Pieces {
    /// A reader of an answer whose calls and what is given beside words may have so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A chunk said why the answer ends.
    pub(crate) fn is_finished(&self) -> bool {
        self.reason.is_some()
    }

    /// The pieces of the next event.
    ///
    /// # Errors
    ///
    /// It is no chunk, reports an error, or the answer is too large.
    pub(crate) fn read(&mut self, event: &AgentEvent) -> Result<Vec<Piece>, Failure> {
        let chunk = match event {
            AgentEvent::Error(said) => return Err(failed(&Value::String(said.clone()))),
            AgentEvent::Chunk(chunk) => lenient::parse(chunk).ok_or_else(malformed)?,
        };
        self.chunk(chunk)?;
        if self.calls.bytes() > self.limit {
            return Err(too_large());
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// The pieces that were held, when no event follows.
    ///
    /// # Errors
    ///
    /// The answer has no end.
    pub(crate) fn finish(&mut self) -> Result<Vec<Piece>, Failure> {
        if self.reason.is_none() && !self.is_whole {
            return Err(cut_off());
        }
        self.flush_text();
        let mut news = Vec::new();
        self.calls.flush(&mut news);
        self.out.extend(news.into_iter().map(Piece::Call));
        Ok(std::mem::take(&mut self.out))
    }

    /// The rest of the answer.
    pub(crate) fn into_complete(self) -> Complete {
        let reason = self.reason.unwrap_or_else(|| "stop".to_owned());
        Complete { calls: self.calls.into_list(), reason, usage: self.usage, given: self.given }
    }

    fn chunk(&mut self, mut chunk: Value) -> Result<(), Failure> {
        if chunk.get("error").is_some_and(lenient::is_error)
            && let Some(error) = lenient::error_in(&chunk)
        {
            return Err(failed(&error));
        }
        let Some(fields) = chunk.as_object_mut() else { return Err(malformed()) };
        // MiniMax has a state in each chunk.
        if let Some(state) = fields.get("base_resp")
            && state.get("status_code").is_some_and(lenient::is_error)
        {
            return Err(failed(state));
        }
        let choices = match fields.shift_remove("choices") {
            Some(Value::Array(choices)) => choices,
            Some(choice @ Value::Object(_)) => vec![choice],
            _ => Vec::new(),
        };
        for at in ["usage", "x_groq"] {
            let usage = fields.get(at).map(|value| value.get("usage").unwrap_or(value));
            self.count(usage);
        }
        let kind = fields.get("object").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !choices.is_empty() {
            return choices.into_iter().try_for_each(|choice| self.choice(choice, &kind));
        }
        let has = |name: &str| fields.get(name).is_some_and(Value::is_object);
        if has("delta") || has("message") {
            return self.choice(chunk, &kind);
        }
        match lenient::error_in(&chunk) {
            Some(error) => Err(failed(&error)),
            None => Ok(()),
        }
    }

    fn choice(&mut self, choice: Value, kind: &str) -> Result<(), Failure> {
        let Value::Object(mut choice) = choice else { return Ok(()) };
        if let Some(number) = choice.get("index").and_then(Value::as_u64)
            && *self.choice.get_or_insert(number) != number
        {
            return Ok(()); // another answer to the same question
        }
        if let Some(error) = choice.get("error").filter(|error| lenient::is_error(error)) {
            return Err(failed(error));
        }
        self.count(choice.get("usage"));
        let message = choice.shift_remove("message");
        match choice.shift_remove("delta") {
            Some(Value::Object(delta)) if !delta.is_empty() => {
                self.has_delta = true;
                self.delta(delta);
            }
            Some(Value::String(text)) => {
                self.has_delta = true;
                self.text(text);
            }
            _ => match (message, choice.shift_remove("text")) {
                (Some(Value::Object(message)), _) if !self.has_delta => {
                    self.is_whole |= kind != "chat.completion.chunk";
                    self.message(message);
                }
                (_, Some(Value::String(text))) => self.text(text),
                _ => {}
            },
        }
        let done = choice.get("done") == Some(&Value::Bool(true));
        let reason = ["finish_reason", "done_reason", "finishReason"]
            .iter()
            .find_map(|name| Reason::of(choice.get(*name)?));
        match reason.or_else(|| done.then(|| Reason::Ends("stop".to_owned()))) {
            Some(Reason::Fails(said)) => Err(failed(&Value::String(said))),
            Some(Reason::Ends(reason)) => {
                // An end that is said again says less.
                if !matches!(self.reason.as_deref(), Some("length" | "content_filter")) {
                    self.reason = Some(reason);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A whole message where deltas are asked for. Of one that says everything again only what is new counts.
    fn message(&mut self, mut message: Map<String, Value>) {
        let mut new = |name: &str, shown: &mut String| {
            if let Some(Value::String(text)) = message.get_mut(name) {
                let all = text.clone();
                if let Some(rest) = text.strip_prefix(shown.as_str()) {
                    *text = rest.to_owned();
                }
                *shown = all;
            }
        };
        let [mut text, mut thought] = std::mem::take(&mut self.shown);
        new("content", &mut text);
        for name in REASONING {
            new(name, &mut thought);
        }
        self.shown = [text, thought];
        if !self.calls.is_empty() {
            message.shift_remove("tool_calls");
        }
        self.delta(message);
    }

    fn delta(&mut self, mut delta: Map<String, Value>) {
        let reasoning = REASONING.iter().find_map(|name| {
            let text: String =
                parts(delta.get(*name)?.clone(), true).into_iter().map(|(_, text)| text).collect();
            (!text.is_empty()).then_some((*name, text))
        });
        let details = delta.get("reasoning_details").and_then(Value::as_array);
        let reasoning = reasoning.or_else(|| {
            let words = |item: &Value| {
                ["text", "summary"]
                    .iter()
                    .find_map(|name| Some(item.get(*name)?.as_str()?.to_owned()))
            };
            let text: String = details?.iter().filter_map(words).collect();
            (!text.is_empty()).then_some(("reasoning_details", text))
        });
        if let Some((field, text)) = reasoning {
            self.given.field.get_or_insert_with(|| field.to_owned());
            self.reasoning(text);
        }
        for (is_thought, text) in parts(delta.shift_remove("content").unwrap_or_default(), false) {
            if is_thought {
                self.given.field.get_or_insert_with(|| "content".to_owned());
                self.reasoning(text);
            } else {
                self.text(text);
            }
        }
        if let Some(Value::String(refusal)) = delta.shift_remove("refusal") {
            self.text(refusal);
        }
        for name in ["tool_calls", "function_call"] {
            let Some(calls) = delta.shift_remove(name).filter(|calls| !calls.is_null()) else {
                continue;
            };
            let mut news = Vec::new();
            self.calls.take(calls, &mut news);
            if !news.is_empty() {
                self.flush_text();
                self.out.extend(news.into_iter().map(Piece::Call));
            }
        }
        for name in GIVEN {
            if let Some(value) = delta.shift_remove(name).filter(|value| !value.is_null()) {
                self.keep(name, value);
            }
        }
    }

    fn keep(&mut self, name: &str, value: Value) {
        self.given_bytes += value.to_string().len();
        if self.given_bytes > self.limit {
            self.given.extra.clear(); // half of it is worth nothing
            return;
        }
        match (self.given.extra.get_mut(name), value) {
            (Some(Value::Array(known)), Value::Array(more)) => {
                more.into_iter().for_each(|item| join(known, item));
            }
            (_, Value::Array(items)) => {
                let mut known = Vec::new();
                items.into_iter().for_each(|item| join(&mut known, item));
                self.given.extra.insert(name.to_owned(), known.into());
            }
            (_, value) => {
                self.given.extra.insert(name.to_owned(), value);
            }
        }
    }

    fn reasoning(&mut self, text: String) {
        let text = lenient::whole(text, &mut self.halves[1]);
        if text.is_empty() {
            return;
        }
        self.out.push(Piece::Reasoning(text));
    }

    fn text(&mut self, text: String) {
        let text = lenient::whole(text, &mut self.halves[0]);
        let mut said = Vec::new();
        self.thoughts.push(&text, &mut said);
        self.say(said);
    }

    fn flush_text(&mut self) {
        let mut said = Vec::new();
        if self.halves[0].take().is_some() {
            self.thoughts.push("\u{fffd}", &mut said);
        }
        self.thoughts.flush(&mut said);
        self.say(said);
    }

    fn say(&mut self, said: Vec<Said>) {
        for said in said {
            self.out.push(match said {
                Said::Text(text) => Piece::Text(text),
                Said::Thought(text) => {
                    self.given.field.get_or_insert_with(|| TAGS.to_owned());
                    Piece::Reasoning(text)
                }
                Said::Rethought => {
                    self.given.field.get_or_insert_with(|| TAGS.to_owned());
                    Piece::Rethought
                }
            });
        }
    }

    /// Takes a count of the answer so far: of several the last one counts, as far as it says something.
    fn count(&mut self, usage: Option<&Value>) {
        let Some(Value::Object(usage)) = usage else { return };
        let number = |names: &[&str]| names.iter().find_map(|name| tokens(usage.get(*name)?));
        let prompt = number(&["prompt_tokens", "input_tokens", "promptTokens"]);
        let completion = number(&["completion_tokens", "output_tokens", "completionTokens"]);
        let total = number(&["total_tokens", "totalTokens"]);
        let says = [prompt, completion, total].iter().flatten().any(|count| *count > 0);
        if !says {
            return;
        }
        let known = self.usage.unwrap_or_default();
        let prompt_tokens = prompt.unwrap_or(known.prompt_tokens);
        let completion_tokens = completion.unwrap_or(known.completion_tokens);
        let sum = prompt_tokens.saturating_add(completion_tokens);
        let total_tokens = total.filter(|total| *total > 0).unwrap_or(sum);
        self.usage = Some(Usage { prompt_tokens, completion_tokens, total_tokens });
    }
}

/// The meaning of a reason for an end.
enum Reason {
    Ends(String),
    Fails(String),
}

impl Reason {
    fn of(reason: &Value) -> Option<Self> {
        let (word, said) = match reason {
            Value::String(word) => (word.as_str(), None),
            Value::Object(fields) => {
                let word = ["type", "reason"].iter().find_map(|name| fields.get(*name)?.as_str());
                (word?, lenient::said(reason))
            }
            _ => return None,
        };
        let lower = word.trim().to_lowercase();
        let known = match &*lower {
            "" | "null" | "none" => return None,
            "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "complete" | "done" => {
                "stop"
            }
            "tool_calls" | "tool_call" | "tool_use" | "function_call" => "tool_calls",
            "length"
            | "max_tokens"
            | "max_output_tokens"
            | "max_length"
            | "model_length"
            | "model_context_window_exceeded" => "length",
            "content_filter" | "content-filter" | "safety" | "sensitive" | "recitation"
            | "prohibited_content" | "blocklist" => "content_filter",
            "error"
            | "abort"
            | "aborted"
            | "cancelled"
            | "canceled"
            | "network_error"
            | "timeout"
            | "server_error"
            | "internal_error"
            | "insufficient_system_resource" => {
                let plain = format!("The model's server ended the answer: {lower}.");
                return Some(Self::Fails(said.unwrap_or(plain)));
            }
            _ => word.trim(),
        };
        Some(Self::Ends(known.chars().take(64).collect()))
    }
}

/// The texts of a content, with whether they are thoughts. A content is a text, a part or a list of parts, each of
/// which may hold such a list.
fn parts(content: Value, is_thought: bool) -> Vec<(bool, String)> {
    let mut out = Vec::new();
    collect(content, is_thought, 4, &mut out);
    out
}

fn collect(content: Value, is_thought: bool, depth: usize, out: &mut Vec<(bool, String)>) {
    match content {
        Value::String(text) => out.push((is_thought, text)),
        Value::Number(number) if !is_thought => out.push((is_thought, number.to_string())),
        Value::Array(items) if depth > 0 => {
            items.into_iter().for_each(|item| collect(item, is_thought, depth - 1, out));
        }
        Value::Object(mut part) if depth > 0 => {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
            let thinks = is_thought || kind.contains("think") || kind.contains("reason");
            let names = ["thinking", "reasoning", "text", "content", "summary", "refusal", "value"];
            let inner = names.iter().find_map(|name| part.shift_remove(*name));
            if let Some(inner) = inner.filter(|inner| !inner.is_number()) {
                collect(inner, thinks, depth - 1, out);
            }
        }
        _ => {}
    }
}

/// Adds an item of a list that comes in pieces: the next piece of a text goes on with the last item of its kind and
/// place.
fn join(known: &mut Vec<Value>, item: Value) {
    const GROWS: [&str; 3] = ["text", "summary", "thinking"];
    let (Some(Value::Object(last)), Value::Object(more)) = (known.last_mut(), &item) else {
        known.push(item);
        return;
    };
    let same = |name: &str| last.get(name) == more.get(name);
    let grows = GROWS.iter().any(|name| last.get(*name).is_some_and(Value::is_string));
    let is_other = |name: &str| {
        let (a, b) = (last.get(name), more.get(name));
        a.is_some_and(|a| !a.is_null()) && b.is_some_and(|b| !b.is_null()) && a != b
    };
    if !grows && *last == *more {
        return; // said again
    }
    if !grows || !same("type") || is_other("index") || is_other("id") {
        known.push(item);
        return;
    }
    let Value::Object(more) = item else { return };
    for (key, value) in more {
        match (last.get_mut(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::String(text)), Value::String(rest)) if GROWS.contains(&&*key) => {
                text.push_str(&rest);
            }
            (_, value) => {
                last.insert(key, value);
            }
        }
    }
}

fn tokens(count: &Value) -> Option<u64> {
    match count {
        Value::Number(number) => number.as_u64().or_else(|| whole_number(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole_number(count: f64) -> Option<u64> {
    (0.0..9e15).contains(&count).then_some(count as u64)
}

/// The failure that an error says.
fn failed(error: &Value) -> Failure {
    let said = lenient::said(error);
    Failure::new("model_error", said.unwrap_or_else(|| "The model reported an error.".to_owned()))
}

/// The failure of a model that sends no answer.
pub(crate) fn malformed() -> Failure {
    Failure::new("model_malformed", "The model's server sent something that is no answer.")
}

/// The failure of an answer that has no end.
pub(crate) fn cut_off() -> Failure {
    Failure::new("model_truncated", "The model's answer was cut off before its end.")
}

/// The failure of a model that says more than it may.
pub(crate) fn too_large() -> Failure {
    Failure::new(
        "too_large",
        "The model's server sent more than an answer may have. Ask for less at a time.",
    )
}
