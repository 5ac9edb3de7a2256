//! Agents and models that answer what a test says, and remember what they were asked.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::post,
};
use futures::StreamExt;
use serde_json::Value;

/// What one request is answered with.
#[derive(Clone)]
pub enum Reply {
    /// A status and a whole body.
    Whole(u16, &'static str, String),
    /// A body that begins like this and never ends.
    Hang(String),
    /// A body that begins like this and breaks.
    Break(String),
    Redirect(String),
    /// A body that comes as it is fed.
    Fed(Arc<Mutex<Option<tokio::sync::mpsc::Receiver<String>>>>),
}

/// What feeds a [`Reply::Fed`]; the body ends when it is dropped.
pub struct Feed(tokio::sync::mpsc::Sender<String>);

impl Feed {
    pub fn new() -> (Self, Reply) {
        let (send, rest) = tokio::sync::mpsc::channel(4);
        (Self(send), Reply::Fed(Arc::new(Mutex::new(Some(rest)))))
    }

    /// Nobody reads any more: the run is over.
    pub async fn send(&self, piece: &str) {
        self.0.send(piece.to_owned()).await.ok();
    }
}

pub fn sse(chunks: &[&str]) -> Reply {
    let body = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    Reply::Whole(200, "text/event-stream", body)
}

#[derive(Clone, Default)]
struct Shared {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

/// A server on a free port that gives its replies in order; the last one again and again.
pub struct Fake {
    pub addr: SocketAddr,
    shared: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared = Shared::default();
        shared.replies.lock().unwrap().extend(replies);
        let app = Router::new()
            .route("/agent", post(answer))
            .route("/v1/chat/completions", post(answer))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { addr, shared, task }
    }

    pub fn agent_url(&self) -> String {
        format!("http://{}/agent", self.addr)
    }

    pub fn model_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Bodies of the requests so far.
    pub fn asked(&self) -> Vec<Value> {
        self.shared.asked.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    pub fn asked_headers(&self) -> Vec<HeaderMap> {
        self.shared.asked.lock().unwrap().iter().map(|(headers, _)| headers.clone()).collect()
    }
}

async fn answer(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap();
    shared.asked.lock().unwrap().push((headers, body));
    let reply = {
        let mut replies = shared.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    };
    let ok = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
    match reply.unwrap() {
        Reply::Whole(status, kind, body) => Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .unwrap(),
        Reply::Hang(start) => {
            let start = futures::stream::iter([Ok::<_, std::io::Error>(start)]);
            ok.body(Body::from_stream(start.chain(futures::stream::pending()))).unwrap()
        }
        Reply::Break(start) => {
            let pieces = [Ok(start), Err(std::io::Error::other("broken"))];
            // The error must come after the first piece was sent.
            let pieces = futures::stream::iter(pieces).then(|piece| async {
                tokio::task::yield_now().await;
                piece
            });
            ok.body(Body::from_stream(pieces)).unwrap()
        }
        Reply::Fed(from) => {
            let from = from.lock().unwrap().take().unwrap();
            let pieces = futures::stream::unfold(from, |mut from| async move {
                let piece = from.recv().await?;
                Some((Ok::<_, std::io::Error>(piece), from))
            });
            ok.body(Body::from_stream(pieces)).unwrap()
        }
        Reply::Redirect(to) => Response::builder()
            .status(StatusCode::TEMPORARY_REDIRECT)
            .header(header::LOCATION, to)
            .body(Body::empty())
            .unwrap(),
    }
}
