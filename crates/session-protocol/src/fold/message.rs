//! The fold of one message: what it is, and what it must remember to go on.

use serde::{Deserialize, Serialize};

use super::before::Before;
use super::call::{ApprovalAnswer, Call, Outcome};
use super::context::Shape;
use super::counts::{Budget, Order, Steps, Tokens};
use super::cursor::TextCursor;
use super::log::RowLog;
use super::naming::Naming;
use super::places::Places;
use super::replay::Replays;
use super::runs::{Lifecycle, Runs};
use super::short::{Heard, Texts};
use super::signal::Signal;
use super::stage::Stage;
use super::structured::Structured;
use super::table::CallTable;
use super::track::Tracker;
use crate::row::{Message, Part, PartApproval, Role, ToolCallPart, ToolState, Usage};

/// News of a row for the session.
pub(crate) enum IndexEvent {
    /// A call is new.
    Call(String),
    /// A call's request is new.
    Request(String),
    /// A call with a request changed.
    Touched(String),
    /// A signal was given.
    Signal(Signal),
}

/// The state of the fold that is not in the message itself.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Scratch {
    pub(super) stage: Stage,
    pub(super) order: Order,
    pub(super) steps: Steps,
    pub(super) budget: Budget,
    pub(super) tokens: Tokens,
    pub(super) cursor: TextCursor,
    pub(super) naming: Naming,
    pub(super) calls: CallTable,
    pub(super) places: Places,
    pub(super) structured: Structured,
    pub(super) runs: Runs,
    pub(super) replays: Replays,
    /// Signals that it gave: position and number.
    pub(super) given: Vec<(u64, u32)>,
    /// Number of the present row's next signal.
    pub(super) nth: u32,
    /// Rows that could not be read.
    pub(super) bad: u64,
    /// Something other than the parts changed.
    pub(super) meta_dirty: bool,
    /// Whether the last row of an agent may say something of the state that it shares.
    #[serde(skip)]
    pub(super) states: bool,
    /// The message as it was, while a snapshot of it is read.
    #[serde(skip)]
    pub(super) before: Option<Box<Before>>,
    #[serde(skip)]
    pub(super) outbox: Vec<IndexEvent>,
}

/// The weight of a message in the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Weight {
    pub(crate) shown: bool,
    pub(crate) role: Role,
    pub(crate) calls: u64,
    pub(crate) usage: Usage,
    pub(crate) bad: u64,
}

/// One message being folded.
#[derive(Serialize, Deserialize)]
pub(crate) struct MessageFold {
    /// The part of its texts that is kept.
    #[serde(skip)]
    pub(super) texts: Texts,
    /// Where the words begin that are kept although texts are not, and how many bytes more.
    #[serde(skip)]
    pub(super) heard: Option<Heard>,
    pub(crate) message: Message,
    pub(crate) log: RowLog,
    pub(crate) shape: Shape,
    /// The weight that the statistics count for it now.
    pub(crate) counted: Weight,
    /// The `createdAt` the statistics count for it now.
    pub(crate) counted_at: Option<String>,
    /// Set when it must be refolded before it is read.
    pub(crate) dirty: bool,
    /// Set when a row has a key that is not `<messageId>:<seq>`.
    pub(crate) odd: bool,
    pub(super) scratch: Scratch,
}

impl MessageFold {
    pub(crate) fn new(id: &str, position: u64, shape: Shape, log: RowLog, texts: Texts) -> Self {
        Self {
            texts,
            heard: None,
            message: Message::new(id, position),
            log,
            shape,
            counted: Weight::default(),
            counted_at: None,
            dirty: false,
            odd: false,
            scratch: Scratch::default(),
        }
    }

    /// Forgets everything folded, keeps identity, log and what is counted.
    pub(crate) fn restart(&mut self, position: u64) {
        self.message = Message::new(std::mem::take(&mut self.message.id), position);
        self.scratch = Scratch::default();
        self.dirty = false;
    }

    /// Whether a row with this number comes after all rows so far.
    pub(crate) fn is_after(&self, seq: i64, pos: u64) -> bool {
        self.scratch.order.is_after(seq, pos)
    }

    /// Whether a row with this sequence number cannot exist yet.
    pub(crate) fn is_new_seq(&self, seq: i64) -> bool {
        self.last_seq().is_none_or(|last| seq > last)
    }

    pub(crate) fn last_seq(&self) -> Option<i64> {
        self.scratch.order.last_seq()
    }

    pub(crate) fn weight(&self) -> Weight {
        Weight {
            shown: !self.message.hidden,
            role: self.message.role,
            calls: self.scratch.calls.count() as u64,
            usage: self.message.usage.unwrap_or_default(),
            bad: self.scratch.bad,
        }
    }

    /// Whether somebody stopped its last run.
    pub(crate) fn is_stopped(&self) -> bool {
        self.scratch.runs.lifecycle() == Lifecycle::Stopped
    }

    pub(crate) fn call(&self, call_id: &str) -> Option<&Call> {
        self.scratch.calls.get(call_id)
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = (&String, &Call)> {
        self.scratch.calls.iter()
    }

    /// The signals this message gave.
    pub(crate) fn given(&self) -> &[(u64, u32)] {
        &self.scratch.given
    }

    pub(crate) fn take_outbox(&mut self) -> Vec<IndexEvent> {
        std::mem::take(&mut self.scratch.outbox)
    }

    pub(crate) fn call_part(&self, call_id: &str) -> Option<&ToolCallPart> {
        match self.message.parts.get(self.scratch.calls.get(call_id)?.part) {
            Some(Part::ToolCall(part)) => Some(part),
            _ => None,
        }
    }

    /// Gives a call the result found in another message.
    pub(crate) fn set_foreign(
        &mut self,
        call_id: &str,
        outcome: Option<Outcome>,
        tracker: &mut Tracker,
    ) {
        if let Some(call) = self.scratch.calls.get_mut(call_id)
            && call.foreign != outcome
        {
            call.foreign = outcome;
            self.scratch.runs.answered.insert(call_id.to_owned());
            self.refresh_call(call_id, tracker);
        }
    }

    /// Gives a call the answer found anywhere.
    pub(crate) fn set_answer(
        &mut self,
        call_id: &str,
        answer: Option<ApprovalAnswer>,
        tracker: &mut Tracker,
    ) {
        if let Some(call) = self.scratch.calls.get_mut(call_id)
            && call.answer != answer
        {
            call.answer = answer;
            self.scratch.runs.answered.insert(call_id.to_owned());
            self.refresh_call(call_id, tracker);
        }
    }

    /// Recomputes a call's part from what is known of the call.
    pub(super) fn refresh_call(&mut self, call_id: &str, tracker: &mut Tracker) {
        let Some(call) = self.scratch.calls.get(call_id) else { return };
        let part = match self.message.parts.get_mut(call.part) {
            Some(Part::ToolCall(part)) => part,
            Some(Part::Question(question)) => {
                let approval = &mut question.approval;
                let approved = call.answer.as_ref().map(|answer| answer.approved);
                let by = call.answer.as_ref().and_then(|answer| answer.by.clone());
                let said = call.answer.as_ref().and_then(|answer| answer.payload.as_ref());
                if approval.approved != approved
                    || approval.responded_by != by
                    || question.answer.as_ref() != said
                {
                    (approval.approved, approval.responded_by) = (approved, by);
                    question.answer = said.cloned();
                    tracker.set_part(&self.message.id, call.part);
                    self.scratch.outbox.push(IndexEvent::Touched(call_id.to_owned()));
                }
                return;
            }
            _ => return,
        };
        let outcome = call.outcome();
        let answered = call.answer.as_ref().map(|answer| answer.approved);
        let state = if call.denied || answered == Some(false) {
            ToolState::Denied
        } else if let Some(outcome) = call.settled() {
            if outcome.error.is_some() { ToolState::Failed } else { ToolState::Done }
        } else if call.request.is_some() {
            if answered == Some(true) { ToolState::Answered } else { ToolState::Waiting }
        } else if call.ready {
            ToolState::Ready
        } else if part.arguments.is_empty() && !call.streaming {
            ToolState::Started
        } else {
            ToolState::Streaming
        };
        let answer = call.answer.as_ref();
        let approval = call.request.as_ref().map(|request| PartApproval {
            id: request.approval.clone(),
            approved: answered,
            responded_by: answer.and_then(|answer| answer.by.clone()),
            reason: request.reason.clone(),
            responded_at: answer.and_then(|answer| answer.at.clone()),
            options: request.options.clone(),
            option_id: answer.and_then(|answer| answer.chosen.as_deref()?.option.clone()),
            said: answer.and_then(|answer| answer.words()),
        });
        let (output, error) = match outcome {
            Some(outcome) => (outcome.output.as_ref(), outcome.error.as_ref()),
            None => (None, None),
        };
        let preliminary = outcome.is_some_and(|outcome| outcome.preliminary);
        if part.state == state
            && part.approval == approval
            && part.output.as_ref() == output
            && part.error.as_ref() == error
            && part.preliminary == preliminary
        {
            return;
        }
        part.preliminary = preliminary;
        part.state = state;
        part.approval = approval;
        part.output = output.cloned();
        part.error = error.cloned();
        tracker.set_part(&self.message.id, call.part);
        self.scratch.outbox.push(IndexEvent::Touched(call_id.to_owned()));
    }
}
