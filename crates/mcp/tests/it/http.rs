//! A server over HTTP that does what servers were seen to do.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use mcp::{Era, Error, Target};
use serde_json::{Value, json};

use crate::{connect, done, words};

#[derive(Clone, Default)]
struct Served {
    modern: bool,
    heard: Arc<Mutex<Vec<(Method, HeaderMap, Value)>>>,
    sessions: Arc<AtomicUsize>,
    status: Arc<Mutex<Option<u16>>>,
}

async fn serve(served: Served) -> Target {
    let app = Router::new().route("/mcp", any(answer)).with_state(served);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let headers = [(reqwest::header::AUTHORIZATION, "Bearer k3y".parse().unwrap())];
    Target::Address { url, headers: headers.into_iter().collect() }
}

fn json_of(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn events(text: String) -> Response {
    ([("content-type", "text/event-stream")], text).into_response()
}

async fn answer(
    State(served): State<Served>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    served.heard.lock().unwrap().push((method.clone(), headers.clone(), request.clone()));
    if let Some(status) = *served.status.lock().unwrap() {
        let status = StatusCode::from_u16(status).unwrap();
        let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "No valid session"}});
        return (status, [("www-authenticate", "Bearer scope=\"a\"")], error.to_string())
            .into_response();
    }
    let id = &request["id"];
    let result = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
    let text = |text: &str| result(json!({"content": [{"type": "text", "text": text}]}));
    if method == Method::GET {
        // The rest of an answer that broke off; news are nobody's here.
        let Some(last) = headers.get("last-event-id") else {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        };
        assert_eq!(last, "7");
        let broken = served
            .heard
            .lock()
            .unwrap()
            .iter()
            .rev()
            .find(|(_, _, r)| r["method"] == "tools/call")
            .unwrap()
            .2["id"]
            .clone();
        let rest = json!({"jsonrpc": "2.0", "id": broken, "result": {"content": [{"type": "text", "text": "resumed"}]}});
        return events(format!("id: 8\ndata: {rest}\n\n"));
    }
    match request["method"].as_str() {
        Some("server/discover") if served.modern => {
            assert_eq!(headers["mcp-method"], "server/discover");
            json_of(&result(
                json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
            ))
        }
        Some("server/discover") => StatusCode::BAD_REQUEST.into_response(),
        Some("initialize") => {
            let session = served.sessions.fetch_add(1, Ordering::Relaxed).to_string();
            let greeting =
                result(json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}));
            (
                [("mcp-session-id", session)],
                events(format!("id: 1\ndata:\n\nid: 2\ndata: {greeting}\n\n")),
            )
                .into_response()
        }
        Some("tools/list") => {
            let (cursor, next) = (
                &request["params"]["cursor"],
                if request["params"]["cursor"].is_null() { json!("2") } else { Value::Null },
            );
            let name = if cursor.is_null() { "one" } else { "two" };
            json_of(&result(json!({"tools": [{"name": name}], "nextCursor": next})))
        }
        Some("tools/call") => match request["params"]["name"].as_str() {
            Some("broken") => events(
                "id: 7\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n"
                    .to_owned(),
            ),
            Some("gone") => events(
                "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned(),
            ),
            Some("large") => json_of(&text(&"x".repeat(30 << 20))),
            _ => json_of(&text("did it")),
        },
        _ => StatusCode::ACCEPTED.into_response(),
    }
}

#[tokio::test]
async fn a_server_with_a_handshake_is_spoken_with_in_its_version_and_session() {
    let served = Served::default();
    let (client, _dir) = connect(&serve(served.clone()).await).await;
    assert_eq!(client.era(), Era::Legacy);
    let tools = client.tools().await.unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["one", "two"], "both pages");
    let result = done(client.call("one", &json!({}), None, None).unwrap()).await.unwrap();
    assert_eq!(words(&result), "did it");
    client.close().await;
    let heard = served.heard.lock().unwrap().clone();
    let (_, headers, call) = heard.iter().find(|(_, _, r)| r["method"] == "tools/call").unwrap();
    assert_eq!(
        (&headers["mcp-session-id"], &headers["mcp-protocol-version"]),
        (&"0".parse().unwrap(), &"2025-06-18".parse().unwrap())
    );
    assert_eq!(headers["authorization"], "Bearer k3y");
    assert!(call["params"].get("_meta").is_some_and(|meta| meta.get("progressToken").is_some()));
    assert!(heard.iter().any(|(method, ..)| method == Method::DELETE), "it says good-bye");
}

#[tokio::test]
async fn a_server_without_a_handshake_is_told_who_asks_each_time() {
    let served = Served { modern: true, ..Served::default() };
    let (client, _dir) = connect(&serve(served.clone()).await).await;
    assert_eq!(client.era(), Era::Modern);
    done(client.call("one", &json!({}), None, None).unwrap()).await.unwrap();
    let heard = served.heard.lock().unwrap().clone();
    assert!(!heard.iter().any(|(_, _, request)| request["method"] == "initialize"));
    let (_, headers, call) = heard.last().unwrap();
    assert_eq!(
        (&headers["mcp-method"], &headers["mcp-name"]),
        (&"tools/call".parse().unwrap(), &"one".parse().unwrap())
    );
    let meta = &call["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "threadkeep");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_resumed_and_never_asked_for_again() {
    let served = Served::default();
    let (client, _dir) = connect(&serve(served.clone()).await).await;
    let result = done(client.call("broken", &json!({}), None, None).unwrap()).await.unwrap();
    assert_eq!(words(&result), "resumed");
    let gone = done(client.call("gone", &json!({}), None, None).unwrap()).await.unwrap_err();
    assert!(matches!(gone, Error::Gone(_)) && gone.is_unknown(), "{gone:?}");
    let large = done(client.call("large", &json!({}), None, None).unwrap()).await.unwrap_err();
    assert!(matches!(large, Error::TooLarge) && large.is_unknown(), "{large:?}");
    let calls =
        served.heard.lock().unwrap().iter().filter(|(_, _, r)| r["method"] == "tools/call").count();
    assert_eq!(calls, 3);
}

#[tokio::test]
async fn a_session_that_is_not_known_any_more_is_lost_whatever_the_status() {
    for status in [404, 400] {
        let served = Served::default();
        let (client, _dir) = connect(&serve(served.clone()).await).await;
        *served.status.lock().unwrap() = Some(status);
        let lost = done(client.call("one", &json!({}), None, None).unwrap()).await.unwrap_err();
        assert!(matches!(lost, Error::Lost) && !lost.is_unknown(), "{lost:?}");
        assert!(client.is_gone());
    }
}

#[tokio::test]
async fn what_is_refused_says_why() {
    for (status, says) in [(401, "sign-in"), (302, "another address"), (500, "refused")] {
        let served = Served::default();
        *served.status.lock().unwrap() = Some(status);
        let target = serve(served).await;
        let dir = tempfile::tempdir().unwrap();
        let pids = rpc_process::Pids::new(dir.path());
        let none =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let failed = mcp::Client::connect(&target, &pids, &none, None).await.unwrap_err();
        assert!(failed.to_string().contains(says), "{status}: {failed}");
        assert!(!format!("{failed:?}").contains("k3y"));
    }
}
