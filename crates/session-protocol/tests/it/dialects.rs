//! Each dialect's rules, one by one.

use serde_json::{Value, json};
use session_protocol::{FinishReason, Message, Part, Role, SourceKind, ToolState};

use crate::support::{answer, assistant, call, chunk, folded, parts, said};

fn content(delta: &str, content: &str) -> Value {
    json!({"type": "content", "delta": delta, "content": content})
}

fn text(id: &str, delta: &str) -> Value {
    json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta})
}

fn done() -> Value {
    json!({"type": "done", "finishReason": "stop"})
}

#[test]
fn words_that_turn_out_to_be_a_thought_are_reasoning_and_later_words_are_text() {
    let rethought =
        json!({"type": "CUSTOM", "name": "threadkeep.rethought", "value": {"messageId": "m"}});
    let message = answer(&[
        text("m", "First."),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c"}),
        text("m", "Count "),
        text("m", "twice."),
        rethought.clone(),
        rethought,
        text("m", "Seven."),
        json!({"type": "RUN_FINISHED", "finishReason": "stop"}),
    ]);
    assert_eq!(
        parts(&message),
        ["text:First.", "tool:c:ready", "think:Count twice.", "text:Seven."]
    );
    assert!(message.is_complete);
}

// Legacy.

#[test]
fn a_missing_delta_uses_the_cumulative_content() {
    let message = answer(&[
        json!({"type": "content", "content": "Hel"}),
        json!({"type": "content", "content": "Hello"}),
        content(" you", "Hello you"),
        json!({"type": "content", "content": "Hello you!"}),
        done(),
    ]);
    assert_eq!(parts(&message), ["text:Hello you!"]);
}

#[test]
fn delta_wins_over_content_that_disagrees() {
    let message = answer(&[content("a", "zzz"), content("b", "yy"), done()]);
    assert_eq!(parts(&message), ["text:ab"]);
}

#[test]
fn content_that_is_cumulative_over_a_call_is_not_repeated() {
    let tool = json!({"type": "tool_call", "toolCall": {"id": "c", "function": {"name": "t", "arguments": "{}"}}});
    let message = answer(&[
        json!({"type": "content", "content": "One"}),
        tool,
        json!({"type": "content", "content": "One two"}),
        json!({"type": "content", "content": "One two three"}),
        done(),
    ]);
    assert_eq!(parts(&message), ["text:One", "tool:c:ready", "text: two three"]);
}

#[test]
fn an_approval_before_done_still_waits() {
    let session = folded(&assistant(
        "a1",
        &[
            json!({"type": "tool_call", "toolCall": {"id": "c1", "type": "function", "function": {"name": "rm", "arguments": "{\"p\":1}"}}}),
            json!({"type": "approval-requested", "toolCallId": "c1", "toolName": "rm", "input": {"p": 1}, "approval": {"id": "approval_c1", "needsApproval": true}}),
            json!({"type": "done", "finishReason": "tool_calls"}),
        ],
    ));
    assert_eq!(parts(&session.messages[0]), ["tool:c1:waiting"]);
    assert_eq!(session.pending_approvals[0].id, "approval_c1");
    assert_eq!(session.messages[0].finish_reason, Some(FinishReason::ToolCalls));
    assert!(session.messages[0].is_complete);
}

#[test]
fn parallel_calls_are_told_apart_by_id_and_named_late() {
    let part = |id: &str, name: &str, arguments: &str| {
        json!({"type": "tool_call", "index": 0, "toolCall": {"id": id,
            "function": {"name": name, "arguments": arguments}}})
    };
    let message =
        answer(&[part("a", "", "{\"x\""), part("b", "two", "{}"), part("a", "one", ":1}"), done()]);
    assert_eq!(parts(&message), ["tool:a:ready", "tool:b:ready"]);
    assert_eq!(call(&message, "a").name, "one");
    assert_eq!(call(&message, "a").input, Some(json!({"x": 1})));
}

#[test]
fn a_message_goes_on_after_done() {
    let chunks = [
        content("a", "a"),
        json!({"type": "done", "finishReason": "tool_calls"}),
        content("b", "ab"),
    ];
    assert!(answer(&chunks[..2]).is_complete);
    let message = answer(&chunks);
    assert!(!message.is_complete && message.finish_reason.is_none());
}

#[test]
fn an_error_is_a_string_an_object_or_ai_sdk_text() {
    for (chunk, message, code) in [
        (json!({"type": "error", "error": "gone"}), "gone", None),
        (json!({"type": "error", "error": {"message": "boom", "code": "E1"}}), "boom", Some("E1")),
        (json!({"type": "RUN_ERROR", "message": "late", "code": "T"}), "late", Some("T")),
        (json!({"type": "RUN_ERROR", "error": {"message": "old", "code": 7}}), "old", Some("7")),
    ] {
        let answer = answer(&[content("x", "x"), chunk]);
        let error = answer.error.as_ref().expect("an error");
        assert_eq!((error.message.as_str(), error.code.as_deref()), (message, code));
        assert!(answer.is_complete);
        assert_eq!(parts(&answer), ["text:x"]);
    }
}

#[test]
fn a_run_that_starts_again_forgets_the_error() {
    let message = answer(&[
        json!({"type": "RUN_ERROR", "message": "x"}),
        json!({"type": "RUN_STARTED", "runId": "2"}),
        text("m", "ok"),
        json!({"type": "RUN_FINISHED", "runId": "2"}),
    ]);
    assert!(message.error.is_none() && message.is_complete);
}

// AG-UI.

#[test]
fn text_after_a_leading_call_is_whole() {
    let message = answer(&[
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t", "parentMessageId": "m"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c"}),
        text("m", "one "),
        text("m", "two "),
        text("m", "three"),
        json!({"type": "RUN_FINISHED"}),
    ]);
    assert_eq!(parts(&message), ["tool:c:ready", "text:one two three"]);
}

#[test]
fn cumulative_agui_content_counts_only_without_a_delta() {
    let message = answer(&[
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hi", "content": "Hi"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "", "content": "Hi you"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "content": "Hi you all"}),
    ]);
    assert_eq!(parts(&message), ["text:Hi you all"]);
}

#[test]
fn reasoning_between_texts_does_not_repeat_them() {
    let message = answer(&[
        text("m", "A"),
        json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "hm"}),
        text("m", "B"),
        json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "!"}),
    ]);
    assert_eq!(parts(&message), ["text:A", "think:hm!", "text:B"]);
}

#[test]
fn chunk_forms_expand() {
    let message = answer(&[
        json!({"type": "RUN_STARTED"}),
        json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m1", "role": "assistant", "delta": "a"}),
        json!({"type": "TEXT_MESSAGE_CHUNK", "delta": "b"}),
        json!({"type": "TOOL_CALL_CHUNK", "toolCallId": "c", "toolCallName": "t", "delta": "{\"x\":"}),
        json!({"type": "TOOL_CALL_CHUNK", "delta": "1}"}),
        json!({"type": "REASONING_MESSAGE_CHUNK", "messageId": "r", "delta": "z"}),
        json!({"type": "RUN_FINISHED"}),
    ]);
    assert_eq!(parts(&message), ["text:ab", "tool:c:ready", "think:z"]);
    assert_eq!(call(&message, "c").input, Some(json!({"x": 1})));
}

#[test]
fn thinking_events_of_old_agui_are_reasoning() {
    let message = answer(&[
        json!({"type": "THINKING_START"}),
        json!({"type": "THINKING_TEXT_MESSAGE_START"}),
        json!({"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "h"}),
        json!({"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "m"}),
        json!({"type": "THINKING_TEXT_MESSAGE_END"}),
        json!({"type": "THINKING_END"}),
        json!({"type": "THINKING_TEXT_MESSAGE_START"}),
        json!({"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "again"}),
    ]);
    assert_eq!(parts(&message), ["think:hm", "think:again"]);
}

#[test]
fn step_finished_carries_thinking_only_where_nothing_else_does() {
    let old = answer(&[
        json!({"type": "STEP_STARTED", "stepId": "s"}),
        json!({"type": "STEP_FINISHED", "stepId": "s", "delta": "Th", "content": "Th"}),
        json!({"type": "STEP_FINISHED", "stepId": "s", "delta": "", "content": "Think"}),
        text("m", "A"),
    ]);
    assert_eq!(parts(&old), ["think:Think", "text:A"]);
    let new = answer(&[
        json!({"type": "STEP_STARTED", "stepName": "s"}),
        json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "Think"}),
        json!({"type": "STEP_FINISHED", "stepName": "s", "content": "Think"}),
    ]);
    assert_eq!(parts(&new), ["think:Think"]);
}

#[test]
fn two_steps_think_apart() {
    let thought = |id: &str, delta: &str| json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": id, "delta": delta});
    let message = answer(&[
        json!({"type": "STEP_STARTED", "stepName": "s1"}),
        thought("r1", "a"),
        thought("r1", "b"),
        json!({"type": "STEP_FINISHED", "stepName": "s1"}),
        json!({"type": "STEP_STARTED", "stepName": "s2"}),
        thought("r2", "c"),
    ]);
    assert_eq!(parts(&message), ["think:ab", "think:c"]);
}

#[test]
fn the_result_event_beats_the_result_on_the_end() {
    let start = json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolName": "t"});
    let end = json!({"type": "TOOL_CALL_END", "toolCallId": "c", "result": "\"end\""});
    let result = json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": "\"result\""});
    let message = answer(&[start.clone(), end.clone()]);
    assert_eq!(call(&message, "c").output, Some(json!("end")));
    assert_eq!(call(&message, "c").name, "t");
    for order in [[&end, &result], [&result, &end]] {
        let message = answer(&[start.clone(), order[0].clone(), order[1].clone()]);
        assert_eq!(call(&message, "c").output, Some(json!("result")));
    }
}

#[test]
fn arguments_that_are_no_json_give_no_input() {
    let message = answer(&[
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{\"a\":"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "nobody", "delta": "x"}),
        json!({"type": "RUN_FINISHED"}),
    ]);
    let call = call(&message, "c");
    assert_eq!((call.state, &call.input), (ToolState::Ready, &None));
    assert_eq!(call.arguments, "{\"a\":");
}

#[test]
fn input_in_the_metadata_of_an_end_counts() {
    let message = answer(&[
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c", "metadata": {"tanstack": {"input": {"q": 1}}}}),
    ]);
    assert_eq!(call(&message, "c").input, Some(json!({"q": 1})));
    assert_eq!(call(&message, "c").arguments, "{\"q\":1}");
}

#[test]
fn a_blank_last_message_is_dropped() {
    let message = answer(&[
        json!({"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"}),
        text("m1", "Hello"),
        json!({"type": "TEXT_MESSAGE_START", "messageId": "m2", "role": "assistant"}),
        text("m2", "\n\n"),
        json!({"type": "RUN_FINISHED", "finishReason": "stop"}),
    ]);
    assert_eq!(parts(&message), ["text:Hello"]);
    assert!(message.is_complete);
}

#[test]
fn a_snapshot_replaces_what_the_turn_said() {
    let message = answer(&[
        json!({"type": "RUN_STARTED"}),
        text("m1", "draft"),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c0", "toolCallName": "t"}),
        json!({"type": "MESSAGES_SNAPSHOT", "messages": [
            {"id": "u", "role": "user", "content": "Q"},
            {"id": "r", "role": "reasoning", "content": "hm"},
            {"id": "m1", "role": "assistant", "content": "final", "toolCalls": [
                {"id": "c1", "type": "function", "function": {"name": "t", "arguments": "{\"a\":1}"}}]},
            {"id": "t1", "role": "tool", "toolCallId": "c1", "content": "{\"ok\":true}"},
            {"id": "m2", "role": "assistant", "content": "So"},
        ]}),
        text("m2", " it is"),
        json!({"type": "RUN_FINISHED"}),
    ]);
    assert_eq!(parts(&message), ["think:hm", "text:final", "tool:c1:done", "text:So it is"]);
    assert_eq!(call(&message, "c1").output, Some(json!({"ok": true})));
}

#[test]
fn a_snapshot_keeps_what_it_cannot_say_of_a_call() {
    let message = answer(&[
        json!({"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "t"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{}"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c1"}),
        json!({"type": "MESSAGES_SNAPSHOT", "messages": [
            {"id": "m", "role": "assistant", "content": "x"},
            {"id": "t", "role": "tool", "toolCallId": "c1", "content": "4"}]}),
    ]);
    assert_eq!(parts(&message), ["text:x", "tool:c1:done"]);
    assert_eq!(call(&message, "c1").name, "t");
}

#[test]
fn a_snapshot_of_only_what_came_before_changes_nothing() {
    let message = answer(&[
        text("m", "kept"),
        json!({"type": "MESSAGES_SNAPSHOT", "messages": [
            {"id": "a", "role": "assistant", "content": "earlier"},
            {"id": "u", "role": "user", "content": "Q"}]}),
    ]);
    assert_eq!(parts(&message), ["text:kept"]);
}

#[test]
fn structured_output_streams_and_completes() {
    let start =
        json!({"type": "CUSTOM", "name": "structured-output.start", "value": {"messageId": "m"}});
    let chunks = [
        start.clone(),
        text("m", "{\"a\""),
        text("m", ":1}"),
        json!({"type": "CUSTOM", "name": "structured-output.complete", "value": {"object": {"a": 1}, "raw": "{\"a\":1}"}}),
        json!({"type": "RUN_FINISHED"}),
    ];
    assert_eq!(parts(&answer(&chunks[..3])), ["structured:Streaming:{\"a\":1}"]);
    let message = answer(&chunks);
    assert_eq!(parts(&message), ["structured:Complete:{\"a\":1}"]);
    assert!(
        matches!(&message.parts[0], Part::StructuredOutput { object: Some(o), .. } if *o == json!({"a": 1}))
    );
    let cut = answer(&[start, text("m", "{"), json!({"type": "RUN_ERROR", "message": "x"})]);
    assert_eq!(parts(&cut), ["structured:Error:{"]);
}

#[test]
fn custom_data_is_the_old_name_of_value() {
    let message = answer(&[
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolName": "t"}),
        json!({"type": "CUSTOM", "name": "approval-requested", "data": {"toolCallId": "c", "approval": {"id": "ap"}}}),
    ]);
    assert_eq!(call(&message, "c").approval.as_ref().map(|a| a.id.as_str()), Some("ap"));
    assert_eq!(call(&message, "c").state, ToolState::Waiting);
}

#[test]
fn a_ui_resource_is_data() {
    let message = answer(&[
        json!({"type": "CUSTOM", "name": "ui-resource", "value": {"toolCallId": "c", "resource": {"uri": "ui://x"}}}),
    ]);
    assert!(matches!(&message.parts[0], Part::Data { name, .. } if name == "ui-resource"));
}

#[test]
fn tokens_are_counted_in_every_shape() {
    for usage in [
        json!({"promptTokens": 3, "completionTokens": 4, "totalTokens": 7}),
        json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}),
        json!([{"inputTokens": 1, "outputTokens": 4}, {"inputTokens": 2}]),
    ] {
        let session = folded(&assistant("a", &[json!({"type": "RUN_FINISHED", "usage": usage})]));
        let stats = session.session_stats;
        assert_eq!((stats.prompt_tokens, stats.completion_tokens, stats.total_tokens), (3, 4, 7));
    }
    let session = folded(&assistant(
        "a",
        &[
            json!({"type": "start", "messageMetadata": {"usage": {"inputTokens": 1, "outputTokens": 1}}}),
            json!({"type": "finish", "messageMetadata": {"totalUsage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}}}),
        ],
    ));
    assert_eq!(session.session_stats.total_tokens, 7, "metadata is merged, not added up");
}

#[test]
fn tokens_count_on_whatever_chunk_they_stand() {
    let usage = json!({"promptTokens": 1, "completionTokens": 2, "totalTokens": 3});
    for chunk in [
        json!({"type": "finish", "usage": usage}),
        json!({"type": "RUN_ERROR", "message": "x", "usage": usage}),
        json!({"type": "message-end", "usage": usage}),
        json!({"type": "done", "usage": usage}),
        json!({"type": "RUN_FINISHED", "metadata": {"tanstack": {"usage": usage}}}),
        json!({"type": "RUN_FINISHED", "usage": [usage], "metadata": {"tanstack": {"usage": {"cost": 1, "totalTokens": 9}}}}),
    ] {
        let session = folded(&assistant("a", &[content("x", "x"), chunk]));
        assert_eq!(session.session_stats.total_tokens, 3);
    }
}

#[test]
fn an_empty_error_is_no_error() {
    let call = json!({"type": "tool_call", "toolCall": {"id": "c", "function": {"name": "t", "arguments": "{}"}}});
    for result in [
        json!({"type": "tool_result", "toolCallId": "c", "content": "4", "error": ""}),
        json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": "4", "error": ""}),
    ] {
        assert_eq!(parts(&answer(&[call.clone(), result])), ["tool:c:done"]);
    }
    let event = chunk(
        "w",
        "kermit",
        "assistant",
        0,
        &json!({"type": "whole-message", "message": {"id": "w", "role": "assistant", "createdAt": 1_767_603_600_000_i64, "parts": [
            {"type": "tool-call", "id": "c", "name": "t", "arguments": "{}", "state": "input-complete"},
            {"type": "tool-result", "toolCallId": "c", "content": "4", "state": "complete", "error": null},
        ]}}),
    );
    let session = folded(&[event]);
    assert_eq!(parts(&session.messages[0]), ["tool:c:done"]);
    assert_eq!(session.messages[0].created_at.as_deref(), Some("2026-01-05T09:00:00Z"));
}

#[test]
fn state_of_an_application_does_not_reopen_a_message() {
    let message = answer(&[
        json!({"type": "RUN_STARTED"}),
        text("m", "x"),
        json!({"type": "RUN_FINISHED"}),
        json!({"type": "STATE_SNAPSHOT", "snapshot": {}}),
        json!({"type": "STATE_DELTA", "delta": []}),
    ]);
    assert!(message.is_complete);
}

#[test]
fn finish_reasons_are_one_set() {
    for (word, reason) in [
        ("tool-calls", FinishReason::ToolCalls),
        ("content-filter", FinishReason::ContentFilter),
        ("unknown", FinishReason::Other),
        ("length", FinishReason::Length),
    ] {
        let message = answer(&[json!({"type": "finish", "finishReason": word})]);
        assert_eq!(message.finish_reason, Some(reason));
    }
}

// AI SDK.

#[test]
fn ai_sdk_texts_are_kept_apart_by_id_and_step() {
    let message = answer(&[
        json!({"type": "start"}),
        json!({"type": "start-step"}),
        json!({"type": "text-start", "id": "0"}),
        json!({"type": "text-delta", "id": "0", "delta": "one"}),
        json!({"type": "finish-step"}),
        json!({"type": "start-step"}),
        json!({"type": "text-delta", "id": "0", "delta": "two"}),
        json!({"type": "finish", "finishReason": "stop"}),
    ]);
    assert_eq!(parts(&message), ["step", "text:one", "step", "text:two"]);
    assert!(message.is_complete);
}

#[test]
fn an_ai_sdk_approval_waits_and_a_denial_shows() {
    let start = json!({"type": "tool-input-available", "toolCallId": "c", "toolName": "rm", "input": {"p": 1}});
    let ask = json!({"type": "tool-approval-request", "approvalId": "ap", "toolCallId": "c"});
    let session = folded(&assistant("a", &[start.clone(), ask.clone()]));
    assert_eq!(parts(&session.messages[0]), ["tool:c:waiting"]);
    assert_eq!(session.pending_approvals[0].input, Some(json!({"p": 1})));
    let session = folded(&assistant(
        "a",
        &[start, ask, json!({"type": "tool-output-denied", "toolCallId": "c"})],
    ));
    assert_eq!(parts(&session.messages[0]), ["tool:c:denied"]);
    assert!(session.pending_approvals.is_empty());
}

/// The one message of a bare AI SDK stream.
fn generated(chunks: &[Value]) -> Message {
    folded(chunks).messages.into_iter().next().expect("one message")
}

#[test]
fn an_ai_sdk_input_error_fails_the_call_in_a_bare_stream_and_at_its_output_in_rows() {
    let bad = json!({"type": "tool-input-error", "toolCallId": "c", "toolName": "t", "input": {"x": 1}, "errorText": "no"});
    let message = generated(std::slice::from_ref(&bad));
    let bare = call(&message, "c");
    assert_eq!((bare.state, bare.error.as_deref()), (ToolState::Failed, Some("no")));
    assert_eq!(bare.input, Some(json!({"x": 1})));
    assert_eq!(parts(&answer(std::slice::from_ref(&bad))), ["tool:c:ready"]);
    let message =
        answer(&[bad, json!({"type": "tool-output-error", "toolCallId": "c", "errorText": "no"})]);
    assert_eq!(call(&message, "c").error.as_deref(), Some("no"));
}

#[test]
fn interleaved_ai_sdk_texts_join_in_rows_and_stay_apart_in_a_bare_stream() {
    let start = |kind: &str, id: &str| json!({"type": format!("{kind}-start"), "id": id});
    let delta = |kind: &str, id: &str, delta: &str| json!({"type": format!("{kind}-delta"), "id": id, "delta": delta});
    let chunks = [
        start("reasoning", "r"),
        start("reasoning", "s"),
        delta("reasoning", "r", "1"),
        delta("reasoning", "s", "2"),
        start("text", "a"),
        start("text", "b"),
        delta("text", "a", "A"),
        delta("text", "b", "B"),
        delta("text", "a", "a"),
        start("reasoning", "t"),
        delta("text", "b", "b"),
    ];
    assert_eq!(
        parts(&answer(&chunks)),
        ["think:", "think:12", "text:", "text:ABab", "think:"],
        "no word is lost, wherever it goes"
    );
    assert_eq!(parts(&generated(&chunks)), ["think:1", "think:2", "text:Aa", "text:Bb", "think:"]);
}

#[test]
fn an_error_ends_a_generation_in_every_dialect() {
    let error = json!({"type": "error", "errorText": "bad"});
    for chunks in [
        vec![json!({"type": "start"}), error.clone()],
        vec![json!({"type": "start"}), error.clone(), json!({"type": "finish"})],
        vec![json!({"type": "RUN_STARTED"}), json!({"type": "RUN_ERROR", "message": "bad"})],
        vec![content("x", "x"), json!({"type": "error", "error": {"message": "bad"}})],
    ] {
        let session = folded(&assistant("a1", &chunks));
        let ended = &session.messages[0];
        assert!(ended.is_complete, "{chunks:?}");
        assert_eq!(ended.error.as_ref().map(|e| e.message.as_str()), Some("bad"));
        assert!(session.active_generations.is_empty());
    }
    assert!(generated(&[json!({"type": "start"}), error.clone()]).is_complete);
    // What comes behind it is still shown.
    let goes_on = answer(&[error, json!({"type": "text-delta", "id": "0", "delta": "so"})]);
    assert!(!goes_on.is_complete && goes_on.error.is_some());
    assert_eq!(parts(&goes_on), ["text:so"]);
}

#[test]
fn an_ai_sdk_abort_stops() {
    let message = answer(&[
        json!({"type": "text-start", "id": "0"}),
        json!({"type": "text-delta", "id": "0", "delta": "par"}),
        json!({"type": "abort"}),
    ]);
    assert!(message.is_complete && message.stopped.is_some());
    assert_eq!(parts(&message), ["text:par"]);
}

#[test]
fn an_ai_sdk_call_streams_from_its_start_and_stays_so_when_aborted() {
    let start = json!({"type": "tool-input-start", "toolCallId": "c", "toolName": "t"});
    assert_eq!(parts(&answer(std::slice::from_ref(&start))), ["tool:c:streaming"]);
    let message = answer(&[
        start,
        json!({"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{\"a\""}),
        json!({"type": "abort"}),
    ]);
    assert_eq!(parts(&message), ["tool:c:streaming"]);
    assert!(message.is_complete);
}

#[test]
fn data_parts_of_a_bare_stream_replace_by_name_and_id_and_transient_ones_pass() {
    let chunks = [
        json!({"type": "data-p", "id": "1", "data": 1}),
        json!({"type": "data-p", "data": "x"}),
        json!({"type": "data-p", "data": "y"}),
        json!({"type": "data-p", "id": "1", "data": 2}),
        json!({"type": "data-q", "data": 0, "transient": true}),
    ];
    let message = generated(&chunks);
    assert_eq!(parts(&message), ["data:p:2", "data:p:\"x\"", "data:p:\"y\""]);
    assert_eq!(parts(&answer(&chunks)), Vec::<String>::new(), "in rows they make no part");
}

// Whole messages and wrappers.

#[test]
fn parts_of_all_writers_are_read_in_a_whole_message() {
    let event = chunk(
        "row",
        "alice",
        "user",
        0,
        &json!({"type": "whole-message", "message": {
        "id": "inside", "role": "assistant", "createdAt": "NOW", "parts": [
            {"type": "text", "content": "a"}, {"type": "text", "text": "b"},
            {"type": "thinking", "content": "t"},
            {"type": "image", "source": {"type": "url", "value": "https://e.x/i.png", "mimeType": "image/png"}},
            {"type": "image", "source": {"type": "data", "value": "QUI=", "mimeType": "image/png"}},
            {"type": "file", "url": "https://e.x/f", "mediaType": "text/plain"},
            {"type": "source-document", "sourceId": "s", "mediaType": "application/pdf", "title": "D"},
            {"type": "tool-call", "id": "c", "name": "t", "arguments": "{}", "state": "input-complete"},
            {"type": "tool-result", "toolCallId": "c", "content": "4", "state": "complete"},
            {"type": "tool-weather", "toolCallId": "w", "state": "output-error", "input": {}, "errorText": "no"},
            {"type": "data-x", "data": 1},
            {"type": "hologram", "depth": 3},
        ]}}),
    );
    let session = folded(&[event]);
    let message = &session.messages[0];
    assert_eq!(message.id, "inside", "upstream shows the inner id");
    assert_eq!(message.role, Role::Assistant);
    assert_eq!(message.created_at.as_deref(), Some("2026-03-01T10:00:00.000Z"), "NOW is no time");
    assert_eq!(
        parts(message),
        [
            "text:a",
            "text:b",
            "think:t",
            "file:https://e.x/i.png",
            "file:data:image/png;base64,QUI=",
            "file:https://e.x/f",
            "source:s",
            "tool:c:done",
            "tool:w:failed",
            "data:x:1",
            "data:hologram:{\"type\":\"hologram\",\"depth\":3}",
        ]
    );
    assert!(matches!(&message.parts[6], Part::Source(s) if s.kind == SourceKind::Document));
    assert!(message.is_complete);
}

#[test]
fn only_signals_count_after_a_whole_message() {
    let mut events = vec![said("u1", "Q")];
    events.push(chunk("u1", "alice", "user", 1, &content("x", "x")));
    let session = folded(&events);
    assert_eq!(parts(&session.messages[0]), ["text:Q"]);
    assert!(session.messages[0].is_complete);
}

#[test]
fn one_unreadable_chunk_costs_only_itself() {
    let mut events = assistant("a1", &[content("x", "x"), done()]);
    events[0]["value"]["chunk"] = json!("{not json");
    events.extend(assistant("a2", &[content("Hi", "Hi"), done()]));
    events[3]["value"]["chunk"] = json!("12");
    let session = folded(&events);
    assert_eq!(session.messages.len(), 2);
    assert!(session.messages[0].is_complete, "the second chunk of the first message still counts");
    assert_eq!(parts(&session.messages[1]), ["text:Hi"]);
    assert_eq!(session.skipped, 2);
}

#[test]
fn an_unknown_chunk_changes_nothing() {
    let session = folded(&assistant(
        "a1",
        &[
            content("x", "x"),
            done(),
            json!({"type": "hologram"}),
            json!({"type": "HOLOGRAM"}),
            json!({"type": "RAW", "event": {}}),
        ],
    ));
    assert!(session.messages[0].is_complete);
    assert_eq!(session.skipped, 0);
    assert!(session.active_generations.is_empty());
}

#[test]
fn a_character_cut_in_two_is_whole() {
    let mut events = assistant("a1", &[json!({}), json!({})]);
    events[0]["value"]["chunk"] =
        json!(r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"a\ud83d"}"#);
    events[1]["value"]["chunk"] =
        json!(r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"\ude42b"}"#);
    let session = folded(&events);
    assert_eq!(parts(&session.messages[0]), ["text:a\u{1f642}b"]);
    assert_eq!(session.skipped, 0);
}
