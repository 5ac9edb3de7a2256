//! Errors of the HTTP API: upstream's `{error, details?}` with the fields of RFC 9457 beside them.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use session_protocol::api::{self, PROBLEM_JSON};

pub(crate) use session_protocol::api::ProblemCode;

use crate::book::TxidUsed;

/// An answer that is not a success. Texts never carry what a person wrote (L11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ProblemCode,
    error: &'static str,
    details: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) const fn new(status: StatusCode, code: ProblemCode, error: &'static str) -> Self {
        Self { status, code, error, details: None, retry_after: None }
    }

    /// The refusal in words.
    pub(crate) fn sentence(&self) -> String {
        match &self.details {
            Some(details) => format!("{}: {details}", self.error),
            None => self.error.to_owned(),
        }
    }

    #[must_use]
    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Gives the problem another code and title.
    #[must_use]
    pub(crate) fn titled(mut self, code: ProblemCode, error: &'static str) -> Self {
        self.code = code;
        self.error = error;
        self
    }

    pub(crate) fn bad_request(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ProblemCode::InvalidRequest, "Invalid request body")
            .details(details)
    }

    pub(crate) fn invalid_id() -> Self {
        Self::new(StatusCode::BAD_REQUEST, ProblemCode::InvalidId, "Invalid id in the path")
            .details(
            "an id has 1 to 256 bytes, no slash and no control character; a session's is in Unicode's form NFC and has \
             no white space around it and no invisible character",
        )
    }

    pub(crate) const fn session_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, ProblemCode::SessionNotFound, "Session not found")
    }

    pub(crate) const fn session_deleted() -> Self {
        Self::new(
            StatusCode::GONE,
            ProblemCode::SessionDeleted,
            "This session was deleted; make it again (PUT) before anything is said in it",
        )
    }

    pub(crate) const fn not_found(code: ProblemCode, error: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, error)
    }

    /// Somebody asks for what is the owner's.
    pub(crate) const fn owner_needed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ProblemCode::OwnerNeeded,
            "Only the owner of the server's computer may do this",
        )
    }

    pub(crate) const fn conflict(code: ProblemCode, error: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, error)
    }

    pub(crate) const fn actor_exists() -> Self {
        Self::conflict(
            ProblemCode::ActorExists,
            "A person has this name, or one that looks like it",
        )
    }

    pub(crate) const fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ProblemCode::Unauthorized, "A valid token is needed")
    }

    pub(crate) const fn not_ready() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::NotReady, "The server is not ready")
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::TooLarge, "Request too large")
            .details(format!("a body may have {limit} bytes"))
    }

    pub(crate) const fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            ProblemCode::TooSlow,
            "The request's body did not come in time",
        )
    }

    pub(crate) fn too_many_requests(wait: Duration) -> Self {
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            ProblemCode::TooManyRequests,
            "Too many requests",
        );
        problem.retry_after = Some(wait.as_secs() + 1);
        problem
    }

    pub(crate) const fn bad_gateway() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            ProblemCode::StreamServerUnreachable,
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
            ProblemCode::Busy,
            "The server holds as much for others as it may; try again in a moment",
        )
    }

    /// The session's own task fell; the others go on.
    pub(crate) fn session_failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ProblemCode::SessionFailed,
            "The session could not be led",
        )
        .details("the other sessions go on; send it again, and if that does not help, clear or delete this session")
    }

    pub(crate) const fn shutting_down() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ProblemCode::ShuttingDown,
            "The server is shutting down",
        )
    }
}

impl From<TxidUsed> for Problem {
    fn from(_: TxidUsed) -> Self {
        Self::conflict(
            ProblemCode::TxidUsed,
            "This txid was used for another wish; send each wish with a txid of its own",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = api::Problem {
            error: self.error.to_owned(),
            r#type: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.details.clone().unwrap_or_else(|| self.error.to_owned()),
            code: self.code,
            details: self.details,
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(self.code); // for who counts refusals
        let busy = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        if let Some(seconds) = self.retry_after.or(busy) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
