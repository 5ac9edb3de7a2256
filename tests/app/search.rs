//! Finding what was said, however long ago.

use crate::support::app::Computer;
use crate::support::eventually;
use crate::support::server::Server;
use crate::support::webdriver::key;
use serde_json::json;

/// Far more than a window holds.
const SAID: u32 = 240;

#[tokio::test]
async fn a_message_from_long_ago_is_found_offline_and_gone_to_and_the_end_is_one_key_away() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    computer.set(&json!({ "serverUrl": server.url() }));
    server.put("archive").await;
    for n in 1..=SAID {
        let content = if n == 7 { "the harbour pilot".to_owned() } else { format!("note {n}") };
        let note = json!({ "content": content, "actorId": "bo" });
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
    drop(server);

    app.page().press(&[key::CONTROL, "k"]).await;
    app.wait("search").await.keys("harb pilot").await;
    let hit = app.wait("search-hit").await;
    assert!(hit.text().await.contains("the harbour pilot"));
    app.save("search").await;
    app.wait("search").await.keys(key::ENTER).await;
    let shown = app
        .messages_until("the message that was found, among its neighbours", |messages| {
            messages.iter().any(|message| message.text.contains("the harbour pilot"))
        })
        .await;
    assert!(shown.iter().any(|message| message.text.contains("note 8")), "{shown:?}");
    assert!(!shown.iter().any(|message| message.text.contains(&last)), "only what is near");
    app.save("found").await;

    app.click("to-end").await;
    app.messages_until("the end again", |messages| {
        messages.last().is_some_and(|message| message.text.contains(&last))
    })
    .await;
    eventually("nothing is below the end", || async {
        app.page().find("[data-testid=to-end]").await.is_none().then_some(())
    })
    .await;
}
