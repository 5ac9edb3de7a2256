//! Folding a row into its message: what is a repetition, which dialect it is, and what follows from it.

use serde_json::Value;

use super::context::{RowBody, RowContext, Shape};
use super::dialect::{self, electric};
use super::message::{IndexEvent, MessageFold};
use super::replay::{Held, Told};
use super::short::AGAIN;
use super::step::Step;
use super::track::Tracker;
use crate::chunk::{Inner, is_whole};
use crate::row::{Role, is_later};
use crate::text::lenient_value;

impl MessageFold {
    /// Folds one row that comes after all rows so far.
    pub(crate) fn fold_row(
        &mut self,
        row: &RowContext<'_>,
        body: &RowBody<'_>,
        tracker: &mut Tracker,
    ) {
        let was_stopped = self.is_stopped();
        let first = self.scratch.order.count(row.seq, row.pos);
        self.scratch.nth = 0;
        if first {
            self.message.actor_id = row.actor.map(str::to_owned);
            self.message.role = row.role.unwrap_or_default();
            self.scratch.runs.first(self.message.role);
            self.message.created_at = row.created_at.map(str::to_owned);
            self.scratch.meta_dirty = true;
        }
        if let Some(mark) = row.run {
            self.scratch.steps.run = self.scratch.steps.run.saturating_add(1);
            self.scratch.runs.begin(mark, row.pos);
        }
        if let Some(at) = row.created_at {
            match &mut self.message.last_chunk_at {
                Some(last) if is_later(at, last) => {
                    at.clone_into(last);
                    // Windows show the end of a complete message.
                    self.scratch.meta_dirty |= self.message.is_complete;
                }
                Some(_) => {}
                None => self.message.last_chunk_at = Some(at.to_owned()),
            }
        }
        match body {
            RowBody::Chunk(chunk) => self.fold_chunk(row, chunk, tracker),
            RowBody::Entity { type_, key, value } => {
                let mut step = Step::new(self, row, tracker);
                electric::fold(type_, key, value, &mut step);
                self.take_down(row, "");
            }
            RowBody::Nothing => self.scratch.bad += 1,
        }
        if self.is_stopped() != was_stopped {
            // What it asks is asked no more, or again.
            let asked = self.scratch.calls.iter().filter(|(_, call)| call.request.is_some());
            let touched = asked.map(|(key, _)| IndexEvent::Touched(key.clone()));
            self.scratch.outbox.extend(touched);
        }
        self.settle(tracker);
    }

    fn fold_chunk(&mut self, row: &RowContext<'_>, chunk: &str, tracker: &mut Tracker) {
        self.scratch.budget.tell(chunk.len());
        let inner = Inner::parse(chunk);
        // What people say is never a repetition of what an agent said, and a run that the server begins is new.
        if row.role == Some(Role::User) {
            self.fold_read(row, chunk, inner.as_ref(), tracker);
            return;
        }
        let kind = inner.as_ref().map(Inner::kind);
        self.scratch.states = kind.is_none_or(|kind| kind.starts_with("STATE_"));
        let most = if self.drops() { AGAIN } else { usize::MAX };
        let Told { again, now } = self.scratch.replays.hear(row, chunk, kind, most);
        for Held { row, chunk } in again {
            self.scratch.nth = 0;
            self.fold_told(&row.context(), &chunk, tracker);
        }
        if now {
            self.scratch.nth = 0;
            self.fold_read(row, chunk, inner.as_ref(), tracker);
        }
    }

    fn fold_told(&mut self, row: &RowContext<'_>, chunk: &str, tracker: &mut Tracker) {
        self.fold_read(row, chunk, Inner::parse(chunk).as_ref(), tracker);
    }

    /// Folds a chunk that was read already; `inner` is `None` where it could not be read at once.
    fn fold_read(
        &mut self,
        row: &RowContext<'_>,
        chunk: &str,
        inner: Option<&Inner<'_>>,
        tracker: &mut Tracker,
    ) {
        if let Some(inner) = inner {
            self.fold_inner(row, inner, tracker);
            return;
        }
        // Twice the same field, or a text that is no JSON at all.
        let repaired = match lenient_value(chunk) {
            Some(value @ Value::Object(_)) => value.to_string(),
            _ => {
                self.scratch.bad += 1;
                return;
            }
        };
        match Inner::parse(&repaired) {
            Some(inner) => self.fold_inner(row, &inner, tracker),
            None => self.scratch.bad += 1,
        }
    }

    fn fold_inner(&mut self, row: &RowContext<'_>, inner: &Inner<'_>, tracker: &mut Tracker) {
        // After a whole message only signals count: that is all its first row leaves to be said.
        let again = self.shape == Shape::Bare && is_whole(inner.kind());
        if self.scratch.stage.is_whole() && !is_signal_kind(inner.kind()) && !again {
            return;
        }
        if !is_whole(inner.kind()) {
            self.scratch.stage.piece();
        }
        let mut step = Step::new(self, row, tracker);
        dialect::fold(inner, &mut step);
        self.take_down(row, inner.kind());
    }

    /// Brings the derived flags up to date after a row.
    fn settle(&mut self, tracker: &mut Tracker) {
        let scratch = &mut self.scratch;
        let (hidden, complete) = (scratch.stage.is_hidden(), scratch.stage.is_complete());
        let gap = self.shape == Shape::Rows && scratch.order.has_gap();
        let message = &mut self.message;
        if message.hidden != hidden || message.is_complete != complete || message.has_gap != gap {
            message.hidden = hidden;
            message.is_complete = complete;
            message.has_gap = gap;
            scratch.meta_dirty = true;
        }
        if scratch.meta_dirty {
            scratch.meta_dirty = false;
            tracker.meta(&message.id);
        }
    }
}

fn is_signal_kind(kind: &str) -> bool {
    matches!(
        kind,
        "approval-response"
            | "tool-approval"
            | "tool-approval-response"
            | "tool-result"
            | "tool_result"
            | "TOOL_CALL_RESULT"
            | "tool-output-available"
            | "tool-output-error"
            | "tool-output-denied"
    )
}
