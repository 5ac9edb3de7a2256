//! Sending one entry, and what its answer means.
//!
//! Every request carries the id by which the server knows it again (`messageId`, the approval's id,
//! `txid`), so that sending twice is the same as sending once. The routes are those of the session
//! proxy that sessions on Durable Streams grew up with.

use std::time::Duration;

use reqwest::StatusCode;
use session_protocol::api::{
    AnswerApproval, CreateSession, ForkSession, Regenerate, RegisterAgents, RenameSession,
    SendMessage, SetAgentOption, Stop, header,
};
use session_protocol::{Intent, Role};

use crate::client::{ClientError, SessionClient};
use crate::config::Actor;

/// The fate of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// The server has it.
    Accepted,
    /// The request was not granted now: no connection, or the server is in trouble. `reached`: the
    /// server may have it all the same.
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
    pub(crate) client: SessionClient,
    pub(crate) session: String,
    pub(crate) actor: Actor,
}

impl Sender {
    /// Sends one intent; `txid` is the entry's id.
    ///
    /// # Cancel safety
    /// The server may or may not have it: send it again.
    pub(crate) async fn send(&self, intent: &Intent, txid: &str) -> SendOutcome {
        match self.ask(intent, txid).await {
            Ok(()) => SendOutcome::Accepted,
            Err(error) => meaning(error, intent),
        }
    }

    /// The requests that an intent is, in their order.
    async fn ask(&self, intent: &Intent, txid: &str) -> Result<(), ClientError> {
        let client = self.client.clone().acting_as(&self.actor.id);
        let session = self.session.as_str();
        let txid = Some(txid.to_owned());
        match intent {
            Intent::CreateSession { agents, title } => {
                // Upstream's proxies look into no body here, so the agents are registered by a
                // request of their own.
                let body = CreateSession { title: title.clone(), agents: Vec::new() };
                client.create(session, &body).await?;
                if agents.is_empty() {
                    return Ok(());
                }
                client.register_agents(session, &RegisterAgents { agents: agents.clone() }).await
            }
            Intent::Fork { source, at_message_id } => {
                let body = ForkSession {
                    new_session_id: Some(self.session.clone()),
                    at_message_id: at_message_id.clone(),
                    ..ForkSession::default()
                };
                client.fork(source, &body).await
            }
            Intent::SendMessage { message_id, text, files, mode } => {
                let body = SendMessage {
                    message_id: Some(message_id.to_string()),
                    content: text.clone(),
                    files: files.clone(),
                    role: Some(Role::User),
                    actor_id: Some(self.actor.id.clone()),
                    actor_type: Some(header::USER.to_owned()),
                    txid,
                    mode: *mode,
                    ..SendMessage::default()
                };
                client.send_message(session, &body).await
            }
            Intent::RespondApproval { approval_id, message_id, approved, payload, option_id } => {
                let body = AnswerApproval {
                    option_id: option_id.clone(),
                    approved: *approved,
                    payload: payload.clone(),
                    message_id: message_id.clone(),
                    actor_id: None,
                    txid,
                };
                client.answer_approval(session, approval_id, &body).await
            }
            Intent::Regenerate { message_id } => {
                let from_message_id = Some(message_id.clone());
                let body = Regenerate { from_message_id, txid, ..Regenerate::default() };
                client.regenerate(session, &body).await
            }
            Intent::SetAgentOption { agent_id, option_id, value } => {
                let body =
                    SetAgentOption { option_id: option_id.clone(), value: value.clone(), txid };
                client.set_agent_option(session, agent_id, &body).await
            }
            Intent::Stop { message_id } => {
                let body = Stop { message_id: message_id.clone(), actor_id: None };
                client.stop(session, &body).await
            }
            Intent::Rename { title } => {
                let body = RenameSession { title: title.clone(), actor_id: None, txid };
                client.rename(session, &body).await
            }
            Intent::DeleteSession => client.delete(session).await,
        }
    }
}

/// The fate of an entry by an error.
fn meaning(error: ClientError, intent: &Intent) -> SendOutcome {
    match error {
        ClientError::Refused { status, report, retry_after } => {
            judge(status, retry_after, intent, report.sentence)
        }
        ClientError::Unsendable => SendOutcome::Wedged {
            reason: "This could not be put into a request. Edit it and try again.".to_owned(),
        },
        error => SendOutcome::Later {
            reason: "The server cannot be reached. This is sent when it can.".to_owned(),
            floor: None,
            reached: error.may_have_arrived(),
        },
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
