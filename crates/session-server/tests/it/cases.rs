//! What models' servers and agents were seen to send, from `tests/cases`: each body whole, in pieces of three bytes and byte
//! by byte.
//!
//! A folder holds the bodies, `case.json` (what is said, what refuses which requests, with what each is answered) and
//! `expect.json` (what a person sees then).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::Response,
    routing::post,
};
use futures::StreamExt;
use serde_json::{Value, json};
use session_protocol::materialize;
use session_server::{BoxFuture, ModelConfig, ModelSettings};

use crate::rig::Rig;

/// Refuses a request.
pub type Guard = fn(&Value) -> Option<(u16, Value)>;

/// What is said, what it is answered with, and what a person sees then.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub say: Vec<String>,
    pub guards: Vec<Guard>,
    /// Status, content type and body of each answer; the last one again and again.
    pub replies: Vec<(u16, String, Vec<u8>)>,
    pub expect: Value,
    /// Bytes of the pieces that bodies come in, one play each; 0 is whole.
    pub cuts: &'static [usize],
}

/// How cases from files are cut.
const CUTS: &[usize] = &[0, 3, 1];

/// What became of a case.
pub struct Seen {
    pub session: Value,
    pub asked: Vec<Value>,
}

fn messages(body: &Value) -> &[Value] {
    body["messages"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn calls(body: &Value) -> impl Iterator<Item = &Value> {
    messages(body).iter().filter_map(|message| message["tool_calls"].as_array()).flatten()
}

pub fn alternate(body: &Value) -> Option<(u16, Value)> {
    let neighbours = messages(body).windows(2).any(|two| {
        two[0]["role"] == two[1]["role"]
            && ["user", "assistant"].contains(&two[0]["role"].as_str().unwrap())
    });
    let error = json!({"error": {"message": "Conversation roles must alternate user/assistant"}});
    neighbours.then_some((400, error))
}

pub fn reasoning_echo(body: &Value) -> Option<(u16, Value)> {
    let lacks = messages(body).iter().any(|message| {
        message["tool_calls"].is_array()
            && message["reasoning_content"].as_str().unwrap_or_default().is_empty()
    });
    lacks.then(|| (400, json!({"error": {"message": "an assistant message with tool calls lacks its reasoning_content"}})))
}

pub fn thought_signature(body: &Value) -> Option<(u16, Value)> {
    let lacks = calls(body).any(|call| {
        call.pointer("/extra_content/google/thought_signature")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
    });
    lacks.then(|| (400, json!([{"error": {"code": 400, "message": "a function call came back without its thought_signature"}}])))
}

pub fn no_tools(body: &Value) -> Option<(u16, Value)> {
    let error =
        json!({"error": {"message": "no endpoint of this model supports tool use", "code": 404}});
    body.get("tools").map(|_| (404, error))
}

pub fn no_stream_options(body: &Value) -> Option<(u16, Value)> {
    let detail = json!([{"type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"], "msg": "this input is not permitted"}]);
    let error =
        json!({"object": "error", "message": {"detail": detail}, "type": "invalid_request_error"});
    body.get("stream_options").map(|_| (422, error))
}

fn guard(name: &str) -> Guard {
    match name {
        "alternate" => alternate,
        "reasoning-echo" => reasoning_echo,
        "thought-signature" => thought_signature,
        "no-tools-404" => no_tools,
        "no-stream-options-422" => no_stream_options,
        other => panic!("no guard {other}"),
    }
}

/// What a fake endpoint was asked, and how it cuts its answers.
#[derive(Default)]
struct State {
    cut: usize,
    asked: Vec<Value>,
    served: usize,
}

/// An endpoint that answers as the case says.
async fn endpoint(case: &Case, state: &Arc<Mutex<State>>) -> String {
    let (case, state) = (case.clone(), Arc::clone(state));
    let answer = move |body: Bytes| {
        let mut state = state.lock().unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let refusal = case.guards.iter().find_map(|guard| guard(&body));
        state.asked.push(body);
        let (status, kind, body) = match refusal {
            Some((status, error)) => {
                (status, "application/json".to_owned(), error.to_string().into_bytes())
            }
            None => {
                state.served += 1;
                case.replies[(state.served - 1).min(case.replies.len() - 1)].clone()
            }
        };
        let size = if state.cut == 0 { body.len().max(1) } else { state.cut };
        let pieces: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
        let pieces = futures::stream::iter(pieces).then(|piece| async {
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(piece)
        });
        let answer = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from_stream(pieces));
        async { answer.unwrap() }
    };
    let app = Router::new()
        .route("/v1/chat/completions", post(answer.clone()))
        .route("/agent", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

/// The model agent's settings, which change from case to case.
struct Settings(Mutex<ModelConfig>);

impl ModelSettings for Settings {
    fn load(&self) -> BoxFuture<'_, Result<ModelConfig, String>> {
        let config = self.0.lock().unwrap().clone();
        Box::pin(async { Ok(config) })
    }
}

/// A server on which cases are played, one after the other.
pub struct Stage {
    rig: Rig,
    settings: Arc<Settings>,
}

impl Stage {
    pub async fn new() -> Self {
        let base_url = "http://127.0.0.1:9/v1".parse().unwrap();
        let config = ModelConfig { base_url, model: "m1".to_owned(), api_key: None };
        let settings = Arc::new(Settings(Mutex::new(config)));
        let model = Arc::clone(&settings);
        let rig = Rig::with(|server| server.agents.model = Some(model)).await;
        Self { rig, settings }
    }

    /// Plays a case with the model agent.
    pub async fn model(&self, case: Case) -> Seen {
        self.play(&case, true).await
    }

    /// Plays a case with the model agent and an endpoint that refuses.
    pub async fn guarded(&self, guards: &[Guard], mut case: Case) -> Seen {
        case.guards = guards.to_vec();
        self.play(&case, true).await
    }

    /// Plays a case with an agent behind a URL.
    pub async fn webhook(&self, case: Case) -> Seen {
        self.play(&case, false).await
    }

    /// Plays a case at every cut and looks at what a person sees. Gives what became of it uncut.
    async fn play(&self, case: &Case, is_model: bool) -> Seen {
        let state = Arc::new(Mutex::new(State::default()));
        let origin = endpoint(case, &state).await;
        self.settings.0.lock().unwrap().base_url = format!("{origin}/v1").parse().unwrap();
        let mut first = None;
        for cut in case.cuts.iter().copied() {
            *state.lock().unwrap() = State { cut, ..State::default() };
            let agent =
                if is_model { "builtin:model".to_owned() } else { format!("{origin}/agent") };
            let talk = self.rig.session(&agent).await;
            for (n, say) in case.say.iter().enumerate() {
                talk.send(say).await;
                talk.until(&case.name, |log| log.ended() > n && log.rests()).await;
            }
            let items = talk.items().await;
            let session = serde_json::to_value(materialize(&items)).unwrap();
            let seen = Seen { session, asked: state.lock().unwrap().asked.clone() };
            let wrong = wrong(case, &seen);
            let messages = &seen.session["messages"];
            assert!(wrong.is_empty(), "{}, cut {cut}: {wrong:#?}\n{messages:#}", case.name);
            first.get_or_insert(seen);
        }
        first.unwrap()
    }
}

/// The part's text, however it is called.
fn text<'a>(parts: &[&'a Value], kinds: &[&str]) -> String {
    let of_kind = parts.iter().filter(|part| kinds.contains(&part["type"].as_str().unwrap()));
    let text = of_kind.map(|part: &&'a Value| part["text"].as_str().unwrap_or_default());
    text.collect()
}

/// What is not as expected.
fn wrong(case: &Case, seen: &Seen) -> Vec<String> {
    let expect = case.expect.as_object().unwrap();
    let mut wrong = Vec::new();
    let mut same = |what: &str, got: Value, want: &Value| {
        if got != *want {
            wrong.push(format!("{what}: {got}, want {want}"));
        }
    };
    let all = seen.session["messages"].as_array().unwrap();
    let answers: Vec<&Value> =
        all.iter().filter(|message| message["role"] == "assistant").collect();
    let parts: Vec<&Value> = answers.iter().flat_map(|m| m["parts"].as_array().unwrap()).collect();
    let errors: Vec<&str> = answers.iter().filter_map(|m| m["error"]["message"].as_str()).collect();
    let strip = expect.contains_key("strip");
    let words = |text: String| if strip { text.trim().to_owned() } else { text };
    let tools = parts.iter().filter(|part| part["type"] == "tool-call");
    let tools: Vec<Value> =
        tools.map(|call| json!([call["name"], call["input"], call["state"]])).collect();
    let pending = seen.session["pendingApprovals"].as_array().unwrap();
    for (what, want) in expect {
        match what.as_str() {
            "text" => same(what, words(text(&parts, &["text"])).into(), want),
            "reasoning" => same(what, words(text(&parts, &["reasoning", "thinking"])).into(), want),
            "error" => same(what, errors.first().copied().into(), want),
            "last_error" => same(what, answers.last().unwrap()["error"].clone(), want),
            "error_has" => {
                let has = errors.iter().any(|error| error.contains(want.as_str().unwrap()));
                same(what, if has { want.clone() } else { json!(errors) }, want);
            }
            "tools" => same(what, tools.clone().into(), want),
            "usage" => {
                let used = answers.iter().map(|m| &m["usage"]).find(|usage| !usage.is_null());
                let used = used.cloned().unwrap_or_default();
                for (name, want) in want.as_object().unwrap() {
                    same(name, used[name].clone(), want);
                }
            }
            "no_approval" => same(what, pending.len().into(), &json!(0)),
            "asks_for" => {
                let asks: Vec<Value> =
                    pending.iter().map(|ask| json!([ask["toolName"], ask["input"]])).collect();
                same(what, asks.into(), &json!([want]));
            }
            "unique_call_ids_asked" => {
                let mut ids: Vec<&str> = calls(seen.asked.last().unwrap())
                    .map(|call| call["id"].as_str().unwrap())
                    .collect();
                let all = ids.len();
                ids.sort_unstable();
                ids.dedup();
                same(what, ids.len().into(), &all.into());
            }
            // Not of what a person sees: how many requests there were.
            "requests" => same(what, seen.asked.len().into(), want),
            "strip" => {}
            other => panic!("{}: what is {other}?", case.name),
        }
    }
    // Ids are one call's in a whole session.
    let mut ids: Vec<&str> = parts
        .iter()
        .filter(|part| part["type"] == "tool-call")
        .map(|call| call["id"].as_str().unwrap())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    same("ids", ids.len().into(), &count.into());
    let last = seen.asked.last().unwrap();
    same(
        "last request refused",
        case.guards.iter().any(|guard| guard(last).is_some()).into(),
        &json!(false),
    );
    wrong
}

fn folders(kind: &str) -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let folders = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> =
        folders.filter(|path| path.to_str().unwrap().contains(&format!("-{kind}-"))).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap())
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_models_were_seen_to_send_is_read() {
    let stage = Stage::new().await;
    for folder in folders("model") {
        let case = read(&folder, "case.json");
        let replies = case["replies"].as_array().unwrap().iter().map(|reply| {
            let body = std::fs::read(folder.join(reply["file"].as_str().unwrap())).unwrap();
            let status = reply["status"].as_u64().unwrap().try_into().unwrap();
            (status, reply["type"].as_str().unwrap().to_owned(), body)
        });
        let case = Case {
            name: name(&folder),
            say: words(&case["say"]).map(str::to_owned).collect(),
            guards: words(&case["guards"]).map(guard).collect(),
            replies: replies.collect(),
            expect: read(&folder, "expect.json"),
            cuts: CUTS,
        };
        stage.model(case).await;
    }
}

#[tokio::test]
async fn what_agents_were_seen_to_send_is_read() {
    let stage = Stage::new().await;
    for folder in folders("webhook") {
        let kind = read(&folder, "case.json")["type"].as_str().unwrap().to_owned();
        let case = Case {
            name: name(&folder),
            say: vec!["Hello".to_owned()],
            guards: Vec::new(),
            replies: vec![(200, kind, std::fs::read(folder.join("answer.sse")).unwrap())],
            expect: read(&folder, "expect.json"),
            cuts: CUTS,
        };
        stage.webhook(case).await;
    }
}
