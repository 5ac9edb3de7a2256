//! The pieces of a chat completion: what its chunks say, whatever the provider.

use serde::Deserialize;
use serde_json::{Value, json};

use super::lines::Brackets;

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
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Reasoning(String),
    /// Part of the tool call at this place in the answer.
    Call {
        place: usize,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    },
    Finish(String),
    Usage(Usage),
}

/// Tokens, as the provider counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Usage {
    #[serde(default)]
    pub(crate) prompt_tokens: u64,
    #[serde(default)]
    pub(crate) completion_tokens: u64,
    #[serde(default)]
    pub(crate) total_tokens: u64,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

/// The text in an error object, at most a few lines of it.
pub(crate) fn error_text(body: &Value) -> Option<String> {
    let error = body.get("error").unwrap_or(body);
    let text = error.get("message").unwrap_or(error).as_str()?;
    Some(text.chars().take(300).collect())
}

/// Reads the chunks of one answer in order.
#[derive(Default)]
pub(crate) struct Pieces {
    places: Places,
    /// A chunk said why the answer ends.
    pub(crate) finished: bool,
}

impl Pieces {
    /// The pieces of the next chunk.
    ///
    /// # Errors
    ///
    /// It is no chunk, or the provider reports an error in it.
    pub(crate) fn read(&mut self, data: &str) -> Result<Vec<Piece>, Failure> {
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| malformed())?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let said = error_text(&json!({"error": error}));
            return Err(Failure::new(
                "model_error",
                said.unwrap_or_else(|| "The model reported an error.".to_owned()),
            ));
        }
        let mut pieces = Vec::new();
        for choice in chunk.choices.into_iter().flatten() {
            if let Some(delta) = choice.delta {
                self.delta(delta, &mut pieces);
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finished = true;
                pieces.push(Piece::Finish(reason));
            }
        }
        pieces.extend(chunk.usage.map(Piece::Usage));
        Ok(pieces)
    }

    fn delta(&mut self, delta: Delta, pieces: &mut Vec<Piece>) {
        let reasoning = delta
            .reasoning_content
            .or_else(|| delta.reasoning.as_ref().and_then(Value::as_str).map(str::to_owned));
        let some = |text: &String| !text.is_empty();
        pieces.extend(reasoning.filter(some).map(Piece::Reasoning));
        pieces.extend(delta.content.filter(some).map(Piece::Text));
        pieces.extend(delta.refusal.filter(some).map(Piece::Text));
        let mut together = false;
        for call in delta.tool_calls.into_iter().flatten() {
            let id = call.id.filter(some);
            let function = call.function;
            let (name, arguments) =
                function.map_or((None, None), |function| (function.name, function.arguments));
            let name = name.filter(some);
            let arguments = match arguments {
                Some(Value::String(text)) => text,
                Some(Value::Null) | None => String::new(),
                Some(object) => object.to_string(),
            };
            let begins = id.is_some() || name.is_some();
            let place = match call.index {
                Some(place) => self.places.numbered(place, id.as_deref(), &arguments),
                None => self.places.unnumbered(
                    id.as_deref(),
                    begins && together,
                    name.is_some(),
                    &arguments,
                ),
            };
            together = true;
            pieces.push(Piece::Call { place, id, name, arguments });
        }
    }
}

/// Which of an answer's calls a piece belongs to.
#[derive(Default)]
struct Places {
    /// Calls so far.
    seen: usize,
    last_id: Option<String>,
    /// Of the arguments of the last one.
    brackets: Brackets,
}

impl Places {
    fn numbered(&mut self, place: usize, id: Option<&str>, arguments: &str) -> usize {
        self.take(place, id, arguments)
    }

    /// Without a number, a new id is a new call and no id is more of the last one. The same id again is more of the last
    /// one, too, unless that stands in the same list or is complete and this one has a name: then two calls have one id.
    fn unnumbered(&mut self, id: Option<&str>, apart: bool, named: bool, arguments: &str) -> usize {
        let other = id.is_some() && self.last_id.as_deref() != id;
        let complete = named && self.brackets.are_closed() && !arguments.is_empty();
        let place =
            if other || apart || complete { self.seen } else { self.seen.saturating_sub(1) };
        self.take(place, id, arguments)
    }

    fn take(&mut self, place: usize, id: Option<&str>, arguments: &str) -> usize {
        if place >= self.seen {
            self.brackets = Brackets::default();
        }
        self.seen = self.seen.max(place.saturating_add(1));
        if let Some(id) = id {
            self.last_id = Some(id.to_owned());
        }
        self.brackets.read(arguments);
        place
    }
}

/// The failure of a model that sends no answer.
pub(crate) fn malformed() -> Failure {
    Failure::new("model_malformed", "The model's server sent something that is no answer.")
}
