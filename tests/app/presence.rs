//! Who else is there.

use crate::support::app::Computer;
use crate::support::eventually;
use crate::support::server::Server;
use serde_json::{Value, json};

#[tokio::test]
async fn another_person_is_shown_while_they_are_in_the_session() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    computer.set(&json!({ "serverUrl": server.url() }));
    let app = computer.start().await;
    app.say("hello").await;
    app.wait("message").await;

    let client = reqwest::Client::new();
    let sessions = format!("{}/v1/sessions", server.url());
    let session = eventually("the session on the server", || async {
        let list: Value = client.get(&sessions).send().await.ok()?.json().await.ok()?;
        Some(list["sessions"][0]["sessionId"].as_str()?.to_owned())
    })
    .await;
    let is_there = |what: &'static str, body: Value| {
        let request = client.post(format!("{sessions}/{session}/{what}")).json(&body);
        async move { request.send().await.unwrap().error_for_status().unwrap() }
    };
    let bo = json!({ "actorId": "bo", "deviceId": "phone", "name": "Bo" });
    is_there("login", bo.clone()).await;

    app.wait("people").await;
    let says =
        "return document.querySelector('[data-testid=people]')?.textContent.trim() === '2 people'";
    app.page().wait_for("two people", says).await;
    app.save("presence").await;

    is_there("logout", bo).await;
    eventually("Bo is gone", || async {
        app.page().find("[data-testid=people]").await.is_none().then_some(())
    })
    .await;
}
