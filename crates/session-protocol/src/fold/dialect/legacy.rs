//! Legacy TanStack chunks: `content`, `thinking`, `tool_call`, `tool_result`, `done`, `error`.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::call::ApprovalRequest;
use super::super::call::Outcome;
use super::super::calls::Start;
use super::super::cursor::SegmentKey;
use super::super::step::Step;
use crate::chunk::{Inner, delta, id, parse_result, result_error, text, value};
use crate::row::{FinishReason, MessageError};
use crate::text::Delta;

#[derive(Deserialize)]
struct LegacyCall<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// Folds a chunk of this dialect; false when it is none.
pub(super) fn fold(inner: &Inner<'_>, step: &mut Step<'_>) -> bool {
    match inner.kind() {
        "content" => {
            step.reopen();
            step.complete_open_calls();
            step.text(&SegmentKey::Legacy, delta(inner.delta), delta(inner.content));
        }
        "thinking" => {
            step.reopen();
            step.reasoning(&SegmentKey::Legacy, delta(inner.delta), delta(inner.content));
        }
        "tool_call" => {
            let Some(call) = inner
                .tool_call
                .and_then(|raw| serde_json::from_str::<LegacyCall<'_>>(raw.get()).ok())
            else {
                return true;
            };
            let Some(call_id) = id(call.id) else { return true };
            let (name, arguments) = match &call.function {
                Some(function) => (text(function.name), function.arguments),
                None => (None, None),
            };
            step.reopen();
            step.tool_start(&call_id, name.as_deref().unwrap_or_default(), Start::Piece);
            match delta(arguments) {
                Some(arguments) => step.tool_arguments(&call_id, &arguments),
                // Some writers put the parsed object.
                None => {
                    if let Some(arguments) = value(arguments) {
                        step.tool_arguments(&call_id, &Delta::whole(arguments.to_string()));
                    }
                }
            }
        }
        "tool_result" => {
            step.goes_on();
            let Some(call_id) = id(inner.tool_call_id) else { return true };
            let content = value(inner.content).or_else(|| value(inner.output));
            let said = text(inner.error).filter(|error| !error.is_empty());
            let error = said.map(std::borrow::Cow::into_owned).or_else(|| {
                (text(inner.state).as_deref() == Some("error")).then(|| {
                    content
                        .as_ref()
                        .map_or_else(String::new, |c| result_error(&parse_result(c.clone())))
                })
            });
            step.result(&call_id, Outcome::new(step.position(), content.map(parse_result), error));
        }
        "approval-requested" => {
            step.afterthought();
            let Some(call_id) = id(inner.tool_call_id) else { return true };
            let approval = inner.approval.and_then(|raw| {
                serde_json::from_str::<std::collections::BTreeMap<&str, &RawValue>>(raw.get()).ok()
            });
            let Some(approval_id) = approval.as_ref().and_then(|map| id(map.get("id").copied()))
            else {
                return true;
            };
            step.request(
                &call_id,
                ApprovalRequest::new(&approval_id, text(inner.tool_name), value(inner.input)),
            );
        }
        "done" => {
            step.complete_open_calls();
            step.finish(text(inner.finish_reason).as_deref().map(FinishReason::of_word));
            step.ends_run(inner.outcome.is_some() || inner.result.is_some(), false);
        }
        "error" if inner.error_text.is_none() => {
            let error = match value(inner.error) {
                Some(Value::String(message)) => MessageError { message, code: None },
                Some(Value::Object(map)) => error_object(&map),
                _ => MessageError {
                    message: text(inner.message).unwrap_or_default().into_owned(),
                    code: id(inner.code).map(std::borrow::Cow::into_owned),
                },
            };
            step.complete_open_calls();
            step.fail(error);
        }
        _ => return false,
    }
    true
}

/// `{message, code}` with whatever types they came in.
pub(super) fn error_object(map: &serde_json::Map<String, Value>) -> MessageError {
    let text = |name: &str| match map.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    MessageError { message: text("message").unwrap_or_default(), code: text("code") }
}
