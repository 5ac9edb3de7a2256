//! A machine without CA certificates: everything works that needs none, and the rest says what is
//! missing.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(20);
const MISSING: &str = "no CA certificates";

/// The program where the system has no certificates.
fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadkeep"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    for name in ["THREADKEEP_TOKEN", "THREADKEEP_URL", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("SSL_CERT_FILE", "/nonexistent/file").env("SSL_CERT_DIR", "/nonexistent");
    command.env("THREADKEEP_ACTOR", "ana");
    command
}

async fn run(mut command: Command) -> Output {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    tokio::time::timeout(DEADLINE, output).await.expect("it ends by itself").unwrap()
}

/// `threadkeep serve` on a free port, where it listens.
async fn serve(folder: &Path, more: &[&str]) -> (Child, String) {
    let folder = folder.to_str().unwrap();
    let mut command = bare(&["serve", "--listen", "127.0.0.1:0", "--data-dir", folder]);
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
    let line = line.expect("the server starts without certificates");
    (process, line.strip_prefix("listening on ").unwrap().to_owned())
}

#[tokio::test]
async fn loopback_works_without_ca_certificates_and_https_says_what_is_missing() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [files, secure, plain] = &folders;
    let (chain, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    std::fs::write(&chain, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let (_secure, https) = serve(secure.path(), &tls).await;
    assert!(https.starts_with("https://"), "{https}");
    let streams = format!("{https}/v1/stream");
    let (_plain, http) = serve(plain.path(), &["--allow-agent-origin", &https]).await;

    // Plain HTTP: a whole conversation.
    let send = ["send", "--url", &http, "--agent", "demo", "--wait", "talk", "hello"];
    let sent = run(bare(&send)).await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert!(!sent.stdout.is_empty());

    // HTTPS from the command line: one sentence.
    for command in [
        ["send", "--url", &https, "talk", "hello"],
        ["tail", "--url", &https, "--no-follow", "talk"],
    ] {
        let failed = run(bare(&command)).await;
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && said.contains(MISSING), "{said}");
        assert!(said.contains("SSL_CERT_FILE"), "{said}");
    }

    // HTTPS to an agent: its run says so.
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let agent = json!({"agents": [{"id": "agent", "endpoint": format!("{https}/agent")}]});
    let session = format!("{http}/v1/sessions/other");
    let made = client.put(&session).json(&agent).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.status());
    let message = json!({"content": "hello", "actorId": "ana"});
    client.post(format!("{session}/messages")).json(&message).send().await.unwrap();
    let failed = async {
        loop {
            let stream = format!("{http}/v1/stream/sessions/other?offset=-1");
            let items: Value = client.get(stream).send().await.unwrap().json().await.unwrap();
            if items.to_string().contains("RUN_ERROR") {
                return items.to_string();
            }
        }
    };
    let failed = tokio::time::timeout(DEADLINE, failed).await.unwrap();
    assert!(failed.contains("no_certificates") && failed.contains(MISSING), "{failed}");

    // Streams behind HTTPS: the server starts, and its sessions cannot be had.
    let folder = tempfile::tempdir().unwrap();
    let (_remote, http) = serve(folder.path(), &["--streams-url", &streams]).await;
    let made = client.put(format!("{http}/v1/sessions/s")).json(&json!({})).send().await.unwrap();
    assert!(made.status().is_server_error(), "{}", made.status());
}
