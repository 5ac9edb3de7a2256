//! A server that answers what a test tells it to, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use durable_stream::{Bytes, Url};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct State {
    answers: Mutex<VecDeque<Response>>,
    asked: Mutex<Vec<Arc<Asked>>>,
}

pub(crate) struct Script {
    pub(crate) url: Url,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Script {
    /// Gives these answers in order, and 599 after the last.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Response>) -> Self {
        let state = Arc::new(State::default());
        state.answers.lock().unwrap().extend(answers);
        let shared = Arc::clone(&state);
        let router = axum::Router::new().fallback(move |request: Request| {
            let state = Arc::clone(&shared);
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let asked =
                    Asked { method: parts.method, uri: parts.uri, headers: parts.headers, body };
                state.asked.lock().unwrap().push(Arc::new(asked));
                let answer = state.answers.lock().unwrap().pop_front();
                answer.unwrap_or_else(|| reply(599).body(Body::empty()).unwrap())
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/s", listener.local_addr().unwrap())).unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, task }
    }

    pub(crate) fn then(&self, answer: Response) {
        self.state.answers.lock().unwrap().push_back(answer);
    }

    pub(crate) fn asked(&self) -> Vec<Arc<Asked>> {
        self.state.asked.lock().unwrap().clone()
    }
}

pub(crate) fn reply(status: u16) -> axum::http::response::Builder {
    Response::builder().status(StatusCode::from_u16(status).unwrap())
}

pub(crate) fn status(status: u16) -> Response {
    reply(status).body(Body::from("secret text of the server")).unwrap()
}

/// Part of a JSON stream.
pub(crate) fn part(body: &'static str, next: &str) -> Response {
    let reply =
        reply(200).header("content-type", "application/json").header("stream-next-offset", next);
    reply.body(Body::from(body)).unwrap()
}

/// The end of a JSON stream as it is now.
pub(crate) fn tail(body: &'static str, next: &str) -> Response {
    with(part(body, next), "stream-up-to-date", "true")
}

/// The end of a JSON stream for good.
pub(crate) fn end(body: &'static str, next: &str) -> Response {
    with(tail(body, next), "stream-closed", "true")
}

pub(crate) fn with(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// An event stream that ends after these bytes.
pub(crate) fn events(text: &'static str) -> Response {
    reply(200).header("content-type", "text/event-stream").body(Body::from(text)).unwrap()
}

/// An event stream that says this and then nothing more.
pub(crate) fn silent_after(text: &'static str) -> Response {
    use futures::StreamExt;
    let said = futures::stream::iter((!text.is_empty()).then_some(Ok::<_, std::io::Error>(text)));
    let body = Body::from_stream(said.chain(futures::stream::pending()));
    reply(200).header("content-type", "text/event-stream").body(body).unwrap()
}

/// A long poll that ended without news.
pub(crate) fn poll_ended(next: &str) -> Response {
    let reply = reply(204).header("stream-next-offset", next).header("stream-up-to-date", "true");
    reply.body(Body::empty()).unwrap()
}
