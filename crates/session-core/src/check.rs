//! Looks what answers at an address before it is joined.

use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use session_protocol::api::{Me, PageQuery, SessionPage, TokenRole, UnknownRole};
use ts_rs::TS;

use crate::client::{ClientError, SessionClient};
use crate::endpoint::Endpoint;

/// Time that the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a look at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerCheck {
    /// Whether the address is a session server's that lets this person in.
    pub ok: bool,
    /// A stable word for programs.
    pub code: String,
    /// One sentence for the person: what the token may do there, or what to do next.
    pub message: String,
}

/// Asks what is at an address and what the token may do there. Nothing is joined or kept.
///
/// # Cancel safety
/// Nothing is changed anywhere.
pub async fn check_server(endpoint: &Endpoint) -> ServerCheck {
    let no = |code: &str, message: &str| ServerCheck {
        ok: false,
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let Ok(client) = SessionClient::new(endpoint.clone(), TIMEOUT) else {
        return no("no-tls", "TLS cannot be set up on this system.");
    };
    let client = client.patient(TIMEOUT);
    let (status, has_token) = match client.me().await {
        Ok(me) => return ServerCheck { ok: true, code: "ok".to_owned(), message: sentence(&me) },
        Err(ClientError::Refused { status, .. }) => (status, endpoint.token.token().is_some()),
        Err(ClientError::NoCertificates) => {
            return no("no-certificates", durable_stream::NO_CERTIFICATES);
        }
        Err(ClientError::Silent { .. }) => {
            return no(
                "server-silent",
                "Something is there but does not answer. Check the address, then try again.",
            );
        }
        Err(ClientError::Stranger) => return stranger(no),
        Err(_) => {
            return no(
                "server-unreachable",
                "Nothing answers there. Check the address, and that the server runs.",
            );
        }
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            let message = match has_token {
                true => "The server refuses the token. Ask whoever runs it for another.",
                false => "The server asks for a token. Ask whoever runs it for one.",
            };
            no("server-refused", message)
        }
        StatusCode::FORBIDDEN => no(
            "server-forbidden",
            "The server does not let you in. Ask whoever runs it for access.",
        ),
        StatusCode::NOT_FOUND => older(&client.sessions(&PageQuery::default()).await, no),
        status if status.is_redirection() => no(
            "server-elsewhere",
            "The server sends to another address. Ask whoever runs it for its own.",
        ),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            no("server-trouble", "The server has a problem now. Try again in a moment.")
        }
        _ => stranger(no),
    }
}

fn stranger(no: impl Fn(&str, &str) -> ServerCheck) -> ServerCheck {
    no(
        "not-a-session-server",
        "What answers there is not a Threadkeep session server. Check the address.",
    )
}

/// A server that does not say what a token may do is known by its list of sessions.
fn older(
    answer: &Result<SessionPage, ClientError>,
    no: impl Fn(&str, &str) -> ServerCheck,
) -> ServerCheck {
    match answer {
        Err(ClientError::Refused { status: StatusCode::UNAUTHORIZED, .. }) => {
            no("server-refused", "The server refuses the token. Ask whoever runs it for another.")
        }
        Ok(_) => ServerCheck {
            ok: true,
            code: "ok".to_owned(),
            message: "A session server answers there. It does not say what you may do.".to_owned(),
        },
        Err(_) => stranger(no),
    }
}

/// The right that the person has there, as a sentence. A role that only a newer server knows is
/// more than the ones here.
fn sentence(me: &Me) -> String {
    let may = match me.role.parse() {
        Ok(TokenRole::View) => "may read",
        Ok(TokenRole::Chat) => "may read and write",
        Ok(TokenRole::Approve) => "may read, write and answer approvals",
        Ok(TokenRole::Manage) | Err(UnknownRole) => "may do everything",
    };
    let who = match &me.name {
        Some(name) => format!("You are {name} there and {may}"),
        None => format!("You {may} there"),
    };
    match me.sessions.as_ref().map(Vec::len) {
        None => format!("{who}."),
        Some(1) => format!("{who}, in one session."),
        Some(count) => format!("{who}, in {count} sessions."),
    }
}
