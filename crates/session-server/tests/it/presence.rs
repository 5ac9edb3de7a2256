//! Those who crash are missed, also by a server that crashed itself; signs of life are not only heartbeats.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::rig::{Log, Rig};

fn beat(device: &str, seconds: f64) -> Value {
    json!({"actorId": "ann", "deviceId": device, "name": "Ann", "heartbeatSeconds": seconds})
}

fn last<'a>(log: &'a Log, device: &str) -> &'a Value {
    let key = format!("ann:{device}");
    &log.items.iter().rfind(|item| item["key"] == key).unwrap()["value"]
}

fn is_offline(log: &Log, device: &str) -> bool {
    log.items.iter().any(|item| item["key"] == format!("ann:{device}"))
        && last(log, device)["status"] == "offline"
}

#[tokio::test]
async fn a_device_that_falls_silent_is_offline() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    for body in [beat("d1", 0.2), beat("d2", 1000.0), json!({"actorId": "ann", "deviceId": "d3"})] {
        assert_eq!(rig.post(&talk.path("/login"), body).await.0, 200);
    }
    let log = talk.until("an absence", |log| is_offline(log, "d1")).await;
    let seen = log.items.iter().find(|item| item["key"] == "ann:d1").unwrap();
    assert_eq!(
        last(&log, "d1")["lastSeenAt"],
        seen["value"]["lastSeenAt"],
        "when it was last seen"
    );
    assert_eq!(last(&log, "d1")["name"], "Ann", "rows are complete");
    assert_eq!(
        (&last(&log, "d2")["status"], &last(&log, "d3")["status"]),
        (&json!("online"), &json!("online"))
    );
    // It comes back.
    rig.post(&talk.path("/login"), beat("d1", 1000.0)).await;
    let log = talk.until("a return", |log| last(log, "d1")["status"] == "online").await;
    assert_eq!(log.items.iter().filter(|item| item["value"]["status"] == "offline").count(), 1);
}

#[tokio::test]
async fn who_was_here_when_the_server_died_is_missed_after_it() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    rig.post(&talk.path("/login"), beat("d1", 0.5)).await;
    rig.post(&talk.path("/login"), beat("d2", 0.5)).await;
    let after = rig.crashed_copy(|_| {}).await;
    // One of them is still there.
    after.post(&talk.path("/login"), beat("d2", 1000.0)).await;
    let log = after.talk(&talk.id).until("an absence", |log| is_offline(log, "d1")).await;
    assert_eq!(last(&log, "d2")["status"], "online");
}

#[tokio::test]
async fn a_device_without_heartbeats_is_there_while_its_actor_gives_signs_of_life() {
    let rig = Rig::with(|config| config.silence = Duration::from_millis(600)).await;
    let talk = rig.session("builtin:demo").await;
    for actor in ["ann", "bob"] {
        let body = json!({"actorId": actor, "deviceId": "d", "name": actor});
        assert_eq!(rig.post(&talk.path("/login"), body).await.0, 200);
    }
    let status = |log: &Log, actor: &str| {
        let key = format!("{actor}:d");
        log.items.iter().rfind(|item| item["key"] == key).unwrap()["value"]["status"].clone()
    };
    // Ann's tab follows the stream and says who she is; Bob's has crashed.
    let stop = tokio_util::sync::CancellationToken::new();
    let follow = async {
        while !stop.is_cancelled() {
            let path = format!("/v1/stream/sessions/{}?offset=now&live=long-poll", talk.id);
            let poll = rig.request(Method::GET, &path).header("x-actor-id", "ann");
            tokio::time::timeout(Duration::from_millis(100), poll.send()).await.ok();
        }
    };
    let watch = async {
        let log = talk.until("an absence", |log| log.items.len() == 4).await;
        stop.cancel();
        assert_eq!(
            (&status(&log, "bob"), &status(&log, "ann")),
            (&json!("offline"), &json!("online"))
        );
        assert_eq!(log.items.last().unwrap()["value"]["name"], "bob", "rows are complete");
    };
    tokio::join!(follow, watch);
    talk.until("nobody", |log| status(log, "ann") == "offline").await;
    // Who does something is here.
    rig.post(&talk.path("/messages"), json!({"content": "hi", "actorId": "bob"})).await;
    let log = talk.until("a return", |log| status(log, "bob") == "online").await;
    assert_eq!(status(&log, "ann"), "offline");
}
