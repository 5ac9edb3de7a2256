//! The server's list of sessions, and what its failures mean.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::connection::{Connected, authorize};
use crate::summary::{Connection, ConnectionState};

/// How long the list may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A session as the server lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    #[serde(alias = "id")]
    pub(super) session_id: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) created_at: Option<String>,
    #[serde(default, alias = "updatedAt", alias = "lastActivity")]
    pub(super) last_activity_at: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    sessions: Vec<Listed>,
}

/// Why there is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Unreachable,
    Refused(u16),
    /// Something answers, but it is no session server.
    Stranger,
    /// The server is in trouble.
    Trouble(u16),
}

/// Asks the server for its sessions.
pub(super) async fn fetch(connected: &Connected) -> Result<Vec<Listed>, Failure> {
    let url = connected.endpoint.url(&["v1", "sessions"]);
    let request = authorize(connected.http.get(url), &connected.endpoint).timeout(TIMEOUT);
    let response = request.send().await.map_err(|_| Failure::Unreachable)?;
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::Refused(status.as_u16())),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Trouble(status.as_u16()))
        }
        _ if !status.is_success() => Err(Failure::Stranger),
        _ => {
            let body = response.bytes().await.map_err(|_| Failure::Unreachable)?;
            serde_json::from_slice::<Answer>(&body)
                .map(|answer| answer.sessions)
                .map_err(|_| Failure::Stranger)
        }
    }
}

/// What the person is told.
pub(super) fn describe(failure: Failure) -> Connection {
    let (state, code, message) = match failure {
        Failure::Unreachable => (
            ConnectionState::Retrying,
            "server-unreachable",
            "The session server cannot be reached. Everything here can be read; what you write is \
             sent when it is back."
                .to_owned(),
        ),
        Failure::Refused(401) => (
            ConnectionState::Refused,
            "server-refused",
            "The session server refuses the token. Check the server and token in the settings."
                .to_owned(),
        ),
        Failure::Refused(_) => (
            ConnectionState::Refused,
            "server-forbidden",
            "The session server does not let you in. Ask whoever runs it for access.".to_owned(),
        ),
        Failure::Stranger => (
            ConnectionState::Refused,
            "not-a-session-server",
            "What answers at the server's address is not a Threadkeep session server. Check the \
             address in the settings."
                .to_owned(),
        ),
        Failure::Trouble(status) => (
            ConnectionState::Retrying,
            "server-trouble",
            format!(
                "The session server has a problem (HTTP {status}). It is asked again by itself."
            ),
        ),
    };
    let code = Some(code.to_owned());
    Connection { state, code, message: Some(message), ..Connection::default() }
}
