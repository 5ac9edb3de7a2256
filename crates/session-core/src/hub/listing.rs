//! The server's list of sessions, and what its failures mean.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Deserializer};
use session_protocol::canonical_time;

use crate::connection::{Connected, authorize};
use crate::summary::{Connection, ConnectionState};

/// How long the list may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A session as the server lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    #[serde(alias = "id")]
    pub(super) session_id: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub(super) created_at: Option<String>,
    #[serde(default, alias = "updatedAt", alias = "lastActivity", deserialize_with = "time")]
    pub(super) last_activity_at: Option<String>,
    #[serde(default)]
    pub(super) forked_from: Option<ForkedFrom>,
}

/// A time in the form in which times are compared as text; what is none is left out.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.as_deref().and_then(canonical_time))
}

/// Where a session was forked from.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForkedFrom {
    pub(super) session_id: String,
}

#[derive(Deserialize)]
struct Answer {
    sessions: Vec<Listed>,
    /// What the next page is asked for with.
    #[serde(default)]
    next: Option<String>,
}

/// Pages of one list at most: a server that never ends is not followed for ever.
const PAGES: usize = 400;

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

/// Asks the server for its sessions, page by page. One that is used meanwhile moves to the front, so that is read again
/// behind the last page; each session comes once, as it was seen last.
pub(super) async fn fetch(connected: &Connected) -> Result<Vec<Listed>, Failure> {
    let mut all = Vec::new();
    let mut pages = 0;
    let front = read(connected, &mut pages, None, &mut all).await?;
    if pages > 1 {
        let mut again = Vec::new();
        read(connected, &mut pages, front.as_deref(), &mut again).await?;
        again.append(&mut all);
        all = again;
    }
    let mut seen = HashSet::new();
    all.retain(|listed| seen.insert(listed.session_id.clone()));
    Ok(all)
}

/// Reads pages until there are no more, or until sessions that were not used since `until`. Returns the newest activity.
async fn read(
    connected: &Connected,
    pages: &mut usize,
    until: Option<&str>,
    into: &mut Vec<Listed>,
) -> Result<Option<String>, Failure> {
    let mut cursor = None;
    loop {
        let Answer { mut sessions, next } = page(connected, cursor.as_deref()).await?;
        *pages += 1;
        let activity = |listed: &Listed| listed.last_activity_at.clone();
        let reached = until.is_some_and(|until| {
            sessions.last().and_then(activity).is_none_or(|last| *last <= *until)
        });
        into.append(&mut sessions);
        if reached || next.is_none() || next == cursor || *pages >= PAGES {
            return Ok(into.first().and_then(activity));
        }
        cursor = next;
    }
}

async fn page(connected: &Connected, cursor: Option<&str>) -> Result<Answer, Failure> {
    let mut url = connected.endpoint.url(&["v1", "sessions"]);
    if let Some(cursor) = cursor {
        url.query_pairs_mut().append_pair("cursor", cursor);
    }
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
            serde_json::from_slice::<Answer>(&body).map_err(|_| Failure::Stranger)
        }
    }
}

/// The connection as the person is told of it.
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
            "The session server refuses the token. Sign in again with another.".to_owned(),
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
             address."
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_form_are_listed_in_one() {
        let listed = r#"{"sessionId": "s", "createdAt": "2026-01-05T10:00:00+02:00", "updatedAt": "2026-01-05T08:00:00Z"}"#;
        let listed: Listed = serde_json::from_str(listed).expect("a session of a list");
        assert_eq!(listed.created_at.as_deref(), Some("2026-01-05T08:00:00.000Z"));
        assert_eq!(listed.created_at, listed.last_activity_at);
        let none: Listed = serde_json::from_str(r#"{"sessionId": "s", "updatedAt": "$(date)"}"#)
            .expect("a session of a list");
        assert_eq!(none.last_activity_at, None);
    }
}
