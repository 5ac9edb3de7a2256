//! What this server is and how it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use serde_json::{Value, json};

use super::{
    App,
    answers::{Me, Status},
    openapi::Document,
};
use crate::{
    access::{Caller, Role},
    event,
    problem::Problem,
    sessions::Sessions,
    streams::stream_name,
};

/// A probe that takes longer finds a server that is not ready.
const PROBE: Duration = Duration::from_secs(5);
/// So long an outcome is true enough: a probe writes the database, and nobody needs a token to ask for one.
const FRESH: Duration = Duration::from_secs(1);

type Outcome = Shared<BoxFuture<'static, Result<(), Problem>>>;

/// Whether the server can do its work, as it was found a moment ago.
#[derive(Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<(Instant, Outcome)>>>);

impl Readiness {
    /// The outcome of the probe that is under way or just ended, else of a new one.
    fn outcome(&self, sessions: &Sessions) -> Outcome {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, outcome)) = &*last
            && (outcome.peek().is_none() || began.elapsed() < FRESH)
        {
            return outcome.clone();
        }
        // A task, which goes on when whoever asked does not wait for it.
        let probing = sessions.shared().tasks.spawn(probe(sessions.clone()));
        let outcome = probing.map(|ended| ended.unwrap_or_else(|_| Err(Problem::not_ready())));
        let outcome = outcome.boxed().shared();
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

async fn probe(sessions: Sessions) -> Result<(), Problem> {
    let shared = sessions.shared();
    let probe = async {
        shared.store.probe().await?;
        shared.streams.exists(&stream_name("readiness-probe")).await?;
        Ok(())
    };
    tokio::time::timeout(PROBE, probe).await.unwrap_or_else(|_| Err(Problem::not_ready()))
}

/// The server's name, version and main routes.
#[utoipa::path(get, path = "/", responses((status = 200, body = Object)))]
pub(super) async fn about() -> Json<Value> {
    Json(json!({
        "name": "threadkeep-session-server",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "sessions": "/v1/sessions",
            "stream": "/v1/stream/sessions/:sessionId",
            "messages": "/v1/sessions/:sessionId/messages",
            "agents": "/v1/sessions/:sessionId/agents",
            "approvals": "/v1/sessions/:sessionId/approvals/:approvalId",
            "toolResults": "/v1/sessions/:sessionId/tool-results",
            "health": "/health",
            "openapi": "/openapi.json",
        },
    }))
}

/// Who the caller is here, and what the token allows.
#[utoipa::path(get, path = "/v1/me", responses((status = 200, body = Me)))]
pub(super) async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    Json(match caller {
        Caller::Owner => Me { name: None, role: Role::Manage.as_str(), sessions: None },
        Caller::Named(grant) => Me {
            name: Some(grant.name.clone()),
            role: grant.role.as_str(),
            sessions: grant.sessions.clone(),
        },
    })
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn openapi(Extension(Document(json)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// What a Prometheus server collects.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let shared = app.sessions.shared();
    let known = shared.store.count_sessions().await?;
    let text = shared.metrics.encode(known, app.sessions.count_open(), shared.budget.held());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn status(status: &'static str) -> Json<Status> {
    Json(Status { status, timestamp: event::now() })
}

/// The server answers.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Status)))]
pub(super) async fn health() -> Json<Status> {
    status("ok")
}

/// The server answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Status)))]
pub(super) async fn healthz() -> Json<Status> {
    status("ok")
}

/// The server answers.
#[utoipa::path(get, path = "/health/live", responses((status = 200, body = Status)))]
pub(super) async fn live() -> Json<Status> {
    status("live")
}

/// The server can do its work: its database takes writes and the streams can be reached.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Status)))]
pub(super) async fn readyz(State(app): State<App>) -> Result<Json<Status>, Problem> {
    app.readiness.outcome(&app.sessions).await.map(|()| status("ready"))
}

/// As `/readyz`.
#[utoipa::path(get, path = "/health/ready", responses((status = 200, body = Status)))]
pub(super) async fn ready(app: State<App>) -> Result<Json<Status>, Problem> {
    readyz(app).await
}
