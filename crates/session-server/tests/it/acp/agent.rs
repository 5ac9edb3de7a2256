//! An agent that misbehaves to order: this test binary, started again. What a prompt says is what it does.
//!
//! Its mode (how it starts, what it remembers) is `ACP_MODE`, its memory a file in `ACP_STATE`. The words that the test
//! harness prints before it are noise, as real agents have it.

use std::{
    collections::HashMap,
    io::{BufRead, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use session_server::AcpAgent;

/// The agent of this name and mode.
pub fn scripted(name: &str, mode: &str, state: &std::path::Path) -> AcpAgent {
    AcpAgent {
        name: name.to_owned(),
        program: std::env::current_exe().unwrap().into(),
        arguments: ["--ignored", "--exact", "--nocapture", "acp::agent::an_agent"]
            .map(Into::into)
            .into(),
        environment: vec![("ACP_MODE".into(), mode.into()), ("ACP_STATE".into(), state.into())],
        folder: state.to_owned(),
    }
}

#[test]
#[ignore = "started by other tests"]
fn an_agent() {
    let Ok(mode) = std::env::var("ACP_MODE") else { return };
    let state = PathBuf::from(std::env::var_os("ACP_STATE").unwrap());
    match mode.as_str() {
        "exits" => std::process::exit(3),
        "foreign" => {
            say(&json!("<html>"));
            std::process::exit(0);
        }
        _ => {}
    }
    let agent = Arc::new(Scripted {
        mode,
        state,
        next: AtomicU64::new(0),
        waiting: Mutex::default(),
        cancelled: AtomicBool::new(false),
        chosen: (Mutex::new("ask".to_owned()), Mutex::new("small".to_owned())),
    });
    // Who wants to know which processes there were finds them here.
    let pids = agent.state.join("pids");
    let mut pids = std::fs::OpenOptions::new().create(true).append(true).open(pids).unwrap();
    writeln!(pids, "{}", std::process::id()).unwrap();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        agent.hear(&serde_json::from_str(&line).unwrap());
    }
    if agent.mode != "stays" {
        std::process::exit(0);
    }
    loop {
        thread::sleep(Duration::from_secs(1)); // the end of its input means nothing to it
    }
}

struct Scripted {
    mode: String,
    state: PathBuf,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Value>>>,
    cancelled: AtomicBool,
    /// Its mode and its model.
    chosen: (Mutex<String>, Mutex<String>),
}

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{message}").unwrap();
    out.flush().unwrap();
}

impl Scripted {
    fn hear(self: &Arc<Self>, message: &Value) {
        let (id, params) = (message["id"].clone(), message["params"].clone());
        let answer = |result: Value| say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
        let refuse = |code: i64, details: &str| {
            say(
                &json!({"id": id, "error": {"code": code, "message": "Internal error", "data": {"details": details}}}),
            );
        };
        match message["method"].as_str() {
            Some("initialize") if self.mode == "v9" => answer(json!({"protocolVersion": 9})),
            Some("initialize") => {
                let can = match self.mode.as_str() {
                    "load" | "amnesia" => json!({"loadSession": true}),
                    "forgets" => json!({}),
                    _ => json!({"sessionCapabilities": {"resume": {}}}),
                };
                let login = json!([{"id": "key", "name": "API key"},
                    {"id": "account", "name": "Account", "type": "terminal", "args": ["login", "--now"]}]);
                answer(
                    json!({"protocolVersion": 1, "agentCapabilities": can, "authMethods": login}),
                );
            }
            Some("session/new") if self.mode == "login" => refuse(-32000, "sign in"),
            Some("session/new") if self.mode == "no-key" => {
                refuse(-32603, "OPENAI_API_KEY is not set")
            }
            Some("session/new") => {
                let session = format!("own-{}", std::process::id());
                std::fs::write(self.state.join(&session), "").unwrap();
                // Said before the answer, as some do.
                self.update(
                    &session,
                    &json!({"sessionUpdate": "available_commands_update", "availableCommands": []}),
                );
                let mut opened = self.options();
                opened["sessionId"] = session.into();
                answer(opened);
            }
            Some("session/set_config_option") => {
                let (id, value) =
                    (&params["configId"], params["value"].as_str().unwrap_or_default());
                if value == "broken" {
                    return refuse(-32603, "this model is broken");
                }
                let key = if id == "mode" { &self.chosen.0 } else { &self.chosen.1 };
                value.clone_into(&mut key.lock().unwrap());
                answer(self.options());
            }
            Some("session/resume" | "session/load") => {
                let session = params["sessionId"].as_str().unwrap();
                let known = std::fs::read_to_string(self.state.join(session));
                match known {
                    _ if self.mode == "amnesia" => answer(Value::Null),
                    Err(_) => refuse(-32602, "no such session"),
                    Ok(known) => {
                        for prompt in known.lines() {
                            self.update(session, &json!({"sessionUpdate": "user_message_chunk", "content": {"type": "text", "text": prompt}}));
                            self.text(session, "said before");
                        }
                        answer(self.options());
                        self.text(session, "said before, and after the answer");
                    }
                }
            }
            Some("session/cancel") => {
                self.cancelled.store(true, Ordering::SeqCst);
            }
            Some("session/prompt")
                if self.mode == "login-late" && !self.state.join("signed-in").exists() =>
            {
                refuse(-32000, "sign in");
            }
            Some("session/prompt") => {
                self.cancelled.store(false, Ordering::SeqCst);
                let agent = Arc::clone(self);
                thread::spawn(move || {
                    let session = params["sessionId"].as_str().unwrap();
                    let blocks = params["prompt"].as_array().unwrap();
                    let words: Vec<&str> =
                        blocks.iter().map(|block| block["text"].as_str().unwrap()).collect();
                    let reason = agent.prompt(session, &words);
                    say(
                        &json!({"id": id, "result": {"stopReason": reason, "usage": {"inputTokens": 1, "outputTokens": 2}}}),
                    );
                });
            }
            Some(_) => refuse(-32601, "no such method"),
            None => {
                if let Some(waits) =
                    id.as_u64().and_then(|id| self.waiting.lock().unwrap().remove(&id))
                {
                    waits.send(message.clone()).ok();
                }
            }
        }
    }

    fn options(&self) -> Value {
        let choice = |value: &str, name: &str| json!({"value": value, "name": name});
        json!({"configOptions": [
            {"id": "mode", "name": "Mode", "category": "mode", "type": "select", "currentValue": *self.chosen.0.lock().unwrap(),
                "options": [choice("ask", "Ask"), choice("plan", "Plan"), choice("yolo", "YOLO")]},
            {"id": "model", "name": "Model", "category": "model", "type": "select", "currentValue": *self.chosen.1.lock().unwrap(),
                "options": [choice("small", "Small"), choice("large", "Large"), choice("broken", "Broken")]},
            {"id": "ask-first", "name": "Ask first", "type": "boolean", "currentValue": true},
        ]})
    }

    fn update(&self, session: &str, update: &Value) {
        say(
            &json!({"method": "session/update", "params": {"sessionId": session, "update": update}}),
        );
    }

    fn text(&self, session: &str, text: &str) {
        self.update(session, &json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}));
    }

    /// Asks for permission; the outcome comes through the channel.
    fn ask(&self, session: &str, call: &str) -> mpsc::Receiver<Value> {
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        let (to, from) = mpsc::channel();
        self.waiting.lock().unwrap().insert(id, to);
        let option =
            |id: &str, kind: &str, name: &str| json!({"optionId": id, "kind": kind, "name": name});
        say(
            &json!({"id": id, "method": "session/request_permission", "params": {"sessionId": session,
            "toolCall": {"toolCallId": call, "title": format!("touch {call}"), "kind": "execute", "status": "pending",
                "rawInput": {"command": format!("touch {}/{call}", self.state.display())}},
            "options": [option("always", "allow_always", "Always allow touch *"), option("once", "allow_once", "Allow once"),
                option("no", "reject_once", "Reject")]}}),
        );
        from
    }

    /// The option that was chosen; the call says how it went.
    fn chosen(&self, session: &str, call: &str, asked: &mpsc::Receiver<Value>) -> String {
        let answer = asked.recv().unwrap();
        let chosen =
            answer["result"]["outcome"]["optionId"].as_str().unwrap_or("nothing").to_owned();
        let status =
            if matches!(chosen.as_str(), "once" | "always") { "completed" } else { "failed" };
        self.update(session, &json!({"sessionUpdate": "tool_call_update", "toolCallId": call, "status": status,
            "content": [{"type": "content", "content": {"type": "text", "text": format!("it was {chosen}")}}]}));
        chosen
    }

    fn prompt(&self, session: &str, blocks: &[&str]) -> &'static str {
        let words = blocks.last().copied().unwrap_or_default();
        let known = self.state.join(session);
        let before = std::fs::read_to_string(&known).unwrap_or_default();
        std::fs::write(&known, format!("{before}{}\n", words.replace('\n', " "))).unwrap();
        let count = before.lines().count();
        let does = |word: &str| words.split_whitespace().any(|one| one == word);
        if does("unknown") {
            println!("A new version is there!");
            self.update(session, &json!({"sessionUpdate": "hologram", "depth": 3}));
        }
        if does("context") {
            self.text(session, &blocks.join("|"));
        }
        if does("count") {
            self.text(session, &format!("prompt {count} of {session}"));
        }
        if does("chosen") {
            let (mode, model) = (self.chosen.0.lock().unwrap(), self.chosen.1.lock().unwrap());
            self.text(session, &format!("{mode} {model} in {}", self.state.join("x").display()));
            drop((mode, model));
        }
        if does("where") {
            let folder = std::env::current_dir().unwrap();
            self.text(session, &folder.file_name().unwrap().to_string_lossy());
        }
        if does("switch") {
            "plan".clone_into(&mut self.chosen.0.lock().unwrap());
            self.update(
                session,
                &json!({"sessionUpdate": "current_mode_update", "currentModeId": "plan"}),
            );
        }
        if does("title") {
            let commands = json!([{"name": "compact", "description": "Make it short", "input": {"hint": "how"}}]);
            self.update(session, &json!({"sessionUpdate": "available_commands_update", "availableCommands": commands}));
            self.update(
                session,
                &json!({"sessionUpdate": "session_info_update", "title": "The agent's title"}),
            );
        }
        if does("huge") {
            let all: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
            self.update(session, &json!({"sessionUpdate": "tool_call_update", "toolCallId": "huge", "status": "completed",
                "content": [{"type": "content", "content": {"type": "text", "text": all}}]}));
        }
        if does("ask") {
            let asked = self.ask(session, "one");
            let chosen = self.chosen(session, "one", &asked);
            self.text(session, &format!("You chose {chosen}."));
        }
        if does("two") {
            let (first, second) = (self.ask(session, "one"), self.ask(session, "two"));
            let second = self.chosen(session, "two", &second);
            let first = self.chosen(session, "one", &first);
            self.text(session, &format!("You chose {first} and {second}."));
        }
        if does("withdraw") {
            let id = self.next.load(Ordering::SeqCst);
            let asked = self.ask(session, "one");
            say(&json!({"method": "$/cancel_request", "params": {"requestId": id}}));
            asked.recv().unwrap();
            self.text(session, "Never mind.");
        }
        if does("leave") {
            drop(self.ask(session, "one")); // and ends without waiting
        }
        if does("die") {
            self.update(session, &json!({"sessionUpdate": "tool_call", "toolCallId": "run", "title": "run", "kind": "execute",
                "status": "in_progress", "rawInput": {"command": "run"}}));
            if does("asking") {
                let _asked = self.ask(session, "one");
                thread::sleep(Duration::from_millis(100));
            }
            eprintln!("a secret of this computer");
            std::process::exit(7);
        }
        if does("slow") || does("deaf") {
            self.update(session, &json!({"sessionUpdate": "tool_call", "toolCallId": "run", "title": "run", "kind": "execute",
                "status": "in_progress", "rawInput": {"command": "run"}}));
            for n in 0.. {
                if does("slow") && self.cancelled.load(Ordering::SeqCst) {
                    return "cancelled";
                }
                self.text(session, &format!("word {n} "));
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.text(session, "Done.");
        "end_turn"
    }
}
