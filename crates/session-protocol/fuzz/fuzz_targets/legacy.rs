//! Legacy TanStack chunks.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

const DIALECT: common::Dialect = common::Dialect {
    kinds: &["content", "thinking", "tool_call", "tool_result", "tool-input-available", "approval-requested", "done", "error"],
    fields: &["delta", "content", "role", "toolCall", "id", "function", "name", "arguments", "toolCallId", "toolName", "input", "approval", "needsApproval", "finishReason", "usage", "totalTokens", "error", "message", "code", "state", "output"],
    item: common::chunk,
};

fuzz_target!(|bytes: &[u8]| common::check(&DIALECT, bytes));
