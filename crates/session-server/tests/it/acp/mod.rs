//! Agents that run on the server's computer, through the server's API.

mod agent;
mod chosen;
mod kills;

use std::{path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use session_server::{AcpAgent, ServerConfig};
use uuid::Uuid;

use crate::rig::{DEADLINE, Log, Rig, Talk};
pub use agent::scripted;

/// A server that runs the scripted agent in a mode, as `it`.
async fn rig(mode: &str) -> (Rig, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let agent = scripted("it", mode, state.path());
    (Rig::with(|config| config.acp = vec![agent]).await, state)
}

fn with(mode: &str, state: &Path) -> impl FnOnce(&mut ServerConfig) {
    let agent = scripted("it", mode, state);
    move |config| config.acp = vec![agent]
}

async fn talk<'a>(rig: &'a Rig) -> Talk<'a> {
    rig.session("acp:it").await
}

async fn decide(talk: &Talk<'_>, approval: &str, body: Value) -> (StatusCode, Value) {
    talk.rig.post(&talk.path(&format!("/approvals/{approval}")), body).await
}

async fn stop(talk: &Talk<'_>) {
    let (status, _) = talk.rig.post(&talk.path("/stop"), json!({"actorId": "bob"})).await;
    assert_eq!(status, 204);
}

fn answers(log: &Log) -> Vec<(Value, Value)> {
    let all = log.chunks().into_iter().filter(|(_, chunk)| chunk["type"] == "approval-response");
    all.map(|(row, chunk)| (row.clone(), chunk)).collect()
}

fn failure(log: &Log) -> (String, String) {
    let (_, chunk) = log.find("RUN_ERROR").expect("it failed");
    let text = |name: &str| chunk[name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

fn pids(state: &Path) -> Vec<u32> {
    let all = std::fs::read_to_string(state.join("pids")).unwrap_or_default();
    all.lines().map(|pid| pid.parse().unwrap()).collect()
}

#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[cfg(target_os = "linux")]
async fn gone(state: &Path) {
    let gone = async {
        while pids(state).into_iter().any(runs) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("every program is gone");
}

#[tokio::test]
async fn an_option_is_chosen_inside_the_running_turn_and_the_first_answer_wins() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("ask").await;
    let log = talk.until("it asks", |log| log.approvals().len() == 1).await;
    assert_eq!(log.ended(), 0, "the run goes on while it asks");
    let (_, asked) =
        log.chunks().into_iter().find(|(_, chunk)| chunk["name"] == "approval-requested").unwrap();
    let asked = &asked["value"];
    assert_eq!(
        asked["options"][0],
        json!({"optionId": "always", "name": "Always allow touch *", "kind": "allow_always"})
    );
    assert_eq!(asked["input"]["command"], "touch ./one", "no path of this computer");
    let id = log.approvals().remove(0);
    let (status, problem) = decide(&talk, &id, json!({"approved": true, "optionId": "ever"})).await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem.to_string().contains("always, once, no"), "{problem}");
    let (status, _) = decide(&talk, &id, json!({"approved": false, "optionId": "once"})).await;
    assert_eq!(status, 400);
    let (status, _) =
        decide(&talk, &id, json!({"approved": true, "optionId": "always", "actorId": "bob"})).await;
    assert_eq!(status, 204);
    let (status, _) = decide(&talk, &id, json!({"approved": true, "optionId": "once"})).await;
    assert_eq!(status, 409);
    let (status, _) = decide(&talk, &id, json!({"approved": true, "optionId": "always"})).await;
    assert_eq!(status, 204, "the same answer again");
    let log = talk.until("it goes on", |log| log.ended() == 1).await;
    assert!(log.text().ends_with("You chose always.Done."), "{}", log.text());
    let told = answers(&log);
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].0["actorId"], &told[0].1["optionId"]), (&json!("bob"), &json!("always")));
    assert_eq!(log.count("RUN_STARTED"), 1, "one run");
    log.assert_gapless();
}

#[tokio::test]
async fn a_plain_yes_or_no_never_chooses_what_lasts() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    for (n, (approved, said)) in
        [(true, "You chose once."), (false, "You chose no.")].into_iter().enumerate()
    {
        talk.send("ask").await;
        let log = talk.until("it asks", |log| log.approvals().len() == n + 1).await;
        assert_eq!(talk.approve(&log.approvals()[n], approved).await, 204);
        let log = talk.until("it goes on", |log| log.ended() == n + 1).await;
        assert!(log.text().contains(said), "{}", log.text());
    }
}

#[tokio::test]
async fn two_requests_are_answered_each_by_itself_in_any_order() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("two").await;
    let log = talk.until("it asks twice", |log| log.approvals().len() == 2).await;
    let ids = log.approvals();
    assert_eq!(talk.approve(&ids[1], false).await, 204);
    assert_eq!(talk.approve(&ids[0], true).await, 204);
    let log = talk.until("it goes on", |log| log.ended() == 1).await;
    assert!(log.text().contains("You chose once and no."), "{}", log.text());
}

#[tokio::test]
async fn a_request_that_its_agent_takes_back_is_not_granted() {
    let (rig, _state) = rig("resume").await;
    for words in ["withdraw", "leave"] {
        let talk = talk(&rig).await;
        talk.send(words).await;
        let log = talk.until("it ends", |log| log.ended() == 1).await;
        let told = answers(&log);
        assert_eq!(told.len(), 1, "{words}");
        assert_eq!(
            (&told[0].1["approved"], &told[0].1["reason"]),
            (&json!(false), &json!("cancelled")),
            "{words}"
        );
        assert_eq!(told[0].0["actorId"], "server");
        // One that comes late, from an outbox, is taken and does nothing.
        assert_eq!(talk.approve(&log.approvals()[0], true).await, 204, "{words}");
        assert_eq!(answers(&talk.until("all", |log| log.ended() == 1).await).len(), 1);
    }
}

#[tokio::test]
async fn a_stop_while_it_asks_or_writes_ends_the_run_at_once_and_the_next_message_is_answered() {
    let (rig, state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("ask").await;
    talk.until("it asks", |log| log.approvals().len() == 1).await;
    stop(&talk).await;
    let log = talk.until("it is stopped", |log| log.ended() == 1).await;
    let told = answers(&log);
    assert_eq!((&told[0].1["reason"], &told[0].0["actorId"]), (&json!("cancelled"), &json!("bob")));
    talk.send("slow").await;
    talk.until("it writes", |log| log.text().contains("word 3")).await;
    stop(&talk).await;
    talk.send("count").await;
    let log = talk.until("it answers", |log| log.ended() == 3).await;
    assert!(log.text().contains("prompt 2 of"), "the same session: {}", log.text());
    assert_eq!(pids(state.path()).len(), 1, "the same program");
}

#[tokio::test]
async fn an_agent_that_does_not_stop_is_ended_within_five_seconds() {
    let (rig, state) = rig("stays").await;
    let talk = talk(&rig).await;
    talk.send("deaf").await;
    talk.until("it writes", |log| log.text().contains("word 3")).await;
    let started = std::time::Instant::now();
    stop(&talk).await;
    let log = talk.until("it is stopped", |log| log.ended() == 1).await;
    assert!(started.elapsed() < Duration::from_secs(2), "the log says so at once");
    talk.send("count").await;
    let after = talk.until("another one answers", |log| log.ended() == 2).await;
    assert!(started.elapsed() < Duration::from_secs(14));
    let words = |log: &Log| log.text().matches("word ").count();
    assert_eq!(words(&log), words(&after), "nothing is said behind a stop");
    assert!(after.text().contains("prompt 1 of"), "resumed: {}", after.text());
    #[cfg(target_os = "linux")]
    assert!(!runs(pids(state.path())[0]));
}

#[tokio::test]
async fn a_second_message_waits_for_the_first() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("ask first").await;
    talk.until("it asks", |log| log.approvals().len() == 1).await;
    talk.send("count second").await;
    let log = talk.until("both are there", |log| log.count("whole-message") == 2).await;
    talk.approve(&log.approvals()[0], true).await;
    let log = talk.until("both are answered", |log| log.ended() == 2).await;
    assert!(log.text().contains("You chose once.Done.prompt 1 of"), "{}", log.text());
}

#[tokio::test]
async fn an_agent_that_dies_has_its_requests_lapse_and_its_calls_end() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("die asking").await;
    let log = talk.until("it ends", |log| log.ended() == 1).await;
    let (code, message) = failure(&log);
    assert_eq!(code, "acp_exited");
    assert!(message.contains("with code 7") && !message.contains("secret"), "{message}");
    let told = answers(&log);
    assert_eq!((&told[0].1["approved"], &told[0].1["reason"]), (&json!(false), &json!("lapsed")));
    assert_eq!(log.count("TOOL_CALL_RESULT"), 2, "both calls have ended");
    assert!(!format!("{:?}", log.items).contains("secret"));
    let words = std::fs::read_to_string(rig.dir.path().join("acp/it.log")).unwrap();
    assert!(words.contains("a secret of this computer"), "for the owner");
    talk.send("count context").await;
    let log = talk.until("it goes on", |log| log.ended() == 2).await;
    assert!(log.text().contains("Your last answer was cut off"), "{}", log.text());
    assert!(log.text().contains("prompt 1 of"), "resumed: {}", log.text());
}

#[tokio::test]
async fn a_session_is_resumed_or_loaded_after_a_restart_and_nothing_is_said_twice() {
    for mode in ["resume", "load"] {
        let (first, state) = rig(mode).await;
        let talk = talk(&first).await;
        let id = talk.id.clone();
        talk.send("count").await;
        talk.until("it answers", |log| log.ended() == 1).await;
        let Rig { dir, server, .. } = first;
        server.shutdown().await;
        #[cfg(target_os = "linux")]
        gone(state.path()).await;
        let again = Rig::at(dir, with(mode, state.path())).await;
        let talk = again.talk(&id);
        talk.send("count").await;
        let log = talk.until("it answers", |log| log.ended() == 2).await;
        assert!(log.text().contains("prompt 1 of"), "{mode}: {}", log.text());
        assert!(!log.text().contains("said before"), "{mode}: {}", log.text());
        assert_eq!(log.text().matches("Done.").count(), 2);
    }
}

#[tokio::test]
async fn an_agent_that_forgot_its_session_gets_the_conversation_and_the_log_says_so() {
    for mode in ["forgets", "amnesia"] {
        let (first, state) = rig(mode).await;
        let talk = talk(&first).await;
        let id = talk.id.clone();
        talk.send("count: the word is plum").await;
        talk.until("it answers", |log| log.ended() == 1).await;
        let Rig { dir, server, .. } = first;
        server.shutdown().await;
        let again = Rig::at(dir, with(mode, state.path())).await;
        let talk = again.talk(&id);
        talk.send("context").await;
        let log = talk.until("it answers", |log| log.ended() == 2).await;
        assert!(log.text().contains("ann: count: the word is plum"), "{mode}: {}", log.text());
        let notice = log.chunks().into_iter().find(|(_, chunk)| chunk["name"] == "acp.notice");
        assert!(notice.is_some(), "{mode}: the log says that its memory is lost");
    }
}

#[tokio::test]
async fn each_prompt_brings_what_others_said_since() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("hello").await;
    talk.until("it answers", |log| log.ended() == 1).await;
    let body = json!({"content": "I am another agent", "actorId": "carl", "role": "assistant"});
    assert_eq!(rig.post(&talk.path("/messages"), body).await.0, 200);
    talk.send("context").await;
    let log = talk.until("it answers", |log| log.ended() == 2).await;
    assert!(
        log.text()
            .contains("[Said here since your last turn:]\ncarl: I am another agent\n[End]|context"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn a_huge_output_and_unknown_updates_cost_little() {
    let (rig, _state) = rig("resume").await;
    let talk = talk(&rig).await;
    talk.send("huge unknown").await;
    let log = talk.until("it answers", |log| log.ended() == 1).await;
    let bytes: usize = log.items.iter().map(|item| item.to_string().len()).sum();
    assert!(bytes < 100_000, "{bytes}");
    assert!(log.chunks().iter().any(|(_, chunk)| chunk["name"] == "acp.raw"));
    assert!(log.text().ends_with("Done."));
}

#[tokio::test]
async fn what_cannot_run_is_told_in_one_sentence_with_the_next_step() {
    let state = tempfile::tempdir().unwrap();
    let agent = |name: &str, mode: &str| scripted(name, mode, state.path());
    let missing = AcpAgent { program: "no-such-program".into(), ..agent("missing", "") };
    let text = state.path().join("text");
    std::fs::write(&text, "no program").unwrap();
    let no_program = AcpAgent { program: text.into(), ..agent("text", "") };
    let no_folder = AcpAgent { folder: state.path().join("gone"), ..agent("folder", "") };
    let agents = vec![
        missing,
        no_program,
        no_folder,
        agent("exits", "exits"),
        agent("foreign", "foreign"),
        agent("login", "login"),
        agent("no-key", "no-key"),
        agent("v9", "v9"),
    ];
    let rig = Rig::with(|config| config.acp = agents).await;
    for (name, code, next) in [
        ("missing", "acp_not_found", "Install it"),
        ("text", "acp_not_executable", "Check that it is a program"),
        ("folder", "acp_no_folder", "Choose a folder"),
        ("foreign", "acp_protocol", "--acp"),
        ("login", "acp_auth_required", "Sign in"),
        ("no-key", "acp_refused", "OPENAI_API_KEY is not set"),
        ("v9", "acp_protocol", "Update it"),
    ] {
        let talk = rig.session(&format!("acp:{name}")).await;
        talk.send("hello").await;
        let log = talk.until("it fails", |log| log.ended() == 1).await;
        let (is, message) = failure(&log);
        assert_eq!(is, code, "{name}: {message}");
        assert!(message.contains(next) && message.lines().count() == 1, "{name}: {message}");
        assert!(!message.contains(state.path().to_str().unwrap()), "{name}: {message}");
    }
    // One that ends at once printed the harness's words before: it is told as what it is, or as something else.
    let talk = rig.session("acp:exits").await;
    talk.send("hello").await;
    let log = talk.until("it fails", |log| log.ended() == 1).await;
    assert!(["acp_exited", "acp_protocol"].contains(&failure(&log).0.as_str()));
    let id = Uuid::new_v4();
    let body = json!({"agents": [{"id": "x", "endpoint": "acp:nobody"}]});
    let (status, problem) = rig.call(Method::PUT, &format!("/v1/sessions/{id}"), body).await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem.to_string().contains("--acp NAME=COMMAND"), "{problem}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_stops_takes_its_agents_with_it_and_ends_what_they_asked() {
    let (rig, state) = rig("stays").await;
    let talk = talk(&rig).await;
    let id = talk.id.clone();
    talk.send("ask").await;
    let log = talk.until("it asks", |log| log.approvals().len() == 1).await;
    let asked = log.approvals().remove(0);
    let Rig { dir, server, .. } = rig;
    server.shutdown().await;
    gone(state.path()).await;
    let again = Rig::at(dir, with("stays", state.path())).await;
    let talk = again.talk(&id);
    let log = talk.until("its run has ended", |log| log.ended() == 1).await;
    let told = answers(&log);
    assert_eq!((&told[0].1["approved"], &told[0].1["reason"]), (&json!(false), &json!("lapsed")));
    assert_eq!(talk.approve(&asked, true).await, 204, "a late answer does nothing");
    assert_eq!(pids(state.path()).len(), 1, "and nothing runs");
}
