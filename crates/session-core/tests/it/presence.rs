//! Who is there: told to the others while a window shows the session, and never more than that.

use std::time::Duration;

use session_core::{
    Actor, Engine, EngineConfig, Limits, SessionMeta, SessionState, SessionSummary, THIS_COMPUTER,
};
use session_protocol::PresenceStatus;
use session_server::RunningServer;

use crate::support::{Home, Window, at_once, connect, demo, engine_with, eventually, log, truth};

fn sees(window: &Window, actor: &str) -> bool {
    window.meta.as_ref().is_some_and(|meta| is_there(meta, actor))
}

fn is_there(meta: &SessionMeta, actor: &str) -> bool {
    meta.presence.iter().any(|one| {
        one.actor_id == actor && one.status == PresenceStatus::Online && one.device_count == 1
    })
}

fn bo(home: &Home) -> Engine {
    let config = EngineConfig {
        data_dir: home.path("bo"),
        actor: Actor { id: "bo".to_owned(), name: "Bo".to_owned() },
        device_id: "phone".to_owned(),
        inherit: session_core::Inherit::default(),
    };
    Engine::open_with(config, at_once()).expect("the engine opens")
}

/// Marks the session read; answers with the list of sessions when it tells of all that was said.
async fn read_all(engine: &Engine, server: &RunningServer, session: &str) -> Vec<SessionSummary> {
    engine.mark_read(session).await.expect("it is saved");
    let said = truth(server, session).await;
    let last = said.last().and_then(|message| message.last_chunk_at.clone());
    eventually("the session is read", async || {
        let sessions = engine.sessions();
        let [one] = sessions.as_slice() else { return None };
        let is_read = one.unread == 0 && one.state == SessionState::Idle;
        (is_read && one.last_activity_at == last).then_some(sessions)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_show_the_same_session_see_each_other_come_and_go() {
    let home = Home::new();
    let server = home.server().await;
    let ana = home.engine_on(&server);
    let session = ana.create_session(demo()).await.expect("it is saved");
    let mut hers = Window::open(&ana, &session);
    ana.send_message(&session, "hello").await.expect("it is saved");
    hers.until("the answer", |w| w.is_settled() && w.answers() == 1 && sees(w, "ana")).await;
    let quiet = read_all(&ana, &server, &session).await;

    let bo = bo(&home);
    connect(&bo, &server.base_url());
    eventually("the session is listed", async || (!bo.sessions().is_empty()).then_some(())).await;
    let mut his = Window::open(&bo, &session);
    his.until("Bo sees both", |w| w.is_settled() && sees(w, "ana") && sees(w, "bo")).await;
    hers.until("Ana sees Bo", |w| sees(w, "bo")).await;
    let seen = hers.meta().presence.iter().find(|one| one.actor_id == "bo").cloned();
    assert_eq!(seen.and_then(|one| one.name).as_deref(), Some("Bo"));

    // Another window goes on showing it: Bo is still there.
    let mut second = Window::open(&bo, &session);
    second.until("the items", |w| w.is_settled() && sees(w, "bo")).await;
    drop(his);
    assert_eq!(ana.sessions(), quiet, "people coming is no activity");
    ana.send_message(&session, "hi").await.expect("it is saved");
    hers.until("the answer", |w| w.is_settled() && w.answers() == 2).await;
    assert!(sees(&hers, "bo"));
    let quiet = read_all(&ana, &server, &session).await;
    drop(second);
    hers.until("Bo has left", |w| !sees(w, "bo")).await;

    let third = Window::open(&bo, &session);
    hers.until("Bo is back", |w| sees(w, "bo")).await;
    bo.close().await;
    hers.until("Bo has left again", |w| !sees(w, "bo")).await;
    drop(third);
    assert_eq!(ana.sessions(), quiet, "people leaving is no activity");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_no_window_shows_is_read_without_being_there() {
    let home = Home::new();
    let server = home.server().await;
    let ana = home.engine_on(&server);
    let session = ana.create_session(demo()).await.expect("it is saved");
    ana.send_message(&session, "hello").await.expect("it is saved");
    eventually("the answer", async || {
        let [one] = ana.sessions().try_into().ok()?;
        (one.unread == 1 && one.state == SessionState::Idle).then_some(())
    })
    .await;
    let rows = log(&server, &session).await;
    assert!(rows.iter().all(|row| row["type"] != "presence"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_server_that_does_not_answer() {
    let home = Home::new();
    let server = home.server().await;
    let ana = home.engine_on(&server);
    let session = ana.create_session(demo()).await.expect("it is saved");
    let mut hers = Window::open(&ana, &session);
    hers.until("she is there", |w| sees(w, "ana")).await;
    // From now on somebody listens there who says nothing.
    let addr = server.addr;
    server.shutdown().await;
    let silent = std::net::TcpListener::bind(addr).expect("the port is free again");
    let began = tokio::time::Instant::now();
    ana.close().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_decides_too_late_is_told_who_decided_and_when() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    engine.send_message(&session, "Please clean up").await.expect("it is saved");
    window.until("the approval waits", |w| !w.approvals.is_empty()).await;
    let approval = window.approvals[0].approval.clone();
    engine.connect(THIS_COMPUTER, None).expect("there is nothing to set up");

    let bo = bo(&home);
    connect(&bo, &server.base_url());
    eventually("the list", async || bo.sessions().first().map(|_| ())).await;
    let mut theirs = Window::open(&bo, &session);
    theirs.until("Bo is there", |w| sees(w, "bo") && !w.approvals.is_empty()).await;
    bo.respond_approval(&session, &approval.message_id, &approval.id, true, None, None)
        .await
        .expect("it is saved");
    theirs.until("Bo has approved", |w| w.approvals.is_empty()).await;

    engine
        .respond_approval(&session, &approval.message_id, &approval.id, false, None, None)
        .await
        .expect("it is saved");
    connect(&engine, &server.base_url());
    window.until("Ana is told", |w| w.notices.iter().any(|one| one.code == "answered-first")).await;
    let told =
        &window.notices.iter().find(|one| one.code == "answered-first").expect("it is").message;
    assert!(told.starts_with("Bo approved this at "), "{told}");
}

/// Number of times that the log says that somebody came or left.
async fn comings(server: &RunningServer, session: &str) -> usize {
    log(server, session).await.iter().filter(|row| row["type"] == "presence").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glance_at_a_session_leaves_no_row_in_its_log_and_coming_back_soon_is_no_leaving() {
    let home = Home::new();
    let server = home.server().await;
    let never = Duration::from_secs(3600);
    let limits =
        Limits { arrive_after: Duration::from_millis(300), leave_after: never, ..at_once() };
    let engine = engine_with(&home.path("engine"), limits);
    connect(&engine, &server.base_url());
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(engine.create_session(demo()).await.expect("it is saved"));
    }
    let feed = engine.feed();
    let shows = |session: &String| feed.show(Some(session.clone())).expect("it exists");
    shows(&sessions[1]);
    eventually("it is on the server", async || {
        let made = log(&server, &sessions[0]).await;
        made.iter().any(|row| row["type"] == "agent").then_some(())
    })
    .await;
    // Now and then a look at the other.
    for _ in 0..3 {
        shows(&sessions[0]);
        shows(&sessions[1]);
    }
    eventually("the person is there", async || {
        (comings(&server, &sessions[1]).await > 0).then_some(())
    })
    .await;
    for _ in 0..3 {
        shows(&sessions[0]);
        shows(&sessions[1]);
    }
    assert_eq!(
        (comings(&server, &sessions[0]).await, comings(&server, &sessions[1]).await),
        (0, 1)
    );
}
