//! The requests of windows to the host: who it is, to attach, to leave, to know a key.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use futures::stream;
use host_link::Build;
use host_link::api::{self, Attach, Hello, ModelKey, Stop};
use session_server::Activity;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::model::Model;

/// The listener for windows.
pub(super) struct Control {
    url: Url,
    desk: Desk,
    stop: CancellationToken,
}

/// The things that a request may need.
#[derive(Clone)]
struct Desk {
    token: Arc<str>,
    build: Arc<Build>,
    activity: watch::Receiver<Activity>,
    windows: Arc<watch::Sender<usize>>,
    asked: Arc<watch::Sender<Option<Stop>>>,
    model: Arc<Model>,
    /// Ends the answers to attached windows.
    stop: CancellationToken,
}

/// An attached window, for as long as its answer lives.
struct Window(Arc<watch::Sender<usize>>);

impl Window {
    fn new(windows: &Arc<watch::Sender<usize>>) -> Self {
        windows.send_modify(|windows| *windows += 1);
        Self(Arc::clone(windows))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.0.send_modify(|windows| *windows -= 1);
    }
}

impl Control {
    /// Listens on a free port of loopback.
    pub(super) async fn start(
        activity: watch::Receiver<Activity>,
        model: Arc<Model>,
    ) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let listener = listener.context("no port of this computer can be had")?;
        let address = listener.local_addr().context("no port of this computer can be had")?;
        let url = Url::parse(&format!("http://{address}/")).context("an address makes a URL")?;
        let stop = CancellationToken::new();
        let desk = Desk {
            token: super::new_token().into(),
            build: Arc::new(Build::own()),
            activity,
            windows: Arc::new(watch::Sender::new(0)),
            asked: Arc::new(watch::Sender::new(None)),
            model,
            stop: stop.clone(),
        };
        let router = Router::new()
            .route(api::HOST, get(hello))
            .route(api::STOP, post(leave))
            .route(api::ATTACH, post(attach))
            .route(api::MODEL_KEY, put(set_model_key))
            .layer(middleware::from_fn_with_state(desk.clone(), admit))
            .with_state(desk.clone());
        let stopping = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router).into_future() => {
                    if let Err(error) = served {
                        tracing::error!(%error, "windows cannot attach any more");
                    }
                }
                () = stopping => {}
            }
        });
        Ok(Self { url, desk, stop })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn token(&self) -> &str {
        &self.desk.token
    }

    /// Number of attached windows.
    pub(super) fn windows(&self) -> watch::Receiver<usize> {
        self.desk.windows.subscribe()
    }

    /// How the host was asked to leave.
    pub(super) fn asked(&self) -> watch::Receiver<Option<Stop>> {
        self.desk.asked.subscribe()
    }

    /// Lets all windows go; nobody is answered any more.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

impl Desk {
    fn hello(&self) -> Hello {
        let Activity { running, waiting } = *self.activity.borrow();
        Hello {
            protocol: api::PROTOCOL,
            build: (*self.build).clone(),
            running,
            waiting,
            windows: *self.windows.borrow(),
            leaving: self.asked.borrow().is_some(),
        }
    }
}

/// Lets in who has the token, and no web page: a browser says where a page is from.
async fn admit(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let bearer = request.headers().get(header::AUTHORIZATION);
    let token = bearer.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let same = token.is_some_and(|token| is_same(token, desk.token.as_bytes()));
    if !same || request.headers().contains_key(header::ORIGIN) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if desk.stop.is_cancelled() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

/// Compares in a time that says nothing about where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

async fn hello(State(desk): State<Desk>) -> Json<Hello> {
    Json(desk.hello())
}

async fn leave(State(desk): State<Desk>, Json(when): Json<Stop>) -> StatusCode {
    desk.asked.send_modify(|asked| {
        // Whoever wants it gone now is not put off by who can wait.
        let patient = when == Stop::WhenIdle;
        if asked.is_none() || !patient {
            *asked = Some(when);
        }
    });
    StatusCode::ACCEPTED
}

async fn attach(State(desk): State<Desk>, Json(window): Json<Attach>) -> Response {
    if window.protocol != api::PROTOCOL {
        return (StatusCode::CONFLICT, Json(desk.hello())).into_response();
    }
    let here = Window::new(&desk.windows);
    let lines = stream::unfold((desk, here, None), |(desk, here, said)| async move {
        let stop = desk.stop.clone();
        let hello = tokio::select! {
            () = stop.cancelled() => return None,
            hello = news(&desk, said.as_ref()) => hello,
        };
        let mut line = serde_json::to_vec(&hello).ok()?;
        line.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), (desk, here, Some(hello))))
    });
    Body::from_stream(lines).into_response()
}

/// Waits until there is something else to say, or it is time to say something.
async fn news(desk: &Desk, said: Option<&Hello>) -> Hello {
    let (mut activity, mut windows) = (desk.activity.clone(), desk.windows.subscribe());
    let mut asked = desk.asked.subscribe();
    let change = async {
        loop {
            activity.mark_unchanged();
            windows.mark_unchanged();
            asked.mark_unchanged();
            if said != Some(&desk.hello()) {
                return;
            }
            tokio::select! {
                changed = activity.changed() => if changed.is_err() { return },
                changed = windows.changed() => if changed.is_err() { return },
                changed = asked.changed() => if changed.is_err() { return },
            }
        }
    };
    tokio::time::timeout(api::BEAT, change).await.ok(); // late or not, it is said
    desk.hello()
}

async fn set_model_key(State(desk): State<Desk>, Json(key): Json<ModelKey>) -> StatusCode {
    desk.model.set_key(key.key);
    StatusCode::NO_CONTENT
}
