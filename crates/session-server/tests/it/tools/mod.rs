//! Tools of tool servers, called by the model agent and allowed by people.

mod server;

use std::{path::Path, sync::Arc};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use session_server::{ModelConfig, ServerConfig, ToolServer};
use tempfile::TempDir;

use crate::{
    fake::{Fake, Reply},
    model::{delta, finish, stream},
    rig::{DEADLINE, Log, Rig, Talk},
};
use server::scripted;

/// An answer of the model that calls a tool of the server.
fn call(tool: &str, arguments: &Value) -> Reply {
    let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {
        "name": format!("s__{tool}"), "arguments": arguments.to_string()}}]});
    stream(&[delta(&call), finish("tool_calls")])
}

fn words(text: &str) -> Reply {
    stream(&[delta(&json!({"content": text})), finish("stop")])
}

struct World {
    fake: Fake,
    rig: Rig,
    state: TempDir,
    server: ToolServer,
}

fn with(fake: &Fake, server: &ToolServer) -> impl FnOnce(&mut ServerConfig) + use<> {
    let model = ModelConfig {
        base_url: fake.model_url().parse().unwrap(),
        model: "m".to_owned(),
        api_key: None,
    };
    let server = server.clone();
    move |config| {
        config.agents.model = Some(Arc::new(model));
        config.tool_servers = Arc::new(vec![server]);
    }
}

async fn world(mode: &str, is_trusted: bool, replies: impl IntoIterator<Item = Reply>) -> World {
    let fake = Fake::new(replies).await;
    let state = tempfile::tempdir().unwrap();
    let server = ToolServer { is_trusted, ..scripted(mode, state.path()) };
    let rig = Rig::with(with(&fake, &server)).await;
    World { fake, rig, state, server }
}

impl World {
    async fn talk(&self) -> Talk<'_> {
        self.rig.session("builtin:model").await
    }

    /// What the model was told of its calls in its last request.
    fn told(&self) -> Vec<String> {
        told(&self.fake)
    }
}

fn told(fake: &Fake) -> Vec<String> {
    let asked = fake.asked();
    let messages = asked.last().unwrap()["messages"].as_array().unwrap().clone();
    let results = messages.into_iter().filter(|message| message["role"] == "tool");
    results.map(|result| result["content"].as_str().unwrap().to_owned()).collect()
}

fn lines(state: &Path, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(state.join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn wait_for(state: &Path, file: &str) {
    let there = async {
        while lines(state, file).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, there).await.expect(file);
}

async fn decide(talk: &Talk<'_>, tool: &str, rule: &str) -> StatusCode {
    let body = json!({"server": "s", "tool": tool, "rule": rule, "actorId": "ann"});
    talk.rig.call(Method::PUT, &talk.path("/tool-rules"), body).await.0
}

fn question(log: &Log) -> Value {
    let seen = session_protocol::materialize(&log.items);
    let parts = seen.messages.iter().flat_map(|message| &message.parts);
    let mut questions = parts.filter_map(|part| match part {
        session_protocol::Part::Question(question) => Some(json!(question)),
        _ => None,
    });
    questions.next_back().expect("a question")
}

#[tokio::test]
async fn a_tool_is_asked_about_then_called_once_and_the_model_goes_on() {
    for mode in ["legacy", "modern"] {
        let world = world(mode, false, [call("act", &json!({"n": 1})), words("Done.")]).await;
        let talk = world.talk().await;
        talk.send("act").await;
        let log = talk.until("it asks", |log| log.ended() == 1).await;
        assert!(lines(world.state.path(), "calls").is_empty(), "{mode}");
        let tools = world.fake.asked()[0]["tools"].to_string();
        assert!(tools.contains("s__act") && tools.contains("does it"), "{tools}");
        let (_, info) = log.chunks().into_iter().find(|(_, c)| c["name"] == "tool.info").unwrap();
        assert_eq!(
            (&info["value"]["server"], &info["value"]["tool"]),
            (&json!("s"), &json!("act"))
        );
        assert_eq!(talk.approve(&log.approvals()[0], true).await, 204);
        let log = talk.until("the end", |log| log.ended() == 2 && log.rests()).await;
        assert_eq!(lines(world.state.path(), "calls"), [r#"act {"n":1}"#]);
        assert_eq!(world.told(), [r#"did {"n":1}"#]);
        assert_eq!(log.text(), "Done.");
        log.assert_gapless();
        let said = json!(log.items).to_string();
        for secret in ["hush-hush", "SECRET_KEY", "--nocapture", "MCP_STATE"] {
            assert!(!said.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn a_tool_that_is_denied_is_not_called() {
    let world = world("legacy", true, [call("act", &json!({})), words("Fine.")]).await;
    let talk = world.talk().await;
    talk.send("act").await;
    let log = talk.until("it asks", |log| log.ended() == 1).await;
    assert_eq!(talk.approve(&log.approvals()[0], false).await, 204);
    talk.until("the end", |log| log.ended() == 2).await;
    assert!(lines(world.state.path(), "calls").is_empty());
    assert!(world.told()[0].contains("denied"));
}

#[tokio::test]
async fn what_only_looks_is_called_unasked_where_its_server_is_trusted() {
    for is_trusted in [true, false] {
        let world = world("legacy", is_trusted, [call("look", &json!({})), words("Seen.")]).await;
        let talk = world.talk().await;
        talk.send("look").await;
        let log = talk.until("the end", |log| log.ended() == 1).await;
        assert_eq!(log.approvals().len(), usize::from(!is_trusted));
        assert_eq!(lines(world.state.path(), "calls").len(), usize::from(is_trusted));
    }
}

#[tokio::test]
async fn a_rule_holds_in_its_session_until_the_tool_changes_or_the_rule_is_removed() {
    let replies = [
        call("act", &json!({"n": 1})),
        words("One."),
        call("act", &json!({"n": 2})),
        call("act", &json!({"n": 3})),
    ];
    let world = world("legacy", false, replies).await;
    let talk = world.talk().await;
    assert_eq!(decide(&talk, "act", "sometimes").await, 400);
    assert_eq!(decide(&talk, "nothing", "allow").await, 404);
    assert_eq!(decide(&talk, "act", "allow").await, 200);
    talk.send("one").await;
    let log = talk.until("it is called", |log| log.ended() == 1).await;
    assert!(log.approvals().is_empty());
    let (_, rules) = world.rig.get("/v1/tool-rules").await;
    let rule = &rules["rules"][0];
    assert_eq!((&rule["rule"], &rule["setBy"]), (&json!("allow"), &json!("ann")));
    assert!(rule["words"].as_str().unwrap().starts_with("ann allowed act of s in this session"));
    // Another session has no such rule.
    let other = world.talk().await;
    let (_, tools) = world.rig.get(&other.path("/tools")).await;
    assert_eq!(tools["servers"][0]["tools"][0]["rule"], "ask");
    let (_, tools) = world.rig.get(&talk.path("/tools")).await;
    assert_eq!(tools["servers"][0]["tools"][0]["rule"], "allow");
    // The tool becomes another: people are asked again. A new server does not know the old list.
    std::fs::write(world.state.path().join("changed"), "").unwrap();
    let after = world.rig.crashed_copy(with(&world.fake, &world.server)).await;
    let talk = after.talk(&talk.id);
    talk.send("two").await;
    let log = talk.until("it asks", |log| log.ended() == 2).await;
    assert_eq!(log.approvals().len(), 1);
    let (_, tools) = after.get(&talk.path("/tools")).await;
    assert_eq!(tools["servers"][0]["tools"][0]["changed"], true);
    // Never is never, and a removed rule is no rule.
    assert_eq!(decide(&talk, "act", "never").await, 200);
    assert_eq!(talk.approve(&log.approvals()[0], true).await, 204);
    talk.until("the model goes on", |log| log.ended() == 3).await;
    assert!(!world.fake.asked().last().unwrap()["tools"].to_string().contains("s__act"));
    assert_eq!(lines(world.state.path(), "calls").len(), 1);
    let (_, rules) = after.get("/v1/tool-rules").await;
    let id = rules["rules"][0]["id"].as_i64().unwrap();
    let (gone, _) = after.call(Method::DELETE, &format!("/v1/tool-rules/{id}"), json!({})).await;
    assert_eq!(gone, 204);
    let (gone, _) = after.call(Method::DELETE, &format!("/v1/tool-rules/{id}"), json!({})).await;
    assert_eq!(gone, 404);
}

#[tokio::test]
async fn a_list_that_changes_is_read_again_by_the_next_run() {
    let replies = [call("change", &json!({})), words("So."), words("Now.")];
    let world = world("legacy", false, replies).await;
    let talk = world.talk().await;
    assert_eq!(decide(&talk, "change", "allow").await, 200);
    talk.send("change").await;
    talk.until("it changed", |log| log.ended() == 1).await;
    assert!(world.fake.asked()[1]["tools"].to_string().contains("does it"), "as the run began");
    talk.send("again").await;
    talk.until("it goes on", |log| log.ended() == 2).await;
    assert!(world.fake.asked()[2]["tools"].to_string().contains("does more"));
    assert_eq!(lines(world.state.path(), "pids").len(), 1, "one program");
}

#[tokio::test]
async fn a_tools_question_is_a_persons_to_answer_and_then_it_goes_on() {
    for mode in ["legacy", "modern"] {
        for (answer, told, result) in [
            (
                json!({"approved": true, "payload": {"city": "Rome"}}),
                "accept",
                r#"You said "Rome"."#,
            ),
            (json!({"approved": true, "payload": "Oslo"}), "accept", r#"You said "Oslo"."#),
            (json!({"approved": false}), "decline", "You said null."),
        ] {
            let world = world(mode, false, [call("ask", &json!({})), words("Thanks.")]).await;
            let talk = world.talk().await;
            assert_eq!(decide(&talk, "ask", "allow").await, 200);
            talk.send("ask me").await;
            let log = talk.until("it asks", |log| log.ended() == 1 && log.rests()).await;
            let asked = question(&log);
            assert_eq!(asked["message"], "Which city?");
            assert_eq!(asked["responseSchema"]["required"], json!(["city"]));
            assert!(!json!(log.items).to_string().contains("s3cret-state"));
            let id = asked["approval"]["id"].as_str().unwrap();
            let mut answer = answer.clone();
            answer["actorId"] = "bob".into();
            let (status, _) = talk.rig.post(&talk.path(&format!("/approvals/{id}")), answer).await;
            assert_eq!(status, 204);
            talk.until("the end", |log| log.ended() == 2 && log.rests()).await;
            let answers = lines(world.state.path(), "answers");
            assert_eq!(answers.len(), 1);
            assert!(answers[0].contains(told), "{mode} {answers:?}");
            assert_eq!(world.told(), [result], "{mode}");
        }
    }
}

#[tokio::test]
async fn a_question_survives_a_crash_and_a_call_that_cannot_is_not_made_again() {
    for mode in ["legacy", "modern"] {
        let world = world(mode, false, [call("ask", &json!({})), words("Thanks.")]).await;
        let talk = world.talk().await;
        assert_eq!(decide(&talk, "ask", "allow").await, 200);
        talk.send("ask me").await;
        let log = talk.until("it asks", |log| log.ended() == 1 && log.rests()).await;
        let id = question(&log)["approval"]["id"].as_str().unwrap().to_owned();
        let after = world.rig.crashed_copy(with(&world.fake, &world.server)).await;
        let talk = after.talk(&talk.id);
        let answer = json!({"approved": true, "payload": {"city": "Rome"}, "actorId": "bob"});
        let (status, _) = after.post(&talk.path(&format!("/approvals/{id}")), answer).await;
        assert_eq!(status, 204);
        let log = talk.until("the end", |log| log.ended() == 2 && log.rests()).await;
        log.assert_gapless();
        let calls = lines(world.state.path(), "calls");
        if mode == "modern" {
            assert_eq!(world.told(), [r#"You said "Rome"."#]);
            assert_eq!(calls.len(), 2, "with the answer");
        } else {
            assert!(world.told()[0].contains("may have happened"), "{:?}", world.told());
            assert_eq!(calls.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_call_that_was_under_way_in_a_crash_may_have_happened_and_is_not_made_again() {
    let world = world("legacy", false, [call("hang", &json!({})), words("Hm.")]).await;
    let talk = world.talk().await;
    talk.send("go").await;
    let log = talk.until("it asks", |log| log.ended() == 1).await;
    assert_eq!(talk.approve(&log.approvals()[0], true).await, 204);
    wait_for(world.state.path(), "calls").await;
    let after = world.rig.crashed_copy(with(&world.fake, &world.server)).await;
    let talk = after.talk(&talk.id);
    let log = talk.until("it is said", |log| log.ended() == 2).await;
    let failed = log.find("RUN_ERROR").expect("it was interrupted").0["messageId"].clone();
    // A person lets it go on.
    let body = json!({"fromMessageId": failed, "actorId": "ann"});
    let (status, problem) = after.post(&talk.path("/regenerate"), body).await;
    assert_eq!(status, 200, "{problem}");
    let log = talk.until("the end", |log| log.ended() == 3).await;
    assert_eq!(lines(world.state.path(), "calls").len(), 1);
    assert!(world.told()[0].contains("may have happened"), "{:?}", world.told());
    let (_, result) = log.find("TOOL_CALL_RESULT").expect("the log says so, too");
    assert!(result["content"].as_str().unwrap().contains("may have happened"));
}

#[tokio::test]
async fn a_stop_cancels_the_call() {
    for mode in ["legacy", "modern"] {
        let world = world(mode, false, [call("hang", &json!({})), words("Hm.")]).await;
        let talk = world.talk().await;
        assert_eq!(decide(&talk, "hang", "allow").await, 200);
        talk.send("go").await;
        wait_for(world.state.path(), "calls").await;
        let (status, _) = talk.rig.post(&talk.path("/stop"), json!({"actorId": "bob"})).await;
        assert_eq!(status, 204);
        wait_for(world.state.path(), "cancelled").await;
        // The next run tells the model that it may have happened.
        talk.send("and?").await;
        talk.until("the end", |log| log.text() == "Hm.").await;
        assert!(world.told()[0].contains("may have happened"), "{:?}", world.told());
    }
}

#[tokio::test]
async fn a_server_that_dies_is_asked_again_only_where_that_is_harmless() {
    for (tool, is_trusted, times, told) in [
        ("die", true, 1, "may have happened"),
        ("twice", false, 1, "may have happened"),
        ("twice", true, 2, "did {}"),
    ] {
        let world = world("legacy", is_trusted, [call(tool, &json!({})), words("So.")]).await;
        let talk = world.talk().await;
        assert_eq!(decide(&talk, tool, "allow").await, 200);
        talk.send("go").await;
        let log = talk.until("the end", |log| log.ended() == 1).await;
        assert_eq!(lines(world.state.path(), "calls").len(), times, "{tool} {is_trusted}");
        assert!(world.told()[0].contains(told), "{:?}", world.told());
        assert_eq!(log.text(), "So.");
    }
}

#[tokio::test]
async fn a_flood_costs_the_stream_little_and_pictures_are_pictures() {
    let replies = [
        call("flood", &json!({})),
        call("picture", &json!({})),
        call("fail", &json!({})),
        words("So."),
    ];
    let world = world("legacy", false, replies).await;
    let talk = world.talk().await;
    for tool in ["flood", "picture", "fail"] {
        assert_eq!(decide(&talk, tool, "allow").await, 200);
    }
    talk.send("go").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    assert!(json!(log.items).to_string().len() < 200_000);
    let progress =
        log.chunks().iter().filter(|(_, chunk)| chunk["name"] == "tool.progress").count();
    assert!((1..100).contains(&progress), "{progress}");
    let told = world.told();
    assert!(told[0].len() < 60_000 && told[0].contains("in a file of the host"));
    assert!(told[1].contains("A dot.") && !told[1].contains("iVBOR"), "{}", told[1]);
    assert_eq!(told[2], "Error: no luck");
    let results = log.chunks().into_iter().filter(|(_, chunk)| chunk["type"] == "TOOL_CALL_RESULT");
    let results: Vec<Value> = results.map(|(_, chunk)| chunk).collect();
    assert!(results[1]["content"].as_str().unwrap().contains("iVBOR"));
    assert_eq!(results[2]["state"], "output-error");
}

#[tokio::test]
async fn a_server_that_does_not_work_costs_the_session_only_its_tools() {
    for mode in ["exits", "foreign"] {
        let world = world(mode, false, [words("Without.")]).await;
        let talk = world.talk().await;
        talk.send("go").await;
        let log = talk.until("the end", |log| log.ended() == 1).await;
        assert_eq!(log.text(), "Without.");
        let (_, tools) = world.rig.get(&talk.path("/tools")).await;
        let error = tools["servers"][0]["error"].as_str().unwrap();
        assert!(
            error.starts_with("The tool server") || error.starts_with("What answers"),
            "{error}"
        );
        assert!(!tools.to_string().contains("hush-hush"));
    }
}

#[tokio::test]
async fn a_server_is_switched_off_for_a_session() {
    let world = world("legacy", false, [words("So.")]).await;
    let talk = world.talk().await;
    let off = world.rig.call(Method::PUT, &talk.path("/tools/s"), json!({"on": false})).await;
    assert_eq!(off.0, 200);
    let unknown = world.rig.call(Method::PUT, &talk.path("/tools/x"), json!({"on": false})).await;
    assert_eq!(unknown.0, 404);
    talk.send("go").await;
    talk.until("the end", |log| log.ended() == 1).await;
    assert!(!world.fake.asked()[0]["tools"].to_string().contains("s__"));
    assert!(lines(world.state.path(), "pids").is_empty(), "nothing was started");
}

#[tokio::test]
async fn a_server_is_tried_before_it_is_used() {
    let world = world("legacy", false, [words("So.")]).await;
    let test = |body: Value| world.rig.post("/v1/tool-servers/test", body);
    let (status, found) = test(json!({"name": "s"})).await;
    assert_eq!((status.as_u16(), &found["works"]), (200, &json!(true)), "{found}");
    assert_eq!(
        (found["tools"].as_array().unwrap().len(), &found["title"]),
        (10, &json!("scripted"))
    );
    let (_, found) = test(json!({"command": ["/no/such/program"]})).await;
    assert!(found["error"].as_str().unwrap().contains("was not found"), "{found}");
    let (_, found) =
        test(json!({"command": ["/bin/sh", "-c", "echo my last words >&2; exit 3"]})).await;
    assert_eq!(found["works"], false);
    assert!(found["said"].as_str().unwrap().contains("my last words"), "{found}");
    let (_, found) = test(json!({"url": "http://127.0.0.1:9/mcp"})).await;
    assert!(found["error"].as_str().unwrap().contains("could not be reached"), "{found}");
    for bad in [json!({}), json!({"name": "x"}), json!({"command": []}), json!({"url": "ftp://x"})]
    {
        assert!(test(bad.clone()).await.0.is_client_error(), "{bad}");
    }
}
