//! Turns: one run of one agent, from its trigger to a terminal event.
//!
//! A run is planned in the database in the same step that writes its cause (a message, an answer), marked as started
//! just before its agent is called, and forgotten when its terminal event is in the stream. After a crash this tells
//! three cases apart: the cause never reached the stream (forget the plan), the agent was never called (call it now),
//! the agent was under way (end the run as interrupted: calling it twice might act twice).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use session_protocol::{AgentSpec, MessageRun, Triggers};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    agent::RunRequest,
    budget::{Budget, Hold, Owner},
    history::{self, Unread, Wanted},
    sessions::Shared,
    store::Op,
};

/// The four fields of an agent that everybody may see; all that is ever in a stream or an answer.
pub(crate) fn public_fields(spec: &AgentSpec) -> Value {
    let mut fields = Map::new();
    fields.insert("agentId".into(), spec.id.clone().into());
    if let Some(name) = &spec.name {
        fields.insert("name".into(), name.clone().into());
    }
    fields.insert("endpoint".into(), spec.endpoint.clone().into());
    let triggers = match spec.triggers {
        Some(Triggers::All) => "all",
        Some(Triggers::Mentions) => "mentions",
        Some(Triggers::UserMessages) | None => "user-messages",
    };
    fields.insert("triggers".into(), triggers.into());
    Value::Object(fields)
}

/// The agent that is left when its secrets are lost: its public fields from the stream.
pub(crate) fn from_public_fields(id: &str, fields: &Value) -> Option<AgentSpec> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(AgentSpec {
        id: id.to_owned(),
        name: text("name"),
        endpoint: text("endpoint")?,
        method: None,
        headers: None,
        triggers: match text("triggers").as_deref() {
            Some("all") => Some(Triggers::All),
            Some("mentions") => Some(Triggers::Mentions),
            _ => None,
        },
        body_template: None,
    })
}

/// Why a run starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// Somebody wrote a message.
    Message { id: String },
    /// Somebody wants another answer to a message: what was said after it does not count.
    Again { id: String },
    /// Another agent finished a message.
    Reply { id: String },
    /// Everything that the agent's last run asked for was answered.
    Answers { parent_run_id: Option<String> },
}

/// A run, before and while it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunPlan {
    pub(crate) run_id: String,
    /// The durable message that the agent's chunks go into.
    pub(crate) message_id: String,
    pub(crate) agent_id: String,
    pub(crate) cause: Cause,
    /// Number of agents that reacted to agents since a person spoke. Answers do not count: a run that goes on is as deep as it
    /// was.
    #[serde(default)]
    pub(crate) depth: u32,
    /// Number of answers that its agent is told, known when it starts.
    #[serde(skip)]
    pub(crate) told: usize,
    /// The person at the beginning of it, when known.
    #[serde(default)]
    pub(crate) asked_by: Option<String>,
}

impl RunPlan {
    /// A run with new ids. A run that answers something new also writes a new message.
    pub(crate) fn new(agent_id: &str, cause: Cause, asked_by: Option<String>) -> Self {
        Self {
            run_id: Uuid::now_v7().to_string(),
            message_id: Uuid::new_v4().to_string(),
            agent_id: agent_id.to_owned(),
            cause,
            depth: 0,
            told: 0,
            asked_by,
        }
    }

    /// A run that goes on in the message that its agent wrote before.
    pub(crate) fn resuming(run: &MessageRun<'_>, asked_by: Option<String>) -> Self {
        let cause = Cause::Answers { parent_run_id: run.last_run().map(str::to_owned) };
        Self {
            message_id: run.message_id().to_owned(),
            depth: run.depth(),
            ..Self::new(run.actor_id(), cause, asked_by)
        }
    }
}

/// The end of a run, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// The agent has nothing more to say.
    Finished,
    /// The agent failed. The message is shown to people and holds no secrets.
    Failed { code: String, message: String },
}

impl RunEnd {
    pub(crate) fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed { code: code.into(), message: message.into() }
    }
}

/// A word of a run to its session.
pub(crate) struct RunOutput {
    pub(crate) run_id: String,
    pub(crate) what: Output,
}

/// A chunk, the end, or something beside them.
pub(crate) enum Output {
    /// JSON text of one chunk, as it came, and the room that is taken for it until it is in the stream.
    Chunk(String, Hold),
    /// The text of its message before this run, for those who hear it.
    Before(String),
    End(RunEnd),
}

/// The run was stopped: write no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Where an agent writes its chunks.
#[derive(Clone)]
pub(crate) struct RunSink {
    run_id: String,
    to: mpsc::Sender<RunOutput>,
    cancel: CancellationToken,
    budget: Budget,
    agent: Owner,
}

/// A chunk is in memory so many times until it is in the stream: as its agent sent it, as a row, and in the append.
const COPIES: usize = 3;

impl RunSink {
    /// Writes one chunk. Waits while the agent has said more than its share that is not in the stream yet.
    pub(crate) async fn emit(&self, chunk: &Value) -> Result<(), Stopped> {
        self.emit_text(chunk.to_string()).await
    }

    /// Writes one chunk given as JSON text, unchanged.
    pub(crate) async fn emit_text(&self, chunk: String) -> Result<(), Stopped> {
        let hold = self.hold(chunk.len().saturating_mul(COPIES)).await?;
        self.send(Output::Chunk(chunk, hold)).await
    }

    /// Takes bytes from the agent's share when there is room. Who waits for them should hold none of it.
    pub(crate) async fn hold(&self, bytes: usize) -> Result<Hold, Stopped> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stopped),
            hold = self.budget.take(&self.agent, bytes) => Ok(hold),
        }
    }

    async fn send(&self, what: Output) -> Result<(), Stopped> {
        let output = RunOutput { run_id: self.run_id.clone(), what };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stopped),
            sent = self.to.send(output) => sent.map_err(|_| Stopped),
        }
    }
}

/// An answer that a resumed agent is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Approval {
        id: String,
        tool_call_id: Option<String>,
        approved: bool,
    },
    ToolResult {
        tool_call_id: String,
        interrupt_id: Option<String>,
    },
    /// Nobody answered in time.
    Withdrawn {
        id: String,
        tool_call_id: Option<String>,
    },
}

/// A run about to start, with all that its task needs.
pub(crate) struct Start {
    pub(crate) plan: RunPlan,
    pub(crate) spec: Option<AgentSpec>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) cancel: CancellationToken,
    /// Set by the run just before it calls its agent, or by whoever sees to it that it does not.
    pub(crate) called: Arc<AtomicBool>,
    /// Nobody is called: only what its message says is wanted.
    pub(crate) recalls: bool,
}

/// Starts the task of a run. Its end is always sent, also when the agent panics.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    session_id: &str,
    start: Start,
    to: mpsc::Sender<RunOutput>,
) {
    let shared_for_run = Arc::clone(shared);
    let metrics = shared.metrics.clone();
    let session_id = session_id.to_owned();
    shared.tasks.spawn(async move {
        let run_id = start.plan.run_id.clone();
        let cancel = start.cancel.clone();
        let agent = Owner::Agent(session_id.clone(), start.plan.agent_id.clone());
        let sink = RunSink {
            run_id: run_id.clone(),
            to: to.clone(),
            cancel: cancel.clone(),
            budget: shared_for_run.budget.clone(),
            agent,
        };
        let mut task =
            tokio::spawn(async move { drive(&shared_for_run, session_id, start, sink).await });
        let end = tokio::select! {
            () = cancel.cancelled() => {
                task.abort();
                metrics.run_ended("stopped");
                return;
            }
            end = &mut task => end.unwrap_or_else(|_| {
                RunEnd::failed("agent_crashed", "The agent ended unexpectedly. Try again.")
            }),
        };
        metrics.run_ended(match end {
            RunEnd::Finished => "finished",
            RunEnd::Failed { .. } => "failed",
        });
        // The session may be gone; then its next opening ends the run.
        to.send(RunOutput { run_id, what: Output::End(end) }).await.ok();
    });
}

async fn drive(shared: &Shared, session_id: String, start: Start, sink: RunSink) -> RunEnd {
    let Start { plan, spec, answers, called, recalls, .. } = start;
    let Shared { streams, budget, limits, .. } = shared;
    let first = spec.as_ref().and_then(|spec| spec.body_template.as_ref()?.get("state"));
    let first = first.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let wanted = Wanted::Run(Arc::new(plan.clone()), Arc::new(first));
    let history = match history::load(&**streams, budget, limits, &session_id, &wanted).await {
        Ok(history) => history,
        Err(Unread::TooLong) => {
            return RunEnd::failed(
                "history_too_large",
                "The message to go on with is longer than an agent can be given. Begin a new message.",
            );
        }
        Err(Unread::Stream(error)) => {
            tracing::error!(%error, "a session's history could not be read");
            return RunEnd::failed(
                "history_unavailable",
                "The session could not be read. Try again.",
            );
        }
    };
    if let Some(message) = history.message(&plan.message_id)
        && sink.send(Output::Before(message.plain_text())).await.is_err()
    {
        return RunEnd::Finished;
    }
    if recalls {
        return RunEnd::Finished;
    }
    let Some(spec) = spec else {
        return RunEnd::failed("agent_unknown", "This agent is not registered any more.");
    };
    let agent = match shared.agents.find(&spec) {
        Ok(agent) => agent,
        Err(end) => return end,
    };
    if called.swap(true, Ordering::AcqRel) {
        return RunEnd::Finished;
    }
    let started = Op::StartRun { run_id: plan.run_id.clone() };
    if let Err(error) = shared.store.apply(vec![started]).await {
        tracing::error!(%error, "a run could not be marked as started");
        return RunEnd::failed("store_unavailable", "The server's database failed. Try again.");
    }
    let history = history.for_run(&plan);
    let request = RunRequest { session_id, plan, spec, answers, history };
    agent.run(request, sink).await
}
