//! When a run is over, and what goes on after it: agents end their responses more than once, not at all, or die in between.

use serde_json::{Value, json};

use crate::{
    fake::{Fake, Feed, Reply, sse},
    rig::{Log, Rig, Talk},
};

const START: &str = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#;
const CALL: &str = r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"act"}"#;
const OWN: &str = r#"{"type":"TOOL_CALL_START","toolCallId":"own","toolCallName":"look"}"#;
const ASK: &str = r#"{"type":"CUSTOM","name":"approval-requested","value":{"toolCallId":"c","toolName":"act","input":{},"approval":{"id":"a","needsApproval":true}}}"#;
const FOR_TOOLS: &str =
    r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","finishReason":"tool_calls"}"#;
const NO_REASON: &str = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1"}"#;
const DONE: &str = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","finishReason":"stop"}"#;

fn body(chunks: &[&str]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

/// The statuses that the agent has had.
fn statuses(log: &Log) -> Vec<String> {
    let rows = log.items.iter().filter(|item| item["type"] == "agent");
    rows.filter_map(|row| Some(row["value"].get("status")?.as_str()?.to_owned())).collect()
}

fn status(log: &Log) -> Option<String> {
    statuses(log).pop()
}

fn resumed(fake: &Fake) -> usize {
    fake.asked().iter().filter(|asked| asked.get("resume").is_some()).count()
}

impl Talk<'_> {
    async fn stop(&self, message_id: &Value) {
        let stop = json!({"messageId": message_id, "actorId": "bob"});
        assert_eq!(self.rig.post(&self.path("/stop"), stop).await.0, 204);
    }
}

#[tokio::test]
async fn an_answer_does_not_reset_how_often_agents_react_to_each_other() {
    let asks = |other: &str| {
        let text = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x", "delta": format!("@{other} look")});
        let tool = json!({"type": "CUSTOM", "name": "tool-input-available", "value": {"toolCallId": format!("for-{other}"), "toolName": "look", "input": {}}});
        let call = json!({"type": "TOOL_CALL_START", "toolCallId": format!("for-{other}"), "toolCallName": "look"});
        [
            sse(&[START, &call.to_string(), &tool.to_string(), FOR_TOOLS]),
            sse(&[&text.to_string(), DONE]),
        ]
    };
    // Ten times what is allowed.
    let cycle = |other: &str| asks(other).into_iter().cycle().take(80).collect::<Vec<_>>();
    let (ann, bob) = (Fake::new(cycle("bot-b")).await, Fake::new(cycle("bot-a")).await);
    let rig = Rig::with(|config| config.agent_depth = 3).await;
    let talk = rig.talk("s");
    let agents = json!([
        {"id": "bot-a", "endpoint": ann.agent_url(), "triggers": "mentions"},
        {"id": "bot-b", "endpoint": bob.agent_url(), "triggers": "mentions"},
    ]);
    rig.post(&talk.path("/agents"), json!({"agents": agents})).await;
    talk.send("@bot-a go").await;
    for n in 1..=4 {
        let call = if n % 2 == 1 { "for-bot-b" } else { "for-bot-a" };
        talk.until("a call", |log| log.ended() == 2 * n - 1).await;
        let result = json!({"toolCallId": call, "output": n, "actorId": "ann"});
        assert_eq!(rig.post(&talk.path("/tool-results"), result).await.0, 204);
        talk.until("an end", |log| log.ended() == 2 * n).await;
    }
    // Whoever reacted would do so in the step that writes the end.
    talk.until("a rest", |log| log.ended() == 8 && log.rests()).await;
    assert_eq!((ann.asked().len(), bob.asked().len()), (4, 4));
}

#[tokio::test]
async fn an_agent_that_dies_while_it_runs_its_own_tool_has_failed() {
    let start = body(&[START, OWN, FOR_TOOLS]);
    let fake = Fake::new([Reply::Break(start.clone()), Reply::Hang(start)]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let log = talk.until("the failure", |log| log.count("RUN_ERROR") == 1 && log.rests()).await;
    assert_eq!(status(&log).as_deref(), Some("idle"));

    talk.send("again").await;
    talk.until("the turn", |log| log.count("RUN_FINISHED") == 2).await;
    // The server is killed.
    let killed = rig.crashed_copy(|_| {}).await;
    let copy = killed.talk(&talk.id);
    let log = copy.until("the end", |log| log.count("RUN_ERROR") == 2 && log.rests()).await;
    assert_eq!(status(&log).as_deref(), Some("idle"));
    log.assert_gapless();
    // The server is stopped.
    let id = talk.id.clone();
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    let after = Rig::at(dir, |_| {}).await;
    let log = Log { items: after.talk(&id).items().await };
    assert_eq!(log.count("RUN_ERROR"), 2);
    assert_eq!(status(&log).as_deref(), Some("idle"));
}

#[tokio::test]
async fn a_whole_answer_stays_whole_when_the_server_ends_before_its_connection() {
    let fake = Fake::new([Reply::Hang(body(&[START, DONE]))]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the end", |log| log.ended() == 1).await;
    let killed = rig.crashed_copy(|_| {}).await;
    let log = killed.talk(&talk.id).until("a rest", Log::rests).await;
    assert_eq!(log.ended(), 1);
    let id = talk.id.clone();
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    let after = Rig::at(dir, |_| {}).await;
    assert_eq!(Log { items: after.talk(&id).items().await }.ended(), 1);
}

#[tokio::test]
async fn an_agent_that_asks_is_blocked_and_resumed_although_its_connection_stays_open() {
    let interrupt = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[{"id":"a","reason":"approval_required","toolCallId":"c"}]}}"#;
    let call = r#"{"type":"tool_call","index":0,"toolCall":{"id":"c","type":"function","function":{"name":"act","arguments":"{}"}}}"#;
    let ask = r#"{"type":"approval-requested","toolCallId":"c","toolName":"act","input":{},"approval":{"id":"a","needsApproval":true}}"#;
    let done = r#"{"type":"done","finishReason":"tool_calls"}"#;
    let input = r#"{"type":"tool-input-available","toolCallId":"c","toolName":"act","input":{}}"#;
    let request = r#"{"type":"tool-approval-request","approvalId":"a","toolCallId":"c"}"#;
    let finish = r#"{"type":"finish","finishReason":"tool-calls"}"#;
    for asking in [
        &[START, CALL, ASK, FOR_TOOLS][..],
        &[START, CALL, ASK, NO_REASON],
        &[START, CALL, interrupt],
        &[call, ask, done],
        // As older servers send it.
        &[call, done, ask],
        &[r#"{"type":"start"}"#, input, request, finish],
    ] {
        let fake = Fake::new([Reply::Hang(body(asking)), sse(&[DONE])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let blocked = |log: &Log| status(log).as_deref() == Some("blocked");
        talk.until("the question", blocked).await;
        assert_eq!(talk.approve("a", true).await, 204);
        let ended =
            |log: &Log| log.count("RUN_FINISHED") > 0 && status(log).as_deref() == Some("idle");
        let log = talk.until("the end", ended).await;
        assert_eq!(resumed(&fake), 1, "{asking:?}");
        assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": true}));
        log.assert_gapless();
    }
}

#[tokio::test]
async fn a_question_on_an_open_connection_does_not_keep_others_waiting() {
    let asking = Reply::Hang(body(&[START, CALL, ASK, FOR_TOOLS]));
    let fake = Fake::new([asking, sse(&[DONE])]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.send("and this").await;
    let log = talk.until("the second answer", |log| log.ended() == 2 && log.rests()).await;
    assert_eq!(status(&log).as_deref(), Some("blocked"), "the first one still asks");
    assert_eq!(talk.approve("a", true).await, 204);
    talk.until("the first answer", |log| log.ended() == 3).await;
    assert_eq!(resumed(&fake), 1);
}

#[tokio::test]
async fn an_answer_between_two_ends_of_a_response_is_told_once() {
    // The second end comes as another answer's, or none does, or the agent was busy with a tool of its own meanwhile.
    let result = r#"{"type":"TOOL_CALL_RESULT","messageId":"x","toolCallId":"own","content":"1"}"#;
    let word = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x","delta":"so"}"#;
    for (before, after) in [
        (&[START, CALL, ASK, FOR_TOOLS][..], &[FOR_TOOLS][..]),
        (&[START, CALL, ASK, FOR_TOOLS], &[r#"{"type":"done"}"#]),
        (&[START, CALL, ASK, FOR_TOOLS], &[r#"{"type":"finish"}"#]),
        (&[START, OWN, CALL, ASK, FOR_TOOLS], &[result, word, DONE]),
    ] {
        for crash in [false, true] {
            let (feed, fed) = Feed::new();
            let fake = Fake::new([fed, sse(&[DONE])]).await;
            let rig = Rig::new().await;
            let talk = rig.session(&fake.agent_url()).await;
            talk.send("go").await;
            feed.send(&body(before)).await;
            talk.until("the question", |log| log.ended() == 1).await;
            assert_eq!(talk.approve("a", true).await, 204);
            feed.send(&body(after)).await;
            let copy;
            let talk = if crash {
                talk.until("its second end", |log| log.ended() == 2).await;
                copy = rig.crashed_copy(|_| {}).await;
                copy.talk(&talk.id)
            } else {
                drop(feed);
                talk
            };
            let ended = |log: &Log| log.ended() == 3 && log.rests();
            let log = talk.until("the end", ended).await;
            assert_eq!(status(&log).as_deref(), Some("idle"));
            assert_eq!(resumed(&fake), 1, "{after:?}, {crash}");
            assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": true}));
        }
    }
}

#[tokio::test]
async fn two_agents_that_ask_under_the_same_id_are_both_answered() {
    let ask = || [sse(&[START, CALL, ASK, FOR_TOOLS]), sse(&[DONE])];
    let (one, two) = (Fake::new(ask()).await, Fake::new(ask()).await);
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let agents = json!([
        {"id": "one", "endpoint": one.agent_url()}, {"id": "two", "endpoint": two.agent_url()},
    ]);
    rig.post(&talk.path("/agents"), json!({"agents": agents})).await;
    talk.send("go").await;
    talk.until("both questions", |log| log.ended() == 2).await;
    // Also after a restart.
    let after = rig.crashed_copy(|_| {}).await;
    let talk = after.talk("s");
    let log = Log { items: talk.items().await };
    let of = |agent: &str| {
        let chunks = log.chunks();
        let (row, _) = chunks.iter().find(|(row, _)| row["actorId"] == agent).unwrap();
        row["messageId"].clone()
    };
    for (n, (agent, approved)) in [("one", true), ("two", false)].into_iter().enumerate() {
        let body = json!({"approved": approved, "actorId": "ann", "messageId": of(agent)});
        for _ in 0..2 {
            assert_eq!(
                after.post(&talk.path("/approvals/a"), body.clone()).await.0,
                204,
                "{agent}"
            );
        }
        talk.until("an end", |log| log.ended() == 3 + n && log.rests()).await;
    }
    for (fake, approved) in [(&one, true), (&two, false)] {
        assert_eq!(resumed(fake), 1);
        assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": approved}));
    }
    let nowhere = json!({"approved": true, "messageId": "none"});
    assert_eq!(after.post(&talk.path("/approvals/a"), nowhere).await.0, 404);
}

#[tokio::test]
async fn stopping_a_message_that_asks_denies_what_it_asks() {
    let hang = Reply::Hang(body(&[START, CALL, ASK]));
    let fake = Fake::new([sse(&[START, CALL, ASK, FOR_TOOLS]), hang]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    // It waits; or it goes on and has asked.
    for (n, when) in ["blocked", "thinking"].into_iter().enumerate() {
        let asked =
            |log: &Log| log.approvals().len() == n + 1 && status(log).as_deref() == Some(when);
        let log = talk.until("the question", asked).await;
        let message = log.chunks().iter().rfind(|(row, _)| row["role"] == "assistant").unwrap().0["messageId"].clone();
        talk.stop(&message).await;
        let stopped = |log: &Log| log.count("stop") == n + 1 && log.rests();
        let log = talk.until("the stop", stopped).await;
        assert_eq!(status(&log).as_deref(), Some("idle"));
        let chunks = log.chunks();
        let denial =
            chunks.iter().rfind(|(_, chunk)| chunk["type"] == "approval-response").unwrap();
        assert_eq!((&denial.0["actorId"], &denial.1["approved"]), (&json!("bob"), &json!(false)));
        assert_eq!(talk.approve("a", true).await, 409);
        assert_eq!(talk.approve("a", false).await, 204, "as it was");
        // Nobody goes on with it, also after a restart.
        talk.stop(&message).await;
        let after = rig.crashed_copy(|_| {}).await;
        let again = Log { items: after.talk(&talk.id).items().await };
        assert_eq!(again.items.len(), log.items.len());
        assert_eq!(fake.asked().len(), n + 1);
        if n == 0 {
            talk.send("again").await;
        }
    }
}

#[tokio::test]
async fn the_end_of_a_run_inside_another_one_is_not_its_end() {
    let fake = Fake::new([sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"outer"}"#,
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"inner"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"inner","finishReason":"stop"}"#,
    ])])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let log = talk.until("both ends", |log| log.ended() == 2).await;
    assert_eq!(log.chunks().last().unwrap().1["runId"], "outer");
}

#[tokio::test]
async fn the_same_approval_id_for_another_call_is_asked_again() {
    let other = ASK.replace(r#""toolCallId":"c""#, r#""toolCallId":"c2""#);
    let call = CALL.replace(r#""c""#, r#""c2""#);
    let again = sse(&[START, &call, &other, FOR_TOOLS]);
    let fake = Fake::new([sse(&[START, CALL, ASK, FOR_TOOLS]), again, sse(&[DONE])]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the question", |log| log.ended() == 1).await;
    assert_eq!(talk.approve("a", true).await, 204);
    talk.until("the other question", |log| log.ended() == 2 && log.rests()).await;
    let after = rig.crashed_copy(|_| {}).await;
    let talk = after.talk(&talk.id);
    assert_eq!(talk.approve("a", false).await, 204);
    talk.until("the end", |log| log.ended() == 3 && log.rests()).await;
    let told = |n: usize| fake.asked()[n]["resume"].clone();
    assert_eq!(told(1)[0]["payload"], json!({"approved": true}));
    assert_eq!(told(2)[0]["payload"], json!({"approved": false}));
    assert_eq!(
        (told(2)[0]["toolCallId"].as_str(), told(2).as_array().unwrap().len()),
        (Some("c2"), 1)
    );
}

#[tokio::test]
async fn what_comes_behind_an_end_and_says_nothing_changes_nothing() {
    let sdk = [
        r#"{"type":"start"}"#,
        r#"{"type":"tool-input-available","toolCallId":"c","toolName":"act","input":{}}"#,
        r#"{"type":"tool-approval-request","approvalId":"a","toolCallId":"c"}"#,
        r#"{"type":"finish","finishReason":"tool-calls"}"#,
    ];
    let agui = [START, CALL, ASK, FOR_TOOLS];
    for (asking, behind) in [
        (agui, r#"{"type":"CUSTOM","name":"usage","value":{"tokens":1}}"#),
        (agui, r#"{"type":"STEP_FINISHED","stepName":"s"}"#),
        (agui, r#"{"type":"MESSAGES_SNAPSHOT","messages":[]}"#),
        (agui, r#"{"type":"STATE_DELTA","delta":[]}"#),
        (agui, r#"{"type":"ping"}"#),
        (agui, "{}"),
        (sdk, r#"{"type":"data-usage","data":{"tokens":1}}"#),
        // Not an error: that ends a run in every dialect.
    ] {
        let (feed, fed) = Feed::new();
        let fake = Fake::new([fed, sse(&[DONE])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        feed.send(&body(&asking)).await;
        // It keeps its connection alive that way.
        let alive = tokio::spawn(async move {
            loop {
                feed.send(&body(&[behind])).await;
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        });
        let noted = |log: &Log| {
            log.chunks().iter().any(|(_, chunk)| {
                chunk.to_string().contains(behind)
                    || json!(chunk) == serde_json::from_str::<Value>(behind).unwrap()
            })
        };
        let log = talk.until("the question", noted).await;
        assert_eq!(status(&log).as_deref(), Some("blocked"), "{behind}");
        assert_eq!(talk.approve("a", true).await, 204);
        let ended =
            |log: &Log| log.count("RUN_FINISHED") > 0 && status(log).as_deref() == Some("idle");
        talk.until("the end", ended).await;
        assert_eq!(resumed(&fake), 1, "{behind}");
        alive.abort();
    }
}

#[tokio::test]
async fn an_error_ends_a_run_in_every_dialect_and_what_comes_behind_it_does_no_harm() {
    let word = r#"{"type":"text-delta","id":"0","delta":"so"}"#;
    let agui = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x","delta":"so"}"#;
    let legacy = r#"{"type":"content","delta":"so","content":"so"}"#;
    for (begin, error, behind, ends) in [
        (
            r#"{"type":"start"}"#,
            r#"{"type":"error","errorText":"the cause"}"#,
            [
                r#"{"type":"start"}"#,
                word,
                r#"{"type":"error","errorText":"another"}"#,
                r#"{"type":"finish","finishReason":"stop"}"#,
            ],
            2, // older readers wait for a `finish`
        ),
        (START, r#"{"type":"RUN_ERROR","message":"the cause"}"#, [START, agui, ASK, DONE], 1),
        (
            legacy,
            r#"{"type":"error","error":{"message":"the cause"}}"#,
            [legacy, legacy, legacy, r#"{"type":"done","finishReason":"stop"}"#],
            1,
        ),
        (
            legacy,
            r#"{"type":"error","error":"the cause"}"#,
            [legacy, r#"{"type":"error","error":"another"}"#, legacy, r#"{"type":"stop"}"#],
            1,
        ),
    ] {
        // All of it at once in an open connection, in one that breaks, and in a whole response.
        let all = body(&[&[begin, error], &behind[..]].concat());
        for first in [Reply::Hang(all.clone()), Reply::Break(all.clone()), sse(&[begin, error])] {
            let fake = Fake::new([first, sse(&[START, DONE])]).await;
            let rig = Rig::new().await;
            let talk = rig.session(&fake.agent_url()).await;
            talk.send("go").await;
            let log = talk.until("the failure", |log| log.ended() > 0 && log.rests()).await;
            assert_eq!(status(&log).as_deref(), Some("idle"));
            // The next run begins at once, and nothing came in between.
            talk.send("again").await;
            let log = talk.until("the end", |log| log.ended() == ends + 1 && log.rests()).await;
            let seen = session_protocol::materialize(&log.items);
            let failed = seen.messages.iter().find(|message| message.error.is_some()).unwrap();
            assert_eq!(failed.error.as_ref().unwrap().message, "the cause");
            assert!(failed.is_complete && !failed.plain_text().contains("soso"), "{error}");
            assert!(seen.active_generations.is_empty() && seen.pending_approvals.is_empty());
            // Nobody sweeps it up after a crash.
            let after = rig.crashed_copy(|_| {}).await;
            assert_eq!(after.talk(&talk.id).items().await.len(), log.items.len());
        }
    }
}

#[tokio::test]
async fn what_comes_between_a_call_and_its_end_does_not_make_it_forgotten() {
    let progress = r#"{"type":"CUSTOM","name":"progress","value":1}"#;
    let thought = r#"{"type":"REASONING_MESSAGE_CONTENT","messageId":"x","delta":"hm"}"#;
    for between in [progress, thought] {
        let chunks = [START, OWN, between, FOR_TOOLS];
        let fake = Fake::new([Reply::Break(body(&chunks)), sse(&chunks)]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the failure", |log| log.count("RUN_ERROR") == 1 && log.rests()).await;
        talk.send("again").await;
        let log = talk.until("the end", |log| log.ended() == 3 && log.rests()).await;
        assert_eq!(status(&log).as_deref(), Some("blocked"), "{between}");
    }
}

#[tokio::test]
async fn a_server_that_stops_leaves_what_was_decided_to_the_next_one() {
    let word = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x","delta":"so"}"#;
    for chunks in [&[START, CALL, ASK, FOR_TOOLS][..], &[START, CALL, ASK, word]] {
        let fake = Fake::new([Reply::Hang(body(chunks)), sse(&[DONE])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the question", |log| !log.approvals().is_empty()).await;
        assert_eq!(talk.approve("a", true).await, 204);
        let id = talk.id.clone();
        let Rig { dir, server, .. } = rig;
        server.shutdown().await;
        let after = Rig::at(dir, |_| {}).await;
        let log = after.talk(&id).until("the end", |log| log.ended() == 2 && log.rests()).await;
        log.assert_gapless();
        assert_eq!(resumed(&fake), 1);
    }
}

#[tokio::test]
async fn a_server_that_stops_at_once_has_called_the_agent_or_leaves_it_to_the_next_one() {
    for _ in 0..5 {
        let fake = Fake::new([sse(&[START, DONE])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let id = talk.id.clone();
        let Rig { dir, server, .. } = rig;
        server.shutdown().await;
        let after = Rig::at(dir, |_| {}).await;
        let log = after.talk(&id).until("the end", |log| log.ended() == 1).await;
        assert!(log.count("RUN_ERROR") == 1 || fake.asked().len() == 1);
        log.assert_gapless();
    }
}

/// An agent that greets another one, ends like this and leaves its connection open; and the other one.
async fn greeting(end: &str) -> (Fake, Fake) {
    let text = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x","delta":"hello @two"}"#;
    let one = Fake::new([Reply::Hang(body(&[START, text, end]))]).await;
    (one, Fake::new([sse(&[START, DONE])]).await)
}

/// Two agents that answer who mentions them.
async fn two<'a>(rig: &'a Rig, one: &Fake, two: &Fake) -> Talk<'a> {
    let talk = rig.talk("s");
    let agents = json!([
        {"id": "one", "endpoint": one.agent_url(), "triggers": "mentions"},
        {"id": "two", "endpoint": two.agent_url(), "triggers": "mentions"},
    ]);
    rig.post(&talk.path("/agents"), json!({"agents": agents})).await;
    talk
}

#[tokio::test]
async fn agents_react_to_whole_messages() {
    let call = r#"{"type":"CUSTOM","name":"tool-input-available","value":{"toolCallId":"c","toolName":"act","input":{}}}"#;
    let text = |text: &str| {
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x", "delta": text}).to_string()
    };
    // Mentioned in one half or in both.
    for (half, rest) in [("@two look", "done"), ("look", "done, @two"), ("@two look", "done, @two")]
    {
        // Answered before the half ends, or after it.
        for early in [true, false] {
            let (feed, fed) = Feed::new();
            let one = Fake::new([fed, sse(&[&text(rest), DONE])]).await;
            let other = Fake::new([sse(&[START, DONE])]).await;
            let rig = Rig::new().await;
            let talk = two(&rig, &one, &other).await;
            talk.send("@one go").await;
            feed.send(&body(&[START, &text(half), CALL, call])).await;
            talk.until("the call", |log| log.count("CUSTOM") == 1).await;
            let result = json!({"toolCallId": "c", "output": 1, "actorId": "ann"});
            if early {
                assert_eq!(rig.post(&talk.path("/tool-results"), result.clone()).await.0, 204);
            }
            feed.send(&body(&[FOR_TOOLS])).await;
            drop(feed);
            if !early {
                talk.until("a rest", |log| log.ended() == 1 && log.rests()).await;
                assert_eq!(rig.post(&talk.path("/tool-results"), result).await.0, 204);
            }
            talk.until("all ends", |log| log.ended() == 3 && log.rests()).await;
            assert_eq!((one.asked().len(), other.asked().len()), (2, 1), "{half}, {rest}");
            let heard = other.asked()[0]["messages"].as_array().unwrap().last().unwrap()["content"]
                .to_string();
            assert!(heard.contains("done"), "{heard}");
        }
    }
}

#[tokio::test]
async fn a_reaction_is_not_lost_when_the_server_ends_before_the_connection() {
    let (one, other) = greeting(DONE).await;
    let rig = Rig::new().await;
    let talk = two(&rig, &one, &other).await;
    talk.send("@one go").await;
    talk.until("the end", |log| log.ended() == 1).await;
    // Killed.
    let killed = rig.crashed_copy(|_| {}).await;
    killed.talk("s").until("the reaction", |log| log.ended() == 2).await;
    assert_eq!(other.asked().len(), 1);
    // And not again.
    let again = killed.crashed_copy(|_| {}).await;
    again.talk("s").until("a rest", |log| log.ended() == 2 && log.rests()).await;
    // Stopped.
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    let after = Rig::at(dir, |_| {}).await;
    after.talk("s").until("the reaction", |log| log.ended() == 2).await;
    assert_eq!((one.asked().len(), other.asked().len()), (1, 2));
}

#[tokio::test]
async fn an_agent_that_is_registered_again_does_what_it_does() {
    let fake = Fake::new([sse(&[START, CALL, ASK, FOR_TOOLS]), Reply::Hang(body(&[START]))]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the question", |log| log.ended() == 1 && log.rests()).await;
    let again = async |expected: &str| {
        let agents = json!({"agents": [{"id": "agent", "endpoint": fake.agent_url()}]});
        assert_eq!(
            rig.call(reqwest::Method::DELETE, &talk.path("/agents/agent"), json!({})).await.0,
            204
        );
        assert_eq!(rig.post(&talk.path("/agents"), agents).await.0, 200);
        assert_eq!(status(&Log { items: talk.items().await }).as_deref(), Some(expected));
    };
    again("blocked").await;
    talk.send("more").await;
    talk.until("a start", |log| log.count("RUN_STARTED") == 2).await;
    again("thinking").await;
}

#[tokio::test]
async fn steering_an_agent_that_asks_leaves_its_question_whether_its_connection_is_open() {
    for asking in
        [sse(&[START, CALL, ASK, FOR_TOOLS]), Reply::Hang(body(&[START, CALL, ASK, FOR_TOOLS]))]
    {
        let fake = Fake::new([asking, sse(&[START, DONE])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the question", |log| status(log).as_deref() == Some("blocked")).await;
        let steer = json!({"content": "rather this", "actorId": "ann", "mode": "steer"});
        assert_eq!(rig.post(&talk.path("/messages"), steer).await.0, 200);
        talk.until("the other end", |log| log.ended() == 2 && log.rests()).await;
        assert_eq!(talk.approve("a", true).await, 204);
        let log = talk.until("the end", |log| log.ended() == 3 && log.rests()).await;
        assert_eq!(log.count("stop"), 0);
    }
}

#[tokio::test]
async fn a_fork_made_just_after_an_answer_does_not_act_on_it() {
    for open in [true, false] {
        let asking = [START, CALL, ASK, FOR_TOOLS];
        let asking = if open { Reply::Hang(body(&asking)) } else { sse(&asking) };
        let fake = Fake::new([asking, sse(&[START, DONE])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the question", |log| status(log).as_deref() == Some("blocked")).await;
        assert_eq!(talk.approve("a", true).await, 204);
        let (_, made) = rig.post(&talk.path("/fork"), json!({})).await;
        talk.until("the end", |log| log.ended() == 2).await;
        let after = rig.crashed_copy(|_| {}).await;
        let fork = after.talk(made["sessionId"].as_str().unwrap());
        assert_eq!(after.get(&fork.path("/agents")).await.0, 200);
        let log = Log { items: fork.items().await };
        // Either it had gone on already when the fork was made, or it does so there alone.
        assert!(log.count("RUN_ERROR") == 1 || log.ended() == 2, "{:#?}", log.items);
        assert_eq!(resumed(&fake), 1, "{open}");
    }
}

#[tokio::test]
async fn what_is_asked_of_an_agent_that_is_done_does_not_wait_for_its_connection() {
    let (one, other) = greeting(NO_REASON).await;
    let rig = Rig::new().await;
    let talk = two(&rig, &one, &other).await;
    let message = talk.send("@one go").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    // It would be waited for longer than the test does. Stopping it stops nothing, and what comes of it comes.
    talk.stop(&log.find("RUN_STARTED").unwrap().0["messageId"]).await;
    let log = talk.until("the reaction", |log| log.ended() == 2 && log.rests()).await;
    assert_eq!(log.count("stop"), 0);
    let again = json!({"fromMessageId": message, "content": "@one go", "actorId": "ann"});
    assert_eq!(rig.post(&talk.path("/regenerate"), again).await.0, 200);
    talk.until("another answer", |log| log.ended() == 3).await;
    let again = json!({"fromMessageId": message, "actorId": "ann"});
    assert_eq!(rig.post(&talk.path("/regenerate"), again).await.0, 200);
    talk.until("yet another answer", |log| log.ended() >= 4 && one.asked().len() == 3).await;
    assert_eq!(one.asked().len(), 3);
}

#[tokio::test]
async fn a_late_result_that_nobody_waits_for_wakes_nobody() {
    let fake = Fake::new([sse(&[START, OWN, DONE]), sse(&[START, DONE])]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the end", |log| log.ended() == 1 && log.rests()).await;
    let result = json!({"toolCallId": "own", "output": 1, "actorId": "ann"});
    assert_eq!(rig.post(&talk.path("/tool-results"), result).await.0, 204);
    talk.send("next").await;
    talk.until("the next end", |log| log.ended() == 2 && log.rests()).await;
    assert_eq!(resumed(&fake), 0);
}

/// A server may die when the reaction is planned and the run that it reacts to is not let go yet.
#[tokio::test]
async fn a_reaction_that_is_planned_is_not_planned_again() {
    let (one, other) = greeting(DONE).await;
    let rig = Rig::new().await;
    let talk = two(&rig, &one, &other).await;
    talk.send("@one go").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    let message = log.find("RUN_STARTED").unwrap().0["messageId"].as_str().unwrap().to_owned();
    let dir = rig.copied_files();
    let plan = json!({"run_id": "planned", "message_id": "m", "agent_id": "two", "depth": 1,
        "cause": {"kind": "reply", "id": message}});
    let database = rusqlite::Connection::open(dir.path().join("server.sqlite")).unwrap();
    let planned =
        "INSERT INTO runs (run_id, session_id, plan, started) VALUES ('planned', 's', ?1, 0)";
    assert_eq!(database.execute(planned, [plan.to_string()]).unwrap(), 1);
    drop(database);
    let after = Rig::at(dir, |_| {}).await;
    let copy = after.talk("s");
    copy.until("the reaction", |log| log.ended() == 2 && log.rests()).await;
    copy.send("@two thanks").await;
    copy.until("an answer", |log| log.ended() == 3 && log.rests()).await;
    assert_eq!(other.asked().len(), 2);
}
