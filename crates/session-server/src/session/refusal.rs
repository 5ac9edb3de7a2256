//! Why a session refuses what is asked, and what HTTP makes of it.

use crate::book::TxidUsed;
use crate::problem::{Problem, ProblemCode};

/// Agents of one session. Each may run at the same time as the others.
pub(crate) const MAX_AGENTS: usize = 64;

/// Why an input changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The transaction id was used for another wish.
    TxidUsed,
    /// A message with this id was deleted.
    MessageDeleted,
    /// An agent has a message with this id.
    MessageExists,
    /// There is no such message, or nothing to do again in it.
    MessageNotFound,
    /// There is no such request.
    ApprovalNotFound,
    /// There is no such call.
    CallNotFound,
    /// Several messages ask under one id: each, and the agent that asks in it.
    Ambiguous(String),
    /// The approval was answered otherwise.
    DecidedOtherwise,
    /// The call has another result.
    HasOtherResult,
    /// The request does not wait for an answer any more.
    NotAsked,
    /// The request offers no options.
    NoOptions,
    /// The request does not offer this option, but these.
    NotOffered(String),
    /// The option says the opposite of yes or no.
    OppositeOption,
    /// A plain yes could mean several of these options.
    SeveralOptions(String),
    /// The session has no agent that could answer.
    NoAgents,
    /// The session would have too many agents.
    TooManyAgents,
    /// Another agent has this id.
    AgentExists,
    /// A person has this name, or one that looks like it.
    ActorExists,
    /// The session is no new one.
    SessionExists,
}

impl From<TxidUsed> for Refusal {
    fn from(_: TxidUsed) -> Self {
        Self::TxidUsed
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        use ProblemCode as Code;
        match refusal {
            Refusal::TxidUsed => Self::from(TxidUsed),
            Refusal::MessageDeleted => Self::conflict(
                Code::MessageDeleted,
                "A message with this id was deleted; send it under a new id",
            ),
            Refusal::MessageExists => {
                Self::conflict(Code::MessageExists, "An agent has this message id")
            }
            Refusal::MessageNotFound => Self::not_found(Code::MessageNotFound, "Message not found"),
            Refusal::ApprovalNotFound => {
                Self::not_found(Code::ApprovalNotFound, "Approval not found")
            }
            Refusal::CallNotFound => Self::not_found(Code::ToolCallNotFound, "Tool call not found"),
            Refusal::Ambiguous(names) => Self::conflict(
                Code::Ambiguous,
                "Several messages ask under this id; name the one that is meant in messageId",
            )
            .details(names),
            Refusal::DecidedOtherwise => {
                Self::conflict(Code::AlreadyAnswered, "The approval was answered otherwise")
            }
            Refusal::HasOtherResult => {
                Self::conflict(Code::AlreadyAnswered, "The tool call has another result")
            }
            Refusal::NotAsked => Self::conflict(
                Code::NotAsked,
                "The tool call has a result or was stopped, or the question was withdrawn; there is nothing to decide \
                 any more",
            ),
            Refusal::NoOptions => Self::bad_request("optionId: the request offers no options"),
            Refusal::NotOffered(offered) => Self::bad_request(format!(
                "optionId: the request offers no such option; the options are: {offered}"
            )),
            Refusal::OppositeOption => {
                Self::bad_request("optionId: the option says the opposite of approved")
            }
            Refusal::SeveralOptions(offered) => Self::conflict(
                Code::Ambiguous,
                "No option says yes for this time only; choose one in optionId",
            )
            .details(format!("the options are: {offered}")),
            Refusal::NoAgents => Self::bad_request("no agent is registered")
                .titled(Code::NoAgents, "No agents registered for regeneration"),
            Refusal::TooManyAgents => {
                Self::conflict(Code::TooManyAgents, "The session has too many agents")
                    .details(format!("a session may have {MAX_AGENTS} agents"))
            }
            Refusal::AgentExists => Self::conflict(Code::AgentExists, "Another agent has this id"),
            Refusal::ActorExists => Self::actor_exists(),
            Refusal::SessionExists => {
                Self::conflict(Code::SessionExists, "The new session exists already")
            }
        }
    }
}
