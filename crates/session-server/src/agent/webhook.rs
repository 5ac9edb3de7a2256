//! Webhook agents: any URL that answers with chunks.
//!
//! The request is upstream's (`messages`, `stream: true`, over the agent's body template) and AG-UI's `RunAgentInput`
//! at once, with the whole conversation. The answer's chunks are written as they came, in whatever dialect.

use async_trait::async_trait;
use futures::StreamExt;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json};
use session_protocol::{Message, Role, ToolCallPart};

use super::{Agent, RunRequest, lines::Lines};
use crate::{
    history,
    ssrf::{Outbound, Unanswered},
    turns::{Answer, Cause, RunEnd, RunSink},
};

/// Agents behind URLs.
pub(crate) struct Webhook {
    outbound: Outbound,
}

impl Webhook {
    pub(crate) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    pub(crate) fn outbound(&self) -> &Outbound {
        &self.outbound
    }
}

#[async_trait]
impl Agent for Webhook {
    async fn run(&self, request: RunRequest, out: RunSink) -> RunEnd {
        let Some(headers) = headers(&request) else {
            return RunEnd::failed("agent_misconfigured", "The agent's headers cannot be sent.");
        };
        let body = body(&request).to_string().into_bytes();
        let response = match self.outbound.post(&request.spec.endpoint, headers, body).await {
            Ok(response) => response,
            Err(error) => return unanswered(&error),
        };
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return RunEnd::Finished; // the agent declines: no message appears
        }
        if !status.is_success() {
            return RunEnd::failed(
                format!("agent_http_{}", status.as_u16()),
                format!("The agent answered with status {}.", status.as_u16()),
            );
        }
        let mut lines = Lines::default();
        let mut bytes = response.bytes_stream();
        let mut sent = 0_u64;
        while !lines.is_done() {
            let Some(piece) = bytes.next().await else { break };
            let Ok(piece) = piece else {
                return RunEnd::failed(
                    "agent_disconnected",
                    "The connection to the agent broke before it was done.",
                );
            };
            let Ok(chunks) = lines.push(&piece) else {
                return RunEnd::failed(
                    "chunk_too_large",
                    "The agent sent a chunk that is too large.",
                );
            };
            for chunk in chunks {
                sent += 1;
                if out.emit_text(chunk).await.is_err() {
                    return RunEnd::Finished;
                }
            }
        }
        for chunk in lines.finish() {
            sent += 1;
            if out.emit_text(chunk).await.is_err() {
                return RunEnd::Finished;
            }
        }
        if sent == 0 && lines.dropped() > 0 {
            return RunEnd::failed(
                "agent_malformed",
                "The agent's answer could not be read. It has to be server-sent events or lines of JSON.",
            );
        }
        if lines.dropped() > 0 {
            tracing::warn!(
                dropped = lines.dropped(),
                "an agent sent payloads that are no JSON objects"
            );
        }
        RunEnd::Finished
    }
}

fn unanswered(error: &Unanswered) -> RunEnd {
    match error {
        Unanswered::Refused(_) | Unanswered::Redirects => {
            RunEnd::failed("agent_refused", error.to_string())
        }
        Unanswered::Failed(error) if error.is_timeout() => {
            RunEnd::failed("agent_timeout", "The agent did not answer in time.")
        }
        Unanswered::Failed(_) => {
            RunEnd::failed("agent_unreachable", "The agent could not be reached.")
        }
    }
}

/// The headers that a person typed for this agent; `None` when they are no headers.
fn headers(request: &RunRequest) -> Option<HeaderMap> {
    let typed = request.spec.headers.iter().flatten();
    let parsed = typed.map(|(name, value)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true); // L11
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    });
    parsed.collect()
}

/// The request body. What the run is wins over the template; what says nothing gives way to it.
fn body(request: &RunRequest) -> Value {
    let mut body = match &request.spec.body_template {
        Some(Value::Object(template)) => template.clone(),
        _ => Map::new(),
    };
    let mut put = |key: &str, value: Value| {
        body.insert(key.to_owned(), value);
    };
    put("threadId", request.session_id.clone().into());
    put("runId", request.plan.run_id.clone().into());
    put("messages", messages(request).into());
    put("stream", true.into());
    if let Cause::Answers { parent_run_id } = &request.plan.cause {
        if let Some(parent) = parent_run_id {
            put("parentRunId", parent.clone().into());
        }
        let resume = request.answers.iter().map(|answer| resumed(answer, request));
        put("resume", resume.collect());
    }
    for (key, nothing) in [
        ("state", json!({})),
        ("tools", json!([])),
        ("context", json!([])),
        ("forwardedProps", json!({})),
    ] {
        body.entry(key).or_insert(nothing);
    }
    Value::Object(body)
}

fn resumed(answer: &Answer, request: &RunRequest) -> Value {
    match answer {
        Answer::Approval { id, tool_call_id, approved } => {
            let mut answer = json!({
                "interruptId": id, "status": "resolved", "payload": {"approved": approved},
            });
            if let Some(call) = tool_call_id {
                answer["toolCallId"] = call.clone().into();
            }
            answer
        }
        Answer::ToolResult { tool_call_id, interrupt_id } => {
            let call = request
                .history
                .tool_calls(&request.plan.message_id)
                .find(|call| call.id == *tool_call_id);
            let payload = match call {
                Some(ToolCallPart { error: Some(error), .. }) => json!({"error": error}),
                Some(call) => call.output.clone().unwrap_or(Value::Null),
                None => Value::Null,
            };
            json!({
                "interruptId": interrupt_id.as_ref().unwrap_or(tool_call_id),
                "status": "resolved",
                "payload": payload,
                "toolCallId": tool_call_id,
            })
        }
    }
}

/// The conversation as AG-UI messages: tool calls on the assistant's message, results as messages of role `tool`.
fn messages(request: &RunRequest) -> Vec<Value> {
    request.history.messages.iter().flat_map(said).collect()
}

fn said(message: &Message) -> Vec<Value> {
    let role = match message.role {
        Role::User => "user",
        Role::System => "system",
        Role::Assistant => return turns(message),
    };
    vec![json!({"id": message.id, "role": role, "content": message.plain_text()})]
}

fn turns(message: &Message) -> Vec<Value> {
    let mut out = Vec::new();
    for (n, turn) in history::turns(message).into_iter().enumerate() {
        // The first turn has the durable id, so that agents can match it.
        let id = if n == 0 { message.id.clone() } else { format!("{}-{n}", message.id) };
        let mut said = json!({"id": id, "role": "assistant", "content": turn.text});
        if !turn.calls.is_empty() {
            let calls = turn.calls.iter().map(|call| {
                json!({
                    "id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": history::arguments(call)},
                })
            });
            said["toolCalls"] = calls.collect();
        }
        out.push(said);
        for call in turn.calls {
            if let Some(content) = history::result_text(call) {
                out.push(json!({
                    "id": format!("{}-result", call.id), "role": "tool", "toolCallId": call.id,
                    "content": content,
                }));
            }
        }
    }
    out
}
