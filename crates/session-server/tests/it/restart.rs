//! What a restart finds: sessions, agents, sequence numbers, waiting approvals, runs to end.

use serde_json::json;

use crate::{
    fake::{Fake, Reply, sse},
    rig::Rig,
};

const HALF: &str =
    "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";

#[tokio::test]
async fn a_killed_servers_run_is_ended_and_its_agents_still_answer() {
    let fake = Fake::new([
        Reply::Hang(HALF.to_owned()),
        sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("a first word", |log| log.text() == "half").await;

    let after = rig.crashed_copy(|_| {}).await;
    let again = after.talk(&talk.id);
    // Nobody touches the session: the end comes by itself.
    let log = again.until("an end", |log| log.ended() == 1).await;
    assert_eq!(log.text(), "half", "what was said is kept");
    assert_eq!(log.find("RUN_ERROR").unwrap().1["code"], "interrupted");
    assert_eq!(fake.asked().len(), 1, "the agent is not called twice");
    assert_eq!(after.get("/v1/sessions").await.1["sessions"][0]["sessionId"], talk.id);
    again.send("again").await;
    let log = again.until("the next run", |log| log.ended() == 2).await;
    log.assert_gapless();
    assert_eq!(fake.asked().len(), 2, "the registered agent is known");
}

#[tokio::test]
async fn a_silent_run_is_ended_too() {
    let fake = Fake::new([Reply::Hang(String::new())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let deadline = tokio::time::Instant::now() + crate::rig::DEADLINE;
    while fake.asked().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the agent was not called");
        tokio::task::yield_now().await;
    }
    let after = rig.crashed_copy(|_| {}).await;
    let log = after.talk(&talk.id).until("an end", |log| log.ended() == 1).await;
    let (row, chunk) = log.find("RUN_ERROR").unwrap();
    assert_eq!(
        (row["actorId"].as_str(), chunk["code"].as_str()),
        (Some("agent"), Some("interrupted"))
    );
}

#[tokio::test]
async fn a_waiting_approval_is_answered_after_a_restart() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let asked = talk.until("an approval", |log| log.ended() == 1 && log.rests()).await;
    let approval = asked.approvals().remove(0);

    let after = rig.crashed_copy(|_| {}).await;
    let again = after.talk(&talk.id);
    assert_eq!(again.items().await.len(), talk.items().await.len(), "waiting is not interrupted");
    assert_eq!(again.approve(&approval, true).await, 204);
    let log = again.until("the end", |log| log.ended() == 2).await;
    assert!(log.text().contains("deleted"));
    log.assert_gapless();
    assert_eq!(again.approve(&approval, false).await, 409);
}

#[tokio::test]
async fn a_webhook_is_resumed_after_a_restart_with_its_headers() {
    let fake = Fake::new([
        sse(&[
            r#"{"type":"tool_call","toolCall":{"id":"c1","type":"function","function":{"name":"rm","arguments":"{}"}},"index":0}"#,
            r#"{"type":"approval-requested","toolCallId":"c1","toolName":"rm","input":{},"approval":{"id":"ap","needsApproval":true}}"#,
            r#"{"type":"done","finishReason":"tool_calls"}"#,
        ]),
        sse(&[r#"{"type":"done","finishReason":"stop"}"#]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let agent = json!({"id": "agent", "endpoint": fake.agent_url(), "headers": {"x-key": "hush"}});
    rig.post(&talk.path("/agents"), json!({"agents": [agent]})).await;
    talk.send("go").await;
    talk.until("the approval", |log| log.ended() == 1).await;

    let after = rig.crashed_copy(|_| {}).await;
    let again = after.talk(&talk.id);
    assert_eq!(again.approve("ap", false).await, 204);
    again.until("the end", |log| log.ended() == 2).await;
    assert_eq!(fake.asked_headers()[1]["x-key"], "hush");
    assert_eq!(fake.asked()[1]["resume"][0]["payload"], json!({"approved": false}));
}

#[tokio::test]
async fn a_server_that_is_shut_down_ends_its_runs_first() {
    let fake = Fake::new([Reply::Hang(HALF.to_owned())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("a first word", |log| log.text() == "half").await;
    let id = talk.id.clone();
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    let after = Rig::at(dir, |_| {}).await;
    let items = after.talk(&id).items().await;
    let mut chunks = items.iter().filter(|item| item["type"] == "chunk");
    let last = chunks.next_back().unwrap()["value"]["chunk"].as_str().unwrap().to_owned();
    assert!(last.contains("interrupted"), "{last}");
    assert_eq!(items.last().unwrap()["value"]["status"], "idle");
}

#[tokio::test]
async fn streams_without_the_servers_database_are_found_again() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let approval = talk.until("an approval", |log| log.ended() == 1).await.approvals().remove(0);
    rig.call(reqwest::Method::PATCH, &talk.path(""), json!({"title": "Kept"})).await;
    let id = talk.id.clone();
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    for file in ["server.sqlite", "server.sqlite-wal", "server.sqlite-shm"] {
        std::fs::remove_file(dir.path().join(file)).ok();
    }
    let after = Rig::at(dir, |_| {}).await;
    let again = after.talk(&id);
    assert_eq!(again.approve(&approval, true).await, 204);
    again.until("the end", |log| log.ended() == 2).await.assert_gapless();
    let (_, list) = after.get("/v1/sessions").await;
    assert_eq!(list["sessions"][0]["title"], "Kept");
}
