//! The HTTP API: upstream's session proxy (both of its generations) with our own routes beside it.
//!
//! Bodies are [`session_protocol::api`]'s, read and written by these handlers. Success bodies are upstream's. Where
//! upstream answers a client's mistake with 500 or 204, the answer is 4xx.

mod agents;
mod human;
mod info;
mod local;
mod memory;
mod messages;
mod openapi;
mod room;
mod sessions;
mod stream;
mod tools;

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request},
    http::{Method, StatusCode, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::de::DeserializeOwned;
use session_protocol::api::path;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    config::Limits,
    guard,
    guard::Guard,
    metrics,
    names::{is_id, is_plain_id},
    problem::{Problem, ProblemCode},
    reading, serve,
    sessions::Sessions,
    tokens::KnownTokens,
};

pub(crate) use info::Readiness;

/// The state that every route needs.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) sessions: Sessions,
    pub(crate) limits: Arc<Limits>,
    pub(crate) readiness: Readiness,
    /// Who may use the server under a name of his own.
    pub(crate) tokens: Option<KnownTokens>,
}

/// The routes that the OpenAPI document names, and the document.
fn documented() -> (Router<App>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::begin())
        .routes(routes!(info::about))
        .routes(routes!(info::me))
        .routes(routes!(info::openapi))
        .routes(routes!(info::metrics))
        .routes(routes!(info::health))
        .routes(routes!(info::healthz))
        .routes(routes!(info::live))
        .routes(routes!(info::ready))
        .routes(routes!(info::readyz))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::forks))
        .routes(routes!(sessions::create, sessions::show, sessions::rename, sessions::remove))
        .routes(routes!(messages::send))
        .routes(routes!(messages::regenerate))
        .routes(routes!(messages::stop))
        .routes(routes!(agents::register, agents::list))
        .routes(routes!(agents::unregister))
        .routes(routes!(local::set_option))
        .routes(routes!(local::work))
        .routes(routes!(local::output))
        .routes(routes!(local::folder, local::choose_folder))
        .routes(routes!(local::folders))
        .routes(routes!(local::list))
        .routes(routes!(local::put, local::remove))
        .routes(routes!(local::known))
        .routes(routes!(human::tool_result))
        .routes(routes!(human::approval))
        .routes(routes!(human::answers))
        .routes(routes!(tools::list))
        .routes(routes!(tools::switch))
        .routes(routes!(tools::decide))
        .routes(routes!(tools::rules))
        .routes(routes!(tools::forget))
        .routes(routes!(tools::test))
        .routes(routes!(memory::answer))
        .routes(routes!(room::login))
        .routes(routes!(room::logout))
        .routes(routes!(room::reset))
        .routes(routes!(room::fork))
        .routes(routes!(room::chunk))
        .routes(routes!(room::chunks))
        .routes(routes!(room::finish))
        .routes(routes!(stream::read_session, stream::write_session))
        .split_for_parts()
}

/// The routes, behind the guard.
pub(crate) fn router(app: App, guard: Arc<Guard>) -> Router {
    let (router, api) = documented();
    let budget = app.sessions.shared().budget.clone();
    let intake = serve::Intake { budget, pause: app.limits.body_pause };
    let metrics = app.sessions.shared().metrics.clone();
    router
        .route(
            path::ANY_STREAM,
            get(stream::read_other)
                .put(stream::write_other)
                .post(stream::write_other)
                .delete(stream::write_other),
        )
        .fallback(|| async { Problem::not_found(ProblemCode::NotFound, "Not found") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                ProblemCode::MethodNotAllowed,
                "This route does not take this method",
            )
        })
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(Extension(openapi::finish(&api)))
        .layer(middleware::from_fn_with_state(intake, serve::take_in))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(middleware::from_fn_with_state(metrics, metrics::count))
        .layer(middleware::from_fn(reading::describe))
        .with_state(app)
}

/// The session named in the path.
pub(crate) struct SessionId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for SessionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What exists is read and deleted under the name that it was made with, also where that could not be any more.
        let fits = match parts.method {
            Method::GET | Method::HEAD | Method::DELETE => is_id,
            _ => is_plain_id,
        };
        let Param(id) = Param::read(parts, state, "session", fits).await?;
        Ok(Self(id))
    }
}

/// One path parameter that is an id.
pub(crate) struct Param(pub(crate) String);

impl Param {
    /// Reads the parameter, when it `fits`.
    pub(crate) async fn read<S: Send + Sync>(
        parts: &mut Parts,
        state: &S,
        name: &str,
        fits: fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let params = axum::extract::RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::invalid_id())?;
        let value = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        value.filter(|id| fits(id)).map(Self).ok_or_else(Problem::invalid_id)
    }
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
        // All of it, also what is in fields that nobody looks at.
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Err(Problem::bad_request("the body is not UTF-8"));
        };
        let text = if text.trim_ascii().is_empty() { "{}" } else { text };
        // An array would be read as the fields in their order.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Problem::bad_request("expected a JSON object"));
        }
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| Problem::bad_request(unquoted(&error.to_string())))
    }
}

/// The JSON reader's words without the value that it stumbled over (L11).
fn unquoted(error: &str) -> String {
    match error.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => error.to_owned(),
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
