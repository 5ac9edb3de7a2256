//! Those who crash are missed, also by a server that crashed itself; those who never heartbeat are believed.

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
