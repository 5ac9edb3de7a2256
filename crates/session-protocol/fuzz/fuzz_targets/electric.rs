//! Rows of Electric entity streams, among presence, agents and resets.

#![no_main]

mod common;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const DIALECT: common::Dialect = common::Dialect {
    kinds: &[
        "run", "run", "step", "text", "text_delta", "text_delta", "tool_call", "reasoning", "reasoning_delta", "error",
        "inbox", "presence", "agent", "chunk", "reset",
    ],
    fields: &[
        "run_id", "text_id", "reasoning_id", "delta", "status", "payload", "text", "from", "from_principal", "timestamp",
        "tool_name", "args", "result", "error", "message", "error_code", "finish_reason", "input_tokens", "output_tokens",
        "actorId", "deviceId", "lastSeenAt", "name", "messageId", "chunk", "seq",
    ],
    item,
};

fn item(u: &mut Unstructured<'_>, kind: &str, fields: &str) -> Result<String> {
    if kind == "reset" {
        return Ok(r#"{"headers":{"control":"reset"}}"#.to_owned());
    }
    let key = u.choose(&["a", "b", "c1", "a:0", "a:1"])?;
    let operation = *u.choose(&["insert", "insert", "upsert", "update", "delete"])?;
    // Most rows belong to a run that is there.
    let run = if u.ratio(3, 4)? { r#""run_id":"a","text_id":"a","# } else { "" };
    let inner = format!("{run}{fields}");
    let inner = inner.trim_end_matches(',');
    let value = if operation == "delete" { String::new() } else { format!(r#""value":{{{inner}}},"#) };
    Ok(format!(r#"{{"type":"{kind}","key":"{key}",{value}"headers":{{"operation":"{operation}"}}}}"#))
}

fuzz_target!(|bytes: &[u8]| common::check(&DIALECT, bytes));
