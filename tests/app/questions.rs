//! A question of an agent that is about no tool: answered in the fields it asks for, in the window.

use crate::support::app::Computer;
use crate::support::server::Server;
use serde_json::{Value, json};

#[tokio::test]
async fn a_question_is_answered_in_its_fields_beside_what_the_agent_shows() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    server.put("trip").await;
    server.post("trip", "messages", json!({ "content": "Book a room", "actorId": "bo" })).await;
    let schema = json!({
        "type": "object",
        "properties": {
            "city": { "type": "string", "title": "City" },
            "nights": { "type": "integer", "title": "Nights", "minimum": 1 },
            "breakfast": { "type": "boolean", "title": "Breakfast" },
        },
        "required": ["city"],
    });
    for chunk in [
        json!({ "type": "RUN_STARTED", "runId": "r" }),
        json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "It costs $a^2$ a night." }),
        json!({ "type": "STATE_SNAPSHOT", "snapshot": { "budget": "90 francs", "seen": ["one"] } }),
        json!({ "type": "STATE_DELTA", "delta": [{ "op": "add", "path": "/seen/-", "value": "two rooms" }] }),
        json!({ "type": "ACTIVITY_SNAPSHOT", "messageId": "plan", "activityType": "PLAN", "content": { "steps": ["look", "book"] } }),
        json!({ "type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "Researcher" }),
        json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "sub", "delta": "I looked it up.", "subagentRunId": "s" }),
        json!({ "type": "SUBAGENT_FINISHED", "subagentRunId": "s" }),
        json!({ "type": "RUN_FINISHED", "runId": "r", "outcome": { "type": "interrupt", "interrupts": [
            { "id": "q", "reason": "input", "message": "Which city?", "responseSchema": schema }
        ] } }),
    ] {
        server.chunk("trip", "asks", chunk).await;
    }
    computer.set(&json!({ "serverUrl": server.url() }));

    let app = computer.start().await;
    app.click("session-row").await;
    app.wait("activity-card").await;
    app.page()
        .wait_for("the formula is set in type", "return !!document.querySelector('.katex')")
        .await;
    app.wait("subagent").await;
    app.page().execute("document.querySelector('[data-testid=subagent] button').click()").await;
    app.page()
        .wait_for("what the subagent said", &says("[data-testid=subagent]", "I looked it up."))
        .await;
    app.page()
        .wait_for(
            "the question is named in the sidebar",
            &says("[data-testid=needs-you]", "Which city?"),
        )
        .await;
    app.click("details").await;
    for shared in ["90 francs", "two rooms"] {
        app.page()
            .wait_for("what the agent shares", &says("[data-testid=shared-state]", shared))
            .await;
    }
    app.save("question").await;
    app.click("details").await;

    let city = app.page().wait("[data-testid=question-form] input:not([type=checkbox])").await;
    city.click().await;
    city.keys("Zürich").await;
    app.page().wait("[data-testid=question-form] input[type=checkbox]").await.click().await;
    app.page().wait("[data-testid=question-form] button[type=submit]").await.click().await;
    app.page()
        .wait_for(
            "the log says that it was answered",
            &says("[data-testid=question-card]", "Answered."),
        )
        .await;
    app.page()
        .wait_for("the answer is in the log", &says("[data-testid=question-card]", "Zürich"))
        .await;
    app.page()
        .wait_for(
            "nothing waits any more",
            "return !document.querySelector('[data-testid=needs-you]')",
        )
        .await;
    app.save("question-answered").await;
    let answer = app
        .page()
        .execute("return document.querySelector('[data-testid=question-card] pre').textContent")
        .await;
    let answer: Value = serde_json::from_str(answer.as_str().unwrap()).unwrap();
    assert_eq!(answer, json!({ "city": "Zürich", "breakfast": true }));
}

fn says(css: &str, words: &str) -> String {
    format!("return (document.querySelector('{css}')?.textContent ?? '').includes('{words}')")
}
