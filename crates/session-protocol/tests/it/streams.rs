//! Whole streams of other shapes, and what the state protocol does to rows.

use serde_json::{Value, json};
use session_protocol::{Role, SessionFold, ToolState};

use crate::support::{assistant, call, chunk, folded, parts, row, said};

fn text(id: &str, delta: &str) -> Value {
    json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta})
}

// State protocol.

#[test]
fn a_missing_chunk_is_a_gap_until_it_comes() {
    let events = assistant("a", &[text("m", "a"), text("m", "b"), text("m", "c")]);
    let late = [events[0].clone(), events[2].clone()];
    assert!(folded(&late).messages[0].has_gap);
    let healed = [events[0].clone(), events[2].clone(), events[1].clone()];
    let session = folded(&healed);
    assert!(!session.messages[0].has_gap);
    assert_eq!(parts(&session.messages[0]), ["text:abc"]);
}

#[test]
fn a_message_id_may_hold_colons() {
    let session = folded(&[
        chunk("2026-01-01T10:00:00", "k", "assistant", 0, &text("m", "a")),
        chunk("2026-01-01T10:00:00", "k", "assistant", 1, &text("m", "b")),
    ]);
    assert_eq!(session.messages.len(), 1);
    assert_eq!(parts(&session.messages[0]), ["text:ab"]);
}

#[test]
fn numbers_that_restart_overwrite() {
    let mut events = assistant("a", &[text("m", "old"), text("m", " tail")]);
    events.push(chunk("a", "k", "assistant", 0, &text("m", "new")));
    let session = folded(&events);
    assert_eq!(parts(&session.messages[0]), ["text:new tail"]);
}

#[test]
fn a_partial_update_merges_into_its_row() {
    let mut events = assistant("a", &[text("m", "x"), json!({"type": "RUN_FINISHED"})]);
    events.push(row("chunk", "a:0", "update", json!({"chunk": text("m", "y").to_string()})));
    let session = folded(&events);
    assert_eq!(parts(&session.messages[0]), ["text:y"]);
    assert_eq!(session.messages[0].actor_id.as_deref(), Some("kermit"), "other fields stay");
}

#[test]
fn deleting_every_row_deletes_the_message() {
    let mut events = vec![said("u1", "Q")];
    events.extend(assistant("a", &[text("m", "x"), text("m", "y")]));
    events.push(row("chunk", "a:1", "delete", Value::Null));
    assert_eq!(parts(&folded(&events).messages[1]), ["text:x"]);
    events.push(row("chunk", "a:0", "delete", Value::Null));
    let session = folded(&events);
    assert_eq!(session.messages.len(), 1);
    assert_eq!(session.session_stats.message_count, 1);
    events.extend(assistant("a", &[text("m", "fresh")]));
    let session = folded(&events);
    assert_eq!(parts(&session.messages[1]), ["text:fresh"]);
}

#[test]
fn the_order_is_that_of_the_stream_not_of_clocks() {
    let mut early = said("u2", "second");
    early["value"]["createdAt"] = json!("2020-01-01T00:00:00Z");
    let session = folded(&[said("u1", "first"), early]);
    let ids: Vec<_> = session.messages.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, ["u1", "u2"]);
}

#[test]
fn a_reset_drops_everything_of_every_type() {
    let mut events = vec![said("u1", "old")];
    events.push(row("presence", "a:d", "upsert", json!({"actorId": "a", "status": "online"})));
    events.push(row("agent", "k", "upsert", json!({"agentId": "k", "endpoint": "http://h"})));
    events.push(json!({"headers": {"control": "reset"}}));
    let session = folded(&events);
    assert!(session.messages.is_empty() && session.presence.is_empty());
    assert!(session.agents.is_empty());
    events.push(said("u1", "new"));
    let session = folded(&events);
    assert_eq!(parts(&session.messages[0]), ["text:new"]);
    assert_eq!(session.session_stats.message_count, 1);
}

#[test]
fn foreign_and_broken_items_are_counted_not_fatal() {
    let events = vec![
        Value::Null,
        json!([1]),
        json!({"hello": 1}),
        row("chunk", "x:0", "insert", json!(5)),
        json!({"type": "chunk", "key": "x:0", "value": {}, "headers": {"operation": "frob"}}),
        json!({"type": "note", "key": "n", "value": 5, "headers": {"operation": "insert"}}),
        said("u1", "Q"),
    ];
    let session = folded(&events);
    assert_eq!(session.messages.len(), 1);
    assert_eq!(session.skipped, 5, "an unknown type is none of them");
}

#[test]
fn a_txid_is_seen_on_events_that_change_nothing() {
    let mut fold = SessionFold::new("s");
    let unknown =
        r#"{"type":"note","key":"n","value":1,"headers":{"operation":"insert","txid":"t1"}}"#;
    let broken =
        r#"{"type":"chunk","key":"n:0","value":1,"headers":{"operation":"insert","txid":"t2"}}"#;
    let changes = fold.apply([unknown, broken], &mut ());
    assert_eq!(changes.txids, ["t1", "t2"]);
    assert!(changes.is_quiet());
}

#[test]
fn presence_keys_of_the_first_writers_have_no_device() {
    let session = folded(&[row(
        "presence",
        "alice",
        "upsert",
        json!({"actorId": "alice", "actorType": "user", "name": "Alice", "status": "online", "lastSeenAt": "2026-01-01T10:00:00Z"}),
    )]);
    assert_eq!(session.presence.len(), 1);
    assert_eq!(session.presence[0].device_ids, [""]);
    assert_eq!(session.presence[0].device_count, 1);
}

#[test]
fn an_actor_with_two_names_is_one_actor() {
    let device = |id: &str, name: &str, status: &str| {
        row(
            "presence",
            &format!("alice:{id}"),
            "upsert",
            json!({"actorId": "alice", "deviceId": id, "name": name, "status": status}),
        )
    };
    let session = folded(&[
        device("d1", "Al", "offline"),
        device("d2", "Alice", "online"),
        device("d3", "A", "online"),
    ]);
    assert_eq!(session.presence.len(), 1);
    assert_eq!(session.presence[0].name.as_deref(), Some("Alice"));
    assert_eq!(session.presence[0].device_ids, ["d2", "d3"]);
}

#[test]
fn presence_of_the_third_generation_counts() {
    let session = folded(&[
        row(
            "presence",
            "u:d",
            "upsert",
            json!({"userId": "u", "deviceId": "d", "status": "typing"}),
        ),
        row("presence", "v:d", "upsert", json!({"userId": "v", "deviceId": "d", "status": "idle"})),
    ]);
    assert_eq!(session.presence.len(), 1);
    assert_eq!(session.presence[0].actor_id, "u");
}

// Rows of the first writers.

#[test]
fn rows_without_envelope_fold() {
    let v0 = |id: &str, kind: &str, seq: i64, inner: Value| {
        json!({"sessionId": "s", "messageId": id, "actorId": kind, "actorType": kind,
            "chunk": inner.to_string(), "createdAt": format!("2025-12-10T08:00:0{seq}.000Z"), "seq": seq})
    };
    let session = folded(&[
        v0("u1", "user", 0, json!({"type": "message-start", "role": "user"})),
        v0("u1", "user", 1, json!({"type": "text-delta", "textDelta": "Hel"})),
        v0("u1", "user", 2, json!({"type": "text-delta", "textDelta": "lo"})),
        v0("u1", "user", 3, json!({"type": "message-end"})),
        v0("a1", "agent", 0, json!({"type": "content", "delta": "Hi", "content": "Hi"})),
        v0("a1", "agent", 1, json!({"type": "done", "finishReason": "stop"})),
        v0(
            "u2",
            "user",
            0,
            json!({"type": "user-message", "message": {"id": "u2", "role": "user", "parts": [{"type": "text", "content": "whole"}]}}),
        ),
    ]);
    let texts: Vec<_> =
        session.messages.iter().map(|m| (m.role, m.plain_text(), m.is_complete)).collect();
    assert_eq!(
        texts,
        [
            (Role::User, "Hello".to_owned(), true),
            (Role::Assistant, "Hi".to_owned(), true),
            (Role::User, "whole".to_owned(), true),
        ]
    );
}

// Bare streams.

#[test]
fn numbered_records_fold_once() {
    let record = |seq: i64, chunk: Value| json!({"v": 1, "seq": seq, "chunk": chunk});
    let start = json!({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"});
    let session = folded(&[
        record(1, json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"})),
        record(2, start),
        record(3, text("m", "Hel")),
        record(4, text("m", "lo")),
        record(3, text("m", "Hel")),
        record(4, text("m", "lo")),
        record(5, json!({"type": "TEXT_MESSAGE_END", "messageId": "m"})),
        record(6, json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"})),
    ]);
    assert_eq!(session.messages.len(), 1);
    assert_eq!(session.messages[0].id, "m");
    assert_eq!(parts(&session.messages[0]), ["text:Hello"]);
    assert!(session.messages[0].is_complete && !session.messages[0].has_gap);
    assert_eq!(session.skipped, 0, "a repetition is not an error");
}

#[test]
fn a_bare_session_keeps_tools_and_results_with_their_message() {
    let session = folded(&[
        json!({"type": "TEXT_MESSAGE_START", "messageId": "u1", "role": "user", "model": "client"}),
        text("u1", "Weather?"),
        json!({"type": "TEXT_MESSAGE_END", "messageId": "u1"}),
        json!({"type": "RUN_STARTED", "runId": "r1"}),
        json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": "r-1", "delta": "hm"}),
        json!({"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"}),
        text("m1", "Look"),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "w"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{}"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c1"}),
        json!({"type": "RUN_FINISHED", "runId": "r1", "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
            "outcome": {"type": "interrupt", "interrupts": [{"id": "i", "reason": "approval_required", "toolCallId": "c1"}]}}),
        json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "content": "4"}),
        json!({"type": "RUN_STARTED", "runId": "r2"}),
        text("m2", "It is 4"),
    ]);
    let all: Vec<_> = session.messages.iter().map(parts).collect();
    assert_eq!(
        all,
        [
            vec!["text:Weather?"],
            vec!["think:hm", "text:Look", "tool:c1:done"],
            vec!["text:It is 4"],
        ]
    );
    assert_eq!(session.messages[0].role, Role::User);
    let complete: Vec<_> = session.messages.iter().map(|m| m.is_complete).collect();
    assert_eq!(complete, [true, true, false]);
    assert_eq!(session.session_stats.total_tokens, 3);
    assert_eq!(session.approvals.len(), 1);
}

#[test]
fn a_bare_session_without_text_shows_its_error() {
    let session = folded(&[
        json!({"type": "RUN_STARTED", "runId": "r"}),
        json!({"type": "RUN_ERROR", "message": "no model"}),
    ]);
    assert_eq!(session.messages.len(), 1);
    assert_eq!(session.messages[0].error.as_ref().map(|e| e.message.as_str()), Some("no model"));
    assert!(session.messages[0].is_complete);
}

#[test]
fn a_snapshot_replaces_a_bare_session() {
    let session = folded(&[
        json!({"type": "TEXT_MESSAGE_START", "messageId": "old", "role": "user"}),
        text("old", "gone"),
        json!({"type": "RUN_STARTED", "runId": "r"}),
        json!({"type": "MESSAGES_SNAPSHOT", "messages": [
            {"id": "u", "role": "user", "content": "Q"},
            {"id": "a", "role": "assistant", "content": "A", "toolCalls": [{"id": "c", "function": {"name": "t", "arguments": "{}"}}]},
            {"id": "t", "role": "tool", "toolCallId": "c", "content": "1"}]}),
        text("a2", "more"),
        json!({"type": "RUN_FINISHED", "runId": "r"}),
    ]);
    let all: Vec<_> = session.messages.iter().map(|m| (m.id.clone(), parts(m))).collect();
    assert_eq!(all[0], ("u".to_owned(), vec!["text:Q".to_owned()]));
    assert_eq!(all[1], ("a".to_owned(), vec!["text:A".to_owned(), "tool:c:done".to_owned()]));
    assert_eq!(all[2], ("a2".to_owned(), vec!["text:more".to_owned()]));
}

// Entity streams.

fn entity_stream() -> Vec<Value> {
    vec![
        row(
            "entity_created",
            "entity",
            "insert",
            json!({"entity_type": "chat", "timestamp": "2026-05-01T10:00:00Z", "args": {}}),
        ),
        row(
            "inbox",
            "in-0",
            "insert",
            json!({"from": "alice", "payload": {"text": "Hi"}, "timestamp": "2026-05-01T10:00:01Z", "status": "pending"}),
        ),
        row(
            "inbox",
            "in-0",
            "update",
            json!({"status": "processed", "processed_at": "2026-05-01T10:00:02Z"}),
        ),
        row("run", "run-0", "insert", json!({"status": "started"})),
        row(
            "step",
            "step-0",
            "insert",
            json!({"step_number": 1, "status": "started", "run_id": "run-0"}),
        ),
        row(
            "reasoning",
            "reasoning-0",
            "insert",
            json!({"status": "streaming", "run_id": "run-0"}),
        ),
        row(
            "reasoning_delta",
            "reasoning-0:0",
            "insert",
            json!({"reasoning_id": "reasoning-0", "run_id": "run-0", "delta": "hm"}),
        ),
        row("text", "msg-0", "insert", json!({"status": "streaming", "run_id": "run-0"})),
        row(
            "text_delta",
            "msg-0:0",
            "insert",
            json!({"text_id": "msg-0", "run_id": "run-0", "delta": "Let me "}),
        ),
        row(
            "text_delta",
            "msg-0:1",
            "insert",
            json!({"text_id": "msg-0", "run_id": "run-0", "delta": "look"}),
        ),
        row("text", "msg-0", "update", json!({"status": "completed"})),
        row(
            "tool_call",
            "tc-0",
            "insert",
            json!({"tool_call_id": "toolu_1", "tool_name": "weather", "status": "started", "run_id": "run-0", "args": {"city": "Oslo"}}),
        ),
        row("tool_call", "tc-0", "update", json!({"status": "completed", "result": "{\"t\":4}"})),
        row(
            "step",
            "step-0",
            "update",
            json!({"status": "completed", "input_tokens": 10, "output_tokens": 5}),
        ),
        row("text", "msg-1", "insert", json!({"status": "streaming", "run_id": "run-0"})),
        row(
            "text_delta",
            "msg-1:0",
            "insert",
            json!({"text_id": "msg-1", "run_id": "run-0", "delta": "4C"}),
        ),
        row("run", "run-0", "update", json!({"status": "completed", "finish_reason": "stop"})),
    ]
}

#[test]
fn an_entity_stream_is_a_conversation() {
    let session = folded(&entity_stream());
    assert_eq!(session.messages.len(), 2);
    let (user, run) = (&session.messages[0], &session.messages[1]);
    assert_eq!((user.role, user.actor_id.as_deref()), (Role::User, Some("alice")));
    assert_eq!(parts(user), ["text:Hi"]);
    assert_eq!(parts(run), ["think:hm", "text:Let me look", "tool:tc-0:done", "text:4C"]);
    let call = call(run, "tc-0");
    assert_eq!((call.name.as_str(), &call.output), ("weather", &Some(json!({"t": 4}))));
    assert_eq!(call.input, Some(json!({"city": "Oslo"})));
    assert!(run.is_complete && user.is_complete);
    assert_eq!(session.session_stats.total_tokens, 15);
    assert_eq!(session.session_stats.tool_call_count, 1);
}

#[test]
fn a_started_run_is_active_and_a_failed_one_says_why() {
    let events = entity_stream();
    let session = folded(&events[..10]);
    assert!(!session.messages[1].is_complete);
    assert_eq!(session.active_generations.len(), 1);
    let mut failed = events[..12].to_vec();
    failed.push(row(
        "tool_call",
        "tc-0",
        "update",
        json!({"status": "failed", "error": "timeout"}),
    ));
    failed.push(row(
        "error",
        "run-0:error-1",
        "insert",
        json!({"error_code": "E", "message": "boom", "run_id": "run-0"}),
    ));
    failed.push(row(
        "run",
        "run-0",
        "update",
        json!({"status": "failed", "finish_reason": "error"}),
    ));
    let session = folded(&failed);
    let run = &session.messages[1];
    assert!(run.is_complete);
    assert_eq!(
        run.error.as_ref().map(|e| (e.message.as_str(), e.code.as_deref())),
        Some(("boom", Some("E")))
    );
    assert_eq!(call(run, "tc-0").state, ToolState::Failed);
}

#[test]
fn a_cancelled_inbox_message_is_not_shown() {
    let mut events = entity_stream()[..2].to_vec();
    events.push(row("inbox", "in-0", "update", json!({"status": "cancelled"})));
    assert!(folded(&events).messages.is_empty());
}

#[test]
fn rows_of_the_same_type_in_another_program_are_left_alone() {
    let session = folded(&[
        row("text", "t1", "insert", json!({"body": "x"})),
        row("error", "e1", "insert", json!({"message": "x"})),
        row("run", "r1", "insert", json!({"status": "sprinting"})),
    ]);
    assert!(session.messages.is_empty());
    assert_eq!(session.skipped, 0);
}

// L11
#[test]
fn debug_output_holds_no_words_of_people() {
    let inner = json!({"type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": {"k": "hush"}});
    let mut events = vec![said("u1", "hush")];
    events.extend(assistant(
        "a",
        &[
            text("m", "hush"),
            json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "hush"}),
            inner,
            json!({"type": "tool-approval-request", "approvalId": "ap", "toolCallId": "c"}),
            json!({"type": "tool-output-available", "toolCallId": "c", "output": "hush"}),
            json!({"type": "data-x", "data": "hush"}),
            json!({"type": "file", "url": "https://hush"}),
            json!({"type": "error", "errorText": "hush"}),
        ],
    ));
    events.push(row("presence", "al:1", "upsert", json!({"name": "hush", "status": "online"})));
    events.push(row("agent", "k", "upsert", json!({"endpoint": "https://h?hush", "name": "hush"})));
    let mut fold = SessionFold::new("s");
    let changes = fold.apply(events.iter().map(Value::to_string), &mut ());
    let more =
        fold.apply([chunk("a", "k", "assistant", 8, &text("m", "hush")).to_string()], &mut ());
    let all = format!(
        "{fold:?} {changes:?} {more:?} {:?} {:?} {:?} {:?}",
        fold.messages().collect::<Vec<_>>(),
        fold.tool_calls(),
        fold.presence_rows(),
        fold.agents()
    );
    assert!(!all.contains("hush"), "{all}");
    let session = format!("{:?} {:?}", folded(&events), fold.state());
    assert!(!session.contains("hush"), "{session}");
}
