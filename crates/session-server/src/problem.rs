//! Errors of the HTTP API: upstream's `{error, details?}` with the fields of RFC 9457 beside them.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ledger::TxidUsed;

/// An answer that is not a success. Texts never carry what a person wrote (L11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    error: &'static str,
    details: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) const fn new(status: StatusCode, code: &'static str, error: &'static str) -> Self {
        Self { status, code, error, details: None, retry_after: None }
    }

    #[must_use]
    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// The same refusal under another code and title.
    #[must_use]
    pub(crate) fn titled(mut self, code: &'static str, error: &'static str) -> Self {
        self.code = code;
        self.error = error;
        self
    }

    pub(crate) fn bad_request(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "Invalid request body")
            .details(details)
    }

    pub(crate) fn invalid_id() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ID", "Invalid id in the path")
            .details(
            "an id has 1 to 256 bytes, no slash and no control character; a session's is in Unicode's form NFC and has \
             no white space around it and no invisible character",
        )
    }

    pub(crate) const fn session_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND", "Session not found")
    }

    pub(crate) const fn session_deleted() -> Self {
        Self::new(
            StatusCode::GONE,
            "SESSION_DELETED",
            "This session was deleted; make it again (PUT) before anything is said in it",
        )
    }

    pub(crate) const fn not_found(code: &'static str, error: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, error)
    }

    pub(crate) const fn conflict(code: &'static str, error: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, error)
    }

    pub(crate) const fn actor_exists() -> Self {
        Self::conflict("ACTOR_EXISTS", "A person has this name, or one that looks like it")
    }

    pub(crate) const fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "A valid token is needed")
    }

    pub(crate) const fn not_ready() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", "The server is not ready")
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", "Request too large")
            .details(format!("a body may have {limit} bytes"))
    }

    pub(crate) const fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "TOO_SLOW",
            "The request's body did not come in time",
        )
    }

    pub(crate) fn too_many_requests(wait: Duration) -> Self {
        let mut problem =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many requests");
        problem.retry_after = Some(wait.as_secs() + 1);
        problem
    }

    pub(crate) const fn bad_gateway() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "STREAM_SERVER_UNREACHABLE",
            "Failed to proxy stream request",
        )
    }

    /// Trying again later may succeed.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE)
    }

    pub(crate) const fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "BUSY",
            "The server holds as much for others as it may; try again in a moment",
        )
    }

    /// The session's own task fell; the others go on.
    pub(crate) fn session_failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "SESSION_FAILED",
            "The session could not be led",
        )
        .details("the other sessions go on; send it again, and if that does not help, clear or delete this session")
    }

    pub(crate) const fn shutting_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SHUTTING_DOWN", "The server is shutting down")
    }
}

impl From<TxidUsed> for Problem {
    fn from(_: TxidUsed) -> Self {
        Self::conflict(
            "TXID_USED",
            "This txid was used for another wish; send each wish with a txid of its own",
        )
    }
}

/// The code of an answer that is not a success, for who counts them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code(pub(crate) &'static str);

/// The body of an answer that is not a success.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// What went wrong, as upstream's clients show it.
    error: &'static str,
    /// `about:blank`: the status and `code` say all.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// What programs decide by.
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            error: self.error,
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.details.clone().unwrap_or_else(|| self.error.to_owned()),
            code: self.code,
            details: self.details,
        };
        let mut response = (self.status, Json(body)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(Code(self.code));
        let busy = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        if let Some(seconds) = self.retry_after.or(busy) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
