//! Requests with options: asked inside a run, and answered inside it.
//!
//! The agent waits for the answer in the middle of its work, so an answer is for the run that goes and for no other.
//! When that run is over, nobody waits any more: what is open is denied, never granted, and says why.

use serde_json::json;
use session_protocol::ApprovalOption;

use super::{Refusal, Session};
use crate::event::{Role, Row};
use crate::run::Given;

/// Who takes a request back where no person does.
const SERVER: &str = "server";

/// The meaning of an answer: the chosen option, or for a plain yes or no the one that holds once. Nothing that lasts is
/// ever chosen for somebody.
///
/// # Errors
///
/// There is no such option, it says the opposite, or a plain yes could mean several things.
pub(super) fn choose(
    approval_id: &str,
    offered: &[ApprovalOption],
    approved: bool,
    option_id: Option<&str>,
) -> Result<Given, Refusal> {
    let names = || {
        let names = offered.iter().map(|option| option.option_id.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let chosen = match option_id {
        Some(id) => {
            let Some(option) = offered.iter().find(|option| option.option_id == id) else {
                return Err(Refusal::NotOffered(names()));
            };
            if option.allows() != approved {
                return Err(Refusal::OppositeOption);
            }
            Some(option)
        }
        None => ApprovalOption::plain(offered, approved),
    };
    if chosen.is_none() && approved {
        return Err(Refusal::SeveralOptions(names()));
    }
    let option_id = chosen.map(|option| option.option_id.clone());
    Ok(Given { approval_id: approval_id.to_owned(), approved, option_id })
}

impl Session {
    /// Writes an answer to a request with options. The run that asks is told when it is in the stream; where no run
    /// goes any more, the request is denied instead.
    pub(super) fn give(
        &mut self,
        message_id: &str,
        given: Given,
        actor_id: &str,
        txid: Option<&str>,
    ) {
        let live = self.runs.values().find(|live| live.plan.message_id == message_id);
        let found = live.map(|live| (live.plan.run_id.clone(), live.plan.agent_id.clone()));
        let Some((run_id, agent_id)) = found else {
            self.write_denial(message_id, &given.approval_id, "lapsed", SERVER, txid);
            return;
        };
        let mut chunk = json!({
            "type": "approval-response", "approvalId": given.approval_id, "approved": given.approved,
        });
        if let Some(option_id) = &given.option_id {
            chunk["optionId"] = option_id.clone().into();
        }
        let chunk = &chunk.to_string();
        self.push_row(Row { message_id, actor_id, role: Role::User, chunk, txid, run: None });
        if !self.book.is_asking(message_id) {
            self.show_now(&agent_id);
        }
        self.touch();
        self.effects.given.push((run_id, given));
    }

    /// Denies a request with options that is open, because its agent takes it back.
    pub(super) fn withdraw(&mut self, message_id: &str, approval_id: &str, reason: &str) {
        if self.open_with_options(message_id).iter().any(|id| id == approval_id) {
            self.write_denial(message_id, approval_id, reason, SERVER, None);
        }
    }

    /// Denies every request with options of a message whose run is over.
    pub(super) fn lapse(&mut self, message_id: &str) {
        self.withdraw_all(message_id, "lapsed", SERVER);
    }

    /// Denies every request with options that is open in a message, in somebody's name.
    pub(super) fn withdraw_all(&mut self, message_id: &str, reason: &str, actor_id: &str) {
        for approval_id in self.open_with_options(message_id) {
            self.write_denial(message_id, &approval_id, reason, actor_id, None);
        }
    }

    fn open_with_options(&self, message_id: &str) -> Vec<String> {
        let offers = |id: &String| {
            self.book.approval(id, Some(message_id)).is_some_and(|ask| ask.options().is_some())
        };
        self.book.open_asks(message_id).into_iter().filter(offers).collect()
    }

    fn write_denial(
        &mut self,
        message_id: &str,
        approval_id: &str,
        reason: &str,
        actor_id: &str,
        txid: Option<&str>,
    ) {
        let chunk = json!({
            "type": "approval-response", "approvalId": approval_id, "approved": false, "reason": reason,
        });
        // Nobody is here for having written it.
        let (role, chunk) = (Role::System, &chunk.to_string());
        self.push_row(Row { message_id, actor_id, role, chunk, txid, run: None });
    }
}
