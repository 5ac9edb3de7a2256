//! Keys live in the keychain and nowhere else.

use crate::support::app::{App, Computer};
use crate::support::webdriver::key::ESCAPE;
use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::json;
use std::sync::{Arc, Mutex};

const KEY: &str = "sk-test-4f1c0ffee";

/// An endpoint that speaks chat completions and notes who asks.
async fn model() -> (String, Arc<Mutex<Vec<String>>>) {
    type Seen = Arc<Mutex<Vec<String>>>;
    async fn complete(State(seen): State<Seen>, headers: HeaderMap) -> impl IntoResponse {
        let who = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(who.unwrap_or_default());
        let chunk = |delta: serde_json::Value, end: Option<&str>| {
            format!(
                "data: {}\n\n",
                json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": end }] })
            )
        };
        let body = [
            chunk(json!({ "role": "assistant", "content": "It is " }), None),
            chunk(json!({ "content": "forty-two." }), None),
            chunk(json!({}), Some("stop")),
            "data: [DONE]\n\n".to_owned(),
        ];
        ([("content-type", "text/event-stream")], body.concat())
    }
    let seen: Seen = Arc::default();
    let models = || async { axum::Json(json!({ "data": [{ "id": "tiny" }] })) };
    let router = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/models", get(models))
        .with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, seen)
}

async fn enter_key(app: &App<'_>) {
    app.click("settings-open").await;
    let field = app.wait("settings-model-key").await;
    field.click().await;
    field.keys(KEY).await;
    app.click("settings-save").await;
}

#[tokio::test]
async fn a_model_key_goes_to_the_keychain_and_to_the_model_and_nowhere_else() {
    let (url, seen) = model().await;
    let computer = Computer::with_keychain().await;
    computer.set(&json!({ "modelBaseUrl": url, "modelName": "tiny", "defaultAgent": "model" }));
    let app = computer.start().await;
    enter_key(&app).await;
    app.page().press(&[ESCAPE]).await;
    app.page().wait_for("the dialog is closed", CLOSED).await;
    app.click("new-session").await;
    app.say("What is the answer?").await;
    let messages = app
        .messages_until("the model's answer", |m| m.iter().any(|m| m.text.contains("forty-two")))
        .await;
    assert!(messages.iter().any(|m| m.role == "assistant"));
    assert_eq!(seen.lock().unwrap().first().map(String::as_str), Some(&*format!("Bearer {KEY}")));
    app.save("model-agent").await;

    let page = app
        .page()
        .execute(
            "return document.documentElement.outerHTML + JSON.stringify(window.__THREADKEEP__)",
        )
        .await;
    assert!(!page.as_str().unwrap().contains(KEY), "the page does not hold the key");
    app.quit().await;
    assert!(!computer.holds(KEY.as_bytes()), "no file of the app holds the key");
    assert!(!computer.log().contains(KEY), "the log holds the key");
}

const CLOSED: &str = "return !document.querySelector('[data-testid=settings-model-key]')";

#[tokio::test]
async fn without_a_keychain_the_dialog_says_so_and_the_app_goes_on() {
    let computer = Computer::new();
    let app = computer.start().await;
    enter_key(&app).await;
    let outcome = app.page().wait("[data-testid=settings] [role=alert]").await;
    let text = outcome.text().await;
    assert!(text.to_lowercase().contains("keychain"), "{text}");
    app.save("no-keychain").await;
}
