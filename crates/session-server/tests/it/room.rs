//! Agents, presence, clearing, copies, chunks from outside.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    fake::{Fake, Reply, sse},
    rig::{Log, Rig, answer},
};

#[tokio::test]
async fn agents_come_and_go_in_the_stream() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let items = talk.items().await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["type"], "agent");
    assert_eq!(items[0]["headers"]["operation"], "upsert");
    assert_eq!(items[0]["value"]["endpoint"], "builtin:demo");
    // Again: nothing new. Without a name: the old one must not stay by merging.
    let same = json!({"agents": [{"id": "agent", "name": "Agent", "endpoint": "builtin:demo"}]});
    rig.post(&talk.path("/agents"), same).await;
    assert_eq!(talk.items().await.len(), 1);
    let unnamed = json!({"agents": [{"id": "agent", "endpoint": "builtin:demo"}]});
    rig.post(&talk.path("/agents"), unnamed).await;
    assert_eq!(talk.items().await.len(), 3);

    let unknown = json!({"agents": [{"id": "x", "endpoint": "builtin:nothing"}]});
    assert_eq!(rig.post(&talk.path("/agents"), unknown).await.0, 400);
    let model = json!({"agents": [{"id": "x", "endpoint": "builtin:model"}]});
    assert_eq!(rig.post(&talk.path("/agents"), model).await.0, 400);

    assert_eq!(rig.call(Method::DELETE, &talk.path("/agents/agent"), json!({})).await.0, 204);
    assert_eq!(rig.call(Method::DELETE, &talk.path("/agents/agent"), json!({})).await.0, 204);
    let items = talk.items().await;
    assert_eq!(items.len(), 4);
    assert_eq!(items[3]["headers"]["operation"], "delete");
    let (status, _) = rig.post(&talk.path("/regenerate"), json!({"content": "x"})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn people_come_and_go() {
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let login = json!({"actorId": "ann", "deviceId": "d1", "name": "Ann"});
    let (status, body) = rig.post(&talk.path("/login"), login).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"success": true, "actorId": "ann", "deviceId": "d1", "status": "online"})
    );
    rig.post(&talk.path("/login"), json!({"actorId": "ann", "deviceId": "d2"})).await;
    assert_eq!(rig.post(&talk.path("/login"), json!({"actorId": "ann"})).await.0, 400);
    // A beacon sends JSON as text.
    let beacon = rig
        .request(Method::POST, &talk.path("/logout"))
        .header("content-type", "text/plain;charset=UTF-8")
        .body(json!({"actorId": "ann", "deviceId": "d1"}).to_string());
    assert_eq!(answer(beacon).await.0, 200);
    let all = json!({"actorId": "ann", "allDevices": true});
    let (_, body) = rig.post(&talk.path("/logout"), all.clone()).await;
    assert_eq!(body["devicesLoggedOut"], 1);
    let items = talk.items().await;
    assert_eq!(items.len(), 4);
    assert_eq!(items[2]["key"], "ann:d1");
    assert_eq!(items[2]["value"]["name"], "Ann", "rows are complete");
    assert_eq!(items[3]["key"], "ann:d2");
    assert_eq!(rig.post("/v1/sessions/none/logout", all).await.0, 404);
}

#[tokio::test]
async fn a_client_that_heartbeats_says_so_in_its_row() {
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let plain = json!({"actorId": "ann", "deviceId": "d1", "name": "Ann"});
    let beat = json!({"actorId": "ann", "deviceId": "d1", "name": "Ann", "heartbeatSeconds": 30});
    let (status, _) = rig.post(&talk.path("/login"), beat.clone()).await;
    assert_eq!(status, 404, "a late heartbeat does not make a deleted session again");
    rig.post(&talk.path("/login"), plain.clone()).await;
    let listed = rig.get("/v1/sessions").await.1;
    for _ in 0..2 {
        assert_eq!(rig.post(&talk.path("/login"), beat.clone()).await.0, 200);
    }
    rig.post(&talk.path("/login"), plain).await;
    rig.post(&talk.path("/logout"), json!({"actorId": "ann", "deviceId": "d1"})).await;
    let wrong = json!({"actorId": "ann", "deviceId": "d1", "heartbeatSeconds": "often"});
    assert_eq!(rig.post(&talk.path("/login"), wrong).await.0, 400);

    let items = talk.items().await;
    let beats: Vec<_> = items.iter().map(|item| item["value"].get("heartbeatSeconds")).collect();
    let none = json!(null);
    let thirty = json!(30);
    assert_eq!(beats, [None, Some(&thirty), Some(&thirty), Some(&none), Some(&none)]);
    assert!(items[1]["value"]["lastSeenAt"].as_str() <= items[2]["value"]["lastSeenAt"].as_str());
    assert!(items.iter().all(|item| item["key"] == "ann:d1" && item["value"]["name"] == "Ann"));
    assert_eq!(rig.get("/v1/sessions").await.1, listed, "presence is no activity");
}

#[tokio::test]
async fn clearing_deletes_every_row_and_never_writes_a_reset() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let message = talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let approval = log.approvals().remove(0);
    log.assert_gapless();
    let chunks = log.items.iter().filter(|item| item["type"] == "chunk").count();
    let (status, body) = rig.post(&talk.path("/reset"), json!({})).await;
    assert_eq!((status.as_u16(), &body["success"]), (200, &json!(true)));
    let items = talk.items().await;
    let deleted = items.iter().filter(|item| item["headers"]["operation"] == "delete").count();
    assert_eq!(deleted, chunks);
    assert!(items.iter().all(|item| item["headers"].get("control").is_none()));
    assert_eq!(talk.approve(&approval, true).await, 404);
    assert_eq!(rig.get(&talk.path("/agents")).await.1["agents"][0]["id"], "agent");
    // What was cleared is not said again by a late repetition.
    let body = json!({"messageId": message, "content": "what can you do?"});
    assert_eq!(rig.post(&talk.path("/messages"), body).await.0, 409);
    talk.send("what can you do?").await;
    talk.until("a new approval", |log| log.approvals().len() == 2).await;
}

#[tokio::test]
async fn a_copy_has_the_history_up_to_a_message_and_the_agents() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let (row, _) = log.find("CUSTOM").unwrap();
    talk.send("later").await;
    talk.until("the next run", |log| log.ended() == 2).await;

    let new = Uuid::new_v4().to_string();
    let body = json!({"atMessageId": row["messageId"], "newSessionId": new});
    let (status, body) = rig.post(&talk.path("/fork"), body).await;
    assert_eq!(status, 201);
    assert_eq!(body, json!({"sessionId": new, "offset": "-1"}));
    let copy = rig.talk(&new);
    let log = copy.until("the copy", |log| log.count("config") == 1).await;
    assert_eq!(log.count("whole-message"), 1, "nothing after the message");
    let origin = log.find("config").unwrap().1["forkedFrom"].clone();
    assert!(origin.is_object() && !origin.to_string().contains(&talk.id), "only the server knows");
    // It lives by itself.
    assert_eq!(copy.approve(&log.approvals()[0], true).await, 204);
    copy.until("the end", |log| log.ended() == 2).await.assert_gapless();
    assert_eq!(talk.approve(&log.approvals()[0], false).await, 204);

    let retry = json!({"atMessageId": row["messageId"], "newSessionId": new});
    assert_eq!(rig.post(&talk.path("/fork"), retry).await.0, 201);
    assert_eq!(rig.post(&talk.path("/fork"), json!({"newSessionId": new})).await.0, 409);
    assert_eq!(rig.post(&talk.path("/fork"), json!({"atMessageId": "nope"})).await.0, 404);
    assert_eq!(rig.post(&talk.path("/fork"), json!({"newSessionId": "no uuid"})).await.0, 400);
    assert_eq!(rig.post("/v1/sessions/none/fork", json!({})).await.0, 404);
}

fn keys(log: &[serde_json::Value]) -> Vec<String> {
    let rows = log.iter().filter(|item| item["type"] == "chunk");
    rows.map(|item| format!("{} {}", item["headers"]["operation"], item["key"])).collect()
}

async fn a_fork_is_a_session_of_its_own(rig: &Rig) {
    let fake = Fake::new([sse(&[r#"{"type":"done","finishReason":"stop"}"#])]).await;
    let talk = rig.session("builtin:demo").await;
    let agent = json!({"id": "hook", "endpoint": fake.agent_url(), "triggers": "mentions", "headers": {"x-key": "hush"}});
    rig.post(&talk.path("/agents"), json!({"agents": [agent]})).await;
    rig.post(&talk.path("/login"), json!({"actorId": "ann", "deviceId": "d"})).await;
    let one = talk.send("hello one").await;
    talk.until("the first answer", |log| log.ended() == 1).await;
    let two = talk.send("hello two").await;
    talk.until("the second answer", |log| log.ended() == 2).await;
    let before = talk.items().await;

    // In the middle: the first question and nothing else.
    let (status, body) = rig.post(&talk.path("/fork"), json!({"atMessageId": one})).await;
    assert_eq!(status, 201, "{body}");
    let child = rig.talk(body["sessionId"].as_str().unwrap());
    let items = child.items().await;
    let fold = |items: &[serde_json::Value]| {
        let mut fold = session_protocol::SessionFold::new("s");
        fold.apply(items.iter().map(ToString::to_string), &mut ());
        fold
    };
    let folded = fold(&items);
    let visible = folded.messages().filter(|message| !message.hidden).map(|message| &message.id);
    assert_eq!(visible.collect::<Vec<_>>(), [&one]);
    assert!(folded.presence_rows().is_empty(), "nobody is there yet");
    let origin = async |id: &str| {
        let sessions = rig.get("/v1/sessions").await.1["sessions"].clone();
        let row = sessions.as_array().unwrap().iter().find(|row| row["sessionId"] == id).cloned();
        row.unwrap()["forkedFrom"].clone()
    };
    assert_eq!(origin(&child.id).await, json!({"sessionId": talk.id, "messageId": one}));
    assert_eq!(
        rig.get(&talk.path("/forks")).await.1,
        json!({"forks": [{"sessionId": child.id, "messageId": one}]})
    );
    let agents = rig.get(&child.path("/agents")).await.1["agents"].clone();
    assert_eq!(agents.as_array().unwrap().len(), 2);
    // Agents come with their secrets; ids of the parent are known; the parent hears nothing of it.
    child.send("@hook").await;
    child
        .until("two answers", |log| log.count("done") == 1 && log.count("RUN_FINISHED") == 1)
        .await;
    assert_eq!(fake.asked_headers()[0]["x-key"], "hush");
    assert_eq!(fake.asked()[0]["messages"].as_array().unwrap().len(), 2);
    let again = json!({"messageId": one, "content": "hello one", "actorId": "ann"});
    assert_eq!(rig.post(&child.path("/messages"), again).await.0, 200);
    assert_eq!(keys(&talk.items().await), keys(&before));

    // A fork of the fork, and a fork of all that outlives its parent.
    let (_, body) = rig.post(&child.path("/fork"), json!({"atMessageId": one})).await;
    let grandchild = rig.talk(body["sessionId"].as_str().unwrap());
    assert_eq!(origin(&grandchild.id).await["sessionId"], child.id);
    let new = Uuid::new_v4().to_string();
    for _ in 0..2 {
        let body = json!({"newSessionId": new});
        assert_eq!(rig.post(&talk.path("/fork"), body).await.0, 201, "repeated");
    }
    assert_eq!(rig.call(Method::DELETE, &talk.path(""), json!({})).await.0, 204);
    let whole = rig.talk(&new).items().await;
    let ids: Vec<String> = fold(&whole).messages().map(|message| message.id.clone()).collect();
    assert!(ids.contains(&one) && ids.contains(&two));
    assert_eq!(origin(&new).await, json!(null), "its parent is forgotten");
    assert_eq!(
        rig.talk(&new).rig.get(&format!("/v1/sessions/{new}/forks")).await.1,
        json!({"forks": []})
    );
}

#[tokio::test]
async fn a_fork_has_the_history_the_agents_and_names_its_parent() {
    a_fork_is_a_session_of_its_own(&Rig::new().await).await;
}

#[tokio::test]
async fn where_the_stream_server_does_not_fork_the_history_is_copied() {
    let (url, server) = crate::remote::stream_server().await;
    let rig =
        Rig::with(|config| config.streams = session_server::StreamsBackend::Remote(url)).await;
    a_fork_is_a_session_of_its_own(&rig).await;
    server.abort();
}

#[tokio::test]
async fn programs_outside_write_chunks() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let txid = Uuid::new_v4();
    let chunk = json!({
        "messageId": "m", "actorId": "host", "role": "assistant", "txid": txid,
        "chunk": {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "a"},
    });
    let path = talk.path("/chunks");
    assert_eq!(rig.post(&path, chunk.clone()).await.0, 200);
    assert_eq!(rig.post(&path, chunk).await.0, 200, "a retry");
    let more = |n: u32| json!({"messageId": "m", "actorId": "host", "chunk": {"type": "TEXT_MESSAGE_CONTENT", "delta": n.to_string()}});
    let batch = json!({"chunks": [more(1), more(2)]});
    assert_eq!(rig.post(&talk.path("/chunks/batch"), batch).await.0, 200);
    assert_eq!(rig.post(&talk.path("/generations/finish"), json!({})).await.0, 200);
    let log = talk.until("three", |log| log.count("TEXT_MESSAGE_CONTENT") == 3).await;
    assert_eq!(log.text(), "a12");
    log.assert_gapless();
    let bad = json!({"messageId": "m", "actorId": "host", "chunk": {"no": "type"}});
    assert_eq!(rig.post(&path, bad).await.0, 400);
    let nowhere = json!({"messageId": "m", "actorId": "host", "chunk": {"type": "x"}});
    assert_eq!(rig.post("/v1/sessions/none/chunks", nowhere).await.0, 404);
}

#[tokio::test]
async fn a_batch_under_one_transaction_id_is_written_whole_and_once_and_as_it_came() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let txid = Uuid::new_v4();
    let chunk = |n: usize| {
        format!(
            r#"{{"messageId":"m","actorId":"host","txid":"{txid}","chunk":{{"type":"x","n":{n}.10,"big":12345678901234567890123}}}}"#
        )
    };
    let body = format!(r#"{{"chunks":[{},{},{}]}}"#, chunk(1), chunk(2), chunk(3));
    for _ in 0..2 {
        let request = rig.request(Method::POST, &talk.path("/chunks/batch")).body(body.clone());
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let log = talk.until("three", |log| log.count("x") == 3).await;
    log.assert_gapless();
    let text = log.items.last().unwrap()["value"]["chunk"].as_str().unwrap().to_owned();
    assert_eq!(text, r#"{"type":"x","n":3.10,"big":12345678901234567890123}"#);
}

#[tokio::test]
async fn a_forks_stream_holds_nothing_that_was_said_after_its_place() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    rig.post(&talk.path("/login"), json!({"actorId": "ann", "deviceId": "d"})).await;
    let first = talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let asking = log.find("CUSTOM").unwrap().0["messageId"].clone();
    talk.send("SECRET-LATER, hello").await;
    talk.approve(&log.approvals()[0], true).await;
    talk.until("all", |log| log.ended() == 3).await;
    let (status, body) = rig.post(&talk.path("/fork"), json!({"atMessageId": asking})).await;
    assert_eq!(status, 201);
    let fork = rig.talk(body["sessionId"].as_str().unwrap());
    let items = fork.items().await;
    assert!(items.iter().all(|item| !item.to_string().contains("SECRET-LATER")));
    let log = Log { items };
    assert_eq!((log.count("whole-message"), log.count("approval-response")), (1, 1));
    assert_eq!(log.find("whole-message").unwrap().0["messageId"], first);
    log.assert_gapless();
}

#[tokio::test]
async fn a_closed_session_is_forked_into_an_open_one() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    let close = rig.request(Method::POST, &format!("/v1/stream/sessions/{}", talk.id));
    assert!(close.header("stream-closed", "true").send().await.unwrap().status().is_success());
    let new = Uuid::new_v4().to_string();
    for _ in 0..2 {
        assert_eq!(rig.post(&talk.path("/fork"), json!({"newSessionId": new})).await.0, 201);
    }
    let fork = rig.talk(&new);
    fork.send("hello").await;
    fork.until("an answer in the fork", |log| log.ended() == 2).await;
    assert_eq!(rig.get("/v1/sessions").await.1["sessions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_session_that_was_closed_in_the_middle_of_an_answer_can_be_read_and_forked() {
    let start = json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"});
    let fake = Fake::new([Reply::Hang(format!("data: {start}\n\n"))]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("hello").await;
    talk.until("a start", |log| log.count("RUN_STARTED") == 1).await;
    let close = rig.request(Method::POST, &format!("/v1/stream/sessions/{}", talk.id));
    assert!(close.header("stream-closed", "true").send().await.unwrap().status().is_success());
    let after = rig.crashed_copy(|_| {}).await;
    let talk = after.talk(&talk.id);
    assert_eq!(after.get(&talk.path("/agents")).await.0, 200);
    assert_eq!(after.post(&talk.path("/messages"), json!({"content": "x"})).await.0, 409);
    assert_eq!(after.post(&talk.path("/fork"), json!({})).await.0, 201);
}

#[tokio::test]
async fn a_stream_of_something_else_is_no_session() {
    let rig = Rig::new().await;
    let (url, server) = crate::remote::stream_server().await;
    let stream = format!("{url}/sessions/x");
    let made = rig.client.put(stream).header("content-type", "text/plain").send().await.unwrap();
    assert_eq!(made.status(), 201);
    let rig =
        Rig::with(|config| config.streams = session_server::StreamsBackend::Remote(url)).await;
    let (status, body) = rig.call(Method::PUT, "/v1/sessions/x", json!({})).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("NOT_A_SESSION")));
    server.abort();
}

#[tokio::test]
async fn a_session_has_so_many_agents_and_no_more() {
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let agents = |from: usize, to: usize| {
        let agents = (from..to).map(
            |n| json!({"id": format!("a{n}"), "endpoint": "builtin:demo", "triggers": "mentions"}),
        );
        json!({"agents": agents.collect::<Vec<_>>()})
    };
    assert_eq!(rig.call(Method::PUT, &talk.path(""), agents(0, 65)).await.0, 409);
    assert_eq!(rig.call(Method::PUT, &talk.path(""), agents(0, 64)).await.0, 200);
    let (status, body) = rig.post(&talk.path("/agents"), agents(64, 65)).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("TOO_MANY_AGENTS")));
    assert_eq!(rig.post(&talk.path("/agents"), agents(0, 64)).await.0, 200, "the same ones again");
}

#[tokio::test]
async fn what_is_asked_before_a_deletion_is_done_before_it() {
    let rig = Rig::new().await;
    for _ in 0..5 {
        let put = || rig.call(Method::PUT, "/v1/sessions/s", json!({"title": "T"}));
        let remove = || rig.call(Method::DELETE, "/v1/sessions/s", json!({}));
        let say = || rig.post("/v1/sessions/s/messages", json!({"content": "x"}));
        let (a, b, c, d, e, f) = tokio::join!(put(), remove(), say(), put(), remove(), say());
        for (status, body) in [a, d] {
            assert_eq!(status, 200, "{body}");
        }
        for (status, body) in [c, f] {
            assert!(status == 200 || status == 410, "before the deletion or behind it: {body}");
        }
        assert_eq!((b.0.as_u16(), e.0.as_u16()), (204, 204));
    }
}

#[tokio::test]
async fn odd_ids_have_a_url_and_devices_no_colon() {
    let rig = Rig::new().await;
    let (status, body) = rig.call(Method::PUT, "/v1/sessions/a%2541%20b", json!({})).await;
    assert_eq!((status.as_u16(), &body["sessionId"]), (200, &json!("a%41 b")));
    assert_eq!(body["streamUrl"], "/v1/stream/sessions/a%2541%20b");
    assert_eq!(rig.get(body["streamUrl"].as_str().unwrap()).await.0, 200);
    let device = json!({"actorId": "a", "deviceId": "b:c"});
    assert_eq!(rig.post("/v1/sessions/s/login", device).await.0, 400);
    for beat in [-1.0, 0.0, 1e300] {
        let body = json!({"actorId": "a", "deviceId": "b", "heartbeatSeconds": beat});
        assert_eq!(rig.post("/v1/sessions/s/login", body).await.0, 400, "{beat}");
    }
    let nothing = json!({"actorId": "a", "deviceId": "b", "name": null, "defaultAgents": null, "heartbeatSeconds": null});
    assert_eq!(rig.post("/v1/sessions/s/login", nothing).await.0, 200);
    let leave = |device: &str| json!({"actorId": "a", "deviceId": device});
    for (device, left) in [("never-here", 0), ("b", 1), ("b", 1)] {
        let (_, body) = rig.post("/v1/sessions/s/logout", leave(device)).await;
        assert_eq!(body["devicesLoggedOut"], left, "{device}");
    }
    assert_eq!(rig.talk("s").items().await.len(), 2, "a login and a logout");
    let secret = json!({"content": "x", "agent": "hush"});
    let (status, body) = rig.post("/v1/sessions/s/messages", secret).await;
    assert!(status == 400 && !body.to_string().contains("hush"), "{body}");
}
