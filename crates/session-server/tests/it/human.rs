//! Human in the loop: a run goes on when everything it asked for is decided, with what was decided.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, Reply, sse},
    rig::{Log, Rig, Talk},
};

fn finished() -> Reply {
    sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2","finishReason":"stop"}"#])
}

impl Talk<'_> {
    /// Answers everything that [`asking`] asked.
    async fn decide_all(&self) {
        assert_eq!(self.approve("a1", true).await, 204);
        assert_eq!(self.approve("a2", false).await, 204);
        let result = json!({"toolCallId": "c3", "output": {"seen": 3}, "actorId": "bob"});
        assert_eq!(self.rig.post(&self.path("/tool-results"), result).await.0, 204);
    }
}

/// Two approvals and a tool for the client, in the dialect of an agent.
fn asking(dialect: &str) -> Reply {
    let legacy_call = |id: &str| {
        json!({"type": "tool_call", "index": 0, "toolCall":
        {"id": id, "type": "function", "function": {"name": "act", "arguments": "{}"}}})
    };
    let legacy_ask = |id: &str, call: &str| {
        json!({"type": "approval-requested", "toolCallId": call,
        "toolName": "act", "input": {}, "approval": {"id": id, "needsApproval": true}})
    };
    let start =
        |id: &str| json!({"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "act"});
    let interrupt = |id: &str, call: &str, kind: &str, reason: &str| {
        json!({"id": id,
        "reason": reason, "toolCallId": call, "metadata": {"kind": kind}})
    };
    let input = |id: &str| json!({"type": "tool-input-available", "toolCallId": id, "toolName": "act", "input": {}});
    let request = |id: &str, call: &str| json!({"type": "tool-approval-request", "approvalId": id, "toolCallId": call});
    let chunks: Vec<Value> = match dialect {
        "legacy" => vec![
            legacy_call("c1"),
            legacy_call("c2"),
            legacy_call("c3"),
            json!({"type": "done", "finishReason": "tool_calls"}),
            legacy_ask("a1", "c1"),
            legacy_ask("a2", "c2"),
            json!({"type": "done", "finishReason": "tool_calls"}),
        ],
        "ag-ui" => vec![
            json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}),
            start("c1"),
            start("c2"),
            start("c3"),
            json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r1", "outcome": {"type": "interrupt",
            "interrupts": [
                interrupt("a1", "c1", "approval", "approval_required"),
                interrupt("a2", "c2", "approval", "approval_required"),
                interrupt("i3", "c3", "client_tool", "client_tool_input"),
            ]}}),
        ],
        _ => vec![
            json!({"type": "start"}),
            input("c1"),
            input("c2"),
            input("c3"),
            request("a1", "c1"),
            request("a2", "c2"),
            json!({"type": "finish", "finishReason": "tool-calls"}),
        ],
    };
    sse(&chunks
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>())
}

#[tokio::test]
async fn a_run_goes_on_when_all_is_decided_also_across_restarts() {
    for dialect in ["legacy", "ag-ui", "ai-sdk"] {
        let end =
            sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2","finishReason":"stop"}"#]);
        let fake = Fake::new([asking(dialect), end]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let ends = if dialect == "legacy" { 2 } else { 1 };
        talk.until("the questions", |log| log.ended() == ends).await;
        assert_eq!(talk.approve("a1", true).await, 204);

        // A new server for every answer.
        let second = rig.crashed_copy(|_| {}).await;
        let result = json!({"toolCallId": "c3", "output": {"seen": 3}, "actorId": "bob"});
        assert_eq!(second.post(&talk.path("/tool-results"), result).await.0, 204);
        let third = second.crashed_copy(|_| {}).await;
        assert_eq!(fake.asked().len(), 1, "{dialect}: one answer is missing");
        let talk = third.talk(&talk.id);
        let no = json!({"approved": false, "payload": "Not that one.", "actorId": "ann"});
        assert_eq!(third.post(&talk.path("/approvals/a2"), no).await.0, 204);
        let log = talk.until("the end", |log| log.ended() == ends + 1).await;
        log.assert_gapless();

        assert_eq!(fake.asked().len(), 2, "{dialect}");
        let resume = fake.asked()[1]["resume"].clone();
        let payload = |id: &str| {
            let resume = resume.as_array().unwrap();
            resume.iter().find(|answer| answer["interruptId"] == id).unwrap()["payload"].clone()
        };
        assert_eq!(payload("a1"), json!({"approved": true}), "{dialect}");
        let no = json!({"approved": false, "reason": "Not that one."});
        assert_eq!(payload("a2"), no, "{dialect}: what was said goes with a no");
        assert_eq!(
            payload(if dialect == "ag-ui" { "i3" } else { "c3" }),
            json!({"seen": 3}),
            "{dialect}"
        );
        assert_eq!(resume.as_array().unwrap().len(), 3, "{dialect}");
        // Calls, results and refusals are in the history, too.
        let messages = fake.asked()[1]["messages"].clone();
        let messages = messages.as_array().unwrap();
        let calls = messages.iter().find(|message| message.get("toolCalls").is_some()).unwrap();
        assert_eq!(calls["toolCalls"].as_array().unwrap().len(), 3, "{dialect}");
        let result = |id: &str| {
            let of = messages.iter().find(|message| message["toolCallId"] == id);
            of.map(|message| message["content"].as_str().unwrap().to_owned())
        };
        assert_eq!(result("c1"), None, "{dialect}: the agent runs it now");
        let told = result("c2").unwrap();
        assert!(told.contains("denied") && told.contains("Not that one."), "{dialect}: {told}");
        assert_eq!(result("c3").unwrap(), r#"{"seen":3}"#, "{dialect}");
    }
}

#[tokio::test]
async fn an_answer_given_while_the_run_still_goes_is_not_lost() {
    let (send, rest) = tokio::sync::mpsc::channel::<String>(4);
    let fake = Fake::new([
        Reply::Fed(std::sync::Arc::new(std::sync::Mutex::new(Some(rest)))),
        sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2","finishReason":"stop"}"#]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let value = json!({"toolCallId": "c", "toolName": "act", "input": {}, "approval": {"id": "a", "needsApproval": true}});
    for chunk in [
        json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "act"}),
        json!({"type": "CUSTOM", "name": "approval-requested", "value": value}),
    ] {
        send.send(format!("data: {chunk}\n\n")).await.unwrap();
    }
    talk.until("the question", |log| !log.approvals().is_empty()).await;
    assert_eq!(talk.approve("a", true).await, 204);
    let end = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r1", "finishReason": "tool_calls"});
    send.send(format!("data: {end}\n\n")).await.unwrap();
    drop(send);
    talk.until("the end", |log| log.ended() == 2).await;
    assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": true}));
}

#[tokio::test]
async fn a_client_tool_that_was_denied_is_not_waited_for() {
    let ask = sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
        r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"act"}"#,
        r#"{"type":"CUSTOM","name":"approval-requested","value":{"toolCallId":"c","toolName":"act","input":{},"approval":{"id":"a","needsApproval":true}}}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[{"id":"i","reason":"client_tool_input","toolCallId":"c"}]}}"#,
    ]);
    let end =
        sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2","finishReason":"stop"}"#]);
    let fake = Fake::new([ask, end]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the question", |log| log.ended() == 1).await;
    assert_eq!(talk.approve("a", false).await, 204);
    talk.until("the end", |log| log.ended() == 2).await;
}

#[tokio::test]
async fn an_agent_that_has_nothing_to_say_to_an_answer_is_told_it_once() {
    let ask = sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[{"id":"a","reason":"approval_required","toolCallId":"c"}]}}"#,
    ]);
    let fake = Fake::new([ask, Reply::Whole(204, "text/plain", String::new())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the question", |log| log.ended() == 1).await;
    assert_eq!(talk.approve("a", true).await, 204);
    talk.until("its end", |log| log.ended() == 2).await;
    let after = rig.crashed_copy(|_| {}).await;
    after.talk(&talk.id).send("next").await;
    assert_eq!(fake.asked().iter().filter(|asked| asked.get("resume").is_some()).count(), 1);
}

#[tokio::test]
async fn an_answer_given_just_before_a_crash_is_told_after_it() {
    let (send, rest) = tokio::sync::mpsc::channel::<String>(4);
    let fed = Reply::Fed(std::sync::Arc::new(std::sync::Mutex::new(Some(rest))));
    let end =
        sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2","finishReason":"stop"}"#]);
    let fake = Fake::new([fed, end]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    for chunk in [
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[{"id":"a","reason":"approval_required","toolCallId":"c"}]}}"#,
    ] {
        send.send(format!("data: {chunk}\n\n")).await.unwrap();
    }
    // The agent has not closed its answer yet.
    talk.until("the question", |log| log.ended() == 1).await;
    assert_eq!(talk.approve("a", true).await, 204);
    let after = rig.crashed_copy(|_| {}).await;
    after.talk(&talk.id).until("the end", |log| log.ended() == 2).await;
    assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": true}));
}

#[tokio::test]
async fn an_agent_that_comes_back_is_told_what_was_decided_without_it() {
    let fake = Fake::new([asking("ag-ui"), finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the questions", |log| log.ended() == 1).await;
    assert_eq!(rig.call(Method::DELETE, &talk.path("/agents/agent"), json!({})).await.0, 204);
    talk.decide_all().await;
    assert_eq!(fake.asked().len(), 1, "nobody is there to be told");
    let agent = json!({"agents": [{"id": "agent", "endpoint": fake.agent_url()}]});
    assert_eq!(rig.post(&talk.path("/agents"), agent).await.0, 200);
    talk.until("the end", |log| log.ended() == 2).await;
    assert_eq!(fake.asked()[1]["resume"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_about_to_go_on_does_not_go_on_in_a_fork_too() {
    let fake = Fake::new([asking("ag-ui"), finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the questions", |log| log.ended() == 1).await;
    assert_eq!(rig.call(Method::DELETE, &talk.path("/agents/agent"), json!({})).await.0, 204);
    talk.decide_all().await;
    let (_, body) = rig.post(&talk.path("/fork"), json!({})).await;
    let agent = json!({"agents": [{"id": "agent", "endpoint": fake.agent_url()}]});
    let after = rig.crashed_copy(|_| {}).await;
    let fork = after.talk(body["sessionId"].as_str().unwrap());
    assert_eq!(after.post(&fork.path("/agents"), agent.clone()).await.0, 200);
    let log = fork.until("the failure", |log| log.count("RUN_ERROR") == 1).await;
    assert_eq!(log.find("RUN_ERROR").unwrap().1["code"], "forked");
    assert_eq!(after.post(&talk.path("/agents"), agent).await.0, 200);
    after.talk(&talk.id).until("the end", |log| log.ended() == 2).await;
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn an_inline_agents_questions_can_be_answered_in_a_fork_and_in_both() {
    let fake = Fake::new([asking("ag-ui"), finished()]).await;
    let rig = Rig::new().await;
    assert_eq!(rig.call(Method::PUT, "/v1/sessions/s", json!({})).await.0, 200);
    let talk = rig.talk("s");
    let agent = json!({"id": "guest", "endpoint": fake.agent_url(), "headers": {"x-key": "hush"}});
    let body = json!({"content": "go", "agent": agent});
    assert_eq!(rig.post(&talk.path("/messages"), body).await.0, 200);
    talk.until("the questions", |log| log.ended() == 1).await;
    let (_, body) = rig.post(&talk.path("/fork"), json!({})).await;
    let fork = rig.talk(body["sessionId"].as_str().unwrap());
    fork.decide_all().await;
    fork.until("the end in the fork", |log| log.ended() == 2).await;
    assert_eq!(rig.get(&fork.path("/agents")).await.1["agents"], json!([]), "it stays a guest");
    talk.decide_all().await;
    talk.until("the end", |log| log.ended() == 2).await;
    assert!(fake.asked_headers().iter().all(|headers| headers["x-key"] == "hush"));
}

#[tokio::test]
async fn the_demo_agent_waits_for_both_of_two_answers_also_across_a_restart() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("delete two files").await;
    let log = talk.until("two questions", |log| log.ended() == 1).await;
    let approvals = log.approvals();
    assert_eq!(approvals.len(), 2);
    assert_eq!(talk.approve(&approvals[1], false).await, 204);
    let after = rig.crashed_copy(|_| {}).await;
    let talk = after.talk(&talk.id);
    let waits = talk.items().await.len();
    assert_eq!(talk.approve(&approvals[1], false).await, 204, "a retry");
    assert_eq!(talk.items().await.len(), waits, "one answer is missing");
    assert_eq!(talk.approve(&approvals[0], true).await, 204);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    assert!(log.text().contains("**deleted**") && log.text().contains("you said **no**"));
    assert_eq!(log.count("RUN_STARTED"), 2);
    log.assert_gapless();
}

#[tokio::test]
async fn a_decision_survives_the_failure_of_the_run_that_was_told_it() {
    let refused = Reply::Whole(503, "text/plain", String::new());
    let fake = Fake::new([asking("ag-ui"), refused, finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    let message = talk.send("go").await;
    talk.until("the questions", |log| log.ended() == 1).await;
    talk.decide_all().await;
    talk.until("the failure", |log| log.count("RUN_ERROR") == 1).await;
    // Not by itself: the agent may have acted on it. Not after a restart either.
    let after = rig.crashed_copy(|_| {}).await;
    let talk = after.talk(&talk.id);
    assert_eq!(talk.approve("a1", true).await, 204, "a retry");
    assert_eq!(fake.asked().len(), 2);
    let again = json!({"fromMessageId": message, "actorId": "ann"});
    assert_eq!(after.post(&talk.path("/regenerate"), again).await.0, 200);
    let log = talk.until("the end", |log| log.ended() == 3).await;
    log.assert_gapless();
    assert_eq!(fake.asked().len(), 3);
    assert_eq!(fake.asked()[2]["resume"], fake.asked()[1]["resume"]);
    assert_eq!(fake.asked()[2]["resume"].as_array().unwrap().len(), 3);
    let ends = log.chunks().into_iter().filter(|(_, chunk)| chunk["type"] == "RUN_FINISHED");
    let owners: std::collections::HashSet<_> =
        ends.map(|(row, _)| row["messageId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(owners.len(), 1, "it goes on in its message");
}

#[tokio::test]
async fn an_answer_given_in_a_run_that_breaks_is_told_to_the_next_one() {
    let (send, rest) = tokio::sync::mpsc::channel::<String>(4);
    let fed = Reply::Fed(std::sync::Arc::new(std::sync::Mutex::new(Some(rest))));
    let fake = Fake::new([fed, finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let value = json!({"toolCallId": "c", "toolName": "act", "input": {}, "approval": {"id": "a", "needsApproval": true}});
    for chunk in [
        json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}),
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "act"}),
        json!({"type": "CUSTOM", "name": "approval-requested", "value": value}),
    ] {
        send.send(format!("data: {chunk}\n\n")).await.unwrap();
    }
    talk.until("the question", |log| !log.approvals().is_empty()).await;
    assert_eq!(talk.approve("a", true).await, 204);
    // The server dies with the run.
    let after = rig.crashed_copy(|_| {}).await;
    let log = after.talk(&talk.id).until("the end", |log| log.ended() == 2).await;
    assert_eq!((log.count("RUN_ERROR"), log.count("RUN_FINISHED")), (1, 1));
    assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": true}));
}

#[tokio::test]
async fn a_late_retry_does_not_answer_a_newer_question_with_the_same_id() {
    let fake = Fake::new([asking("ag-ui"), finished(), asking("ag-ui"), finished()]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    let yes = json!({"approved": true, "actorId": "ann", "txid": uuid::Uuid::new_v4()});
    let seen =
        json!({"toolCallId": "c3", "output": 1, "actorId": "ann", "txid": uuid::Uuid::new_v4()});
    talk.send("go").await;
    talk.until("the questions", |log| log.ended() == 1).await;
    let retry = async || {
        assert_eq!(rig.post(&talk.path("/approvals/a1"), yes.clone()).await.0, 204);
        assert_eq!(rig.post(&talk.path("/tool-results"), seen.clone()).await.0, 204);
    };
    retry().await;
    assert_eq!(talk.approve("a2", false).await, 204);
    talk.until("the end", |log| log.ended() == 2).await;
    talk.send("again").await;
    talk.until("the same questions", |log| log.ended() == 3).await;
    retry().await;
    let items = talk.items().await;
    assert_eq!(Log { items }.count("approval-response"), 2, "nobody has answered them");
    talk.decide_all().await;
    talk.until("the other end", |log| log.ended() == 4).await;
}

#[tokio::test]
async fn a_retried_tool_result_is_the_same_whatever_it_is_and_keeps_its_type() {
    for output in [json!(null), json!("42"), json!("true"), json!(""), json!(42), json!({"a": [1]})]
    {
        let fake = Fake::new([asking("ag-ui"), finished()]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the questions", |log| log.ended() == 1).await;
        let body = json!({"toolCallId": "c3", "output": output, "error": "", "actorId": "ann"});
        for _ in 0..2 {
            assert_eq!(
                rig.post(&talk.path("/tool-results"), body.clone()).await.0,
                204,
                "{output}"
            );
        }
        let other = json!({"toolCallId": "c3", "output": "something else"});
        assert_eq!(rig.post(&talk.path("/tool-results"), other).await.0, 409, "{output}");
        assert_eq!(talk.approve("a1", true).await, 204);
        assert_eq!(talk.approve("a2", true).await, 204);
        talk.until("the end", |log| log.ended() == 2).await;
        let resume = fake.asked()[1]["resume"].clone();
        let told = resume.as_array().unwrap().iter().find(|answer| answer["toolCallId"] == "c3");
        assert_eq!(told.unwrap()["payload"], output);
    }
}

#[tokio::test]
async fn an_agent_that_goes_on_in_any_way_is_told_once() {
    let say = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"x","delta":"ok"}"#;
    let end = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#;
    let custom = r#"{"type":"CUSTOM","name":"progress","value":{}}"#;
    let snapshot = r#"{"type":"MESSAGES_SNAPSHOT","messages":[]}"#;
    let legacy = r#"{"type":"content","delta":"ok","content":"ok"}"#;
    for answer in
        [&[say, end][..], &[say], &[custom, say, end], &[snapshot, end], &[legacy], &[custom]]
    {
        let fake = Fake::new([
            asking("ag-ui"),
            sse(answer),
            Reply::Whole(204, "text/plain", String::new()),
        ])
        .await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the questions", |log| log.ended() == 1).await;
        talk.decide_all().await;
        talk.until("the end", |log| log.ended() >= 2 && log.rests()).await;
        let after = rig.crashed_copy(|_| {}).await;
        after.talk(&talk.id).send("next").await;
        after
            .talk(&talk.id)
            .until("a rest", |log| log.count("whole-message") == 2 && log.rests())
            .await;
        let resumed = fake.asked().iter().filter(|asked| asked.get("resume").is_some()).count();
        assert_eq!(resumed, 1, "{answer:?}");
    }
}
