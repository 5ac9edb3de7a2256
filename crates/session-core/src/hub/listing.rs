//! The server's list of sessions, and what its failures mean.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::StatusCode;
use session_protocol::api::{PageQuery, SessionEntry, SessionPage};

use crate::client::ClientError;
use crate::connection::Connected;
use crate::summary::{Connection, ConnectionState};

/// Time that the list may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Pages of one list at most: a server that never ends is not followed for ever.
const PAGES: usize = 400;

/// The reason why there is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Unreachable,
    Refused(u16),
    /// The answer is not a session server's.
    Stranger,
    /// The server is in trouble.
    Trouble(u16),
}

/// Asks the server for its sessions, page by page. One that is used meanwhile moves to the front,
/// so that is read again behind the last page; each session comes once, as it was seen last.
pub(super) async fn fetch(connected: &Connected) -> Result<Vec<SessionEntry>, Failure> {
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

/// Reads pages until there are no more, or until sessions that were not used since `until`. Returns
/// the newest activity.
async fn read(
    connected: &Connected,
    pages: &mut usize,
    until: Option<&str>,
    into: &mut Vec<SessionEntry>,
) -> Result<Option<String>, Failure> {
    let mut cursor = None;
    loop {
        let SessionPage { mut sessions, next } = page(connected, cursor.clone()).await?;
        *pages += 1;
        let activity = |listed: &SessionEntry| listed.last_activity_at.clone();
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

async fn page(connected: &Connected, cursor: Option<String>) -> Result<SessionPage, Failure> {
    let client = connected.client.clone().patient(TIMEOUT);
    let page = client.sessions(&PageQuery { limit: None, cursor }).await;
    page.map_err(|error| match error {
        ClientError::Stranger => Failure::Stranger,
        ClientError::Refused { status, .. } => match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Refused(status.as_u16()),
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Failure::Trouble(status.as_u16())
            }
            _ => Failure::Stranger,
        },
        _ => Failure::Unreachable,
    })
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
