//! The list of sessions: titles, drafts, unread counts, deletion, other people's sessions.

use serde_json::json;
use session_core::{FirstMessage, NewSession, SearchRequest, SessionState};

use crate::support::{Home, Window, demo, engine_in, eventually, there};

#[tokio::test(flavor = "multi_thread")]
async fn a_title_is_given_taken_from_the_first_message_or_changed() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let named = NewSession { title: Some("Release 1.0".to_owned()), ..demo() };
    let named = engine.create_session(named).await.expect("it is saved");
    let plain = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&plain, "hello there\nmore").await.expect("it is saved");
    let mut window = Window::of(engine.feed());
    let title = |w: &Window, id: &str| {
        w.sessions.iter().find(|session| session.id == id).map(|session| session.title.clone())
    };
    window
        .until("both titles", |w| {
            title(w, &named).as_deref() == Some("Release 1.0")
                && title(w, &plain).as_deref() == Some("hello there")
        })
        .await;
    engine.rename_session(&plain, " Greetings ").await.expect("it is saved");
    window.until("the new title", |w| title(w, &plain).as_deref() == Some("Greetings")).await;
    let mut window = Window::open(&engine, &plain);
    window.until("the stream has it", |w| w.is_settled()).await;
    engine.close().await;
    let engine = home.engine();
    let titles: Vec<String> = engine.sessions().into_iter().map(|session| session.title).collect();
    assert!(titles.contains(&"Greetings".to_owned()), "{titles:?}");
    assert!(titles.contains(&"Release 1.0".to_owned()), "{titles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_kept_shown_and_spent() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    engine.save_draft(&session, "half a").await.expect("it is saved");
    engine.save_draft(&session, "half a thought").await.expect("it is saved");
    drop(engine);
    let engine = home.engine();
    assert_eq!(engine.sessions()[0].draft.as_deref(), Some("half a thought"));
    let window = Window::opened(&engine, &session).await;
    assert_eq!(window.draft.as_deref(), Some("half a thought"));
    engine.send_message(&session, "half a thought").await.expect("it is saved");
    let window = Window::opened(&engine, &session).await;
    assert_eq!(window.draft, None, "what was sent is no draft");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_others_are_unread_until_they_are_seen() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let session = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    let unread = async |count: u32| {
        eventually("the unread count", async || {
            engine.sessions().iter().any(|s| s.unread == count && s.preview.is_some()).then_some(())
        })
        .await;
    };
    unread(1).await;
    engine.mark_read(&session).await.expect("it is saved");
    unread(0).await;
    engine.send_message(&session, "thanks").await.expect("it is saved");
    unread(1).await;
    engine.close().await;
    let engine = home.engine();
    assert_eq!(engine.sessions()[0].unread, 1, "it is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_goes_here_at_once_and_there_when_it_can() {
    let home = Home::new();
    let server = home.server().await;
    let addr = server.addr;
    let engine = home.engine_on(&server);
    let session = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    server.shutdown().await;
    engine.delete_session(&session).await.expect("it is saved");
    window.until("it is gone from the list", |w| w.sessions.is_empty()).await;
    assert_eq!(
        engine.send_message(&session, "still?").await.expect_err("it is deleted").code(),
        "unknown-session"
    );
    let feed = engine.feed();
    let refused = feed.show(Some(session.clone())).expect_err("it is deleted");
    assert_eq!(refused.code(), "unknown-session");
    drop((window, feed));
    drop(engine);

    let server = home.server_at(addr).await;
    let engine = home.engine_on(&server);
    assert!(engine.sessions().is_empty());
    let other = engine_in(&home.path("other"));
    crate::support::connect(&other, &server.base_url());
    let servers = other.servers();
    eventually("the server has forgotten it", async || {
        other.nudge();
        let listed = servers.borrow()[0].connection.synced_at.is_some();
        let url =
            server.base_url().join(&format!("v1/sessions/{}", there(&session))).expect("a URL");
        let answer = reqwest::get(url).await.expect("the server answers").status();
        (listed && answer == 404).then_some(())
    })
    .await;
    assert!(engine.sessions().is_empty(), "the list of the server does not bring it back");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_others_made_appear_and_are_followed() {
    let home = Home::new();
    let server = home.server().await;
    let theirs = engine_in(&home.path("theirs"));
    crate::support::connect(&theirs, &server.base_url());
    let session = theirs.create_session(demo()).await.expect("it is saved");
    theirs.send_message(&session, "Please clean up").await.expect("it is saved");
    let mut window = Window::open(&theirs, &session);
    window.until("an approval", |w| !w.approvals.is_empty()).await;

    let engine = home.engine_on(&server);
    let mut ours = Window::of(engine.feed());
    ours.until("the session and its approval", |w| {
        w.sessions.iter().any(|s| s.id == session && s.state == SessionState::Approval)
            && w.approvals.len() == 1
    })
    .await;
    // The first answer wins, whoever gives it.
    let approval = ours.approvals[0].approval.clone();
    engine
        .respond_approval(&session, &approval.message_id, &approval.id, true, None, None)
        .await
        .expect("it is saved");
    window.until("theirs goes on too", |w| w.approvals.is_empty() && w.is_settled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_items_come_by_the_page() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let session = engine.create_session(NewSession::default()).await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    let texts: Vec<String> = (0..130).map(|n| format!("message {n}")).collect();
    let sent = texts.iter().map(|text| engine.send_message(&session, text));
    for sent in futures::future::join_all(sent).await {
        sent.expect("it is saved");
    }
    window.until("all are there", |w| w.is_settled() && w.items.len() == 130).await;
    let mut later = Window::opened(&engine, &session).await;
    for (shown, first) in [(60, 70), (120, 10), (130, 0)] {
        assert_eq!(later.items.len(), shown);
        assert_eq!(crate::support::text(&later.items[0]), format!("message {first}"));
        assert_eq!(later.has_more_before, first > 0);
        if later.has_more_before {
            later.go_up().await;
        }
    }
    assert_eq!(later.items, window.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_leaves_nothing_in_the_files_and_gives_its_room_back() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let session = engine.create_session(NewSession::default()).await.expect("it is saved");
    let other = engine.create_session(NewSession::default()).await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    for n in 0..30 {
        let text = format!("marmalade {n} {}", "and toast ".repeat(2000));
        engine.send_message(&session, &text).await.expect("it is saved");
    }
    engine.send_message(&other, "tea").await.expect("it is saved");
    window.until("all are there", |w| w.is_settled() && w.items.len() == 30).await;
    engine.save_draft(&session, "more marmalade").await.expect("it is saved");
    let used = engine.disk_use(1).await.expect("it is counted");
    let greatest = &used.largest[0];
    assert_eq!((used.largest.len(), used.sessions), (1, 2));
    assert_eq!((greatest.session_id.as_str(), greatest.messages), (session.as_str(), 30));
    assert_eq!(
        Some(&greatest.title),
        engine.sessions().iter().find(|s| s.id == session).map(|s| &s.title)
    );
    assert!(greatest.bytes > 30 * 20_000 && used.bytes > greatest.bytes, "{used:?}");
    let files = || {
        ["threadkeep.db", "threadkeep.db-wal"]
            .map(|name| std::fs::read(home.path("engine").join(name)).unwrap_or_default())
    };
    let before: usize = files().iter().map(Vec::len).sum();
    engine.delete_session(&session).await.expect("it is saved");
    let request =
        SearchRequest { query: "marmalade".to_owned(), session_id: None, offset: 0, limit: 10 };
    assert_eq!(engine.search(request).await.expect("it is searched").total, 0);
    engine.close().await;
    let left = files();
    for file in &left {
        let word = b"marmalade";
        assert!(!file.windows(word.len()).any(|window| window == word), "not a word is left");
    }
    let after: usize = left.iter().map(Vec::len).sum();
    assert!(after * 2 < before, "{before} bytes, then {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_its_first_message_or_not_at_all() {
    let home = Home::new();
    let engine = home.engine();
    let (id, message) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let begin = |text: &str| {
        let first = Some(FirstMessage { id: message, text: text.to_owned(), files: vec![] });
        engine.create_session_as(id, NewSession { first, ..demo() })
    };
    assert_eq!(begin(" \n").await.expect_err("there is nothing").code(), "not-possible");
    assert!(engine.sessions().is_empty());
    let session = begin("## Plan the trip\nto the sea").await.expect("it is saved");
    // Whoever asks again, as after an answer that was lost, makes no second.
    assert_eq!(begin("## Plan the trip\nto the sea").await.expect("it is saved"), session);
    let mut window = Window::open(&engine, &session);
    window.until("it is there", |w| w.items.len() == 1).await;
    assert_eq!(window.meta().title, "Plan the trip");
    let server = home.server().await;
    crate::support::connect(&engine, &server.base_url());
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(window.items.len(), 2);
    assert_eq!(window.meta().title, "Plan the trip", "by one rule, here and there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_has_the_first_rows_at_once_and_all_sessions_soon_after() {
    let home = Home::new();
    let engine = home.engine();
    let mut made = Vec::new();
    for n in 0..70 {
        let session = NewSession { title: Some(format!("Résumé {n}")), ..NewSession::default() };
        made.push(engine.create_session(session).await.expect("it is saved"));
    }
    eventually("all are listed", async || (engine.sessions().len() == 70).then_some(())).await;
    engine.close().await;

    let engine = home.engine();
    let mut window = Window::open(&engine, &made[69]);
    window.until("the first rows", |w| w.sessions.len() == 40).await;
    let first = &window.sessions[0].id;
    assert!(made[60..].contains(first), "the most recent first, as far as milliseconds tell");
    eventually("the others", async || (engine.sessions().len() == 70).then_some(())).await;
    assert_eq!(engine.find_session(&made[0]).expect("it is read"), Some(made[0].clone()));
    assert_eq!(engine.find_session(&there(&made[0])).expect("it is read"), Some(made[0].clone()));
    assert_eq!(engine.find_session("another").expect("it is read"), None);

    let request =
        SearchRequest { query: "RESUME 3".to_owned(), session_id: None, offset: 0, limit: 10 };
    let titles = engine.search(request).await.expect("it is searched").titles;
    let found: Vec<&str> = titles.iter().map(|hit| hit.session.title.as_str()).collect();
    assert_eq!(found.len(), 16, "3, 13, 23, 30 to 39, 43, 53, 63");
    assert!(found.contains(&"Résumé 63"), "{found:?}");
    let mark = &titles[0].ranges[0];
    assert_eq!((mark.start, mark.end), (0, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_said_is_read_by_the_page_whatever_a_window_shows() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    window.until("it is on the server", |w| w.is_settled()).await;
    let chunks = format!("v1/sessions/{}/chunks", there(&session));
    let chunks = server.base_url().join(&chunks).expect("a URL");
    for n in 0..130 {
        let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": n.to_string(), "delta": format!("word {n}")});
        let body = json!({"messageId": format!("m{n}"), "actorId": "bot", "role": "assistant", "chunk": chunk});
        let sent = reqwest::Client::new().post(chunks.clone()).json(&body).send().await;
        assert!(sent.expect("the server answers").status().is_success());
    }
    window.until("the last", |w| w.texts().last().is_some_and(|text| text == "word 129")).await;
    let (mut from, mut said, mut pages) = (Some(0), Vec::new(), 0);
    while let Some(position) = from {
        let page = engine.said(&session, position).await.expect("it can be read");
        said.extend(page.said.into_iter().map(|one| one.text));
        from = page.next;
        pages += 1;
    }
    assert_eq!(said, (0..130).map(|n| format!("word {n}")).collect::<Vec<_>>());
    assert!(pages > 1);
}
