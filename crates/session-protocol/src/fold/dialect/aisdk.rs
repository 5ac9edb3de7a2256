//! AI SDK UI message chunks: `start`, `text-delta`, `tool-input-available`, `finish`, …
//!
//! They have two readers, and people saw what theirs showed. A bare stream is one generation and is read
//! by the AI SDK itself (`processUIMessageStream`). Chunks in rows were written and read by one program
//! (Superset's durable sessions), whose reader is simpler, and rows are folded as it does:
//!
//! - a delta goes to the last part when that is of its kind, whatever its id, so interleaved texts join;
//! - `data-*` makes no part: it is between the program's own ends;
//! - `tool-input-error` completes the input; the failure is said by the `tool-output-error` after it;
//!
//! Two things of that reader are not imitated: it drops a delta that it has no part for, and goes on waiting after an
//! `error`, which ends a generation here as everywhere.
//!
//! Chunks of version 7 are read everywhere: parts of a step that is taken back, words that a person puts in, first
//! outputs, sources of texts.

use std::borrow::Cow;

use serde_json::Value;

use super::super::call::ApprovalRequest;
use super::super::call::Outcome;
use super::super::calls::Start;
use super::super::cursor::SegmentKey;
use super::super::step::Step;
use crate::chunk::{Dialect, Inner, delta, id, is_ai_sdk, is_true, text, usage, value};
use crate::row::{
    Citation, FilePart, FinishReason, MessageError, Part, SourceKind, SourcePart, Stopped,
};

/// Folds a chunk of this dialect; false when it is none.
pub(super) fn fold(inner: &Inner<'_>, step: &mut Step<'_>) -> bool {
    match inner.kind() {
        "start" => {
            if let Some(id) = id(inner.message_id) {
                step.generation_started(&id);
            }
            step.run_started();
            metadata(inner, step);
        }
        "start-step" => {
            step.reopen();
            step.start_step();
        }
        // In a bare stream a part is open until its own end: merged streams finish their steps apart.
        "finish-step" => {
            if step.in_rows() {
                step.forget_segments();
            }
        }
        "reset-step" => {
            step.reopen();
            step.reset_step();
        }
        "text-start" => {
            step.reopen();
            step.begin_text(&SegmentKey::text_id(inner.id));
        }
        "text-delta" => {
            step.reopen();
            let key = SegmentKey::text_id(inner.id);
            let delta = delta(inner.delta);
            if step.in_rows() {
                step.text_at_end(&key, delta)
            } else {
                step.text_by_id(&key, delta)
            }
        }
        "text-end" => {
            let key = SegmentKey::text_id(inner.id);
            if let Some(found) = value(inner.citations) {
                step.cite(&key, citations(&found));
            }
            step.end_text(&key);
        }
        "reasoning-end" => step.close_segment(&SegmentKey::text_id(inner.id)),
        "reasoning-start" => {
            step.reopen();
            step.begin_reasoning(&SegmentKey::text_id(inner.id));
        }
        "reasoning-delta" | "reasoning" => {
            step.reopen();
            let delta = delta(inner.delta).or_else(|| delta(inner.content));
            let key = SegmentKey::text_id(inner.id);
            if step.in_rows() {
                step.reasoning_at_end(&key, delta);
            } else {
                step.reasoning(&key, delta, None);
            }
        }
        "source-url" | "source-document" => {
            step.reopen();
            if let Some(Value::Object(map)) = inner.whole() {
                step.push_part(Part::Source(source(&map)));
            }
        }
        "file" | "reasoning-file" => {
            step.reopen();
            if let Some(Value::Object(map)) = inner.whole()
                && let Some(file) = file(&map)
            {
                step.push_part(Part::File(file));
            }
        }
        "steering-message" => {
            step.reopen();
            if let Some(Value::Object(map)) = inner.whole() {
                step.push_part(steering(&map));
            }
        }
        // A part of a type that we do not draw, said by its kind.
        "custom" => {
            step.reopen();
            if let Some(data) = inner.whole() {
                step.push_part(Part::Data { name: "custom".to_owned(), id: None, data });
            }
        }
        "message-metadata" => metadata(inner, step),
        "finish" => {
            metadata(inner, step);
            step.finish(text(inner.finish_reason).as_deref().map(FinishReason::of_word));
            step.ends_run(inner.outcome.is_some() || inner.result.is_some(), false);
        }
        "abort" => step.stop(Stopped {
            by: step.foreign_actor(),
            reason: Some(text(inner.reason).map_or_else(|| "aborted".to_owned(), Cow::into_owned)),
        }),
        "error" => {
            let error = MessageError {
                message: text(inner.error_text).unwrap_or_default().into_owned(),
                code: id(inner.code).map(Cow::into_owned),
            };
            step.fail(error);
        }
        kind if kind.starts_with("data-") => {
            if !is_true(inner.transient) && !step.in_rows() {
                step.reopen();
                step.data(
                    kind.trim_start_matches("data-"),
                    id(inner.id).as_deref(),
                    value(inner.data).unwrap_or(Value::Null),
                );
            }
        }
        kind if kind.starts_with("tool-") => return tool(inner, step),
        _ => return false,
    }
    true
}

fn tool(inner: &Inner<'_>, step: &mut Step<'_>) -> bool {
    let Some(call_id) = id(inner.tool_call_id) else {
        return is_ai_sdk(inner.kind());
    };
    let name = text(inner.tool_name).unwrap_or_default();
    step.goes_on();
    match inner.kind() {
        "tool-input-start" => {
            step.reopen();
            step.tool_start(&call_id, &name, Start::InStep);
            if text(inner.input_encoding).as_deref() == Some("text") {
                step.tool_takes_text(&call_id);
            }
            step.tool_title(&call_id, text(inner.title));
            step.tool_streaming(&call_id);
            if is_true(inner.provider_executed) {
                step.by_provider(&call_id);
            }
        }
        "tool-input-delta" => {
            step.reopen();
            if let Some(delta) = delta(inner.input_text_delta) {
                step.tool_arguments(&call_id, &delta);
            }
        }
        // Legacy TanStack writes the same after `done`; there the call is known and nothing reopens.
        "tool-input-available" => {
            if !step.has_call(&call_id) {
                step.reopen();
            }
            step.tool_given(&call_id, &name, value(inner.input));
            step.tool_title(&call_id, text(inner.title));
            step.afterthought();
            // To the AI SDK every call has its input one day; to TanStack it is the client's to run.
            if step.dialect() == Some(Dialect::Legacy) {
                step.client_call(&call_id, &name, None);
            }
            if is_true(inner.provider_executed) {
                step.by_provider(&call_id);
            }
        }
        "tool-input-error" => {
            if !step.has_call(&call_id) {
                step.reopen();
            }
            step.tool_given(&call_id, &name, value(inner.input));
            if !step.in_rows() {
                let error = text(inner.error_text).unwrap_or_default().into_owned();
                step.result(&call_id, Outcome::new(step.position(), None, Some(error)));
            }
        }
        "tool-approval-request" => {
            step.afterthought();
            // A rule decides, nobody is asked.
            if !is_true(inner.is_automatic)
                && let Some(approval_id) = id(inner.approval_id)
            {
                let request = ApprovalRequest::new(&approval_id, text(inner.tool_name), None);
                step.request(&call_id, request.because(text(inner.reason)));
            }
        }
        "tool-output-available" => {
            let output = value(inner.output).unwrap_or(Value::Null);
            let outcome = Outcome::new(step.position(), Some(output), None);
            step.result(&call_id, outcome.preliminary(is_true(inner.preliminary)));
        }
        "tool-output-error" => {
            let error = text(inner.error_text).unwrap_or_default().into_owned();
            step.result(&call_id, Outcome::new(step.position(), None, Some(error)));
        }
        "tool-output-denied" => step.tool_denied(&call_id),
        _ => return false,
    }
    true
}

/// Tokens hide in the message metadata.
fn metadata(inner: &Inner<'_>, step: &mut Step<'_>) {
    let Some(Value::Object(map)) = value(inner.message_metadata) else { return };
    let found = ["usage", "totalUsage"].iter().find_map(|name| map.get(*name).and_then(usage));
    if let Some(found) = found {
        step.set_metadata_usage(found);
    }
}

fn string(map: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    map.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// A source part or chunk, both have the same fields.
pub(super) fn source(map: &serde_json::Map<String, Value>) -> SourcePart {
    let kind = match string(map, "sourceType").or_else(|| string(map, "type")).as_deref() {
        Some("source-document" | "document") => SourceKind::Document,
        _ => SourceKind::Url,
    };
    SourcePart {
        kind,
        id: string(map, "sourceId").or_else(|| string(map, "id")).unwrap_or_default(),
        url: string(map, "url"),
        title: string(map, "title"),
        media_type: string(map, "mediaType"),
        filename: string(map, "filename"),
    }
}

/// A file part or chunk, both have the same fields.
pub(super) fn file(map: &serde_json::Map<String, Value>) -> Option<FilePart> {
    Some(FilePart {
        url: string(map, "url")?,
        media_type: string(map, "mediaType").or_else(|| string(map, "mimeType")),
        filename: string(map, "filename").or_else(|| string(map, "name")),
        reasoning: map.get("type").and_then(Value::as_str) == Some("reasoning-file"),
    })
}

/// The sources of stretches of a text.
pub(super) fn citations(found: &Value) -> Vec<Citation> {
    let all = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let all = all.iter().filter_map(|one| {
        Some(Citation {
            source: source(one.get("source")?.as_object()?),
            start: one.get("startIndex").and_then(Value::as_u64),
            end: one.get("endIndex").and_then(Value::as_u64),
            cited_text: one.get("citedText").and_then(Value::as_str).map(str::to_owned),
        })
    });
    all.collect()
}

/// Words that the agent was given in the middle of its answer; part and chunk have the same fields.
pub(super) fn steering(map: &serde_json::Map<String, Value>) -> Part {
    let parts = map.get("parts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (mut text, mut files) = (String::new(), Vec::new());
    for part in parts.iter().filter_map(Value::as_object) {
        match part.get("type").and_then(Value::as_str) {
            Some("text") => {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
            }
            Some("file") => files.extend(file(part)),
            _ => {}
        }
    }
    Part::SteeringMessage { id: string(map, "id").unwrap_or_default(), text, files }
}
