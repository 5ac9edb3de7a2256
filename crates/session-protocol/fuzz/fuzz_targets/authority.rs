//! L15: whatever an agent sends into its own message, nothing that is not its own changes.

#![no_main]

mod common;

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use serde_json::{Value, json};
use session_protocol::{Message, SessionFold};

const KINDS: &[&str] = &[
    "approval-response", "tool-approval", "tool-result", "config", "control", "whole-message", "user-message", "message",
    "message-start", "message-end", "stop", "abort", "RUN_STARTED", "RUN_FINISHED", "RUN_ERROR", "CUSTOM", "MESSAGES_SNAPSHOT",
    "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT",
    "TOOL_CALL_CHUNK", "tool_call", "tool_result", "approval-requested", "content", "done", "error", "start", "finish",
    "tool-input-start", "tool-input-available", "tool-input-error", "tool-approval-request", "tool-output-available",
    "tool-output-error", "tool-output-denied", "threadkeep.refused",
];
const FIELDS: &[&str] = &[
    "type", "message", "messages", "messageId", "id", "role", "parts", "content", "approvalId", "approved", "approval", "toolCallId",
    "toolCallName", "toolName", "toolCall", "function", "name", "arguments", "delta", "result", "output", "answers", "error", "errorText",
    "state", "title", "input", "resume", "interruptId", "status", "payload", "outcome", "interrupts", "reason", "metadata", "kind",
    "value", "data", "providerExecuted", "toolCalls", "createdAt",
];

/// A session in which everything waits, under the ids that the attacks are made of.
fn honest() -> Vec<String> {
    let row = |message: &str, actor: &str, role: &str, seq: u64, chunk: Value| {
        json!({"type": "chunk", "key": format!("{message}:{seq}"), "value": {"messageId": message, "actorId": actor,
            "role": role, "chunk": chunk.to_string(), "seq": seq}, "headers": {"operation": "insert"}})
        .to_string()
    };
    let asks = json!({"toolCallId": "c1", "toolName": "a", "approval": {"id": "a"}});
    vec![
        json!({"type": "presence", "key": "a:b", "value": {"actorId": "a", "status": "online"}, "headers": {"operation": "upsert"}}).to_string(),
        row("u", "b", "user", 0, json!({"type": "whole-message", "message": {"id": "u", "role": "user", "parts": [{"type": "text", "content": "b"}]}})),
        row("t", "b", "user", 0, json!({"type": "config", "title": "b"})),
        row("m", "k", "assistant", 0, json!({"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "a"})),
        row("m", "k", "assistant", 1, json!({"type": "CUSTOM", "name": "approval-requested", "value": asks})),
        row("n", "l", "assistant", 0, json!({"type": "tool_call", "toolCall": {"id": "b", "function": {"name": "a", "arguments": "{}"}}})),
        row("n", "l", "assistant", 1, json!({"type": "done", "finishReason": "tool_calls"})),
    ]
}

fn others(items: &[String]) -> Value {
    let mut fold = SessionFold::new("s");
    fold.apply(items, &mut ());
    let messages: Vec<&Message> = fold.messages().filter(|message| message.id != "r").collect();
    let mut approvals = fold.approvals();
    approvals.retain(|approval| approval.message_id != "r");
    json!([messages, approvals, fold.title(), fold.settings(), fold.presence_rows(), fold.agents()])
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let (mut calm, mut attacked) = (honest(), honest());
    for seq in 0..32 {
        let Ok(chunk) = chunk(&mut u) else { break };
        let Ok(at) = u.int_in_range(0..=calm.len()) else { break };
        let item = |chunk: &str| {
            let chunk = Value::from(chunk);
            format!(
                r#"{{"type":"chunk","key":"r:{seq}","value":{{"messageId":"r","actorId":"r","role":"assistant","chunk":{chunk},"seq":{seq}}},"headers":{{"operation":"insert"}}}}"#
            )
        };
        calm.insert(at, item(r#"{"type":"RUN_STARTED"}"#));
        attacked.insert(at, item(&chunk));
        if u.is_empty() {
            break;
        }
    }
    assert_eq!(others(&attacked), others(&calm));
});

/// A chunk of the words above, or any text at all.
fn chunk(u: &mut Unstructured<'_>) -> libfuzzer_sys::arbitrary::Result<String> {
    if u.ratio(1, 16)? {
        return Ok(u.arbitrary::<&str>()?.to_owned());
    }
    let kind = *u.choose(KINDS)?;
    let fields = common::object(u, FIELDS, 3)?;
    let comma = if fields.is_empty() { "" } else { "," };
    Ok(format!(r#"{{"type":"{kind}"{comma}{fields}}}"#))
}
