//! Looks what answers at an address before it is joined.

use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::connection::{Connected, authorize};
use crate::endpoint::Endpoint;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a look at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerCheck {
    /// Whether it is a session server that lets this person in.
    pub ok: bool,
    /// A stable word for programs.
    pub code: String,
    /// One sentence for the person: what the token may do there, or what to do next.
    pub message: String,
}

/// What a session server answers about a token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    /// The name that it acts under; `None`: the request says who acts.
    pub(crate) name: Option<String>,
    role: String,
    sessions: Option<Vec<String>>,
}

/// Asks a server who we are there. `None` when it does not say.
pub(crate) async fn me(connected: &Connected) -> Option<Me> {
    let request = connected.http.get(connected.endpoint.url(&["v1", "me"])).timeout(TIMEOUT);
    let answer = authorize(request, &connected.endpoint).send().await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
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
    let Ok(connected) = Connected::new(endpoint.clone(), 0) else {
        return no("no-tls", "TLS cannot be set up on this system.");
    };
    let ask = |path: &[&str]| {
        authorize(connected.http.get(endpoint.url(path)), endpoint).timeout(TIMEOUT).send()
    };
    let answer = match ask(&["v1", "me"]).await {
        Ok(answer) => answer,
        Err(error) if durable_stream::lacks_certificates(&error) => {
            return no("no-certificates", durable_stream::NO_CERTIFICATES);
        }
        Err(error) if error.is_timeout() => {
            return no(
                "server-silent",
                "Something is there but does not answer. Check the address, then try again.",
            );
        }
        Err(_) => {
            return no(
                "server-unreachable",
                "Nothing answers there. Check the address, and that the server runs.",
            );
        }
    };
    match answer.status() {
        StatusCode::UNAUTHORIZED => {
            let has_token = endpoint.token.token().is_some();
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
        StatusCode::NOT_FOUND => older(ask(&["v1", "sessions"]).await, no),
        status if status.is_redirection() => no(
            "server-elsewhere",
            "The server sends to another address. Ask whoever runs it for its own.",
        ),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            no("server-trouble", "The server has a problem now. Try again in a moment.")
        }
        status if status.is_success() => match answer.json::<Me>().await {
            Ok(me) => ServerCheck { ok: true, code: "ok".to_owned(), message: me.sentence() },
            Err(_) => stranger(no),
        },
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
    answer: Result<reqwest::Response, reqwest::Error>,
    no: impl Fn(&str, &str) -> ServerCheck,
) -> ServerCheck {
    let is_json = |answer: &reqwest::Response| {
        let kind = answer.headers().get(reqwest::header::CONTENT_TYPE);
        kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("json"))
    };
    match answer {
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
            no("server-refused", "The server refuses the token. Ask whoever runs it for another.")
        }
        Ok(answer) if answer.status().is_success() && is_json(&answer) => ServerCheck {
            ok: true,
            code: "ok".to_owned(),
            message: "A session server answers there. It does not say what you may do.".to_owned(),
        },
        _ => stranger(no),
    }
}

impl Me {
    fn sentence(&self) -> String {
        let may = match self.role.as_str() {
            "view" => "may read",
            "chat" => "may read and write",
            "approve" => "may read, write and answer approvals",
            _ => "may do everything",
        };
        let who = match &self.name {
            Some(name) => format!("You are {name} there and {may}"),
            None => format!("You {may} there"),
        };
        match self.sessions.as_ref().map(Vec::len) {
            None => format!("{who}."),
            Some(1) => format!("{who}, in one session."),
            Some(count) => format!("{who}, in {count} sessions."),
        }
    }
}
