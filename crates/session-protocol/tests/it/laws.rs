//! The laws, on random logs in mixed dialects.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use session_protocol::{Message, MessageLoader, Part, SessionFold, StoredMessage, Texts, decode};

use crate::agree::{by_server, meaning};
use crate::support::{Replica, Store, chunk_at, row, timeless};

const MESSAGES: [&str; 4] = ["a", "b", "x:y", "u"];

fn word() -> impl Strategy<Value = &'static str> {
    select(vec!["a", " b", "\n", "naïve ", "🙂", "{\"k\":", "1}", ""])
}

fn call_id() -> impl Strategy<Value = &'static str> {
    select(vec!["c1", "c2"])
}

fn text_id() -> impl Strategy<Value = &'static str> {
    select(vec!["m1", "m2"])
}

/// Chunks that only say something about their own message.
fn content() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (text_id(), word()).prop_map(|(id, delta)| json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta})),
        1 => text_id().prop_map(|id| json!({"type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant"})),
        1 => (text_id(), word()).prop_map(|(id, delta)| json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": id, "delta": delta})),
        1 => (call_id(), word()).prop_map(|(id, name)| json!({"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": name})),
        2 => (call_id(), word()).prop_map(|(id, delta)| json!({"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta})),
        1 => call_id().prop_map(|id| json!({"type": "TOOL_CALL_END", "toolCallId": id})),
        1 => Just(json!({"type": "RUN_STARTED", "runId": "r"})),
        1 => select(vec!["stop", "tool_calls"]).prop_map(|reason| json!({"type": "RUN_FINISHED", "finishReason": reason, "usage": {"promptTokens": 1, "completionTokens": 2}})),
        1 => Just(json!({"type": "RUN_ERROR", "message": "x"})),
        2 => (word(), word()).prop_map(|(delta, all)| json!({"type": "content", "delta": delta, "content": all})),
        1 => word().prop_map(|all| json!({"type": "content", "content": all})),
        1 => word().prop_map(|delta| json!({"type": "thinking", "delta": delta, "content": delta})),
        1 => (call_id(), word()).prop_map(|(id, arguments)| json!({"type": "tool_call", "toolCall": {"id": id, "function": {"name": "t", "arguments": arguments}}})),
        1 => Just(json!({"type": "done", "finishReason": "stop"})),
        1 => text_id().prop_map(|id| json!({"type": "text-start", "id": id})),
        2 => (text_id(), word()).prop_map(|(id, delta)| json!({"type": "text-delta", "id": id, "delta": delta})),
        1 => (call_id(), word()).prop_map(|(id, name)| json!({"type": "tool-input-available", "toolCallId": id, "toolName": name, "input": {"k": 1}})),
        1 => (select(vec!["1", "2"]), word()).prop_map(|(id, data)| json!({"type": "data-p", "id": id, "data": data})),
        1 => Just(json!({"type": "start-step"})),
        1 => Just(json!({"type": "finish-step"})),
        1 => Just(json!({"type": "stop", "reason": "aborted"})),
        1 => Just(json!({"type": "hologram"})),
        1 => Just(json!({"type": "CUSTOM", "name": "threadkeep.rethought", "value": {}})),
        1 => Just(json!({"type": "CUSTOM", "name": "structured-output.start", "value": {}})),
        1 => Just(json!({"type": "CUSTOM", "name": "structured-output.complete", "value": {"object": {"a": 1}}})),
        1 => word().prop_map(|text| json!({"type": "whole-message", "message": {"id": "w", "role": "user", "parts": [{"type": "text", "content": text}]}})),
        1 => (word(), call_id()).prop_map(|(text, id)| json!({"type": "MESSAGES_SNAPSHOT", "messages": [
            {"id": "u", "role": "user", "content": "q"},
            {"id": "m1", "role": "assistant", "content": text},
            {"id": "t", "role": "tool", "toolCallId": id, "content": "1"}]})),
    ]
}

/// Chunks that reach into other messages.
fn signal() -> impl Strategy<Value = Value> {
    let approval = || select(vec!["p1", "p2"]);
    prop_oneof![
        (call_id(), approval()).prop_map(|(id, approval)| json!({"type": "approval-requested", "toolCallId": id, "toolName": "t", "input": {}, "approval": {"id": approval}})),
        (call_id(), approval()).prop_map(|(id, approval)| json!({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [{"id": approval, "reason": "approval_required", "toolCallId": id}]}})),
        (approval(), any::<bool>()).prop_map(|(approval, yes)| json!({"type": "approval-response", "approvalId": approval, "approved": yes})),
        (call_id(), 0..3).prop_map(|(id, n)| json!({"type": "tool-result", "toolCallId": id, "output": n})),
        call_id().prop_map(|id| json!({"type": "tool-result", "toolCallId": id, "error": "no"})),
        (call_id(), 0..3_u8).prop_map(|(id, n)| json!({"type": "TOOL_CALL_RESULT", "toolCallId": id, "content": n.to_string()})),
        call_id().prop_map(|id| json!({"type": "tool-output-denied", "toolCallId": id})),
        word().prop_map(|title| json!({"type": "config", "title": title})),
        word().prop_map(|said| json!({"type": "STATE_SNAPSHOT", "snapshot": {"said": [said]}})),
        word().prop_map(|said| json!({"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/said/-", "value": said}]})),
    ]
}

/// One step of a random log.
#[derive(Clone, Debug)]
enum Op {
    /// The next chunk of a message, after a gap of so many.
    Next(usize, i64, Value),
    /// The next row of a message, by a person, or where a run begins.
    By(usize, &'static str, bool, Value),
    /// A chunk at a number that may be taken.
    At(usize, i64, Value),
    /// An earlier item again.
    Again(usize),
    Delete(usize, i64),
    Update(usize, i64, Value),
    Raw(Value),
}

fn entity() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec!["started", "completed", "failed"]).prop_map(|status| row(
            "run",
            "run-0",
            "upsert",
            json!({"status": status})
        )),
        (select(vec!["0", "1"]), word()).prop_map(|(n, delta)| row(
            "text_delta",
            &format!("msg-0:{n}"),
            "insert",
            json!({"text_id": "msg-0", "run_id": "run-0", "delta": delta})
        )),
        Just(row("text", "msg-0", "insert", json!({"run_id": "run-0", "status": "streaming"}))),
        select(vec!["started", "completed"]).prop_map(|status| row(
            "tool_call",
            "tc-0",
            "upsert",
            json!({"run_id": "run-0", "tool_name": "t", "status": status, "result": "1"})
        )),
        Just(row("tool_call", "tc-0", "delete", Value::Null)),
        word().prop_map(|text| row(
            "inbox",
            "in-0",
            "upsert",
            json!({"from": "al", "payload": text})
        )),
    ]
}

fn other() -> impl Strategy<Value = Value> {
    prop_oneof![
        (select(vec!["al:1", "al:2", "bo"]), select(vec!["online", "offline", "away"]))
            .prop_map(|(key, status)| row("presence", key, "upsert", json!({"status": status}))),
        select(vec!["k1", "k2"]).prop_map(|key| row(
            "agent",
            key,
            "upsert",
            json!({"agentId": key, "endpoint": "http://h"})
        )),
        Just(row("agent", "k1", "delete", Value::Null)),
        Just(row("note", "n", "insert", json!(1))),
        Just(json!({"headers": {"control": "snapshot-start"}})),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let message = || 0..MESSAGES.len();
    prop_oneof![
        8 => (message(), content()).prop_map(|(m, c)| Op::Next(m, 0, c)),
        2 => (message(), signal()).prop_map(|(m, c)| Op::Next(m, 0, c)),
        4 => (message(), signal()).prop_map(|(m, c)| Op::By(m, "user", false, c)),
        2 => (message(), prop_oneof![content(), signal()]).prop_map(|(m, c)| Op::By(m, "assistant", true, c)),
        1 => (message(), content()).prop_map(|(m, c)| Op::Next(m, 1, c)),
        2 => (message(), 0..6_i64, prop_oneof![content(), signal()]).prop_map(|(m, seq, c)| Op::At(m, seq, c)),
        1 => any::<prop::sample::Index>().prop_map(|at| Op::Again(at.index(1000))),
        1 => (message(), 0..6_i64).prop_map(|(m, seq)| Op::Delete(m, seq)),
        1 => (message(), 0..6_i64, content()).prop_map(|(m, seq, c)| Op::Update(m, seq, c)),
        2 => other().prop_map(Op::Raw),
        2 => entity().prop_map(Op::Raw),
    ]
}

/// Chunks that a server looks at more closely than a window: who waits for what, and words too long to be kept.
fn closely() -> impl Strategy<Value = Value> {
    let run = || select(vec!["r", "s"]);
    let question = || select(vec!["q1", "q2"]);
    let long = || {
        select(vec![1, 2])
            .prop_map(|n| format!("{{\"words\": \"{}\", \"n\": {n}}}", "long ".repeat(30)))
    };
    prop_oneof![
        run().prop_map(|id| json!({"type": "RUN_STARTED", "runId": id, "threadId": "t"})),
        run().prop_map(|id| json!({"type": "RUN_FINISHED", "runId": id})),
        run().prop_map(|id| json!({"type": "RUN_FINISHED", "runId": id, "outcome": {"type": "success"}})),
        Just(json!({"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}})),
        Just(json!({"type": "done", "finishReason": null})),
        Just(json!({"type": "finish", "finishReason": "error"})),
        Just(json!({"type": "start"})),
        Just(json!({"type": "message-end"})),
        (call_id(), long()).prop_map(|(id, arguments)| json!({"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": arguments})),
        (call_id(), long()).prop_map(|(id, arguments)| json!({"type": "tool_call", "toolCall": {"id": id, "function": {"name": "t", "arguments": arguments}}})),
        (call_id(), long()).prop_map(|(id, words)| json!({"type": "tool-input-available", "toolCallId": id, "toolName": "t", "input": {"words": words}})),
        (call_id(), long(), question()).prop_map(|(id, words, approval)| json!({"type": "approval-requested", "toolCallId": id, "toolName": "t", "input": {"words": words}, "approval": {"id": approval}})),
        (call_id(), long()).prop_map(|(id, words)| json!({"type": "TOOL_CALL_RESULT", "toolCallId": id, "content": words})),
        (call_id(), long()).prop_map(|(id, words)| json!({"type": "tool-output-error", "toolCallId": id, "errorText": words})),
        call_id().prop_map(|id| json!({"type": "tool-input-start", "toolCallId": id, "toolName": "t", "providerExecuted": true})),
        (call_id(), question()).prop_map(|(id, approval)| json!({"type": "tool-approval-request", "toolCallId": id, "approvalId": approval})),
        call_id().prop_map(|id| json!({"type": "CUSTOM", "name": "tool-input-available", "value": {"toolCallId": id, "toolName": "t", "input": {"k": 1}}})),
        (question(), call_id()).prop_map(|(id, call)| json!({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [{"id": id, "reason": "client_tool_input", "toolCallId": call}]}})),
        (question(), select(vec!["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])).prop_map(|(id, end)| json!({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [{"id": id, "reason": "how", "message": "How?", "expiresAt": end}]}})),
    ]
}

/// A log as a server reads it: rows of messages, also such as are late, changed or deleted.
fn row_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => op().prop_filter("a row of a message", |op| match op {
            Op::Raw(item) => matches!(item["type"].as_str(), Some("presence" | "agent" | "note")),
            _ => true,
        }),
        4 => (0..MESSAGES.len(), closely()).prop_map(|(m, c)| Op::Next(m, 0, c)),
        2 => (0..MESSAGES.len(), any::<bool>(), closely()).prop_map(|(m, begins, c)| Op::By(m, "assistant", begins, c)),
        1 => (0..MESSAGES.len(), closely()).prop_map(|(m, c)| Op::By(m, "user", false, c)),
        1 => (0..MESSAGES.len(), any::<bool>()).prop_map(|(m, yes)| Op::By(m, "user", false, json!({"type": "approval-response", "approvalId": "q1", "approved": yes}))),
    ]
}

/// A log, and more than that: bare events, resets and rubbish.
fn wild_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => op(),
        2 => content().prop_map(Op::Raw),
        1 => Just(Op::Raw(json!({"headers": {"control": "reset"}}))),
        1 => Just(Op::Raw(json!({"type": "chunk", "key": "a:0", "value": 1, "headers": {"operation": "insert"}}))),
        1 => content().prop_map(|c| Op::Raw(json!({"type": "chunk", "key": "odd", "value": {"messageId": "a", "chunk": c.to_string(), "seq": 2}, "headers": {"operation": "insert"}}))),
        1 => Just(Op::Raw(json!({"type": "chunk", "key": "odd", "headers": {"operation": "delete"}}))),
        1 => Just(Op::Raw(json!({"type": "chunk", "key": "a:1", "value": {"messageId": "a", "chunk": "{", "seq": 1}, "headers": {"operation": "insert"}}))),
        1 => (1..6_i64, content()).prop_map(|(seq, c)| Op::Raw(json!({"v": 1, "seq": seq, "chunk": c}))),
    ]
}

fn log(ops: &[Op]) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut next: BTreeMap<usize, i64> = BTreeMap::new();
    for op in ops {
        let second = u64::try_from(items.len()).expect("small");
        let actor = |m: usize| if MESSAGES[m] == "u" { ("al", "user") } else { ("k", "assistant") };
        let item = match op {
            Op::Next(m, gap, inner) => {
                let seq = next.entry(*m).or_default();
                *seq += gap;
                let (who, role) = actor(*m);
                let item = chunk_at(MESSAGES[*m], who, role, *seq, inner, second);
                *seq += 1;
                item
            }
            Op::By(m, role, begins, inner) => {
                let seq = next.entry(*m).or_default();
                let mut item = chunk_at(MESSAGES[*m], "who", role, *seq, inner, second);
                if *begins {
                    item["headers"]["run"] = json!({"id": "r", "told": items.len() % 3});
                }
                *seq += 1;
                item
            }
            Op::At(m, seq, inner) => {
                let (who, role) = actor(*m);
                let next = next.entry(*m).or_default();
                *next = (*next).max(seq + 1);
                chunk_at(MESSAGES[*m], who, role, *seq, inner, second)
            }
            Op::Again(at) => match items.get(at % items.len().max(1)) {
                Some(item) => {
                    items.push(item.clone());
                    continue;
                }
                None => continue,
            },
            Op::Delete(m, seq) => {
                row("chunk", &format!("{}:{seq}", MESSAGES[*m]), "delete", Value::Null)
            }
            Op::Update(m, seq, inner) => row(
                "chunk",
                &format!("{}:{seq}", MESSAGES[*m]),
                "update",
                json!({"chunk": inner.to_string()}),
            ),
            Op::Raw(item) => item.clone(),
        };
        items.push(item.to_string());
    }
    items
}

fn now() -> Timestamp {
    "2026-03-01T10:01:00Z".parse().expect("a time")
}

/// A fold as it is stored: its head, messages that are read with it, and those that are read when something needs them.
struct Folded {
    head: String,
    standing: BTreeMap<String, String>,
    settled: BTreeMap<String, String>,
}

impl Folded {
    fn of(fold: &SessionFold) -> Self {
        let all = fold.loaded().filter_map(|id| Some((id.to_owned(), fold.folded(id)?)));
        let (standing, settled) = all.partition(|(id, _)| fold.is_standing(id));
        Self { head: fold.head(), standing, settled }
    }

    /// All that is stored, as values: the order of fields says nothing.
    fn values(&self) -> Vec<Value> {
        let texts = self.standing.values().chain(self.settled.values());
        texts.map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }
}

impl MessageLoader for Folded {
    fn load(&mut self, _message_id: &str) -> Option<StoredMessage> {
        None
    }

    fn folded(&mut self, message_id: &str) -> Option<String> {
        self.settled.get(message_id).cloned()
    }
}

/// Everything a reader can see, messages loaded one by one.
fn seen(fold: &mut SessionFold, store: &mut Store) -> Value {
    let ids: HashSet<String> =
        store.messages.keys().cloned().chain(fold.loaded().map(str::to_owned)).collect();
    let mut messages: Vec<Message> =
        ids.iter().filter_map(|id| fold.load(id, store).cloned()).collect();
    messages.sort_by_key(|m| m.position);
    json!({
        "messages": messages,
        "approvals": fold.approvals(),
        "presence": fold.everyone(now()),
        "agents": fold.agents(),
        "shared": shared(fold),
        "stats": fold.stats(now()),
        "active": fold.active_generations(now()),
        "title": fold.title(),
        "skipped": fold.skipped(),
    })
}

/// What agents share, and where each said it last.
fn shared(fold: &SessionFold) -> Value {
    fold.shared().map(|(agent, state)| json!([agent, state.row(), state.value()])).collect()
}

fn replay(items: &[String]) -> (SessionFold, Store) {
    let (mut fold, mut store) = (SessionFold::new("s"), Store::default());
    let changes = fold.apply(items, &mut store);
    store.commit(&changes, &fold);
    (fold, store)
}

/// What happens between two batches.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Release,
    EvictAll,
    EvictFirst,
    Restart,
}

fn between() -> impl Strategy<Value = Between> {
    select(vec![
        Between::Nothing,
        Between::Release,
        Between::EvictAll,
        Between::EvictFirst,
        Between::Restart,
    ])
}

/// Applies the log in batches over a store, as an engine does.
fn in_batches(items: &[String], cuts: &[(usize, Between)]) -> (SessionFold, Store, Replica) {
    let (mut fold, mut store) = (SessionFold::new("s"), Store::default());
    let mut replica = Replica::default();
    let mut rest = items;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (size, between) = cuts.next().copied().unwrap_or((1, Between::Nothing));
        let (batch, after) = rest.split_at(size.clamp(1, rest.len()));
        rest = after;
        let changes = fold.apply(batch, &mut store);
        store.commit(&changes, &fold);
        replica.follow(&changes, &fold);
        match between {
            Between::Nothing => {}
            Between::Release => fold.release_logs(),
            Between::EvictAll => {
                for id in fold.loaded().map(str::to_owned).collect::<Vec<_>>() {
                    fold.evict(&id);
                }
            }
            Between::EvictFirst => {
                let first = fold.loaded().next().map(str::to_owned);
                if let Some(id) = first {
                    fold.evict(&id);
                }
            }
            Between::Restart => fold = SessionFold::restore("s", &store.state),
        }
    }
    (fold, store, replica)
}

/// Messages as far as their order, not their positions, goes.
fn unplaced(fold: &SessionFold) -> Vec<Value> {
    fold.messages()
        .map(|message| {
            let mut message = serde_json::to_value(message).expect("serialises");
            message["position"] = Value::Null;
            message
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        // `PROPTEST_CASES` asks for more.
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(128),
        ..ProptestConfig::default()
    })]

    // L3
    #[test]
    fn any_split_over_a_store_equals_one_replay(
        ops in vec(wild_op(), 1..50),
        cuts in vec((1_usize..8, between()), 1..10),
    ) {
        let items = log(&ops);
        let (mut whole, mut whole_store) = replay(&items);
        let (mut parts, mut parts_store, _) = in_batches(&items, &cuts);
        prop_assert_eq!(seen(&mut parts, &mut parts_store), seen(&mut whole, &mut whole_store));
        // The rows that were stored on the way are the last ones.
        let stored: Vec<Message> = parts_store.messages.values().map(timeless).collect();
        let right: Vec<Message> = whole_store.messages.values().map(timeless).collect();
        prop_assert_eq!(stored, right);
    }

    // L3
    #[test]
    fn a_state_kept_row_by_row_is_the_state(
        ops in vec(wild_op(), 1..40),
        cuts in vec((1_usize..8, between()), 1..10),
    ) {
        let items = log(&ops);
        prop_assume!(!items.is_empty());
        let (fold, store, _) = in_batches(&items, &cuts);
        prop_assert_eq!(&store.state, &fold.state());
        prop_assert_eq!(SessionFold::restore("s", &store.state).state(), fold.state());
    }

    // L17
    #[test]
    fn a_server_and_a_window_agree(ops in vec(row_op(), 1..60)) {
        let items = log(&ops);
        let (window, _) = replay(&items);
        let server = by_server(&items);
        prop_assert_eq!(meaning(&server, now()), meaning(&window, now()));
    }

    // L3
    #[test]
    fn a_fold_without_texts_goes_on_from_what_is_stored_at_any_cut(
        ops in vec(prop_oneof![6 => row_op(), 1 => wild_op()], 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let items = log(&ops);
        let mut whole = SessionFold::without_texts("s", HashSet::new());
        let mut stored = (0, Folded::of(&whole));
        for (n, item) in items.iter().take(cut.index(items.len() + 1)).enumerate() {
            whole.take(&decode(item.as_bytes()), &mut ());
            // What may be wrong is not stored.
            if whole.torn().next().is_none() {
                stored = (n + 1, Folded::of(&whole));
            }
        }
        let (cut, mut stored) = stored;
        let mut whole = SessionFold::without_texts("s", HashSet::new());
        items[..cut].iter().for_each(|item| whole.take(&decode(item.as_bytes()), &mut ()));
        let mut parts = SessionFold::from_head("s", Texts::Dropped, &stored.head).expect("it was stored now");
        for (id, message) in &stored.standing {
            prop_assert!(parts.put_back(id, message));
        }
        for item in &items[cut..] {
            whole.take(&decode(item.as_bytes()), &mut ());
            parts.take(&decode(item.as_bytes()), &mut stored);
            prop_assert_eq!(parts.asks(now()), whole.asks(now()));
        }
        let ids: Vec<String> = whole.loaded().map(str::to_owned).collect();
        for id in &ids {
            parts.load(id, &mut stored);
            prop_assert_eq!(parts.next_seq(id, &mut stored), whole.next_seq(id, &mut ()));
        }
        prop_assert_eq!(meaning(&parts, now()), meaning(&whole, now()));
        prop_assert_eq!(parts.torn().collect::<Vec<_>>(), whole.torn().collect::<Vec<_>>());
        prop_assert_eq!(Folded::of(&parts).values(), Folded::of(&whole).values());
    }

    #[test]
    fn a_server_hears_the_words_of_a_message_and_forgets_them(
        before in vec(content(), 0..10),
        chunks in vec(content(), 1..30),
    ) {
        // A snapshot may say otherwise what was said before somebody listened.
        let is_whole = |chunk: &Value| chunk["type"] == "whole-message" || chunk["type"] == "MESSAGES_SNAPSHOT";
        let run = |chunks: Vec<Value>, from: i64| -> Vec<String> {
            let rows = (from..).zip(chunks.into_iter().filter(|chunk| !is_whole(chunk)));
            let rows = rows.map(|(seq, inner)| {
                let mut item = chunk_at("a", "k", "assistant", seq, &inner, 0);
                if seq == from {
                    item["headers"]["run"] = json!({"id": from.to_string()});
                }
                item.to_string()
            });
            rows.collect()
        };
        let chunks: Vec<Value> = [vec![json!({"type": "start"})], chunks].concat();
        let (before, chunks) = (run(before, 0), run(chunks, 100));
        let mut server = SessionFold::without_texts("s", HashSet::new());
        before.iter().for_each(|item| server.take(&decode(item.as_bytes()), &mut ()));
        server.listen("a", 1 << 20);
        chunks.iter().for_each(|item| server.take(&decode(item.as_bytes()), &mut ()));
        let mut window = SessionFold::new("s");
        window.apply(&chunks, &mut ());
        let said = window.message("a").map(Message::plain_text).unwrap_or_default();
        if before.is_empty() {
            prop_assert_eq!(server.heard("a"), said);
        }
        let mut all = SessionFold::new("s");
        all.apply(before.iter().chain(&chunks), &mut ());
        prop_assert_eq!(meaning(&server, now()), meaning(&all, now()));
        server.hear_no_more("a");
        prop_assert_eq!(server.heard("a"), "");
        prop_assert_eq!(meaning(&server, now()), meaning(&all, now()));
    }

    // L4
    #[test]
    fn following_the_changes_gives_the_messages(
        ops in vec(wild_op(), 1..50),
        cuts in vec((1_usize..8, between()), 1..10),
    ) {
        let items = log(&ops);
        let (_, store) = replay(&items);
        let (_, _, replica) = in_batches(&items, &cuts);
        let followed: Vec<Message> = replica.messages.values().map(timeless).collect();
        let right: Vec<Message> = store.messages.values().map(timeless).collect();
        prop_assert_eq!(followed, right);
    }

    // L3
    #[test]
    fn a_batch_applied_twice_is_applied_once(
        ops in vec(op(), 1..40),
        size in 1_usize..12,
    ) {
        // What deletes and makes anew is not idempotent in any reading.
        let ops: Vec<Op> = ops
            .into_iter()
            .filter(|op| match op {
                Op::Delete(..) => false,
                Op::Raw(item) => item["headers"]["operation"] != "delete",
                _ => true,
            })
            .collect();
        let items = log(&ops);
        let (mut once, mut twice) = (SessionFold::new("s"), SessionFold::new("s"));
        for batch in items.chunks(size) {
            once.apply(batch, &mut ());
            twice.apply(batch, &mut ());
            let again = twice.apply(batch, &mut ());
            if batch.len() == 1 {
                prop_assert!(again.is_quiet() && again.log.is_empty(), "{:?}", again);
            }
        }
        prop_assert_eq!(unplaced(&twice), unplaced(&once));
        prop_assert_eq!(twice.approvals(), once.approvals());
        prop_assert_eq!(twice.agents(), once.agents());
        prop_assert_eq!(shared(&twice), shared(&once));
        prop_assert_eq!(twice.everyone(now()), once.everyone(now()));
        prop_assert_eq!(twice.stats(now()), once.stats(now()));
        prop_assert_eq!(twice.skipped(), once.skipped());
    }

    #[test]
    fn chunks_out_of_order_give_what_sorted_ones_give(
        chunks in vec(content(), 1..30).prop_flat_map(|chunks| {
            let order: Vec<usize> = (0..chunks.len()).collect();
            (Just(chunks), Just(order).prop_shuffle())
        }),
        size in 1_usize..8,
    ) {
        let (chunks, order) = chunks;
        let items: Vec<String> = chunks
            .iter()
            .enumerate()
            .map(|(seq, inner)| {
                let seq = i64::try_from(seq).expect("small");
                chunk_at("a", "k", "assistant", seq, inner, seq.unsigned_abs()).to_string()
            })
            .collect();
        let mut sorted = SessionFold::new("s");
        sorted.apply(&items, &mut ());
        let shuffled: Vec<String> = order.iter().map(|at| items[*at].clone()).collect();
        let mut fold = SessionFold::new("s");
        for batch in shuffled.chunks(size) {
            fold.apply(batch, &mut ());
        }
        prop_assert_eq!(unplaced(&fold), unplaced(&sorted));
    }

    #[test]
    fn a_run_whose_beginning_was_heard_already_is_said_once(
        chunks in vec(content(), 1..30),
        cut in any::<prop::sample::Index>(),
        bare in any::<bool>(),
    ) {
        let begin = json!({"type": "RUN_STARTED", "threadId": "t", "runId": "first"});
        let mut run: Vec<Value> = std::iter::once(begin).chain(chunks).collect();
        // In itself a run names each run and message once.
        let mut named = HashSet::new();
        run.retain(|chunk| {
            let kind = chunk["type"].as_str().unwrap_or_default();
            !matches!(kind, "RUN_STARTED" | "TEXT_MESSAGE_START") || named.insert(chunk.to_string())
        });
        let twice = [&run[..=cut.index(run.len())], &run[..]].concat();
        let said = |chunks: &[Value]| -> Vec<Value> {
            let rows = (0..).zip(chunks);
            let items: Vec<String> = rows
                .map(|(seq, inner)| chunk_at("a", "k", "assistant", seq, inner, 0).to_string())
                .collect();
            let mut fold = SessionFold::new("s");
            fold.apply(&items, &mut ());
            unplaced(&fold)
        };
        if bare {
            // Bare events are folded one after the other whatever they are: none is lost and none may panic.
            let items: Vec<String> = twice.iter().map(Value::to_string).collect();
            SessionFold::new("s").apply(&items, &mut ());
        }
        prop_assert_eq!(said(&twice), said(&run));
    }

    #[test]
    fn a_snapshot_of_what_was_folded_changes_nothing(
        chunks in vec(content(), 1..30),
        thoughts in any::<bool>(),
        signals in vec(signal(), 0..3),
        shape in select(vec!["apart", "whole"]),
    ) {
        let is_whole = |chunk: &Value| chunk["type"] == "whole-message" || chunk["type"] == "MESSAGES_SNAPSHOT";
        let mut run: Vec<Value> = chunks.into_iter().filter(|chunk| !is_whole(chunk)).collect();
        run.extend(signals);
        // A tool has a name.
        for chunk in &mut run {
            for field in ["toolCallName", "toolName"] {
                if chunk.get(field).is_some() {
                    chunk[field] = "t".into();
                }
            }
        }
        run.push(json!({"type": "RUN_FINISHED", "finishReason": "stop"}));
        let items = |chunks: &[Value]| -> Vec<String> {
            let rows = (0..).zip(chunks);
            rows.map(|(seq, inner)| chunk_at("a", "k", "assistant", seq, inner, 0).to_string()).collect()
        };
        let mut before = SessionFold::new("s");
        before.apply(items(&run), &mut ());
        let message = before.message("a").expect("it is there").clone();
        let snapshot = match shape {
            "apart" => messages_of(&message, thoughts),
            _ => whole_of(&message, thoughts),
        };
        run.push(snapshot);
        let mut after = SessionFold::new("s");
        after.apply(items(&run), &mut ());
        let parts = |fold: &SessionFold| fold.message("a").map(|message| message.parts.clone());
        prop_assert_eq!(parts(&after), parts(&before));
        prop_assert_eq!(after.approvals(), before.approvals());
    }

    // L9
    #[test]
    fn bytes_never_panic(items in vec(vec(any::<u8>(), 0..80), 0..8)) {
        for item in &items {
            let _ = decode(item);
        }
        let mut fold = SessionFold::new("s");
        fold.apply(&items, &mut ());
        prop_assert_eq!(fold.skipped(), items.len() as u64);
    }

    // L9
    #[test]
    fn json_never_panics(inner in json_value(), outer in json_value(), kind in chunk_kind()) {
        let mut fields = match inner {
            Value::Object(map) => map,
            other => json!({"value": other, "toolCallId": "c", "id": "i"}).as_object().cloned().unwrap_or_default(),
        };
        fields.insert("type".to_owned(), json!(kind));
        let inner = Value::Object(fields);
        let items = [
            inner.to_string(),
            outer.to_string(),
            chunk_at("a", "k", "assistant", 0, &inner, 0).to_string(),
            chunk_at("a", "k", "assistant", 0, &outer, 0).to_string(),
            row("chunk", "a:1", "insert", outer.clone()).to_string(),
            row("presence", "a:1", "upsert", outer.clone()).to_string(),
            row("agent", "a", "upsert", outer.clone()).to_string(),
            row("run", "r", "upsert", outer.clone()).to_string(),
            json!({"v": 1, "seq": 1, "chunk": inner}).to_string(),
            json!({"type": outer, "key": inner, "headers": outer}).to_string(),
        ];
        let mut store = Store::default();
        let mut fold = SessionFold::new("s");
        let changes = fold.apply(&items, &mut store);
        store.commit(&changes, &fold);
        let mut again = SessionFold::restore("s", &store.state);
        again.apply(&items, &mut store);
    }
}

/// What an agent of AG-UI keeps of its message: one message for each text and each call.
fn messages_of(message: &Message, thoughts: bool) -> Value {
    let mut messages = vec![json!({"id": "u", "role": "user", "content": "Q"})];
    for (n, part) in message.parts.iter().enumerate() {
        let id = format!("kept-{n}");
        match part {
            Part::Text { text, .. } if !text.is_empty() => {
                messages.push(json!({"id": id, "role": "assistant", "content": text}));
            }
            Part::Reasoning { text, .. } if thoughts && !text.is_empty() => {
                messages.push(json!({"id": id, "role": "reasoning", "content": text}));
            }
            Part::ToolCall(call) => {
                let function = json!({"name": call.name, "arguments": call.arguments});
                messages.push(json!({"id": id, "role": "assistant", "content": "",
                    "toolCalls": [{"id": call.id, "type": "function", "function": function}]}));
            }
            _ => {}
        }
    }
    json!({"type": "MESSAGES_SNAPSHOT", "messages": messages})
}

/// The same as a whole message.
fn whole_of(message: &Message, thoughts: bool) -> Value {
    let parts: Vec<Value> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text, .. } => Some(json!({"type": "text", "content": text})),
            Part::Reasoning { text, .. } if thoughts => {
                Some(json!({"type": "thinking", "content": text}))
            }
            Part::ToolCall(call) => {
                Some(json!({"type": "tool-call", "id": call.id, "name": call.name,
                "arguments": call.arguments, "state": "input-complete"}))
            }
            _ => None,
        })
        .collect();
    json!({"type": "whole-message", "message": {"id": "a", "role": "assistant", "parts": parts}})
}

fn chunk_kind() -> impl Strategy<Value = &'static str> {
    select(vec![
        "content",
        "thinking",
        "tool_call",
        "tool_result",
        "tool-input-available",
        "approval-requested",
        "done",
        "error",
        "stop",
        "tool-result",
        "approval-response",
        "config",
        "control",
        "whole-message",
        "message-start",
        "text-delta",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CHUNK",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TOOL_CALL_CHUNK",
        "RUN_STARTED",
        "RUN_FINISHED",
        "RUN_ERROR",
        "MESSAGES_SNAPSHOT",
        "CUSTOM",
        "STEP_STARTED",
        "STEP_FINISHED",
        "REASONING_MESSAGE_CONTENT",
        "start",
        "finish",
        "abort",
        "file",
        "source-url",
        "data-x",
        "tool-input-start",
        "tool-input-delta",
        "tool-output-available",
        "tool-output-error",
        "tool-approval-request",
        "message-metadata",
    ])
}

fn json_value() -> impl Strategy<Value = Value> {
    let field = select(vec![
        "type",
        "id",
        "delta",
        "content",
        "message",
        "messages",
        "messageId",
        "toolCallId",
        "toolCall",
        "function",
        "arguments",
        "parts",
        "role",
        "approval",
        "approvalId",
        "value",
        "name",
        "outcome",
        "interrupts",
        "usage",
        "metadata",
        "tanstack",
        "seq",
        "chunk",
        "status",
        "input",
        "output",
        "error",
        "run_id",
        "key",
        "text",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![
            "",
            "a",
            "\u{1f642}",
            "assistant",
            "interrupt",
            "approval_required",
            "started"
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((field.clone(), inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}
