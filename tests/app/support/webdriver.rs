//! A small WebDriver client (W3C WebDriver), enough to use a window as a person does.

use base64::Engine as _;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::time::Duration;

/// The key under which WebDriver hands out elements (W3C WebDriver §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that are not characters (W3C WebDriver §17.4.2).
pub mod key {
    pub const ENTER: &str = "\u{E007}";
    pub const ESCAPE: &str = "\u{E00C}";
    pub const CONTROL: &str = "\u{E009}";
}

/// One session with a driver: a window.
#[derive(Clone)]
pub struct Session {
    http: Client,
    url: String,
}

/// An element of the page.
#[derive(Clone)]
pub struct Element {
    session: Session,
    id: String,
}

impl Session {
    /// Asks the driver at `url` to start `binary`.
    pub async fn start(url: &str, binary: &str) -> Result<Self, String> {
        let http = Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap();
        let options = json!({ "binary": binary, "args": [] });
        let body =
            json!({ "capabilities": { "alwaysMatch": { "webkitgtk:browserOptions": options } } });
        let answer = call(&http, Method::POST, &format!("{url}/session"), Some(body)).await?;
        let id = answer["sessionId"].as_str().ok_or("the driver gave no session")?;
        Ok(Self { url: format!("{url}/session/{id}"), http })
    }

    /// The first element that matches `css`, if there is one now.
    pub async fn find(&self, css: &str) -> Option<Element> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.post("element", body).await.ok()?;
        let id = found[ELEMENT].as_str()?.to_owned();
        Some(Element { session: self.clone(), id })
    }

    /// Waits for an element that matches `css`.
    pub async fn wait(&self, css: &str) -> Element {
        super::eventually(&format!("an element {css}"), || self.find(css)).await
    }

    /// Waits until a script (a function body) answers something that is neither null nor false.
    pub async fn wait_for(&self, what: &str, script: &str) -> Value {
        super::eventually(what, || async {
            let value = self.execute(script).await;
            (!value.is_null() && value != json!(false)).then_some(value)
        })
        .await
    }

    /// Runs a function body in the page. An unreachable page answers null.
    pub async fn execute(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.post("execute/sync", body).await.unwrap_or(Value::Null)
    }

    /// Types into whatever has the focus, as keys.
    pub async fn press(&self, keys: &[&str]) {
        let mut actions = Vec::new();
        for key in keys {
            actions.push(json!({ "type": "keyDown", "value": key }));
        }
        for key in keys.iter().rev() {
            actions.push(json!({ "type": "keyUp", "value": key }));
        }
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("actions", json!({ "actions": [source] })).await.unwrap();
    }

    /// What the window shows, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        let data = self.send(Method::GET, "screenshot", None).await.unwrap();
        base64::engine::general_purpose::STANDARD.decode(data.as_str().unwrap()).unwrap()
    }

    /// Ends the session, and the app with it.
    pub async fn end(&self) {
        let _ = call(&self.http, Method::DELETE, &self.url, None).await;
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        call(&self.http, method, &format!("{}/{path}", self.url), body).await
    }
}

impl Element {
    /// Clicks it.
    pub async fn click(&self) {
        self.post("click", json!({})).await.unwrap();
    }

    /// Types into it.
    pub async fn keys(&self, text: &str) {
        self.post("value", json!({ "text": text })).await.unwrap();
    }

    /// Its visible text; empty when it is gone.
    pub async fn text(&self) -> String {
        let path = format!("element/{}/text", self.id);
        let text = self.session.send(Method::GET, &path, None).await.unwrap_or(Value::Null);
        text.as_str().unwrap_or_default().to_owned()
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.session.post(&format!("element/{}/{path}", self.id), body).await
    }
}

async fn call(
    http: &Client,
    method: Method,
    url: &str,
    body: Option<Value>,
) -> Result<Value, String> {
    let mut request = http.request(method, url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let good = answer.status().is_success();
    let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    let value = answer["value"].take();
    if good { Ok(value) } else { Err(value.to_string()) }
}
