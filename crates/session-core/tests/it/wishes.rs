//! Each kind of wish: done once although its answer was lost; and when it is refused, changed or
//! taken back, what the person wants happens, and nothing else.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use session_core::{DeliveryState, Engine, NewSession, OutboxKind, THIS_COMPUTER};
use session_protocol::{Role, api::SendMode};
use session_server::RunningServer;
use uuid::Uuid;

use crate::faulty::{Asked, Fate, Way};
use crate::support::{Home, Window, connect, demo, eventually, log, there, truth};

const NEVER: Duration = Duration::from_secs(3600);

/// Everything passes but this one wish.
fn only(
    method: &'static str,
    end: &'static str,
    fate: Fate,
) -> impl FnMut(Asked<'_>) -> Fate + Send + 'static {
    move |asked| {
        let meant = asked.method == method && asked.path.ends_with(end);
        if meant { fate } else { Fate::Pass }
    }
}

/// The chunks of a type in the log.
async fn chunks_of(server: &RunningServer, session: &str, kind: &str) -> Vec<Value> {
    let chunks = log(server, session).await;
    let chunks = chunks.iter().filter_map(|item| item["value"]["chunk"].as_str());
    let chunks = chunks.map(|chunk| serde_json::from_str(chunk).expect("a chunk is JSON"));
    chunks.filter(|chunk: &Value| chunk["type"] == kind).collect()
}

async fn count(server: &RunningServer, session: &str, kind: &str) -> usize {
    chunks_of(server, session, kind).await.len()
}

async fn status_of(server: &RunningServer, session: &str) -> StatusCode {
    let url = server.base_url().join(&format!("v1/sessions/{}", there(session))).expect("a URL");
    reqwest::get(url).await.expect("the server answers").status()
}

/// The only entry in the outbox that was refused.
fn refused(window: &Window) -> Option<(String, OutboxKind, String)> {
    let outbox = &window.meta.as_ref()?.outbox;
    let entry = outbox.iter().find(|entry| entry.state == DeliveryState::Wedged)?;
    Some((entry.entry_id.clone(), entry.kind, entry.reason.clone().unwrap_or_default()))
}

async fn until_refused(window: &mut Window) -> String {
    window.until("it is refused", |w| refused(w).is_some()).await;
    refused(window).expect("it was just there").0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_wish_is_done_once_although_its_first_answer_is_lost() {
    let home = Home::new();
    let server = home.server_with(|config| config.demo_pace = Duration::from_millis(1)).await;
    let mut seen = HashSet::new();
    let way = Way::to(server.addr, move |asked| {
        let is_wish = asked.method != "GET" && !asked.path.ends_with("/login");
        let is_first = is_wish && seen.insert(format!("{} {}", asked.method, asked.path));
        if is_first { Fate::AnswerLost } else { Fate::Pass }
    })
    .await;
    let engine = home.engine();
    connect(&engine, &way.url());
    let created = NewSession { title: Some("Plans".to_owned()), ..demo() };
    let session = engine.create_session(created).await.expect("it is saved");
    let mut window = Window::open(&engine, &session);

    // Approve, then deny.
    for (n, (approved, word)) in [(true, "**deleted**"), (false, "**no**")].into_iter().enumerate()
    {
        engine.send_message(&session, "Please clean up").await.expect("it is saved");
        let asks = |w: &Window| w.meta.as_ref().is_some_and(|m| m.pending_approvals.len() == 1);
        window.until("an approval", asks).await;
        let approval = window.meta().pending_approvals[0].clone();
        engine
            .respond_approval(&session, &approval.message_id, &approval.id, approved, None, None)
            .await
            .expect("it is saved");
        let goes_on = |w: &Window| w.is_settled() && w.texts().concat().contains(word);
        window.until("the agent goes on", goes_on).await;
        assert_eq!(count(&server, &session, "approval-response").await, n + 1);
    }
    assert_eq!(count(&server, &session, "whole-message").await, 2);

    engine.send_message(&session, "long 90000").await.expect("it is saved");
    let has_begun = |w: &Window| w.texts().last().is_some_and(|text| text.starts_with("word 1 "));
    window.until("an answer begins", has_begun).await;
    engine.stop(&session).await.expect("it is saved");
    window.until("it has stopped", |w| w.is_settled()).await;
    assert!(window.items.last().is_some_and(|item| item.meta.stopped.is_some()));

    engine.rename_session(&session, "Other plans").await.expect("it is saved");
    window.until("it is renamed", |w| w.is_settled() && w.meta().title == "Other plans").await;
    assert_eq!(count(&server, &session, "config").await, 2, "the first title and the second");

    let (answers, asked) = (window.answers(), window.items[0].id.clone());
    let wish = engine.regenerate(&session, &asked).await.expect("it is saved");
    assert_eq!(engine.regenerate(&session, &asked).await.expect("it is known"), wish);
    window.until("another answer", |w| w.is_settled() && w.answers() > answers).await;
    assert_eq!((window.answers(), count(&server, &session, "control").await), (answers + 1, 1));

    let copy = engine.fork_session(Uuid::new_v4(), &session, None).await.expect("it is saved");
    let shown = window.items.len();
    let mut window = Window::open(&engine, &copy);
    window.until("the copy", |w| w.items.len() == shown && w.meta().queued == 0).await;
    let marks = log(&server, &copy).await;
    let marks = marks.iter().filter(|item| item.to_string().contains("forkedFrom"));
    assert_eq!(marks.count(), 1);

    engine.delete_session(&copy).await.expect("it is saved");
    eventually("it is deleted", async || {
        (status_of(&server, &copy).await == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_good_is_edited_retried_or_discarded() {
    let home = Home::new();
    let server = home.server().await;
    let way = Way::to(server.addr, |_| Fate::Pass).await;
    let engine = home.engine();
    connect(&engine, &way.url());
    let (session, mut window) = Window::begin(&engine).await;

    // Edited: a title.
    way.decide(|asked| if asked.method == "PATCH" { Fate::Refused(403) } else { Fate::Pass });
    engine.rename_session(&session, "Not this").await.expect("it is saved");
    let entry = until_refused(&mut window).await;
    assert!(refused(&window).expect("it is there").2.contains("403"), "the reason is shown");
    way.calm();
    engine.edit_entry(&entry, "But this").await.expect("nobody has it");
    window.until("it is renamed", |w| w.meta().queued == 0 && w.meta().title == "But this").await;
    assert_eq!(count(&server, &session, "config").await, 1);

    // Retried, after a restart: a message.
    way.decide(only("POST", "/messages", Fate::Refused(422)));
    let message = engine.send_message(&session, "Please clean up").await.expect("it is saved");
    assert_eq!(until_refused(&mut window).await, message);
    drop(window);
    drop(engine);
    let engine = home.engine();
    connect(&engine, &way.url());
    let mut window = Window::open(&engine, &session);
    assert_eq!(until_refused(&mut window).await, message, "it is still refused");
    way.calm();
    engine.retry_entry(&message).await.expect("it waits");
    window.until("an approval", |w| w.approvals.len() == 1 && w.meta().queued == 0).await;

    // Discarded: an answer; another is given then.
    let approval = window.approvals[0].approval.clone();
    way.decide(
        |asked| {
            if asked.path.contains("/approvals/") { Fate::Refused(403) } else { Fate::Pass }
        },
    );
    engine
        .respond_approval(&session, &approval.message_id, &approval.id, true, None, None)
        .await
        .expect("it is saved");
    let entry = until_refused(&mut window).await;
    way.calm();
    let error = engine.edit_entry(&entry, "no").await.expect_err("there is no text in it");
    assert_eq!(error.code(), "not-possible");
    engine.discard_entry(&entry).await.expect("it waits");
    engine
        .respond_approval(&session, &approval.message_id, &approval.id, false, None, None)
        .await
        .expect("it is saved");
    window
        .until("the other answer counts", |w| {
            w.is_settled() && w.texts().concat().contains("you said **no**")
        })
        .await;
    assert_eq!(count(&server, &session, "approval-response").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_taken_back_while_it_is_being_sent() {
    // The server never saw it; or it had it already, which nothing can undo.
    for (fate, said) in [(Fate::Late(NEVER), 1), (Fate::Held, 2)] {
        let home = Home::new();
        let server = home.server().await;
        let way = Way::to(server.addr, |_| Fate::Pass).await;
        let engine = home.engine();
        connect(&engine, &way.url());
        let (session, mut window) = Window::begin(&engine).await;
        window.until("the session", |w| w.is_settled()).await;
        way.decide(move |asked| {
            let is_message = asked.path.ends_with("/messages");
            // The stream is late too, so that the echo does not come first.
            if is_message || asked.is_stream() { fate } else { Fate::Pass }
        });
        engine.reconnect();
        let unwanted = engine.send_message(&session, "hello").await.expect("it is saved");
        window
            .until("it is on its way", |w| {
                w.meta().outbox.iter().any(|entry| entry.state == DeliveryState::Sending)
            })
            .await;
        if said == 2 {
            eventually("the server has it", async || {
                let log = log(&server, &session).await;
                log.iter().any(|item| item.to_string().contains(&unwanted)).then_some(())
            })
            .await;
        }
        engine.send_message(&session, "thanks").await.expect("it is saved");
        engine.discard_entry(&unwanted).await.expect("it is still here");
        window.until("it is gone", |w| w.texts() == ["thanks"]).await;
        way.calm();
        engine.reconnect();
        window.until("what follows goes", |w| w.is_settled() && w.answers() == said).await;
        let there = truth(&server, &session).await;
        assert_eq!(there.iter().filter(|message| message.id == unwanted).count(), said - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_being_sent_when_the_engine_died_is_said_once() {
    for fate in [Fate::Late(NEVER), Fate::Held] {
        let home = Home::new();
        let server = home.server().await;
        let way = Way::to(server.addr, only("POST", "/messages", fate)).await;
        let engine = home.engine();
        connect(&engine, &way.url());
        let session = engine.create_session(demo()).await.expect("it is saved");
        let first = engine.send_message(&session, "hello").await.expect("it is saved");
        let second = engine.send_message(&session, "thanks").await.expect("it is saved");
        let mut window = Window::open(&engine, &session);
        window
            .until("it is on its way", |w| {
                w.meta.as_ref().is_some_and(|meta| {
                    meta.outbox.iter().any(|entry| {
                        entry.state == DeliveryState::Sending
                            && entry.kind == OutboxKind::SendMessage
                    })
                }) || w.items.iter().any(|item| item.meta.delivery.is_none())
            })
            .await;
        drop(window);
        drop(engine);
        way.calm();
        let engine = home.engine();
        connect(&engine, &way.url());
        let mut window = Window::open(&engine, &session);
        window.until("both are answered", |w| w.is_settled() && w.answers() == 2).await;
        let said = truth(&server, &session).await;
        let said = said.iter().filter(|message| message.role == Role::User);
        assert_eq!(said.map(|message| &message.id).collect::<Vec<_>>(), [&first, &second]);
        assert_eq!(
            engine
                .send_message_as(
                    &session,
                    first.parse().expect("a UUID"),
                    "hello",
                    SendMode::Queue,
                    Vec::new(),
                )
                .await
                .expect("it is known"),
            first
        );
        assert_eq!(
            Window::opened(&engine, &session).await.meta().queued,
            0,
            "what was said is not said again by the same id"
        );
    }
}

/// A session with a message that was refused so often that it would not be tried again for half a
/// minute.
async fn patient(engine: &Engine, way: &Way) -> String {
    let refusals = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&refusals);
    let session = engine.create_session(demo()).await.expect("it is saved");
    let path = format!("/v1/sessions/{}/messages", there(&session));
    way.decide(move |asked| {
        let meant = asked.path == path;
        counted.fetch_add(u32::from(meant), Ordering::Relaxed);
        if meant { Fate::Refused(503) } else { Fate::Pass }
    });
    engine.send_message(&session, "hello").await.expect("it is saved");
    eventually("it was refused often", async || {
        engine.nudge();
        (refusals.load(Ordering::Relaxed) > 9).then_some(())
    })
    .await;
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_tried_at_once_when_something_else_gets_through() {
    let home = Home::new();
    let server = home.server().await;
    let way = Way::to(server.addr, |_| Fate::Pass).await;
    let engine = home.engine();
    connect(&engine, &way.url());
    let waits = patient(&engine, &way).await;
    let mut window = Window::open(&engine, &waits);
    window.until("it waits", |w| w.meta.as_ref().is_some_and(|meta| meta.queued == 1)).await;
    way.calm();
    let other = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&other, "hello").await.expect("it is saved");
    window.until("it is answered", |w| w.is_settled() && w.answers() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_hangs_in_a_dead_network_is_sent_again_in_the_next() {
    let home = Home::new();
    let server = home.server().await;
    let way = Way::to(server.addr, |_| Fate::Pass).await;
    let engine = home.engine();
    connect(&engine, &way.url());
    let (session, mut window) = Window::begin(&engine).await;
    window.until("the session", Window::is_settled).await;
    way.decide(only("POST", "/messages", Fate::Late(NEVER)));
    engine.send_message(&session, "hello").await.expect("it is saved");
    let is_sending = |w: &Window| {
        w.meta().outbox.first().is_some_and(|entry| entry.state == DeliveryState::Sending)
    };
    window.until("it is on its way", is_sending).await;
    way.calm();
    // What the engine does by itself when it sees another address, or that the machine slept.
    engine.reconnect();
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(truth(&server, &session).await.len(), 2);
}

async fn settled(home: &Home, server: &RunningServer) -> (Engine, String, Window) {
    let engine = home.engine_on(server);
    let (session, mut window) = Window::begin(&engine).await;
    for (n, text) in ["hello", "thanks"].into_iter().enumerate() {
        engine.send_message(&session, text).await.expect("it is saved");
        window.until("the answer", |w| w.is_settled() && w.answers() == n + 1).await;
    }
    (engine, session, window)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_ends_at_a_message_and_goes_on_by_itself() {
    let home = Home::new();
    let server = home.server().await;
    let (engine, session, window) = settled(&home, &server).await;
    let shown = window.items.clone();
    drop(window);
    // Wished for without a server, and the engine dies.
    engine.connect(THIS_COMPUTER, None).expect("there is nothing to set up");
    let copy = engine
        .fork_session(Uuid::new_v4(), &session, Some(&shown[1].id))
        .await
        .expect("it is saved");
    let again = engine
        .fork_session(there(&copy).parse().expect("a UUID"), &session, Some(&shown[1].id))
        .await
        .expect("it is known");
    assert_eq!(copy, again);
    let said = engine.send_message(&copy, "ping").await.expect("it is saved");
    drop(engine);
    let engine = home.engine();
    let summary = engine.sessions().into_iter().find(|summary| summary.id == copy);
    let summary = summary.expect("it is listed");
    assert_eq!(summary.title, "hello");
    assert_eq!(summary.parent_id.as_deref(), Some(session.as_str()));
    connect(&engine, &server.base_url());
    let mut window = Window::open(&engine, &copy);
    window.until("the copy's own answer", |w| w.is_settled() && w.items.len() == 4).await;
    assert_eq!(window.items[..2], shown[..2]);
    assert_eq!(window.items[2].id, said);
    assert_eq!(truth(&server, &session).await.len(), 4, "the original is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_made_is_refused_and_nothing_goes_before_it() {
    let home = Home::new();
    let server = home.server().await;
    let (engine, session, window) = settled(&home, &server).await;
    engine.connect(THIS_COMPUTER, None).expect("there is nothing to set up");
    let waiting = engine.send_message(&session, "ping").await.expect("it is saved");
    let error =
        engine.fork_session(Uuid::new_v4(), &session, Some(&waiting)).await.expect_err("it waits");
    assert_eq!(error.code(), "not-possible");
    let young = engine.create_session(demo()).await.expect("it is saved");
    let error = engine
        .fork_session(Uuid::new_v4(), &young, None)
        .await
        .expect_err("it is not on the server");
    assert_eq!(error.code(), "not-possible");
    engine.discard_entry(&waiting).await.expect("it waits");
    drop(window);

    let copy = engine.fork_session(Uuid::new_v4(), &session, None).await.expect("it is saved");
    engine.send_message(&copy, "hello").await.expect("it is saved");
    let url = server.base_url().join(&format!("v1/sessions/{}", there(&session))).expect("a URL");
    Client::new().delete(url).send().await.expect("the server answers");
    connect(&engine, &server.base_url());
    let mut window = Window::open(&engine, &copy);
    window.until("it is refused", |w| refused(w).is_some()).await;
    assert_eq!(refused(&window).expect("it is there").1, OutboxKind::ForkSession);
    engine.nudge();
    window.until("the message waits", |w| w.meta().outbox.len() == 2).await;
    assert_eq!(status_of(&server, &copy).await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_besides_yes_arrives_with_the_answer() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    let chunks = format!("v1/sessions/{}/chunks", there(&session));
    let chunks = server.base_url().join(&chunks).expect("a URL");
    window.until("it is on the server", |w| w.is_settled()).await;
    let asks = json!({"type": "RUN_FINISHED", "runId": "r", "threadId": "t", "outcome": {
        "type": "interrupt",
        "interrupts": [{"id": "q", "reason": "input_required", "message": "Who are you?"}],
    }});
    let asks = json!({
        "messageId": "asks", "actorId": "bot", "role": "assistant", "chunk": asks,
    });
    let sent = Client::new().post(chunks).json(&asks).send().await.expect("the server answers");
    assert!(sent.status().is_success(), "{sent:?}");
    window.until("the question", |w| !w.meta().pending_approvals.is_empty()).await;
    let payload = json!({"name": "Ada", "age": 36});
    let answered =
        engine.respond_approval(&session, "asks", "q", true, Some(payload.clone()), None);
    answered.await.expect("it is saved");
    window.until("it is answered", |w| w.is_settled() && w.approvals.is_empty()).await;
    let answers = chunks_of(&server, &session, "approval-response").await;
    assert_eq!(answers[0]["payload"], payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_its_option_and_who_answers_an_agent_that_is_gone_is_told() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    window.until("it is on the server", |w| w.is_settled()).await;
    let option = |id: &str, kind: &str| json!({"optionId": id, "name": id, "kind": kind});
    // No run of this server asks: nobody waits for the answer.
    for chunk in [
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "execute"}),
        json!({"type": "CUSTOM", "name": "approval-requested", "value": {
            "toolCallId": "c", "toolName": "execute", "input": {"command": "rm a"},
            "approval": {"id": "r:1", "needsApproval": true},
            "options": [option("once", "allow_once"), option("always", "allow_always"), option("no", "reject_once")],
        }}),
    ] {
        let chunks = format!("v1/sessions/{}/chunks", there(&session));
        let chunks = server.base_url().join(&chunks).expect("a URL");
        let body =
            json!({"messageId": "asks", "actorId": "bot", "role": "assistant", "chunk": chunk});
        let sent = Client::new().post(chunks).json(&body).send().await.expect("the server answers");
        assert!(sent.status().is_success(), "{sent:?}");
    }
    window.until("the request", |w| !w.meta().pending_approvals.is_empty()).await;
    let options = window.meta().pending_approvals[0].options.clone().expect("it offers some");
    assert_eq!(options.len(), 3);

    let answer = async |option: &str| {
        let option = Some(option.to_owned());
        let answered = engine.respond_approval(&session, "asks", "r:1", true, None, option);
        answered.await.expect("it is saved")
    };
    let entry = answer("sometimes").await;
    window.until("it is refused", |w| refused(w).is_some()).await;
    let (_, kind, reason) = refused(&window).expect("it is there");
    assert_eq!(kind, OutboxKind::RespondApproval);
    assert!(reason.contains("no such option"), "{reason}");
    assert_eq!(window.meta().outbox[0].option_id.as_deref(), Some("sometimes"));
    engine.discard_entry(&entry).await.expect("it waits");

    answer("always").await;
    window.until("it is over", |w| w.meta().outbox.is_empty() && w.approvals.is_empty()).await;
    window.until("it is told", |w| w.notices.iter().any(|one| one.code == "answered-late")).await;
    let answers = chunks_of(&server, &session, "approval-response").await;
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0]["approved"], &answers[0]["reason"]), (&json!(false), &json!("lapsed")));
}
