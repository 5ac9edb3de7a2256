//! One tool call: what is known of it, and what came of it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::encoding::present;
use crate::row::ApprovalOption;

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(super) pos: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(super) output: Option<Value>,
    pub(super) error: Option<String>,
    /// Another one will replace it: the call goes on.
    pub(super) preliminary: bool,
}

impl Outcome {
    pub(crate) fn new(pos: u64, output: Option<Value>, error: Option<String>) -> Self {
        Self { pos, output, error, preliminary: false }
    }

    /// A first output, which a later one replaces.
    pub(crate) fn preliminary(self, preliminary: bool) -> Self {
        Self { preliminary, ..self }
    }

    /// Whether both say the same, wherever they stand.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.output == other.output
            && self.error == other.error
            && self.preliminary == other.preliminary
    }
}

/// The choice in an answer to a request that offers options. Most answers have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// The option that was chosen.
    pub(crate) option: Option<String>,
    /// Why it was denied, where no person did.
    pub(crate) reason: Option<String>,
}

impl Chosen {
    /// Both, where there is one.
    pub(crate) fn of(option: Option<String>, reason: Option<String>) -> Option<Box<Self>> {
        (option.is_some() || reason.is_some()).then(|| Box::new(Self { option, reason }))
    }
}

/// A person's answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ApprovalAnswer {
    pub(crate) pos: u64,
    pub(crate) approved: bool,
    /// More that was said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) payload: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<Box<Chosen>>,
    pub(crate) by: Option<String>,
    pub(crate) at: Option<String>,
}

impl ApprovalAnswer {
    /// Words that were said with it; where no person answered, why.
    pub(crate) fn words(&self) -> Option<String> {
        let words = self.payload.as_ref().and_then(Value::as_str);
        let reason = || self.chosen.as_deref()?.reason.as_deref();
        words.or_else(reason).map(str::to_owned)
    }
}

/// A call's request for approval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ApprovalRequest {
    pub(crate) approval: String,
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) input: Option<Value>,
    pub(crate) pos: u64,
    /// The run of the message that asked, counted from 0 by the marks of runs.
    pub(super) run: u32,
    pub(crate) by: Option<String>,
    pub(crate) at: Option<String>,
    /// Why it is asked, as the agent claims.
    pub(crate) reason: Option<String>,
    /// The words of a question, which is about no call.
    pub(crate) question: Option<String>,
    /// When it is withdrawn.
    pub(crate) expires_at: Option<String>,
    /// The answers that are offered. One that has them is answered inside its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<Vec<ApprovalOption>>,
}

impl ApprovalRequest {
    pub(crate) fn new(approval: &str, name: Option<Cow<'_, str>>, input: Option<Value>) -> Self {
        Self {
            approval: approval.to_owned(),
            name: name.map(Cow::into_owned).filter(|name| !name.is_empty()),
            input,
            pos: 0,
            run: 0,
            by: None,
            at: None,
            reason: None,
            question: None,
            expires_at: None,
            options: None,
        }
    }

    /// With the time at which it is withdrawn.
    pub(crate) fn until(self, expires_at: Option<&str>) -> Self {
        Self { expires_at: expires_at.map(str::to_owned), ..self }
    }

    /// With the answers that are offered.
    pub(crate) fn offering(self, options: Option<Vec<ApprovalOption>>) -> Self {
        Self { options, ..self }
    }

    /// With why it is asked.
    pub(crate) fn because(self, reason: Option<Cow<'_, str>>) -> Self {
        let reason = reason.map(Cow::into_owned).filter(|reason| !reason.is_empty());
        Self { reason, ..self }
    }
}

/// A call, beside its part.
#[derive(Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) part: usize,
    pub(crate) pos: u64,
    /// The call's number among the calls of the message, in the order in which they were made.
    pub(super) number: u32,
    /// The run of the message that it began in, counted from 0 by the marks of runs.
    pub(super) run: u32,
    /// The step that it began in.
    pub(super) step: u32,
    pub(super) half: Option<u16>,
    pub(super) ready: bool,
    /// Whether the call's writer said its input whole.
    pub(super) given: bool,
    /// Whether the call's arguments are plain text.
    pub(super) takes_text: bool,
    /// The writer says that arguments are coming, though none has come.
    pub(super) streaming: bool,
    pub(super) denied: bool,
    pub(super) result: Option<Outcome>,
    pub(super) end_result: Option<Outcome>,
    pub(super) foreign: Option<Outcome>,
    pub(crate) request: Option<ApprovalRequest>,
    pub(crate) answer: Option<ApprovalAnswer>,
    /// The first answer to its request that stands in its own message.
    pub(super) answered_here: Option<bool>,
    /// The pieces behind a second start of it, until that is complete.
    pub(super) repeated: Option<Repetition>,
    /// The run of the message in which its agent said last that the client must run it.
    pub(super) client_run: Option<u32>,
    /// Where a later run asked the client for it again: older results do not settle it.
    pub(super) client_again: u64,
    /// The model's provider runs it.
    pub(super) by_provider: bool,
    /// The interrupt's id, which a resumed agent expects instead of the call's.
    pub(super) interrupt: Option<String>,
    /// Position of the last result that its own agent gave.
    pub(super) known: Option<u64>,
    /// Position of the last result that somebody else gave in its own message.
    pub(super) theirs: Option<u64>,
}

/// A second start of a call that is over.
#[derive(Serialize, Deserialize)]
pub(super) struct Repetition {
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Call {
    pub(super) fn new(part: usize, pos: u64, run: u32, step: u32) -> Self {
        Self {
            part,
            pos,
            number: 0,
            run,
            step,
            half: None,
            ready: false,
            given: false,
            takes_text: false,
            streaming: false,
            denied: false,
            result: None,
            end_result: None,
            foreign: None,
            request: None,
            answer: None,
            answered_here: None,
            repeated: None,
            client_run: None,
            client_again: 0,
            by_provider: false,
            interrupt: None,
            known: None,
            theirs: None,
        }
    }

    /// The client must run it, as its agent said.
    pub(super) fn is_for_client(&self) -> bool {
        self.client_run.is_some()
    }

    /// The result that counts: the newest.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        let own = self.result.as_ref().or(self.end_result.as_ref());
        match (own, self.foreign.as_ref()) {
            (Some(own), Some(foreign)) => Some(if own.pos > foreign.pos { own } else { foreign }),
            (own, foreign) => own.or(foreign),
        }
    }

    /// The result that settles it. One that is older than the request does not, and a first one settles nothing.
    pub(super) fn settled(&self) -> Option<&Outcome> {
        let asked = self.request.as_ref().map_or(0, |request| request.pos).max(self.client_again);
        self.outcome().filter(|outcome| !outcome.preliminary && outcome.pos >= asked)
    }

    /// True while a result of it may come: it has none and was not refused.
    pub(super) fn is_open(&self) -> bool {
        let refused = self.denied || self.answer.as_ref().is_some_and(|answer| !answer.approved);
        !refused && self.settled().is_none()
    }

    /// Whether nothing more will come of it, as its message says: it has a result or was refused.
    pub(super) fn is_over(&self) -> bool {
        self.result.as_ref().is_some_and(|result| !result.preliminary)
            || self.end_result.is_some()
            || self.denied
            || self.answered_here == Some(false)
    }
}
