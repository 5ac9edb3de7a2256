//! L14: a server that lost or changed the stream takes nothing away.

use session_core::{ConnectionState, DeliveryState};

use crate::support::{Home, Window, demo, eventually, there};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_lost_is_kept_and_marked() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    window.ask(&engine, &session, "hello").await;
    let shown = window.items.clone();
    let url = server.base_url().join(&format!("v1/sessions/{}", there(&session))).expect("a URL");
    let answer = reqwest::Client::new().delete(url).send().await.expect("the server answers");
    assert!(answer.status().is_success());
    engine.close().await;

    let engine = home.engine_on(&server);
    let mut window = Window::open(&engine, &session);
    window
        .until("it is marked", |w| {
            w.meta.as_ref().is_some_and(|m| m.connection.state == ConnectionState::Gone)
        })
        .await;
    assert_eq!(window.items, shown);
    assert_eq!(engine.sessions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_came_back_different_is_joined_to_what_is_here_and_marked() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    for text in ["hello", "thanks", "ping"] {
        engine.send_message(&session, text).await.expect("it is saved");
    }
    window.until("the answers", |w| w.is_settled() && w.answers() == 3).await;
    let shown = window.items.clone();
    engine.close().await;
    server.shutdown().await;

    // The same address of a session on a server that knows nothing of before.
    let server = home.server_with(|config| config.data_dir = home.path("another server")).await;
    let base = server.base_url();
    let http = reqwest::Client::new();
    let put = base.join(&format!("v1/sessions/{}", there(&session))).expect("a URL");
    http.put(put).body("{}").send().await.expect("the server answers");
    let post = base.join(&format!("v1/sessions/{}/messages", there(&session))).expect("a URL");
    http.post(post)
        .header("content-type", "application/json")
        .body(r#"{"content": "a new beginning", "actorId": "bob"}"#)
        .send()
        .await
        .expect("the server answers");

    let engine = home.engine_on(&server);
    let mut window = Window::open(&engine, &session);
    window.until("it is marked", |w| w.meta.as_ref().is_some_and(|m| m.notice.is_some())).await;
    window.until("both are there", |w| w.items.len() == shown.len() + 1).await;
    assert_eq!(window.items[..shown.len()], shown, "nothing local is gone");
    assert_eq!(window.texts().last().map(String::as_str), Some("a new beginning"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_makes_no_session_again_and_what_is_here_is_kept_as_a_copy_or_deleted() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let (session, mut window) = Window::begin(&engine).await;
        window.ask(&engine, &session, "hello").await;
        sessions.push(session);
    }
    let url = |session: &str| {
        server.base_url().join(&format!("v1/sessions/{}", there(session))).expect("a URL")
    };
    engine.connect(session_core::THIS_COMPUTER, None).expect("there is nothing to set up");
    for session in &sessions {
        engine.send_message(session, "are you there?").await.expect("it is saved");
        let answer = reqwest::Client::new().delete(url(session)).send().await.expect("it answers");
        assert!(answer.status().is_success());
    }
    crate::support::connect(&engine, &server.base_url());
    for session in &sessions {
        let mut window = Window::open(&engine, session);
        window
            .until("the word is refused", |w| {
                w.meta.as_ref().is_some_and(|meta| {
                    meta.connection.state == ConnectionState::Gone
                        && meta.outbox.iter().any(|entry| entry.state == DeliveryState::Wedged)
                })
            })
            .await;
        assert_eq!(reqwest::get(url(session)).await.expect("it answers").status(), 404);
        let error = engine.send_message(session, "hello?").await.expect_err("it is gone");
        assert_eq!(error.code(), "not-possible");
    }
    let mut window = Window::open(&engine, &sessions[0]);
    engine.keep_copy(&sessions[0]).await.expect("it is saved");
    window
        .until("it is a copy", |w| {
            w.meta.as_ref().is_some_and(|meta| meta.read_only) && w.items.len() == 2
        })
        .await;
    assert!(window.meta().notice.is_some() && window.meta().queued == 0);
    engine.delete_session(&sessions[1]).await.expect("it is saved");
    eventually("only the copy is listed", async || {
        let listed: Vec<_> = engine.sessions().into_iter().map(|one| one.id).collect();
        (listed == sessions[..1]).then_some(())
    })
    .await;
    drop(window);
    engine.close().await;
    let engine = home.engine_on(&server);
    let mut window = Window::open(&engine, &sessions[0]);
    window
        .until("it is one still", |w| {
            w.meta.as_ref().is_some_and(|meta| meta.read_only) && w.items.len() == 2
        })
        .await;
    let live = engine.create_session(demo()).await.expect("it is saved");
    let error = engine.keep_copy(&live).await.expect_err("it is on the server");
    assert_eq!(error.code(), "not-possible");
}
