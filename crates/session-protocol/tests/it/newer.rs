//! AI SDK 7 and AG-UI 1.0: what they added, and what their published readers make of the same chunks.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use session_protocol::{ApprovalStatus, FinishReason, Part, SubagentState, ToolState, materialize};

use crate::support::{answer, assistant, call, calls, chunk, folded, parts};

fn text(id: &str, delta: &str) -> [Value; 3] {
    [
        json!({"type": "text-start", "id": id}),
        json!({"type": "text-delta", "id": id, "delta": delta}),
        json!({"type": "text-end", "id": id}),
    ]
}

fn given(id: &str, input: &Value) -> Value {
    json!({"type": "tool-input-available", "toolCallId": id, "toolName": "t", "input": input})
}

/// A generation of the AI SDK by its chunks.
fn generation(chunks: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut all = vec![json!({"type": "start", "messageId": "g"}), json!({"type": "start-step"})];
    all.extend(chunks);
    all.extend([json!({"type": "finish-step"}), json!({"type": "finish"})]);
    all
}

/// What every new chunk of the AI SDK is laid beside its own reader with.
fn generations() -> Vec<Vec<Value>> {
    let source = json!({"type": "source", "sourceType": "url", "id": "s", "url": "https://e.x/a", "title": "A"});
    let mut cited = text("0", "It rains.").to_vec();
    cited[2]["citations"] =
        json!([{"source": source, "startIndex": 0, "endIndex": 9, "citedText": "rain"}]);
    cited.extend(text("0", "Again."));
    let steered = json!({"type": "steering-message", "id": "st", "parts": [{"type": "text", "text": "In French"},
        {"type": "file", "mediaType": "text/plain", "url": "https://e.x/f"}]});
    let others = vec![
        json!({"type": "custom", "kind": "openai.compaction"}),
        json!({"type": "reasoning-start", "id": "r"}),
        json!({"type": "reasoning-delta", "id": "r", "delta": "hm"}),
        json!({"type": "reasoning-end", "id": "r"}),
        json!({"type": "reasoning-file", "url": "https://e.x/r.png", "mediaType": "image/png"}),
        steered,
        json!({"type": "data-p", "id": "1", "data": 1}),
        json!({"type": "data-p", "id": "1", "data": 2}),
        json!({"type": "data-q", "data": 0, "transient": true}),
    ];
    let mut reset = text("0", "kept").to_vec();
    reset.extend([json!({"type": "finish-step"}), json!({"type": "start-step"})]);
    reset.extend(text("1", "taken back"));
    reset.extend([
        given("done", &json!({})),
        json!({"type": "tool-output-available", "toolCallId": "done", "output": 1}),
        json!({"type": "tool-input-start", "toolCallId": "half", "toolName": "t"}),
        json!({"type": "tool-input-delta", "toolCallId": "half", "inputTextDelta": "{\"a\""}),
        json!({"type": "reset-step"}),
        json!({"type": "tool-input-start", "toolCallId": "half", "toolName": "t"}),
        json!({"type": "tool-input-delta", "toolCallId": "half", "inputTextDelta": "{\"b\":1}"}),
        given("half", &json!({"b": 1})),
        json!({"type": "tool-output-available", "toolCallId": "half", "output": "one", "preliminary": true}),
        json!({"type": "tool-output-available", "toolCallId": "half", "output": "two", "preliminary": true}),
        json!({"type": "tool-output-available", "toolCallId": "half", "output": "three"}),
    ]);
    reset.extend(text("1", "said"));
    let tools = vec![
        json!({"type": "tool-input-start", "toolCallId": "x", "toolName": "run", "inputEncoding": "text",
            "title": "Run a script", "dynamic": true}),
        json!({"type": "tool-input-delta", "toolCallId": "x", "inputTextDelta": "echo "}),
        json!({"type": "tool-input-delta", "toolCallId": "x", "inputTextDelta": "1"}),
        json!({"type": "tool-input-available", "toolCallId": "x", "toolName": "run", "input": "echo 1", "dynamic": true}),
        json!({"type": "tool-output-error", "toolCallId": "x", "errorText": "no shell"}),
        json!({"type": "tool-input-error", "toolCallId": "y", "toolName": "t", "input": {"z": 1}, "errorText": "bad"}),
        given("z", &json!({"p": 1})),
        json!({"type": "tool-approval-request", "toolCallId": "z", "approvalId": "ap", "reason": "It deletes"}),
        json!({"type": "tool-approval-response", "approvalId": "ap", "approved": false, "reason": "no"}),
        json!({"type": "tool-output-denied", "toolCallId": "z"}),
    ];
    let steps = vec![
        given("0", &json!({"c": 1})),
        json!({"type": "tool-output-available", "toolCallId": "0", "output": "a"}),
        json!({"type": "finish-step"}),
        json!({"type": "start-step"}),
        given("0", &json!({"c": 1})),
        json!({"type": "tool-output-available", "toolCallId": "0", "output": "b"}),
    ];
    // Merged streams: the step of one ends while the text of the other goes on.
    let merged = vec![
        json!({"type": "text-start", "id": "m"}),
        json!({"type": "text-delta", "id": "m", "delta": "one "}),
        json!({"type": "finish-step"}),
        json!({"type": "start-step"}),
        json!({"type": "text-delta", "id": "m", "delta": "two"}),
        json!({"type": "text-end", "id": "m"}),
    ];
    [cited, others, reset, tools, steps, merged].into_iter().map(generation).collect()
}

/// A run of AG-UI by its events.
fn run(events: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut all = vec![json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"})];
    all.extend(events);
    all.push(json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}));
    all
}

fn said(id: &str, delta: &str, subagent: Option<&str>) -> Vec<Value> {
    let mut events = vec![
        json!({"type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta}),
        json!({"type": "TEXT_MESSAGE_END", "messageId": id}),
    ];
    if let Some(subagent) = subagent {
        events.iter_mut().for_each(|event| event["subagentRunId"] = subagent.into());
    }
    events
}

fn delegated() -> Vec<Value> {
    let of = |mut event: Value, id: &str| {
        event["subagentRunId"] = id.into();
        event
    };
    let mut events = said("m1", "I ask two.", None);
    events.extend([
        json!({"type": "TOOL_CALL_START", "toolCallId": "task", "toolCallName": "delegate", "parentMessageId": "m1"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "task", "delta": "{}"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "task"}),
        json!({"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "reader", "parentToolCallId": "task"}),
        json!({"type": "SUBAGENT_STARTED", "subagentRunId": "s2", "name": "writer", "parentSubagentRunId": "s1"}),
        of(json!({"type": "TEXT_MESSAGE_START", "messageId": "x1", "role": "assistant"}), "s1"),
        of(json!({"type": "TEXT_MESSAGE_START", "messageId": "x2", "role": "assistant"}), "s2"),
        of(json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x1", "delta": "read"}), "s1"),
        of(json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x2", "delta": "wri"}), "s2"),
        of(json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x1", "delta": "ing"}), "s1"),
        of(json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x2", "delta": "ting"}), "s2"),
        of(json!({"type": "TEXT_MESSAGE_END", "messageId": "x1"}), "s1"),
        of(json!({"type": "TEXT_MESSAGE_END", "messageId": "x2"}), "s2"),
        of(json!({"type": "REASONING_MESSAGE_START", "messageId": "y", "role": "reasoning"}), "s1"),
        of(json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": "y", "delta": "hm"}), "s1"),
        of(json!({"type": "REASONING_MESSAGE_END", "messageId": "y"}), "s1"),
        of(json!({"type": "TOOL_CALL_START", "toolCallId": "inner", "toolCallName": "grep"}), "s1"),
        of(json!({"type": "TOOL_CALL_ARGS", "toolCallId": "inner", "delta": "{\"q\":1}"}), "s1"),
        of(json!({"type": "TOOL_CALL_END", "toolCallId": "inner"}), "s1"),
        of(json!({"type": "TOOL_CALL_RESULT", "toolCallId": "inner", "messageId": "ti", "content": "found"}), "s1"),
        json!({"type": "SUBAGENT_FINISHED", "subagentRunId": "s1", "result": {"ok": true}}),
        json!({"type": "SUBAGENT_ERROR", "subagentRunId": "s2", "message": "no pen"}),
        json!({"type": "TOOL_CALL_RESULT", "toolCallId": "task", "messageId": "tt", "content": "done"}),
    ]);
    events.extend(said("m2", "Both are back.", None));
    run(events)
}

fn cards() -> Vec<Value> {
    let card = |content: Value, replace: bool| json!({"type": "ACTIVITY_SNAPSHOT", "messageId": "plan", "activityType": "PLAN", "content": content, "replace": replace});
    let change = |patch: Value| json!({"type": "ACTIVITY_DELTA", "messageId": "plan", "activityType": "PLAN", "patch": patch});
    let mut events = said("m1", "A plan:", None);
    events.extend([
        card(json!({"steps": ["a"]}), true),
        card(json!({"steps": ["not this"]}), false),
        change(json!([{"op": "add", "path": "/steps/-", "value": "b"}, {"op": "replace", "path": "/steps/0", "value": "A"}])),
        change(json!([{"op": "replace", "path": "/nowhere/0", "value": "lost"}])),
        json!({"type": "ACTIVITY_DELTA", "messageId": "other", "activityType": "X", "patch": []}),
        json!({"type": "ACTIVITY_SNAPSHOT", "messageId": "found", "activityType": "SEARCH", "content": {"hits": 2}}),
        json!({"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m1", "role": "assistant", "content": "A plan:"}]}),
        json!({"type": "RAW", "event": {"a": 1}}),
    ]);
    run(events)
}

fn pieces() -> Vec<Value> {
    run([
        json!({"type": "REASONING_MESSAGE_CHUNK", "messageId": "r", "delta": "h"}),
        json!({"type": "REASONING_MESSAGE_CHUNK", "delta": "m"}),
        json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "role": "assistant", "delta": "one "}),
        json!({"type": "TEXT_MESSAGE_CHUNK", "delta": "two"}),
        json!({"type": "TOOL_CALL_CHUNK", "toolCallId": "c", "toolCallName": "t", "parentMessageId": "m", "delta": "{\"a\":"}),
        json!({"type": "TOOL_CALL_CHUNK", "delta": "1}"}),
        json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c", "messageId": "tc", "content": "ok"}),
    ])
}

/// What is written in the words of the AI SDK, in short.
fn sdk_part(part: &Value) -> Value {
    let kind = part["type"].as_str().unwrap_or_default();
    match kind {
        "text" => json!([
            "text",
            part["text"],
            part["citations"].as_array().map(Vec::len).unwrap_or_default()
        ]),
        "reasoning" => json!([kind, part["text"]]),
        "file" | "reasoning-file" => json!([kind, part["url"]]),
        "custom" => json!([kind, part["kind"]]),
        "steering-message" => match part.get("parts") {
            Some(parts) => json!([kind, parts[0]["text"], parts[1]["url"]]),
            None => json!([kind, part["text"], part["files"][0]["url"]]),
        },
        "step-start" => json!([kind]),
        _ if kind.starts_with("data-") => json!([kind, part["data"]]),
        _ => {
            let (name, id) = match kind {
                "tool-call" => (part["name"].clone(), part["id"].clone()),
                "dynamic-tool" => (part["toolName"].clone(), part["toolCallId"].clone()),
                _ => (kind.trim_start_matches("tool-").into(), part["toolCallId"].clone()),
            };
            let error =
                part.get("errorText").or_else(|| part.get("error")).cloned().unwrap_or_default();
            json!([
                "tool",
                id,
                name,
                part["input"],
                part["output"],
                error,
                part["title"],
                part["approval"]["id"]
            ])
        }
    }
}

/// What is kept by AG-UI's own reader: words, thoughts, cards and calls by their writer.
fn agui_theirs(messages: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let results = |id: &Value| {
        let mut all = messages.as_array().into_iter().flatten();
        let found = all.rfind(|m| m["role"] == "tool" && m["toolCallId"] == *id);
        found.map(|found| found["content"].clone()).unwrap_or_default()
    };
    for message in messages.as_array().into_iter().flatten() {
        let by = message["subagentRunId"].clone();
        match message["role"].as_str().unwrap_or_default() {
            "assistant" => {
                if message["content"].as_str().is_some_and(|content| !content.is_empty()) {
                    all.push(json!(["text", by, message["content"]]));
                }
                for call in message["toolCalls"].as_array().into_iter().flatten() {
                    let function = &call["function"];
                    let result = results(&call["id"]);
                    all.push(json!(["tool", by, function["name"], function["arguments"], result]));
                }
            }
            "reasoning" => all.push(json!(["reasoning", by, message["content"]])),
            "activity" => {
                all.push(json!(["activity", by, message["activityType"], message["content"]]))
            }
            _ => {}
        }
    }
    all.sort_by_key(Value::to_string);
    all
}

fn agui_ours(events: &[Value]) -> Vec<Value> {
    let session = materialize(events);
    let parts = session.messages.iter().flat_map(|message| &message.parts);
    let mut all: Vec<Value> = parts
        .filter_map(|part| {
            let by = part.subagent();
            Some(match part {
                Part::Text { text, .. } => json!(["text", by, text]),
                Part::Reasoning { text, .. } => json!(["reasoning", by, text]),
                Part::ToolCall(call) => json!(["tool", by, call.name, call.arguments, call.output]),
                Part::Activity(card) => json!(["activity", by, card.kind, card.content]),
                _ => return None,
            })
        })
        .collect();
    all.sort_by_key(Value::to_string);
    all
}

/// The readers of the published packages, run by Node; `None` where the repository's tests/interop is not.
fn theirs(asked: &Value) -> Option<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop");
    if !folder.join("dialects.mjs").exists() {
        eprintln!(
            "skipped: the npm readers are run by the repository's tests/interop, which is not here"
        );
        return None;
    }
    let installed = folder.join("node_modules/@ag-ui/client").exists();
    assert!(installed, "the npm readers are not installed: run `npm ci` in tests/interop");
    let mut node = Command::new("node")
        .arg("dialects.mjs")
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Node.js is installed");
    let mut stdin = node.stdin.take().expect("piped");
    stdin.write_all(asked.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = node.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the npm readers read it");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn the_published_readers_make_the_same_of_it() {
    let (sdk, agui) = (generations(), [delegated(), cards(), pieces()]);
    let usage = json!([{"model": "a", "inputTokens": 3, "outputTokens": 4}, {"model": "b", "inputTokens": 5}]);
    let Some(theirs) = theirs(&json!({"aiSdk": sdk, "agUi": agui, "usage": [usage]})) else {
        return;
    };
    for (chunks, right) in sdk.iter().zip(theirs["aiSdk"].as_array().expect("a list")) {
        let ours = serde_json::to_value(materialize(chunks)).expect("serialises");
        let parts = |parts: &Value| -> Vec<Value> {
            parts.as_array().into_iter().flatten().map(sdk_part).collect()
        };
        assert_eq!(parts(&ours["messages"][0]["parts"]), parts(right));
        assert_eq!(ours["messages"].as_array().map(Vec::len), Some(1));
    }
    for (events, right) in agui.iter().zip(theirs["agUi"].as_array().expect("a list")) {
        assert_eq!(agui_ours(events), agui_theirs(&right["messages"]));
    }
    let finished = json!({"type": "RUN_FINISHED", "usage": usage});
    let stats = folded(&assistant("a", &[finished])).session_stats;
    let sums: Vec<u64> = ["inputTokens", "outputTokens"]
        .iter()
        .map(|name| {
            theirs["usage"][0]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one[*name].as_u64())
                .sum()
        })
        .collect();
    assert_eq!([stats.prompt_tokens, stats.completion_tokens], sums[..]);
}

#[test]
fn a_step_that_is_taken_back_leaves_nothing_also_in_rows() {
    let ask = json!({"type": "tool-approval-request", "toolCallId": "c", "approvalId": "ap"});
    let mut chunks = vec![
        json!({"type": "start-step"}),
        given("c", &json!({"a": 1})),
        ask.clone(),
        json!({"type": "reset-step"}),
    ];
    let session = folded(&assistant("a", &chunks));
    assert_eq!(parts(&session.messages[0]), ["step"]);
    assert!(session.pending_approvals.is_empty() && session.approvals.is_empty());
    assert_eq!(session.session_stats.tool_call_count, 0);
    chunks.extend([given("c", &json!({"a": 2})), ask]);
    chunks.extend(text("0", "May I?"));
    let session = folded(&assistant("a", &chunks));
    assert_eq!(calls(&session.messages[0]), ["c:t:{\"a\":2}:waiting:null"]);
    assert_eq!(session.pending_approvals.len(), 1);
    // Without a step it is the whole message.
    let mut chunks = text("0", "gone").to_vec();
    chunks.push(json!({"type": "reset-step"}));
    chunks.extend(text("0", "said"));
    assert_eq!(parts(&answer(&chunks)), ["text:said"]);
}

#[test]
fn a_first_output_is_shown_and_the_call_goes_on() {
    let mut chunks = vec![given("c", &json!({}))];
    chunks.push(json!({"type": "tool-output-available", "toolCallId": "c", "output": 10, "preliminary": true}));
    let message = answer(&chunks);
    let shown = call(&message, "c");
    assert_eq!(
        (shown.state, &shown.output, shown.preliminary),
        (ToolState::Ready, &Some(json!(10)), true)
    );
    chunks.push(json!({"type": "tool-output-available", "toolCallId": "c", "output": 100}));
    // One that comes late changes nothing.
    chunks.push(json!({"type": "tool-output-available", "toolCallId": "c", "output": 50, "preliminary": true}));
    let message = answer(&chunks);
    let shown = call(&message, "c");
    assert_eq!(
        (shown.state, &shown.output, shown.preliminary),
        (ToolState::Done, &Some(json!(100)), false)
    );
}

#[test]
fn what_a_rule_decides_is_asked_of_nobody() {
    let chunks = [
        given("c", &json!({})),
        json!({"type": "tool-approval-request", "toolCallId": "c", "approvalId": "ap", "isAutomatic": true}),
        json!({"type": "tool-approval-response", "approvalId": "ap", "approved": true}),
        json!({"type": "tool-output-available", "toolCallId": "c", "output": 1}),
    ];
    for session in [folded(&assistant("a", &chunks)), folded(&chunks)] {
        assert!(session.approvals.is_empty());
        assert_eq!(parts(&session.messages[0]), ["tool:c:done"]);
    }
}

#[test]
fn an_answer_inside_the_stream_resolves_its_request_when_a_person_wrote_it() {
    let asks = [
        given("c", &json!({})),
        json!({"type": "tool-approval-request", "toolCallId": "c", "approvalId": "ap", "reason": "It deletes"}),
    ];
    let response = json!({"type": "tool-approval-response", "approvalId": "ap", "approved": true, "reason": "ok"});
    let bare = folded(&[&asks[..], std::slice::from_ref(&response)].concat());
    assert_eq!(bare.approvals[0].status, ApprovalStatus::Approved);
    let mut rows = assistant("a", &asks);
    rows.push(chunk("a", "kermit", "assistant", 2, &response));
    let session = folded(&rows);
    assert_eq!(
        session.approvals[0].status,
        ApprovalStatus::Pending,
        "an agent does not answer itself"
    );
    assert_eq!(session.messages[0].refused, 1);
    rows[2] = chunk("a", "ann", "user", 2, &response);
    let session = folded(&rows);
    assert_eq!(session.approvals[0].responded_by.as_deref(), Some("ann"));
    let Part::ToolCall(call) = &session.messages[0].parts[0] else { panic!("a call") };
    assert_eq!(call.approval.as_ref().and_then(|a| a.reason.as_deref()), Some("It deletes"));
}

#[test]
fn a_second_start_with_another_id_begins_the_message_anew() {
    let mut chunks = vec![json!({"type": "start", "messageId": "g1"})];
    chunks.extend(text("0", "draft"));
    chunks.push(json!({"type": "start", "messageId": "g2"}));
    chunks.extend(text("0", "final"));
    chunks.push(json!({"type": "finish", "finishReason": "interrupted"}));
    for session in [folded(&chunks), folded(&assistant("a", &chunks))] {
        assert_eq!(session.messages.len(), 1);
        assert_eq!(parts(&session.messages[0]), ["text:final"]);
        assert_eq!(session.messages[0].finish_reason, Some(FinishReason::Interrupted));
        assert!(session.active_generations.is_empty());
    }
}

#[test]
fn a_subagents_work_is_its_own_in_rows_and_in_a_bare_stream() {
    let events = delegated();
    for session in [folded(&events), folded(&assistant("a", &events))] {
        let all: Vec<&Part> = session.messages.iter().flat_map(|message| &message.parts).collect();
        let by = |id: Option<&str>| -> Vec<String> {
            let own = all
                .iter()
                .filter(|part| part.subagent() == id && !matches!(part, Part::Subagent(_)));
            own.filter_map(|part| match part {
                Part::Text { text, .. } => Some(text.clone()),
                Part::ToolCall(call) => Some(call.name.clone()),
                _ => None,
            })
            .collect()
        };
        assert_eq!(by(None), ["I ask two.", "delegate", "Both are back."]);
        assert_eq!(by(Some("s1")), ["reading", "grep"]);
        assert_eq!(by(Some("s2")), ["writing"]);
        let groups: Vec<_> = all
            .iter()
            .filter_map(|part| match part {
                Part::Subagent(one) => Some((
                    one.name.as_str(),
                    one.state,
                    one.tool_call_id.as_deref(),
                    one.parent.as_deref(),
                )),
                _ => None,
            })
            .collect();
        let right = [
            ("reader", SubagentState::Done, Some("task"), None),
            ("writer", SubagentState::Failed, None, Some("s1")),
        ];
        assert_eq!(groups, right);
        let own = session
            .messages
            .iter()
            .map(session_protocol::Message::plain_text)
            .collect::<Vec<_>>()
            .join("\n\n");
        assert_eq!(own, "I ask two.\n\nBoth are back.");
        assert!(session.messages.iter().all(|message| message.is_complete));
    }
}

#[test]
fn words_without_an_id_do_not_join_those_of_a_subagent() {
    let events = [
        json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "parent "}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "child ", "subagentRunId": "s"}),
        json!({"type": "REASONING_MESSAGE_CONTENT", "delta": "P"}),
        json!({"type": "REASONING_MESSAGE_CONTENT", "delta": "C", "subagentRunId": "s"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "more", "subagentRunId": "s"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "named ", "subagentRunId": "s"}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "parent"}),
    ];
    let message = answer(&events);
    for part in &message.parts {
        let said = serde_json::to_string(part).expect("JSON");
        assert!(!(said.contains("parent") && said.contains("child")), "{said}");
        assert_eq!(
            said.contains("parent") || said.contains("\"P\""),
            part.subagent().is_none(),
            "{said}"
        );
    }
}

#[test]
fn a_card_is_bounded_however_it_is_patched() {
    let mut events = vec![
        json!({"type": "ACTIVITY_SNAPSHOT", "messageId": "p", "activityType": "X", "content": {"a": ["x"]}}),
    ];
    let twice = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    let patch = vec![twice; 60];
    events.push(
        json!({"type": "ACTIVITY_DELTA", "messageId": "p", "activityType": "X", "patch": patch}),
    );
    assert_eq!(parts(&answer(&events)), ["card:X:{\"a\":[\"x\"]}"]);
}

#[test]
fn an_interrupt_about_no_call_is_a_question_that_waits() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let finished = json!({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [
        {"id": "q1", "reason": "input_required", "message": "Which city?", "responseSchema": schema},
        {"id": "q2", "reason": "confirmation", "expiresAt": "2020-01-01T00:00:00Z"}]}});
    let bare = [json!({"type": "RUN_STARTED", "runId": "r"}), finished.clone()];
    assert_eq!(folded(&bare).messages.len(), 1, "a question that nothing came before");
    let mut items = assistant("a", &[json!({"type": "RUN_STARTED"}), finished]);
    let session = folded(&items);
    let pending: Vec<&str> = session.pending_approvals.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(pending, ["q1"], "what has expired is withdrawn");
    assert_eq!(session.pending_approvals[0].question.as_deref(), Some("Which city?"));
    assert_eq!(session.pending_approvals[0].tool_call_id, "");
    assert_eq!(parts(&session.messages[0]), ["question:q1:None", "question:q2:None"]);
    assert!(session.messages[0].is_complete);
    assert_eq!(session.session_stats.tool_call_count, 0);
    let Part::Question(question) = &session.messages[0].parts[0] else { panic!("a question") };
    assert_eq!(question.response_schema, Some(schema));
    let response = json!({"type": "approval-response", "approvalId": "q1", "approved": true, "payload": {"city": "Oslo"}});
    items.push(chunk("r", "ann", "user", 0, &response));
    let session = folded(&items);
    assert!(session.pending_approvals.is_empty());
    let Part::Question(question) = &session.messages[0].parts[0] else { panic!("a question") };
    assert_eq!(question.answer, Some(json!({"city": "Oslo"})));
    assert_eq!(parts(&session.messages[0])[0], "question:q1:Some(true)");
}

#[test]
fn a_run_that_was_cancelled_was_stopped() {
    let message = answer(&[
        json!({"type": "RUN_STARTED"}),
        json!({"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}),
    ]);
    assert!(message.is_complete && message.stopped.is_some());
}

#[test]
fn what_a_run_is_told_is_said_once() {
    let told = json!([{"id": "u", "role": "user", "content": "Q"}, {"id": "a0", "role": "assistant", "content": "?"}]);
    let begin = json!({"type": "RUN_STARTED", "runId": "r", "input": {"messages": told}});
    let mut items = vec![begin];
    items.extend(said("m", "A", None));
    let session = folded(&items);
    let all: Vec<_> = session.messages.iter().map(|message| parts(message).join(",")).collect();
    assert_eq!(all, ["text:Q", "text:A"]);
}
