//! What session proxies write: whole messages, wrappers and signals.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

const DIALECT: common::Dialect = common::Dialect {
    kinds: &["whole-message", "user-message", "message", "message-start", "message-end", "text-delta", "stop", "error", "tool-result", "approval-response", "tool-approval", "config", "control", "content", "approval-requested", "tool_call"],
    fields: &["message", "id", "role", "parts", "createdAt", "type", "text", "content", "role", "textDelta", "reason", "toolCallId", "toolName", "output", "error", "answers", "approvalId", "approved", "title", "model", "action", "delta", "toolCall", "function", "name", "arguments", "approval", "state", "input", "source", "value", "mimeType"],
    item: common::chunk,
};

fuzz_target!(|bytes: &[u8]| common::check(&DIALECT, bytes));
