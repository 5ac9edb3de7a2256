//! What people choose of agents that run on the server's computer: options, folders, programs, logins.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use session_server::{Auth, Secret, TokenRole, Tokens};

use super::{agent::scripted, failure, pids, rig, talk, with};
use crate::rig::{DEADLINE, Log, Rig, Talk, answer};

/// The option of this id in the newest row of the agent that has some.
fn option(log: &Log, id: &str) -> Option<Value> {
    let rows = log.items.iter().rev().filter(|item| item["type"] == "agent");
    let mut rows = rows.map(|item| &item["value"]).filter(|row| row.get("options").is_some());
    let options = rows.next()?["options"].as_array()?;
    options.iter().find(|option| option["id"] == id).cloned()
}

async fn choose(talk: &Talk<'_>, option: &str, value: &str) -> (u16, Value) {
    let body = json!({"optionId": option, "value": value});
    let (status, body) = talk.rig.post(&talk.path("/agents/agent/options"), body).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn a_choice_reaches_an_agent_that_rests_at_once_and_holds_after_a_restart() {
    let (first, state) = rig("resume").await;
    let talk = talk(&first).await;
    let id = talk.id.clone();
    talk.send("hello").await;
    let log = talk.until("it answers", |log| log.ended() == 1).await;
    let mode = option(&log, "mode").expect("it is told");
    assert_eq!((&mode["value"], &mode["category"]), (&json!("ask"), &json!("mode")));
    assert_eq!(mode["choices"][2], json!({"value": "yolo", "name": "YOLO", "neverAsks": true}));
    let status = |log: &Log| {
        let rows = log.items.iter().filter(|item| item["type"] == "agent");
        rows.filter(|item| item["value"].get("options").is_some()).count()
    };
    assert_eq!(status(&log), 1, "what it does is told without what can be chosen of it");
    assert_eq!(choose(&talk, "model", "large").await.0, 204);
    let large = |log: &Log| option(log, "model").is_some_and(|model| model["value"] == "large");
    let log = talk.until("the agent has it", large).await;
    assert_eq!(option(&log, "model").unwrap().get("wanted"), None);
    for (option, value, wanted) in
        [("model", "huge", 400), ("colour", "red", 404), ("model", "large", 204)]
    {
        assert_eq!(choose(&talk, option, value).await.0, wanted, "{option} {value}");
    }
    let Rig { dir, server, .. } = first;
    server.shutdown().await;
    let again = Rig::at(dir, with("resume", state.path())).await;
    let talk = again.talk(&id);
    // Nothing runs: it is told with the next message.
    assert_eq!(choose(&talk, "mode", "plan").await.0, 204);
    let wanted = |log: &Log| option(log, "mode").is_some_and(|mode| mode["wanted"] == "plan");
    talk.until("it is wanted", wanted).await;
    talk.send("chosen").await;
    let log = talk.until("it answers", |log| log.ended() == 2).await;
    assert!(log.text().contains("plan large in "), "{}", log.text());
    assert_eq!(option(&log, "mode").unwrap().get("wanted"), None);
    // The agent changes its own mind in a turn.
    choose(&talk, "mode", "ask").await;
    talk.send("switch").await;
    let log = talk.until("it answers", |log| log.ended() == 3).await;
    assert_eq!(option(&log, "mode").unwrap()["value"], "plan");
}

#[tokio::test]
async fn a_choice_that_an_agent_does_not_take_is_told_and_the_message_is_answered() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("hello").await;
    talk.until("it answers", |log| log.ended() == 1).await;
    let id = talk.id.clone();
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    let again = Rig::at(dir, with("resume", _state.path())).await;
    let talk = again.talk(&id);
    choose(&talk, "model", "broken").await;
    talk.send("chosen").await;
    let log = talk.until("it answers", |log| log.ended() == 2).await;
    let notice = log.chunks().into_iter().find(|(_, chunk)| chunk["name"] == "acp.notice");
    let (_, notice) = notice.expect("it is told");
    assert!(notice["value"]["description"].as_str().unwrap().contains("this model is broken"));
    assert!(log.text().contains("ask small in"), "{}", log.text());
    assert_eq!(option(&log, "model").unwrap().get("wanted"), None);
}

#[tokio::test]
async fn a_mode_is_for_who_approves_and_one_that_never_asks_for_the_owner() {
    let state = tempfile::tempdir().unwrap();
    let agent = scripted("it", "resume", state.path());
    let rig = Rig::with(|config| {
        config.acp = vec![agent];
        config.auth = Auth::Named(Some(Secret::new("owner")));
    })
    .await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    let call = |token: &str, method: Method, path: &str, body: Value| {
        answer(rig.request(method, path).bearer_auth(token.to_owned()).json(&body))
    };
    let agents = json!({"agents": [{"id": "agent", "endpoint": "acp:it"}]});
    call("owner", Method::PUT, "/v1/sessions/s", agents).await;
    let said = json!({"content": "hello"});
    call("owner", Method::POST, "/v1/sessions/s/messages", said).await;
    let has_options = async {
        loop {
            let path = "/v1/sessions/s/agents";
            let (_, body) = call("owner", Method::GET, path, Value::Null).await;
            if body["agents"][0].get("options").is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, has_options).await.expect("it shows its options");
    let token =
        |role: TokenRole| tokens.create(role.as_str(), role, None).unwrap().expose().to_owned();
    let (chat, approve, manage) =
        (token(TokenRole::Chat), token(TokenRole::Approve), token(TokenRole::Manage));
    let path = "/v1/sessions/s/agents/agent/options";
    for (who, option, value, wanted) in [
        (chat.as_str(), "model", "large", 204),
        (&chat, "mode", "plan", 403),
        (&approve, "mode", "plan", 204),
        (&manage, "mode", "yolo", 403),
        ("owner", "mode", "yolo", 204),
        (&manage, "ask-first", "false", 403),
        ("owner", "ask-first", "false", 204),
    ] {
        let body = json!({"optionId": option, "value": value});
        let (status, body) = call(who, Method::POST, path, body).await;
        assert_eq!(status, wanted, "{option} {value}: {body}");
    }
    // A program is the owner's to add, and who may not manage everything sees none.
    let body = json!({"command": "sh"});
    let (status, problem) = call(&manage, Method::PUT, "/v1/local-agents/mine", body.clone()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("OWNER_NEEDED")));
    assert_eq!(call("owner", Method::PUT, "/v1/local-agents/mine", body).await.0, 204);
    assert_eq!(call(&approve, Method::GET, "/v1/local-agents", Value::Null).await.0, 403);
    assert_eq!(call(&manage, Method::GET, "/v1/local-agents", Value::Null).await.0, 200);
}

#[tokio::test]
async fn an_agent_names_a_session_that_nobody_named_and_tells_its_commands() {
    let (rig, _state) = rig("resume").await;
    for named in [false, true] {
        let talk = talk(&rig).await;
        if named {
            let body = json!({"title": "Mine"});
            rig.call(Method::PATCH, &talk.path(""), body).await;
        }
        talk.send("title").await;
        let log = talk.until("it answers", |log| log.ended() == 1).await;
        let command = json!({"name": "compact", "description": "Make it short", "hint": "how"});
        let told = |item: &Value| item["value"]["commands"] == json!([command]);
        assert!(log.items.iter().any(told));
        let (_, list) = rig.get("/v1/sessions").await;
        let of = |session: &&Value| session["sessionId"] == talk.id.as_str();
        let session = list["sessions"].as_array().unwrap().iter().find(of).unwrap();
        assert_eq!(session["title"], if named { "Mine" } else { "The agent's title" });
    }
}

#[tokio::test]
async fn a_session_works_in_the_folder_that_was_chosen_and_no_other_from_then_on() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    let projects = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = projects.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let put = async |folder: String| {
        rig.call(Method::PUT, &talk_path(&talk.id), json!({"folder": folder})).await
    };
    assert_eq!(put("relative".to_owned()).await.0, 400);
    assert_eq!(put("/no/such/folder".to_owned()).await.0, 400);
    assert_eq!(put(folder("one")).await.0, 200);
    let (status, body) = put(folder("two")).await;
    assert_eq!((status.as_u16(), body), (200, json!({"folder": folder("two"), "fixed": false})));
    talk.send("where").await;
    let log = talk.until("it answers", |log| log.ended() == 1).await;
    assert!(log.text().starts_with("two"), "{}", log.text());
    assert!(!format!("{:?}", log.items).contains(&folder("two")), "the stream has no such path");
    let (status, body) = put(folder("one")).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("FOLDER_FIXED")));
    let (_, body) = rig.get(&talk_path(&talk.id)).await;
    assert_eq!(body, json!({"folder": folder("two"), "fixed": true}));
    let (_, body) = rig.get("/v1/folders").await;
    assert_eq!(body, json!({"folders": [folder("two"), folder("one")]}));
}

fn talk_path(id: &str) -> String {
    format!("/v1/sessions/{id}/folder")
}

#[tokio::test]
async fn a_program_that_the_owner_adds_runs_with_its_secrets_which_are_said_nowhere() {
    let rig = Rig::new().await;
    let state = tempfile::tempdir().unwrap();
    let agent = scripted("mine", "resume", state.path());
    let words = std::iter::once(&agent.program).chain(&agent.arguments);
    let command: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let folder = state.path().canonicalize().unwrap();
    let body = json!({"command": command.join(" "), "folder": folder,
        "environment": {"ACP_MODE": "resume", "ACP_STATE": state.path(), "KEY": "hush-hush"}});
    let path = "/v1/local-agents/mine";
    assert_eq!(rig.call(Method::PUT, path, body).await.0, 204);
    let talk = rig.session("acp:mine").await;
    talk.send("count").await;
    let log = talk.until("it answers", |log| log.ended() == 1).await;
    assert!(log.text().contains("prompt 0 of"), "{}", log.text());
    let (_, list) = rig.get("/v1/local-agents").await;
    let mine = &list["agents"][0];
    assert_eq!((&mine["running"], &mine["fixed"]), (&json!(1), &json!(false)));
    assert_eq!(mine["variables"], json!(["ACP_MODE", "ACP_STATE", "KEY"]));
    assert!(!list.to_string().contains("hush"));
    // A variable without a value keeps the one that it has.
    let body = json!({"command": command.join(" "), "folder": folder,
        "environment": {"ACP_MODE": null, "ACP_STATE": null, "KEY": "hush-2"}});
    assert_eq!(rig.call(Method::PUT, path, body).await.0, 204);
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    for file in walk(dir.path()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let has = bytes.windows(4).any(|part| part == b"hush");
        assert!(!has, "{} has a secret in clear", file.display());
    }
    let again = Rig::at(dir, |_| {}).await;
    let talk = again.session("acp:mine").await;
    talk.send("count").await;
    talk.until("it answers", |log| log.ended() == 1).await;
    assert_eq!(pids(state.path()).len(), 2);
    assert_eq!(again.call(Method::DELETE, path, Value::Null).await.0, 204);
    let (status, _) = again
        .call(
            Method::PUT,
            "/v1/sessions/new",
            json!({"agents": [{"id": "x", "endpoint": "acp:mine"}]}),
        )
        .await;
    assert_eq!(status, 400);
    for (body, says) in [
        (json!({"command": ""}), "no command"),
        (json!({"command": "'x"}), "quote"),
        (json!({"command": "x", "folder": "/no/such"}), "folder"),
        (json!({"command": "x", "environment": {"A=B": "c"}}), "environment"),
    ] {
        let (status, problem) = again.call(Method::PUT, path, body).await;
        assert_eq!(status, 400, "{problem}");
        assert!(problem.to_string().contains(says), "{problem}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}

#[tokio::test]
async fn a_login_that_is_missing_is_told_with_its_ways_and_the_message_is_answered_after_it() {
    for mode in ["login", "login-late"] {
        let (rig, state) = rig(mode).await;
        let talk = talk(&rig).await;
        let message = talk.send("count hello").await;
        let log = talk.until("it fails", |log| log.ended() == 1).await;
        assert_eq!(failure(&log).0, "acp_auth_required", "{mode}");
        let notice = log.chunks().into_iter().find(|(_, chunk)| chunk["name"] == "acp.notice");
        let (_, notice) = notice.expect("it is told");
        let methods = &notice["value"]["signIn"]["methods"];
        assert_eq!(methods[0], json!({"id": "key", "name": "API key"}), "{mode}");
        let command = methods[1]["command"].as_str().unwrap();
        assert!(command.ends_with(" login --now") && !command.contains('/'), "{mode}: {command}");
        if mode == "login" {
            continue;
        }
        std::fs::write(state.path().join("signed-in"), "").unwrap();
        let body = json!({"fromMessageId": message, "content": "count hello"});
        let (status, problem) = rig.post(&talk.path("/regenerate"), body).await;
        assert!(status.is_success(), "{problem}");
        let log = talk.until("it answers", |log| log.ended() == 2).await;
        assert!(log.text().contains("prompt 0 of"), "{}", log.text());
        assert_eq!(pids(state.path()).len(), 2, "it is started anew after the login");
    }
}
