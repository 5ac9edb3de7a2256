//! Stopping a run: what was said stays, and who stopped it is in the log.

use serde_json::json;

use crate::{
    fake::{Fake, Reply, sse},
    rig::Rig,
};

#[tokio::test]
async fn a_stopped_run_keeps_its_text_and_says_who_stopped_it() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([
        Reply::Hang(start.to_owned()),
        sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("a first word", |log| log.text() == "half").await;
    let stop = json!({"messageId": null, "actorId": "bob"});
    assert_eq!(rig.post(&talk.path("/stop"), stop.clone()).await.0, 204);
    let log = talk.until("the stop", |log| log.count("stop") == 1).await;
    assert_eq!(log.text(), "half");
    let (row, chunk) = log.find("stop").unwrap();
    assert_eq!(row["actorId"], "bob");
    assert_eq!(chunk["reason"], "aborted");
    // Nothing is left to stop, and the agent is free again.
    assert_eq!(rig.post(&talk.path("/stop"), stop).await.0, 204);
    talk.send("again").await;
    let log = talk.until("the second run", |log| log.ended() == 2).await;
    assert_eq!(log.count("stop"), 1);
    log.assert_gapless();
}

#[tokio::test]
async fn a_run_stopped_before_its_first_word_is_still_the_agents() {
    let fake = Fake::new([Reply::Hang(String::new())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    rig.post(&talk.path("/stop"), json!({"actorId": "bob"})).await;
    let log = talk.until("the stop", |log| log.count("stop") == 1).await;
    let (row, _) = log.find("RUN_STARTED").unwrap();
    assert_eq!(row["actorId"], "agent");
}

#[tokio::test]
async fn stopping_what_does_not_exist_is_no_error() {
    let rig = Rig::new().await;
    assert_eq!(rig.post("/v1/sessions/none/stop", json!({})).await.0, 204);
    assert_eq!(rig.get("/v1/sessions/none").await.0, 404);
}
