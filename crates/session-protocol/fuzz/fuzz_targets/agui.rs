//! AG-UI events, in rows and bare.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

const DIALECT: common::Dialect = common::Dialect {
    kinds: &["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "TEXT_MESSAGE_CHUNK", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT", "TOOL_CALL_CHUNK", "STEP_STARTED", "STEP_FINISHED", "REASONING_START", "REASONING_MESSAGE_CONTENT", "THINKING_START", "THINKING_TEXT_MESSAGE_CONTENT", "MESSAGES_SNAPSHOT", "CUSTOM", "RUN_FINISHED", "RUN_ERROR"],
    fields: &["messageId", "parentMessageId", "role", "delta", "content", "toolCallId", "toolCallName", "toolName", "name", "value", "data", "input", "result", "state", "stepName", "stepId", "messages", "parts", "toolCalls", "function", "arguments", "id", "type", "metadata", "tanstack", "outcome", "interrupts", "reason", "kind", "approval", "object", "raw", "resume", "interruptId", "status", "payload", "approved", "finishReason", "usage", "inputTokens", "error", "message", "code", "timestamp"],
    item: common::chunk,
};

fuzz_target!(|bytes: &[u8]| common::check(&DIALECT, bytes));
