//! Runs that go on by themselves after the end of a server.
//!
//! A run that nobody leads any more is ended in the log, as ever. Where nothing can have happened that the log does not
//! say, the built-in agents go on with it once: they act by nothing but what is in the log. An agent elsewhere may have
//! acted on what it was told, so a person asks it again.

use std::collections::{HashSet, VecDeque};

use super::Session;
use crate::agent;
use crate::run::RunPlan;
use crate::store::{Op, StoredRun};

impl Session {
    /// Ends a run that nobody leads any more, and plans the one that goes on with it, where that may be done.
    pub(super) fn interrupt_and_continue(&mut self, plan: &RunPlan, planned: &HashSet<String>) {
        let goes_on = self.may_continue(plan);
        self.interrupt(plan);
        if goes_on && !planned.contains(&plan.message_id) {
            let run_id = self.ids.run(self.now);
            let next = RunPlan { run_id, told: 0, continues: true, ..plan.clone() };
            self.store_plan(next.clone());
            self.queued.push_back(next);
        }
    }

    /// Messages of which an earlier opening planned that they go on.
    pub(super) fn planned_to_continue(runs: &[StoredRun]) -> HashSet<String> {
        let planned = runs.iter().filter(|run| run.plan.continues && !run.started);
        planned.map(|run| run.plan.message_id.clone()).collect()
    }

    /// Whether a run that was planned to go on still has something to go on with.
    pub(super) fn is_interrupted(&self, plan: &RunPlan) -> bool {
        self.book.message(&plan.message_id).is_some_and(|run| run.has_failed())
    }

    /// A run may go on once, when its message asks for nothing and no tool in it is without a result.
    fn may_continue(&self, plan: &RunPlan) -> bool {
        self.surroundings.continues
            && !plan.continues
            && self.spec(&plan.agent_id).is_some_and(|spec| agent::is_builtin(&spec))
            && !self.book.is_waiting(&plan.message_id)
            && !self.book.is_asking(&plan.message_id)
            && self.book.message(&plan.message_id).is_none_or(|run| !run.lacks_results())
    }

    /// Gives up what was planned to go on: the person ended the server for good.
    pub(super) fn give_up_continuing(&mut self) {
        let (given_up, kept): (VecDeque<RunPlan>, _) =
            std::mem::take(&mut self.queued).into_iter().partition(|plan| plan.continues);
        self.queued = kept;
        for plan in given_up {
            self.effects.after.push(Op::DropRun { run_id: plan.run_id });
        }
    }
}
