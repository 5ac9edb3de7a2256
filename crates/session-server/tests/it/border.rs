//! The border to agents and models: what they send is bounded, and reaches nobody that it is not for.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, http::header, middleware, response::Response};
use durable_streams_server::{Config, InMemoryStorage, build_router};
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use session_server::{ModelConfig, ServerConfig, StreamsBackend};
use tokio::sync::watch;

use crate::{
    fake::{Fake, Reply, sse},
    model::{delta, finish, stream},
    rig::{DEADLINE, Log, Rig, Talk},
};

/// Serves a router on a free port until it is dropped.
struct Served {
    addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn served(app: Router) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    Served { addr, task: tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }) }
}

/// Answers everything with the same piece again and again; counts the pieces that were taken.
async fn endless(start: &'static str, piece: String) -> (Served, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let app =
        Router::new().fallback(move || {
            let (piece, counted) = (piece.clone(), Arc::clone(&counted));
            let pieces = futures::stream::repeat_with(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::io::Error>(piece.clone())
            });
            let body = futures::stream::iter([Ok(start.to_owned())]).chain(pieces);
            let kind = (header::CONTENT_TYPE, "text/event-stream");
            async move {
                Response::builder().header(kind.0, kind.1).body(Body::from_stream(body)).unwrap()
            }
        });
    (served(app).await, taken)
}

fn model(config: &mut ServerConfig, addr: SocketAddr) {
    config.agents.model = Some(Arc::new(ModelConfig {
        base_url: format!("http://{addr}/v1").parse().unwrap(),
        model: "m1".to_owned(),
        api_key: None,
    }));
}

fn says(text: &str) -> Reply {
    stream(&[delta(&json!({"content": text})), finish("stop")])
}

async fn end(talk: &Talk<'_>) -> Log {
    talk.until("the end", |log| log.ended() == 1).await
}

fn code(log: &Log) -> Value {
    let (_, error) = log.find("RUN_ERROR").expect("the run failed");
    error["code"].clone()
}

#[tokio::test]
async fn agents_that_begin_an_object_and_do_not_end_it_keep_nobody_waiting() {
    let short = "data: {\"a\":[1,\n".repeat(180_000);
    let long = format!("data: {{\"a\":\"{}\",\n", "x".repeat(16)).repeat(90_000);
    for (body, code) in [(short, "chunk_too_large"), (long, "agent_malformed")] {
        let fake = Fake::new([Reply::Whole(200, "text/event-stream", body)]).await;
        let rig = Rig::new().await;
        let talks = [rig.session(&fake.agent_url()).await, rig.session(&fake.agent_url()).await];
        for talk in &talks {
            talk.send("go").await;
        }
        let asked = Instant::now();
        assert_eq!(rig.get("/healthz").await.0, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        for talk in &talks {
            assert_eq!(self::code(&end(talk).await), code);
        }
    }
}

#[tokio::test]
async fn what_an_agent_says_waits_in_bytes() {
    // A stream server that takes nothing more once the run goes.
    let (open, is_open) = watch::channel(true);
    let storage = Arc::new(InMemoryStorage::new(100 << 20, 10 << 20));
    let gate = middleware::from_fn(move |request: Request, next: middleware::Next| {
        let mut is_open = is_open.clone();
        async move {
            if request.method() == Method::POST {
                is_open.wait_for(|is_open| *is_open).await.unwrap();
            }
            next.run(request).await
        }
    });
    let streams = served(build_router(storage, &Config::default()).layer(gate)).await;
    let url = format!("http://{}/v1/stream", streams.addr).parse().unwrap();
    let chunk = json!({"type": "CUSTOM", "name": "x", "value": "x".repeat(1 << 20)});
    let (agent, taken) = endless("", format!("data: {chunk}\n\n")).await;
    let rig = Rig::with(|config| {
        config.streams = StreamsBackend::Remote(url);
        config.limits.held_bytes_each = 8 << 20;
    })
    .await;
    let talk = rig.session(&format!("http://{}/agent", agent.addr)).await;
    talk.send("go").await;
    talk.until("a chunk", |log| log.count("CUSTOM") > 0).await;
    open.send_replace(false);
    let (deadline, before) =
        (Instant::now() + Duration::from_secs(3), taken.load(Ordering::SeqCst));
    let mut most = 0;
    while Instant::now() < deadline {
        let metrics = rig.request(Method::GET, "/metrics").send().await.unwrap();
        let text = metrics.text().await.unwrap();
        let held = text.lines().find_map(|line| line.strip_prefix("threadkeep_held_bytes "));
        most = most.max(held.unwrap().parse::<usize>().unwrap());
    }
    let more = taken.load(Ordering::SeqCst) - before;
    assert!(more < 24, "the agent could say {more} MiB that were not taken");
    assert!((1..=8 << 20).contains(&most), "{most}");
    open.send_replace(true);
    rig.post(&talk.path("/stop"), json!({})).await;
    end_of(&rig, &talk).await;
}

/// Waits until nothing is held for anybody.
async fn end_of(rig: &Rig, talk: &Talk<'_>) {
    talk.until("a stop", |log| log.rests()).await;
    let none = async {
        loop {
            let metrics = rig.request(Method::GET, "/metrics").send().await.unwrap();
            if metrics.text().await.unwrap().contains("\nthreadkeep_held_bytes 0\n") {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, none).await.expect("what is held is given back");
}

#[tokio::test]
async fn a_model_that_does_not_end_what_it_says_is_cut_off() {
    let call = |arguments: &str| {
        json!({"tool_calls": [{"index": 0, "id": "call_000001", "function":
            {"name": "save_note", "arguments": arguments}}]})
    };
    let text = format!("data: {}\n\n", delta(&json!({"content": "x".repeat(4096)})));
    let thought = format!("data: {}\n\n", delta(&json!({"reasoning": "x".repeat(4096)})));
    let arguments = format!("data: {}\n\n", delta(&call(&"x".repeat(4096))));
    let cases: [(&str, String); 5] = [
        ("data: {\"choices\":[{\"delta\":{\"content\":\"", "x".repeat(4096)), // a line
        ("", "data: {\"choices\":[\n".to_owned()),                            // an event
        ("", arguments),
        ("", text),
        ("", thought),
    ];
    for (start, piece) in cases {
        let (served, _taken) = endless(start, piece).await;
        let rig = Rig::with(|config| {
            model(config, served.addr);
            config.limits.chunk_bytes = 256 << 10;
            config.limits.arguments_bytes = 64 << 10;
            config.limits.history_bytes = 256 << 10;
            config.limits.answer_bytes = 1 << 20;
        })
        .await;
        let talk = rig.session("builtin:model").await;
        talk.send("go").await;
        assert_eq!(code(&end(&talk).await), "too_large", "{start}");
        end_of(&rig, &talk).await;
    }
}

#[tokio::test]
async fn an_agent_that_does_not_end_its_answer_is_cut_off() {
    let chunk = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"and on "}"#;
    let (agent, _taken) = endless("", format!("data: {chunk}\n\n")).await;
    let rig = Rig::with(|config| config.limits.answer_bytes = 32 << 10).await;
    let talk = rig.session(&format!("http://{}/agent", agent.addr)).await;
    talk.send("go").await;
    assert_eq!(code(&end(&talk).await), "answer_too_large");
}

#[tokio::test]
async fn agents_get_the_newest_messages_of_a_session_that_is_longer_than_they_are_given() {
    let fake = Fake::new([sse(&[
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"ok"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#,
    ])])
    .await;
    let models = Fake::new([says("ok")]).await;
    let rig = Rig::with(|config| {
        model(config, models.addr);
        config.limits.history_bytes = 1 << 20;
    })
    .await;
    let talk = rig.session(&fake.agent_url()).await;
    let builtin = json!({"id": "model", "endpoint": "builtin:model"});
    rig.post(&talk.path("/agents"), json!({"agents": [builtin]})).await;
    let long = |n: usize| format!("{n} {}", "long ".repeat(100_000));
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(talk.send(&if n == 0 { "short".to_owned() } else { long(n) }).await);
        talk.until("two answers", |log| log.ended() == 2 * (n + 1) && log.rests()).await;
    }
    let contents = |asked: &Value| -> Vec<String> {
        let messages = asked["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["content"].as_str().unwrap().chars().take(5).collect())
            .collect()
    };
    for fake in [&fake, &models] {
        let asked = fake.asked();
        assert_eq!(contents(&asked[0]), ["short"]);
        let last = &asked[3];
        assert!(last.to_string().len() < 3 << 19, "{}", last.to_string().len());
        assert_eq!(last["messages"][0]["role"], "system", "a note");
        assert!(contents(last).ends_with(&["3 lon".to_owned()]), "{:?}", contents(last));
        assert!(!contents(last).contains(&"short".to_owned()));
    }
    // A message of the beginning is answered as it was said, and with what was there then.
    let again = json!({"fromMessageId": ids[0], "actorId": "ann"});
    assert_eq!(rig.post(&talk.path("/regenerate"), again).await.0, 200);
    talk.until("two more answers", |log| log.ended() == 10 && log.rests()).await;
    assert_eq!(contents(&fake.asked()[4]), ["short"]);
    // What is longer than an agent is given cannot be answered, and says so.
    talk.send(&"x".repeat(2 << 20)).await;
    let log = talk.until("two failures", |log| log.ended() == 12 && log.rests()).await;
    assert_eq!(code(&log), "history_too_large");
    end_of(&rig, &talk).await;
}

#[tokio::test]
async fn a_model_that_gives_two_calls_one_id_is_asked_about_both_and_what_is_approved_runs() {
    let note = |title: &str| json!({"title": title, "text": title}).to_string();
    let call = |index: Option<usize>, title: &str| {
        let mut call = json!({"id": "call_000001", "type": "function",
            "function": {"name": "save_note", "arguments": note(title)}});
        if let Some(index) = index {
            call["index"] = index.into();
        }
        call
    };
    let apart = vec![
        delta(&json!({"tool_calls": [call(Some(0), "A")]})),
        delta(&json!({"tool_calls": [call(Some(1), "B")]})),
        finish("tool_calls"),
    ];
    let unnumbered = vec![
        delta(&json!({"tool_calls": [call(None, "A")]})),
        delta(&json!({"tool_calls": [call(None, "B")]})),
        finish("tool_calls"),
    ];
    let whole = json!({"choices": [{"finish_reason": "tool_calls",
        "message": {"tool_calls": [call(None, "A"), call(None, "B")]}}]});
    let whole = Reply::Whole(200, "application/json", whole.to_string());
    for first in [stream(&apart), stream(&unnumbered), whole] {
        let fake = Fake::new([first, says("Saved.")]).await;
        let rig = Rig::with(|config| model(config, fake.addr)).await;
        let talk = rig.session("builtin:model").await;
        talk.send("two notes").await;
        let approvals = end(&talk).await.approvals();
        assert_eq!(approvals.len(), 2);
        assert_ne!(approvals[0], approvals[1]);
        assert_eq!(talk.approve(&approvals[0], false).await, 204);
        assert_eq!(talk.approve(&approvals[1], true).await, 204);
        talk.until("the end", |log| log.ended() == 2).await;
        assert_eq!(notes(&rig), [("B.md".to_owned(), "B".to_owned())]);
        let told = fake.asked()[1]["messages"].clone();
        let calls = told[1]["tool_calls"].as_array().unwrap();
        assert_ne!(calls[0]["id"], calls[1]["id"]);
    }
}

/// The names and texts of all notes, whatever folder they are in.
pub fn notes(rig: &Rig) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(rig.dir.path().join("notes")).unwrap() {
        for note in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let note = note.unwrap();
            let text = std::fs::read_to_string(note.path()).unwrap();
            found.push((note.file_name().into_string().unwrap(), text));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_note_overwrites_no_other_note_of_this_or_another_session() {
    let save = |text: &str| {
        let arguments = json!({"title": "Plan", "text": text}).to_string();
        stream(&[
            delta(&json!({"tool_calls": [{"index": 0, "id": "call_000001", "function":
                {"name": "save_note", "arguments": arguments}}]})),
            finish("tool_calls"),
        ])
    };
    let fake =
        Fake::new([save("one"), says("."), save("two"), says("."), save("three"), says(".")]).await;
    let rig = Rig::with(|config| model(config, fake.addr)).await;
    let talks = [rig.session("builtin:model").await, rig.session("builtin:model").await];
    for (talk, runs) in [(&talks[0], 0), (&talks[0], 2), (&talks[1], 0)] {
        talk.send("save").await;
        let log = talk.until("an approval", |log| log.ended() == runs + 1).await;
        assert_eq!(talk.approve(log.approvals().last().unwrap(), true).await, 204);
        talk.until("a note", |log| log.ended() == runs + 2 && log.rests()).await;
    }
    let found = [("Plan-2.md", "two"), ("Plan.md", "one"), ("Plan.md", "three")];
    assert_eq!(notes(&rig), found.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let told = fake.asked()[3]["messages"].to_string();
    assert!(told.contains("Plan-2.md"), "{told}");
}

#[tokio::test]
async fn a_models_redirects_stay_with_its_server() {
    let other = Fake::new([says("from elsewhere")]).await;
    for to in [
        format!("{}/chat/completions", other.model_url()),
        format!("http://localhost:{}/v1/chat/completions", other.addr.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let fake = Fake::new([Reply::Redirect(to.clone())]).await;
        let rig = Rig::with(|config| model(config, fake.addr)).await;
        let talk = rig.session("builtin:model").await;
        talk.send("go").await;
        assert_eq!(code(&end(&talk).await), "model_redirected", "{to}");
        assert_eq!(fake.asked().len(), 1);
    }
    assert_eq!(other.asked().len(), 0);

    let fake = Fake::new([Reply::Redirect("/v1/chat/completions".to_owned()), says("here")]).await;
    let rig = Rig::with(|config| model(config, fake.addr)).await;
    let talk = rig.session("builtin:model").await;
    talk.send("go").await;
    assert_eq!(end(&talk).await.text(), "here");
    assert_eq!(fake.asked()[1], fake.asked()[0]);
}
