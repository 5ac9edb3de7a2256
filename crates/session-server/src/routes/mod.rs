//! The HTTP API: upstream's session proxy (both of its generations) with our own routes beside it.
//!
//! Success bodies are upstream's. Where upstream answers a client's mistake with 500 or 204, the answer is 4xx.

mod agents;
mod human;
mod info;
mod messages;
mod room;
mod sessions;
mod stream;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{config::Limits, guard, guard::Guard, problem::Problem, sessions::Sessions};

pub(crate) const MAX_ID: usize = 256;

/// What every route needs.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) sessions: Sessions,
    pub(crate) limits: Arc<Limits>,
}

/// All routes behind the guard.
pub(crate) fn router(app: App, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/", get(info::about))
        .route("/health", get(info::health))
        .route("/health/ready", get(info::ready))
        .route("/health/live", get(info::live))
        .route("/healthz", get(info::health))
        .route("/readyz", get(info::ready))
        .route("/v1/sessions", get(sessions::list))
        .route(
            "/v1/sessions/{session}",
            put(sessions::create)
                .get(sessions::show)
                .patch(sessions::rename)
                .delete(sessions::remove),
        )
        .route("/v1/sessions/{session}/messages", post(messages::send))
        .route("/v1/sessions/{session}/regenerate", post(messages::regenerate))
        .route("/v1/sessions/{session}/stop", post(messages::stop))
        .route("/v1/sessions/{session}/agents", post(agents::register).get(agents::list))
        .route("/v1/sessions/{session}/agents/{agent}", delete(agents::unregister))
        .route("/v1/sessions/{session}/tool-results", post(human::tool_result))
        .route("/v1/sessions/{session}/approvals/{approval}", post(human::approval))
        .route("/v1/sessions/{session}/answers/{tool_use}", post(human::answers))
        .route("/v1/sessions/{session}/login", post(room::login))
        .route("/v1/sessions/{session}/logout", post(room::logout))
        .route("/v1/sessions/{session}/reset", post(room::reset))
        .route("/v1/sessions/{session}/fork", post(room::fork))
        .route("/v1/sessions/{session}/chunks", post(room::chunk))
        .route("/v1/sessions/{session}/chunks/batch", post(room::chunks))
        .route("/v1/sessions/{session}/generations/finish", post(room::finish))
        .route(
            "/v1/stream/sessions/{session}",
            get(stream::read_session)
                .put(stream::write_session)
                .post(stream::write_session)
                .delete(stream::write_session),
        )
        .route(
            "/v1/stream/{*path}",
            get(stream::read).put(stream::write).post(stream::write).delete(stream::write),
        )
        .fallback(|| async { Problem::not_found("NOT_FOUND", "Not found") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "This route does not take this method",
            )
        })
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(app)
}

/// The session named in the path.
pub(crate) struct SessionId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for SessionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Param(id) = Param::read(parts, state, "session").await?;
        Ok(Self(id))
    }
}

/// One path parameter that is an id: not empty, no slash, no control character.
pub(crate) struct Param(pub(crate) String);

impl Param {
    pub(crate) async fn read<S: Send + Sync>(
        parts: &mut Parts,
        state: &S,
        name: &str,
    ) -> Result<Self, Problem> {
        let invalid = || {
            Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", "Invalid id in the path")
                .details("an id has 1 to 256 bytes, no slash and no control character")
        };
        let params = axum::extract::RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid())?;
        let value = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        value.filter(|id| is_id(id)).map(Self).ok_or_else(invalid)
    }
}

/// Whether a text can name a session, an agent, an approval or a tool call.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_ID
        && id != "."
        && id != ".."
        && !id.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '?' | '#'))
}

/// A JSON body. An empty one is `{}`, so that fields decide what is missing.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| match rejection
            .into_response()
            .status()
        {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(app.limits.body_bytes),
            _ => Problem::bad_request("the body could not be read"),
        })?;
        let bytes = if bytes.trim_ascii().is_empty() { &b"{}"[..] } else { &bytes[..] };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Problem::bad_request(error.to_string()))
    }
}

/// Checks a field that must be a UUID.
pub(crate) fn uuid(field: &'static str, value: Option<String>) -> Result<Option<String>, Problem> {
    match value {
        Some(text) if Uuid::parse_str(&text).is_err() || text.len() != 36 => {
            Err(Problem::bad_request(format!("{field}: expected a UUID")))
        }
        value => Ok(value),
    }
}

/// 204.
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
