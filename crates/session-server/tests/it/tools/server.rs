//! A tool server that misbehaves to order: this test binary, started again. Its mode is `MCP_MODE`, its memory the folder
//! `MCP_STATE`: each call is a line of the file `calls`, each cancel one of `cancelled`.

use std::{
    io::{BufRead, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use session_server::{ToolServer, ToolServerTarget};

/// The server `s` in a mode.
pub fn scripted(mode: &str, state: &Path) -> ToolServer {
    ToolServer {
        name: "s".to_owned(),
        target: ToolServerTarget::Program {
            program: std::env::current_exe().unwrap().into(),
            arguments: ["--ignored", "--exact", "--nocapture", "tools::server::a_server"]
                .map(Into::into)
                .into(),
            environment: vec![
                ("MCP_MODE".into(), mode.into()),
                ("MCP_STATE".into(), state.into()),
                ("SECRET_KEY".into(), "hush-hush".into()),
            ],
            folder: state.to_owned(),
        },
        is_trusted: false,
        is_on: true,
    }
}

#[test]
#[ignore = "started by other tests"]
fn a_server() {
    let Ok(mode) = std::env::var("MCP_MODE") else { return };
    let state = PathBuf::from(std::env::var_os("MCP_STATE").unwrap());
    eprintln!("my key is {}", std::env::var("SECRET_KEY").unwrap_or_default());
    match mode.as_str() {
        "exits" => std::process::exit(3),
        "foreign" => {
            println!("<html>");
            std::process::exit(0);
        }
        _ => {}
    }
    let mut server = Scripted { modern: mode == "modern", state, waiting: None, asked: 0 };
    server.note("pids", &std::process::id().to_string());
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        server.hear(&serde_json::from_str(&line).unwrap());
    }
    std::process::exit(0);
}

struct Scripted {
    modern: bool,
    state: PathBuf,
    /// The call that asked a person, and the id that it was asked under.
    waiting: Option<(Value, String)>,
    asked: u64,
}

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{message}").unwrap();
    out.flush().unwrap();
}

fn words(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn city() -> Value {
    json!({"message": "Which city?", "requestedSchema": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}})
}

impl Scripted {
    fn note(&self, file: &str, line: &str) {
        let path = self.state.join(file);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    fn has(&self, file: &str) -> bool {
        self.state.join(file).exists()
    }

    fn hear(&mut self, message: &Value) {
        let id = message["id"].clone();
        let params = &message["params"];
        let answer = |result: Value| say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
        let refuse = |code: i64, words: &str| {
            say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": words}}));
        };
        match message["method"].as_str() {
            Some("server/discover") if self.modern => answer(json!({
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": "scripted", "version": "1"}, "resultType": "complete",
            })),
            Some("initialize") if !self.modern => answer(json!({
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": "scripted", "version": "1"},
            })),
            Some("notifications/cancelled") => self.note("cancelled", &params.to_string()),
            Some("tools/list") => {
                if self.modern {
                    let meta = "io.modelcontextprotocol/protocolVersion";
                    assert_eq!(params["_meta"][meta], "2026-07-28");
                }
                answer(json!({"tools": self.tools()}));
            }
            Some("tools/call") => self.call(&id, params),
            Some(_) if !id.is_null() => refuse(-32601, "no such method"),
            Some(_) => {}
            None => {
                let Some((call, asked)) = self.waiting.take() else { return };
                assert_eq!(message["id"], asked);
                self.note("answers", &message["result"].to_string());
                let told = words(&format!("You said {}.", message["result"]["content"]["city"]));
                say(&json!({"jsonrpc": "2.0", "id": call, "result": told}));
            }
        }
    }

    fn tools(&self) -> Value {
        let changed = self.has("changed");
        let tool = |name: &str, claims: Value| {
            let what = if changed { "does more" } else { "does it" };
            json!({"name": name, "description": what, "inputSchema": {"type": "object"}, "annotations": claims})
        };
        json!([
            tool("act", json!({})),
            tool("look", json!({"readOnlyHint": true})),
            tool("twice", json!({"idempotentHint": true})),
            tool("ask", json!({})),
            tool("hang", json!({})),
            tool("die", json!({})),
            tool("flood", json!({})),
            tool("picture", json!({})),
            tool("fail", json!({})),
            tool("change", json!({})),
        ])
    }

    fn call(&mut self, id: &Value, params: &Value) {
        let name = params["name"].as_str().unwrap();
        let answer = |result: Value| say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
        let repeated = params.get("inputResponses");
        self.note("calls", &format!("{name} {}", params["arguments"]));
        match name {
            "twice" if !self.has("died") => {
                self.note("died", "");
                std::process::exit(7);
            }
            "act" | "look" | "twice" => answer(words(&format!("did {}", params["arguments"]))),
            "die" => std::process::exit(7),
            "hang" => {}
            "fail" => {
                answer(json!({"content": [{"type": "text", "text": "no luck"}], "isError": true}))
            }
            "picture" => answer(json!({"content": [
                {"type": "text", "text": "A dot."},
                {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="},
            ]})),
            "flood" => {
                let token = &params["_meta"]["progressToken"];
                for n in 0..20_000 {
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/progress",
                        "params": {"progressToken": token, "progress": n, "total": 20_000, "message": "on"}}));
                }
                answer(words(&"x".repeat(5 << 20)));
            }
            "change" => {
                self.note("changed", "");
                for _ in 0..5 {
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
                }
                answer(words("changed"));
            }
            "ask" if self.modern => match repeated {
                Some(responses) => {
                    assert_eq!(params["requestState"], "s3cret-state");
                    self.note("answers", &responses["q"].to_string());
                    answer(words(&format!("You said {}.", responses["q"]["content"]["city"])));
                }
                None => answer(json!({
                    "resultType": "input_required", "requestState": "s3cret-state",
                    "inputRequests": {"q": {"method": "elicitation/create", "params": city()}},
                })),
            },
            "ask" => {
                self.asked += 1;
                let asked = format!("e{}", self.asked);
                say(
                    &json!({"jsonrpc": "2.0", "id": asked, "method": "elicitation/create", "params": city()}),
                );
                self.waiting = Some((id.clone(), asked));
            }
            _ => answer(
                json!({"content": [{"type": "text", "text": "no such tool"}], "isError": true}),
            ),
        }
    }
}
