//! Calls and requests under ids that are used again, and what is said once more.

use serde_json::{Value, json};
use session_protocol::{ApprovalStatus, Part, ToolState};

use crate::support::{answer, assistant, calls, chunk_at, folded, parts};

fn started(id: &str, name: &str, arguments: &str) -> Vec<Value> {
    vec![
        json!({"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": name}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": arguments}),
        json!({"type": "TOOL_CALL_END", "toolCallId": id}),
    ]
}

fn result(id: &str, content: &str) -> Value {
    json!({"type": "TOOL_CALL_RESULT", "toolCallId": id, "messageId": "t", "content": content, "role": "tool"})
}

fn asks(id: &str, approval: &str, name: &str, input: &Value) -> Value {
    json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": id, "toolName": name,
        "input": input, "approval": {"id": approval, "needsApproval": true}}})
}

fn given(id: &str, name: &str, input: &Value) -> Value {
    json!({"type": "tool-input-available", "toolCallId": id, "toolName": name, "input": input})
}

fn output(id: &str, output: &str) -> Value {
    json!({"type": "tool-output-available", "toolCallId": id, "output": output})
}

fn step() -> [Value; 2] {
    [json!({"type": "finish-step"}), json!({"type": "start-step"})]
}

fn legacy(id: &str, name: &str, arguments: &str) -> Value {
    json!({"type": "tool_call", "index": 0, "toolCall": {"id": id, "type": "function",
        "function": {"name": name, "arguments": arguments}}})
}

#[test]
fn a_start_of_a_call_that_has_ended_is_another_call_with_or_without_a_result() {
    for with_result in [true, false] {
        let mut chunks = started("c", "read", "{\"p\":1}");
        if with_result {
            chunks.push(result("c", "one"));
        }
        chunks.extend(started("c", "read", "{\"p\":2}"));
        if !with_result {
            chunks.push(result("c", "one"));
        }
        chunks.push(result("c", "two"));
        assert_eq!(
            calls(&answer(&chunks)),
            ["c:read:{\"p\":1}:done:\"one\"", "c:read:{\"p\":2}:done:\"two\""]
        );
    }
}

#[test]
fn the_same_call_once_more_is_the_same_however_its_arguments_are_spaced() {
    for arguments in ["{\"p\":1}", "{ \"p\": 1 }"] {
        let mut chunks = started("c", "read", "{\"p\":1}");
        chunks.push(result("c", "one"));
        chunks.extend(started("c", "read", arguments));
        chunks.push(result("c", "one"));
        assert_eq!(calls(&answer(&chunks)).len(), 1, "{arguments}");
        // Without a result in between, too.
        let mut chunks = started("c", "read", "{\"p\":1}");
        chunks.extend(started("c", "read", arguments));
        chunks.push(result("c", "one"));
        assert_eq!(calls(&answer(&chunks)), ["c:read:{\"p\":1}:done:\"one\""], "{arguments}");
    }
}

#[test]
fn a_call_that_is_repeated_and_gives_something_else_was_another_one() {
    let mut chunks = started("poll", "status", "{}");
    chunks.push(result("poll", "\"running\""));
    chunks.extend(started("poll", "status", "{}"));
    chunks.push(result("poll", "\"done\""));
    let all = ["poll:status:{}:done:\"running\"", "poll:status:{}:done:\"done\""];
    assert_eq!(calls(&answer(&chunks)), all);
    // And the whole of it once more is none.
    let again = chunks.clone();
    chunks.extend(again);
    assert_eq!(calls(&answer(&chunks))[..2], all);
}

#[test]
fn an_id_in_a_later_step_of_the_ai_sdk_is_another_call_whatever_its_arguments() {
    for second in [json!({"c": "Oslo"}), json!({"c": "Bergen"})] {
        let mut chunks = vec![
            json!({"type": "start-step"}),
            given("call_0", "w", &json!({"c": "Oslo"})),
            output("call_0", "rain"),
        ];
        chunks.extend(step());
        chunks.extend([given("call_0", "w", &second), output("call_0", "more")]);
        let first = "call_0:w:{\"c\":\"Oslo\"}:done:\"rain\"".to_owned();
        assert_eq!(calls(&answer(&chunks)), [first, format!("call_0:w:{second}:done:\"more\"")]);
    }
}

#[test]
fn an_ai_sdk_call_that_streams_under_a_used_id_is_another_one() {
    let streamed = |arguments: &str| {
        vec![
            json!({"type": "tool-input-start", "toolCallId": "call_0", "toolName": "w"}),
            json!({"type": "tool-input-delta", "toolCallId": "call_0", "inputTextDelta": arguments}),
            given("call_0", "w", &serde_json::from_str(arguments).expect("JSON")),
        ]
    };
    for between in [vec![], step().to_vec()] {
        let mut chunks = streamed("{\"c\":1}");
        chunks.push(output("call_0", "one"));
        chunks.extend(between.clone());
        chunks.extend(streamed("{\"c\":2}"));
        chunks.push(output("call_0", "two"));
        let all = ["call_0:w:{\"c\":1}:done:\"one\"", "call_0:w:{\"c\":2}:done:\"two\""];
        assert_eq!(calls(&answer(&chunks)), all, "{between:?}");
        assert_eq!(calls(&folded(&chunks).messages[0]), all, "{between:?}");
    }
}

#[test]
fn parallel_calls_of_one_id_get_their_results_in_order() {
    let chunks = [
        given("", "w", &json!({"c": "nameless"})),
        given("0", "w", &json!({"c": 1})),
        given("0", "w", &json!({"c": 2})),
        output("0", "one"),
        output("0", "two"),
    ];
    assert_eq!(
        calls(&answer(&chunks)),
        ["0:w:{\"c\":1}:done:\"one\"", "0:w:{\"c\":2}:done:\"two\""]
    );
}

#[test]
fn an_input_that_a_client_tool_repeats_in_other_words_is_no_other_call() {
    let chunks = [
        legacy("c", "where", "{\"q\":\"x\"}"),
        json!({"type": "done", "finishReason": "tool_calls"}),
        given("c", "where", &json!({"q": "x", "limit": 10})),
    ];
    assert_eq!(calls(&answer(&chunks)), ["c:where:{\"limit\":10,\"q\":\"x\"}:ready:null"]);
}

#[test]
fn a_legacy_call_under_a_used_id_is_another_one() {
    let done = json!({"type": "done", "finishReason": "tool_calls"});
    for between in [
        vec![json!({"type": "tool_result", "toolCallId": "c", "content": "\"one\""})],
        vec![done.clone(), json!({"type": "tool_result", "toolCallId": "c", "content": "\"one\""})],
    ] {
        let mut chunks = vec![legacy("c", "r", "{\"p\":"), legacy("c", "r", "1}")];
        chunks.extend(between);
        chunks.extend([legacy("c", "r", "{\"p\""), legacy("c", "", ":2}"), done.clone()]);
        chunks.push(json!({"type": "tool_result", "toolCallId": "c", "content": "\"two\""}));
        assert_eq!(
            calls(&answer(&chunks)),
            ["c:r:{\"p\":1}:done:\"one\"", "c:r:{\"p\":2}:done:\"two\""]
        );
    }
}

#[test]
fn a_call_that_was_cut_off_and_starts_again_is_one_call() {
    let chunks = [
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "read"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{\"p\":"}),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "read"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{\"p\":"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "1}"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "c"}),
    ];
    assert_eq!(calls(&answer(&chunks)), ["c:read:{\"p\":1}:ready:null"]);
}

#[test]
fn a_request_behind_a_result_waits_for_what_it_names() {
    let b = json!({"path": "b.txt"});
    for announced in [true, false] {
        let mut chunks = started("c", "read_file", "{\"path\":\"a.txt\"}");
        chunks.push(result("c", "hello"));
        if announced {
            chunks.extend(started("c", "delete_file", "{\"path\":\"b.txt\"}"));
        }
        chunks.push(asks("c", "ap", "delete_file", &b));
        // Whatever comes for the first one settles nothing.
        let mut late = chunks.clone();
        late.push(json!({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [
            {"id": "ap", "reason": "approval_required", "toolCallId": "c"}]}}));
        let session = folded(&assistant("a1", &late));
        let pending = &session.pending_approvals;
        assert_eq!(pending.len(), 1, "announced: {announced}");
        assert_eq!(
            (pending[0].tool_name.as_str(), &pending[0].input),
            ("delete_file", &Some(b.clone()))
        );
        let waiting: Vec<_> =
            session.tool_calls.iter().filter(|c| c.call.state == ToolState::Waiting).collect();
        assert_eq!(waiting.len(), 1);
        assert_eq!(
            (waiting[0].call.name.as_str(), &waiting[0].call.input),
            ("delete_file", &Some(b.clone()))
        );
        assert_eq!(session.tool_calls[0].call.output, Some(json!("hello")));
    }
}

#[test]
fn a_request_in_another_name_is_not_for_the_call_that_is_there() {
    let mut chunks = started("c", "read_file", "{\"path\":\"a\"}");
    chunks.push(asks("c", "ap", "delete_file", &json!({"path": "b"})));
    let session = folded(&assistant("a1", &chunks));
    assert_eq!(parts(&session.messages[0]), ["tool:c:ready", "tool:c:waiting"]);
    assert_eq!(session.pending_approvals[0].tool_name, "delete_file");
    assert_eq!(session.tool_calls[1].call.name, "delete_file");
}

#[test]
fn a_result_elsewhere_that_is_older_than_the_request_does_not_settle_it() {
    let mut items = assistant("a1", &started("c", "rm", "{\"p\":1}"));
    let early = json!({"type": "tool-result", "toolCallId": "c", "output": "early"});
    items.push(chunk_at("t1", "bob", "user", 0, &early, 4));
    items.push(chunk_at(
        "a1",
        "kermit",
        "assistant",
        3,
        &asks("c", "ap", "rm", &json!({"p": 1})),
        5,
    ));
    let session = folded(&items);
    assert_eq!(session.approvals[0].status, ApprovalStatus::Pending);
    assert_eq!(parts(&session.messages[0]), ["tool:c:waiting"]);
    let late = json!({"type": "tool-result", "toolCallId": "c", "output": "late"});
    items.push(chunk_at("t2", "bob", "user", 0, &late, 6));
    let session = folded(&items);
    assert_eq!(session.approvals[0].status, ApprovalStatus::Approved);
    assert_eq!(session.tool_calls[0].call.output, Some(json!("late")));
}

#[test]
fn a_call_that_waits_gets_no_result_of_another_one() {
    let mut chunks = started("c", "rm", "{\"p\":\"a\"}");
    chunks.push(asks("c", "ap", "rm", &json!({"p": "a"})));
    chunks.extend(started("c", "read", "{\"p\":\"b\"}"));
    chunks.push(result("c", "text of b"));
    let session = folded(&assistant("a1", &chunks));
    assert_eq!(parts(&session.messages[0]), ["tool:c:waiting", "tool:c:done"]);
    assert_eq!(session.pending_approvals.len(), 1);
}

#[test]
fn two_requests_of_one_call_id_are_for_two_calls() {
    let (a, b) = (json!({"p": "a"}), json!({"p": "b"}));
    for with_input in [true, false] {
        let mut chunks = started("c", "rm", &a.to_string());
        chunks.extend(started("c", "rm", &b.to_string()));
        let interrupt = |id: &str, input: &Value| {
            let metadata = if with_input {
                json!({"kind": "approval", "input": input})
            } else {
                json!({"kind": "approval"})
            };
            json!({"id": id, "reason": "approval_required", "toolCallId": "c", "metadata": metadata})
        };
        chunks.push(json!({"type": "RUN_FINISHED", "outcome": {"type": "interrupt",
            "interrupts": [interrupt("ap1", &a), interrupt("ap2", &b)]}}));
        let session = folded(&assistant("a1", &chunks));
        let asked: Vec<_> = session
            .pending_approvals
            .iter()
            .map(|one| (one.id.clone(), one.input.clone()))
            .collect();
        assert_eq!(
            asked,
            [("ap1".to_owned(), Some(a.clone())), ("ap2".to_owned(), Some(b.clone()))]
        );
    }
}

/// One run in the words of AG-UI.
fn run(id: &str) -> Vec<Value> {
    let mut run = vec![
        json!({"type": "RUN_STARTED", "threadId": "t", "runId": id}),
        json!({"type": "REASONING_MESSAGE_START", "messageId": format!("th-{id}"), "role": "reasoning"}),
        json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": format!("th-{id}"), "delta": "hm"}),
        json!({"type": "REASONING_MESSAGE_END", "messageId": format!("th-{id}")}),
        json!({"type": "TEXT_MESSAGE_START", "messageId": format!("m-{id}"), "role": "assistant"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": format!("m-{id}"), "delta": "ha"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": format!("m-{id}"), "delta": "ha"}),
        json!({"type": "TEXT_MESSAGE_END", "messageId": format!("m-{id}")}),
    ];
    run.extend(started("c", "read", "{\"p\":1}"));
    run.push(result("c", "one"));
    run.push(json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": format!("n-{id}"), "delta": "so"}));
    run.push(json!({"type": "RUN_FINISHED", "threadId": "t", "runId": id}));
    run
}

fn generation() -> Vec<Value> {
    let mut chunks =
        vec![json!({"type": "start", "messageId": "g"}), json!({"type": "start-step"})];
    chunks.extend([
        json!({"type": "text-start", "id": "0"}),
        json!({"type": "text-delta", "id": "0", "delta": "ha"}),
    ]);
    chunks.extend([
        json!({"type": "text-delta", "id": "0", "delta": "ha"}),
        json!({"type": "text-end", "id": "0"}),
    ]);
    chunks.extend([given("c", "read", &json!({"p": 1})), output("c", "one")]);
    chunks.extend(step());
    chunks.extend([
        given("c", "read", &json!({"p": 1})),
        output("c", "one"),
        json!({"type": "finish"}),
    ]);
    chunks
}

#[test]
fn whatever_was_heard_of_a_run_that_is_said_again_is_said_once() {
    for run in [run("r"), generation()] {
        let once = parts(&answer(&run));
        for cut in 1..=run.len() {
            let twice = [&run[..cut], &run[..]].concat();
            assert_eq!(parts(&answer(&twice)), once, "in rows, cut at {cut}");
            assert!(answer(&twice).is_complete);
            let thrice = [&run[..cut], &run[..cut / 2 + 1], &run[..]].concat();
            assert_eq!(parts(&answer(&thrice)), once, "in rows, twice, cut at {cut}");
        }
    }
}

#[test]
fn a_bare_stream_that_is_read_again_from_its_beginning_says_it_once() {
    let mut session = vec![
        json!({"type": "TEXT_MESSAGE_START", "messageId": "u", "role": "user"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "u", "delta": "Q"}),
        json!({"type": "TEXT_MESSAGE_END", "messageId": "u"}),
    ];
    session.extend(run("r"));
    for session in [session, generation()] {
        let said = |items: &[Value]| -> Vec<_> {
            folded(items).messages.iter().map(|message| (message.role, parts(message))).collect()
        };
        let once = said(&session);
        for cut in 1..=session.len() {
            let twice = [&session[..cut], &session[..]].concat();
            assert_eq!(said(&twice), once, "cut at {cut}");
        }
    }
}

#[test]
fn words_that_only_begin_like_others_are_not_lost() {
    let text =
        |delta: &str| json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": delta});
    let start = json!({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"});
    let chunks = [start.clone(), text("I "), text("see"), start, text("I "), text("go")];
    assert_eq!(parts(&answer(&chunks)), ["text:I seeI go"]);
    // The message of the AI SDK goes on after an approval, under the same id and in the same words at first.
    let begins = [
        json!({"type": "start", "messageId": "g"}),
        json!({"type": "start-step"}),
        json!({"type": "text-start", "id": "0"}),
        json!({"type": "text-delta", "id": "0", "delta": "I"}),
    ];
    let delta = |delta: &str| json!({"type": "text-delta", "id": "0", "delta": delta});
    let end = [json!({"type": "text-end", "id": "0"}), json!({"type": "finish"})];
    let first = [&begins[..], &[delta(" ask")], &end].concat();
    let chunks = [&first[..], &begins, &[delta(" did")], &end].concat();
    assert_eq!(parts(&answer(&chunks)), ["step", "text:I ask", "step", "text:I did"]);
}

#[test]
fn the_same_words_before_another_call_are_said_again() {
    let says = |kind: &str, words: &str| {
        let chunk =
            |what: &str| json!({"type": format!("{kind}_MESSAGE_{what}"), "messageId": "m"});
        let mut content = chunk("CONTENT");
        content["delta"] = json!(words);
        [chunk("START"), content, chunk("END")]
    };
    for begins in [vec![], vec![json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"})]] {
        for kind in ["TEXT", "REASONING"] {
            let mut chunks = begins.clone();
            for call in ["c1", "c2", "c3"] {
                chunks.extend(says(kind, "Let me see."));
                chunks.extend(started(call, "read", "{}"));
                chunks.push(result(call, "one"));
            }
            chunks.extend(says(kind, "Let me see."));
            chunks.push(json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}));
            let words =
                |chunks: &[Value]| parts(&answer(chunks)).concat().matches("Let me see.").count();
            assert_eq!(words(&chunks), 4, "{kind}, {} before", begins.len());
            // Said again from its beginning, it is said once.
            if begins.len() == 1 {
                assert_eq!(words(&[&chunks[..9], &chunks[..]].concat()), 4, "{kind}");
            }
        }
    }
}

#[test]
fn a_run_that_a_server_begins_is_no_repetition() {
    let mut items = assistant("a1", &run("r"));
    let first = i64::try_from(items.len()).expect("small");
    for (chunk, seq) in run("r").iter().zip(first..) {
        items.push(chunk_at("a1", "kermit", "assistant", seq, chunk, 9));
    }
    items[usize::try_from(first).expect("small")]["headers"]["run"] = json!({"id": "r2"});
    let message = &folded(&items).messages[0];
    let texts = message.parts.iter().filter(|part| matches!(part, Part::ToolCall(_))).count();
    assert_eq!(texts, 2);
}

#[test]
fn a_bare_run_that_goes_on_after_an_approval_settles_the_call_that_waited() {
    let mut items = vec![json!({"type": "RUN_STARTED", "runId": "r1"})];
    items.push(json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": "May I?"}));
    items.extend(started("c", "rm", "{\"p\":1}"));
    items.push(json!({"type": "RUN_FINISHED", "runId": "r1", "outcome": {"type": "interrupt", "interrupts": [
        {"id": "i", "reason": "approval_required", "toolCallId": "c"}]}}));
    assert_eq!(folded(&items).pending_approvals.len(), 1);
    items.push(json!({"type": "RUN_STARTED", "runId": "r2", "input": {"resume": [
        {"interruptId": "i", "status": "resolved", "payload": {"approved": true}}]}}));
    let answered = folded(&items);
    assert_eq!(answered.approvals[0].status, ApprovalStatus::Approved);
    assert!(answered.messages[0].is_complete);
    items.push(result("c", "gone"));
    let session = folded(&items);
    assert_eq!(calls(&session.messages[0]), ["c:rm:{\"p\":1}:done:\"gone\""]);
}
