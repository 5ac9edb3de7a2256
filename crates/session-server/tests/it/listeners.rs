//! Who answers whom, when several agents are there and people do not wait for each other.

use serde_json::{Value, json};

use crate::{
    fake::{Fake, Reply, sse},
    rig::{DEADLINE, Log, Rig, Talk},
};

fn says(text: &str) -> Reply {
    sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
        &json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": text}).to_string(),
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#,
    ])
}

async fn asked(fake: &Fake, times: usize) {
    let until = async {
        while fake.asked().len() < times {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, until).await.expect("the agent was not called");
}

/// What an agent was told, as texts.
fn told(request: &Value) -> Vec<&str> {
    request["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_str()).collect()
}

async fn with_agents<'a>(rig: &'a Rig, agents: Value) -> Talk<'a> {
    let talk = rig.talk(&uuid::Uuid::new_v4().to_string());
    let (status, body) =
        rig.call(reqwest::Method::PUT, &talk.path(""), json!({"agents": agents})).await;
    assert_eq!(status, 200, "{body}");
    talk
}

/// The last status of every agent in the log.
fn status(log: &Log, agent: &str) -> Vec<String> {
    let rows = log.items.iter().filter(|item| item["type"] == "agent" && item["key"] == agent);
    rows.filter_map(|row| Some(row["value"].get("status")?.as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn each_agent_listens_to_what_it_registered_for() {
    let (people, all, mentioned) =
        (Fake::new([says("p")]).await, Fake::new([says("a")]).await, Fake::new([says("m")]).await);
    let rig = Rig::new().await;
    let talk = with_agents(
        &rig,
        json!([
            {"id": "people", "endpoint": people.agent_url()},
            {"id": "all", "endpoint": all.agent_url(), "triggers": "all"},
            {"id": "piggy", "name": "Miss Piggy", "endpoint": mentioned.agent_url(), "triggers": "mentions"},
        ]),
    )
    .await;
    talk.send("hello, me@piggy.example").await;
    // `all` hears the person and the other agent.
    talk.until("three answers", |log| log.ended() == 3).await;
    assert_eq!((people.asked().len(), all.asked().len(), mentioned.asked().len()), (1, 2, 0));
    talk.send("and you, @miss piggy?").await;
    asked(&mentioned, 1).await;
    let wrong = json!({"agents": [{"id": "x", "endpoint": all.agent_url(), "triggers": "some"}]});
    assert_eq!(rig.post(&talk.path("/agents"), wrong).await.0, 400);
}

#[tokio::test]
async fn agents_that_talk_to_each_other_come_to_an_end() {
    for (depth, runs) in [(0, 1), (1, 2), (4, 5)] {
        let (ping, pong) = (Fake::new([says("@pong")]).await, Fake::new([says("@ping")]).await);
        let rig = Rig::with(|config| config.agent_depth = depth).await;
        let talk = with_agents(
            &rig,
            json!([
                {"id": "ping", "endpoint": ping.agent_url()},
                {"id": "pong", "endpoint": pong.agent_url(), "triggers": "mentions"},
            ]),
        )
        .await;
        talk.send("go").await;
        let log = talk.until("the last word", |log| log.ended() == runs).await;
        log.assert_gapless();
        assert_eq!(ping.asked().len() + pong.asked().len(), runs);
        if depth > 0 {
            assert_eq!(told(&pong.asked()[0]), ["go", "@pong"]);
        }
        // Nobody is left over: a new message starts a new count.
        talk.send("again").await;
        talk.until("the last word again", |log| log.ended() == 2 * runs).await;
    }
}

#[tokio::test]
async fn several_agents_answer_at_once() {
    let start = "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"x\"}\n\n";
    let one = Fake::new([Reply::Hang(start.to_owned())]).await;
    let two = Fake::new([Reply::Hang(start.to_owned())]).await;
    let rig = Rig::new().await;
    let talk = with_agents(
        &rig,
        json!([{"id": "one", "endpoint": one.agent_url()}, {"id": "two", "endpoint": two.agent_url()}]),
    )
    .await;
    talk.send("go").await;
    let log = talk.until("both", |log| log.text() == "xx").await;
    // Stopping one leaves the other.
    let of = |agent: &str| {
        let chunks = log.chunks();
        let row = chunks.iter().find(|(row, _)| row["actorId"] == agent);
        row.unwrap().0["messageId"].clone()
    };
    rig.post(&talk.path("/stop"), json!({"messageId": of("one"), "actorId": "bob"})).await;
    let log = talk.until("one stop", |log| log.count("stop") == 1).await;
    assert_eq!(log.find("stop").unwrap().0["messageId"], of("one"));
    assert_eq!(status(&log, "two").last().unwrap(), "streaming");
    rig.post(&talk.path("/stop"), json!({"actorId": "bob"})).await;
    talk.until("the other stop", |log| log.count("stop") == 2).await.assert_gapless();
}

#[tokio::test]
async fn a_stop_without_a_message_stops_what_its_actor_began() {
    let start = "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"x\"}\n\n";
    let (one, two) = (
        Fake::new([Reply::Hang(start.to_owned())]).await,
        Fake::new([Reply::Hang(start.to_owned())]).await,
    );
    let rig = Rig::new().await;
    let mentions = |id: &str, fake: &Fake| json!({"id": id, "endpoint": fake.agent_url(), "triggers": "mentions"});
    let talk = with_agents(&rig, json!([mentions("one", &one), mentions("two", &two)])).await;
    for (actor, text) in [("ann", "@one"), ("bob", "@two")] {
        let body = json!({"content": text, "actorId": actor});
        assert_eq!(rig.post(&talk.path("/messages"), body).await.0, 200);
    }
    talk.until("both", |log| log.text() == "xx").await;
    rig.post(&talk.path("/stop"), json!({"messageId": null, "actorId": "ann"})).await;
    let log = talk.until("ann's stop", |log| log.count("stop") == 1).await;
    let (row, _) = log.find("stop").unwrap();
    let chunks = log.chunks();
    let owner = chunks.iter().find(|(other, _)| other["messageId"] == row["messageId"]).unwrap();
    assert_eq!(owner.0["actorId"], "one", "bob's goes on");
    // She has none of her own any more: everything.
    rig.post(&talk.path("/stop"), json!({"messageId": null, "actorId": "ann"})).await;
    talk.until("bob's stop", |log| log.count("stop") == 2).await;
}

#[tokio::test]
async fn a_message_waits_for_the_run_or_steers_it() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(start.to_owned()), says("third"), says("second")]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("first").await;
    talk.until("a first word", |log| log.text() == "half").await;
    talk.send("second").await;
    assert_eq!(fake.asked().len(), 1, "it waits");
    let steer = json!({"content": "third", "actorId": "bob", "mode": "steer"});
    assert_eq!(rig.post(&talk.path("/messages"), steer).await.0, 200);
    let log = talk.until("all", |log| log.ended() == 3).await;
    let (row, chunk) = log.find("stop").unwrap();
    assert_eq!((row["actorId"].as_str(), chunk["reason"].as_str()), (Some("bob"), Some("steered")));
    assert_eq!(log.text(), "halfthirdsecond");
    log.assert_gapless();
    assert_eq!(told(&fake.asked()[1]), ["first", "half", "second", "third"]);
    assert_eq!(
        told(&fake.asked()[2]),
        ["first", "half", "third", "second"],
        "its own message last"
    );
    let bad = json!({"content": "x", "mode": "sometimes"});
    assert_eq!(rig.post(&talk.path("/messages"), bad).await.0, 400);
}

#[tokio::test]
async fn what_waits_its_turn_is_answered_after_a_restart() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(start.to_owned()), says("second")]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("first").await;
    talk.until("a first word", |log| log.text() == "half").await;
    talk.send("second").await;
    let after = rig.crashed_copy(|_| {}).await;
    let log = after.talk(&talk.id).until("both ends", |log| log.ended() == 2).await;
    assert_eq!(log.count("RUN_ERROR"), 1);
    assert_eq!(log.text(), "halfsecond");
    log.assert_gapless();
}

#[tokio::test]
async fn an_interrupted_answer_is_tried_again() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(start.to_owned()), says("whole")]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    let message = talk.send("first").await;
    talk.until("a first word", |log| log.text() == "half").await;
    let after = rig.crashed_copy(|_| {}).await;
    let again = after.talk(&talk.id);
    again.until("the interruption", |log| log.count("RUN_ERROR") == 1).await;
    let path = again.path("/regenerate");
    assert_eq!(after.post(&path, json!({"fromMessageId": message})).await.0, 200);
    let log = again.until("the answer", |log| log.ended() == 2).await;
    assert_eq!(log.count("whole-message"), 1, "the question is not asked twice");
    assert_eq!(told(fake.asked().last().unwrap()).last(), Some(&"first"));
    assert_eq!(after.post(&path, json!({"fromMessageId": "nobody"})).await.0, 404);
    assert_eq!(after.post(&path, json!({})).await.0, 400);
}

#[tokio::test]
async fn what_an_agent_does_is_in_its_row() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let blocked = |log: &Log| status(log, "agent").last().is_some_and(|last| last == "blocked");
    let log = talk.until("a blocked agent", blocked).await;
    assert_eq!(status(&log, "agent"), ["thinking", "streaming", "blocked"]);
    let row = log.items.iter().rfind(|item| item["type"] == "agent").unwrap();
    assert_eq!(row["value"]["endpoint"], "builtin:demo", "rows are complete");
    // Registered again: it goes on waiting.
    let same = json!({"agents": [{"id": "agent", "name": "Agent", "endpoint": "builtin:demo"}]});
    rig.post(&talk.path("/agents"), same).await;
    talk.approve(&log.approvals()[0], true).await;
    let idle = |log: &Log| status(log, "agent").last().is_some_and(|last| last == "idle");
    let log = talk.until("an idle agent", idle).await;
    assert_eq!(status(&log, "agent")[3..], ["thinking", "streaming", "idle"]);
}

#[tokio::test]
async fn an_agent_that_was_killed_in_mid_word_is_idle_again() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(start.to_owned())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("first").await;
    talk.until("streaming", |log| status(log, "agent").last().is_some_and(|s| s == "streaming"))
        .await;
    let after = rig.crashed_copy(|_| {}).await;
    let again = after.talk(&talk.id);
    again.until("idle", |log| status(log, "agent").last().is_some_and(|s| s == "idle")).await;
}

#[tokio::test]
async fn another_answer_gets_what_was_there_before_the_first_one() {
    let fake = Fake::new([says("one"), says("two"), says("other")]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    let first = talk.send("first").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    talk.send("second").await;
    talk.until("the second answer", |log| log.ended() == 2).await;
    let again = json!({"fromMessageId": first, "actorId": "ann"});
    assert_eq!(rig.post(&talk.path("/regenerate"), again).await.0, 200);
    talk.until("another answer", |log| log.ended() == 3).await;
    assert_eq!(told(&fake.asked()[1]), ["first", "one", "second"]);
    assert_eq!(told(&fake.asked()[2]), ["first"]);
}

#[tokio::test]
async fn a_queued_message_that_is_stopped_says_so() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(start.to_owned())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("first").await;
    talk.until("a first word", |log| log.text() == "half").await;
    talk.send("second").await;
    rig.post(&talk.path("/stop"), json!({"actorId": "bob"})).await;
    let log = talk.until("both stops", |log| log.count("stop") == 2).await;
    log.assert_gapless();
    assert!(
        log.chunks().iter().filter(|(_, c)| c["type"] == "stop").all(|(_, c)| c["by"] == "bob")
    );
    assert_eq!(fake.asked().len(), 1);
}
