//! Sending one entry, and what its answer means.
//!
//! Every request carries the id by which the server knows it again (`messageId`, the approval's id,
//! `txid`), so that sending twice is the same as sending once. The routes are those of the session
//! proxy that sessions on Durable Streams grew up with.

use std::time::Duration;

use durable_stream::retry_after;
use reqwest::header::IF_MATCH;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use session_protocol::Intent;

use crate::config::Actor;
use crate::connection::{Connected, authorize};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is read to find the reason in it.
const REASON_BYTES: usize = 16 * 1024;
/// How much of a reason is shown.
const REASON_CHARS: usize = 300;

/// The fate of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// The server has it.
    Accepted,
    /// Not now: no connection, or the server is in trouble. `reached`: it may have it all the same.
    Later { reason: String, floor: Option<Duration>, reached: bool },
    /// The server does not know who we are: nothing is sent until that changes.
    Refused { reason: String },
    /// The server will never take this.
    Wedged { reason: String },
}

impl SendOutcome {
    /// Whether the server surely does not have it.
    pub(crate) fn is_no_delivery(&self) -> bool {
        match self {
            Self::Accepted => false,
            Self::Later { reached, .. } => !reached,
            Self::Refused { .. } | Self::Wedged { .. } => true,
        }
    }
}

/// Sends entries of one session to one server.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) connected: Connected,
    pub(crate) session: String,
    pub(crate) actor: Actor,
}

impl Sender {
    /// Sends one intent; `txid` is the entry's id.
    ///
    /// # Cancel safety
    /// The server may or may not have it: send it again.
    pub(crate) async fn send(&self, intent: &Intent, txid: &str) -> SendOutcome {
        for request in self.requests(intent, txid) {
            match self.once(request, intent).await {
                SendOutcome::Accepted => {}
                outcome => return outcome,
            }
        }
        SendOutcome::Accepted
    }

    fn requests(&self, intent: &Intent, txid: &str) -> Vec<RequestBuilder> {
        let actor = &self.actor.id;
        match intent {
            Intent::CreateSession { agents, title } => {
                let body = match title {
                    Some(title) => json!({ "title": title }),
                    None => json!({}),
                };
                let mut requests = vec![self.request(Method::PUT, &[]).json(&body)];
                if !agents.is_empty() {
                    let body = json!({ "agents": agents });
                    requests.push(self.request(Method::POST, &["agents"]).json(&body));
                }
                requests
            }
            Intent::Fork { source, at_message_id } => {
                let body = json!({ "newSessionId": self.session, "atMessageId": at_message_id });
                vec![self.request_to(source, Method::POST, &["fork"]).json(&body)]
            }
            Intent::SendMessage { message_id, text } => {
                let body = json!({
                    "messageId": message_id, "content": text, "role": "user",
                    "actorId": actor, "actorType": "user", "txid": txid,
                });
                // RFC 9110 §13.1.1: only where the session is. A word makes none.
                let request = self.request(Method::POST, &["messages"]).header(IF_MATCH, "*");
                vec![request.json(&body)]
            }
            Intent::RespondApproval { approval_id, message_id, approved, payload } => {
                let mut body =
                    json!({ "approved": approved, "messageId": message_id, "txid": txid });
                if let Some(payload) = payload {
                    body["payload"] = payload.clone();
                }
                vec![self.request(Method::POST, &["approvals", approval_id]).json(&body)]
            }
            Intent::ToolResult { tool_call_id, output, error } => {
                let body = json!({
                    "toolCallId": tool_call_id, "output": output, "error": error, "txid": txid,
                });
                vec![self.request(Method::POST, &["tool-results"]).json(&body)]
            }
            Intent::Regenerate { message_id } => {
                let body = json!({ "fromMessageId": message_id, "txid": txid });
                vec![self.request(Method::POST, &["regenerate"]).json(&body)]
            }
            Intent::Stop { message_id } => {
                let body = json!({ "messageId": message_id, "txid": txid });
                vec![self.request(Method::POST, &["stop"]).json(&body)]
            }
            Intent::Rename { title } => {
                let body = json!({ "title": title, "txid": txid });
                vec![self.request(Method::PATCH, &[]).json(&body)]
            }
            Intent::DeleteSession => vec![self.request(Method::DELETE, &[])],
        }
    }

    fn request(&self, method: Method, rest: &[&str]) -> RequestBuilder {
        self.request_to(&self.session, method, rest)
    }

    fn request_to(&self, session: &str, method: Method, rest: &[&str]) -> RequestBuilder {
        let mut path = vec!["v1", "sessions", session];
        path.extend(rest);
        let url = self.connected.endpoint.url(&path);
        let request = self.connected.http.request(method, url).timeout(TIMEOUT);
        authorize(request, &self.connected.endpoint)
            .header("x-actor-id", &self.actor.id)
            .header("x-actor-type", "user")
    }

    async fn once(&self, request: RequestBuilder, intent: &Intent) -> SendOutcome {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => {
                return SendOutcome::Wedged {
                    reason: "This could not be put into a request. Edit it and try again."
                        .to_owned(),
                };
            }
            Err(error) => {
                return SendOutcome::Later {
                    reason: "The server cannot be reached. This is sent when it can.".to_owned(),
                    floor: None,
                    reached: !error.is_connect(),
                };
            }
        };
        let status = response.status();
        if status.is_success() {
            return SendOutcome::Accepted;
        }
        let floor = retry_after(response.headers());
        judge(status, floor, intent, reason(response).await)
    }
}

/// The fate of an entry by a status that is not a success.
fn judge(
    status: StatusCode,
    floor: Option<Duration>,
    intent: &Intent,
    said: Option<String>,
) -> SendOutcome {
    match status {
        // Deleted already is deleted.
        StatusCode::NOT_FOUND | StatusCode::GONE if matches!(intent, Intent::DeleteSession) => {
            SendOutcome::Accepted
        }
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED
            if matches!(intent, Intent::SendMessage { .. }) =>
        {
            let reason = "The server does not have this session any more.".to_owned();
            SendOutcome::Wedged { reason }
        }
        StatusCode::UNAUTHORIZED => SendOutcome::Refused {
            reason: "The server refuses the token. Sign in to it again; this is sent then."
                .to_owned(),
        },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            later(status, floor)
        }
        // 501: it will not learn it by being asked again.
        _ if status.is_client_error()
            || status.is_redirection()
            || status == StatusCode::NOT_IMPLEMENTED =>
        {
            SendOutcome::Wedged {
                reason: said.unwrap_or_else(|| format!("The server refused this (HTTP {status}).")),
            }
        }
        _ => later(status, floor),
    }
}

fn later(status: StatusCode, floor: Option<Duration>) -> SendOutcome {
    let reason = format!(
        "The server cannot take this now (HTTP {}). It is tried again by itself.",
        status.as_u16()
    );
    SendOutcome::Later { reason, floor, reached: true }
}

/// The sentence a server put into its answer, shortened: `message`, `details` or `error`.
async fn reason(mut response: reqwest::Response) -> Option<String> {
    let mut body = Vec::new();
    while body.len() < REASON_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    let value: Value = serde_json::from_slice(&body).ok()?;
    let sentence =
        ["message", "detail", "error"].iter().find_map(|key| match value.get(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim()),
            Value::Object(inner) => inner.get("message")?.as_str(),
            _ => None,
        })?;
    Some(sentence.chars().take(REASON_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, intent: &Intent) -> SendOutcome {
        judge(StatusCode::from_u16(status).unwrap(), None, intent, None)
    }

    #[test]
    fn a_status_says_whether_to_try_again() {
        let stop = Intent::Stop { message_id: None };
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(outcome(status, &stop), SendOutcome::Later { .. }), "{status}");
        }
        for status in [400, 403, 404, 409, 410, 413, 422, 501] {
            assert!(matches!(outcome(status, &stop), SendOutcome::Wedged { .. }), "{status}");
        }
        assert!(matches!(outcome(401, &stop), SendOutcome::Refused { .. }));
    }

    #[test]
    fn deleting_what_is_not_there_is_done() {
        assert_eq!(outcome(404, &Intent::DeleteSession), SendOutcome::Accepted);
        assert_eq!(outcome(410, &Intent::DeleteSession), SendOutcome::Accepted);
    }
}
