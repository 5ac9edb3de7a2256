//! Kill it, cut it off, start it again: nothing is replayed, lost or doubled.

use crate::support::app::{App, Computer, Shown};
use crate::support::eventually;
use crate::support::server::Server;
use crate::support::switch::Switch;
use serde_json::{Value, json};

fn answer(messages: &[Shown]) -> Option<&Shown> {
    messages.iter().rfind(|message| message.role == "assistant")
}

/// The words of the last answer, as the window shows them.
async fn words(app: &App<'_>) -> String {
    answer(&app.messages().await).map(|answer| normal(&answer.text)).unwrap_or_default()
}

/// Text without what layout adds.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The numbers that the demo agent's long answer counts with: `word 1 word 2 …`.
fn count(text: &str) -> Vec<u32> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbers = words.windows(2).filter(|pair| pair[0] == "word");
    numbers.filter_map(|pair| pair[1].parse().ok()).collect()
}

#[tokio::test]
async fn killed_in_mid_answer_it_opens_offline_and_gets_the_rest_exactly_once() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    let cable = Switch::start(server.address).await;
    computer.set(&json!({ "serverUrl": cable.url() }));

    let app = computer.start().await;
    app.say("long 600").await;
    app.messages_until("the answer is on its way", |messages| {
        answer(messages).is_some_and(|answer| count(&answer.text).len() > 40)
    })
    .await;
    let seen = words(&app).await;
    app.kill();
    cable.cut();

    // Offline: what was on disk is there in the first paint, and the page can be read and written.
    let app = computer.start().await;
    app.messages_until("the answer so far, from disk alone", |messages| answer(messages).is_some())
        .await;
    let painted = eventually("the first paint", || async {
        let log = computer.log();
        log.split_once("painted with ").map(|(_, rest)| rest.starts_with(|c: char| c != '0'))
    })
    .await;
    assert!(painted, "the rows were in the first paint: {}", computer.log());
    let opened = words(&app).await;
    assert!(count(&opened).len() > 10, "the answer so far is in the first paint: {opened}");
    let (shown, before) = (count(&opened), count(&seen));
    assert_eq!(
        shown,
        (1..=shown.len() as u32).collect::<Vec<_>>(),
        "in order, none twice: {opened}"
    );
    assert!(
        before.len().saturating_sub(shown.len()) <= 80,
        "at most the last moments before the kill may come again from the stream: {} of {}",
        shown.len(),
        before.len()
    );
    app.connection("retrying").await;
    app.save("reopened-offline").await;
    app.say("sent while offline").await;
    app.messages_until("my message waits in the window", |messages| {
        messages.iter().any(|m| m.role == "user" && m.text.contains("sent while offline"))
    })
    .await;

    cable.join();
    app.connection("live").await;
    let messages = app
        .messages_until(
            "the rest of the answer, and an answer to what was sent offline",
            |messages| {
                let done = messages.iter().filter(|m| m.role == "assistant" && m.complete);
                done.clone().any(|m| count(&m.text).len() == 600) && done.count() == 2
                    || messages.iter().any(|m| m.role == "assistant" && m.text.contains("Approve"))
            },
        )
        .await;
    app.save("reconnected").await;
    let long = messages.iter().find(|m| count(&m.text).len() > 40).expect("the long answer");
    assert_eq!(count(&long.text), (1..=600).collect::<Vec<_>>(), "every word once, in order");
    let offline = messages.iter().filter(|m| m.text.contains("sent while offline")).count();
    assert_eq!(offline, 1, "what was sent offline arrived once");

    // The stream itself says the same: one whole message of mine per thing I said.
    let items = stream(&server).await;
    let mine =
        items.iter().filter(|item| item["value"]["chunk"].as_str().is_some_and(is_whole)).count();
    assert_eq!(mine, 2, "the stream has each of my two messages once");
}

fn is_whole(chunk: &str) -> bool {
    chunk.contains("\"whole-message\"")
}

/// All items of the server's only session.
async fn stream(server: &Server) -> Vec<Value> {
    let list: Value = get(&format!("{}/v1/sessions", server.url())).await;
    let id = list["sessions"][0]["sessionId"].as_str().expect("one session").to_owned();
    let items = get(&format!("{}/v1/stream/sessions/{id}", server.url())).await;
    items.as_array().expect("an array of items").clone()
}

async fn get(url: &str) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn what_is_sent_before_a_kill_offline_is_sent_after_it_once() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    let cable = Switch::start(server.address).await;
    computer.set(&json!({ "serverUrl": cable.url() }));
    let app = computer.start().await;
    app.say("hello").await;
    app.messages_until("an answer", |messages| answer(messages).is_some_and(|m| m.complete)).await;
    cable.cut();
    app.connection("retrying").await;
    app.say("hello again").await;
    app.messages_until("it waits in the window", |messages| messages.len() == 3).await;
    app.kill();

    let app = computer.start().await;
    app.messages_until("the unsent message, from disk alone", |messages| messages.len() == 3).await;
    cable.join();
    app.messages_until("it is delivered and answered", |messages| {
        messages.len() == 4 && messages.iter().all(|m| m.complete)
    })
    .await;
    let items = stream(&server).await;
    let mine =
        items.iter().filter(|item| item["value"]["chunk"].as_str().is_some_and(is_whole)).count();
    assert_eq!(mine, 2);
}
