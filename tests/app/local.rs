//! A program of this computer as an agent: its plan, its requests with options, and what it did, in the window.

use crate::support::app::{App, Computer};
use crate::support::server::Server;
use serde_json::{Value, json};
use std::io::{BufRead, Write};

/// Tells the test below that it is to be the agent.
const MARK: &str = "TK_TEST_AGENT";

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{message}").unwrap();
    out.flush().unwrap();
}

/// The agent: this test binary, started again. It plans, asks whether it may run a command, and says what was chosen.
#[test]
#[ignore = "started by another test"]
fn an_agent() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let update = |update: Value| {
        say(&json!({"method": "session/update", "params": {"sessionId": "own", "update": update}}));
    };
    let mut prompt = Value::Null;
    for line in std::io::stdin().lock().lines() {
        let Ok(message) = line.map(|line| serde_json::from_str::<Value>(&line).unwrap()) else {
            break;
        };
        let id = message["id"].clone();
        match message["method"].as_str() {
            Some("initialize") => {
                say(&json!({"id": id, "result": {"protocolVersion": 1, "agentCapabilities": {}}}))
            }
            Some("session/new") => say(&json!({"id": id, "result": {"sessionId": "own"}})),
            Some("session/prompt") => {
                prompt = id;
                update(json!({"sessionUpdate": "plan", "entries": [
                    {"content": "Ask", "priority": "high", "status": "in_progress"},
                    {"content": "Touch the file", "priority": "low", "status": "pending"},
                ]}));
                let option = |id: &str, kind: &str, name: &str| json!({"optionId": id, "kind": kind, "name": name});
                say(&json!({"id": 1000, "method": "session/request_permission", "params": {
                    "sessionId": "own",
                    "toolCall": {"toolCallId": "c", "title": "touch made-by-shell", "kind": "execute", "status": "pending",
                        "rawInput": {"command": "touch made-by-shell"}, "locations": [{"path": "/tmp/made-by-shell"}]},
                    "options": [option("once", "allow_once", "Allow once"),
                        option("session", "allow_always", "Allow for this session"), option("no", "reject_once", "Reject")],
                }}));
            }
            Some("session/cancel") => {}
            Some(_) => {
                say(&json!({"id": id, "error": {"code": -32601, "message": "no such method"}}))
            }
            None if id == 1000 => {
                let chosen = message["result"]["outcome"]["optionId"].as_str().unwrap_or("nothing");
                let status =
                    if chosen == "no" || chosen == "nothing" { "failed" } else { "completed" };
                update(
                    json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": status,
                    "content": [{"type": "content", "content": {"type": "text", "text": "touched"}}]}),
                );
                update(json!({"sessionUpdate": "agent_message_chunk",
                    "content": {"type": "text", "text": format!("You chose {chosen}.")}}));
                update(json!({"sessionUpdate": "usage_update", "used": 500, "size": 1000}));
                say(&json!({"id": prompt, "result": {"stopReason": "end_turn"}}));
            }
            None => {}
        }
    }
}

/// A server with that agent in the session `trip`, which was asked something.
async fn asked(computer: &Computer) -> Server {
    let agent = std::env::current_exe().unwrap();
    let command =
        format!("tester={} --ignored --exact --nocapture local::an_agent", agent.display());
    let data = computer.folder("server");
    let arguments = ["--auth", "none", "--acp", command.as_str()];
    let server = Server::start_with(&data, &arguments, &[(MARK, "1")]);
    server.put("trip").await;
    let agents = json!({"agents": [{"id": "tester", "name": "Tester", "endpoint": "acp:tester"}]});
    server.post("trip", "agents", agents).await;
    server.post("trip", "messages", json!({"content": "Touch it", "actorId": "bo"})).await;
    computer.set(&json!({ "serverUrl": server.url() }));
    server
}

fn says(css: &str, words: &str) -> String {
    format!("return (document.querySelector('{css}')?.textContent ?? '').includes('{words}')")
}

async fn sees(app: &App<'_>, css: &str, words: &str) {
    app.page().wait_for(words, &says(css, words)).await;
}

#[tokio::test]
async fn an_option_of_an_agent_is_chosen_in_the_window_inside_its_run() {
    let computer = Computer::new();
    let server = asked(&computer).await;
    let app = computer.start().await;
    app.click("session-row").await;
    app.page().wait("[data-option=session]").await;
    sees(&app, "[data-option=session]", "without asking again in this session").await;
    sees(&app, "[data-testid=approval-card]", "/tmp/made-by-shell").await;
    sees(&app, "[data-testid=plan]", "Plan · 0 of 2 done").await;
    app.save("local-agent-asks").await;
    app.page().wait("[data-option=session]").await.click().await;
    sees(&app, "[data-rows]", "You chose session.").await;
    sees(&app, "[data-testid=approval-card]", "Approved: “Allow for this session” by you").await;
    sees(&app, "[data-testid=context-ring]", "50 %").await;
    app.save("local-agent-answered").await;
    drop(server);
}

#[tokio::test]
async fn a_no_with_words_ends_the_request_and_reaches_the_agent_as_the_next_message() {
    let computer = Computer::new();
    let server = asked(&computer).await;
    let app = computer.start().await;
    app.click("session-row").await;
    app.page().wait("[data-testid=deny-with-words]").await.click().await;
    app.page().wait("[data-testid=deny-words]").await.keys("Use another folder").await;
    app.page().wait("[data-testid=deny-send]").await.click().await;
    sees(&app, "[data-rows]", "You chose no.").await;
    sees(&app, "[data-rows]", "Use another folder").await;
    // It is answered: the agent asks anew.
    app.page().wait("[data-option=once]").await;
    drop(server);
}
