//! What goes on by itself after the end of a server, and what does not.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use session_server::{ModelConfig, ServerConfig};

use crate::{
    fake::{Fake, Reply},
    model::{delta, finish, stream},
    rig::{Log, Rig},
};

fn on(config: &mut ServerConfig) {
    config.continue_runs = true;
    config.demo_pace = Duration::from_millis(2);
}

/// The numbers of the demo agent's long answer.
fn numbers(log: &Log) -> Vec<u32> {
    let text = log.text();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// How the runs of agents ended, in order.
fn ends(log: &Log) -> Vec<String> {
    let ends = ["RUN_FINISHED", "RUN_ERROR", "stop"];
    let chunks = log.chunks();
    let of_agents = chunks.iter().filter(|(row, _)| row["role"] == "assistant");
    let kinds = of_agents.filter_map(|(_, chunk)| chunk["type"].as_str());
    kinds.filter(|kind| ends.contains(kind)).map(str::to_owned).collect()
}

fn counted(to: u32) -> Vec<u32> {
    (1..=to).collect()
}

async fn in_mid_answer(rig: &Rig) -> String {
    let talk = rig.session("builtin:demo").await;
    talk.send("long 300").await;
    talk.until("some words", |log| numbers(log).len() > 20).await;
    talk.id
}

#[tokio::test]
async fn the_demo_agent_goes_on_where_a_kill_interrupted_it_with_every_word_once() {
    let rig = Rig::with(on).await;
    let id = in_mid_answer(&rig).await;
    let after = rig.crashed_copy(on).await;
    let log = after.talk(&id).until("both ends", |log| log.ended() == 2).await;
    assert_eq!(ends(&log), ["RUN_ERROR", "RUN_FINISHED"]);
    assert_eq!(log.find("RUN_ERROR").unwrap().1["code"], "interrupted");
    assert_eq!(numbers(&log), counted(300));
    log.assert_gapless();
    let messages: std::collections::HashSet<String> = log
        .chunks()
        .iter()
        .filter(|(row, _)| row["role"] == "assistant")
        .map(|(row, _)| row["messageId"].to_string())
        .collect();
    assert_eq!(messages.len(), 1, "it is one message");
}

#[tokio::test]
async fn it_goes_on_once_and_no_more() {
    let rig = Rig::with(on).await;
    let id = in_mid_answer(&rig).await;
    let second = rig.crashed_copy(on).await;
    let talk = second.talk(&id);
    talk.until("more words", |log| log.ended() == 1 && numbers(log).len() > 60).await;
    let third = second.crashed_copy(on).await;
    let talk = third.talk(&id);
    let log = talk.until("the second end", |log| log.ended() == 2 && log.rests()).await;
    assert_eq!(ends(&log), ["RUN_ERROR", "RUN_ERROR"]);
    // A person can still ask, and nothing else is under way.
    talk.send("hello").await;
    let log = talk.until("an answer", |log| log.ended() == 3).await;
    assert_eq!(ends(&log), ["RUN_ERROR", "RUN_ERROR", "RUN_FINISHED"]);
}

#[tokio::test]
async fn a_server_that_is_shut_down_goes_on_at_its_next_start_unless_for_good() {
    for for_good in [false, true] {
        let rig = Rig::with(on).await;
        let id = in_mid_answer(&rig).await;
        let Rig { dir, server, .. } = rig;
        if for_good {
            server.shutdown_for_good().await;
        } else {
            server.shutdown().await;
        }
        let after = Rig::at(dir, on).await;
        let talk = after.talk(&id);
        if for_good {
            talk.send("hello").await;
        }
        let log = talk.until("both ends", |log| log.ended() == 2).await;
        assert_eq!(ends(&log), ["RUN_ERROR", "RUN_FINISHED"]);
        assert_eq!(numbers(&log) == counted(300), !for_good, "for good: {for_good}");
    }
}

#[tokio::test]
async fn what_was_stopped_or_asked_stays_so() {
    let rig = Rig::with(on).await;
    let id = in_mid_answer(&rig).await;
    let talk = rig.talk(&id);
    let (status, _) = rig.post(&talk.path("/stop"), json!({"actorId": "ann"})).await;
    assert!(status.is_success(), "{status}");
    talk.until("the stop", |log| log.ended() == 1 && log.rests()).await;
    let asks = rig.session("builtin:demo").await;
    asks.send("what can you do?").await;
    asks.until("an approval", |log| log.ended() == 1 && log.rests()).await;
    let after = rig.crashed_copy(on).await;
    for id in [id, asks.id.clone()] {
        let before = rig.talk(&id).items().await.len();
        assert_eq!(after.talk(&id).items().await.len(), before, "nothing is added");
    }
    let again = after.talk(&asks.id);
    let approval = Log { items: again.items().await }.approvals();
    assert_eq!(approval.len(), 1, "it is asked once");
    assert_eq!(again.approve(&approval[0], true).await, 204);
    again.until("the end", |log| log.ended() == 2).await;
}

#[tokio::test]
async fn an_agent_elsewhere_is_not_called_again_by_itself() {
    let half =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(half.to_owned())]).await;
    let rig = Rig::with(on).await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("a first word", |log| log.text() == "half").await;
    let after = rig.crashed_copy(on).await;
    let again = after.talk(&talk.id);
    again.until("the end", |log| log.ended() == 1 && log.rests()).await;
    again.send("and now?").await;
    again.until("the next run", |log| log.count("TEXT_MESSAGE_CONTENT") == 2).await;
    assert_eq!(fake.asked().len(), 2, "once for each message");
}

#[tokio::test]
async fn a_model_is_asked_for_the_rest_of_its_answer_once() {
    let half = format!("data: {}\n\n", delta(&json!({"content": "It is forty"})));
    let rest = stream(&[delta(&json!({"content": "-two."})), finish("stop")]);
    let fake = Fake::new([Reply::Hang(half), rest]).await;
    let with_model = |config: &mut ServerConfig| {
        on(config);
        let model = ModelConfig {
            base_url: fake.model_url().parse().unwrap(),
            model: "m1".to_owned(),
            api_key: None,
        };
        config.agents.model = Some(Arc::new(model));
    };
    let rig = Rig::with(with_model).await;
    let talk = rig.session("builtin:model").await;
    talk.send("What is the answer?").await;
    talk.until("half of it", |log| log.text() == "It is forty").await;
    let after = rig.crashed_copy(with_model).await;
    let log = after.talk(&talk.id).until("both ends", |log| log.ended() == 2).await;
    assert_eq!(log.text(), "It is forty-two.");
    let asked = fake.asked();
    assert_eq!(asked.len(), 2, "asked for the answer, and for its rest");
    let messages = asked[1]["messages"].as_array().unwrap();
    let said: Vec<(&str, &str)> = messages
        .iter()
        .filter(|message| message["role"] != "system")
        .map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap()))
        .collect();
    assert_eq!(said[..2], [("user", "What is the answer?"), ("assistant", "It is forty")]);
    assert_eq!((said.len(), said[2].0), (3, "user"));
    assert!(said[2].1.contains("cut off"), "{}", said[2].1);
}

#[tokio::test]
async fn what_goes_on_is_told_and_that_nothing_does() {
    let rig = Rig::with(on).await;
    let mut activity = rig.server.activity();
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let deadline = crate::rig::DEADLINE;
    let runs = activity.wait_for(|now| now.running == 1);
    tokio::time::timeout(deadline, runs).await.expect("it runs").unwrap();
    let waits = activity.wait_for(|now| now.running == 0 && now.waiting == 1);
    tokio::time::timeout(deadline, waits).await.expect("it waits").unwrap();
    let approval = Log { items: talk.items().await }.approvals().remove(0);
    assert_eq!(talk.approve(&approval, false).await, 204);
    let rests = activity.wait_for(|now| now.running == 0 && now.waiting == 0);
    tokio::time::timeout(deadline, rests).await.expect("it rests").unwrap();
}
