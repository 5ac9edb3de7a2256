//! Subagents, cards and questions of one message.

use serde_json::Value;

use super::call::{ApprovalRequest, Call};
use super::message::IndexEvent;
use super::step::Step;
use super::table::question_key;
use crate::patch::Patched;
use crate::row::{ActivityPart, Part, PartApproval, QuestionPart, SubagentPart, SubagentState};

/// Bytes that a card which is patched may have: each patch costs as much, and `copy` makes much out of little.
const CARD_BYTES: usize = 256 << 10;

/// How a subagent ended.
pub(crate) enum SubagentEnd {
    /// The subagent is done, with what it returned.
    Done(Option<Value>),
    /// The subagent waits for a person.
    Suspended,
    /// The subagent failed.
    Failed(String),
}

impl Step<'_> {
    /// A subagent begins, or goes on.
    pub(crate) fn subagent_started(&mut self, new: SubagentPart) {
        self.reopen();
        if self.drops() {
            self.drop_part();
            return;
        }
        match self.fold.scratch.places.subagents.get(&new.id) {
            Some(at) => {
                if let Some(Part::Subagent(old)) = self.fold.message.parts.get_mut(*at) {
                    old.state = SubagentState::Running;
                    old.error = None;
                    self.tracker.set_part(&self.fold.message.id, *at);
                }
            }
            None => {
                let id = new.id.clone();
                self.push_part(Part::Subagent(new));
                let at = self.part_count() - 1;
                self.fold.scratch.places.subagents.insert(id, at);
            }
        }
    }

    /// A subagent ended; of one that never began it says nothing.
    pub(crate) fn subagent_ended(&mut self, id: &str, end: SubagentEnd) {
        let Some(at) = self.fold.scratch.places.subagents.get(id).copied() else { return };
        let Some(Part::Subagent(part)) = self.fold.message.parts.get_mut(at) else { return };
        match end {
            SubagentEnd::Done(result) => {
                part.state = SubagentState::Done;
                part.result = result;
            }
            SubagentEnd::Suspended => part.state = SubagentState::Suspended,
            SubagentEnd::Failed(error) => {
                part.state = SubagentState::Failed;
                part.error = Some(error);
            }
        }
        self.tracker.set_part(&self.fold.message.id, at);
    }

    /// A card as it is; `replace` is false when one that is there stays as it is.
    pub(crate) fn activity(&mut self, id: &str, kind: &str, content: Value, replace: bool) {
        if self.drops() {
            self.drop_part();
            return;
        }
        let known = self.fold.scratch.places.activities.get(id).copied();
        if known.is_some() && !replace {
            return;
        }
        let subagent = self.subagent.as_deref().map(str::to_owned);
        let card = ActivityPart { id: id.to_owned(), kind: kind.to_owned(), content, subagent };
        let Some(at) = known else {
            self.push_part(Part::Activity(card));
            let at = self.part_count() - 1;
            self.fold.scratch.places.activities.insert(id.to_owned(), at);
            return;
        };
        let card = Part::Activity(card);
        if self.fold.message.parts.get(at).is_some_and(|old| *old != card) {
            self.fold.message.parts[at] = card;
            self.tracker.set_part(&self.fold.message.id, at);
        }
    }

    /// A change of a card. One that does not fit changes nothing and is counted.
    pub(crate) fn activity_changed(&mut self, id: &str, kind: Option<&str>, patch: Value) {
        let Some(at) = self.fold.scratch.places.activities.get(id).copied() else { return };
        let Some(Part::Activity(card)) = self.fold.message.parts.get_mut(at) else { return };
        let mut content = Patched::new(std::mem::take(&mut card.content));
        let fits = content.apply(patch, CARD_BYTES);
        card.content = content.into_value();
        if !fits {
            self.fold.scratch.bad += 1;
            return;
        }
        if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
            kind.clone_into(&mut card.kind);
        }
        self.tracker.set_part(&self.fold.message.id, at);
    }

    /// A question to a person that is about no call; the same id is the same question.
    pub(crate) fn question(&mut self, question: QuestionPart) {
        let key = question_key(&question.approval.id);
        let run = self.fold.scratch.steps.run;
        let known = self.fold.call(&key).and_then(|call| call.request.as_ref());
        if known.is_some_and(|request| request.run == run) {
            return;
        }
        let mut request = ApprovalRequest::new(&question.approval.id, None, None);
        request.pos = self.row.pos;
        request.run = run;
        request.by =
            self.row.actor.map(str::to_owned).or_else(|| self.fold.message.actor_id.clone());
        request.at = self.row.created_at.map(str::to_owned);
        request.name = Some(question.reason.clone());
        let words = question.message.clone().unwrap_or_default();
        request.question = Some(self.short_words(words));
        request.name = request.name.map(|name| self.short_words(name));
        request.expires_at.clone_from(&question.expires_at);
        let part = Part::Question(question);
        // Asked again in a later run, it is asked anew at its place.
        let at = match self.fold.scratch.calls.get(&key) {
            Some(call) => {
                let at = call.part;
                self.fold.message.parts[at] = part;
                self.tracker.set_part(&self.fold.message.id, at);
                at
            }
            None => {
                self.push_part(part);
                self.part_count() - 1
            }
        };
        let step = self.fold.scratch.steps.step;
        let call = Call { request: Some(request), ..Call::new(at, self.row.pos, run, step) };
        self.afterthought();
        self.fold.scratch.calls.insert_question(key.clone(), call);
        self.fold.scratch.outbox.push(IndexEvent::Request(key));
    }
}

/// The approval of a question that nobody has answered.
pub(crate) fn unanswered(id: &str) -> PartApproval {
    PartApproval { id: id.to_owned(), ..PartApproval::default() }
}
