//! A connection, whatever carries it: requests go out under numbers, and each is heard about until its answer.

use std::sync::Arc;

use rpc_process::RpcError;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::{
    ears::{Heard, Request},
    error::Error,
    http::Http,
    stdio::Stdio,
};

/// A connection. Cloning it is cheap; the last clone that is dropped ends it.
#[derive(Clone)]
pub(crate) enum Line {
    Stdio(Arc<Stdio>),
    Http(Arc<Http>),
}

impl Line {
    /// Sends a request. What is heard of it ends with its answer or a failure.
    ///
    /// # Errors
    ///
    /// The connection is gone, and nothing was sent.
    pub(crate) fn send(&self, request: Request) -> Result<mpsc::Receiver<Heard>, Error> {
        match self {
            Self::Stdio(stdio) => stdio.send(request),
            Self::Http(http) => Ok(Http::send(http, request)),
        }
    }

    pub(crate) fn notify(&self, method: &'static str, params: Value) {
        match self {
            Self::Stdio(stdio) => stdio.notify(method, params),
            Self::Http(http) => Http::notify(http, method, &params),
        }
    }

    /// Answers a request of the server.
    pub(crate) fn answer(&self, id: Value, answer: Result<Value, RpcError>) {
        match self {
            Self::Stdio(stdio) => stdio.answer(id, answer),
            Self::Http(http) => Http::answer(http, &id, &answer),
        }
    }

    /// Gives a request up, and tells the server.
    pub(crate) fn cancel(&self, number: u64) {
        match self {
            Self::Stdio(stdio) => stdio.cancel(number),
            Self::Http(http) => Http::cancel(http, number),
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        match self {
            Self::Stdio(stdio) => stdio.changes(),
            Self::Http(http) => http.changes(),
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Stdio(stdio) => stdio.is_gone(),
            Self::Http(http) => http.is_lost(),
        }
    }
}
