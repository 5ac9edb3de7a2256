//! A native notification when an approval waits and its session is not on screen.

use crate::support::app::{App, Computer};
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
