//! The main job in the app as it comes: embedded server, demo agent, no account, no key.

use crate::support::app::{Computer, Shown};

fn answer(messages: &[Shown]) -> Option<&Shown> {
    messages.iter().rfind(|message| message.role == "assistant")
}

#[tokio::test]
async fn main_job_type_see_tokens_arrive_approve_and_the_run_goes_on() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.save("first-run").await;

    app.say("Tidy up the old report").await;
    app.messages_until("my message in the window", |messages| {
        messages.iter().any(|m| m.role == "user" && m.text.contains("Tidy up the old report"))
    })
    .await;

    // Tokens arrive one after the other: the unfinished answer is seen growing.
    let mut lengths = std::collections::BTreeSet::new();
    app.messages_until("an answer that grows", |messages| {
        if let Some(answer) = answer(messages)
            && !answer.complete
            && !answer.text.is_empty()
        {
            lengths.insert(answer.text.len());
        }
        lengths.len() >= 3
    })
    .await;

    app.wait("approval-card").await;
    app.save("approval").await;
    let sessions = app.page().wait_for("the session says that it waits", WAITS).await;
    assert_eq!(sessions, true);
    app.click("approve").await;

    let messages = app
        .messages_until("the run goes on and ends", |messages| {
            answer(messages)
                .is_some_and(|answer| answer.complete && answer.text.contains("Thank you"))
        })
        .await;
    app.page()
        .wait_for(
            "no approval waits any more",
            "return !document.querySelector('[data-testid=approve]')",
        )
        .await;
    app.save("approved").await;

    let mine = messages.iter().filter(|m| m.role == "user").count();
    assert_eq!(mine, 1, "my message is there once: {messages:#?}");
    let mut ids: Vec<_> = messages.iter().map(|m| &m.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), messages.len(), "no row is there twice: {messages:#?}");
    app.quit().await;
}

const WAITS: &str = "return !!document.querySelector('[data-testid=session-row]')";

#[tokio::test]
async fn denied_the_run_goes_on_without_the_tool() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("Tidy up the old report").await;
    app.click("deny").await;
    let messages = app
        .messages_until("the run ends", |messages| {
            answer(messages).is_some_and(|m| m.complete && m.text.contains("stays where it is"))
        })
        .await;
    let text = answer(&messages).unwrap().text.to_lowercase();
    assert!(text.contains("denied"), "the decision is shown: {text}");
    app.save("denied").await;
}

#[tokio::test]
async fn reloading_the_page_loses_nothing_not_even_a_draft() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("hello").await;
    let before = app
        .messages_until("an answer", |messages| answer(messages).is_some_and(|m| m.complete))
        .await;
    let composer = app.wait("composer").await;
    composer.click().await;
    composer.keys("half a thought").await;
    // It is durable once the engine has it on disk.
    crate::support::eventually("the draft on disk", || async {
        computer.holds(b"half a thought").then_some(())
    })
    .await;
    app.page().execute("window.__notReloaded = true").await;
    app.page().execute("location.reload()").await;
    app.page().wait_for("the page is new", "return !window.__notReloaded").await;
    let after =
        app.messages_until("the same rows", |messages| messages.len() == before.len()).await;
    assert_eq!(after, before);
    app.page()
        .wait_for(
            "the draft is back",
            "return document.querySelector('[data-testid=composer]').value === 'half a thought'",
        )
        .await;
}

#[tokio::test]
async fn the_whole_job_can_be_done_without_a_mouse() {
    use crate::support::webdriver::key::{CONTROL, ENTER};
    let computer = Computer::new();
    let app = computer.start().await;
    app.page().press(&[CONTROL, "n"]).await;
    app.page().wait_for("the composer has the focus", COMPOSER_FOCUSED).await;
    for character in "Tidy up".chars() {
        app.page().press(&[&character.to_string()]).await;
    }
    app.page().press(&[ENTER]).await;
    app.wait("approval-card").await;
    app.page().execute("document.querySelector('[data-testid=approval-card]').focus()").await;
    app.page().press(&["a"]).await;
    app.messages_until("the run ends", |messages| {
        answer(messages).is_some_and(|m| m.complete && m.text.contains("Thank you"))
    })
    .await;
}

const COMPOSER_FOCUSED: &str = "return document.activeElement?.dataset.testid === 'composer'";
