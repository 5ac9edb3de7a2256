//! Rows far above the end are as live as the last one.

use crate::support::app::Computer;
use crate::support::eventually;
use crate::support::server::Server;
use serde_json::json;

/// An agent asks in the second of this many messages.
const SAID: u32 = 101;

#[tokio::test]
async fn an_approval_far_above_is_decided_where_it_is_asked_and_no_row_jumps_on_the_way_up() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    computer.set(&json!({ "serverUrl": server.url() }));
    server.put("archive").await;
    server.post("archive", "messages", json!({ "content": "tidy up", "actorId": "bo" })).await;
    server.ask("archive").await;
    for n in 3..=SAID {
        let note = json!({ "content": format!("note {n}"), "actorId": "bo" });
        server.post("archive", "messages", note).await;
    }

    let app = computer.start().await;
    app.click("session-row").await;
    let last = format!("note {SAID}");
    app.messages_until("the end of the session", |messages| {
        messages.last().is_some_and(|message| message.text.contains(&last))
    })
    .await;
    app.connection("live").await;

    // The row at the top stays where it is, the same element, while older ones come above it.
    app.page().execute(COME_NEAR).await;
    app.page().wait_for("rows near the first one", HAS_ROWS_AT_THE_TOP).await;
    app.page().execute(MARK_THE_TOP).await;
    app.page().wait_for("older rows above the one that was first", IS_IN_PLACE).await;
    eventually("the request", || async {
        let asks = app.page().execute(GO_UP).await;
        (asks == true).then_some(())
    })
    .await;
    app.save("asked-far-above").await;
    app.click("approve").await;
    app.page().wait_for("the log says that it was approved", IS_APPROVED).await;
    app.page().wait_for("nothing waits for the person any more", NOTHING_WAITS).await;
    assert_eq!(app.page().execute(IS_APPROVED).await, true, "and it still does");
    app.save("decided-far-above").await;
}

/// Not so near that the page asks for older rows.
const COME_NEAR: &str = "\
    const log = document.querySelector('[data-zone=log]'); log.scrollTop = log.clientHeight * 1.7";

const HAS_ROWS_AT_THE_TOP: &str = "\
    const box = document.querySelector('[data-zone=log]').getBoundingClientRect();\
    const middle = box.left + box.width / 2;\
    return !!document.elementFromPoint(middle, box.top + 30)?.closest('[data-row]')";

/// Goes a little further, and notes where the row at the top is.
const MARK_THE_TOP: &str = "\
    const log = document.querySelector('[data-zone=log]'); log.scrollTop -= log.clientHeight * 0.4;\
    const row = Array.from(document.querySelectorAll('[data-row]'))\
      .find(row => row.getBoundingClientRect().bottom > log.getBoundingClientRect().top + 1);\
    row.marked = row.getBoundingClientRect().top;";

const IS_IN_PLACE: &str = "\
    const row = Array.from(document.querySelectorAll('[data-row]'))\
      .find(row => row.marked !== undefined);\
    return row !== undefined && row.previousElementSibling?.dataset.row !== undefined\
      && !document.querySelector('.earlier') && Math.abs(row.getBoundingClientRect().top - row.marked) < 2";

const GO_UP: &str = "\
    document.querySelector('[data-zone=log]').scrollTop = 0;\
    return !!document.querySelector('[data-testid=approve]')";

const IS_APPROVED: &str = "\
    return !!document.querySelector('[data-testid=approval-card][data-status=approved]')\
      && !document.querySelector('[data-testid=approve]')";

const NOTHING_WAITS: &str = "return !document.querySelector('[data-testid=needs-you]')";
