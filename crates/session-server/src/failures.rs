//! Failures of the databases and the streams, as the problems of whoever asked.

use axum::http::StatusCode;

use crate::{
    problem::{Problem, ProblemCode},
    store::StoreError,
    streams::StreamError,
};

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        let details = error.to_string();
        match error {
            StreamError::NotFound => Self::session_not_found(),
            StreamError::Gone => {
                Self::new(StatusCode::GONE, ProblemCode::SessionGone, "Session gone")
                    .details(details)
            }
            StreamError::Foreign => {
                Self::conflict(ProblemCode::NotASession, "Not a session").details(details)
            }
            StreamError::Closed => {
                Self::conflict(ProblemCode::SessionClosed, "Session closed").details(details)
            }
            StreamError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                ProblemCode::NoSpace,
                "The stream server is out of space",
            )
            .details(details),
            StreamError::Long => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::SessionFull, "Session full")
                    .details(details)
            }
            StreamError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::TooLarge, "Event too large")
                    .details(details)
            }
            StreamError::Fenced(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ProblemCode::Fenced,
                "Another writer took over",
            )
            .details(details),
            StreamError::Unavailable(_) | StreamError::Refused(_) | StreamError::Displaced => {
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    ProblemCode::StreamUnavailable,
                    "The stream server is not available",
                )
                .details(details)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the server's own database failed");
        if matches!(error, StoreError::Full) {
            return Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                ProblemCode::NoSpace,
                "The server's disk is full",
            )
            .details("free some space on the server, then send it again");
        }
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ProblemCode::StoreUnavailable,
            "The server's own database is not available",
        )
    }
}
