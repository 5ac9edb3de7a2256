//! How a message is ended and answered, in the dialect its agent wrote.

use serde_json::{Value, json};
use session_protocol::{Dialect, FinishReason};

/// The names of a run in AG-UI.
pub(crate) struct RunName {
    pub(crate) thread_id: String,
    pub(crate) run_id: String,
}

/// The chunk that ends a run whose agent just stopped sending.
pub(crate) fn finished(dialect: Dialect, run: &RunName) -> Value {
    match dialect {
        Dialect::Legacy => json!({"type": "done", "finishReason": null}),
        Dialect::AgUi => json!({
            "type": "RUN_FINISHED", "threadId": run.thread_id, "runId": run.run_id,
            "metadata": {"tanstack": {"finishReason": null}},
        }),
        Dialect::AiSdk => json!({"type": "finish"}),
    }
}

/// The chunks that end a run which failed. The message is shown to people, the code is for programs.
pub(crate) fn failed(dialect: Dialect, run: &RunName, code: &str, message: &str) -> Vec<Value> {
    match dialect {
        Dialect::Legacy => {
            vec![json!({"type": "error", "error": {"message": message, "code": code}})]
        }
        Dialect::AgUi => {
            vec![
                json!({"type": "RUN_ERROR", "runId": run.run_id, "message": message, "code": code}),
            ]
        }
        Dialect::AiSdk => {
            vec![json!({"type": "error", "errorText": message, "code": code}), behind_error()]
        }
    }
}

/// The chunk behind an AI SDK error: older readers take the error for a note and wait for this.
pub(crate) fn behind_error() -> Value {
    json!({"type": "finish", "finishReason": FinishReason::Error.word(Dialect::AiSdk)})
}

/// The chunk that ends a run which a person stopped.
pub(crate) fn stopped(dialect: Dialect, by: &str, reason: &str) -> Value {
    match dialect {
        Dialect::Legacy | Dialect::AgUi => json!({"type": "stop", "reason": reason, "by": by}),
        Dialect::AiSdk => json!({"type": "abort", "reason": reason, "by": by}),
    }
}

/// The chunks that carry a tool result which a client found, for old and new readers of the dialect.
pub(crate) fn tool_result(
    dialect: Dialect,
    message_id: &str,
    tool_call_id: &str,
    output: &Value,
    error: Option<&str>,
) -> Vec<Value> {
    let content = content(output, error);
    match dialect {
        Dialect::Legacy => {
            vec![json!({"type": "tool_result", "toolCallId": tool_call_id, "content": content})]
        }
        Dialect::AgUi => {
            let end = json!({
                "type": "TOOL_CALL_END", "toolCallId": tool_call_id, "result": content,
            });
            let mut result = json!({
                "type": "TOOL_CALL_RESULT", "messageId": message_id, "toolCallId": tool_call_id,
                "content": content, "role": "tool",
            });
            if error.is_some() {
                result["state"] = "output-error".into();
            }
            vec![end, result]
        }
        Dialect::AiSdk => {
            let output = match error {
                Some(text) => json!({
                    "type": "tool-output-error", "toolCallId": tool_call_id, "errorText": text,
                }),
                None => json!({
                    "type": "tool-output-available", "toolCallId": tool_call_id, "output": output,
                }),
            };
            vec![output]
        }
    }
}

/// A tool's result as the text that most dialects carry.
pub(crate) fn content(output: &Value, error: Option<&str>) -> String {
    match (error, output) {
        (Some(error), _) => error.to_owned(),
        // Readers parse the text: one that would be read as a number or a truth value is quoted.
        (None, Value::String(text)) if is_plain(text) => text.clone(),
        (None, other) => other.to_string(),
    }
}

/// Whether a text means itself to readers that parse it as JSON where it is. JSON of objects and lists is left to be
/// read as such: clients send it as text, too.
fn is_plain(text: &str) -> bool {
    !matches!(
        serde_json::from_str(text),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
    )
}
