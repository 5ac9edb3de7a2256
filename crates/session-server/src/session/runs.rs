//! Planning, starting, ending and recovering runs.

use std::collections::VecDeque;

use session_protocol::AgentSpec;

use super::{
    Live, Session,
    activity::{Activity, is_text},
    listeners::Hearing,
};
use crate::{
    event::{Role, Row},
    ledger::{AnswerRef, Entry, Lifecycle},
    store::{Op, StoredRun},
    terminal,
    turns::{self, Answer, Cause, Output, RunEnd, RunOutput, RunPlan, Start},
};

impl Session {
    /// Puts a plan into the database before anything that depends on it is in the stream.
    pub(super) fn store_plan(&mut self, plan: RunPlan) {
        let session_id = self.id.clone();
        self.batch.before.push(Op::PlanRun { session_id, plan });
    }

    pub(super) fn plan(&mut self, plan: RunPlan) {
        self.store_plan(plan.clone());
        self.queued.push_back(plan);
        self.start_queued();
    }

    /// Starts every queued run whose agent is free: an agent does one thing at a time in a session.
    pub(super) fn start_queued(&mut self) {
        let mut still = VecDeque::new();
        for plan in std::mem::take(&mut self.queued) {
            let busy = self.runs.values().any(|live| live.plan.agent_id == plan.agent_id);
            if busy { still.push_back(plan) } else { self.start(plan) }
        }
        self.queued = still;
    }

    fn start(&mut self, plan: RunPlan) {
        let cancel = self.shared.shutdown_runs.child_token();
        let answers = match &plan.cause {
            Cause::Message { .. } | Cause::Reply { .. } => Vec::new(),
            Cause::Answers { .. } => self.answers(&plan.message_id),
        };
        let spec = self.spec(&plan.agent_id);
        let heard = self.may_be_heard(&plan).then(|| Hearing::new(&self.id));
        let live = Live {
            plan: plan.clone(),
            cancel: cancel.clone(),
            wrote: false,
            heard,
            streaming: false,
        };
        self.runs.insert(plan.run_id.clone(), live);
        self.show(&plan.agent_id, Activity::Thinking);
        self.batch.starts.push(Start { plan, spec, answers, cancel });
    }

    pub(super) fn spec(&self, agent_id: &str) -> Option<AgentSpec> {
        let known = self.specs.get(agent_id).cloned();
        known.or_else(|| turns::from_public_fields(agent_id, self.ledger.agent(agent_id)?))
    }

    fn answers(&self, message_id: &str) -> Vec<Answer> {
        let undelivered =
            self.ledger.message(message_id).map(|entry| &entry.undelivered[..]).unwrap_or_default();
        undelivered
            .iter()
            .filter_map(|answer| match answer {
                AnswerRef::Approval(id) => {
                    let ask = self.ledger.approval(id)?;
                    Some(Answer::Approval {
                        id: id.clone(),
                        tool_call_id: ask.tool_call_id.clone(),
                        approved: ask.approved?,
                    })
                }
                AnswerRef::ToolCall(id) => Some(Answer::ToolResult {
                    tool_call_id: id.clone(),
                    interrupt_id: self.ledger.tool_call(id)?.interrupt_id.clone(),
                }),
            })
            .collect()
    }

    /// Lets the run of a message go on when everything it asked for is answered.
    pub(super) fn go_on(&mut self, message_id: &str) {
        let Some(entry) = self.ledger.message(message_id) else { return };
        let busy = self.runs.values().any(|live| live.plan.message_id == message_id)
            || self.queued.iter().any(|plan| plan.message_id == message_id);
        if busy
            || entry.undelivered.is_empty()
            || entry.lifecycle == Lifecycle::Open
            || self.ledger.is_waiting(message_id)
            || self.spec(&entry.actor_id).is_none()
        {
            return;
        }
        let plan = RunPlan::resuming(message_id, &entry.actor_id, entry.last_run.clone());
        self.plan(plan);
    }

    /// Takes what a run sent. Output of runs that were stopped is dropped.
    pub(crate) fn output(&mut self, output: RunOutput) {
        match output.what {
            Output::Chunk(chunk) => {
                let Some(live) = self.runs.get_mut(&output.run_id) else { return };
                live.wrote = true;
                let first_word = !live.streaming && is_text(&chunk);
                live.streaming |= first_word;
                let (message_id, actor_id) =
                    (live.plan.message_id.clone(), live.plan.agent_id.clone());
                let item = self.push_row(Row {
                    message_id: &message_id,
                    actor_id: &actor_id,
                    role: Role::Assistant,
                    chunk: &chunk,
                    txid: None,
                });
                let live = self.runs.get_mut(&output.run_id);
                if let Some(heard) = live.and_then(|live| live.heard.as_mut()) {
                    heard.hear(&item);
                }
                if first_word {
                    self.show(&actor_id, Activity::Streaming);
                }
            }
            Output::End(end) => {
                if let Some(live) = self.runs.remove(&output.run_id) {
                    self.end(&live, &end);
                }
            }
        }
    }

    /// Writes the terminal event unless the agent did, and lets whatever waited for this run go on.
    fn end(&mut self, live: &Live, end: &RunEnd) {
        let Live { plan, wrote, .. } = live;
        let open = *wrote
            && self
                .ledger
                .message(&plan.message_id)
                .is_some_and(|entry| entry.lifecycle == Lifecycle::Open);
        let resumed = matches!(plan.cause, Cause::Answers { .. });
        let dialect = self.dialect(&plan.message_id);
        match end {
            // An agent that has nothing to say to an answer has been told it: the log says so.
            RunEnd::Finished if open || (resumed && !wrote) => {
                let chunk = terminal::finished(dialect, &self.id, &plan.run_id);
                self.push_agent_chunk(plan, &chunk);
            }
            RunEnd::Finished => {}
            RunEnd::Failed { code, message } => {
                if open || !wrote {
                    for chunk in terminal::failed(dialect, &plan.run_id, code, message) {
                        self.push_agent_chunk(plan, &chunk);
                    }
                }
            }
        }
        self.batch.after.push(Op::DropRun { run_id: plan.run_id.clone() });
        self.touch();
        self.go_on(&plan.message_id);
        let done = |entry: &Entry| entry.lifecycle == Lifecycle::Finished;
        if let Some(heard) = &live.heard
            && *wrote
            && *end == RunEnd::Finished
            && self.ledger.message(&plan.message_id).is_some_and(done)
            && !self.ledger.is_waiting(&plan.message_id)
        {
            self.pass_on(plan, heard);
        }
        self.start_queued();
        self.rest(&plan.agent_id);
    }

    /// Ends all runs because the server stops; the log says so at once instead of after the next start.
    pub(crate) fn interrupt_all(&mut self) {
        let runs = std::mem::take(&mut self.runs);
        self.batch.starts.clear();
        self.rest_all();
        for live in runs.into_values() {
            live.cancel.cancel();
            self.interrupt(&live.plan);
        }
    }

    pub(super) fn interrupt(&mut self, plan: &RunPlan) {
        let message =
            "The server stopped in the middle of this run. Send the message again to retry.";
        let dialect = self.dialect(&plan.message_id);
        for chunk in terminal::failed(dialect, &plan.run_id, "interrupted", message) {
            self.push_agent_chunk(plan, &chunk);
        }
        self.batch.after.push(Op::DropRun { run_id: plan.run_id.clone() });
        self.touch();
    }

    /// Drops a run that needs no event, before anything new is written: its cause may be written again with a run of
    /// its own, and must not have both after the next crash.
    fn forget(&mut self, run_id: String) {
        self.batch.before.push(Op::DropRun { run_id });
    }

    pub(super) fn recover(&mut self, runs: Vec<StoredRun>) {
        let mut known = Vec::new();
        for StoredRun { plan, started } in runs {
            known.push(plan.message_id.clone());
            let open = self
                .ledger
                .message(&plan.message_id)
                .is_some_and(|entry| entry.lifecycle == Lifecycle::Open);
            let caused = match &plan.cause {
                Cause::Message { id } => self.ledger.message(id).is_some(),
                Cause::Reply { id, .. } => self
                    .ledger
                    .message(id)
                    .is_some_and(|entry| entry.lifecycle == Lifecycle::Finished),
                Cause::Answers { .. } => self
                    .ledger
                    .message(&plan.message_id)
                    .is_some_and(|entry| !entry.undelivered.is_empty()),
            };
            if started {
                let silent = match &plan.cause {
                    Cause::Message { .. } | Cause::Reply { .. } => {
                        self.ledger.message(&plan.message_id).is_none()
                    }
                    Cause::Answers { .. } => caused,
                };
                if open || (silent && caused) {
                    self.interrupt(&plan);
                } else {
                    self.forget(plan.run_id);
                }
            } else if caused {
                self.queued.push_back(plan);
            } else {
                self.forget(plan.run_id);
            }
        }
        // The database may have been lost: an agent of this session that still seems to write, does not.
        let orphans = self.unfinished(|session, message_id, agent_id| {
            !known.iter().any(|id| id == message_id) && session.ledger.agent(agent_id).is_some()
        });
        for plan in &orphans {
            self.interrupt(plan);
        }
        self.go_on_where_decided();
        self.start_queued();
    }

    /// Lets every message go on whose agent is owed an answer: one given while its run was about to end, which nobody
    /// saw, or before its agent was registered again.
    pub(crate) fn go_on_where_decided(&mut self) {
        for plan in self.decided() {
            self.go_on(&plan.message_id);
        }
    }

    /// Messages with answers that their agents have not been told.
    pub(super) fn decided(&self) -> Vec<RunPlan> {
        let owed = self.ledger.messages().filter(|(_, entry)| {
            !entry.undelivered.is_empty() && entry.lifecycle != Lifecycle::Open
        });
        owed.filter(|(id, _)| !self.ledger.is_waiting(id))
            .map(|(id, entry)| RunPlan::resuming(id, &entry.actor_id, entry.last_run.clone()))
            .collect()
    }

    /// Messages that look as if an agent were writing them, of those that `whose(message, agent)` picks.
    pub(super) fn unfinished(&self, whose: impl Fn(&Self, &str, &str) -> bool) -> Vec<RunPlan> {
        self.ledger
            .messages()
            .filter(|(id, entry)| {
                entry.lifecycle == Lifecycle::Open
                    && entry.role == Role::Assistant
                    && whose(self, id, &entry.actor_id)
            })
            .map(|(id, entry)| {
                let mut plan = RunPlan::resuming(id, &entry.actor_id, None);
                if let Some(run_id) = &entry.last_run {
                    plan.run_id.clone_from(run_id);
                }
                plan
            })
            .collect()
    }
}
