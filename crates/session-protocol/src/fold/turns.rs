//! The word of a row about the run of its message.

use std::borrow::Cow;

use super::context::RowContext;
use super::message::MessageFold;
use super::runs::{Ending, Lifecycle, NamedRun, Said};
use super::step::Step;
use crate::authority::is_peoples;
use crate::chunk::Dialect;
use crate::row::{FinishReason, Role};

impl MessageFold {
    /// A chunk was folded: takes down what it said about the run.
    pub(super) fn take_down(&mut self, row: &RowContext<'_>, kind: &str) {
        let runs = &mut self.scratch.runs;
        let said = std::mem::take(&mut runs.said);
        // Answers are written into an agent's message by somebody else.
        if row.role == Some(Role::User) && self.message.role == Role::Assistant {
            if said.end.is_some_and(|end| end.kind == Lifecycle::Stopped) {
                runs.stop(row.pos);
            }
            return;
        }
        if !is_peoples(kind) {
            runs.dialect = runs.dialect.or_else(|| Dialect::of(kind));
        }
        runs.take(said, row.pos);
    }
}

impl Step<'_> {
    fn said(&mut self) -> &mut Said {
        &mut self.fold.scratch.runs.said
    }

    /// Parts are being read that say how something was, not what happens.
    pub(super) fn in_snapshot(&self) -> bool {
        self.fold.scratch.before.is_some() || self.fold.scratch.stage.is_stating()
    }

    /// True for a row by which a person or a client answers an agent in its message.
    pub(super) fn is_answer(&self) -> bool {
        self.row.role == Some(Role::User) && self.fold.message.role == Role::Assistant
    }

    /// The language of the message so far.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.fold.scratch.runs.dialect
    }

    /// The run goes on, whether or not the message looks otherwise.
    pub(crate) fn goes_on(&mut self) {
        if !self.in_snapshot() {
            self.said().goes = true;
        }
    }

    /// The chunk may come behind the end of a turn and still belongs to it.
    pub(crate) fn afterthought(&mut self) {
        let said = self.said();
        (said.goes, said.afterthought) = (true, true);
    }

    pub(super) fn run_begins(&mut self) {
        self.said().begins = true;
    }

    pub(super) fn speaks(&mut self, word: bool) {
        if !self.in_snapshot() {
            let said = self.said();
            said.speaks = true;
            said.word |= word;
        }
    }

    pub(super) fn calls(&mut self) {
        if !self.in_snapshot() {
            self.said().calls = true;
        }
    }

    pub(super) fn ends(&mut self, kind: Lifecycle, reason: Option<FinishReason>) {
        let end = Ending { kind, reason, of_run: false, is_clear: false, success: false };
        self.said().end = Some(end);
    }

    /// The end that was just said is that of a run. `is_clear` says that it names what is waited for, or a result.
    pub(crate) fn ends_run(&mut self, is_clear: bool, success: bool) {
        if let Some(end) = &mut self.said().end {
            (end.of_run, end.is_clear, end.success) = (true, is_clear, success);
        }
    }

    /// An AG-UI run begins under this name.
    pub(crate) fn run_named(&mut self, run: Option<Cow<'_, str>>, thread: Option<Cow<'_, str>>) {
        let (run, thread) = (run.map(Cow::into_owned), thread.map(Cow::into_owned));
        self.said().named = Some(NamedRun::Begins { run, thread });
    }

    /// The AG-UI run of this name ends.
    pub(crate) fn named_ends(&mut self, run: Option<Cow<'_, str>>) {
        self.said().named = Some(NamedRun::Ends { run: run.map(Cow::into_owned) });
    }
}
