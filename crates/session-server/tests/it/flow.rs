//! The main job: say something, watch the answer, approve, see the rest.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::rig::Rig;

#[tokio::test]
async fn a_run_waits_for_approval_and_goes_on() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let message = talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let approvals = log.approvals();
    assert_eq!(approvals.len(), 1);
    let (row, chunk) = log.find("whole-message").unwrap();
    assert_eq!(row["messageId"], message);
    assert_eq!(row["actorId"], "ann");
    assert_eq!(chunk["message"]["parts"][0]["content"], "what can you do?");

    assert_eq!(talk.approve(&approvals[0], true).await, 204);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    assert!(log.text().contains("deleted"));
    let (row, _) = log.find("approval-response").unwrap();
    let (asked, _) = log.find("CUSTOM").unwrap();
    assert_eq!(row["messageId"], asked["messageId"], "answered in the message that asked");
    assert_eq!(row["actorId"], "ann");
    log.assert_gapless();
}

#[tokio::test]
async fn a_denied_tool_does_not_run() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    talk.approve(&log.approvals()[0], false).await;
    let log = talk.until("the end", |log| log.ended() == 2).await;
    assert!(log.text().contains("you said **no**"));
    assert_eq!(log.count("TOOL_CALL_RESULT"), 1, "only the clock");
}

#[tokio::test]
async fn a_retried_message_is_stored_and_answered_once() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let id = Uuid::new_v4().to_string();
    let body =
        json!({"messageId": id, "content": "hello", "actorId": "ann", "txid": Uuid::new_v4()});
    let path = talk.path("/messages");
    let answers = futures::future::join_all((0..8).map(|_| rig.post(&path, body.clone()))).await;
    for (status, answer) in answers {
        assert_eq!((status.as_u16(), &answer["messageId"]), (200, &json!(id)));
    }
    talk.until("an answer", |log| log.ended() == 1).await;
    assert_eq!(rig.post(&path, body).await.0, 200);
    // A second message: when it is answered, a second answer to the first would be there too.
    talk.send("hello").await;
    let log = talk.until("both answers", |log| log.ended() == 2).await;
    assert_eq!(log.count("whole-message"), 2);
    assert_eq!(log.count("RUN_STARTED"), 2);
}

#[tokio::test]
async fn a_retried_answer_is_one_answer_and_a_different_one_is_refused() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    let approval = talk.until("an approval", |log| log.ended() == 1).await.approvals().remove(0);
    let both = tokio::join!(talk.approve(&approval, true), talk.approve(&approval, true));
    assert_eq!((both.0.as_u16(), both.1.as_u16()), (204, 204));
    assert_eq!(talk.approve(&approval, false).await, 409);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    assert_eq!(log.count("approval-response"), 1);
    assert_eq!(log.count("RUN_STARTED"), 2);
    assert_eq!(talk.approve("nobody-asked", true).await, 404);
}

#[tokio::test]
async fn sessions_are_listed_renamed_and_really_deleted() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    let (status, _) = rig.call(Method::PATCH, &talk.path(""), json!({"title": " Plans "})).await;
    assert_eq!(status, 200);
    let (_, list) = rig.get("/v1/sessions").await;
    assert_eq!(list["sessions"][0]["sessionId"], talk.id);
    assert_eq!(list["sessions"][0]["title"], "Plans");
    assert!(list["sessions"][0]["createdAt"].is_string());
    assert!(list["sessions"][0]["lastActivityAt"].is_string());
    let log = talk.until("the title", |log| log.count("config") == 1).await;
    assert_eq!(log.find("config").unwrap().1["title"], "Plans");
    // A wish that is named counts once, whatever came after it.
    let named = json!({"title": "Mine", "txid": Uuid::new_v4()});
    rig.call(Method::PATCH, &talk.path(""), named.clone()).await;
    rig.call(Method::PATCH, &talk.path(""), json!({"title": "Theirs"})).await;
    assert_eq!(rig.call(Method::PATCH, &talk.path(""), named).await.0, 200);
    talk.send("hello").await;
    let log = talk.until("the answer", |log| log.ended() == 2).await;
    assert_eq!(log.count("config"), 3);

    assert_eq!(rig.call(Method::DELETE, &talk.path(""), json!({})).await.0, 204);
    assert_eq!(rig.get(&talk.path("")).await.0, 404);
    assert_eq!(rig.get(&format!("/v1/stream/sessions/{}", talk.id)).await.0, 404);
    assert_eq!(rig.get("/v1/sessions").await.1["sessions"], json!([]));
    // Made again under the same id it is new.
    assert_eq!(rig.call(Method::PUT, &talk.path(""), json!({})).await.0, 200);
    assert_eq!(talk.items().await.len(), 0);
    talk.send("nobody listens").await;
    assert_eq!(talk.items().await.len(), 1);
}

#[tokio::test]
async fn asking_again_for_an_answer_is_one_wish_however_often_it_is_sent() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let message = talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    let path = talk.path("/regenerate");
    let again = |txid: Uuid| json!({"fromMessageId": message, "txid": txid, "actorId": "bob"});
    let first = Uuid::new_v4();
    for n in 0..3 {
        assert_eq!(rig.post(&path, again(first)).await.0, 200);
        if n == 0 {
            talk.until("the second answer", |log| log.ended() == 2).await;
        }
    }
    assert_eq!(rig.post(&path, again(Uuid::new_v4())).await.0, 200, "another wish");
    talk.until("the third answer", |log| log.ended() == 3).await;
    // With new words, the id of the message says that it is the same wish.
    let new =
        json!({"fromMessageId": message, "content": "hello you", "messageId": Uuid::new_v4()});
    for _ in 0..2 {
        assert_eq!(rig.post(&path, new.clone()).await.0, 200);
        talk.until("the fourth answer", |log| log.ended() == 4).await;
    }
    talk.send("hello").await;
    let log = talk.until("the last answer", |log| log.ended() == 5).await;
    assert_eq!(log.count("RUN_STARTED"), 5);
    let (row, chunk) = log.find("control").unwrap();
    assert_eq!((&row["actorId"], &chunk["messageId"]), (&json!("bob"), &json!(message)), "audit");
}

#[tokio::test]
async fn a_fork_that_is_asked_for_again_is_the_same_fork() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    let body = json!({"txid": Uuid::new_v4()});
    let path = talk.path("/fork");
    let (one, two) = tokio::join!(rig.post(&path, body.clone()), rig.post(&path, body.clone()));
    let three = rig.post(&path, body).await;
    assert_eq!((one.0.as_u16(), two.0.as_u16(), three.0.as_u16()), (201, 201, 201));
    assert!(one.1 == two.1 && two.1 == three.1, "{one:?} {two:?} {three:?}");
    let other = rig.post(&path, json!({"txid": Uuid::new_v4()})).await;
    assert_ne!(other.1, one.1);
    assert_eq!(rig.get("/v1/sessions").await.1["sessions"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn who_agrees_with_what_is_decided_already_sees_it_in_the_stream() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let message = Uuid::new_v4();
    let say =
        |txid: Uuid| json!({"messageId": message, "content": "what can you do?", "txid": txid});
    let yes = |txid: Uuid| json!({"approved": true, "txid": txid});
    let (first, second, third) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    rig.post(&talk.path("/messages"), say(first)).await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    let approval = talk.path(&format!("/approvals/{}", log.approvals()[0]));
    assert_eq!(rig.post(&approval, yes(Uuid::new_v4())).await.0, 204);
    for _ in 0..2 {
        assert_eq!(rig.post(&talk.path("/messages"), say(second)).await.0, 200);
        assert_eq!(rig.post(&approval, yes(third)).await.0, 204);
    }
    let log = talk.until("the end", |log| log.ended() == 2).await;
    for txid in [first, second, third] {
        let txid = json!(txid);
        let carried = log.items.iter().filter(|item| item["headers"]["txid"] == txid);
        assert_eq!(carried.count(), 1, "once each");
    }
    assert_eq!((log.count("whole-message"), log.count("approval-response")), (1, 1));
}
