//! A connection over streamable HTTP: each request is a POST, whose answer is one JSON text or a stream of events.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use rpc_process::{Message, RpcError};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::sleep,
};
use url::Url;

use crate::{
    ears::{Ears, Heard, Request},
    error::Error,
    sse::{Event, Events, MAX_EVENT},
};

const SESSION: &str = "Mcp-Session-Id";
const VERSION: &str = "MCP-Protocol-Version";
/// Bytes of an error's answer that are looked at.
const MAX_ERROR: usize = 64 << 10;
/// Times that an answer which broke off is resumed.
const RESUMED: usize = 3;
/// The first pause before a stream of news is opened again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Time in which a server may say good-bye.
const GOODBYE: Duration = Duration::from_secs(2);

/// A server at an address.
pub(crate) struct Http {
    client: Client,
    url: Url,
    headers: HeaderMap,
    ears: Ears,
    state: Mutex<State>,
    lost: AtomicBool,
}

#[derive(Default)]
struct State {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// No handshake: each request says its method.
    modern: bool,
    tasks: HashMap<u64, AbortHandle>,
    news: Option<AbortHandle>,
}

/// How a stream of events ended without the answer.
enum Broken {
    /// The connection ended; the id of the last event.
    Off(Option<String>),
    TooLong,
}

impl Http {
    pub(crate) fn new(client: Client, url: Url, headers: HeaderMap) -> Self {
        let (state, lost) = (Mutex::default(), AtomicBool::new(false));
        Self { client, url, headers, ears: Ears::new(), state, lost }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks this version from now on.
    pub(crate) fn speaks(&self, version: &str, modern: bool) {
        let mut state = self.state();
        state.version = HeaderValue::from_str(version).ok().filter(|version| !version.is_empty());
        state.modern = modern;
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.ears.changes()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn send(this: &Arc<Self>, request: Request) -> mpsc::Receiver<Heard> {
        let number = request.number;
        let from = this.ears.listen(number);
        let http = Arc::clone(this);
        // The task takes itself out again, which waits for this.
        let mut state = this.state();
        let task = tokio::spawn(async move {
            let answer = http.ask(&request).await;
            let last = answer.map_or_else(Heard::Failed, Heard::Answer);
            http.ears.end(number, last);
            http.state().tasks.remove(&number);
        });
        state.tasks.insert(number, task.abort_handle());
        drop(state);
        from
    }

    pub(crate) fn cancel(this: &Arc<Self>, number: u64) {
        if !this.ears.forget(number) {
            return;
        }
        if let Some(task) = this.state().tasks.remove(&number) {
            task.abort();
        }
        let params = json!({"requestId": number, "reason": "stopped"});
        Self::notify(this, "notifications/cancelled", &params);
    }

    pub(crate) fn notify(this: &Arc<Self>, method: &str, params: &Value) {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params});
        Self::tell(this, &body);
    }

    pub(crate) fn answer(this: &Arc<Self>, id: &Value, answer: &Result<Value, RpcError>) {
        let body = match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": id,
                "error": {"code": error.code, "message": error.said}}),
        };
        Self::tell(this, &body);
    }

    /// Posts what has no answer.
    fn tell(this: &Arc<Self>, body: &Value) {
        let request = this.post(body, body["method"].as_str().unwrap_or_default());
        tokio::spawn(async move { request.timeout(Duration::from_secs(30)).send().await });
    }

    /// Posts what has no answer, and waits until it was taken.
    pub(crate) async fn told(&self, method: &str) -> Result<(), Error> {
        let body = json!({"jsonrpc": "2.0", "method": method});
        let sent = self.post(&body, method).timeout(Duration::from_secs(30)).send().await;
        sent.map(drop).map_err(|error| unreached(&error))
    }

    fn post(&self, body: &Value, method: &str) -> reqwest::RequestBuilder {
        let mut request = self.dressed(self.client.post(self.url.clone()));
        if self.state().modern {
            request = request.header("Mcp-Method", method);
            let name = body.pointer("/params/name").and_then(Value::as_str);
            if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
                request = request.header("Mcp-Name", name);
            }
        }
        request
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string())
    }

    fn dressed(&self, mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let state = self.state();
        request = request.headers(self.headers.clone());
        if let Some(session) = &state.session {
            request = request.header(SESSION, session.clone());
        }
        if let Some(version) = &state.version {
            request = request.header(VERSION, version.clone());
        }
        request
    }

    async fn ask(&self, request: &Request) -> Result<Result<Value, RpcError>, Error> {
        let Request { number, method, params } = request;
        let body = json!({"jsonrpc": "2.0", "id": number, "method": method, "params": params});
        let had_session = self.state().session.is_some();
        let response = self.post(&body, method).send().await.map_err(|error| unreached(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Error::Redirected);
        }
        if !status.is_success() {
            return self.refused(response, had_session).await;
        }
        if let Some(session) = response.headers().get(SESSION) {
            let mut state = self.state();
            state.session.get_or_insert_with(|| session.clone());
        }
        self.read(response, *number).await
    }

    async fn refused(
        &self,
        response: Response,
        had_session: bool,
    ) -> Result<Result<Value, RpcError>, Error> {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            let header = response.headers().get(WWW_AUTHENTICATE);
            let said = header.and_then(|header| header.to_str().ok()).map(str::to_owned);
            return Err(Error::Unauthorized(said));
        }
        let body = body(response, MAX_ERROR).await.unwrap_or_default();
        let error = serde_json::from_slice::<Value>(&body).ok();
        let code = error.as_ref().and_then(|error| error.pointer("/error/code")?.as_i64());
        // The standard says 404; servers were seen to say 400 with this code.
        let unknown = status == StatusCode::NOT_FOUND
            || (status == StatusCode::BAD_REQUEST && code == Some(-32000));
        if had_session && unknown {
            self.lost.store(true, Ordering::Relaxed);
            return Err(Error::Lost);
        }
        let words = error.as_ref().and_then(|error| error.pointer("/error/message")?.as_str());
        match (code, words) {
            (Some(code), Some(words)) => {
                Ok(Err(RpcError::new(code, words.chars().take(500).collect::<String>())))
            }
            _ => Err(Error::Status(status.as_u16())),
        }
    }

    /// Reads until the answer of a request.
    async fn read(
        &self,
        mut response: Response,
        number: u64,
    ) -> Result<Result<Value, RpcError>, Error> {
        if !is_events(&response) {
            let body = body(response, MAX_EVENT).await?;
            let mut answer = None;
            for message in Message::read(&body) {
                answer = self.hear(message, number).or(answer);
            }
            return answer.ok_or(Error::Foreign);
        }
        for resumed in 0.. {
            match self.events(response, Some(number)).await {
                Ok(answer) => return Ok(answer),
                Err(Broken::TooLong) => return Err(Error::TooLarge),
                Err(Broken::Off(Some(id))) if resumed < RESUMED => {
                    let Ok(id) = HeaderValue::from_str(&id) else { return Err(Error::Gone(None)) };
                    let again = self.dressed(self.client.get(self.url.clone()));
                    let again = again
                        .header(ACCEPT, "text/event-stream")
                        .header("Last-Event-ID", id)
                        .send()
                        .await;
                    response = match again {
                        Ok(again) if again.status().is_success() && is_events(&again) => again,
                        _ => return Err(Error::Gone(None)),
                    };
                }
                Err(Broken::Off(_)) => return Err(Error::Gone(None)),
            }
        }
        unreachable!("the loop ends by itself")
    }

    async fn events(
        &self,
        response: Response,
        number: Option<u64>,
    ) -> Result<Result<Value, RpcError>, Broken> {
        let (mut bytes, mut events) = (response.bytes_stream(), Events::default());
        let (mut found, mut last) = (Vec::new(), None);
        while let Some(Ok(piece)) = bytes.next().await {
            events.push(&piece, &mut found).map_err(|_| Broken::TooLong)?;
            for Event { id, data } in found.drain(..) {
                last = id.or(last);
                for message in Message::read(&data) {
                    let answer = match number {
                        Some(number) => self.hear(message, number),
                        None => {
                            self.hear_news(message);
                            None
                        }
                    };
                    if let Some(answer) = answer {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(Broken::Off(last))
    }

    fn hear(&self, message: Message, number: u64) -> Option<Result<Value, RpcError>> {
        match message {
            Message::Answer { id, answer } => (id == number).then_some(answer),
            message => {
                let answer = self.ears.hear(message, Some(number));
                self.answer_at_once(answer);
                None
            }
        }
    }

    fn hear_news(&self, message: Message) {
        if !matches!(message, Message::Answer { .. }) {
            let answer = self.ears.hear(message, None);
            self.answer_at_once(answer);
        }
    }

    fn answer_at_once(&self, answer: Option<(Value, Result<Value, RpcError>)>) {
        let Some((id, answer)) = answer else { return };
        let body = match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": id,
                "error": {"code": error.code, "message": error.said}}),
        };
        let request = self.post(&body, "").timeout(Duration::from_secs(30));
        tokio::spawn(request.send());
    }

    /// Follows the news that belong to no request, where the server has such a stream.
    pub(crate) fn follow_news(this: &Arc<Self>) {
        let weak = Arc::downgrade(this);
        let task = tokio::spawn(async move {
            let mut pause = PAUSE.0;
            loop {
                let Some(http) = weak.upgrade() else { return };
                let request = http.dressed(http.client.get(http.url.clone()));
                drop(http);
                match request.header(ACCEPT, "text/event-stream").send().await {
                    Ok(response) if response.status().is_success() && is_events(&response) => {
                        let Some(http) = weak.upgrade() else { return };
                        // The stream ends with this task, which ends with the connection.
                        match http.events(response, None).await {
                            Ok(_) | Err(Broken::TooLong) => return,
                            Err(Broken::Off(_)) => {}
                        }
                    }
                    Ok(response) if response.status().is_server_error() => {}
                    Ok(_) => return, // it has none
                    Err(_) => {}
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        });
        this.state().news = Some(task.abort_handle());
    }

    /// Ends everything that goes on.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        if let Some(news) = state.news.take() {
            news.abort();
        }
        for (_, task) in state.tasks.drain() {
            task.abort();
        }
    }

    /// Says good-bye.
    pub(crate) async fn close(&self) {
        self.stop();
        if self.state().session.is_some() {
            let request = self.dressed(self.client.delete(self.url.clone()));
            request.timeout(GOODBYE).send().await.ok(); // a server that is gone needs none
        }
    }
}

fn is_events(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

async fn body(response: Response, most: usize) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut all) = (response.bytes_stream(), Vec::new());
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|_| Error::Gone(None))?;
        if all.len() + piece.len() > most {
            return Err(Error::TooLarge);
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

fn unreached(error: &reqwest::Error) -> Error {
    if error.is_connect() {
        let text = format!("{error:?}").to_lowercase();
        if text.contains("certificate") { Error::Certificate } else { Error::Unreachable }
    } else if error.is_builder() {
        Error::Unreachable
    } else {
        Error::Gone(None)
    }
}
