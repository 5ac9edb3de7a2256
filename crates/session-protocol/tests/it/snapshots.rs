//! Snapshots in the middle of an answer: what they do not carry stays.

use serde_json::{Value, json};
use session_protocol::{ApprovalStatus, Part, Role, ToolState};

use crate::support::{answer, assistant, calls, chunk, folded, parts, said};

fn thought(id: &str, delta: &str) -> Value {
    json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": id, "delta": delta})
}

fn text(id: &str, delta: &str) -> Value {
    json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta})
}

fn started(id: &str, arguments: &str) -> [Value; 3] {
    [
        json!({"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "t"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": arguments}),
        json!({"type": "TOOL_CALL_END", "toolCallId": id}),
    ]
}

fn result(id: &str, content: &str) -> Value {
    json!({"type": "TOOL_CALL_RESULT", "toolCallId": id, "content": content})
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "t", "arguments": arguments}})
}

fn says(id: &str, content: &str) -> Value {
    json!({"id": id, "role": "assistant", "content": content})
}

fn calling(id: &str, content: &str, calls: &[Value]) -> Value {
    json!({"id": id, "role": "assistant", "content": content, "toolCalls": calls})
}

fn tool(call: &str, content: &str) -> Value {
    json!({"id": format!("t-{call}"), "role": "tool", "toolCallId": call, "content": content})
}

fn snapshot(messages: &[Value]) -> Value {
    let mut all = vec![json!({"id": "u", "role": "user", "content": "Q"})];
    all.extend_from_slice(messages);
    json!({"type": "MESSAGES_SNAPSHOT", "messages": all})
}

/// An answer of every kind: a thought, a text, a call, a thought, and a text.
fn streamed() -> Vec<Value> {
    let mut chunks =
        vec![json!({"type": "RUN_STARTED", "runId": "r"}), thought("th", "hm"), text("m1", "Look")];
    chunks.extend(started("c1", "{\"a\":1}"));
    chunks.push(result("c1", "4"));
    chunks.extend([thought("th2", "so"), text("m2", "It is 4")]);
    chunks
}

const STREAMED: [&str; 5] = ["think:hm", "text:Look", "tool:c1:done", "think:so", "text:It is 4"];

#[test]
fn a_snapshot_without_thoughts_keeps_them_in_their_places() {
    let mut chunks = streamed();
    chunks.push(snapshot(&[
        calling("m1", "Look", &[call("c1", "{\"a\":1}")]),
        tool("c1", "4"),
        says("m2", "It is 4"),
    ]));
    chunks.push(text("m2", "."));
    chunks.push(json!({"type": "RUN_FINISHED", "runId": "r"}));
    let message = answer(&chunks);
    assert_eq!(
        parts(&message),
        ["think:hm", "text:Look", "tool:c1:done", "think:so", "text:It is 4."]
    );
    assert!(message.is_complete);
}

#[test]
fn a_snapshot_under_other_ids_doubles_nothing() {
    let mut chunks = streamed();
    chunks.push(snapshot(&[
        json!({"id": "r-9", "role": "reasoning", "content": "hm"}),
        calling("x-1", "Look", &[call("c1", "{\"a\": 1}")]),
        tool("c1", "4"),
        json!({"id": "r-10", "role": "reasoning", "content": "so, in other words"}),
        says("x-2", "It is 4"),
    ]));
    let mut all = STREAMED;
    all[3] = "think:so, in other words";
    assert_eq!(parts(&answer(&chunks)), all);
}

#[test]
fn a_snapshot_with_fewer_or_other_orders_keeps_what_was_seen() {
    let one = calling("m1", "Look", &[call("c1", "{\"a\":1}")]);
    for messages in [
        vec![one.clone(), tool("c1", "4")],
        vec![says("m1", "Look"), says("m2", "It is 4")],
        vec![calling("m1", "", &[call("c1", "{\"a\":1}")]), tool("c1", "4"), says("m2", "It")],
        vec![says("m2", "It is 4"), one, tool("c1", "4")],
        vec![says("m1", "Look"), tool("c1", "4"), says("m2", "It is 4")],
        vec![calling("m2", "It is 4", &[call("c1", "{\"a\":1}")]), tool("c1", "4")],
    ] {
        let mut chunks = streamed();
        chunks.push(snapshot(&messages));
        assert_eq!(parts(&answer(&chunks)), STREAMED, "{messages:?}");
    }
}

#[test]
fn a_text_around_a_call_is_one_text_in_a_snapshot_and_stays_around_it() {
    let mut chunks = vec![text("m", "Look. ")];
    chunks.extend(started("c", "{}"));
    chunks.push(result("c", "4"));
    chunks.push(text("m", "It is 4"));
    for id in ["m", "other"] {
        let mut chunks = chunks.clone();
        chunks.push(snapshot(&[calling(id, "Look. It is 4", &[call("c", "{}")]), tool("c", "4")]));
        assert_eq!(parts(&answer(&chunks)), ["text:Look. ", "tool:c:done", "text:It is 4"], "{id}");
    }
}

#[test]
fn what_is_new_in_a_snapshot_stands_where_it_stands_there() {
    let chunks = [
        text("m1", "One"),
        text("m3", "Three"),
        snapshot(&[
            says("m0", "Zero"),
            says("m1", "One"),
            says("m2", "Two"),
            says("m3", "Three"),
            says("m4", "Four"),
        ]),
        text("m4", "!"),
    ];
    assert_eq!(
        parts(&answer(&chunks)),
        ["text:Zero", "text:One", "text:Two", "text:Three", "text:Four!"]
    );
}

#[test]
fn a_text_that_a_snapshot_says_otherwise_is_as_it_says() {
    let chunks = [text("m1", "Draft"), thought("t", "hm"), snapshot(&[says("m1", "Final")])];
    assert_eq!(parts(&answer(&chunks)), ["text:Final", "think:hm"]);
    let longer = [text("m1", "Dra"), snapshot(&[says("m1", "Draft")]), text("m1", "s")];
    assert_eq!(parts(&answer(&longer)), ["text:Drafts"]);
    // What only a snapshot said, the next one may take back.
    let back = [
        text("m1", "Own"),
        snapshot(&[says("m0", "Other"), says("m1", "Own")]),
        snapshot(&[says("m1", "Own")]),
    ];
    assert_eq!(parts(&answer(&back)), ["text:Own"]);
}

#[test]
fn a_request_waits_on_over_a_snapshot_and_an_answer_stands() {
    let ask = json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": "c1", "toolName": "t",
        "input": {"a": 1}, "approval": {"id": "ap", "needsApproval": true}}});
    for messages in [
        vec![calling("m1", "May I?", &[call("c1", "{\"a\":1}")])],
        vec![says("m1", "May I?")],
        vec![says("x", "May I?")],
        vec![calling("m1", "May I?", &[call("c1", "{ \"a\": 1 }")])],
    ] {
        let mut chunks = vec![text("m1", "May I?")];
        chunks.extend(started("c1", "{\"a\":1}"));
        chunks.extend([ask.clone(), snapshot(&messages)]);
        let mut items = assistant("a1", &chunks);
        let session = folded(&items);
        assert_eq!(session.pending_approvals.len(), 1, "{messages:?}");
        assert_eq!(session.pending_approvals[0].input, Some(json!({"a": 1})));
        assert_eq!(parts(&session.messages[0]), ["text:May I?", "tool:c1:waiting"]);
        let response = json!({"type": "approval-response", "approvalId": "ap", "approved": true});
        items.push(chunk("a1", "ann", "user", 6, &response));
        items.push(chunk("a1", "kermit", "assistant", 7, &snapshot(&messages)));
        let session = folded(&items);
        assert_eq!(session.approvals[0].status, ApprovalStatus::Approved);
        assert_eq!(session.approvals[0].responded_by.as_deref(), Some("ann"));
        assert_eq!(session.tool_calls[0].call.state, ToolState::Answered);
    }
}

#[test]
fn a_used_call_id_is_two_calls_in_a_snapshot_too() {
    let mut chunks = started("c", "{\"a\":1}").to_vec();
    chunks.push(result("c", "1"));
    chunks.extend(started("c", "{\"a\":2}"));
    chunks.push(json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": "c", "toolName": "t",
        "input": {"a": 2}, "approval": {"id": "ap"}}}));
    let all = ["c:t:{\"a\":1}:done:1", "c:t:{\"a\":2}:waiting:null"];
    for messages in [
        vec![
            calling("m", "", &[call("c", "{\"a\":1}")]),
            tool("c", "1"),
            calling("n", "", &[call("c", "{\"a\":2}")]),
        ],
        vec![calling("m", "", &[call("c", "{\"a\":1}")]), tool("c", "1")],
    ] {
        let mut chunks = chunks.clone();
        chunks.push(snapshot(&messages));
        let session = folded(&assistant("a1", &chunks));
        assert_eq!(calls(&session.messages[0]), all, "{messages:?}");
        assert_eq!(session.pending_approvals.len(), 1);
    }
}

#[test]
fn a_whole_message_in_the_middle_of_an_answer_is_a_snapshot_of_it() {
    let whole = |parts: Value| json!({"type": "whole-message", "message": {"id": "a1", "role": "assistant", "parts": parts}});
    let mut chunks = vec![thought("th", "hm"), text("m", "Hel")];
    chunks.push(whole(json!([{"type": "text", "content": "Hello"}])));
    let message = answer(&chunks);
    assert_eq!(parts(&message), ["think:hm", "text:Hello"]);
    assert!(message.is_complete);
    let mut chunks = streamed();
    chunks.push(whole(json!([{"type": "text", "text": "Look"}, {"type": "tool-t", "toolCallId": "c1",
        "state": "output-available", "input": {"a": 1}, "output": 4}, {"type": "text", "text": "It is 4"}])));
    assert_eq!(parts(&answer(&chunks)), STREAMED);
}

#[test]
fn a_snapshot_of_an_applications_state_changes_no_message() {
    let mut chunks = streamed();
    chunks.push(json!({"type": "STATE_SNAPSHOT", "snapshot": {"messages": []}}));
    assert_eq!(parts(&answer(&chunks)), STREAMED);
}

#[test]
fn a_snapshot_that_says_what_is_there_does_not_open_what_has_ended() {
    let mut chunks = streamed();
    chunks.push(json!({"type": "RUN_FINISHED", "runId": "r", "finishReason": "stop"}));
    chunks.push(snapshot(&[
        calling("m1", "Look", &[call("c1", "{\"a\":1}")]),
        tool("c1", "4"),
        says("m2", "It is 4"),
    ]));
    let message = answer(&chunks);
    assert!(message.is_complete && message.finish_reason.is_some());
}

fn bare(messages: &[Value]) -> Vec<(String, Vec<String>)> {
    let session = folded(messages);
    session.messages.iter().map(|message| (message.id.clone(), parts(message))).collect()
}

#[test]
fn a_bare_session_keeps_thoughts_requests_and_places_over_a_snapshot() {
    let mut items = vec![json!({"type": "RUN_STARTED", "runId": "r"})];
    items.push(json!({"type": "TEXT_MESSAGE_START", "messageId": "a", "role": "assistant"}));
    items.extend([thought("th", "hm"), text("a", "May I?")]);
    items.extend(started("c", "{\"a\":1}"));
    items.push(json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": "c", "toolName": "t",
        "input": {"a": 1}, "approval": {"id": "ap"}}}));
    items.push(snapshot(&[calling("a", "May I?", &[call("c", "{\"a\":1}")])]));
    items.push(json!({"type": "RUN_FINISHED", "runId": "r"}));
    let session = folded(&items);
    assert_eq!(
        session.messages[0].id, "u",
        "a question that only the snapshot knows stands before the answer"
    );
    assert_eq!(session.messages[0].role, Role::User);
    assert_eq!(parts(&session.messages[1]), ["think:hm", "text:May I?", "tool:c:waiting"]);
    assert!(session.messages[1].is_complete);
    assert_eq!(session.pending_approvals.len(), 1);
}

#[test]
fn a_bare_session_has_the_messages_of_its_snapshot_and_those_that_it_cannot_carry() {
    let mut items = vec![
        json!({"type": "TEXT_MESSAGE_START", "messageId": "u", "role": "user"}),
        text("u", "Q"),
        json!({"type": "TEXT_MESSAGE_END", "messageId": "u"}),
        json!({"type": "RUN_STARTED", "runId": "r0"}),
        thought("t0", "only a thought"),
        json!({"type": "RUN_FINISHED", "runId": "r0"}),
        json!({"type": "RUN_STARTED", "runId": "r1"}),
        text("old", "taken back"),
        json!({"type": "RUN_FINISHED", "runId": "r1"}),
        json!({"type": "RUN_STARTED", "runId": "r2"}),
        json!({"type": "TEXT_MESSAGE_START", "messageId": "new", "role": "assistant"}),
        text("new", "being sa"),
    ];
    items.push(snapshot(&[says("mid", "between")]));
    items.push(text("new", "id"));
    items.push(json!({"type": "RUN_FINISHED", "runId": "r2"}));
    let said: Vec<Vec<String>> = bare(&items).into_iter().map(|(_, parts)| parts).collect();
    assert_eq!(said, [["text:Q"], ["think:only a thought"], ["text:being said"], ["text:between"]]);
    assert!(folded(&items).messages.iter().all(|message| message.is_complete));
}

#[test]
fn a_snapshot_in_an_order_of_its_own_moves_no_message() {
    let mut items = Vec::new();
    for id in ["u", "v"] {
        items.push(json!({"type": "TEXT_MESSAGE_START", "messageId": id, "role": "user"}));
        items.push(text(id, id));
        items.push(json!({"type": "TEXT_MESSAGE_END", "messageId": id}));
    }
    let messages = json!([{"id": "v", "role": "user", "content": "v"}, {"id": "u", "role": "user", "content": "u, said anew"}]);
    items.push(json!({"type": "MESSAGES_SNAPSHOT", "messages": messages}));
    assert_eq!(
        bare(&items),
        [
            ("u".to_owned(), vec!["text:u, said anew".to_owned()]),
            ("v".to_owned(), vec!["text:v".to_owned()])
        ]
    );
}

#[test]
fn many_small_snapshots_of_a_long_answer_cost_in_proportion_to_what_was_said() {
    let long = "x".repeat(1 << 16);
    let mut chunks = vec![text("m", &long)];
    for n in 0..2000 {
        chunks.push(snapshot(&[says("m", &format!("x{n}"))]));
    }
    let started = std::time::Instant::now();
    let message = answer(&chunks);
    assert!(matches!(message.parts.first(), Some(Part::Text { .. })));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn only_the_turn_of_the_message_is_laid_over_it() {
    let earlier = json!({"type": "MESSAGES_SNAPSHOT", "messages": [
        {"id": "u0", "role": "user", "content": "before"}, {"id": "a0", "role": "assistant", "content": "earlier"},
        {"id": "u", "role": "user", "content": "Q"}, {"id": "m1", "role": "assistant", "content": "Now"}]});
    let mut items = vec![said("u", "Q")];
    items.extend(assistant("a1", &[text("m1", "Now"), earlier]));
    let session = folded(&items);
    assert_eq!(parts(&session.messages[1]), ["text:Now"]);
}
