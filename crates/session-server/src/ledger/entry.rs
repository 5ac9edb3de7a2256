//! One message: is it being written, what does its run wait for, what has its agent not been told.

use session_protocol::Dialect;

use crate::event::Role;

/// Whether a message is still being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// An agent writes to it, or did when its server was killed.
    Open,
    /// The run ended by itself.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// The run failed.
    Failed,
}

/// An approval or a client tool result that the agent has not been told yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AnswerRef {
    Approval(String),
    ToolCall(String),
}

/// One message, without its text.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) role: Role,
    pub(crate) actor_id: String,
    pub(crate) next_seq: u64,
    /// Rows that exist; a message whose last row is deleted is gone.
    pub(super) rows: u64,
    /// Items of the stream before its first row.
    pub(super) place: u64,
    /// It began with something that nobody is shown.
    pub(super) is_signal: bool,
    pub(crate) dialect: Option<Dialect>,
    pub(crate) lifecycle: Lifecycle,
    /// The last run said that it waits for tools, or ended with calls that nobody has answered.
    pub(super) wants_tools: bool,
    /// Nothing was said since the last tool call.
    pub(super) calls_last: bool,
    pub(super) asks: Vec<String>,
    pub(super) calls: Vec<String>,
    /// So many of the calls were before something that the agent said since.
    pub(super) passed: usize,
    /// Answers that the agent has not been told, or is being told by the run that goes.
    pub(crate) undelivered: Vec<AnswerRef>,
    /// So many of them were there when the run began.
    pub(super) told: usize,
    /// Answers that a run was told which then failed: the next one is told again, but none begins by itself, because it
    /// may have acted on them.
    pub(crate) owed: Vec<AnswerRef>,
    /// Run and thread of the last `RUN_STARTED`.
    pub(crate) last_run: Option<String>,
    pub(crate) last_thread: Option<String>,
}

impl Entry {
    /// A message without rows yet; `place` is that of its first one.
    pub(super) fn new(role: Role, actor_id: String, place: u64, is_signal: bool) -> Self {
        Self {
            role,
            actor_id,
            next_seq: 0,
            rows: 0,
            place,
            is_signal,
            dialect: None,
            // Whatever an agent begins with, it has not ended.
            lifecycle: match role {
                Role::Assistant => Lifecycle::Open,
                Role::User | Role::System => Lifecycle::Finished,
            },
            wants_tools: false,
            calls_last: false,
            asks: Vec::new(),
            calls: Vec::new(),
            passed: 0,
            undelivered: Vec::new(),
            told: 0,
            owed: Vec::new(),
            last_run: None,
            last_thread: None,
        }
    }

    /// Takes what an agent's chunk says about its run. What was answered before a run began is delivered by it when it
    /// ends well; what is answered while it goes is for the next one.
    pub(super) fn goes_on(&mut self, kind: &str, after: Lifecycle) {
        if self.lifecycle != Lifecycle::Open {
            // What agents send behind the end of a turn may belong to it; everything else begins a run. An end without a
            // beginning is all that its run had to say.
            let begins = !is_afterthought(kind);
            if begins || after != Lifecycle::Open {
                self.told = self.undelivered.len();
            }
            if begins {
                self.wants_tools = false;
                self.speak();
            }
        }
        match kind {
            "TEXT_MESSAGE_CONTENT"
            | "TEXT_MESSAGE_CHUNK"
            | "REASONING_MESSAGE_CONTENT"
            | "content"
            | "thinking"
            | "text-delta"
            | "reasoning-delta" => self.speak(),
            "TOOL_CALL_START"
            | "TOOL_CALL_CHUNK"
            | "tool_call"
            | "tool-input-start"
            | "tool-input-available" => self.calls_last = true,
            _ => {}
        }
        match after {
            Lifecycle::Open => {}
            Lifecycle::Finished => {
                self.undelivered.drain(..self.told);
                self.owed.clear();
                self.told = 0;
            }
            Lifecycle::Failed => {
                let told = self.undelivered.drain(..self.told);
                self.owed.extend(told);
                self.told = 0;
            }
            Lifecycle::Stopped => self.stop(),
        }
        self.lifecycle = after;
    }

    /// A run begins that tells its agent every answer so far, whatever its first chunk will be.
    pub(super) fn begin(&mut self) {
        self.told = self.undelivered.len();
    }

    /// The agent went on without the results of its calls: it does not wait for them.
    pub(super) fn speak(&mut self) {
        self.calls_last = false;
        self.passed = self.calls.len();
    }

    /// Whoever stopped it does not want it to go on.
    pub(super) fn stop(&mut self) {
        self.undelivered.clear();
        self.owed.clear();
        self.told = 0;
        self.lifecycle = Lifecycle::Stopped;
    }

    /// The agent knows this answer already: it acted on it.
    pub(super) fn settle(&mut self, known: &AnswerRef) {
        if let Some(at) = self.undelivered.iter().position(|answer| answer == known) {
            self.undelivered.remove(at);
            self.told -= usize::from(at < self.told);
        }
        self.owed.retain(|answer| answer != known);
    }
}

/// What people and programs say beside the conversation.
pub(super) fn is_signal(kind: &str) -> bool {
    matches!(kind, "approval-response" | "tool-approval" | "tool-result" | "config" | "control")
}

/// What agents send behind the end of a turn and still belongs to it.
fn is_afterthought(kind: &str) -> bool {
    matches!(
        kind,
        "approval-requested" | "tool-approval-request" | "tool-input-available" | "CUSTOM"
    )
}

/// What a chunk that an agent wrote says about its message; `None` for chunks that say nothing.
pub(crate) fn lifecycle_after(kind: &str) -> Option<Lifecycle> {
    Some(match kind {
        "RUN_FINISHED" | "done" | "finish" | "message-end" | "whole-message" | "user-message"
        | "message" => Lifecycle::Finished,
        "stop" | "abort" => Lifecycle::Stopped,
        "RUN_ERROR" | "error" => Lifecycle::Failed,
        "STATE_SNAPSHOT" | "STATE_DELTA" | "message-metadata" | "" => return None,
        _ => Lifecycle::Open,
    })
}
