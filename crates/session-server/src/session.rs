//! One session's state and what each intent does to it.
//!
//! Everything here is synchronous: a method checks an intent against the [`Ledger`], and either refuses it or puts
//! events, database changes and run starts into the current [`Batch`]. The task in `sessions` commits batches.
//! State is ahead of the stream by what is not committed; when a commit fails the whole state is thrown away and read
//! again from the stream (L1).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value, json};
use session_protocol::AgentSpec;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    event::{self, Role, Row},
    ledger::{AnswerRef, Ledger, Lifecycle, fingerprint},
    problem::Problem,
    sessions::Shared,
    store::{Op, StoredRun},
    terminal::{self, Dialect},
    turns::{self, Answer, Cause, Output, RunEnd, RunOutput, RunPlan, Start},
};

/// Told when the batch is in the stream, or why it is not.
pub(crate) type Waiter = Box<dyn FnOnce(Result<(), Problem>) + Send>;

/// What the next commit writes, and what happens after it.
#[derive(Default)]
pub(crate) struct Batch {
    /// Database changes that must be there before the events are.
    pub(crate) before: Vec<Op>,
    pub(crate) events: Vec<Bytes>,
    /// Database changes that may only happen when the events are there.
    pub(crate) after: Vec<Op>,
    pub(crate) starts: Vec<Start>,
    pub(crate) waiters: Vec<Waiter>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_empty()
            && self.events.is_empty()
            && self.after.is_empty()
            && self.starts.is_empty()
            && self.waiters.is_empty()
    }
}

struct Live {
    plan: RunPlan,
    cancel: CancellationToken,
    /// The agent wrote something in this run.
    wrote: bool,
}

/// A message that a client posts.
pub(crate) struct NewMessage {
    pub(crate) message_id: Option<String>,
    pub(crate) content: String,
    pub(crate) role: Role,
    pub(crate) actor_id: String,
    pub(crate) agent: Option<AgentSpec>,
    pub(crate) txid: Option<String>,
}

/// A tool result that a client posts.
pub(crate) struct NewToolResult {
    pub(crate) tool_call_id: String,
    pub(crate) output: Value,
    pub(crate) error: Option<String>,
    pub(crate) actor_id: String,
    pub(crate) txid: Option<String>,
}

/// The state of one session, owned by its task (L5).
pub(crate) struct Session {
    id: String,
    shared: Arc<Shared>,
    ledger: Ledger,
    specs: HashMap<String, AgentSpec>,
    runs: HashMap<String, Live>,
    /// Runs that wait until their agent is free.
    queued: VecDeque<RunPlan>,
    pub(crate) batch: Batch,
}

impl Session {
    /// Rebuilds a session from its stream and the server's database, then ends or starts what a crash left over.
    pub(crate) fn open(
        id: &str,
        shared: Arc<Shared>,
        items: &[Bytes],
        specs: Vec<AgentSpec>,
        runs: Vec<StoredRun>,
    ) -> Self {
        let mut ledger = Ledger::default();
        for item in items {
            ledger.apply(item);
        }
        let mut session = Self {
            id: id.to_owned(),
            shared,
            ledger,
            specs: specs.into_iter().map(|spec| (spec.id.clone(), spec)).collect(),
            runs: HashMap::new(),
            queued: VecDeque::new(),
            batch: Batch::default(),
        };
        session.recover(runs);
        session
    }

    /// Brings a title that only the stream knows into the list of sessions.
    pub(crate) fn keep_title(&mut self, listed: Option<&str>) {
        if let (None, Some(title)) = (listed, self.ledger.title()) {
            let op = Op::Title { session_id: self.id.clone(), title: title.to_owned() };
            self.batch.after.push(op);
        }
    }

    /// Gives the state up: stops its runs and answers whoever waits. Says whether a run was under way.
    pub(crate) fn abandon(self, problem: &Problem) -> bool {
        for live in self.runs.values() {
            live.cancel.cancel();
        }
        for waiter in self.batch.waiters {
            waiter(Err(problem.clone()));
        }
        !self.runs.is_empty() || !self.queued.is_empty()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// No agent runs and none is about to.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.queued.is_empty() && self.batch.is_empty()
    }

    // ---- writing ------------------------------------------------------------------------------------------------

    fn push(&mut self, item: Bytes) {
        self.ledger.apply(&item);
        self.batch.events.push(item);
    }

    fn push_row(&mut self, row: Row<'_>) {
        let item = event::chunk(row, self.ledger.next_seq(row.message_id), &event::now());
        self.push(item);
    }

    fn push_agent_chunk(&mut self, plan: &RunPlan, chunk: &Value) {
        self.push_row(Row {
            message_id: &plan.message_id,
            actor_id: &plan.agent_id,
            role: Role::Assistant,
            chunk: &chunk.to_string(),
            txid: None,
        });
    }

    fn touch(&mut self) {
        let op = Op::Touch { session_id: self.id.clone(), at: event::now() };
        self.batch.after.push(op);
    }

    // ---- intents ------------------------------------------------------------------------------------------------

    /// Writes a message and starts the agents that listen. Repeating it changes nothing; gives the message's id.
    pub(crate) fn send(&mut self, new: NewMessage) -> Result<String, Problem> {
        let known = new.txid.as_deref().and_then(|txid| self.ledger.by_txid(txid));
        if new.message_id.is_none()
            && let Some(known) = known
        {
            return Ok(known.to_owned());
        }
        let message_id = new.message_id.unwrap_or_else(|| Uuid::new_v4().to_string());
        if let Some(entry) = self.ledger.message(&message_id) {
            if entry.role == Role::Assistant && new.role != Role::Assistant {
                return Err(Problem::conflict("MESSAGE_EXISTS", "An agent has this message id"));
            }
            return Ok(message_id); // the first answer again, and no second run
        }
        self.write_message(&message_id, &new.content, new.role, &new.actor_id, new.txid.as_deref());
        if new.role != Role::User {
            return Ok(message_id);
        }
        let mut agents: Vec<String> = self
            .ledger
            .agents()
            .filter(|(_, fields)| {
                matches!(
                    fields.get("triggers").and_then(Value::as_str),
                    None | Some("all" | "user-messages")
                )
            })
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(spec) = new.agent {
            if !agents.contains(&spec.id) {
                agents.push(spec.id.clone());
            }
            let session_id = self.id.clone();
            self.batch.before.push(Op::PutAgent { session_id, spec: spec.clone(), inline: true });
            self.specs.insert(spec.id.clone(), spec);
        }
        for agent_id in agents {
            self.plan(RunPlan {
                run_id: Uuid::now_v7().to_string(),
                message_id: Uuid::new_v4().to_string(),
                agent_id,
                cause: Cause::Message { id: message_id.clone() },
            });
        }
        Ok(message_id)
    }

    fn write_message(
        &mut self,
        message_id: &str,
        content: &str,
        role: Role,
        actor_id: &str,
        txid: Option<&str>,
    ) {
        let chunk = json!({
            "type": "whole-message",
            "message": {
                "id": message_id,
                "role": role,
                "parts": [{"type": "text", "content": content}],
                "createdAt": event::now(),
            },
        });
        self.push_row(Row { message_id, actor_id, role, chunk: &chunk.to_string(), txid });
        self.touch();
    }

    /// Answers an approval in the message that holds the request. The first answer wins.
    pub(crate) fn respond(
        &mut self,
        approval_id: &str,
        approved: bool,
        actor_id: &str,
        txid: Option<&str>,
    ) -> Result<(), Problem> {
        let Some(ask) = self.ledger.approval(approval_id) else {
            return Err(Problem::not_found("APPROVAL_NOT_FOUND", "Approval not found"));
        };
        if let Some(first) = ask.approved {
            return if first == approved {
                Ok(())
            } else {
                Err(Problem::conflict("ALREADY_ANSWERED", "The approval was answered otherwise"))
            };
        }
        let Some(message_id) = ask.message_id.clone() else {
            return Err(Problem::not_found("APPROVAL_NOT_FOUND", "Approval not found"));
        };
        let chunk =
            json!({"type": "approval-response", "approvalId": approval_id, "approved": approved});
        self.push_row(Row {
            message_id: &message_id,
            actor_id,
            role: Role::User,
            chunk: &chunk.to_string(),
            txid,
        });
        self.touch();
        self.go_on(&message_id);
        Ok(())
    }

    /// Writes a tool's result into the message that holds the call. A different second result is refused.
    pub(crate) fn tool_result(&mut self, new: &NewToolResult) -> Result<(), Problem> {
        let Some(call) = self.ledger.tool_call(&new.tool_call_id) else {
            return Err(Problem::not_found("TOOL_CALL_NOT_FOUND", "Tool call not found"));
        };
        if let Some(first) = call.result {
            let error = new.error.clone().map(Value::from);
            return if first == fingerprint(Some(&new.output), error.as_ref()) {
                Ok(())
            } else {
                Err(Problem::conflict("ALREADY_ANSWERED", "The tool call has another result"))
            };
        }
        let Some(message_id) = call.message_id.clone() else {
            return Err(Problem::not_found("TOOL_CALL_NOT_FOUND", "Tool call not found"));
        };
        let dialect = self.dialect(&message_id);
        let chunks = terminal::tool_result(
            dialect,
            &message_id,
            &new.tool_call_id,
            &new.output,
            new.error.as_deref(),
        );
        for (n, chunk) in chunks.iter().enumerate() {
            self.push_row(Row {
                message_id: &message_id,
                actor_id: &new.actor_id,
                role: Role::User,
                chunk: &chunk.to_string(),
                txid: new.txid.as_deref().filter(|_| n == 0),
            });
        }
        self.touch();
        self.go_on(&message_id);
        Ok(())
    }

    /// Stops the run that writes `message_id`, or every run of the session. Says how many were stopped.
    pub(crate) fn stop(&mut self, message_id: Option<&str>, actor_id: &str) -> usize {
        let stopped: Vec<String> = self
            .runs
            .iter()
            .filter(|(_, live)| message_id.is_none_or(|id| id == live.plan.message_id))
            .map(|(run_id, _)| run_id.clone())
            .collect();
        if message_id.is_none() {
            for plan in std::mem::take(&mut self.queued) {
                self.batch.after.push(Op::DropRun { run_id: plan.run_id });
            }
        }
        for run_id in &stopped {
            let Some(live) = self.runs.remove(run_id) else { continue };
            live.cancel.cancel();
            self.batch.starts.retain(|start| start.plan.run_id != *run_id);
            if self.ledger.message(&live.plan.message_id).is_none() {
                // The message is the agent's, whoever stopped it before its first word.
                let chunk = json!({"type": "RUN_STARTED", "threadId": self.id, "runId": run_id});
                self.push_agent_chunk(&live.plan, &chunk);
            }
            let chunk = terminal::stopped(self.dialect(&live.plan.message_id), actor_id);
            self.push_row(Row {
                message_id: &live.plan.message_id,
                actor_id,
                role: Role::Assistant,
                chunk: &chunk.to_string(),
                txid: None,
            });
            self.batch.after.push(Op::DropRun { run_id: run_id.clone() });
        }
        if !stopped.is_empty() {
            self.touch();
            self.start_queued();
        }
        stopped.len()
    }

    /// Registers agents; the same id replaces. Only public fields reach the stream.
    pub(crate) fn register(&mut self, specs: Vec<AgentSpec>) {
        for spec in specs {
            let public = turns::public_fields(&spec);
            let known = self.ledger.agent(&spec.id);
            // Readers merge: an old name would stay unless the row is deleted first.
            let stale = known.is_some_and(|old| old.get("name").is_some() && spec.name.is_none());
            if stale {
                self.push(event::delete("agent", &spec.id));
            }
            if self.ledger.agent(&spec.id) != Some(&public) {
                self.push(event::upsert("agent", &spec.id, &public));
            }
            let session_id = self.id.clone();
            self.batch.before.push(Op::PutAgent { session_id, spec: spec.clone(), inline: false });
            self.specs.insert(spec.id.clone(), spec);
        }
    }

    /// Takes an agent off the session. Unknown ones are no error.
    pub(crate) fn unregister(&mut self, agent_id: &str) {
        if self.ledger.agent(agent_id).is_some() {
            self.push(event::delete("agent", agent_id));
        }
        self.specs.remove(agent_id);
        let (session_id, agent_id) = (self.id.clone(), agent_id.to_owned());
        self.batch.after.push(Op::DropAgent { session_id, agent_id });
    }

    /// Gives the session a title.
    pub(crate) fn rename(&mut self, title: &str, actor_id: &str) {
        let chunk = json!({"type": "config", "title": title});
        self.push_row(Row {
            message_id: &Uuid::new_v4().to_string(),
            actor_id,
            role: Role::User,
            chunk: &chunk.to_string(),
            txid: None,
        });
        let (session_id, title) = (self.id.clone(), title.to_owned());
        self.batch.after.push(Op::Title { session_id, title });
        self.touch();
    }

    // ---- runs ---------------------------------------------------------------------------------------------------

    fn plan(&mut self, plan: RunPlan) {
        let session_id = self.id.clone();
        self.batch.before.push(Op::PlanRun { session_id, plan: plan.clone() });
        self.queued.push_back(plan);
        self.start_queued();
    }

    /// Starts every queued run whose agent is free: an agent does one thing at a time in a session.
    fn start_queued(&mut self) {
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
            Cause::Message { .. } => Vec::new(),
            Cause::Answers { .. } => self.answers(&plan.message_id),
        };
        let spec = self.spec(&plan.agent_id);
        let live = Live { plan: plan.clone(), cancel: cancel.clone(), wrote: false };
        self.runs.insert(plan.run_id.clone(), live);
        self.batch.starts.push(Start { plan, spec, answers, cancel });
    }

    fn spec(&self, agent_id: &str) -> Option<AgentSpec> {
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
    fn go_on(&mut self, message_id: &str) {
        let Some(entry) = self.ledger.message(message_id) else { return };
        let busy = self.runs.values().any(|live| live.plan.message_id == message_id)
            || self.queued.iter().any(|plan| plan.message_id == message_id);
        if busy
            || entry.undelivered.is_empty()
            || entry.lifecycle != Lifecycle::Finished
            || self.ledger.is_waiting(message_id)
            || self.spec(&entry.actor_id).is_none()
        {
            return;
        }
        let plan = RunPlan {
            run_id: Uuid::now_v7().to_string(),
            message_id: message_id.to_owned(),
            agent_id: entry.actor_id.clone(),
            cause: Cause::Answers { parent_run_id: entry.last_run.clone() },
        };
        self.plan(plan);
    }

    /// Takes what a run sent. Output of runs that were stopped is dropped.
    pub(crate) fn output(&mut self, output: RunOutput) {
        match output.what {
            Output::Chunk(chunk) => {
                let Some(live) = self.runs.get_mut(&output.run_id) else { return };
                live.wrote = true;
                let (message_id, actor_id) =
                    (live.plan.message_id.clone(), live.plan.agent_id.clone());
                self.push_row(Row {
                    message_id: &message_id,
                    actor_id: &actor_id,
                    role: Role::Assistant,
                    chunk: &chunk,
                    txid: None,
                });
            }
            Output::End(end) => {
                if let Some(live) = self.runs.remove(&output.run_id) {
                    self.end(&live.plan, live.wrote, &end);
                }
            }
        }
    }

    /// Writes the terminal event unless the agent did, and lets whatever waited for this run go on.
    fn end(&mut self, plan: &RunPlan, wrote: bool, end: &RunEnd) {
        let open = wrote
            && self
                .ledger
                .message(&plan.message_id)
                .is_some_and(|entry| entry.lifecycle == Lifecycle::Open);
        let dialect = self.dialect(&plan.message_id);
        match end {
            RunEnd::Finished if open => {
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
        self.start_queued();
    }

    /// Ends all runs because the server stops; the log says so at once instead of after the next start.
    pub(crate) fn interrupt_all(&mut self) {
        let runs = std::mem::take(&mut self.runs);
        self.batch.starts.clear();
        for live in runs.into_values() {
            live.cancel.cancel();
            self.interrupt(&live.plan);
        }
    }

    fn interrupt(&mut self, plan: &RunPlan) {
        let message =
            "The server stopped in the middle of this run. Send the message again to retry.";
        let dialect = self.dialect(&plan.message_id);
        for chunk in terminal::failed(dialect, &plan.run_id, "interrupted", message) {
            self.push_agent_chunk(plan, &chunk);
        }
        self.batch.after.push(Op::DropRun { run_id: plan.run_id.clone() });
        self.touch();
    }

    fn recover(&mut self, runs: Vec<StoredRun>) {
        let mut known = Vec::new();
        for StoredRun { plan, started } in runs {
            known.push(plan.message_id.clone());
            let open = self
                .ledger
                .message(&plan.message_id)
                .is_some_and(|entry| entry.lifecycle == Lifecycle::Open);
            let caused = match &plan.cause {
                Cause::Message { id } => self.ledger.message(id).is_some(),
                Cause::Answers { .. } => self
                    .ledger
                    .message(&plan.message_id)
                    .is_some_and(|entry| !entry.undelivered.is_empty()),
            };
            if started {
                let silent = match &plan.cause {
                    Cause::Message { .. } => self.ledger.message(&plan.message_id).is_none(),
                    Cause::Answers { .. } => caused,
                };
                if open || (silent && caused) {
                    self.interrupt(&plan);
                } else {
                    self.batch.after.push(Op::DropRun { run_id: plan.run_id });
                }
            } else if caused {
                self.queued.push_back(plan);
            } else {
                self.batch.after.push(Op::DropRun { run_id: plan.run_id });
            }
        }
        // The database may have been lost: an agent of this session that still seems to write, does not.
        let orphans: Vec<RunPlan> = self
            .ledger
            .messages()
            .filter(|(id, entry)| {
                entry.lifecycle == Lifecycle::Open
                    && entry.role == Role::Assistant
                    && !known.contains(id)
                    && self.ledger.agent(&entry.actor_id).is_some()
            })
            .map(|(id, entry)| RunPlan {
                run_id: entry.last_run.clone().unwrap_or_else(|| Uuid::now_v7().to_string()),
                message_id: id.clone(),
                agent_id: entry.actor_id.clone(),
                cause: Cause::Answers { parent_run_id: None },
            })
            .collect();
        for plan in &orphans {
            self.interrupt(plan);
        }
        self.start_queued();
    }

    fn dialect(&self, message_id: &str) -> Dialect {
        let known = self.ledger.message(message_id).and_then(|entry| entry.dialect);
        known.unwrap_or(Dialect::AgUi)
    }
}
