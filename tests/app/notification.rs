//! A native notification when an approval waits and its session is not on screen.

use crate::support::app::{App, Computer};
use crate::support::eventually;
use crate::support::server::Server;
use serde_json::json;

/// A computer that knows a server with a session, and the server.
async fn with_session() -> (Computer, Server) {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    computer.set(&json!({ "serverUrl": server.url() }));
    server.put("report").await;
    let said = json!({ "content": "Tidy up the old report", "actorId": "bo" });
    server.post("report", "messages", said).await;
    (computer, server)
}

/// Waits until the session is listed; it is not on screen.
async fn listed(app: &App<'_>) {
    app.wait("session-row").await;
    assert!(app.messages().await.is_empty(), "an empty session is shown");
}

#[tokio::test]
async fn a_waiting_approval_elsewhere_is_announced_and_a_click_opens_its_session() {
    let (computer, server) = with_session().await;
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    listed(&app).await;
    server.ask("report").await;

    let shown = desktop.next().await;
    assert!(shown.title.contains("Approval"), "{shown:?}");
    assert!(shown.body.contains("delete_file"), "it says which tool: {shown:?}");
    assert!(!shown.body.contains("report.txt"), "it hides the arguments: {shown:?}");
    assert_eq!(&shown.actions[..2], ["default", "Open"], "it can be clicked: {shown:?}");

    desktop.click(shown.id).await;
    app.wait("approval-card").await;
    app.messages_until("its session is shown", |messages| {
        messages.iter().any(|message| message.text.contains("Tidy up the old report"))
    })
    .await;
    app.save("from-notification").await;
    app.click("approve").await;
    let decided = "return document.querySelector('[data-testid=approval-card]')?.dataset.status !== 'pending'";
    app.page().wait_for("it is decided", decided).await;
}

#[tokio::test]
async fn a_notification_goes_away_when_the_approval_is_answered_in_the_window() {
    let (computer, server) = with_session().await;
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    listed(&app).await;
    server.ask("report").await;
    let shown = desktop.next().await;
    app.click("needs-you").await;
    app.click("approve").await;
    assert_eq!(desktop.next_closed().await, shown.id);
}

#[tokio::test]
async fn what_only_reads_is_decided_from_its_notification_once() {
    for (press, approved) in [("approve", "true"), ("deny", "false")] {
        let (computer, server) = with_session().await;
        let mut desktop = computer.bus.notifications().await;
        let app = computer.start().await;
        listed(&app).await;
        server.ask_for("report", "read_file").await;
        let shown = desktop.next().await;
        assert!(shown.body.starts_with("bot wants to use read_file"), "it says who: {shown:?}");
        assert_eq!(&shown.actions[2..], ["approve", "Approve", "deny", "Deny"], "{shown:?}");
        desktop.press(shown.id, press).await;
        let said = format!("\\\"approved\\\":{approved}");
        eventually("the answer in the stream", || async {
            server.says("report", &said).await.then_some(())
        })
        .await;
        assert_eq!(desktop.next_closed().await, shown.id);
        // Pressed again, nobody is asked any more.
        desktop.press(shown.id, press).await;
        assert!(app.messages().await.is_empty(), "the window was not needed");
    }
}

#[tokio::test]
async fn what_does_more_than_read_can_only_be_reviewed() {
    let (computer, server) = with_session().await;
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    listed(&app).await;
    server.ask("report").await;
    let shown = desktop.next().await;
    assert_eq!(&shown.actions[2..], ["open", "Review"], "{shown:?}");
    desktop.press(shown.id, "approve").await;
    app.wait("approval-card").await;
    assert!(
        !server.says("report", "approval-response").await,
        "a button that was not offered decides nothing"
    );
}

#[tokio::test]
async fn a_notification_goes_away_when_somebody_else_answers() {
    let (computer, server) = with_session().await;
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    listed(&app).await;
    server.ask("report").await;
    let shown = desktop.next().await;
    server.post("report", "approvals/a", json!({ "approved": false, "actorId": "bo" })).await;
    assert_eq!(desktop.next_closed().await, shown.id);
}

#[tokio::test]
async fn an_answer_elsewhere_that_ended_is_told_once() {
    let (computer, server) = with_session().await;
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    listed(&app).await;
    let run = |kind: &str| json!({ "type": kind, "threadId": "report", "runId": "r" });
    server.chunk("report", "answer", run("RUN_STARTED")).await;
    let runs =
        "return document.querySelector('[data-testid=session-row]')?.dataset.state === 'running'";
    app.page().wait_for("it runs", runs).await;
    server.chunk("report", "answer", run("RUN_FINISHED")).await;
    let shown = desktop.next().await;
    assert!(shown.title.starts_with("Answer ready"), "{shown:?}");
    assert_eq!(shown.actions, ["default", "Open"]);
    desktop.click(shown.id).await;
    assert_eq!(desktop.next_closed().await, shown.id, "it was seen");
    assert!(desktop.rest().is_empty(), "once");
}

#[tokio::test]
async fn the_tray_says_what_it_can_do_and_quits() {
    let computer = Computer::new();
    computer.set(&json!({ "keepInBackground": true }));
    let app = computer.start().await;
    // A tray that comes late, as at a login.
    let mut tray = computer.bus.tray().await;
    let icon = tray.next().await;
    let menu = tray.menu(&icon).await;
    assert_eq!(menu, [(1, "Show Threadkeep".to_owned()), (2, "Quit".to_owned())]);
    tray.choose(&icon, 2).await;
    eventually("the app to quit", || async { app.has_ended().then_some(()) }).await;
}
