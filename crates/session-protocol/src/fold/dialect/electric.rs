//! Electric entity streams: rows of runs, texts, deltas and tool calls. Read only.
//!
//! A run is a message; an inbox row is a person's message. Items of a run stand in the order of their
//! first stream position. Updates merge: many name only what changed.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::call::Outcome;
use super::super::calls::Start;
use super::super::cursor::SegmentKey;
use super::super::step::Step;
use crate::chunk::{parse_result, result_error, usage};
use crate::row::{FinishReason, MessageError, Part, Role};
use crate::text::Delta;

/// True for types whose rows are updated by key, so that their message must be remembered.
pub(in super::super) fn is_updated(type_: &str) -> bool {
    !matches!(type_, "text_delta" | "reasoning_delta")
}

/// The message a row belongs to, when the row says it.
pub(in super::super) fn message_of<'a>(
    type_: &str,
    key: &'a str,
    value: &'a Map<String, Value>,
) -> Option<Cow<'a, str>> {
    match type_ {
        "run" => matches!(
            value.get("status").and_then(Value::as_str),
            Some("started" | "completed" | "failed")
        )
        .then_some(Cow::Borrowed(key)),
        "inbox" => (value.contains_key("payload") || value.contains_key("from"))
            .then_some(Cow::Borrowed(key)),
        _ => match value.get("run_id") {
            Some(Value::String(run)) if !run.is_empty() => Some(Cow::Borrowed(run.as_str())),
            _ => None,
        },
    }
}

fn string<'a>(value: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The time a row carries.
pub(in super::super) fn time(value: &Map<String, Value>) -> Option<&str> {
    string(value, "timestamp")
}

/// Folds a merged row at the place of its first item.
pub(in super::super) fn fold(
    type_: &str,
    key: &str,
    value: &Map<String, Value>,
    step: &mut Step<'_>,
) {
    match type_ {
        "inbox" => inbox(value, step),
        "run" => {
            let status = string(value, "status").unwrap_or_default();
            step.lock(status != "started");
            if status == "failed" {
                step.fail(MessageError { message: "The run failed".to_owned(), code: None });
            } else if status == "completed" {
                step.finish(string(value, "finish_reason").map(FinishReason::of_word));
            }
        }
        "text" => step.begin_text(&SegmentKey::Id(Cow::Borrowed(key))),
        "text_delta" => {
            if let (Some(text), Some(delta)) = (string(value, "text_id"), string(value, "delta")) {
                step.text_by_id(&SegmentKey::Id(Cow::Borrowed(text)), Some(Delta::whole(delta)));
            }
        }
        "reasoning" => step.begin_reasoning(&SegmentKey::Id(Cow::Borrowed(key))),
        "reasoning_delta" => {
            if let (Some(id), Some(delta)) = (string(value, "reasoning_id"), string(value, "delta"))
            {
                let key = SegmentKey::Id(Cow::Borrowed(id));
                step.reasoning(&key, Some(Delta::whole(delta)), None);
            }
        }
        "tool_call" => tool_call(key, value, step),
        "step" => {
            if let Some(usage) = usage(&Value::Object(value.clone())) {
                step.add_usage(usage);
            }
        }
        "error" => step.fail(MessageError {
            message: string(value, "message").unwrap_or_default().to_owned(),
            code: string(value, "error_code").map(str::to_owned),
        }),
        _ => {}
    }
}

fn inbox(value: &Map<String, Value>, step: &mut Step<'_>) {
    step.set_role(Role::User);
    if let Some(actor) = string(value, "from_principal").or_else(|| string(value, "from")) {
        step.set_actor(actor);
    }
    let text = match value.get("payload") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(map)) => match map.get("text") {
            Some(Value::String(text)) => text.clone(),
            _ => Value::Object(map.clone()).to_string(),
        },
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    step.push_part(Part::text(text));
    if string(value, "status") == Some("cancelled") {
        step.hide();
    }
    step.lock(true);
}

fn tool_call(key: &str, value: &Map<String, Value>, step: &mut Step<'_>) {
    step.tool_start(key, string(value, "tool_name").unwrap_or_default(), Start::Piece);
    let status = string(value, "status").unwrap_or("started");
    let arguments = value.get("args").filter(|args| !args.is_null());
    match arguments {
        Some(Value::String(text)) => {
            step.tool_arguments(key, &Delta::whole(text.as_str()));
            if status != "started" {
                step.tool_ready(key, None);
            }
        }
        Some(other) if status == "started" => {
            step.tool_arguments(key, &Delta::whole(other.to_string()));
        }
        other => {
            if status != "started" {
                step.tool_ready(key, other.cloned());
            }
        }
    }
    let result = value.get("result").filter(|result| !result.is_null());
    let error = string(value, "error").map(str::to_owned);
    match status {
        "completed" => {
            let output = result.cloned().map_or(Value::Null, parse_result);
            step.result(key, Outcome::new(step.position(), Some(output), error));
        }
        "failed" => {
            let output = result.cloned().map(parse_result);
            let error = error.unwrap_or_else(|| {
                output.as_ref().map_or_else(|| "Tool execution failed".to_owned(), result_error)
            });
            step.result(key, Outcome::new(step.position(), output, Some(error)));
        }
        _ => {}
    }
}
