//! The main job: say something, watch the answer, approve, and have it all again after a restart.

use session_protocol::{Part, ToolState, api::SendMode};

use crate::support::{Home, Window, true_items};

fn delete_call(window: &Window) -> Option<&session_protocol::ToolCallPart> {
    window.items.iter().flat_map(|item| &item.parts).find_map(|part| match part {
        Part::ToolCall(call) if call.name == "delete_file" => Some(call),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_and_an_approval_lets_the_agent_go_on() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    let entry = engine.send_message(&session, "Please clean up").await.expect("it is saved");

    window.until("the approval waits", |w| !w.approvals.is_empty()).await;
    assert_eq!(window.approvals[0].session_id, session);
    assert_eq!(window.approvals[0].approval.tool_name, "delete_file");
    window
        .until("the call waits", |w| delete_call(w).is_some_and(|c| c.state == ToolState::Waiting))
        .await;
    assert_eq!(window.items[0].id, entry, "L7: the item has the id it was sent with");
    assert_eq!(window.items[0].meta.delivery, None, "the stream has it");

    let approval = window.approvals[0].approval.clone();
    engine
        .respond_approval(&session, &approval.message_id, &approval.id, true, None, None)
        .await
        .expect("it is saved");
    window
        .until("the agent went on", |w| {
            w.is_settled() && w.approvals.is_empty() && w.texts().concat().contains("deleted")
        })
        .await;
    let call = delete_call(&window).expect("it is still there");
    assert_eq!(call.state, ToolState::Done);
    assert_eq!(call.approval.as_ref().and_then(|approval| approval.approved), Some(true));
    assert_eq!(window.items, true_items(&server, &session).await);
    assert!(window.log.iter().any(|diff| diff.starts_with("Patch")), "text came as patches");
}

#[tokio::test(flavor = "multi_thread")]
async fn denying_keeps_the_tool_from_running() {
    let home = Home::new();
    let (_server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    engine.send_message(&session, "Please clean up").await.expect("it is saved");
    window.until("the approval waits", |w| !w.approvals.is_empty()).await;
    let approval = window.approvals[0].approval.clone();
    engine
        .respond_approval(&session, &approval.message_id, &approval.id, false, None, None)
        .await
        .expect("it is saved");
    window.until("the agent knows", |w| w.is_settled() && w.texts().concat().contains("no")).await;
    assert_eq!(delete_call(&window).map(|call| call.state), Some(ToolState::Denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_from_the_disk_with_what_was_shown_before() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    window.ask(&engine, &session, "hello").await;
    let shown = window.items.clone();
    engine.close().await;
    server.shutdown().await;

    let engine = home.engine();
    assert_eq!(engine.sessions()[0].id, session);
    assert_eq!(engine.sessions()[0].title, "hello");
    let window = Window::opened(&engine, &session).await;
    assert_eq!(window.items, shown);
    assert!(!window.has_more_before);
    assert_eq!(window.meta().agents.len(), 1, "agents are stored too");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_in_mid_answer_goes_on_where_it_was() {
    let home = Home::new();
    let server =
        home.server_with(|config| config.demo_pace = std::time::Duration::from_millis(1)).await;
    let engine = home.engine_on(&server);
    let (session, mut window) = Window::begin(&engine).await;
    engine.send_message(&session, "long 300").await.expect("it is saved");
    window
        .until("half an answer", |w| w.texts().get(1).is_some_and(|text| text.len() > 1500))
        .await;
    // No flush: what was not written yet is lost, as if the process had been killed.
    drop(window);
    drop(engine);

    let engine = home.engine();
    let mut window = Window::opened(&engine, &session).await;
    assert_eq!(window.items.len(), 2, "the feed begins with what is stored");
    let stored = window.items[1].clone();
    assert!(!stored.meta.is_complete);
    crate::support::connect(&engine, &server.base_url());
    window.until("the whole answer", |w| w.is_settled()).await;
    let truth = true_items(&server, &session).await;
    assert_eq!(window.items, truth, "nothing is lost and nothing is there twice");
    let text = crate::support::text(&truth[1]);
    assert!(text.starts_with(&crate::support::text(&stored)) && text.contains("word 300"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_answer_keeps_its_text() {
    let home = Home::new();
    let server =
        home.server_with(|config| config.demo_pace = std::time::Duration::from_millis(1)).await;
    let engine = home.engine_on(&server);
    let (session, mut window) = Window::begin(&engine).await;
    assert_eq!(engine.stop(&session).await.expect_err("nothing runs").code(), "not-possible");
    engine.send_message(&session, "long 50000").await.expect("it is saved");
    window.until("an answer begins", |w| w.texts().get(1).is_some_and(|t| t.len() > 100)).await;
    engine.stop(&session).await.expect("it is saved");
    window.until("it has stopped", |w| w.is_settled()).await;
    assert!(window.items[1].meta.stopped.is_some(), "{:?}", window.describe());
    assert!(crate::support::text(&window.items[1]).starts_with("word 1 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_steers_ends_the_answer_and_is_answered_at_once() {
    let home = Home::new();
    let server =
        home.server_with(|config| config.demo_pace = std::time::Duration::from_millis(1)).await;
    let engine = home.engine_on(&server);
    let (session, mut window) = Window::begin(&engine).await;
    engine.send_message(&session, "long 50000").await.expect("it is saved");
    window.until("an answer begins", |w| w.texts().get(1).is_some_and(|t| t.len() > 100)).await;
    let id = uuid::Uuid::new_v4();
    let sent = engine.send_message_as(&session, id, "hello", SendMode::Steer, vec![]).await;
    sent.expect("it is saved");
    window.until("it is answered", |w| w.is_settled() && w.answers() == 2).await;
    let stopped = window.items[1].meta.stopped.as_ref().expect("the first answer was ended");
    assert_eq!(stopped.reason.as_deref(), Some("steered"));
    assert!(window.texts()[1].len() > 100, "what it said stays");
    let last = window.items.last().expect("the answer");
    assert!(last.meta.stopped.is_none() && last.meta.error.is_none());
}
