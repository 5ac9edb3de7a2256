//! Planning, starting, ending and recovering runs.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;
use session_protocol::authority::{
    REFUSED, call_of_result, chunk_kind, chunk_value, is_peoples, is_result, is_whole,
};
use session_protocol::{AgentSpec, AnswerRef, Lifecycle, MessageRun};

use super::activity::Activity;
use super::listeners::{Hearing, MAX_HEARD};
use super::{Live, RefusedChunks, Session};
use crate::agent;
use crate::event::Role;
use crate::run::{Cause, Output, RunEnd, RunPlan, Start, ToldAnswer};
use crate::store::{Op, StoredRun};
use crate::terminal::{self, RunName};

/// Time in which an agent that said its run is over, or asked for something and ended its turn, may send more: an
/// open connection alone says nothing.
const AFTER_END: Duration = Duration::from_secs(5);
/// Time behind an end without a reason: another part may follow.
const AFTER_PART: Duration = Duration::from_secs(30);
/// Time when everything that it asked for is answered.
const AFTER_ANSWERS: Duration = Duration::from_secs(1);

impl Session {
    /// A run with new ids, which answers something new in a message of its own.
    pub(super) fn new_run(
        &mut self,
        agent_id: &str,
        cause: Cause,
        asked_by: Option<&str>,
    ) -> RunPlan {
        RunPlan {
            run_id: self.ids.run(self.now),
            message_id: self.ids.message(),
            agent_id: agent_id.to_owned(),
            cause,
            depth: 0,
            told: 0,
            asked_by: asked_by.map(str::to_owned),
        }
    }

    /// A run that goes on in the message that its agent wrote before. `None` where there is no such message.
    pub(super) fn resuming_run(
        &mut self,
        message_id: &str,
        asked_by: Option<&str>,
    ) -> Option<RunPlan> {
        let run = self.book.message(message_id)?;
        let cause = Cause::Answers { parent_run_id: run.last_run().map(str::to_owned) };
        Some(RunPlan {
            run_id: self.ids.run(self.now),
            message_id: message_id.to_owned(),
            agent_id: run.actor_id().to_owned(),
            cause,
            depth: run.depth(),
            told: 0,
            asked_by: asked_by.map(str::to_owned),
        })
    }

    /// Puts a plan into the database before anything that depends on it is in the stream.
    pub(super) fn store_plan(&mut self, plan: RunPlan) {
        let session_id = self.id.clone();
        self.effects.before.push(Op::PlanRun { session_id, plan });
    }

    pub(super) fn plan(&mut self, plan: RunPlan) {
        self.store_plan(plan.clone());
        let waits = |other: &RunPlan| other.agent_id == plan.agent_id;
        if self.is_closing
            || self.runs.values().any(|live| waits(&live.plan))
            || self.queued.iter().any(waits)
        {
            self.queued.push_back(plan);
        } else {
            self.start(plan);
        }
    }

    /// Starts every queued run whose agent is free: an agent does one thing at a time in a session.
    pub(super) fn start_queued(&mut self) {
        if self.is_closing {
            return;
        }
        let mut busy: HashSet<String> =
            self.runs.values().map(|live| live.plan.agent_id.clone()).collect();
        for plan in std::mem::take(&mut self.queued) {
            if busy.insert(plan.agent_id.clone()) {
                self.start(plan);
            } else {
                self.queued.push_back(plan);
            }
        }
    }

    fn start(&mut self, mut plan: RunPlan) {
        let answers = match &plan.cause {
            Cause::Message { .. } | Cause::Again { .. } | Cause::Reply { .. } => Vec::new(),
            Cause::Answers { .. } => {
                plan.told = self.undelivered(&plan.message_id);
                self.answers(&plan.message_id)
            }
        };
        let spec = self.spec(&plan.agent_id);
        let heard = self.may_be_heard(&plan).then(Hearing::default);
        if heard.is_some() {
            self.book.listen(&plan.message_id, MAX_HEARD);
        }
        self.show(&plan.agent_id, Activity::Thinking);
        self.lead(heard, Start { plan, spec, answers, recalls: false });
    }

    /// Lets other agents react to a message that was finished just before its server died.
    fn recall(&mut self, plan: RunPlan) {
        let start = Start { plan, spec: None, answers: Vec::new(), recalls: true };
        self.lead(Some(Hearing::default()), start);
    }

    fn lead(&mut self, heard: Option<Hearing>, start: Start) {
        let live = Live {
            plan: start.plan.clone(),
            wrote_at: None,
            heard,
            streaming: false,
            refused: RefusedChunks::default(),
        };
        self.runs.insert(start.plan.run_id.clone(), live);
        self.effects.starts.push(start);
    }

    pub(super) fn spec(&self, agent_id: &str) -> Option<AgentSpec> {
        let known = self.specs.get(agent_id).cloned();
        known.or_else(|| agent::from_public_fields(agent_id, self.book.agent(agent_id)?))
    }

    pub(super) fn undelivered(&self, message_id: &str) -> usize {
        self.book.message(message_id).map_or(0, |run| run.deliveries().undelivered.len())
    }

    fn answers(&self, message_id: &str) -> Vec<ToldAnswer> {
        let withdrawn = self.book.withdrawn(message_id).map(|ask| ToldAnswer::Withdrawn {
            id: ask.approval_id().to_owned(),
            tool_call_id: ask.tool_call_id().map(str::to_owned),
        });
        let found = self.book.message(message_id).map(|run| run.deliveries()).unwrap_or_default();
        let told = found.owed.into_iter().chain(found.undelivered);
        told.filter_map(|answer| match answer {
            AnswerRef::Approval(id) => {
                let ask = self.book.approval(&id, Some(message_id))?;
                let tool_call_id = ask.tool_call_id().map(str::to_owned);
                Some(ToldAnswer::Approval { tool_call_id, approved: ask.approved()?, id })
            }
            AnswerRef::ToolCall(id) => {
                let call = self.book.tool_call(&id, Some(message_id))?;
                let interrupt_id = call.interrupt_id().map(str::to_owned);
                Some(ToldAnswer::ToolResult { tool_call_id: id, interrupt_id })
            }
        })
        .chain(withdrawn)
        .collect()
    }

    /// Lets the run of a message go on when everything it asked for is answered. The last who answered asked for it.
    pub(super) fn go_on(&mut self, message_id: &str, asked_by: Option<&str>) {
        if self.undelivered(message_id) > 0 {
            self.resume(message_id, asked_by);
        }
    }

    /// Lets the run of a message go on with the answers that it has not been told, or was told when it failed. Not
    /// while it goes or still waits.
    pub(super) fn resume(&mut self, message_id: &str, asked_by: Option<&str>) {
        let Some(entry) = self.book.message(message_id) else { return };
        if self.is_going_on(message_id)
            || entry.is_open()
            || self.book.is_waiting(message_id)
            || self.spec(entry.actor_id()).is_none()
        {
            return;
        }
        if let Some(plan) = self.resuming_run(message_id, asked_by) {
            self.plan(plan);
        }
    }

    /// A run writes into the message, or is about to.
    fn is_going_on(&self, message_id: &str) -> bool {
        let mut plans = self.runs.values().map(|live| &live.plan).chain(&self.queued);
        plans.any(|plan| plan.message_id == message_id)
    }

    /// Takes what a run sent. Output of runs that were stopped is dropped.
    pub(super) fn output(&mut self, run_id: String, what: Output) {
        match what {
            Output::Chunk(chunk) => {
                // It is put back below: nothing in between looks at the runs.
                let Some(mut live) = self.runs.remove(&run_id) else { return };
                self.take_chunk(&mut live, &chunk);
                if self.entry_of(&live.plan).is_some_and(|run| run.has_failed()) {
                    self.end_failed(&mut live, &chunk);
                } else {
                    self.runs.insert(run_id, live);
                }
            }
            Output::Before(text) => {
                let live = self.runs.get_mut(&run_id);
                if let Some(heard) = live.and_then(|live| live.heard.as_mut()) {
                    heard.before(text);
                }
            }
            Output::Withdraw { approval_id, reason } => {
                let live = self.runs.get(&run_id);
                if let Some(message_id) = live.map(|live| live.plan.message_id.clone()) {
                    self.withdraw(&message_id, &approval_id, &reason);
                }
            }
            Output::Face(face) => {
                let live = self.runs.get(&run_id);
                if let Some(agent_id) = live.map(|live| live.plan.agent_id.clone()) {
                    self.face(&agent_id, &face);
                }
            }
            Output::Title(title) => {
                if self.runs.contains_key(&run_id) {
                    self.suggest_title(&title);
                }
            }
            Output::End(end) => {
                if let Some(mut live) = self.runs.remove(&run_id) {
                    self.effects.end(&run_id);
                    self.end(&mut live, &end);
                }
            }
        }
    }

    fn take_chunk(&mut self, live: &mut Live, chunk: &str) {
        let plan = &live.plan;
        let kind = chunk_kind(chunk).unwrap_or_default();
        if !self.may_say(plan, &kind, chunk) {
            self.effects.refused_chunks += 1;
            if live.refused.count(&kind) {
                self.tell_refused(live);
            }
            return;
        }
        self.effects.grows = true;
        let words = |run: Option<MessageRun<'_>>| run.map_or(0, |run| run.words());
        let progress = |run: Option<MessageRun<'_>>| run.map(|run| (run.steps(), run.is_at_end()));
        let (before, said) = (progress(self.entry_of(plan)), words(self.entry_of(plan)));
        self.push_output(plan, chunk);
        let after = progress(self.entry_of(plan));
        let first_word = !live.streaming && words(self.entry_of(plan)) > said;
        live.streaming |= first_word;
        if after == before {
            return;
        }
        live.wrote_at = Some(self.now.clock);
        let at_end = |progress: Option<(u64, bool)>| progress.is_some_and(|(_, at_end)| at_end);
        // A request with options is answered in the middle of its agent's work.
        let has_options = || chunk.contains("approval-requested") && chunk.contains("\"options\"");
        let may_ask = at_end(after) || (kind == "CUSTOM" && has_options());
        if may_ask && self.book.is_asking(&plan.message_id) {
            self.show(&plan.agent_id, Activity::Blocked);
        } else if first_word || (at_end(before) && !at_end(after)) {
            let activity = if live.streaming { Activity::Streaming } else { Activity::Thinking };
            self.show(&plan.agent_id, activity);
        }
    }

    /// Whether an agent may send this (L15): nothing that only people say, no message in the name of somebody, and no
    /// result of a call that is not its own.
    fn may_say(&self, plan: &RunPlan, kind: &str, chunk: &str) -> bool {
        if is_peoples(kind) || is_whole(kind) {
            return false;
        }
        if !is_result(kind) {
            return true;
        }
        let chunk = chunk_value(chunk);
        let call = chunk.as_ref().and_then(call_of_result);
        call.is_none_or(|call| self.book.tool_call(call, Some(&plan.message_id)).is_some())
    }

    /// The message of a run, when the run wrote something into it.
    fn entry_of(&self, plan: &RunPlan) -> Option<MessageRun<'_>> {
        self.book.message(&plan.message_id).filter(|run| run.run_id() == Some(&plan.run_id))
    }

    /// When a run is over although its agent has not closed its response; `None` while it has to say more.
    pub(super) fn over_by(&self, live: &Live) -> Option<Instant> {
        let message_id = &live.plan.message_id;
        let entry = self.entry_of(&live.plan).filter(|entry| entry.is_at_end())?;
        let patience = if entry.has_open_calls() {
            return None; // it runs them itself
        } else if self.book.is_asking(message_id) {
            AFTER_END
        } else if !entry.deliveries().undelivered.is_empty() {
            AFTER_ANSWERS
        } else if entry.is_for_good() {
            AFTER_END
        } else {
            AFTER_PART
        };
        Some(live.wrote_at? + patience)
    }

    /// When the next run is over by silence.
    pub(super) fn over_at(&self) -> Option<Instant> {
        self.runs.values().filter_map(|live| self.over_by(live)).min()
    }

    /// Ends the runs that are over by silence.
    pub(super) fn end_silent(&mut self) {
        let now = self.now.clock;
        self.hang_up_where(|session, live| session.over_by(live).is_some_and(|at| at <= now));
    }

    /// Ends those of the runs that it is asked about whose agents have ended them.
    pub(super) fn hang_up_where(&mut self, which: impl Fn(&Self, &Live) -> bool) {
        let over = |live: &&Live| self.over_by(live).is_some() && which(self, live);
        let over = self.runs.values().filter(over);
        let over: Vec<String> = over.map(|live| live.plan.run_id.clone()).collect();
        for run_id in over {
            self.hang_up(&run_id);
        }
    }

    /// Ends every run whose agent has ended it.
    pub(super) fn hang_up_over(&mut self) {
        self.hang_up_where(|_, _| true);
    }

    /// Ends a run whose agent has ended it.
    pub(super) fn hang_up(&mut self, run_id: &str) {
        if let Some(mut live) = self.runs.remove(run_id) {
            self.effects.end(run_id);
            self.end(&mut live, &RunEnd::Finished);
        }
    }

    /// Ends a run whose agent said that it failed. What it still sends is not taken.
    fn end_failed(&mut self, live: &mut Live, error: &str) {
        self.effects.end(&live.plan.run_id);
        let says = |name| chunk_value(error).is_some_and(|chunk| chunk.get(name).is_some());
        if chunk_kind(error).as_deref() == Some("error") && says("errorText") {
            self.push_agent_chunk(&live.plan, &terminal::behind_error());
        }
        self.end(live, &RunEnd::Finished);
    }

    /// Says in the message how many chunks were refused, for who owns the agent: of each type the first at once, the
    /// rest at the end.
    pub(super) fn tell_refused(&mut self, live: &mut Live) {
        let chunks = std::mem::take(&mut live.refused.untold);
        if chunks == 0 {
            return;
        }
        tracing::warn!(chunks, "an agent said what only people may say");
        if self.book.message(&live.plan.message_id).is_none() {
            self.push_started(&live.plan);
        }
        let value = json!({"chunks": chunks, "types": live.refused.kinds});
        self.push_agent_chunk(
            &live.plan,
            &json!({"type": "CUSTOM", "name": REFUSED, "value": value}),
        );
    }

    /// Begins the message of a run whose agent said nothing in it yet.
    pub(super) fn push_started(&mut self, plan: &RunPlan) {
        let chunk = json!({"type": "RUN_STARTED", "threadId": self.id, "runId": plan.run_id});
        self.push_agent_chunk(plan, &chunk);
    }

    /// Writes the terminal event unless the agent did, and lets whatever waited for this run go on.
    fn end(&mut self, live: &mut Live, end: &RunEnd) {
        self.tell_refused(live);
        self.lapse(&live.plan.message_id);
        let plan = &live.plan;
        let entry = self.entry_of(plan);
        let (wrote, open) = (entry.is_some(), entry.is_some_and(|run| run.is_open()));
        let resumed = matches!(plan.cause, Cause::Answers { .. });
        // A connection that breaks behind the end breaks nothing.
        let end = if wrote && !self.is_under_way(plan) { &RunEnd::Finished } else { end };
        match end {
            // An agent that has nothing to say to an answer has been told it: the log says so.
            RunEnd::Finished if open || (resumed && !wrote) => {
                let (dialect, run) = (self.dialect(&plan.message_id), self.run_as_said(plan));
                self.push_agent_chunk(plan, &terminal::finished(dialect, &run));
            }
            RunEnd::Finished => {}
            RunEnd::Failed { code, message } => {
                self.push_failure(plan, code, message);
            }
        }
        self.effects.after.push(Op::DropRun { run_id: plan.run_id.clone() });
        self.touch();
        // The next run in the message is heard by itself.
        let heard = live.heard.as_mut().map(|heard| heard.take(&self.book.heard(&plan.message_id)));
        self.book.hear_no_more(&plan.message_id);
        self.go_on(&plan.message_id, plan.asked_by.as_deref());
        let done = |run: MessageRun<'_>| run.lifecycle() == Lifecycle::Finished;
        if let Some(heard) = heard
            && *end == RunEnd::Finished
            && self.entry_of(plan).is_some_and(done)
            && !self.book.is_waiting(&plan.message_id)
            && !self.is_going_on(&plan.message_id)
        {
            self.pass_on(plan, &heard);
        }
        self.start_queued();
        self.rest(&plan.agent_id);
    }

    /// Whether the agent would have gone on: it has not ended, or ended a turn for tools that it runs itself.
    fn is_under_way(&self, plan: &RunPlan) -> bool {
        self.entry_of(plan)
            .is_some_and(|entry| entry.is_open() || (entry.is_at_end() && entry.has_open_calls()))
    }

    /// Ends all runs because the server stops; the log says so at once instead of after the next start. What comes
    /// after them, and agents that were not called yet, are left to that.
    pub(super) fn interrupt_all(&mut self, uncalled: &HashSet<String>) {
        self.is_closing = true;
        for (run_id, mut live) in std::mem::take(&mut self.runs) {
            self.effects.end(&run_id);
            if uncalled.contains(&run_id) {
                continue;
            }
            if self.entry_of(&live.plan).is_none() || self.is_under_way(&live.plan) {
                self.interrupt(&live.plan);
                self.go_on(&live.plan.message_id, live.plan.asked_by.as_deref());
            } else {
                self.end(&mut live, &RunEnd::Finished);
            }
        }
        self.rest_all();
    }

    /// Ends a run that nobody leads any more.
    pub(super) fn interrupt(&mut self, plan: &RunPlan) {
        self.lapse(&plan.message_id);
        let message = "The run was interrupted on the server. Send the message again to retry.";
        self.push_failure(plan, "interrupted", message);
        self.effects.after.push(Op::DropRun { run_id: plan.run_id.clone() });
        self.touch();
    }

    pub(super) fn push_failure(&mut self, plan: &RunPlan, code: &str, message: &str) {
        let (dialect, run) = (self.dialect(&plan.message_id), self.run_as_said(plan));
        for chunk in terminal::failed(dialect, &run, code, message) {
            self.push_agent_chunk(plan, &chunk);
        }
    }

    /// The run as its agent has named it: readers that count runs wait for the end of that one.
    fn run_as_said(&self, plan: &RunPlan) -> RunName {
        let open = self.book.message(&plan.message_id).filter(|entry| entry.is_open());
        let said = |name: Option<&str>, ours: &str| name.unwrap_or(ours).to_owned();
        RunName {
            thread_id: said(open.and_then(|run| run.last_thread()), &self.id),
            run_id: said(open.and_then(|run| run.named_run()), &plan.run_id),
        }
    }

    /// Drops a run that needs no event, before anything new is written: its cause may be written again with a run of
    /// its own, and must not have both after the next crash.
    fn forget(&mut self, run_id: String) {
        self.effects.before.push(Op::DropRun { run_id });
    }

    /// Ends, starts or lets go on what its server left over. In a session that this server does not know yet nothing
    /// goes on: it may be about to become a fork.
    pub(super) fn recover(&mut self, runs: Vec<StoredRun>, is_known: bool) {
        let mut known = Vec::new();
        let replies = runs.iter().filter_map(|run| match &run.plan.cause {
            Cause::Reply { id } => Some(id.clone()),
            _ => None,
        });
        let heard: HashSet<String> = replies.collect();
        for StoredRun { mut plan, started } in runs {
            self.book.bring(&plan.message_id);
            if let Cause::Message { id } | Cause::Again { id } | Cause::Reply { id } = &plan.cause {
                self.book.bring(id);
            }
            known.push(plan.message_id.clone());
            let caused = match &plan.cause {
                Cause::Message { id } | Cause::Again { id } => self.book.message(id).is_some(),
                Cause::Reply { id } => {
                    self.book.message(id).is_some_and(|run| run.lifecycle() == Lifecycle::Finished)
                }
                Cause::Answers { .. } => self.undelivered(&plan.message_id) > 0,
            };
            if started {
                let silent = self.entry_of(&plan).is_none();
                if self.is_under_way(&plan) || (silent && caused) {
                    plan.told = self.undelivered(&plan.message_id);
                    self.interrupt(&plan);
                } else if !silent && !heard.contains(&plan.message_id) && self.may_be_heard(&plan) {
                    self.recall(plan);
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
            !known.iter().any(|id| id == message_id) && session.book.agent(agent_id).is_some()
        });
        for plan in &orphans {
            self.interrupt(plan);
        }
        if is_known {
            self.go_on_where_decided();
        }
        self.start_queued();
    }

    /// Lets every message go on whose agent is owed an answer: one given while its run was about to end, which nobody
    /// saw, or before its agent was registered again.
    pub(super) fn go_on_where_decided(&mut self) {
        for message_id in self.decided() {
            self.go_on(&message_id, None);
        }
    }

    /// Messages with answers that their agents have not been told.
    pub(super) fn decided(&self) -> Vec<String> {
        let ended = self.book.messages().filter(|run| !run.is_open());
        let goes_on = |run: &MessageRun<'_>| {
            !run.deliveries().undelivered.is_empty() && !self.book.is_waiting(run.message_id())
        };
        ended.filter(goes_on).map(|run| run.message_id().to_owned()).collect()
    }

    /// Messages that look as if an agent were writing them, of those that `whose(message, agent)` picks.
    pub(super) fn unfinished(&mut self, whose: impl Fn(&Self, &str, &str) -> bool) -> Vec<RunPlan> {
        let seem = self.book.messages().filter(|run| {
            run.is_open()
                && run.role() == Role::Assistant
                && whose(self, run.message_id(), run.actor_id())
        });
        let said = |run: MessageRun<'_>| run.run_id().or(run.last_run()).map(str::to_owned);
        let seem: Vec<_> = seem.map(|run| (run.message_id().to_owned(), said(run))).collect();
        let plan = |(message_id, said): (String, Option<String>)| {
            let plan = self.resuming_run(&message_id, None)?;
            Some(RunPlan { run_id: said.unwrap_or(plan.run_id), ..plan })
        };
        seem.into_iter().filter_map(plan).collect()
    }
}
