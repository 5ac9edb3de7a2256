//! The rows of upstream's routes: success bodies, beacons, and mistakes that get 4xx where upstream gave 500 or 204.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rig::{Rig, answer};

#[tokio::test]
async fn every_route_answers_with_upstreams_body() {
    let rig = Rig::new().await;
    let id = Uuid::new_v4().to_string();
    let at = |rest: &str| format!("/v1/sessions/{id}{rest}");
    let described = json!({"sessionId": id, "streamUrl": format!("/v1/stream/sessions/{id}")});
    assert_eq!(rig.get(&at("")).await.0, 404);
    assert_eq!(rig.get(&at("/agents")).await.1, json!({"agents": []}), "as upstream has it");
    assert_eq!(rig.get(&at("")).await.0, 404);
    for _ in 0..2 {
        let (status, body) = rig.call(Method::PUT, &at(""), json!({})).await;
        assert_eq!((status.as_u16(), &body), (200, &described), "never 201");
    }
    assert_eq!(rig.get(&at("")).await, (reqwest::StatusCode::OK, described));

    let login = json!({"actorId": "ann", "deviceId": "d", "name": "Ann"});
    let (status, body) = rig.post(&at("/login"), login).await;
    let online = json!({"success": true, "actorId": "ann", "deviceId": "d", "status": "online"});
    assert_eq!((status.as_u16(), body), (200, online));
    let (message, agent) = (Uuid::new_v4(), json!({"id": "a", "endpoint": "builtin:demo"}));
    let send =
        json!({"messageId": message, "content": "hi", "actorType": "user", "txid": Uuid::new_v4()});
    assert_eq!(rig.post(&at("/regenerate"), json!({"content": "x"})).await.0, 400, "no agents");
    assert_eq!(rig.post(&at("/messages"), send).await.1, json!({"messageId": message}));
    let (_, body) = rig.post(&at("/agents"), json!({"agents": [agent]})).await;
    assert_eq!(body, json!({"success": true}));
    let (_, body) = rig.get(&at("/agents")).await;
    assert_eq!(
        (&body["agents"][0]["id"], &body["agents"][0]["endpoint"]),
        (&json!("a"), &json!("builtin:demo"))
    );
    let again = json!({"fromMessageId": message, "content": "again"});
    assert_eq!(rig.post(&at("/regenerate"), again).await.1, json!({"success": true}));
    assert_eq!(rig.post(&at("/stop"), json!({"messageId": null})).await.0, 204);
    assert_eq!(rig.call(Method::DELETE, &at("/agents/a"), json!({})).await.0, 204);

    // A page that closes sends a beacon: text/plain, so that there is no preflight.
    let beacon = json!({"actorId": "ann", "allDevices": true}).to_string();
    let beacon = rig
        .request(Method::POST, &at("/logout"))
        .header("content-type", "text/plain;charset=UTF-8")
        .body(beacon);
    let (status, body) = answer(beacon).await;
    assert_eq!((status.as_u16(), &body["devicesLoggedOut"]), (200, &json!(1)));
    let (status, body) =
        rig.post(&at("/fork"), json!({"atMessageId": message, "newSessionId": null})).await;
    assert_eq!((status.as_u16(), &body["offset"]), (201, &json!("-1")));
    let (status, body) = rig.post(&at("/reset"), json!({"clearPresence": true})).await;
    assert_eq!((status.as_u16(), &body["sessionId"]), (200, &json!(id)));
    for _ in 0..2 {
        assert_eq!(rig.call(Method::DELETE, &at(""), json!({})).await.0, 204);
        assert_eq!(rig.get(&at("")).await.0, 404);
        let stream = format!("/v1/stream/sessions/{id}");
        let (status, body) = rig.get(&stream).await;
        assert_eq!((status.as_u16(), &body["error"]), (404, &json!("Stream not found")));
    }
    // Its fork does not hold the name.
    assert_eq!(rig.call(Method::PUT, &at(""), json!({})).await.0, 200);
    assert_eq!(rig.get(&format!("/v1/stream/sessions/{id}")).await.1, json!([]));
}

#[tokio::test]
async fn mistakes_get_4xx_where_upstream_said_500_or_204() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let approved = json!({"approved": true});
    let result = json!({"toolCallId": "nope", "output": 1});
    for (path, body, expected) in [
        ("/approvals/nope", approved.clone(), 404),
        ("/approvals/nope", json!({}), 400),
        ("/tool-results", result.clone(), 404),
        ("/tool-results", json!({}), 400),
        ("/answers/nope", json!({"answers": []}), 404),
        ("/fork", json!({"atMessageId": "nope"}), 404),
        ("/fork", json!({"newSessionId": "nope"}), 400),
        ("/login", json!({"actorId": "ann"}), 400),
        ("/logout", json!({"actorId": "ann"}), 400),
        ("/messages", json!({"content": "x", "messageId": "nope"}), 400),
        ("/stop", json!([]), 400),
    ] {
        let (status, body) = rig.post(&talk.path(path), body).await;
        assert_eq!(status, expected, "{path} {body}");
        assert!(body["error"].is_string() && body["code"].is_string(), "{path} {body}");
    }
    for (path, body) in [
        ("/approvals/x", approved),
        ("/tool-results", result),
        ("/fork", json!({})),
        ("/reset", json!({})),
        ("/logout", json!({"actorId": "a", "allDevices": true})),
    ] {
        assert_eq!(rig.post(&format!("/v1/sessions/none{path}"), body).await.0, 404, "{path}");
    }
    talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let approval = &log.approvals()[0];
    assert_eq!(talk.approve(approval, true).await, 204);
    assert_eq!(talk.approve(approval, true).await, 204, "a retry");
    assert_eq!(talk.approve(approval, false).await, 409, "a contradiction");
}

#[tokio::test]
async fn the_stream_is_read_with_every_header_of_the_protocol() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("hi").await;
    talk.until("an answer", |log| log.ended() == 1 && log.rests()).await;
    let stream = format!("/v1/stream/sessions/{}", talk.id);
    let head = rig.request(Method::HEAD, &stream).send().await.unwrap();
    assert_eq!(head.status(), 200);
    let next = head.headers()["stream-next-offset"].clone();
    assert_eq!(head.headers()["content-type"], "application/json");
    let read = rig.request(Method::GET, &format!("{stream}?offset=-1")).send().await.unwrap();
    assert_eq!(read.headers()["stream-next-offset"], next);
    assert_eq!(read.headers()["stream-up-to-date"], "true");
    let etag = read.headers()["etag"].clone();
    let same =
        rig.request(Method::GET, &format!("{stream}?offset=-1")).header("if-none-match", etag);
    assert_eq!(same.send().await.unwrap().status(), 304);
    let sse =
        rig.request(Method::GET, &format!("{stream}?offset=-1&live=sse")).send().await.unwrap();
    assert!(sse.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    // Closed is said, which upstream's proxy did not pass on.
    let close = rig
        .request(Method::POST, &stream)
        .header("stream-closed", "true")
        .header("content-type", "application/json");
    assert!(close.send().await.unwrap().status().is_success());
    let read = rig.request(Method::GET, &format!("{stream}?offset=-1")).send().await.unwrap();
    assert_eq!(read.headers()["stream-closed"], "true");
    let (status, body): (_, Value) =
        rig.post(&talk.path("/messages"), json!({"content": "x"})).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("SESSION_CLOSED")));
}
