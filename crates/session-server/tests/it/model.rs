//! The model agent against an endpoint that does what real ones do.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use session_server::{ModelConfig, Secret};

use crate::{
    border::notes,
    fake::{Fake, Reply, sse},
    rig::{Log, Rig},
};

fn config(fake: &Fake) -> ModelConfig {
    ModelConfig {
        base_url: fake.model_url().parse().unwrap(),
        model: "m1".to_owned(),
        api_key: Some(Secret::new("k3y")),
    }
}

async fn rig(fake: &Fake) -> Rig {
    Rig::with(|server| server.agents.model = Some(Arc::new(config(fake)))).await
}

async fn ask(replies: impl IntoIterator<Item = Reply>) -> (Fake, Log) {
    let fake = Fake::new(replies).await;
    let rig = rig(&fake).await;
    let talk = rig.session("builtin:model").await;
    talk.send("question").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    (fake, log)
}

pub fn delta(delta: &Value) -> String {
    json!({"choices": [{"index": 0, "delta": delta}]}).to_string()
}

pub fn finish(reason: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).to_string()
}

pub fn stream(chunks: &[String]) -> Reply {
    let mut all: Vec<&str> = chunks.iter().map(String::as_str).collect();
    all.push("[DONE]");
    sse(&all)
}

#[tokio::test]
async fn text_reasoning_and_usage_arrive() {
    let (fake, log) = ask([stream(&[
        delta(&json!({"role": "assistant", "content": ""})),
        delta(&json!({"reasoning_content": "hm "})),
        delta(&json!({"reasoning": "so"})),
        delta(&json!({"content": "four"})),
        finish("stop"),
        json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
            .to_string(),
    ])])
    .await;
    assert_eq!(log.text(), "four");
    assert_eq!(log.count("REASONING_MESSAGE_CONTENT"), 2);
    let (_, end) = log.find("RUN_FINISHED").unwrap();
    assert_eq!(end["usage"]["totalTokens"], 5);
    assert_eq!(end["finishReason"], "stop");
    let asked = &fake.asked()[0];
    assert_eq!((&asked["model"], &asked["stream"]), (&json!("m1"), &json!(true)));
    assert_eq!(asked["messages"], json!([{"role": "user", "content": "question"}]));
    assert_eq!(fake.asked_headers()[0]["authorization"], "Bearer k3y");
}

#[tokio::test]
async fn a_harmless_tool_runs_at_once_and_the_model_goes_on() {
    let (fake, log) = ask([
        stream(&[
            delta(&json!({"tool_calls": [{"index": 0, "id": "call_abcdef", "type": "function", "function": {"name": "current_time", "arguments": ""}}]})),
            delta(&json!({"tool_calls": [{"index": 1, "id": "call_ghijkl", "type": "function", "function": {"name": "current_time", "arguments": "{\"zo"}}]})),
            delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})),
            delta(&json!({"tool_calls": [{"index": 1, "function": {"arguments": "ne\":\"Asia/Tokyo\"}"}}]})),
            finish("tool_calls"),
        ]),
        stream(&[delta(&json!({"content": "It is late."})), finish("stop")]),
    ])
    .await;
    assert_eq!(log.count("TOOL_CALL_START"), 2);
    assert_eq!(log.count("TOOL_CALL_RESULT"), 2);
    assert_eq!(log.count("RUN_STARTED"), 1);
    let second = &fake.asked()[1]["messages"];
    assert_eq!(second[1]["tool_calls"][1]["function"]["arguments"], r#"{"zone":"Asia/Tokyo"}"#);
    assert_eq!(second[2]["tool_call_id"], "call_abcdef");
    assert!(second[3]["content"].as_str().unwrap().contains("+09:00"));
}

#[tokio::test]
async fn a_tool_that_acts_waits_for_approval_and_then_acts() {
    let call = json!({"tool_calls": [{"index": 0, "id": "call_000001", "function": {"name": "save_note", "arguments": "{\"title\":\"Plan\",\"text\":\"Do it\"}"}}]});
    let fake = Fake::new([
        stream(&[delta(&json!({"content": "Saving."})), delta(&call), finish("tool_calls")]),
        stream(&[delta(&json!({"content": "Saved."})), finish("stop")]),
    ])
    .await;
    let rig = rig(&fake).await;
    let talk = rig.session("builtin:model").await;
    talk.send("note it").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    assert!(!rig.dir.path().join("notes").exists());
    assert_eq!(talk.approve(&log.approvals()[0], true).await, 204);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    assert_eq!(notes(&rig), [("Plan.md".to_owned(), "Do it".to_owned())]);
    assert_eq!(log.text(), "Saving.Saved.");
    let told = &fake.asked()[1]["messages"];
    assert_eq!(told[1]["content"], "Saving.");
    assert_eq!(told[2]["role"], "tool");
    assert!(told[2]["content"].as_str().unwrap().contains("saved"));

    // Denied: the model is told, nothing is written.
    let fake = Fake::new([
        stream(&[delta(&call), finish("tool_calls")]),
        stream(&[delta(&json!({"content": "Fine."})), finish("stop")]),
    ])
    .await;
    let rig = self::rig(&fake).await;
    let talk = rig.session("builtin:model").await;
    talk.send("note it").await;
    let log = talk.until("an approval", |log| log.ended() == 1).await;
    talk.approve(&log.approvals()[0], false).await;
    talk.until("the end", |log| log.ended() == 2).await;
    assert!(!rig.dir.path().join("notes").exists());
    assert!(fake.asked()[1]["messages"][2]["content"].as_str().unwrap().contains("denied"));
}

#[tokio::test]
async fn every_way_to_fail_ends_the_run_with_its_code() {
    let json_error = json!({"error": {"message": "model is on fire"}}).to_string();
    let half = delta(&json!({"content": "half"}));
    let cases: Vec<(Reply, &str)> = vec![
        (Reply::Whole(401, "application/json", json_error.clone()), "model_http_401"),
        (Reply::Whole(500, "text/html", "<html>".to_owned()), "model_http_500"),
        (sse(&[&half, &json_error]), "model_error"),
        (sse(&[&half]), "model_truncated"),
        (Reply::Break(format!("data: {half}\n\n")), "model_truncated"),
        (sse(&[&half, "{not json"]), "model_malformed"),
    ];
    for (reply, code) in cases {
        let (_, log) = ask([reply]).await;
        let (_, error) = log.find("RUN_ERROR").unwrap();
        assert_eq!(error["code"], code);
        assert!(!error.to_string().contains("k3y"));
        log.assert_gapless();
    }
}

#[tokio::test]
async fn odd_but_valid_answers_are_understood() {
    // A finish reason and no [DONE].
    let (_, log) = ask([sse(&[&delta(&json!({"content": "a"})), &finish("length")])]).await;
    assert_eq!(log.find("RUN_FINISHED").unwrap().1["finishReason"], "length");
    // No streaming at all.
    let whole =
        json!({"choices": [{"message": {"content": "all at once"}, "finish_reason": "stop"}]});
    let (_, log) = ask([Reply::Whole(200, "application/json", whole.to_string())]).await;
    assert_eq!(log.text(), "all at once");
    // A model without tools.
    let no_tools = json!({"error": {"message": "m1 does not support tools"}}).to_string();
    let (fake, log) = ask([
        Reply::Whole(400, "application/json", no_tools),
        stream(&[delta(&json!({"content": "plain"})), finish("stop")]),
    ])
    .await;
    assert_eq!(log.text(), "plain");
    assert!(fake.asked()[1].get("tools").is_none());
}

#[tokio::test]
async fn another_agents_question_is_a_users_to_the_model() {
    let model = Fake::new([stream(&[delta(&json!({"content": "four"})), finish("stop")])]).await;
    let asking = Fake::new([sse(&[
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"@oracle 2+2?"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#,
    ])])
    .await;
    let rig = rig(&model).await;
    let talk = rig.session(&asking.agent_url()).await;
    let oracle = json!({"id": "oracle", "endpoint": "builtin:model", "triggers": "mentions"});
    rig.post(&talk.path("/agents"), json!({"agents": [oracle]})).await;
    talk.send("go").await;
    talk.until("both answers", |log| log.ended() == 2).await;
    let told = model.asked()[0]["messages"].clone();
    let told: Vec<_> =
        told.as_array().unwrap().iter().map(|m| (&m["role"], &m["content"])).collect();
    assert_eq!(told, [(&json!("user"), &json!("go\n\n@oracle 2+2?"))], "one user's turn");
}

#[tokio::test]
async fn the_model_goes_on_when_all_of_its_questions_are_answered_also_across_a_restart() {
    let call = |n: usize| {
        json!({"tool_calls": [{"index": n, "id": format!("call_00000{n}"), "function":
        {"name": "save_note", "arguments": format!("{{\"title\":\"N{n}\",\"text\":\"t\"}}")}}]})
    };
    let calls: Vec<String> =
        (0..3).map(|n| delta(&call(n))).chain([finish("tool_calls")]).collect();
    let end = stream(&[delta(&json!({"content": "Done."})), finish("stop")]);
    let fake = Fake::new([stream(&calls), end]).await;
    let rig = rig(&fake).await;
    let talk = rig.session("builtin:model").await;
    talk.send("three notes").await;
    let log = talk.until("three questions", |log| log.ended() == 1).await;
    let approvals = log.approvals();
    assert_eq!(approvals.len(), 3);
    assert_eq!(talk.approve(&approvals[2], true).await, 204);
    assert_eq!(talk.approve(&approvals[0], false).await, 204);
    let model = Arc::new(config(&fake));
    let after = rig.crashed_copy(|server| server.agents.model = Some(model)).await;
    let talk = after.talk(&talk.id);
    assert_eq!(fake.asked().len(), 1, "one answer is missing");
    assert!(!after.dir.path().join("notes").exists());
    assert_eq!(talk.approve(&approvals[1], true).await, 204);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    log.assert_gapless();
    let names: Vec<String> = notes(&after).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["N1.md", "N2.md"]);
    let told = fake.asked()[1]["messages"].clone();
    let results = told.as_array().unwrap().iter().filter(|message| message["role"] == "tool");
    let results: Vec<&str> = results.map(|result| result["content"].as_str().unwrap()).collect();
    assert!(
        results[0].contains("denied") && results[1].contains("N1") && results[2].contains("N2")
    );
}

#[tokio::test]
async fn files_of_a_message_reach_the_model_texts_as_words_and_pictures_as_pictures() {
    let refusal = json!({"error": {"message": "this model does not support image input"}});
    let answer = |text: &str| stream(&[delta(&json!({"content": text})), finish("stop")]);
    let fake = Fake::new([
        answer("A cat."),
        Reply::Whole(400, "application/json", refusal.to_string()),
        answer("I cannot see it."),
    ])
    .await;
    let rig = rig(&fake).await;
    let talk = rig.session("builtin:model").await;
    let picture = "data:image/png;base64,iVBORw0KGgo=";
    let body = |content: &str| {
        json!({"content": content, "actorId": "ann", "files": [
            {"url": picture, "mediaType": "image/png", "filename": "cat.png"},
            {"url": "data:text/plain;base64,b25lCnR3bw==", "mediaType": "text/plain", "filename": "notes.txt"},
        ]})
    };
    let (status, _) = rig.post(&talk.path("/messages"), body("Look:")).await;
    assert_eq!(status, StatusCode::OK);
    let log = talk.until("the answer", |log| log.ended() == 1).await;
    let (_, said) = log.find("whole-message").unwrap();
    assert_eq!(said["message"]["parts"][1]["filename"], "cat.png");
    let words = "Look:\n\n[File: cat.png, image/png]\n\n```notes.txt\none\ntwo\n```";
    assert_eq!(
        fake.asked()[0]["messages"][0]["content"],
        json!([{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": picture}}])
    );

    // A message without words, and a model that looks at nothing.
    let (status, _) = rig.post(&talk.path("/messages"), body("")).await;
    assert_eq!(status, StatusCode::OK);
    talk.until("the second answer", |log| log.ended() == 2).await;
    let asked = fake.asked();
    assert_eq!(asked.len(), 3, "it was asked again without the picture");
    let last = asked[2]["messages"].as_array().unwrap().last().unwrap();
    assert!(last["content"].as_str().unwrap().starts_with("[File: cat.png"));
}

#[tokio::test]
async fn files_that_are_too_many_too_large_or_elsewhere_are_refused() {
    let fake = Fake::new([]).await;
    let rig = rig(&fake).await;
    let talk = rig.session("builtin:model").await;
    let file = |url: &str| json!({"url": url, "mediaType": "image/png", "filename": "a.png"});
    let large = format!("data:image/png;base64,{}", "A".repeat(360_000));
    for files in [
        vec![file("https://example.org/a.png")],
        vec![file("file:///etc/passwd")],
        vec![file(&large)],
        vec![file("data:,"); 9],
    ] {
        let body = json!({"content": "Look", "actorId": "ann", "files": files});
        let (status, problem) = rig.post(&talk.path("/messages"), body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    }
    assert_eq!(talk.items().await.iter().filter(|item| item["type"] == "chunk").count(), 0);
    assert!(fake.asked().is_empty());
}
