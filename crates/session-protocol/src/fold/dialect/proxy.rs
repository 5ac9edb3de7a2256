//! Chunks that session proxies write themselves: whole messages, wrappers, stops and signals.

use std::borrow::Cow;

use serde_json::Value;

use super::super::call::Chosen;
use super::super::cursor::SegmentKey;
use super::super::signal::SignalKind;
use super::super::step::Step;
use crate::chunk::{
    Inner, delta, id, is_peoples, is_true, is_whole, parse_result, result_error, text, value,
};
use crate::row::{Role, Stopped};

/// Folds a chunk of this dialect; false when it is none.
pub(super) fn fold(inner: &Inner<'_>, step: &mut Step<'_>) -> bool {
    match inner.kind() {
        kind if step.by_agent() && is_peoples(kind) => step.refuse(1),
        kind if is_whole(kind) => {
            if let Some(Value::Object(message)) = value(inner.message) {
                super::snapshot::whole(&message, step);
            }
        }
        "message-start" => {
            step.reopen();
            match text(inner.role).as_deref() {
                // Who wrote the row is known.
                _ if step.by_agent() => {}
                Some("user") => step.set_role(Role::User),
                Some("system") => step.set_role(Role::System),
                Some("assistant") => step.set_role(Role::Assistant),
                _ => {}
            }
        }
        // The AI SDK's chunk of the same name has `id` and `delta`.
        "text-delta" if inner.text_delta.is_some() && inner.delta.is_none() => {
            step.reopen();
            step.text(&SegmentKey::Legacy, delta(inner.text_delta), None);
        }
        "message-end" => {
            step.complete_open_calls();
            step.finish(None);
        }
        "stop" => {
            let by = step.foreign_actor();
            step.complete_open_calls();
            step.stop(Stopped { by, reason: text(inner.reason).map(Cow::into_owned) });
        }
        "tool-result" => {
            if let Some(call_id) = id(inner.tool_call_id) {
                let output = value(inner.output).or_else(|| value(inner.answers));
                let error = match value(inner.error) {
                    Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
                    Some(Value::Null) | None => None,
                    Some(other) => Some(result_error(&other)),
                };
                step.signal(SignalKind::Result {
                    call: call_id.into_owned(),
                    output: output.map(parse_result),
                    error,
                });
            } else {
                step.mark_signal();
            }
        }
        "approval-response" | "tool-approval" | "tool-approval-response" => {
            if let Some(approval) = id(inner.approval_id) {
                step.signal(SignalKind::Answer {
                    approval: approval.into_owned(),
                    approved: is_true(inner.approved),
                    payload: value(inner.payload),
                    chosen: Chosen::of(
                        id(inner.option_id).map(Cow::into_owned),
                        text(inner.reason).map(Cow::into_owned),
                    ),
                });
            } else {
                step.mark_signal();
            }
        }
        "config" => match inner.whole() {
            Some(Value::Object(mut settings)) => {
                settings.shift_remove("type");
                step.signal(SignalKind::Config { settings });
            }
            _ => step.mark_signal(),
        },
        "control" => step.mark_signal(),
        _ => return false,
    }
    true
}
