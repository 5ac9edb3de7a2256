//! Servers that people run, from npm and PyPI: `cargo xtask test --mcp` installs them.

use std::path::{Path, PathBuf};

use mcp::{Block, CallEvent, Era, Outcome, Target};
use rpc_process::Command;
use serde_json::json;

use crate::{DEADLINE, connect, done, words};

fn npm(package: &str) -> String {
    let folder = std::env::var("THREADKEEP_MCP_SERVERS").expect("cargo xtask test --mcp sets it");
    let folder = PathBuf::from(folder).join("@modelcontextprotocol").join(package);
    folder.join("dist/index.js").to_string_lossy().into_owned()
}

fn program(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    folder: &Path,
) -> Target {
    Target::Program(Command {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        folder: folder.to_owned(),
    })
}

#[tokio::test]
#[ignore = "needs published servers: cargo xtask test --mcp"]
async fn published_everything_over_stdio_and_http() {
    let dir = tempfile::tempdir().unwrap();
    let script = npm("server-everything");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let mut server = tokio::process::Command::new("node")
        .args([&script, "streamableHttp"])
        .env("PORT", port.to_string())
        .kill_on_drop(true)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, up).await.expect("it starts");
    let url = format!("http://127.0.0.1:{port}/mcp").parse().unwrap();
    let address = Target::Address { url, headers: Default::default() };
    for target in [program("node", &[&script, "stdio"], &[], dir.path()), address] {
        let (client, _dir) = connect(&target).await;
        assert_eq!(client.era(), Era::Legacy);
        let tools = client.tools().await.unwrap();
        assert!(tools.len() >= 10, "{tools:?}");
        let call =
            |tool: &str, input: serde_json::Value| client.call(tool, &input, None, None).unwrap();
        let result = done(call("echo", json!({"message": "hi"}))).await.unwrap();
        assert!(words(&result).contains("hi"));
        let picture = done(call("get-tiny-image", json!({}))).await.unwrap();
        assert!(
            picture
                .blocks
                .iter()
                .any(|block| matches!(block, Block::Media { mime, .. } if mime == "image/png"))
        );
        let unknown = done(call("no-such-tool", json!({}))).await;
        assert!(unknown.map_or(true, |result| result.is_error));
        // Progress comes, and a call that is dropped is cancelled without harm.
        let mut long = call("trigger-long-running-operation", json!({"duration": 1, "steps": 4}));
        let mut progress = 0;
        let over = async {
            loop {
                match long.next().await {
                    CallEvent::Progress { .. } => progress += 1,
                    CallEvent::Done(over) => return over,
                    CallEvent::Asks { .. } => panic!("it asks nothing"),
                }
            }
        };
        let over = tokio::time::timeout(DEADLINE, over).await.expect("in time");
        assert!(matches!(over, Ok(Outcome::Done(_))), "{over:?}");
        assert!(progress > 0);
        drop(call("trigger-long-running-operation", json!({"duration": 30, "steps": 2})));
        let result = done(call("echo", json!({"message": "still here"}))).await.unwrap();
        assert!(words(&result).contains("still here"));
        // It asks a person, and is told.
        if tools.iter().any(|tool| tool.name == "trigger-elicitation-request") {
            let mut asking = call("trigger-elicitation-request", json!({}));
            let told = async {
                loop {
                    match asking.next().await {
                        CallEvent::Asks { id, ask } => {
                            assert!(ask.schema.is_some());
                            asking.answer(id, mcp::Elicitation::answer(None));
                        }
                        CallEvent::Done(over) => return over,
                        CallEvent::Progress { .. } => {}
                    }
                }
            };
            let told = tokio::time::timeout(DEADLINE, told).await.expect("in time");
            assert!(matches!(told, Ok(Outcome::Done(_))), "{told:?}");
        }
        client.close().await;
    }
    server.kill().await.unwrap();
}

#[tokio::test]
#[ignore = "needs published servers: cargo xtask test --mcp"]
async fn published_filesystem_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::write(root.join("note.txt"), "hello").unwrap();
    let root = root.to_string_lossy().into_owned();
    let (client, _pids) =
        connect(&program("node", &[&npm("server-filesystem"), &root], &[], dir.path())).await;
    let tools = client.tools().await.unwrap();
    let traits = |name: &str| tools.iter().find(|tool| tool.name == name).expect(name).traits;
    assert!(traits("read_text_file").read_only && traits("write_file").destructive);
    let path = format!("{root}/note.txt");
    let read = client.call("read_text_file", &json!({"path": path}), None, None).unwrap();
    assert_eq!(words(&done(read).await.unwrap()), "hello");
    let outside =
        client.call("read_text_file", &json!({"path": "/etc/passwd"}), None, None).unwrap();
    assert!(done(outside).await.unwrap().is_error);
    client.close().await;
    let memory = format!("{root}/memory.jsonl");
    let variables = [("MEMORY_FILE_PATH", memory.as_str())];
    let target = program("node", &[&npm("server-memory")], &variables, dir.path());
    let (client, _pids) = connect(&target).await;
    let entities = json!({"entities": [{"name": "ann", "entityType": "person", "observations": ["likes tea"]}]});
    let made = client.call("create_entities", &entities, None, None).unwrap();
    assert!(!done(made).await.unwrap().is_error);
    client.close().await;
    let (client, _pids) = connect(&target).await;
    let read = client.call("read_graph", &json!({}), None, None).unwrap();
    assert!(words(&done(read).await.unwrap()).contains("likes tea"));
    client.close().await;
}

#[tokio::test]
#[ignore = "needs published servers: cargo xtask test --mcp"]
async fn published_time_speaks_without_a_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let time = std::env::var("THREADKEEP_MCP_TIME").expect("cargo xtask test --mcp sets it");
    let (client, _pids) = connect(&program(&time, &[], &[], dir.path())).await;
    assert_eq!(client.era(), Era::Modern);
    assert!(client.tools().await.unwrap().iter().any(|tool| tool.name == "get_current_time"));
    let call = client.call("get_current_time", &json!({"timezone": "Asia/Tokyo"}), None, None);
    assert!(words(&done(call.unwrap()).await.unwrap()).contains("+09:00"));
    client.close().await;
}
