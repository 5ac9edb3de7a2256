//! Several servers in one window.

use crate::support::app::{App, Computer, Shown};
use crate::support::eventually;
use crate::support::server::Server;
use crate::support::webdriver::key;
use serde_json::{Value, json};

fn answered(messages: &[Shown], count: usize) -> bool {
    let answers = messages.iter().filter(|message| message.role == "assistant");
    answers.filter(|answer| answer.complete).count() == count
}

/// The ids of a server's sessions.
async fn sessions(server: &Server) -> Vec<String> {
    let list = reqwest::get(format!("{}/v1/sessions", server.url())).await.unwrap();
    let list: Value = list.json().await.unwrap();
    let ids = list["sessions"].as_array().unwrap().iter();
    ids.map(|one| one["sessionId"].as_str().unwrap().to_owned()).collect()
}

/// Waits for so many servers that are there.
async fn servers_live(app: &App<'_>, count: usize) {
    let script = format!(
        "return document.querySelectorAll('[data-testid=server-head][data-state=live]').length === {count}"
    );
    app.page().wait_for("the servers are there", &script).await;
}

#[tokio::test]
async fn two_servers_at_once_and_one_that_is_killed_in_mid_answer_holds_up_nothing_of_the_other() {
    let computer = Computer::new();
    let first = Server::start(&computer.folder("first"), &[]);
    let second = Server::start(&computer.folder("second"), &[]);
    // As an earlier version had it: the one server, by its address in the settings.
    computer.set(&json!({ "serverUrl": first.url() }));
    let app = computer.start().await;
    app.say("hello first").await;
    app.messages_until("the answer", |messages| answered(messages, 1)).await;

    app.click("add-server").await;
    let url = app.wait("server-url").await;
    url.click().await;
    url.keys("http://127.0.0.1:9/").await;
    app.click("server-add").await;
    let says = "return document.querySelector('[data-testid=add-server-form]')?.textContent.includes('Nothing answers there')";
    app.page().wait_for("what is no server is not added", says).await;
    app.page()
        .execute(
            "const field = document.querySelector('[data-testid=server-url]'); field.value = ''; \
             field.dispatchEvent(new Event('input', { bubbles: true }));",
        )
        .await;
    url.keys(&second.url()).await;
    app.click("server-add").await;
    let says = "return document.querySelector('[data-testid=server-add]')?.textContent.includes('Add server')";
    app.page().wait_for("what the token may do is told", says).await;
    app.save("add-server").await;
    app.click("server-add").await;
    servers_live(&app, 3).await;

    app.click("new-session").await;
    app.wait("new-session-server").await;
    let choose = format!(
        "const select = document.querySelector('[data-testid=new-session-server]'); \
         const option = Array.from(select.options).find(one => '{}'.endsWith(one.textContent)); \
         select.value = option.value; select.dispatchEvent(new Event('change', {{ bubbles: true }}));",
        second.url()
    );
    app.page().execute(&choose).await;
    app.say("long 600").await;
    app.messages_until("the answer is on its way", |messages| {
        messages.iter().any(|one| one.role == "assistant" && one.text.contains("word 20"))
    })
    .await;
    assert_eq!((sessions(&first).await.len(), sessions(&second).await.len()), (1, 1));
    app.save("two-servers").await;
    drop(second);
    app.connection("retrying").await;

    // The other one goes on as if nothing had happened.
    let open = "Array.from(document.querySelectorAll('[data-testid=session-row]'))\
                .find(row => row.textContent.includes('hello first')).click()";
    app.page().execute(open).await;
    app.messages_until("the first session", |messages| answered(messages, 1)).await;
    app.say("still there?").await;
    app.messages_until("its answer", |messages| answered(messages, 2)).await;
    app.save("one-server-away").await;
    eventually("each has its own and nothing else", || async {
        (sessions(&first).await.len() == 1).then_some(())
    })
    .await;
    app.quit().await;
}

#[tokio::test]
async fn what_an_earlier_version_kept_stays_where_it_was_said_whatever_server_the_settings_name() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("hello private word").await;
    app.messages_until("the answer", |messages| answered(messages, 1)).await;
    let composer = app.wait("composer").await;
    composer.click().await;
    composer.keys("half a private thought").await;
    eventually("the draft is kept", || async {
        computer.holds(b"half a private thought").then_some(())
    })
    .await;
    app.quit().await;

    let away = Server::start(&computer.folder("away"), &[]);
    away.put("theirs").await;
    let said = json!({ "content": "said elsewhere", "actorId": "bo" });
    away.post("theirs", "messages", said).await;
    let database = computer.data().join("engine").join("threadkeep.db");
    rusqlite::Connection::open(database)
        .and_then(|file| {
            file.execute_batch(include_str!(
                "../../crates/session-core/tests/it/before_servers.sql"
            ))
        })
        .expect("it can be taken back");
    computer.set(&json!({ "serverUrl": away.url() }));

    let app = computer.start().await;
    app.messages_until("what was said", |messages| {
        answered(messages, 1) && messages[0].text.contains("private word")
    })
    .await;
    let draft = "return document.querySelector('[data-testid=composer]')?.value === 'half a private thought'";
    app.page().wait_for("the draft", draft).await;
    servers_live(&app, 2).await;
    let listed = "return document.querySelectorAll('[data-testid=session-row]').length === 2";
    app.page().wait_for("both sessions", listed).await;
    let composer = app.wait("composer").await;
    composer.click().await;
    composer.keys(key::ENTER).await;
    app.messages_until("its answer", |messages| answered(messages, 2)).await;
    app.save("before-servers").await;
    assert_eq!(sessions(&away).await, ["theirs"]);
    let log = reqwest::get(format!("{}/v1/stream/sessions/theirs?offset=-1", away.url())).await;
    let log = log.unwrap().text().await.unwrap();
    assert!(log.contains("said elsewhere") && !log.contains("private"), "{log}");
    app.quit().await;
}
