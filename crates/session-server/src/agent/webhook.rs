//! Webhook agents: any URL that answers with chunks.
//!
//! The request is upstream's (`messages`, `stream: true`, over the agent's body template) and AG-UI's `RunAgentInput`
//! at once, with the whole conversation. The answer's chunks are written as they came, in whatever dialect.

use async_trait::async_trait;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};
use session_protocol::{Dialect, Message, Role, ToolCallPart, authority::chunk_kind};

use super::{
    Agent, RunRequest, lenient,
    lines::AgentEvent,
    reading::{Reading, Unreadable},
};
use crate::{
    config::Limits,
    history,
    run::{Cause, RunEnd, RunSink, ToldAnswer},
    ssrf::{Outbound, Unanswered},
};

/// Agents behind URLs.
pub(crate) struct Webhook {
    outbound: Outbound,
    limits: Limits,
}

impl Webhook {
    pub(crate) fn new(outbound: Outbound, limits: Limits) -> Self {
        Self { outbound, limits }
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
        let Ok(body) = serde_json::to_vec(&Body::of(&request)) else {
            return RunEnd::failed("agent_misconfigured", "The agent's template cannot be sent.");
        };
        let RunRequest { spec, history, .. } = request;
        let mut hold = history.into_hold();
        if let Some(hold) = &mut hold {
            hold.shrink_to(body.len());
        }
        let response = match self.outbound.post(&spec.endpoint, headers, body).await {
            Ok(response) => response,
            Err(error) => return unanswered(&error),
        };
        drop(hold); // the agent has it
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
        let mut reading = Reading::new(response, &self.limits, out.clone());
        let mut sent = 0_u64;
        loop {
            let events = match reading.next().await {
                Ok(Some(events)) => events,
                Ok(None) => break,
                Err(error) => return unreadable(error),
            };
            for event in events {
                let chunk = match chunk_of(event) {
                    Ok(chunk) => chunk,
                    Err(said) => return RunEnd::failed("agent_error", said),
                };
                sent += 1;
                if out.emit_text(chunk).await.is_err() {
                    return RunEnd::Finished;
                }
            }
        }
        if sent == 0 && reading.dropped() > 0 {
            return RunEnd::failed(
                "agent_malformed",
                "The agent's answer could not be read. It has to be server-sent events or lines of JSON.",
            );
        }
        if reading.dropped() > 0 {
            tracing::warn!(
                dropped = reading.dropped(),
                "an agent sent payloads that are no JSON objects"
            );
        }
        RunEnd::Finished
    }
}

/// The chunk that an event brings, or what the agent's error says. A chunk with a type is one of a dialect, which has
/// errors of its own; without a type, or with one that is a name of errors, it is an error when it is about one.
fn chunk_of(event: AgentEvent) -> Result<String, String> {
    let (chunk, fails) = match event {
        AgentEvent::Chunk(chunk) => (chunk, false),
        AgentEvent::Error(said) => (said, true),
    };
    let kind = chunk_kind(&chunk).unwrap_or_default();
    let is_known = Dialect::of(&kind).is_some();
    let names_errors = kind.to_lowercase().contains("error") || kind.contains(':');
    if is_known || (!fails && !kind.is_empty() && !names_errors) {
        return Ok(chunk);
    }
    let value = lenient::parse(&chunk);
    // The two dialects that call an error so have its words here.
    let says = |name: &str| value.as_ref().and_then(|chunk| chunk.get(name)).is_some();
    if kind == "error" && ["errorText", "error", "message"].into_iter().any(says) {
        return Ok(chunk);
    }
    let error = match value {
        Some(value) if fails => value,
        Some(value) => match lenient::error_in(&value) {
            Some(error) => error,
            None => return Ok(chunk),
        },
        None => Value::String(chunk),
    };
    Err(lenient::said(&error).unwrap_or_else(|| "The agent reported an error.".to_owned()))
}

fn unreadable(error: Unreadable) -> RunEnd {
    match error {
        Unreadable::Stopped => RunEnd::Finished,
        Unreadable::CutOff => RunEnd::failed(
            "agent_disconnected",
            "The connection to the agent broke before it was done.",
        ),
        Unreadable::LongChunk => {
            RunEnd::failed("chunk_too_large", "The agent sent a chunk that is too large.")
        }
        Unreadable::LongAnswer => {
            RunEnd::failed("answer_too_large", "The agent's answer is longer than one may be.")
        }
    }
}

fn unanswered(error: &Unanswered) -> RunEnd {
    match error {
        Unanswered::Refused(_) | Unanswered::Redirects => {
            RunEnd::failed("agent_refused", error.to_string())
        }
        Unanswered::Certificates => RunEnd::failed("no_certificates", error.to_string()),
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

/// The body of the request: upstream's and AG-UI's at once, over the agent's own template. What the server says wins
/// over the template; what says nothing gives way to it.
struct Body<'a> {
    fields: Map<String, Value>,
    request: &'a RunRequest,
}

impl<'a> Body<'a> {
    fn of(request: &'a RunRequest) -> Self {
        let mut fields = match &request.spec.body_template {
            Some(Value::Object(template)) => template.clone(),
            _ => Map::new(),
        };
        let mut put = |key: &str, value: Value| {
            fields.insert(key.to_owned(), value);
        };
        put("threadId", request.session_id.clone().into());
        put("runId", request.plan.run_id.clone().into());
        put(MESSAGES, Value::Null);
        put("stream", true.into());
        if let Some(state) = request.history.state() {
            put("state", state.clone());
        }
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
            fields.entry(key).or_insert(nothing);
        }
        Self { fields, request }
    }
}

/// The field of the body that holds the conversation, which is written straight into the request's bytes.
const MESSAGES: &str = "messages";

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(Some(self.fields.len()))?;
        for (key, value) in &self.fields {
            if key == MESSAGES {
                body.serialize_entry(key, &Conversation(self.request))?;
            } else {
                body.serialize_entry(key, value)?;
            }
        }
        body.end()
    }
}

/// The conversation as AG-UI messages: tool calls on the assistant's message, results as messages of role `tool`.
struct Conversation<'a>(&'a RunRequest);

impl Serialize for Conversation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let history = &self.0.history;
        let note = history.note().map(|note| {
            json!({"id": format!("{}-note", self.0.plan.run_id), "role": "system", "content": note})
        });
        serializer.collect_seq(note.into_iter().chain(history.messages.iter().flat_map(said)))
    }
}

fn resumed(answer: &ToldAnswer, request: &RunRequest) -> Value {
    match answer {
        // A question is answered in its own words, or given up.
        ToldAnswer::Approval { id, approved, .. }
            if request.history.asks(&request.plan.message_id, id) =>
        {
            if !approved {
                return json!({"interruptId": id, "status": "cancelled"});
            }
            let said = request.history.answer(&request.plan.message_id, id);
            let payload = said.cloned().unwrap_or_else(|| json!({"approved": true}));
            json!({"interruptId": id, "status": "resolved", "payload": payload})
        }
        ToldAnswer::Approval { id, tool_call_id, approved } => {
            let mut answer = json!({
                "interruptId": id, "status": "resolved", "payload": {"approved": approved},
            });
            if let Some(call) = tool_call_id {
                answer["toolCallId"] = call.clone().into();
                let said = request.history.said_to(&request.plan.message_id, call);
                if let Some(said) = said.filter(|_| !approved) {
                    answer["payload"]["reason"] = said.into();
                }
            }
            answer
        }
        ToldAnswer::Withdrawn { id, tool_call_id } => {
            let mut answer = json!({"interruptId": id, "status": "cancelled"});
            if let Some(call) = tool_call_id {
                answer["toolCallId"] = call.clone().into();
            }
            answer
        }
        ToldAnswer::ToolResult { tool_call_id, interrupt_id } => {
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

fn said(message: &Message) -> Vec<Value> {
    let role = match message.role {
        Role::User => "user",
        Role::System => "system",
        Role::Assistant => return turns(message),
    };
    vec![json!({"id": message.id, "role": role, "content": history::words_of(message)})]
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
