//! Bad input gives one clear message in the window and loses nothing.

use crate::support::app::Computer;
use crate::support::free_port;
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

async fn notice(app: &crate::support::app::App<'_>) -> String {
    app.wait("notice").await.text().await
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_the_session_comes_back_from_the_stream() {
    let computer = Computer::new();
    let app = computer.start().await;
    app.say("hello").await;
    let before = app
        .messages_until("an answer", |m| m.iter().any(|m| m.role == "assistant" && m.complete))
        .await;
    app.quit().await;
    let files = computer.files();
    // Both the database and what was written ahead of it.
    let mut bytes = Vec::new();
    for file in files.iter().filter(|file| file.contains("/engine/threadkeep.db")) {
        bytes = std::fs::read(file).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(file, &bytes).unwrap();
    }
    assert!(!bytes.is_empty(), "a database among {files:#?}");

    let app = computer.start().await;
    let text = notice(&app).await;
    assert!(text.contains("damaged") && text.contains("kept as"), "{text}");
    app.save("database-set-aside").await;
    let kept = computer.files().iter().any(|file| file.contains("damaged"));
    assert!(kept, "the damaged file is kept: {:#?}", computer.files());
    let row = app.page().wait("[data-testid=session-row]").await;
    row.click().await;
    let after = app.messages_until("the session is back", |m| m.len() == before.len()).await;
    assert_eq!(
        after.iter().map(|m| &m.id).collect::<Vec<_>>(),
        before.iter().map(|m| &m.id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_wrong_server_address_says_so_and_what_is_typed_is_kept() {
    let computer = Computer::new();
    computer.set(&json!({ "serverUrl": format!("http://127.0.0.1:{}", free_port()) }));
    let app = computer.start().await;
    app.say("is anybody there").await;
    app.messages_until("my message waits in the window", |m| m.len() == 1).await;
    app.page()
        .wait_for(
            "the connection line says why",
            "const line = document.querySelector('[data-testid=connection][data-state=retrying]');\
             return line && line.innerText.includes('cannot be reached')",
        )
        .await;
    app.save("wrong-server").await;
    app.quit().await;
    let app = computer.start().await;
    app.messages_until("it is still there after a restart", |m| m.len() == 1).await;
}

#[tokio::test]
async fn a_refused_token_says_so() {
    let computer = Computer::new();
    let server = crate::support::server::Server::start_with(
        &computer.folder("server"),
        &["--auth", "token"],
        &[("THREADKEEP_TOKEN", "the-right-token-0123456789")],
    );
    computer.set(&json!({ "serverUrl": server.url() }));
    let app = computer.start().await;
    app.say("let me in").await;
    app.connection("refused").await;
    let text = app.wait("connection").await.text().await.to_lowercase();
    assert!(text.contains("token") || text.contains("sign"), "{text}");
    app.save("refused-token").await;
    assert_eq!(app.messages().await.len(), 1, "what was typed is kept");
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_set_aside() {
    let computer = Computer::new();
    std::fs::create_dir_all(computer.data()).unwrap();
    std::fs::write(computer.data().join("settings.json"), "{ this is not JSON").unwrap();
    let app = computer.start().await;
    let text = notice(&app).await;
    assert!(text.contains("settings"), "{text}");
    let kept = computer
        .files()
        .iter()
        .any(|file| std::fs::read_to_string(file).is_ok_and(|text| text == "{ this is not JSON"));
    assert!(kept, "the damaged file is kept");
}

#[tokio::test]
async fn a_second_start_on_the_same_data_is_one_sentence_where_nothing_finds_the_first() {
    let computer = Computer::new();
    let app = computer.start().await;
    let second = computer.start_by_hand(&computer.data(), "unix:path=/nowhere");
    let ended = tokio::task::spawn_blocking(|| second.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("already running") && !said.contains("panicked"), "{said}");
    app.say("hello").await;
    app.messages_until("the first goes on", |m| m.iter().any(|m| m.complete)).await;
    app.quit().await;
}

#[tokio::test]
async fn another_folder_of_data_has_a_window_of_its_own() {
    let computer = Computer::new();
    let app = computer.start().await;
    let mut other = computer.start_by_hand(&computer.folder("other"), &computer.bus.address);
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let painted = tokio::task::spawn_blocking(|| {
        lines.map_while(Result::ok).any(|line| line.contains("window painted"))
    });
    let painted = tokio::time::timeout(Duration::from_secs(60), painted).await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(painted.unwrap().unwrap(), "it ended without a window");
    app.quit().await;
}
