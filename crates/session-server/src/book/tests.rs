//! Runs, answers and numbers, as the log says them.

use serde_json::json;
use session_protocol::{AnswerRef, Lifecycle};

use super::*;
use crate::event::{self, Row};

fn book(rows: &[(&str, Role, Value)]) -> RunBook {
    let mut book = RunBook::new();
    for (message_id, role, chunk) in rows {
        let chunk = chunk.to_string();
        let (txid, run) = (Some(&*chunk), None);
        let row = Row { message_id, actor_id: "x", role: *role, chunk: &chunk, txid, run };
        let seq = book.next_seq(message_id);
        book.apply(&event::chunk(row, seq, "2026-01-01T00:00:00.000Z"));
    }
    book
}

fn asked(message_id: &'static str) -> [(&'static str, Role, Value); 2] {
    let value = json!({"toolCallId": "c", "approval": {"id": "a"}});
    [
        (
            message_id,
            Role::Assistant,
            json!({"type": "CUSTOM", "name": "approval-requested", "value": value}),
        ),
        (
            message_id,
            Role::Assistant,
            json!({"type": "RUN_FINISHED", "finishReason": "tool_calls", "outcome": {"type": "interrupt", "interrupts":
                [{"id": "a", "reason": "approval_required", "toolCallId": "c"}]}}),
        ),
    ]
}

fn answered(approved: bool) -> (&'static str, Role, Value) {
    let answer = json!({"type": "approval-response", "approvalId": "a", "approved": approved});
    ("m", Role::User, answer)
}

#[test]
fn a_message_waits_until_its_approval_is_answered() {
    let mut rows = asked("m").to_vec();
    assert!(book(&rows).is_waiting("m"));
    rows.push(answered(true));
    let mut after = book(&rows);
    assert!(!after.is_waiting("m"));
    let run = after.message("m").unwrap();
    assert_eq!(run.deliveries().undelivered, [AnswerRef::Approval("a".into())]);
    assert_eq!((run.lifecycle(), after.next_seq("m")), (Lifecycle::Finished, 3));
    // The first answer wins.
    rows.push(answered(false));
    assert_eq!(book(&rows).approval("a", None).unwrap().approved(), Some(true));
    // The next run tells the agent, when it ends well.
    let say = |chunk: Value| ("m", Role::Assistant, chunk);
    rows.push(say(json!({"type": "RUN_STARTED", "runId": "r"})));
    let end = |kind: &str| {
        let rows = [&rows[..], &[say(json!({"type": kind}))]].concat();
        book(&rows).message("m").unwrap().deliveries()
    };
    assert_eq!(book(&rows).message("m").unwrap().deliveries().undelivered.len(), 1);
    let done = end("RUN_FINISHED");
    assert!(done.undelivered.is_empty() && done.owed.is_empty());
    // A run that failed may have told it or not: it is told again, but not by itself.
    let failed = end("RUN_ERROR");
    assert_eq!((failed.undelivered.len(), failed.owed.len()), (0, 1));
    let stopped = end("stop");
    assert!(stopped.undelivered.is_empty() && stopped.owed.is_empty());
}

#[test]
fn what_is_answered_while_a_run_goes_is_for_the_next_one_however_it_ends() {
    for end in ["RUN_FINISHED", "RUN_ERROR"] {
        let mut rows = asked("m")[..1].to_vec();
        rows.push(answered(true));
        rows.push(("m", Role::Assistant, json!({"type": end, "finishReason": "stop"})));
        let found = book(&rows).message("m").unwrap().deliveries();
        assert_eq!((found.undelivered.len(), found.owed.len()), (1, 0), "{end}");
    }
    // Unless the agent acted on it.
    let mut rows = asked("m")[..1].to_vec();
    rows.push(answered(true));
    let result = json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": "done"});
    rows.push(("m", Role::Assistant, result));
    rows.push(("m", Role::Assistant, json!({"type": "RUN_FINISHED"})));
    assert!(book(&rows).message("m").unwrap().deliveries().undelivered.is_empty());
}

#[test]
fn a_run_that_failed_stays_so_until_the_next_one() {
    let say = |chunk: &Value| ("m", Role::Assistant, chunk.clone());
    let errors = [
        json!({"type": "error", "errorText": "bad"}),
        json!({"type": "error", "error": {"message": "bad"}}),
        json!({"type": "error", "error": "bad"}),
        json!({"type": "RUN_ERROR", "message": "bad"}),
    ];
    let behind = [
        json!({"type": "text-delta", "id": "0", "delta": "so"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "so"}),
        json!({"type": "content", "delta": "so"}),
        json!({"type": "tool-input-start", "toolCallId": "c"}),
        json!({"type": "finish", "finishReason": "tool-calls"}),
        json!({"type": "RUN_FINISHED"}),
        json!({"type": "done"}),
        json!({"type": "error", "errorText": "worse"}),
    ];
    for error in &errors {
        for behind in &behind {
            let mut rows = vec![say(&json!({"type": "start"})), say(error), say(behind)];
            let failed = book(&rows);
            assert!(failed.message("m").unwrap().has_failed(), "{error} {behind}");
            assert!(!failed.is_waiting("m"), "{error} {behind}");
            for begin in ["RUN_STARTED", "start"] {
                rows.push(say(&json!({"type": begin})));
                assert!(book(&rows).message("m").unwrap().is_open());
                rows.pop();
            }
            rows.push(say(&json!({"type": "stop"})));
            assert_eq!(book(&rows).message("m").unwrap().lifecycle(), Lifecycle::Stopped);
        }
    }
}

#[test]
fn a_call_that_nobody_answered_waits_for_the_client() {
    let say = |chunk: Value| ("m", Role::Assistant, chunk);
    let call = |id: &str| say(json!({"type": "TOOL_CALL_START", "toolCallId": id}));
    let legacy = |id: &str| say(json!({"type": "tool_call", "toolCall": {"id": id}, "index": 0}));
    let ask =
        say(json!({"type": "approval-requested", "toolCallId": "l1", "approval": {"id": "a"}}));
    let input = |id: &str| json!({"toolCallId": id, "toolName": "t", "input": {}});
    let mut typed = input("l2");
    typed["type"] = "tool-input-available".into();
    let custom = json!({"type": "CUSTOM", "name": "tool-input-available", "value": input("p")});
    let text = say(json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "that was it"}));
    let progress = json!({"type": "CUSTOM", "name": "progress", "value": 1});
    let end = |reason: Value| say(json!({"type": "RUN_FINISHED", "finishReason": reason}));
    let done = |reason: Value| say(json!({"type": "done", "finishReason": reason}));
    for (waits, rows) in [
        // AG-UI has no reason: a call that nothing follows is the client's.
        (true, vec![call("p"), call("q"), end(Value::Null)]),
        (false, vec![call("p"), text.clone(), end(Value::Null)]),
        (false, vec![call("p"), end("stop".into())]),
        // The words of a turn may come before or after its calls; another call shows that it went on.
        (true, vec![call("p"), text.clone(), end("tool_calls".into())]),
        (true, vec![call("p"), say(progress.clone()), end(Value::Null)]),
        (true, vec![call("p"), say(progress), end("tool_calls".into())]),
        (true, vec![call("p"), text, say(custom), end("stop".into())]),
        // The order of older servers, with the end that ours adds.
        (
            true,
            vec![
                legacy("l1"),
                legacy("l2"),
                done("tool_calls".into()),
                ask.clone(),
                say(typed),
                done(Value::Null),
            ],
        ),
        (true, vec![legacy("l1"), legacy("l2"), done("tool_calls".into()), ask, done(Value::Null)]),
    ] {
        let mut book = book(&rows);
        if book.approval("a", None).is_some() {
            let answer = json!({"type": "approval-response", "approvalId": "a", "approved": true})
                .to_string();
            let row = Row {
                message_id: "m",
                actor_id: "x",
                role: Role::User,
                chunk: &answer,
                txid: None,
                run: None,
            };
            let seq = book.next_seq("m");
            book.apply(&event::chunk(row, seq, "now"));
        }
        assert_eq!(book.is_waiting("m"), waits, "{rows:?}");
    }
}

#[test]
fn the_same_id_asked_in_another_message_is_another_request() {
    let mut rows = asked("m").to_vec();
    rows.push(answered(false));
    rows.extend(asked("n"));
    let book = book(&rows);
    assert!(book.is_waiting("n"));
    assert!(!book.is_waiting("m"));
    assert_eq!(book.approval("a", None).unwrap().approved(), None);
}

#[test]
fn malformed_and_unknown_items_change_nothing() {
    let mut book = book(&asked("m"));
    for item in [
        "",
        "null",
        "7",
        "[]",
        "{}",
        r#"{"headers":null}"#,
        r#"{"type":"chunk","key":"m:9","headers":{"operation":"insert"}}"#,
        r#"{"type":"chunk","key":"m:9","value":5,"headers":{"operation":"insert"}}"#,
        r#"{"type":"RUN_STARTED"}"#,
        r#"{"type":"new","key":"k","value":{},"headers":{"operation":"insert"}}"#,
        r#"{"type":"chunk","key":"m:9","value":{},"headers":{"operation":"frobnicate"}}"#,
    ] {
        book.apply(item.as_bytes());
    }
    assert_eq!(book.next_seq("m"), 2);
    assert!(book.is_waiting("m"));
}

#[test]
fn a_reset_forgets_everything_and_deletes_forget_a_message() {
    let mut reset = book(&asked("m"));
    reset.apply(br#"{"headers":{"control":"reset"}}"#);
    assert!(reset.message("m").is_none() && reset.approval("a", None).is_none());

    let mut deleted = book(&asked("m"));
    for seq in 0..2 {
        assert!(deleted.message("m").is_some());
        deleted.apply(&event::delete("chunk", &format!("m:{seq}")));
    }
    assert!(deleted.message("m").is_none() && deleted.approval("a", None).is_none());
    assert_eq!(deleted.next_seq("m"), 0);
}

#[test]
fn sequence_numbers_go_on_after_the_highest() {
    let mut book = RunBook::new();
    for seq in [4, 2] {
        let row = Row {
            message_id: "a:b",
            actor_id: "x",
            role: Role::Assistant,
            chunk: "not json",
            txid: None,
            run: None,
        };
        book.apply(&event::chunk(row, seq, "now"));
    }
    assert_eq!(book.next_seq("a:b"), 5);
}

/// Rows of a rogue, and what they say of other messages when every one of its ids is somebody else's.
#[test]
fn an_agents_rows_change_nothing_of_others() {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};
    const IDS: [&str; 5] = ["a", "c", "b", "u", "x"];
    let peoples = ["approval-response", "tool-approval", "tool-result", "config", "control"];
    let others = [
        "whole-message",
        "user-message",
        "message",
        "TOOL_CALL_START",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "tool_result",
        "tool-output-available",
        "tool-output-error",
        "tool-output-denied",
        "tool-input-available",
        "tool-input-error",
        "tool-input-start",
        "tool_call",
        "TOOL_CALL_CHUNK",
        "CUSTOM",
        "approval-requested",
        "tool-approval-request",
        "RUN_STARTED",
        "RUN_FINISHED",
        "RUN_ERROR",
        "stop",
        "done",
    ];
    let honest = || {
        let mut rows = asked("m").to_vec();
        rows.push(("u", Role::User, json!({"type": "whole-message", "message": {"id": "u"}})));
        rows.push(("t", Role::User, json!({"type": "config", "title": "Ours"})));
        for chunk in [
            json!({"type": "tool_call", "toolCall": {"id": "b"}}),
            json!({"type": "tool-input-available", "toolCallId": "b"}),
            json!({"type": "done", "finishReason": "tool_calls"}),
        ] {
            rows.push(("n", Role::Assistant, chunk));
        }
        rows
    };
    let seen = |book: &RunBook| {
        let told = |id: &str| {
            let entry = book.message(id).unwrap();
            let open = book.open_asks(id);
            let calls = ["a", "b", "c", "u", "x"].map(|call| {
                let call = book.tool_call(call, Some(id))?;
                Some((call.is_settled(), call.is_open(), call.is_for_client()))
            });
            let state = (entry.lifecycle(), entry.deliveries());
            (open, calls, state, book.is_waiting(id), book.is_asking(id))
        };
        let title = book.title().map(str::to_owned);
        (told("m"), told("n"), title, book.approval("a", Some("m")).unwrap().approved())
    };
    let calm = seen(&book(&honest()));
    for seed in 0..500 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rows = honest();
        for _ in 0..rng.random_range(1..8) {
            let kinds: &[&str] = if rng.random() { &peoples } else { &others };
            let kind = kinds[rng.random_range(0..kinds.len())];
            let mut id = || IDS[rng.random_range(0..IDS.len())];
            let chunk = json!({
                "type": kind, "approvalId": id(), "approved": true, "toolCallId": id(), "output": "forged",
                "content": "forged", "result": "forged", "title": "forged", "approval": {"id": id()},
                "name": "tool-input-available", "value": {"toolCallId": id()}, "toolCall": {"id": id()},
                "message": {"id": id(), "role": "user"}, "outcome": {"type": "interrupt", "interrupts": [
                    {"id": id(), "toolCallId": id(), "reason": "approval_required"}]},
                "input": {"resume": [{"interruptId": id(), "status": "resolved", "payload": true}]},
            });
            let at = rng.random_range(0..=rows.len());
            rows.insert(at, ("r", Role::Assistant, chunk));
        }
        assert_eq!(seen(&book(&rows)), calm, "seed {seed}: {rows:#?}");
    }
}
