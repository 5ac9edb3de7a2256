//! A native notification when an approval waits and its session is not on screen.

use crate::support::app::Computer;

#[tokio::test]
async fn a_waiting_approval_elsewhere_is_announced_and_a_click_opens_its_session() {
    let computer = Computer::new();
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    app.say("Tidy up the old report").await;
    let page = app.page();
    let first = page.wait_for("the session's id", SHOWN).await;
    app.click("new-session").await;
    page.wait_for("an empty session is shown", EMPTY).await;

    let shown = desktop.next().await;
    assert!(shown.title.contains("Approval"), "{shown:?}");
    assert!(shown.body.contains("delete_file"), "it says which tool: {shown:?}");
    assert!(!shown.body.contains("report."), "it hides the arguments: {shown:?}");
    assert_eq!(&shown.actions[..2], ["default", "Open"], "it can be clicked: {shown:?}");

    desktop.click(shown.id).await;
    app.wait("approval-card").await;
    assert_eq!(page.wait_for("the session is open again", SHOWN).await, first);
    app.save("from-notification").await;
    app.click("approve").await;
    app.messages_until("the run ends", |messages| {
        messages.iter().any(|m| m.complete && m.text.contains("Thank you"))
    })
    .await;
}

#[tokio::test]
async fn a_notification_goes_away_when_the_approval_is_answered_in_the_sidebar_s_session() {
    let computer = Computer::new();
    let mut desktop = computer.bus.notifications().await;
    let app = computer.start().await;
    app.say("Tidy up the old report").await;
    app.page().wait_for("the session's id", SHOWN).await;
    app.click("new-session").await;
    let shown = desktop.next().await;
    let row = app.page().wait("[data-testid=needs-you]").await;
    row.click().await;
    app.click("approve").await;
    assert_eq!(desktop.next_closed().await, shown.id);
}

const SHOWN: &str = "return document.querySelector('[data-testid=message]') \
    && document.querySelector('[data-testid=session-row][aria-current=true]')?.dataset.sessionId";
const EMPTY: &str = "return !document.querySelector('[data-testid=message]')";
