//! The runs of one message, as whoever leads them sees them, and the answers that its agent must be told.

use super::message::MessageFold;
use super::runs::{Lifecycle, RunChange, Runs};
use super::table::call_id;
use crate::chunk::Dialect;
use crate::row::Role;

/// An answer of a person or a client that an agent must be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnswerRef {
    /// The answer to an approval or a question, by its id.
    Approval(String),
    /// The result of a call, by the call's id.
    ToolCall(String),
}

/// Answers of a message, by what its agent knows of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Answers that the agent has not been told, or is being told by the run that goes; the oldest first.
    pub undelivered: Vec<AnswerRef>,
    /// Number of them that the present run tells.
    pub told: usize,
    /// Answers that a run was told which then failed: the next one is told again, but none begins by itself, because
    /// the agent may have acted on them.
    pub owed: Vec<AnswerRef>,
}

/// One message, as whoever leads its runs sees it.
#[derive(Clone, Copy)]
pub struct MessageRun<'a> {
    pub(super) fold: &'a MessageFold,
}

impl<'a> MessageRun<'a> {
    fn runs(&self) -> &'a Runs {
        &self.fold.scratch.runs
    }

    /// The message's id.
    pub fn message_id(&self) -> &'a str {
        &self.fold.message.id
    }

    /// Who wrote its first row; empty when nobody is named.
    pub fn actor_id(&self) -> &'a str {
        self.fold.message.actor_id.as_deref().unwrap_or_default()
    }

    /// The role of the message.
    pub fn role(&self) -> Role {
        self.fold.message.role
    }

    /// Position of its first item in the stream.
    pub fn position(&self) -> u64 {
        self.fold.message.position
    }

    /// Whether nobody is shown it: an answer, a setting.
    pub fn is_hidden(&self) -> bool {
        self.fold.message.hidden
    }

    /// The language of its agent, once it is known.
    pub fn dialect(&self) -> Option<Dialect> {
        self.runs().dialect
    }

    /// Whether it is still being written.
    pub fn lifecycle(&self) -> Lifecycle {
        self.runs().lifecycle
    }

    /// True while an agent writes to it, or did when its server was killed.
    pub fn is_open(&self) -> bool {
        self.lifecycle() == Lifecycle::Open
    }

    /// Whether its last run failed.
    pub fn has_failed(&self) -> bool {
        self.lifecycle() == Lifecycle::Failed
    }

    /// Whether its run may be over: nothing came since an end but what belongs to it.
    pub fn is_at_end(&self) -> bool {
        self.runs().at_end
    }

    /// Whether its last end gave a reason, and not that the run waits for tools.
    pub fn is_for_good(&self) -> bool {
        self.runs().for_good
    }

    /// Number of chunks that said something about its run: keep-alives and notes do not.
    pub fn steps(&self) -> u64 {
        self.runs().steps
    }

    /// Number of chunks with words of the answer.
    pub fn words(&self) -> u64 {
        self.runs().words
    }

    /// The last run that a server began in it.
    pub fn run_id(&self) -> Option<&'a str> {
        self.runs().mark.as_ref().map(|mark| mark.id.as_str())
    }

    /// Number of agents that reacted to agents before that run.
    pub fn depth(&self) -> u32 {
        self.runs().mark.as_ref().map_or(0, |mark| mark.depth)
    }

    /// The last run that AG-UI named.
    pub fn last_run(&self) -> Option<&'a str> {
        self.runs().last_run.as_deref()
    }

    /// The thread of the last run that AG-UI named.
    pub fn last_thread(&self) -> Option<&'a str> {
        self.runs().last_thread.as_deref()
    }

    /// The AG-UI run that is open, of several inside each other the outermost; else the last one.
    pub fn named_run(&self) -> Option<&'a str> {
        self.runs().open.first().map(String::as_str).or(self.last_run())
    }

    /// Whether its last turn ended for calls of which nobody said who runs them: the agent itself, which then goes on
    /// in the same response, or the client.
    pub fn has_open_calls(&self) -> bool {
        let runs = self.runs();
        runs.wants_tools
            && runs.lifecycle != Lifecycle::Stopped
            && self.fold.calls().any(|(_, call)| {
                let theirs = call.by_provider || call.is_for_client() || call.request.is_some();
                call.number >= runs.passed && !theirs && call.is_open()
            })
    }

    /// Whether a call of it has neither a result nor a refusal: whether its tool acted is not in the stream.
    pub fn lacks_results(&self) -> bool {
        self.fold.calls().any(|(_, call)| call.is_open())
    }

    /// The answers that its agent must be told, as far as the stream goes. Costs in proportion to the answers and runs
    /// of the message.
    pub fn deliveries(&self) -> Deliveries {
        enum What {
            Run(RunChange),
            /// The agent acted on it.
            Known(String),
            Answer(AnswerRef, bool),
        }
        let runs = self.runs();
        let mut all = Vec::new();
        for key in &runs.answered {
            let Some(call) = self.fold.call(key) else { continue };
            let (before, asked) = (all.len(), call.is_for_client() || call.request.is_some());
            // One with options was given to the run that asked, or to nobody.
            if let (Some(answer), Some(request)) = (&call.answer, &call.request)
                && request.options.is_none()
            {
                let answer_ref = AnswerRef::Approval(request.approval.clone());
                all.push((answer.pos, What::Answer(answer_ref, true)));
            }
            let foreign = call.foreign.as_ref().map(|outcome| outcome.pos);
            for pos in call.theirs.into_iter().chain(foreign) {
                all.push((pos, What::Answer(AnswerRef::ToolCall(call_id(key).to_owned()), asked)));
            }
            // What was said of it once may be for another call now.
            if all.len() > before {
                all.extend(call.known.map(|pos| (pos, What::Known(key.clone()))));
            }
        }
        let mut found = Deliveries::default();
        if all.is_empty() {
            return found;
        }
        all.extend(runs.events.iter().map(|(pos, event)| (*pos, What::Run(*event))));
        all.sort_by_key(|(pos, what)| (*pos, !matches!(what, What::Run(_))));
        let (mut lifecycle, mut is_done) = (runs.first, false);
        for (_, what) in all {
            match what {
                What::Run(RunChange::Begin { told }) => {
                    found.told = told.min(found.undelivered.len());
                    lifecycle = Lifecycle::Open;
                }
                What::Run(RunChange::Turn) => {
                    found.told = found.undelivered.len();
                    lifecycle = Lifecycle::Open;
                }
                What::Run(RunChange::Reopen) => lifecycle = Lifecycle::Open,
                What::Run(RunChange::End { kind, done }) => {
                    (lifecycle, is_done) = (kind, done);
                    found.end(kind);
                }
                What::Known(key) => {
                    let request = self.fold.call(&key).and_then(|call| call.request.as_ref());
                    found.settle(&AnswerRef::ToolCall(call_id(&key).to_owned()));
                    if let Some(request) = request {
                        found.settle(&AnswerRef::Approval(request.approval.clone()));
                    }
                }
                What::Answer(answer, asked) => {
                    // Of a finished message only what it asked for goes back to its agent.
                    let counts = asked || lifecycle != Lifecycle::Finished || !is_done;
                    if counts
                        && lifecycle != Lifecycle::Stopped
                        && !found.undelivered.contains(&answer)
                    {
                        found.undelivered.push(answer);
                    }
                }
            }
        }
        found
    }
}

impl Deliveries {
    fn end(&mut self, kind: Lifecycle) {
        match kind {
            Lifecycle::Open => return,
            Lifecycle::Finished => {
                self.undelivered.drain(..self.told);
                self.owed.clear();
            }
            Lifecycle::Failed => {
                let told = self.undelivered.drain(..self.told);
                self.owed.extend(told);
            }
            Lifecycle::Stopped => {
                self.undelivered.clear();
                self.owed.clear();
            }
        }
        self.told = 0;
    }

    /// The agent knows this answer already: it acted on it.
    fn settle(&mut self, known: &AnswerRef) {
        if let Some(at) = self.undelivered.iter().position(|answer| answer == known) {
            self.undelivered.remove(at);
            self.told -= usize::from(at < self.told);
        }
        self.owed.retain(|answer| answer != known);
    }
}
