//! AG-UI events up to 1.0 as its agents and TanStack AI write them, today's forms and the old ones.
//!
//! Every event may name the subagent whose work it is. Ids of texts hold within one writer, and what has no id belongs
//! to the writer's own: words of a subagent never join those of its parent.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::call::ApprovalRequest;
use super::super::call::Outcome;
use super::super::calls::Start;
use super::super::cursor::SegmentKey;
use super::super::extras::{SubagentEnd, unanswered};
use super::super::naming::Chunk;
use super::super::signal::SignalKind;
use super::super::step::Step;
use crate::authority::{REFUSED, RETHOUGHT};
use crate::chunk::{
    Inner, delta, id, is_true, parse_result, result_error, tanstack, text, usage, value,
};
use crate::row::{
    FinishReason, MessageError, Part, QuestionPart, Role, Stopped, SubagentPart, SubagentState,
};

/// Folds an event; unknown ones have no effect.
pub(super) fn fold(inner: &Inner<'_>, step: &mut Step<'_>) {
    step.subagent = id(inner.subagent_run_id).map(|id| Cow::Owned(id.into_owned()));
    match inner.kind() {
        "TEXT_MESSAGE_CONTENT" => {
            step.reopen();
            if step.subagent.is_none()
                && let Some(delta) = delta(inner.delta)
                && step.structured_text(&delta)
            {
                return;
            }
            let key = step.text_key(SegmentKey::text_id(inner.message_id));
            step.text(&key, delta(inner.delta), delta(inner.content));
        }
        "TOOL_CALL_ARGS" => {
            if let (Some(call_id), Some(delta)) = (id(inner.tool_call_id), delta(inner.delta)) {
                step.reopen();
                step.tool_arguments(&call_id, &delta);
            }
        }
        "REASONING_MESSAGE_CONTENT" => reason(inner.message_id, inner, step),
        "REASONING_MESSAGE_CHUNK" => {
            if let Some(message_id) = id(inner.message_id) {
                step.set_chunk(Chunk::Thought, &message_id);
            }
            step.reopen();
            step.saw_reasoning();
            let named = step.chunk_of(Chunk::Thought).map(|id| Cow::Owned(id.to_owned()));
            let key = thought_key(named.map_or(SegmentKey::Legacy, SegmentKey::Id), step);
            step.reasoning(&key, delta(inner.delta), None);
        }
        "THINKING_TEXT_MESSAGE_CONTENT" => {
            step.reopen();
            step.saw_reasoning();
            let key = thought_key(SegmentKey::Thinking, step);
            step.reasoning(&key, delta(inner.delta), delta(inner.content));
        }
        // A new block of thinking is a new part.
        "THINKING_TEXT_MESSAGE_START" | "THINKING_START" => {
            step.reopen();
            step.close_segment(&SegmentKey::Thinking);
        }
        "TEXT_MESSAGE_START" => begin_text(id(inner.message_id).as_deref(), inner, step),
        "TEXT_MESSAGE_END" => step.end_bare_message(),
        // START, CONTENT and END in one; only the first of a row of chunks needs the id.
        "TEXT_MESSAGE_CHUNK" => {
            step.reopen();
            if let Some(message_id) = id(inner.message_id)
                && step.chunk_of(Chunk::Text) != Some(message_id.as_ref())
            {
                begin_text(Some(&message_id), inner, step);
                step.set_chunk(Chunk::Text, &message_id);
            }
            let named = step.chunk_of(Chunk::Text).map(|id| Cow::Owned(id.to_owned()));
            let key = step.text_key(named.map_or(SegmentKey::Legacy, SegmentKey::Id));
            step.text(&key, delta(inner.delta), None);
        }
        "TOOL_CALL_START" => {
            let Some(call_id) = id(inner.tool_call_id) else { return };
            step.reopen();
            step.tool_start(&call_id, &tool_name(inner), Start::Whole);
            provider(&call_id, inner, step);
        }
        "TOOL_CALL_CHUNK" => {
            let call_id = match id(inner.tool_call_id) {
                Some(call_id) => call_id.into_owned(),
                None => match step.chunk_of(Chunk::Call) {
                    Some(call_id) => call_id.to_owned(),
                    None => return,
                },
            };
            step.reopen();
            step.tool_start(&call_id, &tool_name(inner), Start::Piece);
            provider(&call_id, inner, step);
            step.set_chunk(Chunk::Call, &call_id);
            if let Some(delta) = delta(inner.delta) {
                step.tool_arguments(&call_id, &delta);
            }
        }
        "TOOL_CALL_END" => tool_end(inner, step),
        "TOOL_CALL_RESULT" => tool_result(inner, step),
        "STEP_STARTED" => {
            step.reopen();
            if step.subagent.is_none() {
                let name = id(inner.step_name).or_else(|| id(inner.step_id));
                step.set_thinking_step(name.as_deref());
            }
        }
        "STEP_FINISHED" => step_finished(inner, step),
        "RUN_STARTED" => {
            step.run_started();
            step.run_named(text(inner.run_id), text(inner.thread_id));
            // An agent that repeats what it was told decides nothing by it (L15).
            if !step.by_agent()
                && let Some(Value::Object(input)) = value(inner.input)
            {
                resumed(&input, step);
            }
        }
        "RUN_FINISHED" => run_finished(inner, step),
        "RUN_ERROR" => {
            let nested = match value(inner.error) {
                Some(Value::Object(map)) => super::legacy::error_object(&map),
                Some(Value::String(message)) => MessageError { message, code: None },
                _ => MessageError { message: String::new(), code: None },
            };
            let message = text(inner.message).filter(|m| !m.is_empty());
            step.structured_failed();
            step.complete_open_calls();
            step.named_ends(text(inner.run_id));
            step.fail(MessageError {
                message: message.map_or(nested.message, Cow::into_owned),
                code: id(inner.code).map(Cow::into_owned).or(nested.code),
            });
        }
        "MESSAGES_SNAPSHOT" => {
            if let Some(Value::Array(messages)) = value(inner.messages) {
                super::snapshot::messages(&messages, step);
            }
        }
        "SUBAGENT_STARTED" | "SUBAGENT_FINISHED" | "SUBAGENT_ERROR" => subagent(inner, step),
        "ACTIVITY_SNAPSHOT" | "ACTIVITY_DELTA" => activity(inner, step),
        "CUSTOM" => custom(inner, step),
        // They say nothing that is shown; but a generation that writes them is alive.
        "REASONING_START" | "REASONING_MESSAGE_START" => step.reopen(),
        _ => {}
    }
}

fn begin_text(message_id: Option<&str>, inner: &Inner<'_>, step: &mut Step<'_>) {
    if step.subagent.is_some() {
        step.reopen();
        return;
    }
    step.begin_message(message_id);
    if let Some(role) = bare_role(inner) {
        step.set_bare_role(role);
    }
}

fn reason(
    message_id: Option<&serde_json::value::RawValue>,
    inner: &Inner<'_>,
    step: &mut Step<'_>,
) {
    step.reopen();
    step.saw_reasoning();
    let key = thought_key(SegmentKey::text_id(message_id), step);
    step.reasoning(&key, delta(inner.delta), None);
}

/// The key of a thought: that of the present step, where the writer names steps.
fn thought_key<'k>(key: SegmentKey<'k>, step: &Step<'_>) -> SegmentKey<'k> {
    match step.thinking_step() {
        Some(name) if step.subagent.is_none() => SegmentKey::Step(Cow::Owned(name.to_owned())),
        _ => step.text_key(key),
    }
}

fn subagent(inner: &Inner<'_>, step: &mut Step<'_>) {
    let Some(id) = step.subagent.take() else { return };
    let Some(Value::Object(map)) = inner.whole() else { return };
    let string = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
    match inner.kind() {
        "SUBAGENT_STARTED" => step.subagent_started(SubagentPart {
            id: id.into_owned(),
            name: string("name").unwrap_or_default(),
            description: string("description"),
            parent: string("parentSubagentRunId"),
            tool_call_id: string("parentToolCallId"),
            state: SubagentState::Running,
            result: None,
            error: None,
        }),
        "SUBAGENT_ERROR" => {
            step.subagent_ended(&id, SubagentEnd::Failed(string("message").unwrap_or_default()));
        }
        _ => {
            let outcome = map.get("outcome").and_then(|outcome| outcome.get("type"));
            let end = match outcome.and_then(Value::as_str) {
                Some("suspended") => SubagentEnd::Suspended,
                _ => SubagentEnd::Done(map.get("result").filter(|v| !v.is_null()).cloned()),
            };
            step.subagent_ended(&id, end);
        }
    }
}

fn activity(inner: &Inner<'_>, step: &mut Step<'_>) {
    let Some(Value::Object(mut map)) = inner.whole() else { return };
    let Some(message_id) = id(inner.message_id) else { return };
    let kind = map.get("activityType").and_then(Value::as_str).unwrap_or_default().to_owned();
    step.reopen();
    if inner.kind() == "ACTIVITY_DELTA" {
        let patch = map.shift_remove("patch").unwrap_or(Value::Array(Vec::new()));
        step.activity_changed(&message_id, Some(&kind), patch);
        return;
    }
    let replace = map.get("replace") != Some(&Value::Bool(false));
    let content = map.shift_remove("content").unwrap_or(Value::Null);
    step.activity(&message_id, &kind, content, replace);
}

/// Takes down that the model's provider runs a call.
fn provider(call_id: &str, inner: &Inner<'_>, step: &mut Step<'_>) {
    if is_true(inner.provider_executed) {
        step.by_provider(call_id);
    }
}

fn bare_role(inner: &Inner<'_>) -> Option<Role> {
    match text(inner.role)?.as_ref() {
        "user" => Some(Role::User),
        "system" => Some(Role::System),
        _ => Some(Role::Assistant),
    }
}

fn tool_name<'a>(inner: &Inner<'a>) -> Cow<'a, str> {
    text(inner.tool_call_name)
        .filter(|name| !name.is_empty())
        .or_else(|| text(inner.tool_name))
        .unwrap_or_default()
}

fn tool_end(inner: &Inner<'_>, step: &mut Step<'_>) {
    let Some(call_id) = id(inner.tool_call_id) else { return };
    step.goes_on();
    let input = value(inner.input)
        .or_else(|| tanstack(inner.metadata).and_then(|mut extra| extra.shift_remove("input")));
    step.tool_ready(&call_id, input);
    // Up to 0.38 the result came here; a `TOOL_CALL_RESULT` beats it.
    if let Some(result) = value(inner.result) {
        let failed = text(inner.state).as_deref() == Some("output-error");
        let output = parse_result(result);
        let error = failed.then(|| result_error(&output));
        step.end_result(&call_id, Outcome::new(step.position(), Some(output), error));
    }
}

fn tool_result(inner: &Inner<'_>, step: &mut Step<'_>) {
    let Some(call_id) = id(inner.tool_call_id) else { return };
    step.goes_on();
    let output = parse_result(value(inner.content).unwrap_or(Value::Null));
    let failed = matches!(text(inner.state).as_deref(), Some("output-error" | "error"))
        || text(inner.error).is_some_and(|error| !error.is_empty())
        || tanstack(inner.metadata)
            .and_then(|extra| extra.get("state")?.as_str().map(|s| s == "output-error"))
            .unwrap_or(false);
    let error = failed.then(|| {
        text(inner.error)
            .filter(|error| !error.is_empty())
            .map_or_else(|| result_error(&output), Cow::into_owned)
    });
    step.result(&call_id, Outcome::new(step.position(), Some(output), error));
}

/// Up to 0.38 the thinking text came with the end of the step.
fn step_finished(inner: &Inner<'_>, step: &mut Step<'_>) {
    if step.subagent.is_some() {
        return;
    }
    if !step.has_reasoning() && (inner.delta.is_some() || inner.content.is_some()) {
        let name = id(inner.step_id)
            .or_else(|| id(inner.step_name))
            .map(Cow::into_owned)
            .or_else(|| step.thinking_step().map(str::to_owned));
        let key = name.map_or(SegmentKey::Thinking, |name| SegmentKey::Step(Cow::Owned(name)));
        step.reopen();
        step.reasoning(&key, delta(inner.delta), delta(inner.content));
    } else {
        step.set_thinking_step(None);
    }
}

fn run_finished(inner: &Inner<'_>, step: &mut Step<'_>) {
    step.complete_open_calls();
    let extra = tanstack(inner.metadata);
    if value(inner.usage).as_ref().and_then(usage).is_none()
        && let Some(found) = extra.as_ref().and_then(|extra| extra.get("usage")).and_then(usage)
    {
        step.add_usage(found);
    }
    let outcome = value(inner.outcome);
    let outcome = outcome.as_ref().and_then(Value::as_object);
    let ends = outcome.and_then(|outcome| outcome.get("type")).and_then(Value::as_str);
    let interrupted = ends == Some("interrupt");
    step.named_ends(text(inner.run_id));
    if interrupted && let Some(Value::Array(all)) = outcome.and_then(|o| o.get("interrupts")) {
        for interrupt in all.iter().filter_map(Value::as_object) {
            ask(interrupt, step);
        }
    }
    let reason = text(inner.finish_reason).or_else(|| {
        let reason = extra.as_ref()?.get("finishReason")?.as_str()?;
        Some(Cow::Owned(reason.to_owned()))
    });
    let reason = reason.as_deref().map(FinishReason::of_word);
    if reason != Some(FinishReason::ToolCalls) || interrupted {
        step.structured_failed();
        step.drop_blank_tail();
    }
    if ends == Some("cancelled") {
        let by = step.foreign_actor();
        step.stop(Stopped { by, reason: Some("cancelled".to_owned()) });
    } else {
        step.finish(reason);
        // Interrupts name what is waited for.
        step.ends_run(inner.outcome.is_some() || inner.result.is_some(), ends == Some("success"));
    }
}

/// An interrupt waits for a person: for the approval of a call, or for the answer to a question that is about none. Its
/// id is the approval's id. Results that a client finds are asked for by the call itself.
fn ask(interrupt: &Map<String, Value>, step: &mut Step<'_>) {
    let string = |name: &str| interrupt.get(name).and_then(Value::as_str);
    let Some(approval_id) = string("id").filter(|id| !id.is_empty()) else { return };
    let metadata = interrupt.get("metadata").and_then(Value::as_object);
    let kind = metadata.and_then(|m| m.get("kind")).and_then(Value::as_str);
    let reason = string("reason").unwrap_or_default();
    if kind == Some("client_tool") || reason == "client_tool_input" {
        if let Some(call_id) = string("toolCallId") {
            let name = metadata.and_then(|m| m.get("toolName")).and_then(Value::as_str);
            step.client_call(call_id, name.unwrap_or_default(), Some(approval_id));
        }
        return;
    }
    step.subagent = string("subagentRunId").map(|id| Cow::Owned(id.to_owned()));
    let expires_at = string("expiresAt");
    if let Some(call_id) = string("toolCallId") {
        let name = metadata.and_then(|m| m.get("toolName")).and_then(Value::as_str);
        let input = metadata.and_then(|m| m.get("input")).cloned();
        let request = ApprovalRequest::new(approval_id, name.map(Cow::Borrowed), input);
        step.request(
            call_id,
            request.because(string("message").map(Cow::Borrowed)).until(expires_at),
        );
    } else {
        step.question(QuestionPart {
            reason: reason.to_owned(),
            message: string("message").map(str::to_owned),
            response_schema: interrupt.get("responseSchema").filter(|s| s.is_object()).cloned(),
            expires_at: expires_at.map(str::to_owned),
            approval: unanswered(approval_id),
            answer: None,
            subagent: None,
        });
    }
    step.subagent = None;
}

/// The answers a continuing run starts with.
fn resumed(input: &Map<String, Value>, step: &mut Step<'_>) {
    let Some(Value::Array(answers)) = input.get("resume") else { return };
    for answer in answers.iter().filter_map(Value::as_object) {
        let Some(interrupt) = answer.get("interruptId").and_then(Value::as_str) else { continue };
        let resolved = answer.get("status").and_then(Value::as_str) == Some("resolved");
        let approved = match answer.get("payload") {
            Some(Value::Bool(approved)) => *approved,
            Some(Value::Object(payload)) => match payload.get("approved") {
                Some(Value::Bool(approved)) => *approved,
                // An answer in words, or the result of a client tool, which nobody asked to approve.
                _ => resolved,
            },
            _ => resolved,
        };
        step.side_signal(SignalKind::Answer {
            approval: interrupt.to_owned(),
            approved: approved && resolved,
            payload: answer
                .get("payload")
                .filter(|payload| payload.get("approved").is_none())
                .cloned(),
            chosen: None,
        });
    }
}

fn custom(inner: &Inner<'_>, step: &mut Step<'_>) {
    let Some(name) = text(inner.name) else { return };
    // Until 0.9 the payload was called `data`.
    let payload = value(inner.value).or_else(|| value(inner.data));
    let Some(Value::Object(payload)) = payload else { return };
    let string = |name: &str| payload.get(name).and_then(Value::as_str);
    match name.as_ref() {
        "approval-requested" => {
            step.afterthought();
            let approval = payload.get("approval").and_then(Value::as_object);
            let approval_id = approval.and_then(|a| a.get("id")).and_then(Value::as_str);
            if let (Some(call_id), Some(approval_id)) = (string("toolCallId"), approval_id) {
                let name = string("toolName").map(Cow::Borrowed);
                let request =
                    ApprovalRequest::new(approval_id, name, payload.get("input").cloned());
                step.request(call_id, request.offering(super::local::options(&payload)));
            }
        }
        "structured-output.start" => {
            step.reopen();
            step.structured_started();
        }
        "structured-output.complete" => {
            step.reopen();
            step.structured_complete(
                payload.get("object").cloned().unwrap_or(Value::Null),
                string("raw"),
            );
        }
        "ui-resource" => {
            step.reopen();
            step.push_part(Part::Data {
                name: "ui-resource".to_owned(),
                id: string("toolCallId").map(str::to_owned),
                data: Value::Object(payload),
            });
        }
        REFUSED if step.by_agent() => {
            step.refuse(payload.get("chunks").and_then(Value::as_u64).unwrap_or(0));
        }
        RETHOUGHT => {
            step.reopen();
            step.rethink();
        }
        // A client tool's input; the call itself has it already, or gets it here.
        "tool-input-available" => {
            step.afterthought();
            if let Some(call_id) = string("toolCallId") {
                step.client_call(call_id, string("toolName").unwrap_or_default(), None);
                step.tool_input_hint(call_id, payload.get("input"));
            }
        }
        name => super::local::custom(name, payload, step),
    }
}
