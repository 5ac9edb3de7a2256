//! Exactly once, in order, whatever happens to the server and the engine.

use session_core::DeliveryState;
use session_protocol::{Role, api::SendMode};

use crate::support::{Home, Window, connect, demo, true_items, truth};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_delivered_once_across_the_servers_absence() {
    let home = Home::new();
    let server = home.server().await;
    let addr = server.addr;
    let engine = home.engine_on(&server);
    let (session, mut window) = Window::begin(&engine).await;
    let mut sent = vec![engine.send_message(&session, "ping").await.expect("it is saved")];
    window.until("the first answer", |w| w.is_settled() && w.answers() == 1).await;
    server.shutdown().await;
    for text in ["hello", "hi", "thanks"] {
        sent.push(engine.send_message(&session, text).await.expect("it is saved"));
    }
    window.until("they wait", |w| w.meta().queued == 3).await;
    let server = home.server_at(addr).await;
    engine.nudge();
    window.until("all answers", |w| w.is_settled() && w.answers() == 4).await;
    let said: Vec<String> = truth(&server, &session)
        .await
        .into_iter()
        .filter(|message| message.role == Role::User)
        .map(|message| message.id)
        .collect();
    assert_eq!(said, sent);
    assert_eq!(window.items, true_items(&server, &session).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_survives_the_engine_and_leaves_only_by_its_echo() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let entry = engine.send_message(&session, "hello").await.expect("it is saved");
    for _ in 0..3 {
        drop(engine.clone());
    }
    drop(engine);
    let (server, engine) = home.start().await;
    let mut window = Window::open(&engine, &session);
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(window.items[0].id, entry);
    engine.close().await;
    let engine = home.engine_on(&server);
    let window = Window::opened(&engine, &session).await;
    assert_eq!(window.meta().queued, 0);
    assert_eq!(truth(&server, &session).await.len(), 2, "it was not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_twice_is_said_once() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let session = engine.create_session(demo()).await.expect("it is saved");
    let id = uuid::Uuid::new_v4();
    let one = engine
        .send_message_as(&session, id, "hello", SendMode::Queue, vec![])
        .await
        .expect("it is saved");
    let two = engine
        .send_message_as(&session, id, "hello", SendMode::Queue, vec![])
        .await
        .expect("it is known");
    assert_eq!(one, two);
    let mut window = Window::open(&engine, &session);
    window.until("one answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(window.items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_waits_for_the_person_and_does_not_hold_up_others() {
    let home = Home::new();
    let server = home.server().await;
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    // More than the server takes in one message.
    let huge = "x".repeat(5 << 20);
    let refused = engine.send_message(&session, &huge).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    connect(&engine, &server.base_url());
    let mut window = Window::open(&engine, &session);
    let is_wedged = |w: &Window| {
        w.items.iter().any(|item| {
            item.meta.delivery.as_ref().is_some_and(|d| d.state == DeliveryState::Wedged)
        })
    };
    window.until("one answered, one refused", |w| w.answers() == 1 && is_wedged(w)).await;
    let last = window.items.last().expect("there are items");
    assert_eq!(last.id, refused, "what is not in the stream comes after what is");
    let reason = last.meta.delivery.as_ref().and_then(|delivery| delivery.reason.clone());
    assert!(reason.is_some_and(|reason| reason.contains("4194304") || reason.contains("large")));

    engine.edit_entry(&refused, "ping").await.expect("it can be edited");
    window.until("the edited one is answered", |w| w.is_settled() && w.answers() == 2).await;
    assert_eq!(engine.retry_entry(&refused).await.expect_err("it is gone").code(), "unknown-entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_message_is_never_sent() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let unwanted = engine.send_message(&session, "better not").await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    window.until("both are shown", |w| w.items.len() == 2).await;
    engine.discard_entry(&unwanted).await.expect("it waits");
    window.until("one is shown", |w| w.items.len() == 1).await;
    let server = home.server().await;
    connect(&engine, &server.base_url());
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(truth(&server, &session).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_may_have_cannot_be_edited_any_more() {
    let home = Home::new();
    // Takes every request and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let engine = home.engine();
    let session =
        engine.create_session(session_core::NewSession::default()).await.expect("it is saved");
    let entry = engine.send_message(&session, "hello").await.expect("it is saved");
    engine.edit_entry(&entry, "hello!").await.expect("nobody has it yet");
    let mut window = Window::open(&engine, &session);
    window.until("the new text", |w| w.texts() == ["hello!"]).await;
    let creation = window.meta().outbox[0].entry_id.clone();
    engine.discard_entry(&creation).await.expect("it waits");
    connect(&engine, &format!("http://{addr}/").parse().expect("it is a URL"));
    let is_sending = |w: &Window| {
        w.items[0].meta.delivery.as_ref().is_some_and(|d| d.state == DeliveryState::Sending)
    };
    window.until("it is on its way", is_sending).await;
    let error = engine.edit_entry(&entry, "hello?").await.expect_err("it may be there");
    assert_eq!(error.code(), "not-possible");
    engine.close().await;
    let engine = home.engine();
    let error = engine.edit_entry(&entry, "hello?").await.expect_err("that is remembered");
    assert_eq!(error.code(), "not-possible");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_no_message() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let error = engine.send_message(&session, "  \n").await.expect_err("there is no text");
    assert_eq!(error.code(), "not-possible");
    let error = engine.send_message("nowhere", "hello").await.expect_err("no such session");
    assert_eq!(error.code(), "unknown-session");
}
