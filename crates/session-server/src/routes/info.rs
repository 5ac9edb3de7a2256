//! The server: what it is and how it is.

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
use session_protocol::api::{Health, Me, TokenRole, path};

use super::{App, openapi::Document};
use crate::{access::Caller, event, problem::Problem, sessions::Sessions, streams::stream_name};

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
#[utoipa::path(get, path = path::ABOUT, responses((status = 200, body = Object)))]
pub(super) async fn about() -> Json<Value> {
    // As upstream writes a pattern.
    let route = |pattern: &str| {
        pattern.replace("{session}", ":sessionId").replace("{approval}", ":approvalId")
    };
    Json(json!({
        "name": "threadkeep-session-server",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "sessions": route(path::SESSIONS),
            "stream": route(path::SESSION_STREAM),
            "messages": route(path::MESSAGES),
            "agents": route(path::AGENTS),
            "approvals": route(path::APPROVAL),
            "toolResults": route(path::TOOL_RESULTS),
            "health": route(path::HEALTH),
            "openapi": route(path::OPENAPI),
        },
    }))
}

/// The caller's name here, and what the token allows.
#[utoipa::path(get, path = path::ME, responses((status = 200, body = Me)))]
pub(super) async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    Json(match caller {
        Caller::Owner => {
            Me { name: None, role: TokenRole::Manage.as_str().to_owned(), sessions: None }
        }
        Caller::Named(grant) => Me {
            name: Some(grant.name.clone()),
            role: grant.role.as_str().to_owned(),
            sessions: grant.sessions.clone(),
        },
    })
}

/// Returns the document of this API.
#[utoipa::path(get, path = path::OPENAPI, responses((status = 200, body = Object)))]
pub(super) async fn openapi(Extension(Document(json)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// The counters that a Prometheus server collects.
#[utoipa::path(
    get,
    path = path::METRICS,
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let shared = app.sessions.shared();
    let known = shared.store.count_sessions().await?;
    let text = shared.metrics.encode(known, app.sessions.count_open(), shared.budget.held());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn health_of(status: &str) -> Json<Health> {
    Json(Health { status: status.to_owned(), timestamp: event::now() })
}

/// The server answers.
#[utoipa::path(get, path = path::HEALTH, responses((status = 200, body = Health)))]
pub(super) async fn health() -> Json<Health> {
    health_of("ok")
}

/// The server answers.
#[utoipa::path(get, path = path::HEALTHZ, responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    health_of("ok")
}

/// The server answers.
#[utoipa::path(get, path = path::HEALTH_LIVE, responses((status = 200, body = Health)))]
pub(super) async fn live() -> Json<Health> {
    health_of("live")
}

/// The server can do its work: its database takes writes and the streams can be reached.
#[utoipa::path(get, path = path::READYZ, responses((status = 200, body = Health)))]
pub(super) async fn readyz(State(app): State<App>) -> Result<Json<Health>, Problem> {
    app.readiness.outcome(&app.sessions).await.map(|()| health_of("ready"))
}

/// As `/readyz`.
#[utoipa::path(get, path = path::HEALTH_READY, responses((status = 200, body = Health)))]
pub(super) async fn ready(app: State<App>) -> Result<Json<Health>, Problem> {
    readyz(app).await
}
