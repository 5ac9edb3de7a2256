//! The streams themselves: reading for everybody who may see the session, writing for `manage` only.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use session_protocol::api::{TokenRole, path};

use super::{App, Param, SessionId, no_content};
use crate::{
    access::{Acting, Need},
    budget::Owner,
    delivery::{AnswerRoom, largest_page},
    event,
    limits::ClientKey,
    problem::{Problem, ProblemCode},
    reading::{self, ReadRequest},
    store::Op,
    streams::stream_name,
};

/// Headers that an error keeps beside the protocol's own.
const KEPT: [&str; 4] =
    ["retry-after", "cache-control", "x-content-type-options", "cross-origin-resource-policy"];

/// More than an error of the router's has.
const MAX_PROBLEM: usize = 64 << 10;

/// A stream that is no session's. Its path is read as the storage reads it: what stands for a session's stream there
/// has one way to be asked for, on which the session is told.
pub(super) struct Elsewhere;

impl<S: Send + Sync> FromRequestParts<S> for Elsewhere {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let is_other = |path: &str| {
            let sessions = stream_name("");
            let path = path.trim_start_matches('/');
            !path.starts_with(&sessions) && path != sessions.trim_end_matches('/')
        };
        Param::read(parts, state, "path", is_other).await.map(|_| Self)
    }
}

/// GET and HEAD of a stream that is no session's.
pub(super) async fn read_other(_: Elsewhere, app: State<App>, request: Request) -> Response {
    read(app, request).await
}

/// GET and HEAD of any stream, with every header of the protocol.
async fn read(State(app): State<App>, request: Request) -> Response {
    let from_now =
        reading::of(&request).is_some_and(|read| read.as_ref().is_ok_and(ReadRequest::is_from_now));
    let known = single_tag(request.headers()).cloned();
    let shared = app.sessions.shared();
    let client = request.extensions().get::<ClientKey>().cloned();
    let owner = Owner::Client(client.expect("the guard knows who asks"));
    let room =
        AnswerRoom { budget: &shared.budget, owner: &owner, bytes: largest_page(&app.limits) };
    let waits = shared.streams.waits(&request);
    let mut answer = room.make(waits, shared.streams.serve(request, waits)).await;
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        // The router leaves it out of a 304, and tags the end, which is another place each time.
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (status, known) {
            answer.headers_mut().entry(header::ETAG).or_insert(known);
        }
        if from_now {
            answer.headers_mut().remove(header::ETAG);
        }
        return answer;
    }
    // The error in our form, with the protocol's headers.
    let problem = match status {
        StatusCode::NOT_FOUND => {
            Problem::not_found(ProblemCode::StreamNotFound, "Stream not found")
        }
        StatusCode::BAD_REQUEST => {
            Problem::new(status, ProblemCode::InvalidRequest, "Invalid offset or live mode")
        }
        StatusCode::GONE => Problem::new(status, ProblemCode::StreamGone, "Stream gone"),
        _ => Problem::new(status, ProblemCode::StreamError, "The stream could not be read"),
    };
    let mut problem = problem.into_response();
    for (name, value) in answer.headers() {
        if name.as_str().starts_with("stream-") || KEPT.contains(&name.as_str()) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    let (parts, body) = problem.into_parts();
    Response::from_parts(parts, Body::new(body))
}

/// The entity tag that the client has, if that is one.
fn single_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    let value = headers.get(header::IF_NONE_MATCH)?;
    let tag = value.to_str().ok()?;
    let quoted = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    (!quoted.contains('"')).then_some(value)
}

/// An error of the router's, with the fields beside its own that all errors here have.
async fn completed(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, MAX_PROBLEM).await else {
        return Problem::new(parts.status, ProblemCode::StreamError, "The stream refused")
            .into_response();
    };
    let Ok(Value::Object(mut problem)) = serde_json::from_slice(&body) else {
        return Response::from_parts(parts, body.into());
    };
    for (ours, theirs) in [("error", "title"), ("details", "detail")] {
        if let (None, Some(text)) = (problem.get(ours), problem.get(theirs).cloned()) {
            problem.insert(ours.to_owned(), text);
        }
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Value::Object(problem).to_string().into())
}

/// A session's stream, as the Durable Streams protocol has it: from an offset, live by long poll or server-sent events.
#[utoipa::path(
    get,
    path = path::SESSION_STREAM,
    params(
        ("offset" = Option<String>, Query, description = "`-1` is the beginning, `now` the end"),
        ("live" = Option<String>, Query, description = "`long-poll` or `sse`"),
        ("cursor" = Option<String>, Query, description = "as the last answer gave it"),
    ),
    responses(
        (status = 200, description = "Events from the offset on", body = Vec<Object>),
        (status = 204, description = "Nothing new"),
        (status = 304, description = "Not modified"),
    )
)]
pub(super) async fn read_session(
    app: State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    request: Request,
) -> Response {
    if reading::follows(&request)
        && let Some(reader) = acting.reader()
    {
        app.sessions.shared().signs.note(&session, reader, std::time::Instant::now());
    }
    read(app, request).await
}

/// PUT, POST and DELETE of a stream that is no session's.
pub(super) async fn write_other(
    _: Elsewhere,
    app: State<App>,
    request: Request,
) -> Result<Response, Problem> {
    write(app, request).await
}

/// PUT, POST and DELETE of any stream.
async fn write(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let streams = &app.sessions.shared().streams;
    if !streams.takes_writes() {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ProblemCode::StreamsElsewhere,
            "The streams are in another server; write there",
        ));
    }
    let limit = app.limits.stream_body_bytes;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, limit).await.map_err(|_| Problem::too_large(limit))?;
    let answer = streams.serve(Request::from_parts(parts, body.into()), false).await;
    let failed = answer.status().is_client_error() || answer.status().is_server_error();
    Ok(if failed { completed(answer).await } else { answer })
}

/// A session's stream, written directly. The session is read again before its next intent.
#[utoipa::path(
    method(put, post, delete),
    path = path::SESSION_STREAM,
    request_body(content = Value),
    responses(
        (status = 200, description = "Done"),
        (status = 201, description = "Made"),
        (status = 204, description = "Done"),
    )
)]
pub(super) async fn write_session(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    request: Request,
) -> Result<Response, Problem> {
    // A fork copies what its source holds, whoever may read that.
    let is_fork = request.headers().keys().any(|name| name.as_str().starts_with("stream-fork"));
    if is_fork {
        acting.caller.check(Need::Everywhere(TokenRole::Manage), None)?;
    }
    if request.method() == Method::PUT && !is_fork && !is_json(request.headers()) {
        return Err(Problem::conflict(
            ProblemCode::NotASession,
            "A session's stream is application/json",
        ));
    }
    if request.method() == Method::DELETE {
        // Its runs are stopped and what the database knows of it goes too.
        if !app.sessions.shared().streams.exists(&stream_name(&session)).await? {
            return Err(Problem::not_found(ProblemCode::StreamNotFound, "Stream not found"));
        }
        app.sessions.delete(&session).await?;
        return Ok(no_content());
    }
    let answer = write(State(app.clone()), request).await?;
    if answer.status() == StatusCode::CREATED {
        // It is in the list from now on. When that fails, from its first intent on.
        let add = Op::AddSession { session_id: session, at: event::now() };
        app.sessions.shared().store.apply(vec![add]).await.ok();
    } else if answer.status().is_success() {
        app.sessions.refresh(&session);
    }
    Ok(answer)
}

/// Whether the body's type is JSON, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let plain = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    plain.trim().eq_ignore_ascii_case("application/json")
}
