//! Reading the stream itself. Only GET and HEAD: the server is the only appender.

use axum::{
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{App, SessionId};
use crate::problem::Problem;

pub(super) async fn read(
    State(app): State<App>,
    SessionId(_): SessionId,
    request: Request,
) -> Response {
    let answer = app.sessions.shared().streams.serve(request).await;
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return answer;
    }
    // The error in our form, with the protocol's headers.
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::not_found("STREAM_NOT_FOUND", "Stream not found"),
        StatusCode::BAD_REQUEST => {
            Problem::new(status, "INVALID_REQUEST", "Invalid offset or live mode")
        }
        StatusCode::GONE => Problem::new(status, "STREAM_GONE", "Stream gone"),
        _ => Problem::new(status, "STREAM_ERROR", "The stream could not be read"),
    };
    let mut problem = problem.into_response();
    for (name, value) in answer.headers() {
        if name.as_str().starts_with("stream-") || name == "retry-after" {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    let (parts, body) = problem.into_parts();
    Response::from_parts(parts, Body::new(body))
}
