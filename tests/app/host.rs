//! The agents of this computer outlive the window: `kill -9` of the window and of the process that runs them.

use crate::support::app::{App, Computer, Shown, lives};
use crate::support::eventually;

fn answer(messages: &[Shown]) -> Option<&Shown> {
    messages.iter().rfind(|message| message.role == "assistant")
}

/// The numbers that the demo agent's long answer counts with: `word 1 word 2 …`.
fn count(text: &str) -> Vec<u32> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbers = words.windows(2).filter(|pair| pair[0] == "word");
    numbers.filter_map(|pair| pair[1].parse().ok()).collect()
}

async fn counts_to(app: &App<'_>, n: usize) {
    app.messages_until("the answer is on its way", |messages| {
        answer(messages).is_some_and(|answer| count(&answer.text).len() > n)
    })
    .await;
}

/// Waits until the answer has been given, every word of it once.
async fn counted(app: &App<'_>, words: u32) {
    let messages = app
        .messages_until("the whole answer", |messages| {
            let whole = |m: &Shown| m.complete && count(&m.text).last() == Some(&words);
            answer(messages).is_some_and(whole)
        })
        .await;
    let answers = messages.iter().filter(|message| message.role == "assistant").count();
    assert_eq!(answers, 1, "it is one answer");
    assert_eq!(count(&answer(&messages).unwrap().text), (1..=words).collect::<Vec<_>>());
}

async fn gone(pid: u32) {
    eventually("the agents' process to end", || async { (!lives(pid)).then_some(()) }).await;
}

#[tokio::test]
async fn an_answer_goes_on_when_the_window_is_killed_and_is_whole_in_the_next_one() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("long 500").await;
    counts_to(&app, 40).await;
    let host = computer.host().expect("the agents have a process of their own");
    app.kill();
    assert!(lives(host), "it outlives the window");

    let app = computer.start().await;
    assert_eq!(computer.host(), Some(host), "the next window attaches to it");
    counted(&app, 500).await;
    app.save("outlived").await;
    app.kill();
    gone(host).await;
}

#[tokio::test]
async fn an_answer_goes_on_by_itself_when_the_agents_process_is_killed() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("long 500").await;
    counts_to(&app, 40).await;
    let host = computer.host().unwrap();
    computer.kill_host();
    counted(&app, 500).await;
    assert_ne!(computer.host(), Some(host), "another process runs the agents now");
    app.save("continued").await;
    app.say("hello").await;
    app.messages_until("the session goes on", |messages| {
        messages.iter().filter(|m| m.role == "assistant" && m.complete).count() == 2
    })
    .await;
}

#[tokio::test]
async fn an_approval_waits_through_the_death_of_both() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("Tidy up the old report").await;
    app.wait("approval-card").await;
    let host = computer.host().unwrap();
    app.kill();
    assert!(lives(host), "what waits keeps the agents' process");
    computer.kill_host();
    gone(host).await;

    let app = computer.start().await;
    app.wait("approval-card").await;
    computer.kill_host();
    app.click("approve").await;
    let messages = app
        .messages_until("what was decided is done", |messages| {
            answer(messages).is_some_and(|answer| {
                answer.complete && answer.text.contains("nothing was touched")
            })
        })
        .await;
    let asked = messages.iter().filter(|message| message.text.contains("delete_file")).count();
    assert_eq!(asked, 1, "it was asked once");
}
