//! Known defects of the servers and clients before ours, none of which is here: one row each.
//!
//! | | defect | shown to be absent by |
//! | --- | --- | --- |
//! | 1 | each chunk folds the whole message anew | `a_long_answer_is_folded_chunk_by_chunk` |
//! | 2 | an answered approval stays pending | `folded::the_demo_run_is_one_message_with_reasoning_tools_and_an_approval` |
//! | 3 | answers and results are messages that never end | `answers_leave_nothing_open` |
//! | 4 | results and approvals reach nobody | `human::a_run_goes_on_when_all_is_decided_also_across_restarts` |
//! | 5 | another era's messages are empty | `all_eras_in_one_session_are_told_to_the_agent` |
//! | 6 | a loop of tools loses its earlier turns | `a_loop_of_tools_keeps_all_its_turns` |
//! | 7 | text after tools is repeated or lost | the same |
//! | 8 | one bad row ends the session | `rubbish_in_the_stream_costs_only_itself` |
//! | 9 | a reset aborts readers | `room::clearing_deletes_every_row_and_never_writes_a_reset` |
//! | 10 | a fork copies nothing | `room::a_fork_has_the_history_the_agents_and_names_its_parent`, `room::a_forks_stream_holds_nothing_that_was_said_after_its_place` |
//! | 11 | agents are forgotten by a restart | `restart::a_killed_servers_run_is_ended_and_its_agents_still_answer` |
//! | 12 | sequence numbers begin again | `clearing_one_session_leaves_the_numbers_of_others`, `kills` |
//! | 13 | who crashed stays online | `presence::a_device_that_falls_silent_is_offline`, `presence::a_device_without_heartbeats_is_there_while_its_actor_gives_signs_of_life` |
//! | 14 | anybody may do anything, and call any address | `access`, `webhook::addresses_that_are_not_public_are_refused_unless_allowed` |
//! | 15 | what is retried happens twice | `flow::a_retried_message_is_stored_and_answered_once`, `kills` |
//! | 16 | a failing inline agent ends the process | `a_failing_inline_agent_costs_only_its_run` |
//! | 17 | the agent gets one message, roles are ignored | `webhook::the_request_is_upstreams_and_ag_uis_with_the_whole_conversation`, `roles_are_kept` |
//! | 18 | any row of a person wakes agents | `only_what_is_said_to_them_wakes_agents` |
//! | 19 | tools are missing in the history | `human::a_run_goes_on_when_all_is_decided_also_across_restarts` |
//! | 20 | a message without an end | `webhook::a_run_without_an_end_gets_one_in_its_dialect` |
//! | 21 | everything is read again at each start | client: `killed_in_mid_answer_it_opens_offline_and_gets_the_rest_exactly_once` |
//! | 22 | a stored message is shown as failed | client: `an_entry_survives_the_engine_and_leaves_only_by_its_echo` |
//! | 23 | a deleted session is still there | `flow::sessions_are_listed_renamed_and_really_deleted` |
//! | 24 | regenerating answers when all is over | `regenerating_is_answered_at_once` |
//! | 25 | a stop stops everybody, or nobody | `listeners::a_stop_without_a_message_stops_what_its_actor_began`, `listeners::several_agents_answer_at_once` |
//! | 26 | readers miss headers | `readers_get_every_header` |
//! | 27 | one answer at a time | `listeners::several_agents_answer_at_once` |

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use session_protocol::{Part, SessionFold, ToolState};

use crate::{
    fake::{Fake, Reply, sse},
    rig::{Log, Rig},
};

fn fold(log: &Log) -> SessionFold {
    let mut fold = SessionFold::new("s");
    fold.apply(log.items.iter().map(ToString::to_string), &mut ());
    fold
}

fn finished() -> Reply {
    sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#])
}

#[test]
fn a_long_answer_is_folded_chunk_by_chunk() {
    let mut fold = SessionFold::new("s");
    let started = Instant::now();
    for seq in 0..5_000 {
        let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "word "});
        let row = json!({"type": "chunk", "key": format!("m:{seq}"), "headers": {"operation": "insert"},
            "value": {"messageId": "m", "actorId": "a", "role": "assistant", "seq": seq,
                "chunk": chunk.to_string(), "createdAt": "2026-01-01T00:00:00Z"}});
        fold.apply([row.to_string()].iter(), &mut ());
    }
    let took = started.elapsed();
    assert_eq!(fold.messages().next().unwrap().plain_text().len(), 25_000);
    // Folded anew each time it would be minutes: it was 36 s for 2,000.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn answers_leave_nothing_open() {
    let ask = sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
        r#"{"type":"TOOL_CALL_START","toolCallId":"c1","toolCallName":"rm"}"#,
        r#"{"type":"TOOL_CALL_START","toolCallId":"c2","toolCallName":"look"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[{"id":"a","reason":"approval_required","toolCallId":"c1"},{"id":"i","reason":"client_tool_input","toolCallId":"c2"}]}}"#,
    ]);
    let fake = Fake::new([ask, finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the questions", |log| log.ended() == 1).await;
    assert_eq!(talk.approve("a", true).await, 204);
    let result = json!({"toolCallId": "c2", "output": 1});
    assert_eq!(rig.post(&talk.path("/tool-results"), result).await.0, 204);
    let folded = fold(&talk.until("the end", |log| log.ended() == 2).await);
    assert!(folded.incomplete().is_empty());
    assert!(folded.pending_approvals(jiff::Timestamp::now()).is_empty());
    assert_eq!(folded.messages().filter(|message| !message.hidden).count(), 2);
}

#[tokio::test]
async fn all_eras_in_one_session_are_told_to_the_agent() {
    let replies: [&[&str]; 3] = [
        &[
            r#"{"type":"content","delta":"legacy","content":"legacy"}"#,
            r#"{"type":"done","finishReason":"stop"}"#,
        ],
        &[
            r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
            r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"ag-ui"}"#,
            r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#,
        ],
        &[
            r#"{"type":"start"}"#,
            r#"{"type":"text-delta","id":"1","delta":"ai-sdk"}"#,
            r#"{"type":"finish"}"#,
        ],
    ];
    let fake = Fake::new(replies.map(sse).into_iter().chain([finished()])).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    for n in 1..=4 {
        talk.send(&n.to_string()).await;
        talk.until("an answer", |log| log.ended() == n).await;
    }
    let asked = fake.asked();
    let told = asked[3]["messages"].as_array().unwrap().iter();
    let told: Vec<&str> = told.map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(told, ["1", "legacy", "2", "ag-ui", "3", "ai-sdk", "4"]);
}

#[tokio::test]
async fn a_loop_of_tools_keeps_all_its_turns() {
    let run = sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
        r#"{"type":"TEXT_MESSAGE_START","messageId":"x1","role":"assistant"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x1","delta":"Let me "}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x1","delta":"look"}"#,
        r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"look"}"#,
        r#"{"type":"TOOL_CALL_END","toolCallId":"c"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","finishReason":"tool_calls"}"#,
        r#"{"type":"TOOL_CALL_RESULT","messageId":"x2","toolCallId":"c","content":"4C"}"#,
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r2"}"#,
        r#"{"type":"TEXT_MESSAGE_START","messageId":"x3","role":"assistant"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x3","delta":"It is "}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x3","delta":"4C"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2","finishReason":"stop"}"#,
    ]);
    let fake = Fake::new([run]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("how cold is it?").await;
    let folded = fold(&talk.until("the end", |log| log.ended() == 2).await);
    let message = folded.messages().nth(1).unwrap();
    let parts: Vec<String> = message
        .parts
        .iter()
        .map(|part| match part {
            Part::Text { text, .. } => text.clone(),
            Part::ToolCall(call) => {
                assert_eq!((call.state, &call.output), (ToolState::Done, &Some(json!("4C"))));
                call.name.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts, ["Let me look", "look", "It is 4C"]);
}

#[tokio::test]
async fn rubbish_in_the_stream_costs_only_itself() {
    let fake = Fake::new([finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    let rubbish = json!([
        null, 7, "text", {"type": "RUN_STARTED"}, {"headers": null},
        {"type": "chunk", "key": "x:0", "value": 5, "headers": {"operation": "insert"}},
        {"type": "chunk", "key": "y:0", "headers": {"operation": "insert"},
            "value": {"messageId": "y", "actorId": "z", "role": "assistant", "chunk": "{broken", "seq": 0}},
        {"type": "agent", "key": "nobody", "value": "x", "headers": {"operation": "upsert"}},
    ]);
    let (status, _) = rig.post(&format!("/v1/stream/sessions/{}", talk.id), rubbish).await;
    assert!(status.is_success(), "{status}");
    talk.send("still there?").await;
    let log = talk.until("the end", |log| {
        log.items.iter().any(|item| item.to_string().contains("RUN_FINISHED"))
    });
    log.await;
    let after = rig.crashed_copy(|_| {}).await;
    after.talk(&talk.id).send("and now?").await;
    let asked = fake.asked();
    assert_eq!(asked[0]["messages"].as_array().unwrap().last().unwrap()["content"], "still there?");
}

#[tokio::test]
async fn clearing_one_session_leaves_the_numbers_of_others() {
    let (send, rest) = tokio::sync::mpsc::channel::<String>(4);
    let fed = Reply::Fed(std::sync::Arc::new(std::sync::Mutex::new(Some(rest))));
    let fake = Fake::new([fed]).await;
    let rig = Rig::new().await;
    let (talk, other) = (rig.session(&fake.agent_url()).await, rig.session("builtin:demo").await);
    let word = |n: u32| {
        format!(
            "data: {}\n\n",
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": n.to_string()})
        )
    };
    talk.send("go").await;
    send.send(word(1)).await.unwrap();
    talk.until("a word", |log| log.text() == "1").await;
    other.send("hello").await;
    assert_eq!(rig.post(&other.path("/reset"), json!({})).await.0, 200);
    send.send(word(2)).await.unwrap();
    drop(send);
    talk.until("the end", |log| log.ended() == 1 && log.text() == "12").await.assert_gapless();
}

#[tokio::test]
async fn a_failing_inline_agent_costs_only_its_run() {
    let rig = Rig::new().await;
    assert_eq!(rig.call(Method::PUT, "/v1/sessions/s", json!({})).await.0, 200);
    let talk = rig.talk("s");
    let broken =
        Fake::new([Reply::Break("data: {\"type\":\"content\",\"delta\":\"a\"}\n\n".to_owned())])
            .await;
    for (n, endpoint) in
        ["http://127.0.0.1:9/agent".to_owned(), broken.agent_url()].into_iter().enumerate()
    {
        let agent = json!({"id": format!("a{n}"), "endpoint": endpoint});
        let body = json!({"content": "go", "agent": agent});
        assert_eq!(rig.post("/v1/sessions/s/messages", body).await.0, 200);
        talk.until("an error", |log| log.count("RUN_ERROR") + log.count("error") == n + 1).await;
    }
    assert_eq!(rig.get("/health").await.0, 200);
}

#[tokio::test]
async fn roles_are_kept() {
    let fake = Fake::new([finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    for role in ["system", "assistant"] {
        let body = json!({"content": role, "role": role, "actorId": "ann"});
        assert_eq!(rig.post(&talk.path("/messages"), body).await.0, 200);
    }
    talk.send("user").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    let roles = log.chunks().into_iter().filter(|(_, chunk)| chunk["type"] == "whole-message");
    let roles: Vec<Value> = roles.map(|(row, _)| row["role"].clone()).collect();
    assert_eq!(roles, ["system", "assistant", "user"]);
    let told = fake.asked()[0]["messages"].clone();
    let told: Vec<&Value> =
        told.as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(told, ["system", "assistant", "user"]);
    assert_eq!(fake.asked().len(), 1, "only the person's message wakes it");
}

#[tokio::test]
async fn only_what_is_said_to_them_wakes_agents() {
    let ask = sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
        r#"{"type":"TOOL_CALL_START","toolCallId":"c1","toolCallName":"rm"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[{"id":"a","reason":"approval_required","toolCallId":"c1"}]}}"#,
    ]);
    let fake = Fake::new([ask, finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the question", |log| log.ended() == 1).await;
    rig.call(Method::PATCH, &talk.path(""), json!({"title": "A title"})).await;
    rig.post(&talk.path("/login"), json!({"actorId": "ann", "deviceId": "d"})).await;
    let raw = json!({"messageId": "m", "actorId": "ann", "role": "user", "chunk": {"type": "whole-message",
        "message": {"id": "m", "role": "user", "parts": [{"type": "text", "content": "for the record"}]}}});
    assert_eq!(rig.post(&talk.path("/chunks"), raw).await.0, 200);
    assert_eq!(talk.approve("a", true).await, 204);
    talk.until("the end", |log| log.ended() == 2).await;
    let asked = fake.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].get("resume").is_some(), "one new turn, one that goes on");
    assert!(
        asked[1]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|message| message["content"] != "" || message.get("toolCalls").is_some())
    );
}

#[tokio::test]
async fn regenerating_is_answered_at_once() {
    let fake = Fake::new([Reply::Hang(String::new())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    let body = json!({"fromMessageId": null, "content": "again", "actorId": "ann"});
    let (status, answer) = rig.post(&talk.path("/regenerate"), body).await;
    assert_eq!((status.as_u16(), answer), (200, json!({"success": true})));
    rig.post(&talk.path("/stop"), json!({"actorId": "ann"})).await;
    talk.until("the stop", |log| log.count("stop") == 1).await;
}

#[tokio::test]
async fn readers_get_every_header() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let path = format!("/v1/stream/sessions/{}", talk.id);
    let first = rig.request(Method::GET, &path).send().await.unwrap();
    let headers = first.headers().clone();
    for name in ["stream-next-offset", "stream-up-to-date", "etag", "content-type", "cache-control"]
    {
        assert!(headers.contains_key(name), "{name}");
    }
    let again = rig.request(Method::GET, &path).header("if-none-match", &headers["etag"]);
    assert_eq!(again.send().await.unwrap().status(), 304);
    let offset = headers["stream-next-offset"].to_str().unwrap();
    let live = rig.request(Method::GET, &format!("{path}?live=sse&offset={offset}"));
    let live = live.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let head = rig.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.headers()["stream-next-offset"], headers["stream-next-offset"]);
    // Closed is told, and the body comes first.
    let close =
        rig.request(Method::POST, &path).header("stream-closed", "true").send().await.unwrap();
    assert_eq!(close.status(), 204);
    let last = rig.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(last.headers()["stream-closed"], "true");
    assert_ne!(last.text().await.unwrap(), "[]");
    let message = json!({"content": "too late"});
    let (status, body) = rig.post(&talk.path("/messages"), message).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("SESSION_CLOSED")));
}

#[test]
fn the_table_names_tests_that_exist() {
    let sources = [
        "human",
        "folded",
        "room",
        "restart",
        "presence",
        "access",
        "webhook",
        "flow",
        "listeners",
        "kills",
    ]
    .map(|module| {
        let path = format!("{}/tests/it/{module}.rs", env!("CARGO_MANIFEST_DIR"));
        (module, std::fs::read_to_string(path).unwrap())
    });
    let own = include_str!("defects.rs");
    let rows = own.lines().filter(|line| line.starts_with("//! | ") && line.contains('`'));
    let mut named = 0;
    for row in rows.filter(|row| !row.contains("client: ")) {
        let cell = row.rsplit('|').nth(1).unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            named += 1;
            let (module, test) = name.split_once("::").unwrap_or(("", name));
            let found =
                sources.iter().find(|(known, _)| *known == module).map_or(own, |(_, text)| text);
            let whole = sources.iter().any(|(known, _)| *known == name);
            assert!(whole || found.contains(&format!("fn {test}(")), "{name}");
        }
    }
    assert!(named >= 25, "{named}");
}
