//! Answers and results, wherever they stand.

use serde_json::{Value, json};
use session_protocol::{ApprovalStatus, Part, SessionFold, ToolState};

use crate::support::{Store, assistant, call, chunk, chunk_at, folded, parts};

fn asking() -> Vec<Value> {
    assistant(
        "a1",
        &[
            json!({"type": "RUN_STARTED", "runId": "r"}),
            json!({"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "rm"}),
            json!({"type": "TOOL_CALL_END", "toolCallId": "c1", "input": {"p": "/x"}}),
            json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": "c1", "toolName": "rm", "input": {"p": "/x"}, "approval": {"id": "ap"}}}),
            json!({"type": "RUN_FINISHED", "runId": "r"}),
        ],
    )
}

fn reply(id: &str, approved: bool, second: u64) -> Value {
    let inner = json!({"type": "approval-response", "approvalId": "ap", "approved": approved});
    chunk_at(id, "bob", "user", 0, &inner, second)
}

#[test]
fn an_own_message_with_a_stop_is_hidden_and_answers() {
    let mut events = asking();
    events.push(reply("resp", true, 10));
    events.push(chunk_at("resp", "bob", "user", 1, &json!({"type": "stop"}), 11));
    let session = folded(&events);
    assert_eq!(session.hidden_messages, ["resp"]);
    assert!(session.pending_approvals.is_empty() && session.active_generations.is_empty());
    assert_eq!(session.approvals[0].status, ApprovalStatus::Approved);
    assert_eq!(session.approvals[0].responded_by.as_deref(), Some("bob"));
    assert_eq!(session.approvals[0].responded_at.as_deref(), Some("2026-03-01T10:00:10.000Z"));
    assert_eq!(parts(&session.messages[0]), ["tool:c1:answered"]);
}

#[test]
fn the_first_answer_wins_also_against_a_late_one() {
    let mut events = asking();
    events.push(reply("r1", false, 10));
    events.push(reply("r2", true, 11));
    let session = folded(&events);
    assert_eq!(session.approvals[0].status, ApprovalStatus::Denied);
    assert_eq!(parts(&session.messages[0]), ["tool:c1:denied"]);
}

#[test]
fn an_answer_that_is_taken_back_gives_way_to_the_next_one_with_its_time() {
    let mut events = asking();
    events.push(reply("r1", true, 10));
    events.push(reply("r2", true, 11));
    let text = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"});
    let mut changed = chunk_at("r1", "bob", "user", 0, &text, 10);
    changed["headers"]["operation"] = "update".into();
    events.push(changed);
    let session = folded(&events);
    assert_eq!(session.approvals[0].status, ApprovalStatus::Approved);
    assert_eq!(session.approvals[0].responded_at.as_deref(), Some("2026-03-01T10:00:11.000Z"));
}

#[test]
fn an_answer_before_its_request_counts() {
    let mut events = vec![reply("r1", true, 0)];
    events.extend(asking());
    let session = folded(&events);
    assert_eq!(session.approvals[0].status, ApprovalStatus::Approved);
}

#[test]
fn an_answer_to_nothing_is_only_hidden() {
    let session = folded(&[reply("r1", true, 0)]);
    assert_eq!(session.hidden_messages, ["r1"]);
    assert!(session.approvals.is_empty() && session.messages.is_empty());
    assert_eq!(session.session_stats.message_count, 0);
}

#[test]
fn a_result_settles_the_approval_nobody_answered() {
    let mut events = asking();
    let inner = json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "content": "gone"});
    events.push(chunk("a1", "kermit", "assistant", 5, &inner));
    let session = folded(&events);
    assert!(session.pending_approvals.is_empty());
    assert_eq!(parts(&session.messages[0]), ["tool:c1:done"]);
    assert!(session.messages[0].is_complete, "a result after the end opens nothing");
}

#[test]
fn a_client_result_reaches_the_call_in_every_spelling() {
    for inner in [
        json!({"type": "tool-result", "toolCallId": "c1", "output": {"t": 4}, "error": null}),
        json!({"type": "tool-result", "toolCallId": "c1", "answers": {"t": 4}}),
        json!({"type": "tool_result", "toolCallId": "c1", "content": "{\"t\":4}"}),
        json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "content": "{\"t\":4}"}),
        json!({"type": "tool-output-available", "toolCallId": "c1", "output": {"t": 4}}),
    ] {
        let mut events = asking();
        events.push(chunk_at("tr", "bob", "user", 0, &inner, 10));
        let session = folded(&events);
        assert_eq!(session.hidden_messages, ["tr"], "{inner}");
        let call = call(&session.messages[0], "c1");
        assert_eq!((call.state, &call.output), (ToolState::Done, &Some(json!({"t": 4}))));
        assert!(session.active_generations.is_empty());
    }
}

#[test]
fn a_failed_client_result_fails_the_call() {
    let mut events = asking();
    let inner =
        json!({"type": "tool-result", "toolCallId": "c1", "output": null, "error": "denied by OS"});
    events.push(chunk_at("tr", "bob", "user", 0, &inner, 10));
    let session = folded(&events);
    let call = call(&session.messages[0], "c1");
    assert_eq!((call.state, call.error.as_deref()), (ToolState::Failed, Some("denied by OS")));
}

#[test]
fn an_empty_result_does_not_wipe_a_real_one() {
    let mut events = asking();
    for (n, inner) in [
        json!({"type": "tool-result", "toolCallId": "c1", "output": 1, "error": null}),
        json!({"type": "tool-result", "toolCallId": "c1", "error": null}),
    ]
    .iter()
    .enumerate()
    {
        events.push(chunk_at(&format!("tr{n}"), "bob", "user", 0, inner, 10));
    }
    let session = folded(&events);
    assert_eq!(call(&session.messages[0], "c1").output, Some(json!(1)));
}

#[test]
fn a_call_id_used_twice_is_answered_where_it_stands() {
    let ask = |message: &str, second: u64| {
        chunk_at(
            message,
            "k",
            "assistant",
            0,
            &json!({"type": "tool-input-available", "toolCallId": "call_0", "toolName": "t", "input": {}}),
            second,
        )
    };
    let result = |message: &str, output: i32, second: u64| {
        chunk_at(
            message,
            "bob",
            "user",
            0,
            &json!({"type": "tool-result", "toolCallId": "call_0", "output": output}),
            second,
        )
    };
    let session = folded(&[ask("a1", 0), result("t1", 1, 1), ask("a2", 2), result("t2", 2, 3)]);
    assert_eq!(call(&session.messages[0], "call_0").output, Some(json!(1)));
    assert_eq!(call(&session.messages[1], "call_0").output, Some(json!(2)));
}

#[test]
fn config_gives_the_session_its_title() {
    let config = |id: &str, value: Value, second: u64| {
        let mut inner = value;
        inner["type"] = json!("config");
        chunk_at(id, "alice", "user", 0, &inner, second).to_string()
    };
    let mut fold = SessionFold::new("s");
    fold.apply([config("k1", json!({"title": "One", "model": "m"}), 0)], &mut ());
    assert_eq!(fold.title(), Some("One"));
    let changes = fold.apply([config("k2", json!({"title": "Two"}), 1)], &mut ());
    assert!(changes.meta_changed);
    assert_eq!(fold.title(), Some("Two"));
    assert_eq!(fold.settings().get("model"), Some(&json!("m")));
    assert!(fold.messages().all(|m| m.hidden));
}

#[test]
fn an_answer_reaches_a_message_that_is_not_in_memory() {
    let mut store = Store::default();
    let mut fold = SessionFold::new("s");
    let items: Vec<String> = asking().iter().map(Value::to_string).collect();
    let changes = fold.apply(items, &mut store);
    store.commit(&changes, &fold);
    let mut fold = SessionFold::restore("s", &store.state);
    assert_eq!(fold.messages().count(), 0);
    assert_eq!(
        fold.pending_approvals(jiff::Timestamp::UNIX_EPOCH).len(),
        1,
        "waiting approvals need no message"
    );
    let changes = fold.apply([reply("r1", true, 20).to_string()], &mut store);
    assert_eq!(changes.approvals.len(), 1);
    assert!(fold.pending_approvals(jiff::Timestamp::UNIX_EPOCH).is_empty());
    let message = fold.message("a1").expect("brought back");
    assert!(matches!(&message.parts[0], Part::ToolCall(c) if c.state == ToolState::Answered));
    assert!(changes.messages.iter().any(|change| change.id() == "a1"));
}

#[test]
fn deleting_an_answer_lets_the_approval_wait_again() {
    let mut events = asking();
    events.push(reply("r1", true, 10));
    events.push(json!({"type": "chunk", "key": "r1:0", "headers": {"operation": "delete"}}));
    let session = folded(&events);
    assert_eq!(session.pending_approvals.len(), 1);
    assert!(session.hidden_messages.is_empty());
}

#[test]
fn two_requests_of_one_id_in_a_message_that_is_not_in_memory_are_both_looked_at() {
    // Found by the law of splits: the second request kept its old status.
    let ask = |seq: i64, call: &str| {
        let inner = json!({"type": "approval-requested", "toolCallId": call, "toolName": "t",
            "input": {}, "approval": {"id": "ap"}});
        chunk("b", "k", "assistant", seq, &inner).to_string()
    };
    let mut store = Store::default();
    let mut fold = SessionFold::new("s");
    let changes = fold.apply([ask(0, "c1"), ask(1, "c2")], &mut store);
    store.commit(&changes, &fold);
    fold.evict("b");
    fold.apply([reply("r1", false, 9).to_string()], &mut store);
    let statuses: Vec<_> = fold.approvals().iter().map(|a| a.status).collect();
    assert_eq!(statuses, [ApprovalStatus::Pending, ApprovalStatus::Denied]);
    let message = fold.message("b").expect("brought back");
    assert_eq!(parts(message), ["tool:c1:waiting", "tool:c2:denied"]);
}

/// Found by fuzzing: `null` came back from the store as no output at all.
#[test]
fn a_result_without_content_is_the_same_after_a_restart() {
    let results = [
        json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c1"}),
        json!({"type": "tool_result", "toolCallId": "c1", "content": null}),
        json!({"type": "tool-output-available", "toolCallId": "c1"}),
    ];
    for result in results {
        let mut fold = SessionFold::new("s");
        fold.apply([chunk("r", "k", "assistant", 0, &result).to_string()], &mut ());
        let restored = SessionFold::restore("s", &fold.state());
        assert_eq!(restored.state(), fold.state(), "{result}");
    }
}

#[test]
fn an_approval_shows_no_input_any_more_when_more_arguments_come() {
    let mut events = assistant(
        "a1",
        &[
            json!({"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "rm"}),
            json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": r#"{"p":"/x"}"#}),
            json!({"type": "TOOL_CALL_END", "toolCallId": "c1"}),
            json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": "c1", "toolName": "rm", "approval": {"id": "ap"}}}),
        ],
    );
    assert_eq!(folded(&events).approvals[0].input, Some(json!({"p": "/x"})));
    let more = json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "!"});
    events.push(chunk("a1", "kermit", "assistant", 4, &more));
    let session = folded(&events);
    assert_eq!(parts(&session.messages[0]), ["tool:c1:waiting"]);
    assert_eq!(session.approvals[0].input, None);
}
