//! Several windows, each at its own pace.

use session_core::FeedChange;

use crate::support::{Home, Window, demo, true_items};

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_show_the_same_however_slow_one_is() {
    let home = Home::new();
    let server =
        home.server_with(|config| config.demo_pace = std::time::Duration::from_millis(1)).await;
    let engine = home.engine_on(&server);
    let session = engine.create_session(demo()).await.expect("it is saved");
    let mut quick = Window::open(&engine, &session);
    let mut slow = Window::open(&engine, &session);
    engine.send_message(&session, "long 150").await.expect("it is saved");
    quick.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    let pulls = slow.log.len();
    slow.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(quick.items, slow.items);
    assert_eq!(quick.items, true_items(&server, &session).await);
    assert!(
        slow.log.len() - pulls < quick.log.len(),
        "patches merge while nobody reads: {} and {}",
        slow.log.len(),
        quick.log.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_opens_in_mid_answer_gets_the_rest() {
    let home = Home::new();
    let server =
        home.server_with(|config| config.demo_pace = std::time::Duration::from_millis(1)).await;
    let engine = home.engine_on(&server);
    let session = engine.create_session(demo()).await.expect("it is saved");
    let mut first = Window::open(&engine, &session);
    engine.send_message(&session, "long 150").await.expect("it is saved");
    first.until("a part of it", |w| w.texts().get(1).is_some_and(|text| text.len() > 500)).await;
    let mut second = Window::open(&engine, &session);
    second.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    first.until("the answer", |w| w.is_settled()).await;
    assert_eq!(first.items, second.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_window_starts_over_with_everything() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let session = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    engine.save_draft(&session, "half a thought").await.expect("it is saved");
    let feed = engine.feed();
    feed.show(Some(session.clone())).expect("it exists");
    let epoch = feed.epoch();
    let mut after = 0;
    for _ in 0..3 {
        after = feed.next(epoch, after).await.to;
    }
    // A page that was reloaded knows nothing of the numbers.
    let batch = feed.next(0, 0).await;
    assert!(batch.reset);
    assert_eq!(batch.epoch, epoch);
    let kinds: Vec<&str> = batch
        .changes
        .iter()
        .map(|change| match change {
            FeedChange::Servers { .. } => "servers",
            FeedChange::Sessions { .. } => "sessions",
            FeedChange::Approvals { .. } => "approvals",
            FeedChange::Meta { .. } => "meta",
            FeedChange::Draft { .. } => "draft",
            FeedChange::Diff { .. } => "diff",
            FeedChange::Notice { .. } => "notice",
        })
        .collect();
    let expected = ["servers", "sessions", "approvals", "meta", "draft", "diff"];
    assert!(kinds.starts_with(&expected), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_never_sooner_than_a_frame_after_the_last() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let feed = engine.feed();
    feed.show(Some(session.clone())).expect("it exists");
    let mut after = feed.next(feed.epoch(), 0).await.to;
    let started = std::time::Instant::now();
    let pulls: u32 = 5;
    for n in 0..pulls {
        feed.notify(session_core::Notice { code: format!("{n}"), message: String::new() });
        after = feed.next(feed.epoch(), after).await.to;
    }
    assert!(started.elapsed() >= std::time::Duration::from_millis(16) * pulls);
}

#[tokio::test(flavor = "multi_thread")]
async fn showing_another_session_resets_to_its_items() {
    let home = Home::new();
    let engine = home.engine();
    let one = engine.create_session(demo()).await.expect("it is saved");
    let two = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&one, "in one").await.expect("it is saved");
    engine.send_message(&two, "in two").await.expect("it is saved");
    let feed = engine.feed();
    feed.show(Some(one)).expect("it exists");
    feed.show(Some(two.clone())).expect("it exists");
    let mut window = Window::of(feed);
    window.until("the second", |w| w.texts() == ["in two"]).await;
    window.until("its meta", |w| w.meta.as_ref().is_some_and(|m| m.session_id == two)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_there_is_not_shown_and_nobody_waits_for_it() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    let feed = engine.feed();
    let refused = feed.show(Some("nobody".to_owned())).expect_err("it is not there");
    assert_eq!((refused.code(), feed.shown()), ("unknown-session", None));
    assert!(feed.next(0, 0).await.reset, "the rest of the state comes at once");

    // Deleted in another window: this one shows nothing, and can be loaded again.
    feed.show(Some(session.clone())).expect("it exists");
    assert!(feed.next(0, 0).await.reset);
    engine.delete_session(&session).await.expect("it is saved");
    assert_eq!(feed.shown(), None);
    assert!(feed.next(0, 0).await.reset);
    let refused = feed.show(Some(session)).expect_err("it is deleted");
    assert_eq!(refused.code(), "unknown-session");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_made_anew_lose_nothing() {
    let home = Home::new();
    let server =
        home.server_with(|config| config.demo_pace = std::time::Duration::from_millis(1)).await;
    let engine = home.engine_on(&server);
    let (session, mut window) = Window::begin(&engine).await;
    engine.send_message(&session, "long 200").await.expect("it is saved");
    for words in [100, 400, 900] {
        window
            .until("more of it", |w| w.texts().get(1).is_some_and(|text| text.len() > words))
            .await;
        engine.reconnect();
    }
    window.until("all of it", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(window.items, true_items(&server, &session).await);
}
