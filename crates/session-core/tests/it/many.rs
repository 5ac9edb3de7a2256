//! Many sessions: what is shown is live, what is recent too, and the rest costs nothing.

use std::time::Duration;

use session_core::{Engine, Limits, Load};

use crate::support::{Home, Window, at_once, connect, demo, engine_with, eventually};

const SESSIONS: usize = 12;

async fn load(engine: &Engine, what: &str, is: impl Fn(Load) -> bool) {
    eventually(what, async || is(engine.load()).then_some(())).await;
}

/// Sessions of somebody else, each with a question and its answer.
async fn others(home: &Home, engine: &Engine) -> Vec<String> {
    let mut sessions = Vec::new();
    for n in 0..SESSIONS {
        let session = engine.create_session(demo()).await.expect("it is saved");
        let text = if n == 0 { "Please clean up" } else { "hello" };
        engine.send_message(&session, text).await.expect("it is saved");
        sessions.push(session);
    }
    assert!(home.path("theirs").exists());
    eventually("all are answered", async || {
        let is_done =
            |s: &session_core::SessionSummary| s.preview.is_some() || s.pending_approvals > 0;
        engine.sessions().iter().all(is_done).then_some(())
    })
    .await;
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_and_recent_is_followed_and_the_rest_leaves_memory() {
    let home = Home::new();
    let server = home.server().await;
    let theirs = engine_with(&home.path("theirs"), Limits::default());
    connect(&theirs, &server.base_url());
    let sessions = others(&home, &theirs).await;

    let limits = Limits { background: 3, rest_after: Duration::from_millis(20), ..at_once() };
    let engine = engine_with(&home.path("engine"), limits);
    connect(&engine, &server.base_url());
    eventually("the list", async || (engine.sessions().len() == SESSIONS).then_some(())).await;
    load(&engine, "three are followed", |load| load == Load { followed: 3, in_memory: 3 }).await;

    // An old one is opened: it is live beside the recent ones.
    let mut window = Window::open(&engine, &sessions[1]);
    window.until("its items", |w| w.is_settled() && w.items.len() == 2).await;
    load(&engine, "and the shown one", |load| load == Load { followed: 4, in_memory: 4 }).await;

    // Another old one is asked for something without being shown.
    engine.save_draft(&sessions[2], "later").await.expect("it is saved");
    load(&engine, "it goes again", |load| load.in_memory == 4).await;
    let draft = |id: &str| engine.sessions().into_iter().find(|s| s.id == id)?.draft;
    // Its going is not told to the hub, and what was told is gathered.
    let listed = async || (draft(&sessions[2]).as_deref() == Some("later")).then_some(());
    eventually("the draft is listed", listed).await;
    let again = Window::opened(&engine, &sessions[2]).await;
    assert_eq!(again.draft.as_deref(), Some("later"), "it comes back");
    drop(again);
    load(&engine, "it goes again", |load| load.in_memory == 4).await;

    // Something is said here in an old one: it is sent, and answered.
    let unread = |id: &str| engine.sessions().into_iter().find(|s| s.id == id).map(|s| s.unread);
    engine.send_message(&sessions[3], "thanks").await.expect("it is saved");
    eventually("it is answered", async || (unread(&sessions[3]) == Some(2)).then_some(())).await;

    // Somebody else says something in one that nobody follows: it is recent now.
    let quiet = &sessions[4];
    theirs.send_message(quiet, "thanks").await.expect("it is saved");
    eventually("it is heard of", async || {
        engine.nudge();
        (unread(quiet) == Some(2)).then_some(())
    })
    .await;
    drop(window);
    load(&engine, "no more than before", |load| load == Load { followed: 3, in_memory: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_leaves_memory_is_never_missed() {
    let home = Home::new();
    let limits = Limits { background: 0, rest_after: Duration::ZERO, ..at_once() };
    let engine = engine_with(&home.path("engine"), limits);
    let session = engine.create_session(demo()).await.expect("it is saved");
    // Nothing waits to be sent, so that nothing keeps it.
    let entry = Window::opened(&engine, &session).await.meta().outbox[0].entry_id.clone();
    engine.discard_entry(&entry).await.expect("it waits");
    let ask = async |n: usize| {
        for turn in 0..40 {
            engine.save_draft(&session, &format!("{n} {turn}")).await.expect("it is saved");
            assert!(Window::opened(&engine, &session).await.draft.is_some());
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(ask(1), ask(2), ask(3));
    load(&engine, "it rests", |load| load.in_memory == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_of_sessions_that_nobody_follows_are_shown() {
    let home = Home::new();
    let server = home.server().await;
    let limits = Limits { background: 2, rest_after: Duration::from_millis(20), ..at_once() };
    let engine = engine_with(&home.path("engine"), limits);
    connect(&engine, &server.base_url());
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let session = engine.create_session(demo()).await.expect("it is saved");
        engine.send_message(&session, "Please clean up").await.expect("it is saved");
        sessions.push(session);
    }
    let waiting = async |engine: &Engine| {
        eventually("all ask", async || {
            // What happens where nobody listens is known from the server's list.
            engine.nudge();
            (engine.approvals().borrow().len() == 5).then_some(())
        })
        .await;
    };
    waiting(&engine).await;
    load(&engine, "two are followed", |load| load == Load { followed: 2, in_memory: 2 }).await;
    engine.close().await;

    // From the disk alone.
    let engine = engine_with(&home.path("engine"), limits);
    waiting(&engine).await;
    connect(&engine, &server.base_url());
    let approvals = engine.approvals();
    let first = approvals.borrow()[0].clone();
    engine
        .respond_approval(
            &first.session_id,
            &first.approval.message_id,
            &first.approval.id,
            true,
            None,
            None,
        )
        .await
        .expect("it is saved");
    eventually("it is answered", async || (approvals.borrow().len() == 4).then_some(())).await;
}
