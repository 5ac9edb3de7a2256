//! Wishes of people to agents: messages, answers, stopping.

use std::collections::VecDeque;

use serde_json::{Value, json};
use session_protocol::api::SendMode;
use session_protocol::{FilePart, MessageRun};

use super::{Decision, NewMessage, NewToolResult, Refusal, Session, options};
use crate::book::Wish;
use crate::event::{self, Role, Row};
use crate::run::{Cause, RunPlan};
use crate::store::Op;
use crate::terminal;

/// The message that is meant: the named one, or the only one that waits. `None` when none does; then the newest is
/// meant.
fn only_one<'a>(
    named: Option<&'a str>,
    waiting: &'a [String],
    agent_of: impl Fn(&str) -> String,
) -> Result<Option<&'a str>, Refusal> {
    match (named, waiting) {
        (Some(named), _) => Ok(Some(named)),
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only)),
        (None, several) => {
            let names = several.iter().map(|id| format!("{id} of {}", agent_of(id)));
            Err(Refusal::Ambiguous(names.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// The message that a sending comes to, by its id.
enum Sending {
    /// The wish was granted before, and the message may be deleted since.
    Granted(String),
    /// Another request sent the message.
    Known(String),
    New(String),
}

impl Session {
    /// Writes a message and starts the agents that listen. Repeating it changes nothing. Returns the message's id.
    pub(super) fn send(&mut self, new: NewMessage) -> Result<String, Refusal> {
        let sending = self.check_sending(&new)?;
        Ok(self.send_checked(sending, new))
    }

    /// Sends a message instead of one that was answered, which must be there.
    pub(super) fn send_anew(
        &mut self,
        instead_of: Option<&str>,
        new: NewMessage,
    ) -> Result<(), Refusal> {
        if self.book.agents().next().is_none() {
            return Err(Refusal::NoAgents);
        }
        if let Some(message_id) = instead_of {
            self.book.bring(message_id);
            self.book.message(message_id).ok_or(Refusal::MessageNotFound)?;
        }
        let sending = self.check_sending(&new)?;
        self.hang_up_over();
        self.send_checked(sending, new);
        Ok(())
    }

    fn check_sending(&mut self, new: &NewMessage) -> Result<Sending, Refusal> {
        let txid = new.txid.as_deref();
        self.book.bring_wishes(txid);
        let known = txid.and_then(|txid| self.book.by_txid(Wish::Message, txid));
        let message_id = new.message_id.as_deref().or(known).map(str::to_owned);
        let message_id = message_id.unwrap_or_else(|| self.ids.message());
        self.book.bring(&message_id);
        if self.book.granted(Wish::Message, txid, &message_id)?.is_some() {
            return Ok(Sending::Granted(message_id));
        }
        if self.book.was_deleted(&message_id) {
            return Err(Refusal::MessageDeleted);
        }
        if let Some(entry) = self.book.message(&message_id) {
            if entry.role() == Role::Assistant && new.role != Role::Assistant {
                return Err(Refusal::MessageExists);
            }
            return Ok(Sending::Known(message_id));
        }
        if let Some(spec) = &new.agent {
            self.admit(spec, new.manages)?;
        }
        Ok(Sending::New(message_id))
    }

    fn send_checked(&mut self, sending: Sending, new: NewMessage) -> String {
        let message_id = match sending {
            Sending::Granted(message_id) => return message_id,
            Sending::Known(message_id) => {
                // The first answer again, and no second run.
                self.acknowledge(Wish::Message, new.txid.as_deref(), &message_id);
                return message_id;
            }
            Sending::New(message_id) => message_id,
        };
        self.write_message(&message_id, &new);
        if new.role != Role::User {
            return message_id;
        }
        let mut agents = self.listeners(&new.content);
        if let Some(spec) = new.agent {
            if !agents.contains(&spec.id) {
                agents.push(spec.id.clone());
            }
            self.keep_inline(spec);
        }
        for agent_id in agents {
            let cause = Cause::Message { id: message_id.clone() };
            let plan = self.new_run(&agent_id, cause, Some(&new.actor_id));
            match new.mode {
                SendMode::Queue => self.plan(plan),
                SendMode::Steer => self.steer(plan, &new.actor_id),
            }
        }
        message_id
    }

    fn write_message(
        &mut self,
        message_id: &str,
        NewMessage { content, files, role, actor_id, txid, .. }: &NewMessage,
    ) {
        let (role, txid) = (*role, txid.as_deref());
        let words = json!({"type": "text", "content": content});
        // As the AI SDK writes files.
        let files = files.iter().map(|FilePart { url, media_type, filename, .. }| {
            json!({"type": "file", "url": url, "mediaType": media_type, "filename": filename})
        });
        let parts: Vec<Value> = (!content.is_empty() || files.len() == 0)
            .then_some(words)
            .into_iter()
            .chain(files)
            .collect();
        let chunk = json!({
            "type": "whole-message",
            "message": {
                "id": message_id,
                "role": role,
                "parts": parts,
                "createdAt": event::at(self.now.time),
            },
        });
        let chunk = &chunk.to_string();
        self.push_row(Row { message_id, actor_id, role, chunk, txid, run: None });
        self.effects.grows = true;
        self.touch();
    }

    /// Answers an approval in the message that holds the request: the named one, or else the only one that waits under
    /// this id. The first answer wins. One that offers options is answered by one of them, inside its run.
    ///
    /// # Errors
    ///
    /// There is no such request, several messages ask under this id and none is named, the request was answered
    /// otherwise, or its call has ended without an answer.
    pub(super) fn respond(&mut self, decision: &Decision) -> Result<(), Refusal> {
        let Decision { approval_id, message_id, approved, payload, option_id, actor_id, txid } =
            decision;
        let (txid, approved, option_id) = (txid.as_deref(), *approved, option_id.as_deref());
        self.book.bring_wishes(txid);
        let wish = format!("{approval_id} {approved}");
        if self.book.granted(Wish::Approval, txid, &wish)?.is_some() {
            return Ok(()); // also when the agent has asked anew under the same id since
        }
        let asking = self.book.asking(approval_id);
        let meant = only_one(message_id.as_deref(), &asking, |id| self.agent_of(id))?;
        self.book.bring_approval(approval_id, meant);
        let Some(ask) = self.book.approval(approval_id, meant) else {
            return Err(Refusal::ApprovalNotFound);
        };
        let offered = ask.options().map(<[_]>::to_vec);
        if let Some(first) = ask.approved() {
            let other = option_id.is_some() && option_id != ask.option_id();
            let is_over = offered.is_some() && ask.option_id().is_none() && ask.reason().is_some();
            if (first != approved || other) && !is_over {
                return Err(Refusal::DecidedOtherwise);
            }
            self.acknowledge(Wish::Approval, txid, &wish);
            return Ok(());
        }
        let message_id = ask.message_id().to_owned();
        if !asking.contains(&message_id) {
            return Err(Refusal::NotAsked);
        }
        let Some(offered) = offered else {
            if option_id.is_some() {
                return Err(Refusal::NoOptions);
            }
            self.answer(&message_id, approval_id, approved, payload.as_ref(), actor_id, txid);
            self.touch();
            self.go_on(&message_id, Some(actor_id));
            return Ok(());
        };
        let given = options::choose(approval_id, &offered, approved, option_id)?;
        self.give(&message_id, given, actor_id, txid);
        Ok(())
    }

    fn answer(
        &mut self,
        message_id: &str,
        approval_id: &str,
        approved: bool,
        payload: Option<&Value>,
        actor_id: &str,
        txid: Option<&str>,
    ) {
        let mut chunk =
            json!({"type": "approval-response", "approvalId": approval_id, "approved": approved});
        if let Some(payload) = payload {
            chunk["payload"] = payload.clone();
        }
        let chunk = &chunk.to_string();
        self.push_row(Row { message_id, actor_id, role: Role::User, chunk, txid, run: None });
    }

    /// The agent whose message it is.
    fn agent_of(&self, message_id: &str) -> String {
        self.book.message(message_id).map(|run| run.actor_id().to_owned()).unwrap_or_default()
    }

    /// Writes a tool's result into the message that holds the call. A different second result is refused.
    ///
    /// # Errors
    ///
    /// There is no such call, several messages wait for a result of this id and none is named, or the call has another
    /// result.
    pub(super) fn tool_result(&mut self, new: &NewToolResult) -> Result<(), Refusal> {
        let txid = new.txid.as_deref();
        self.book.bring_wishes(txid);
        self.book.bring_call(&new.tool_call_id, new.message_id.as_deref());
        self.book.bring_call(&new.tool_call_id, None);
        if self.book.granted(Wish::Chunk, txid, &new.tool_call_id)?.is_some() {
            return Ok(());
        }
        let failed = new.error.as_deref().filter(|error| !error.is_empty());
        let named = |message_id| self.book.tool_call(&new.tool_call_id, message_id);
        let hint = new.message_id.as_deref().filter(|id| named(Some(id)).is_some());
        let waiting = self.book.waiting_for(&new.tool_call_id);
        let meant = only_one(hint, &waiting, |id| self.agent_of(id))?;
        let Some(call) = named(meant) else {
            return Err(Refusal::CallNotFound);
        };
        if call.is_settled() {
            let content = Value::from(terminal::content(&new.output, failed));
            // Not every dialect has a word for a failure of a client's call.
            let same = call.has_result(&new.output, failed)
                || call.has_result(&content, failed)
                || call.has_result(&content, None);
            if !same {
                return Err(Refusal::HasOtherResult);
            }
            self.acknowledge(Wish::Chunk, txid, &new.tool_call_id);
            return Ok(());
        }
        let message_id = call.message_id().to_owned();
        let (dialect, call) = (self.dialect(&message_id), new.tool_call_id.as_str());
        let chunks = terminal::tool_result(dialect, &message_id, call, &new.output, failed);
        for (n, chunk) in chunks.iter().enumerate() {
            self.push_row(Row {
                message_id: &message_id,
                actor_id: &new.actor_id,
                role: Role::User,
                chunk: &chunk.to_string(),
                txid: txid.filter(|_| n == 0),
                run: None,
            });
        }
        self.touch();
        self.go_on(&message_id, Some(&new.actor_id));
        Ok(())
    }

    /// Lets the agents answer a message of a person again: after a failure, or because the answer was not liked. Where
    /// an agent failed with what was decided for it, it goes on with that instead; so does the message of an agent that
    /// is named itself. The log says who asked for it, and knows the request again by its `txid`.
    ///
    /// # Errors
    ///
    /// There is no such message, or nothing to do again in it, or no agent to do it.
    pub(super) fn retry(
        &mut self,
        message_id: &str,
        text: &str,
        actor_id: &str,
        txid: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.book.agents().next().is_none() {
            return Err(Refusal::NoAgents);
        }
        self.book.bring_wishes(txid);
        self.book.bring(message_id);
        if self.book.granted(Wish::Regenerate, txid, message_id)?.is_some() {
            return Ok(());
        }
        let entry = self.book.message(message_id);
        let again =
            |run: &MessageRun<'_>| run.role() == Role::User || !run.deliveries().owed.is_empty();
        let Some(entry) = entry.filter(again) else {
            return Err(Refusal::MessageNotFound);
        };
        let by_person = entry.role() == Role::User;
        self.hang_up_over();
        if by_person {
            let failed = self.book.owed_after(message_id);
            for agent_id in self.listeners(text) {
                match failed.get(&agent_id) {
                    Some(message_id) => self.resume(message_id, Some(actor_id)),
                    None => self.answer_again(message_id, &agent_id, actor_id),
                }
            }
        } else {
            self.resume(message_id, Some(actor_id));
        }
        let asked = json!({"type": "control", "action": "regenerate", "messageId": message_id});
        self.push_signal(&asked, actor_id, txid);
        Ok(())
    }

    fn answer_again(&mut self, message_id: &str, agent_id: &str, actor_id: &str) {
        let answers = |cause: &Cause| matches!(cause, Cause::Message { id } | Cause::Again { id } if id == message_id);
        let mut plans = self.runs.values().map(|live| &live.plan).chain(&self.queued);
        if !plans.any(|plan| plan.agent_id == agent_id && answers(&plan.cause)) {
            let cause = Cause::Again { id: message_id.to_owned() };
            let plan = self.new_run(agent_id, cause, Some(actor_id));
            self.plan(plan);
        } // else it is about to answer already
    }

    /// Stops the run that writes `message_id`, or the waiting of one that asked for something. Without one: the runs
    /// that this actor began, or, where there are none, every run of the session.
    pub(super) fn stop(&mut self, message_id: Option<&str>, actor_id: &str) {
        let Some(message_id) = message_id else {
            let own = |plan: &RunPlan| plan.asked_by.as_deref() == Some(actor_id);
            let mut plans = self.runs.values().map(|live| &live.plan).chain(&self.queued);
            let has_own = plans.any(own);
            self.stop_where(|plan| !has_own || own(plan), actor_id);
            return;
        };
        let stops = self.stop_where(|plan| plan.message_id == message_id, actor_id);
        let waiting = self
            .book
            .message(message_id)
            .filter(|entry| !stops && !entry.is_open() && self.book.is_waiting(message_id));
        if waiting.is_none() {
            return;
        }
        if let Some(plan) = self.resuming_run(message_id, None) {
            self.push_stop(&plan, actor_id, "aborted");
            self.rest(&plan.agent_id);
        }
    }

    /// Stops every run of the session.
    pub(super) fn stop_all(&mut self, actor_id: &str) {
        self.stop_where(|_| true, actor_id);
    }

    /// Stops the runs that are picked, also those that wait. Returns whether there were any.
    fn stop_where(&mut self, whose: impl Fn(&RunPlan) -> bool, actor_id: &str) -> bool {
        // What is finished is not stopped, but what comes of it.
        self.hang_up_where(|session, live| {
            whose(&live.plan) && !session.book.is_asking(&live.plan.message_id)
        });
        let (dropped, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.queued).into_iter().partition(|plan| whose(plan));
        self.queued = kept;
        for plan in &dropped {
            self.push_stop(plan, actor_id, "aborted");
        }
        let stopped: Vec<String> = self
            .runs
            .values()
            .filter(|live| whose(&live.plan))
            .map(|l| l.plan.run_id.clone())
            .collect();
        for run_id in &stopped {
            self.cut_off(run_id, actor_id, "aborted");
        }
        !dropped.is_empty() || !stopped.is_empty()
    }

    /// Answers a message at once, instead of what its agent is doing.
    fn steer(&mut self, plan: RunPlan, actor_id: &str) {
        let busy = self.runs.values().find(|live| live.plan.agent_id == plan.agent_id);
        let busy = busy.map(|live| (live.plan.run_id.clone(), self.over_by(live).is_some()));
        self.store_plan(plan.clone());
        self.queued.push_front(plan);
        match busy {
            // What it asks is still asked, as when its agent had closed its response.
            Some((run_id, true)) => self.hang_up(&run_id),
            Some((run_id, false)) => self.cut_off(&run_id, actor_id, "steered"),
            None => self.start_queued(),
        }
    }

    /// Ends a run in the name of the person who ended it. What it said stays.
    fn cut_off(&mut self, run_id: &str, actor_id: &str, reason: &str) {
        let Some(mut live) = self.runs.remove(run_id) else { return };
        self.effects.end(run_id);
        self.tell_refused(&mut live);
        self.push_stop(&live.plan, actor_id, reason);
        self.book.hear_no_more(&live.plan.message_id);
        self.start_queued();
        self.rest(&live.plan.agent_id);
    }

    /// Writes the end of a run that somebody stopped, also before it said or did anything.
    fn push_stop(&mut self, plan: &RunPlan, actor_id: &str, reason: &str) {
        if self.book.message(&plan.message_id).is_none() {
            // The message is the agent's, whoever stopped it before its first word.
            self.push_started(plan);
        }
        // Nobody is asked any more.
        self.withdraw_all(&plan.message_id, "cancelled", actor_id);
        for approval_id in &self.book.open_asks(&plan.message_id) {
            self.answer(&plan.message_id, approval_id, false, None, actor_id, None);
        }
        let chunk = terminal::stopped(self.dialect(&plan.message_id), actor_id, reason);
        self.push_row(Row {
            message_id: &plan.message_id,
            actor_id,
            role: Role::Assistant,
            chunk: &chunk.to_string(),
            txid: None,
            run: None,
        });
        self.effects.after.push(Op::DropRun { run_id: plan.run_id.clone() });
        self.touch();
    }
}
