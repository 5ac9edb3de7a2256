//! Whole messages: parts as TanStack, the AI SDK and AG-UI snapshots write them.

use serde_json::{Map, Value};

use super::super::call::ApprovalRequest;
use super::super::call::Outcome;
use super::super::calls::Start;
use super::super::cursor::SegmentKey;
use super::super::step::Step;
use super::aisdk;
use crate::chunk::{parse_result, result_error};
use crate::row::{FilePart, Part, Role, StructuredStatus};
use crate::text::Delta;
use crate::text::lenient_value;

fn string<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name).and_then(Value::as_str)
}

/// A message in one row: `{id, role, parts, createdAt?}`.
pub(super) fn whole(message: &Map<String, Value>, step: &mut Step<'_>) {
    let role = match string(message, "role") {
        Some("user") => Some(Role::User),
        Some("assistant") => Some(Role::Assistant),
        Some("system") => Some(Role::System),
        _ => None,
    };
    // A date is text, or milliseconds where a program kept it as a number.
    let at = match message.get("createdAt") {
        Some(Value::Number(millis)) => millis
            .as_i64()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .map(|at| at.to_string()),
        other => other.and_then(Value::as_str).map(str::to_owned),
    };
    // An agent speaks for itself, whatever it writes into its chunk (L15).
    let id = string(message, "id");
    let (id, role) = if step.by_agent() { (None, None) } else { (id, role) };
    if !step.begin_whole(id, role, at.as_deref()) {
        return;
    }
    // In the middle of an answer it is a snapshot of it.
    let over = step.has_parts();
    if over {
        step.begin_snapshot();
    }
    content(message, step);
    if over {
        step.end_snapshot();
    }
    step.end_whole();
}

/// The parts of a message, or its `content` where it has none.
fn content(message: &Map<String, Value>, step: &mut Step<'_>) {
    match message.get("parts") {
        Some(Value::Array(parts)) => {
            for part in parts.iter().filter_map(Value::as_object) {
                self::part(part, step);
            }
        }
        _ => match message.get("content") {
            Some(Value::String(text)) => push_text(text, step),
            Some(Value::Array(parts)) => {
                for part in parts.iter().filter_map(Value::as_object) {
                    self::part(part, step);
                }
            }
            _ => {}
        },
    }
}

fn push_text(text: &str, step: &mut Step<'_>) {
    if !text.is_empty() {
        step.push_part(Part::text(text));
    }
}

/// One part, TanStack's or the AI SDK's.
fn part(part: &Map<String, Value>, step: &mut Step<'_>) {
    let Some(kind) = string(part, "type") else { return };
    let words = || string(part, "text").or_else(|| string(part, "content")).unwrap_or_default();
    match kind {
        "text" => {
            let citations = part.get("citations").map(aisdk::citations).unwrap_or_default();
            let (text, subagent) = (words().to_owned(), None);
            step.push_part(Part::Text { text, citations, subagent });
        }
        "thinking" | "reasoning" => step.push_part(Part::reasoning(words())),
        "tool-call" => tanstack_call(part, step),
        "tool-result" => {
            if let Some(call_id) = string(part, "toolCallId") {
                let output = parse_result(part.get("content").cloned().unwrap_or(Value::Null));
                let said = string(part, "error").filter(|error| !error.is_empty());
                let failed = said.is_some() || string(part, "state") == Some("error");
                let error =
                    failed.then(|| said.map_or_else(|| result_error(&output), str::to_owned));
                step.result(call_id, Outcome::new(step.position(), Some(output), error));
            }
        }
        "file" | "reasoning-file" => {
            if let Some(file) = aisdk::file(part) {
                step.push_part(Part::File(file));
            }
        }
        "image" | "audio" | "video" | "document" => match media(part) {
            Some(file) => step.push_part(Part::File(file)),
            None => unknown(kind, part, step),
        },
        "source-url" | "source-document" => step.push_part(Part::Source(aisdk::source(part))),
        "step-start" => step.start_step(),
        "steering-message" => step.push_part(aisdk::steering(part)),
        "structured-output" => step.push_part(Part::StructuredOutput {
            status: match string(part, "status") {
                Some("complete") => StructuredStatus::Complete,
                Some("error") => StructuredStatus::Error,
                _ => StructuredStatus::Streaming,
            },
            raw: string(part, "raw").unwrap_or_default().to_owned(),
            object: part.get("data").or_else(|| part.get("object")).cloned(),
        }),
        "dynamic-tool" => aisdk_call(string(part, "toolName").unwrap_or_default(), part, step),
        _ if kind.starts_with("tool-") && part.contains_key("toolCallId") => {
            aisdk_call(&kind[5..], part, step);
        }
        _ => match kind.strip_prefix("data-") {
            Some(name) => step.data(
                name,
                string(part, "id"),
                part.get("data").cloned().unwrap_or(Value::Null),
            ),
            None => unknown(kind, part, step),
        },
    }
}

/// A part of a type we do not draw is kept as data (L9).
fn unknown(kind: &str, part: &Map<String, Value>, step: &mut Step<'_>) {
    step.push_part(Part::Data {
        name: kind.to_owned(),
        id: None,
        data: Value::Object(part.clone()),
    });
}

/// TanStack's media parts: `{type, source: {type: url|data, value, mimeType}}`.
fn media(part: &Map<String, Value>) -> Option<FilePart> {
    let source = part.get("source")?.as_object()?;
    let value = string(source, "value").or_else(|| string(source, "url"))?;
    let media_type = string(source, "mimeType").or_else(|| string(source, "mediaType"));
    let url = if string(source, "type") == Some("data") && !value.starts_with("data:") {
        format!("data:{};base64,{value}", media_type.unwrap_or("application/octet-stream"))
    } else {
        value.to_owned()
    };
    Some(FilePart {
        url,
        media_type: media_type.map(str::to_owned),
        filename: string(part, "filename").map(str::to_owned),
        reasoning: false,
    })
}

fn tanstack_call(part: &Map<String, Value>, step: &mut Step<'_>) {
    let Some(call_id) = string(part, "id") else { return };
    step.tool_start(call_id, string(part, "name").unwrap_or_default(), Start::Whole);
    if let Some(arguments) = string(part, "arguments") {
        step.tool_arguments(call_id, &Delta::whole(arguments));
    }
    let state = string(part, "state").unwrap_or_default();
    if !matches!(state, "awaiting-input" | "input-streaming") {
        step.tool_ready(call_id, part.get("input").filter(|v| !v.is_null()).cloned());
    }
    if let Some(Value::Object(approval)) = part.get("approval")
        && let Some(approval_id) = string(approval, "id")
    {
        step.request(call_id, ApprovalRequest::new(approval_id, None, None));
    }
    if let Some(output) = part.get("output").filter(|v| !v.is_null()) {
        let output = parse_result(output.clone());
        let error = (state == "error").then(|| result_error(&output));
        step.result(call_id, Outcome::new(step.position(), Some(output), error));
    }
}

fn aisdk_call(name: &str, part: &Map<String, Value>, step: &mut Step<'_>) {
    let Some(call_id) = string(part, "toolCallId") else { return };
    step.tool_start(call_id, name, Start::InStep);
    step.tool_title(call_id, string(part, "title").map(Into::into));
    if string(part, "inputEncoding") == Some("text") {
        step.tool_takes_text(call_id);
    }
    let state = string(part, "state").unwrap_or_default();
    if state == "input-streaming" {
        step.tool_streaming(call_id);
    } else {
        step.tool_ready(call_id, part.get("input").filter(|v| !v.is_null()).cloned());
    }
    if let Some(Value::Object(approval)) = part.get("approval")
        && let Some(approval_id) = string(approval, "id")
        && approval.get("isAutomatic") != Some(&Value::Bool(true))
    {
        let reason = string(approval, "requestReason").map(Into::into);
        step.request(call_id, ApprovalRequest::new(approval_id, None, None).because(reason));
    }
    match state {
        "output-available" => {
            let output = part.get("output").cloned().unwrap_or(Value::Null);
            let preliminary = part.get("preliminary") == Some(&Value::Bool(true));
            let outcome = Outcome::new(step.position(), Some(output), None);
            step.result(call_id, outcome.preliminary(preliminary));
        }
        "output-error" => {
            let error = string(part, "errorText").unwrap_or_default().to_owned();
            step.result(call_id, Outcome::new(step.position(), None, Some(error)));
        }
        "output-denied" => step.tool_denied(call_id),
        _ => {}
    }
}

/// `MESSAGES_SNAPSHOT` inside one durable message.
///
/// The snapshot holds the whole thread, but the earlier turns are durable messages of their own: only
/// what the agent said since the last person spoke belongs here. A snapshot without such a tail says
/// nothing about this message.
pub(super) fn messages(messages: &[Value], step: &mut Step<'_>) {
    let role = |m: &Value| m.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    let after = messages
        .iter()
        .rposition(|m| matches!(role(m).as_str(), "user" | "system" | "developer"))
        .map_or(0, |at| at + 1);
    let tail: Vec<&Map<String, Value>> =
        messages[after..].iter().filter_map(Value::as_object).collect();
    if tail.is_empty() {
        return;
    }
    step.begin_snapshot();
    for message in tail {
        step.subagent = string(message, "subagentRunId").map(|id| id.to_owned().into());
        snapshot_message(message, step);
    }
    step.subagent = None;
    step.end_snapshot();
}

fn snapshot_message(message: &Map<String, Value>, step: &mut Step<'_>) {
    match string(message, "role") {
        Some("tool") => {
            if let Some(call_id) = string(message, "toolCallId") {
                let output = parse_result(message.get("content").cloned().unwrap_or(Value::Null));
                let error =
                    string(message, "error").filter(|error| !error.is_empty()).map(str::to_owned);
                step.snapshot_result(call_id, Outcome::new(step.position(), Some(output), error));
            }
        }
        Some("reasoning") => {
            if let Some(text) = string(message, "content") {
                let key = own_key(message, step);
                step.push_reasoning(&key, text);
            }
        }
        Some("activity") => {
            if let (Some(id), Some(kind), Some(content)) =
                (string(message, "id"), string(message, "activityType"), message.get("content"))
            {
                step.activity(id, kind, content.clone(), true);
            }
        }
        _ => {
            let key = own_key(message, step);
            match message.get("content") {
                Some(Value::String(text)) if !message.contains_key("parts") => {
                    if !text.is_empty() {
                        step.push_text(&key, text);
                    }
                }
                _ => content(message, step),
            }
            if let Some(Value::Array(calls)) = message.get("toolCalls") {
                for call in calls.iter().filter_map(Value::as_object) {
                    snapshot_call(call, step);
                }
            }
            // Text that streams on under the same id goes on in the last part.
            if message.contains_key("id") {
                step.resume_text(&key);
            }
        }
    }
}

/// The key of the texts of a message in a snapshot.
fn own_key<'m>(message: &'m Map<String, Value>, step: &Step<'_>) -> SegmentKey<'m> {
    step.text_key(string(message, "id").map_or(SegmentKey::Legacy, |id| SegmentKey::Id(id.into())))
}

fn snapshot_call(call: &Map<String, Value>, step: &mut Step<'_>) {
    let Some(call_id) = string(call, "id") else { return };
    let function = call.get("function").and_then(Value::as_object);
    let name = function.and_then(|f| string(f, "name")).unwrap_or_default();
    let arguments = function.and_then(|f| string(f, "arguments")).unwrap_or_default();
    step.tool_start(call_id, name, Start::Whole);
    step.tool_arguments(call_id, &Delta::whole(arguments));
    step.tool_ready(call_id, lenient_value(arguments));
}
