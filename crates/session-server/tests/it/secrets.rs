//! Agents' headers: where they are, and where they are not.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use session_server::Secret;

use crate::{
    fake::{Fake, sse},
    rig::{Rig, Talk},
};

const HUSH: &str = "hush-5f0c2d";

/// Files below `folder` that hold `text`.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|at| at == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Opens the database as somebody with a copy of it would.
fn database(rig: &Rig) -> rusqlite::Connection {
    rusqlite::Connection::open(rig.dir.path().join("server.sqlite")).unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn secrets_are_in_a_file_of_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let files = |rig: &Rig| -> Vec<_> {
        let files = std::fs::read_dir(rig.dir.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.is_file()).collect()
    };
    let rig = Rig::new().await;
    rig.session("builtin:demo").await;
    assert!(files(&rig).len() >= 3);
    for file in files(&rig) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
        // As a copy by somebody who was careless.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    }
    let next = rig.crashed_copy(|_| {}).await;
    for name in ["server.key", "server.lock", "server.sqlite"] {
        let mode = next.dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// A session whose agent was registered with a secret header, and has answered once.
async fn told<'a>(rig: &'a Rig, agent: &Fake) -> Talk<'a> {
    let spec = json!({"agents": [{
        "id": "agent", "endpoint": agent.agent_url(), "headers": {"x-key": HUSH}, "bodyTemplate": {"key": HUSH},
    }]});
    let talk = rig.talk("s");
    assert_eq!(rig.call(Method::PUT, &talk.path(""), spec).await.0, 200);
    talk.send("hello").await;
    talk.until("an answer", |log| log.ended() == 1).await;
    talk
}

/// Whether the agent was sent its secret with the last request.
fn knows(agent: &Fake) -> bool {
    agent.asked_headers().last().unwrap().get("x-key").is_some_and(|key| key == HUSH)
}

#[tokio::test]
async fn an_agents_secrets_reach_the_agent_and_nothing_else() {
    let agent = Fake::new([sse(&[r#"{"type":"RUN_FINISHED"}"#])]).await;
    let rig = Rig::new().await;
    let talk = told(&rig, &agent).await;
    assert!(knows(&agent));
    let answers = [
        rig.get(&talk.path("/agents")).await.1,
        rig.get(&talk.path("")).await.1,
        rig.get("/v1/sessions").await.1,
        json!(talk.items().await),
    ];
    assert!(!json!(answers).to_string().contains(HUSH));
    assert_eq!(holding(rig.dir.path(), HUSH), Vec::<String>::new());
}

#[tokio::test]
async fn what_an_earlier_version_kept_in_clear_is_encrypted_and_still_sent() {
    let agent = Fake::new([sse(&[r#"{"type":"RUN_FINISHED"}"#])]).await;
    let rig = Rig::new().await;
    told(&rig, &agent).await;
    let clear = json!({"id": "agent", "endpoint": agent.agent_url(), "headers": {"x-key": HUSH}});
    database(&rig).execute("UPDATE agents SET spec = ?1", [clear.to_string()]).unwrap();
    assert_ne!(holding(rig.dir.path(), HUSH), Vec::<String>::new());
    let next = rig.crashed_copy(|_| {}).await;
    assert_eq!(holding(next.dir.path(), HUSH), Vec::<String>::new());
    let talk = next.talk("s");
    talk.send("again").await;
    talk.until("an answer", |log| log.ended() == 2).await;
    assert!(knows(&agent));
}

#[tokio::test]
async fn a_key_from_a_keychain_replaces_the_file_and_a_wrong_one_opens_nothing() {
    let agent = Fake::new([sse(&[r#"{"type":"RUN_FINISHED"}"#])]).await;
    let rig = Rig::new().await;
    told(&rig, &agent).await;
    let with = |key: &str| {
        let key = Secret::new(key.repeat(32));
        move |config: &mut session_server::ServerConfig| config.secret_key = Some(key)
    };
    let next = rig.crashed_copy(with("a")).await;
    assert!(!next.dir.path().join("server.key").exists());
    let talk = next.talk("s");
    talk.send("again").await;
    talk.until("an answer", |log| log.ended() == 2).await;
    assert!(knows(&agent));

    let wrong = next.crashed_copy(with("b")).await;
    let talk = wrong.talk("s");
    talk.send("once more").await;
    talk.until("an answer", |log| log.ended() == 3).await;
    assert!(!knows(&agent));
}
