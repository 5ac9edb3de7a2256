//! A run of an agent: its plan, what it hands to its session, and how it ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use session_protocol::AgentSpec;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, Hold, Owner};

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
    /// Number of agents that reacted to agents since a person spoke. Answers do not count: a run that goes on is as
    /// deep as it was.
    #[serde(default)]
    pub(crate) depth: u32,
    /// Number of answers that its agent is told, known when it starts.
    #[serde(skip)]
    pub(crate) told: usize,
    /// The person at the beginning of it, when known.
    #[serde(default)]
    pub(crate) asked_by: Option<String>,
    /// Whether it goes on in its message by itself, where the end of a server interrupted a run with the same cause.
    /// That is done once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) continues: bool,
}

#[cfg(test)]
impl RunPlan {
    /// A plan with ids that nothing else has.
    pub(crate) fn new(agent_id: &str, cause: Cause, asked_by: Option<String>) -> Self {
        Self {
            run_id: uuid::Uuid::now_v7().to_string(),
            message_id: uuid::Uuid::new_v4().to_string(),
            agent_id: agent_id.to_owned(),
            cause,
            depth: 0,
            told: 0,
            asked_by,
            continues: false,
        }
    }
}

/// Whether runs that the end of the server interrupts go on by themselves at its next start. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Continues(Arc<AtomicBool>);

impl Continues {
    pub(crate) fn new(on: bool) -> Self {
        Self(Arc::new(AtomicBool::new(on)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// From now on none does.
    pub(crate) fn switch_off(&self) {
        self.0.store(false, Ordering::Release);
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
    /// Room that is taken for a chunk until it is in the stream.
    pub(crate) hold: Option<Hold>,
}

/// A chunk, the end, or something beside them.
pub(crate) enum Output {
    /// JSON text of one chunk, as it came.
    Chunk(String),
    /// The text of its message before this run, for those who hear it.
    Before(String),
    /// A request with options is asked no more; it was not granted.
    Withdraw {
        approval_id: String,
        reason: String,
    },
    /// The agent's face, when it is new.
    Face(Face),
    /// The agent's word for the session.
    Title(String),
    End(RunEnd),
}

/// The face of an agent: all that it shows of itself.
#[derive(Clone, PartialEq)]
pub(crate) struct Face {
    /// `options` and `commands`, as they stand in its row.
    pub(crate) fields: Value,
    /// Choices that the agent was told, by option.
    pub(crate) told: Vec<(String, String)>,
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
    pub(crate) fn new(
        run_id: String,
        to: mpsc::Sender<RunOutput>,
        cancel: CancellationToken,
        budget: Budget,
        agent: Owner,
    ) -> Self {
        Self { run_id, to, cancel, budget, agent }
    }

    /// Writes one chunk. Waits while the agent has said more than its share that is not in the stream yet.
    pub(crate) async fn emit(&self, chunk: &Value) -> Result<(), Stopped> {
        self.emit_text(chunk.to_string()).await
    }

    /// Writes one chunk given as JSON text, unchanged.
    pub(crate) async fn emit_text(&self, chunk: String) -> Result<(), Stopped> {
        let hold = self.hold(chunk.len().saturating_mul(COPIES)).await?;
        self.put(Output::Chunk(chunk), Some(hold)).await
    }

    /// Takes bytes from the agent's share when there is room. Who waits for them should hold none of it.
    pub(crate) async fn hold(&self, bytes: usize) -> Result<Hold, Stopped> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stopped),
            hold = self.budget.take(&self.agent, bytes) => Ok(hold),
        }
    }

    /// Says something beside the chunks.
    pub(crate) async fn send(&self, what: Output) -> Result<(), Stopped> {
        self.put(what, None).await
    }

    async fn put(&self, what: Output, hold: Option<Hold>) -> Result<(), Stopped> {
        let output = RunOutput { run_id: self.run_id.clone(), what, hold };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stopped),
            sent = self.to.send(output) => sent.map_err(|_| Stopped),
        }
    }
}

/// An answer that a resumed agent is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ToldAnswer {
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

/// An answer to a request with options, for the run that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) approval_id: String,
    pub(crate) approved: bool,
    /// The option that was chosen; `None` where none of the agent's means what was said.
    pub(crate) option_id: Option<String>,
}

/// A run about to start: what its agent is called with.
pub(crate) struct Start {
    pub(crate) plan: RunPlan,
    pub(crate) spec: Option<AgentSpec>,
    pub(crate) answers: Vec<ToldAnswer>,
    /// Whether nobody is called, and only what its message says is wanted.
    pub(crate) recalls: bool,
}
