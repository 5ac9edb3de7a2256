//! Reading one chunk inside a row: its type, its language and its fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::row::{FinishReason, Usage};
use crate::text::{Delta, Str, json_text, lenient_value};

/// Declares an inner chunk with the fields that any dialect reads, each with its name on the wire.
macro_rules! inner {
    ($($field:ident $name:literal)*) => {
        /// An inner chunk: its type and the raw JSON of the fields any dialect reads.
        ///
        /// Fields stay raw until a dialect asks for them, so that a field of an unexpected type costs only
        /// itself, and unread ones cost nothing but the scan.
        #[derive(Default)]
        pub(crate) struct Inner<'a> {
            pub(crate) kind: Str<'a>,
            $(pub(crate) $field: Option<&'a RawValue>,)*
            pub(crate) raw: &'a str,
        }

        /// A field, by its name.
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "each is named like its field")]
        enum Field {
            Type,
            Other,
            $($field,)*
        }

        impl Field {
            fn of(name: &str) -> Self {
                match name {
                    "type" => Self::Type,
                    $($name => Self::$field,)*
                    _ => Self::Other,
                }
            }
        }

        const _: () = assert!([$($name),*].len() + 2 <= 64, "fields that were seen fit in a number");

        impl<'a> Inner<'a> {
            fn slot(&mut self, field: Field) -> Option<&mut Option<&'a RawValue>> {
                match field {
                    Field::Type | Field::Other => None,
                    $(Field::$field => Some(&mut self.$field),)*
                }
            }
        }
    };
}

inner! {
    id "id"
    delta "delta"
    content "content"
    text_delta "textDelta"
    message_id "messageId"
    parent_message_id "parentMessageId"
    role "role"
    message "message"
    messages "messages"
    tool_call_id "toolCallId"
    tool_call_name "toolCallName"
    tool_name "toolName"
    tool_call "toolCall"
    input "input"
    input_text_delta "inputTextDelta"
    result "result"
    output "output"
    answers "answers"
    state "state"
    approval "approval"
    approval_id "approvalId"
    approved "approved"
    name "name"
    value "value"
    data "data"
    transient "transient"
    step_name "stepName"
    step_id "stepId"
    outcome "outcome"
    usage "usage"
    finish_reason "finishReason"
    metadata "metadata"
    message_metadata "messageMetadata"
    code "code"
    error "error"
    error_text "errorText"
    reason "reason"
    subagent_run_id "subagentRunId"
    run_id "runId"
    thread_id "threadId"
    provider_executed "providerExecuted"
    title "title"
    preliminary "preliminary"
    input_encoding "inputEncoding"
    is_automatic "isAutomatic"
    citations "citations"
    payload "payload"
    option_id "optionId"
    timestamp "timestamp"
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
                Ok(Field::of(name))
            }
        }

        deserializer.deserialize_identifier(Name)
    }
}

/// Reads a chunk into its place: it has many fields, and few of them are there.
struct InnerReader<'x, 'a>(&'x mut Inner<'a>);

impl<'a> Visitor<'a> for InnerReader<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a chunk")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let bit = |field: Field| 1_u64 << field as u32;
        let mut seen = 0_u64;
        while let Some(field) = map.next_key::<Field>()? {
            if seen & bit(field) != 0 && !matches!(field, Field::Other) {
                return Err(A::Error::custom("a field stands there twice"));
            }
            seen |= bit(field);
            match (field, self.0.slot(field)) {
                (_, Some(slot)) => *slot = map.next_value()?,
                (Field::Type, None) => self.0.kind = map.next_value()?,
                (_, None) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if seen & bit(Field::Type) == 0 {
            return Err(A::Error::missing_field("type"));
        }
        Ok(())
    }
}

impl<'a> Inner<'a> {
    /// Reads an inner chunk; `None` when it is not an object with a type.
    pub(crate) fn parse(raw: &'a str) -> Option<Self> {
        // A sequence would be taken for the fields in their order.
        if !raw.trim_ascii_start().starts_with('{') {
            return None;
        }
        let mut inner = Self { raw, ..Self::default() };
        let mut json = serde_json::Deserializer::from_str(raw);
        json.deserialize_map(InnerReader(&mut inner)).ok()?;
        json.end().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_read_at_once_where_each_field_stands_in_it_once() {
        let read =
            Inner::parse(r#" {"other":1,"type":"a","delta":null,"\u0069d":"i","other":[2]} "#)
                .expect("it has a type");
        assert_eq!(read.kind(), "a");
        assert!(read.delta.is_none());
        assert_eq!(read.id.map(RawValue::get), Some("\"i\""));
        let not = [
            r#"{"type":"a","delta":"x","delta":"y"}"#,
            r#"{"type":"a","delta":null,"delta":"y"}"#,
            r#"{"type":"a","type":"b"}"#,
            r#"{"delta":"x"}"#,
            r#"{"type":1}"#,
            r#"{"type":"a"} {}"#,
            r#"{"type":"a""#,
            r#"["a"]"#,
        ];
        for chunk in not {
            assert!(Inner::parse(chunk).is_none(), "{chunk}");
        }
    }
}
