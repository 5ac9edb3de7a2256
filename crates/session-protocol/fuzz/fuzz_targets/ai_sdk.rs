//! AI SDK chunks, in rows and bare.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

const DIALECT: common::Dialect = common::Dialect {
    kinds: &["start", "start-step", "finish-step", "text-start", "text-delta", "text-end", "reasoning-start", "reasoning-delta", "reasoning-end", "tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error", "tool-approval-request", "tool-output-available", "tool-output-error", "tool-output-denied", "source-url", "source-document", "file", "data-x", "message-metadata", "finish", "abort", "error"],
    fields: &["id", "delta", "messageId", "messageMetadata", "usage", "totalUsage", "outputTokens", "toolCallId", "toolName", "input", "inputTextDelta", "dynamic", "approvalId", "output", "preliminary", "errorText", "sourceId", "url", "title", "mediaType", "filename", "data", "transient", "finishReason", "reason", "code"],
    item: common::chunk,
};

fuzz_target!(|bytes: &[u8]| common::check(&DIALECT, bytes));
