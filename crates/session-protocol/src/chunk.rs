//! Reading one chunk inside a row: its type, its language and its fields.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::row::{FinishReason, Usage};
use crate::text::{Delta, Str, json_text, lenient_value};

/// An inner chunk: its type and the raw JSON of the fields any dialect reads.
///
/// Fields stay raw until a dialect asks for them, so that a field of an unexpected type costs only
/// itself, and unread ones cost nothing but the scan.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inner<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) text_delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) message_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) parent_message_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) tool_call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) tool_call_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) tool_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) tool_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) input_text_delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) answers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) approval: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) approval_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) approved: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) transient: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) step_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) step_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) outcome: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) message_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) error_text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) subagent_run_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) run_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) thread_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) provider_executed: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) title: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) preliminary: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) input_encoding: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) is_automatic: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) citations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) option_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) timestamp: Option<&'a RawValue>,
    #[serde(skip)]
    pub(crate) raw: &'a str,
}

impl<'a> Inner<'a> {
    /// Reads an inner chunk; `None` when it is not an object with a type.
    pub(crate) fn parse(raw: &'a str) -> Option<Self> {
        // A sequence would be taken for the fields in their order.
        if !raw.trim_ascii_start().starts_with('{') {
            return None;
        }
        let mut inner: Self = serde_json::from_str(raw).ok()?;
        inner.raw = raw;
        Some(inner)
    }

    /// The type.
    pub(crate) fn kind(&self) -> &str {
        &self.kind.0
    }

    /// All of it as a value.
    pub(crate) fn whole(&self) -> Option<Value> {
        lenient_value(self.raw)
    }
}

/// A field's text.
pub(crate) fn text(field: Option<&RawValue>) -> Option<Cow<'_, str>> {
    field.and_then(|raw| json_text(raw.get()))
}

/// A field's text, also when it was written as a number.
pub(crate) fn id(field: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let raw = field?.get();
    json_text(raw)
        .or_else(|| raw.starts_with(|c: char| c.is_ascii_digit()).then_some(Cow::Borrowed(raw)))
        .filter(|id| !id.is_empty())
}

/// A field's text as a delta.
pub(crate) fn delta(field: Option<&RawValue>) -> Option<Delta<'_>> {
    field.and_then(|raw| Delta::from_json(raw.get()))
}

/// A field's value; `null` counts as absent.
pub(crate) fn value(field: Option<&RawValue>) -> Option<Value> {
    let raw = field?.get();
    if raw == "null" { None } else { lenient_value(raw) }
}

/// A field that is `true`.
pub(crate) fn is_true(field: Option<&RawValue>) -> bool {
    field.is_some_and(|raw| raw.get() == "true")
}

/// A string that holds JSON is that JSON, any other string is itself: how results are written.
pub(crate) fn parse_result(value: Value) -> Value {
    match value {
        Value::String(text) => lenient_value(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

/// The error a result's value names.
pub(crate) fn result_error(output: &Value) -> String {
    match output {
        Value::String(text) => text.clone(),
        Value::Object(map) => match map.get("error") {
            Some(Value::String(text)) => text.clone(),
            _ => "Tool execution failed".to_owned(),
        },
        _ => "Tool execution failed".to_owned(),
    }
}

/// `metadata.tanstack`, where today's wire keeps what AG-UI has no field for.
pub(crate) fn tanstack(metadata: Option<&RawValue>) -> Option<serde_json::Map<String, Value>> {
    match value(metadata)? {
        Value::Object(mut map) => match map.remove("tanstack")? {
            Value::Object(tanstack) => Some(tanstack),
            _ => None,
        },
        _ => None,
    }
}

impl FinishReason {
    /// The reason behind all its spellings.
    pub fn of_word(word: &str) -> Self {
        match word {
            "stop" | "end_turn" => Self::Stop,
            "length" | "max_tokens" => Self::Length,
            "content_filter" | "content-filter" => Self::ContentFilter,
            "tool_calls" | "tool-calls" => Self::ToolCalls,
            "error" => Self::Error,
            "interrupted" => Self::Interrupted,
            _ => Self::Other,
        }
    }

    /// How a dialect spells it.
    pub fn word(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Self::Stop, _) => "stop",
            (Self::Length, _) => "length",
            (Self::ContentFilter, Dialect::AiSdk) => "content-filter",
            (Self::ContentFilter, _) => "content_filter",
            (Self::ToolCalls, Dialect::AiSdk) => "tool-calls",
            (Self::ToolCalls, _) => "tool_calls",
            (Self::Error, _) => "error",
            (Self::Interrupted, Dialect::AiSdk) => "interrupted",
            (Self::Interrupted, _) => "stop",
            (Self::Other, _) => "other",
        }
    }
}

/// The language of the chunks inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// TanStack AI before AG-UI: `content`, `tool_call`, `done`.
    Legacy,
    /// AG-UI: `TEXT_MESSAGE_CONTENT`, `RUN_FINISHED`.
    AgUi,
    /// AI SDK UI message stream: `text-delta`, `finish`.
    AiSdk,
}

impl Dialect {
    /// The dialect that a chunk type belongs to; `None` when several have it or none.
    pub fn of(kind: &str) -> Option<Self> {
        let upper = |b: u8| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit();
        match kind {
            "" | "error" | "abort" | "reasoning" | "message-metadata" => None,
            "content" | "thinking" | "tool_call" | "tool_result" | "approval-requested"
            | "done" => Some(Self::Legacy),
            _ if is_ai_sdk(kind) => Some(Self::AiSdk),
            _ => kind.bytes().all(upper).then_some(Self::AgUi),
        }
    }
}

/// Tokens in any of the shapes they are written in; `None` when there are none.
pub(crate) fn usage(value: &Value) -> Option<Usage> {
    match value {
        Value::Array(items) => {
            let mut sum = None;
            for one in items.iter().filter_map(usage) {
                sum.get_or_insert_with(Usage::default).add(one);
            }
            sum
        }
        Value::Object(map) => {
            let number = |names: &[&str]| {
                names.iter().find_map(|name| match map.get(*name) {
                    Some(Value::Number(n)) => n.as_u64().or_else(|| {
                        let float = n.as_f64().filter(|f| *f >= 0.0)?;
                        #[expect(
                            clippy::cast_possible_truncation,
                            clippy::cast_sign_loss,
                            reason = "checked above; saturates"
                        )]
                        Some(float as u64)
                    }),
                    _ => None,
                })
            };
            let prompt = number(&["promptTokens", "prompt_tokens", "inputTokens", "input_tokens"]);
            let completion =
                number(&["completionTokens", "completion_tokens", "outputTokens", "output_tokens"]);
            let total = number(&["totalTokens", "total_tokens"]);
            if prompt.is_none() && completion.is_none() && total.is_none() {
                return None;
            }
            let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
            Some(Usage {
                prompt_tokens: prompt,
                completion_tokens: completion,
                total_tokens: total.unwrap_or_else(|| prompt.saturating_add(completion)),
            })
        }
        _ => None,
    }
}

/// True for the chunk types of the AI SDK.
pub(crate) fn is_ai_sdk(kind: &str) -> bool {
    matches!(
        kind,
        "start"
            | "start-step"
            | "finish-step"
            | "reset-step"
            | "custom"
            | "reasoning-file"
            | "steering-message"
            | "tool-approval-response"
            | "text-start"
            | "text-delta"
            | "text-end"
            | "reasoning-start"
            | "reasoning-delta"
            | "reasoning-end"
            | "reasoning"
            | "tool-input-start"
            | "tool-input-delta"
            | "tool-input-available"
            | "tool-input-error"
            | "tool-approval-request"
            | "tool-output-available"
            | "tool-output-error"
            | "tool-output-denied"
            | "source-url"
            | "source-document"
            | "file"
            | "message-metadata"
            | "finish"
            | "abort"
            | "error"
    ) || kind.starts_with("data-")
}

/// Whether only people say such a thing: answers, results that a client found, settings and requests (L15).
pub fn is_peoples(kind: &str) -> bool {
    matches!(
        kind,
        "approval-response"
            | "tool-approval"
            | "tool-approval-response"
            | "tool-result"
            | "config"
            | "control"
    )
}

/// Whether a chunk of this type is a message in one row, with an id and a role of its own.
pub fn is_whole(kind: &str) -> bool {
    // `message` is named in upstream's comments and written by nobody we know; it costs nothing.
    matches!(kind, "whole-message" | "user-message" | "message")
}
