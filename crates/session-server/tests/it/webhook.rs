//! Webhook agents: every dialect as it came, a terminal always, and a request that all kinds of agents understand.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, Reply, sse},
    rig::{Log, Rig},
};

/// Texts of the chunks that the agent's rows hold.
fn teed(log: &Log) -> Vec<String> {
    log.items
        .iter()
        .filter(|item| item["type"] == "chunk" && item["value"]["actorId"] == "agent")
        .map(|item| item["value"]["chunk"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn chunks_of_every_dialect_are_written_as_they_came() {
    let dialects: [&[&str]; 3] = [
        &[
            r#"{"type":"content","delta":"Hi","content":"Hi","n":1.10}"#,
            r#"{"type":"done","finishReason":"stop"}"#,
        ],
        &[
            r#"{"z":1,"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
            r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Hi"}"#,
            r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#,
        ],
        &[
            r#"{"type":"start"}"#,
            r#"{"type":"text-delta","id":"1","delta":"Hi"}"#,
            r#"{"type":"finish"}"#,
        ],
    ];
    for chunks in dialects {
        let fake = Fake::new([sse(chunks)]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let log = talk.until("the end", |log| log.ended() == 1).await;
        assert_eq!(teed(&log), chunks);
        log.assert_gapless();
    }
}

#[tokio::test]
async fn any_framing_is_understood() {
    let body = "event: x\r\ndata:{\"type\":\"content\",\"delta\":\"a\"}\r\n\r\n: ping\n\
                {\"type\":\"content\",\"delta\":\"b\"}\ndata: nonsense\n\ndata: [DONE]\n\n\
                {\"type\":\"done\",\"finishReason\":\"stop\"}";
    let fake = Fake::new([Reply::Whole(200, "text/plain", body.to_owned())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    assert_eq!(teed(&log).len(), 3);
}

#[tokio::test]
async fn a_run_without_an_end_gets_one_in_its_dialect() {
    let cases = [
        (r#"{"type":"content","delta":"a"}"#, "done"),
        (r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"a"}"#, "RUN_FINISHED"),
        (r#"{"type":"text-delta","id":"1","delta":"a"}"#, "finish"),
    ];
    for (chunk, end) in cases {
        let fake = Fake::new([sse(&[chunk])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until(end, |log| log.count(end) == 1).await;
    }
}

#[tokio::test]
async fn a_failing_agent_ends_in_an_error() {
    let broken = Reply::Break("data: {\"type\":\"content\",\"delta\":\"a\"}\n\n".to_owned());
    let cases = [
        (Reply::Whole(500, "text/plain", "secret stack".to_owned()), "RUN_ERROR", "agent_http_500"),
        (broken, "error", "agent_disconnected"),
    ];
    for (reply, kind, code) in cases {
        let fake = Fake::new([reply]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let log = talk.until(kind, |log| log.count(kind) == 1).await;
        let (_, chunk) = log.find(kind).unwrap();
        let got = chunk.get("code").or_else(|| chunk.pointer("/error/code")).unwrap();
        assert_eq!(got, code);
        assert!(!chunk.to_string().contains("secret"));
    }
    let rig = Rig::new().await;
    let talk = rig.session("http://127.0.0.1:9/agent").await;
    talk.send("go").await;
    let log = talk.until("an error", |log| log.count("RUN_ERROR") == 1).await;
    assert_eq!(log.find("RUN_ERROR").unwrap().1["code"], "agent_unreachable");
}

#[tokio::test]
async fn an_agent_that_declines_writes_nothing() {
    let fake = Fake::new([
        Reply::Whole(204, "text/plain", String::new()),
        sse(&[r#"{"type":"done","finishReason":"stop"}"#]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("one").await;
    talk.send("two").await; // queued behind the first run
    let log = talk.until("the second run's end", |log| log.ended() == 1).await;
    assert_eq!(teed(&log).len(), 1);
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn the_request_is_upstreams_and_ag_uis_with_the_whole_conversation() {
    let fake = Fake::new([
        sse(&[
            r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
            r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"four"}"#,
            r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#,
        ]),
        sse(&[r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2"}"#]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    let agent = json!({
        "id": "agent", "endpoint": fake.agent_url(), "headers": {"x-key": "hush"},
        "bodyTemplate": {"temperature": 0, "stream": false},
    });
    let (status, _) = rig.post(&talk.path("/agents"), json!({"agents": [agent]})).await;
    assert_eq!(status, 200);
    let first = talk.send("2+2?").await;
    talk.until("the end", |log| log.ended() == 1).await;
    talk.send("sure?").await;
    talk.until("the second end", |log| log.ended() == 2).await;

    let asked = fake.asked();
    assert_eq!(asked[0]["temperature"], 0);
    assert_eq!(asked[0]["stream"], true, "ours wins over the template");
    assert_eq!(asked[0]["threadId"], talk.id);
    assert!(asked[0]["runId"].is_string());
    assert_eq!((&asked[0]["tools"], &asked[0]["context"]), (&json!([]), &json!([])));
    assert_eq!(asked[0]["messages"], json!([{"id": first, "role": "user", "content": "2+2?"}]));
    let said: Vec<&Value> = asked[1]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["content"])
        .collect();
    assert_eq!(said, ["2+2?", "four", "sure?"]);
    assert_eq!(fake.asked_headers()[0]["x-key"], "hush");

    // The secret is nowhere else.
    assert!(!serde_json::to_string(&talk.items().await).unwrap().contains("hush"));
    let (_, agents) = rig.get(&talk.path("/agents")).await;
    assert!(!agents.to_string().contains("hush"));
    assert_eq!(agents["agents"][0]["id"], "agent");
}

#[tokio::test]
async fn an_approval_resumes_the_agent_with_what_was_decided() {
    let fake = Fake::new([
        sse(&[
            r#"{"type":"RUN_STARTED","threadId":"t","runId":"r1"}"#,
            r#"{"type":"TOOL_CALL_START","toolCallId":"c1","toolCallName":"rm"}"#,
            r#"{"type":"TOOL_CALL_START","toolCallId":"c2","toolCallName":"look"}"#,
            r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r1","outcome":{"type":"interrupt","interrupts":[
                {"id":"i1","reason":"approval_required","toolCallId":"c1","metadata":{"kind":"approval"}},
                {"id":"i2","reason":"client_tool_input","toolCallId":"c2","metadata":{"kind":"client_tool"}}]}}"#
                .replace('\n', " ")
                .leak(),
        ]),
        sse(&[
            r#"{"type":"RUN_STARTED","threadId":"t","runId":"r2"}"#,
            r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r2"}"#,
        ]),
    ])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the interrupt", |log| log.ended() == 1).await;
    assert_eq!(talk.approve("i1", true).await, 204);
    assert_eq!(fake.asked().len(), 1, "the other answer is missing");
    let result = json!({"toolCallId": "c2", "output": {"seen": 3}, "actorId": "ann"});
    let path = talk.path("/tool-results");
    assert_eq!(rig.post(&path, result.clone()).await.0, 204);
    let log = talk.until("the end", |log| log.ended() == 2).await;
    assert_eq!(log.count("TOOL_CALL_RESULT"), 1);

    let asked = &fake.asked()[1];
    assert_eq!(asked["parentRunId"], "r1");
    let resume = asked["resume"].as_array().unwrap();
    assert_eq!(resume[0]["interruptId"], "i1");
    assert_eq!(resume[0]["payload"], json!({"approved": true}));
    assert_eq!(resume[1]["interruptId"], "i2");
    assert_eq!(resume[1]["payload"], json!({"seen": 3}));
    // All in one message, each row once.
    let ids: std::collections::HashSet<_> = log
        .items
        .iter()
        .filter(|item| item["type"] == "chunk")
        .map(|item| item["value"]["messageId"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    log.assert_gapless();

    // Retries and contradictions.
    assert_eq!(rig.post(&path, result).await.0, 204);
    let other = json!({"toolCallId": "c2", "output": {"seen": 4}});
    assert_eq!(rig.post(&path, other).await.0, 409);
    let unknown = json!({"toolCallId": "nope", "output": 1});
    assert_eq!(rig.post(&path, unknown).await.0, 404);
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_unless_allowed() {
    let fake = Fake::new([sse(&[r#"{"type":"done","finishReason":"stop"}"#])]).await;
    let rig = Rig::with(|config| config.allow_private_agents = false).await;
    let path = "/v1/sessions/s/agents";
    for host in ["127.0.0.1", "[::1]", "2130706433", "localhost", "169.254.169.254", "10.0.0.1"] {
        let endpoint = format!("http://{host}:{}/agent", fake.addr.port());
        let body = json!({"agents": [{"id": "a", "endpoint": endpoint}]});
        let (status, body) = rig.post(path, body).await;
        assert_eq!(
            (status.as_u16(), body["code"].as_str()),
            (400, Some("AGENT_REFUSED")),
            "{host}"
        );
    }
    let inline = json!({"content": "x", "agent": {"id": "a", "endpoint": fake.agent_url()}});
    assert_eq!(rig.post("/v1/sessions/s/messages", inline).await.0, 400);
    assert_eq!(rig.get("/v1/sessions/s").await.0, 404, "nothing was made");
    assert_eq!(fake.asked().len(), 0);

    let origin = url::Url::parse(&format!("http://{}", fake.addr)).unwrap();
    let rig = Rig::with(|config| {
        config.allow_private_agents = false;
        config.allowed_agent_origins = vec![origin];
    })
    .await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the end", |log| log.ended() == 1).await;
}

#[tokio::test]
async fn a_redirect_to_another_private_origin_is_not_followed() {
    let inner = Fake::new([sse(&[r#"{"type":"done"}"#])]).await;
    let outer = Fake::new([Reply::Redirect(inner.agent_url())]).await;
    let origin = url::Url::parse(&format!("http://{}", outer.addr)).unwrap();
    let rig = Rig::with(|config| {
        config.allow_private_agents = false;
        config.allowed_agent_origins = vec![origin];
    })
    .await;
    let talk = rig.session(&outer.agent_url()).await;
    talk.send("go").await;
    let log = talk.until("an error", |log| log.count("RUN_ERROR") == 1).await;
    assert_eq!(log.find("RUN_ERROR").unwrap().1["code"], "agent_refused");
    assert_eq!(inner.asked().len(), 0);
}

#[tokio::test]
async fn an_inline_agent_answers_and_is_not_registered() {
    let fake = Fake::new([sse(&[r#"{"type":"done","finishReason":"stop"}"#])]).await;
    let rig = Rig::new().await;
    let (status, _) = rig.call(Method::PUT, "/v1/sessions/s", json!({})).await;
    assert_eq!(status, 200);
    let body = json!({"content": "x", "agent": {"id": "agent", "endpoint": fake.agent_url()}});
    assert_eq!(rig.post("/v1/sessions/s/messages", body).await.0, 200);
    let talk = rig.talk("s");
    let log = talk.until("the end", |log| log.ended() == 1).await;
    assert!(log.items.iter().all(|item| item["type"] == "chunk"));
    assert_eq!(rig.get("/v1/sessions/s/agents").await.1["agents"], json!([]));
}

#[tokio::test]
async fn an_agent_that_is_done_is_free_although_its_connection_stays_open() {
    let done = r#"data: {"type":"done","finishReason":"stop"}"#;
    let word = r#"data: {"type":"content","delta":"x"}"#;
    for end in [format!("{word}\n\n{done}\n\n"), format!("{word}\n\ndata: [DONE]\n\n")] {
        let fake =
            Fake::new([Reply::Hang(end), sse(&[r#"{"type":"done","finishReason":"stop"}"#])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("first").await;
        talk.send("second").await;
        talk.until("both ends", |log| log.ended() == 2).await;
    }
}

#[tokio::test]
async fn whatever_an_agent_sends_its_run_has_an_end_in_the_log() {
    for (kind, body, end) in [
        (
            "text/event-stream",
            "data: {\"type\":\"STATE_SNAPSHOT\",\"snapshot\":{}}\n\n",
            "RUN_FINISHED",
        ),
        (
            "text/event-stream",
            "data: {\"type\":\"message-metadata\",\"messageMetadata\":{}}\n\n",
            "RUN_FINISHED",
        ),
        ("text/event-stream", "data: {\"foo\":1}\n\n", "RUN_FINISHED"),
        ("text/html", "<html>\n<p>Sign in</p>\n</html>\n", "RUN_ERROR"),
        ("application/json", "[1,2]", "RUN_ERROR"),
    ] {
        let fake = Fake::new([Reply::Whole(200, kind, body.to_owned())]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let log = talk.until(body, |log| log.ended() == 1).await;
        assert_eq!(log.count(end), 1, "{body}");
    }
}

#[tokio::test]
async fn the_servers_end_of_a_run_names_it_as_its_agent_did() {
    let fake = Fake::new([sse(&[
        r#"{"type":"RUN_STARTED","threadId":"their-thread","runId":"their-run"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"half"}"#,
    ])])
    .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let log = talk.until("the end", |log| log.ended() == 1).await;
    let (_, end) = log.find("RUN_FINISHED").unwrap();
    assert_eq!((&end["threadId"], &end["runId"]), (&json!("their-thread"), &json!("their-run")));
}

#[tokio::test]
async fn a_template_and_headers_say_what_the_server_leaves_open() {
    let fake = Fake::new([sse(&[r#"{"type":"done","finishReason":"stop"}"#])]).await;
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let template = json!({"tools": [{"name": "x"}], "context": [1], "state": {"a": 1},
        "forwardedProps": {"m": 2}, "temperature": 0, "stream": false, "messages": [], "threadId": "t"});
    let agent = json!({"id": "a", "endpoint": fake.agent_url(), "bodyTemplate": template,
        "headers": {"Content-Type": "application/json; charset=utf-8"}});
    assert_eq!(rig.post(&talk.path("/agents"), json!({"agents": [agent]})).await.0, 200);
    talk.send("go").await;
    talk.until("the end", |log| log.ended() == 1).await;
    let asked = &fake.asked()[0];
    for (field, value) in [
        ("tools", json!([{"name": "x"}])),
        ("context", json!([1])),
        ("state", json!({"a": 1})),
        ("forwardedProps", json!({"m": 2})),
        ("temperature", json!(0)),
        ("stream", json!(true)),
        ("threadId", json!("s")),
    ] {
        assert_eq!(asked[field], value, "{field}");
    }
    assert_eq!(asked["messages"].as_array().unwrap().len(), 1);
    let headers = &fake.asked_headers()[0];
    let kinds: Vec<_> = headers.get_all("content-type").iter().collect();
    assert_eq!(kinds, ["application/json; charset=utf-8"]);
    for (name, value) in
        [("Host", "x"), ("Content-Length", "5"), ("bad header", "x"), ("x", "a\nb")]
    {
        let agent = json!({"id": "b", "endpoint": fake.agent_url(), "headers": {name: value}});
        assert_eq!(
            rig.post(&talk.path("/agents"), json!({"agents": [agent]})).await.0,
            400,
            "{name}"
        );
    }
}
