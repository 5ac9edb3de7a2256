//! One message: is it being written, what does its run wait for, what has its agent not been told.

use session_protocol::Dialect;

use super::rows::Rows;
use crate::event::{Role, RunMark};

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
    pub(super) rows: Rows,
    /// How many more there are under other keys.
    pub(super) odd_rows: u64,
    /// Items of the stream before its first row.
    pub(super) place: u64,
    /// It began with something that nobody is shown.
    pub(super) is_signal: bool,
    pub(crate) dialect: Option<Dialect>,
    pub(crate) lifecycle: Lifecycle,
    /// The last run said that it waits for tools, or ended with calls that nobody has answered.
    pub(super) wants_tools: bool,
    /// Nothing but afterthoughts since an end.
    at_end: bool,
    /// It said why it ended, and not that it waits for tools.
    pub(crate) for_good: bool,
    /// Nothing was said since the last tool call.
    pub(super) calls_last: bool,
    pub(super) asks: Vec<String>,
    pub(super) calls: Vec<String>,
    /// So many of the calls were before something that the agent did since: another turn, or words and another call.
    pub(super) passed: usize,
    /// Words came since the last call.
    spoke: bool,
    /// Chunks that said something about its run.
    steps: u64,
    /// Answers that the agent has not been told, or is being told by the run that goes.
    pub(crate) undelivered: Vec<AnswerRef>,
    /// So many of them were there when the run began.
    pub(super) told: usize,
    /// Answers that a run was told which then failed: the next one is told again, but none begins by itself, because it
    /// may have acted on them.
    pub(crate) owed: Vec<AnswerRef>,
    /// The last run that a server began in it, as its mark says, and how deep that is in agents' reactions.
    run: Option<String>,
    pub(crate) depth: u32,
    /// AG-UI runs that were started and not ended, the outermost first.
    open_runs: Vec<String>,
    /// The last run that AG-UI named, and the thread.
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
            rows: Rows::None,
            odd_rows: 0,
            place,
            is_signal,
            dialect: None,
            // Whatever an agent begins with, it has not ended.
            lifecycle: match role {
                Role::Assistant => Lifecycle::Open,
                Role::User | Role::System => Lifecycle::Finished,
            },
            wants_tools: false,
            at_end: false,
            for_good: false,
            calls_last: false,
            asks: Vec::new(),
            calls: Vec::new(),
            passed: 0,
            spoke: false,
            steps: 0,
            undelivered: Vec::new(),
            told: 0,
            owed: Vec::new(),
            run: None,
            depth: 0,
            open_runs: Vec::new(),
            last_run: None,
            last_thread: None,
        }
    }

    /// A run begins with the next chunk. What it tells its agent is delivered when it ends well; what is answered while it
    /// goes is for the next one.
    pub(super) fn begin(&mut self, run: RunMark) {
        self.told = run.told.min(self.undelivered.len());
        self.run = Some(run.id);
        self.depth = run.depth;
        self.open_runs.clear();
        self.begin_turn();
        self.lifecycle = Lifecycle::Open;
    }

    /// The agent goes on without the results of its calls so far: it does not wait for them.
    fn begin_turn(&mut self) {
        self.wants_tools = false;
        self.calls_last = false;
        self.passed = self.calls.len();
        self.spoke = false;
    }

    /// Takes down a call that is new in this message.
    pub(super) fn add_call(&mut self, id: &str) {
        if std::mem::take(&mut self.spoke) {
            self.passed = self.calls.len();
        }
        self.calls.push(id.to_owned());
    }

    /// How many chunks so far said something about its run: keep-alives and notes do not.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The last run that a server began in it.
    pub(crate) fn run(&self) -> Option<&String> {
        self.run.as_ref()
    }

    /// Whether the last run that began in it is this one.
    pub(crate) fn is_of(&self, run_id: &str) -> bool {
        self.run.as_deref() == Some(run_id)
    }

    /// An agent writes to it, or did when its server was killed.
    pub(crate) fn is_open(&self) -> bool {
        self.lifecycle == Lifecycle::Open
    }

    /// It ended well and said that it waits for nothing.
    pub(super) fn is_done(&self) -> bool {
        self.lifecycle == Lifecycle::Finished && self.for_good
    }

    /// Whether its run may be over: nothing came since an end but what belongs to it.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// The AG-UI run that is open, of several inside each other the outermost; else the last one.
    pub(crate) fn named_run(&self) -> Option<&String> {
        self.open_runs.first().or(self.last_run.as_ref())
    }

    /// Takes the beginning or the end of an AG-UI run by its name. Says whether it is inside another one, so that it ends
    /// nothing.
    pub(super) fn nests(&mut self, kind: &str, run_id: Option<String>) -> bool {
        let place = run_id.as_ref().and_then(|id| self.open_runs.iter().position(|run| run == id));
        match kind {
            "RUN_STARTED" => {
                if let (None, Some(id)) = (place, &run_id) {
                    self.open_runs.push(id.clone());
                }
            }
            "RUN_FINISHED" | "RUN_ERROR" => self.open_runs.truncate(place.unwrap_or(0)),
            _ => return false,
        }
        self.last_run = run_id.or(self.last_run.take());
        kind != "RUN_STARTED" && !self.open_runs.is_empty()
    }

    /// Whether a chunk changes nothing because its run failed before it: only another run, or who stops it, ends that.
    pub(super) fn stays_failed(&self, kind: &str, after: Lifecycle) -> bool {
        let begins = matches!(kind, "RUN_STARTED" | "start");
        self.lifecycle == Lifecycle::Failed && !begins && after != Lifecycle::Stopped
    }

    /// Its last run failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.lifecycle == Lifecycle::Failed
    }

    /// Takes what an agent's chunk says about its run.
    pub(super) fn goes_on(&mut self, kind: &str, after: Lifecycle) {
        self.steps += 1;
        let afterthought = is_afterthought(kind);
        if self.lifecycle != Lifecycle::Open {
            // What agents send behind the end of a turn may belong to it; everything else begins a turn.
            if !afterthought {
                self.begin_turn();
            }
            // Where no server marks the beginning of runs, a turn counts as one; so does an end alone.
            if self.run.is_none() && (!afterthought || after != Lifecycle::Open) {
                self.told = self.undelivered.len();
            }
        }
        self.at_end = after != Lifecycle::Open || (self.at_end && afterthought);
        match kind {
            "TEXT_MESSAGE_CONTENT"
            | "TEXT_MESSAGE_CHUNK"
            | "REASONING_MESSAGE_CONTENT"
            | "content"
            | "thinking"
            | "text-delta"
            | "reasoning-delta" => {
                self.calls_last = false;
                self.spoke = true;
            }
            "TOOL_CALL_START"
            | "TOOL_CALL_CHUNK"
            | "tool_call"
            | "tool-input-start"
            | "tool-input-available" => self.calls_last = true,
            _ => {}
        }
        if after != Lifecycle::Open {
            self.open_runs.clear();
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
                self.wants_tools = false;
            }
            Lifecycle::Stopped => self.stop(),
        }
        self.lifecycle = after;
    }

    /// Whoever stopped it does not want it to go on.
    pub(super) fn stop(&mut self) {
        self.undelivered.clear();
        self.owed.clear();
        self.told = 0;
        self.at_end = true;
        self.lifecycle = Lifecycle::Stopped;
    }

    /// Its agent must be told an answer, unless somebody stopped it.
    pub(super) fn owe(&mut self, answer: AnswerRef) {
        if self.lifecycle != Lifecycle::Stopped && !self.undelivered.contains(&answer) {
            self.undelivered.push(answer);
        }
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
        _ if is_said(kind) => Lifecycle::Open,
        // Notes, keep-alives and what nobody knows, behind an end as before it.
        _ => return None,
    })
}

/// Whether chunks of this type are part of an answer. Ends of parts are not: they may come behind that of the whole.
fn is_said(kind: &str) -> bool {
    match kind {
        "RUN_STARTED" | "STEP_STARTED" | "CUSTOM" => true,
        "content" | "thinking" | "tool_call" | "tool_result" | "approval-requested" => true,
        "start" | "start-step" | "file" | "message-start" | "reasoning" => true,
        "text-end" | "reasoning-end" => false,
        _ => {
            let end = kind.ends_with("_END") && kind != "TOOL_CALL_END";
            let groups = ["TEXT_MESSAGE_", "TOOL_CALL_", "REASONING_", "THINKING_"];
            let parts = ["text-", "reasoning-", "tool-", "source-"];
            !end && groups.iter().chain(&parts).any(|group| kind.starts_with(group))
        }
    }
}
