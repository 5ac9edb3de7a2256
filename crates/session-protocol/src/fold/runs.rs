//! Runs: whether a message is still being written, what its agent was told, and what it must still be told.
//!
//! The state of a message's runs follows from its rows alone, what the dialects say of each chunk: that the message
//! goes on, that words or a call came, that a run ended and why. What people answered is matched by id over the whole
//! session and has positions of its own, so [`MessageRun::deliveries`](super::MessageRun::deliveries) lays the two side
//! by side, in the order of the stream. Nothing depends on the order of discovery (L3): a fold that goes on from a
//! store, and one that reads the stream whole, owe an agent the same answers.
//!
//! A run that a server begins carries a mark on its first row ([`RunMark`]). Its answers are delivered when it ends
//! well. Where no server marks runs, a turn counts as one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::chunk::Dialect;
use crate::event::RunMark;
use crate::row::{FinishReason, Role};

/// Whether a message is still being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// An agent writes to it, or did when its server was killed.
    #[default]
    Open,
    /// The run ended by itself.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// The run failed.
    Failed,
}

/// Events of a message's runs that are kept. Answers that are older than so many were delivered long ago.
const MAX_EVENTS: usize = 4096;

/// AG-UI runs inside each other that are told apart.
const MAX_NESTED: usize = 64;

/// The names of an AG-UI run, and what is said of it.
pub(super) enum NamedRun {
    Begins { run: Option<String>, thread: Option<String> },
    Ends { run: Option<String> },
}

/// The end of a run, as a chunk says it.
pub(super) struct Ending {
    pub(super) kind: Lifecycle,
    pub(super) reason: Option<FinishReason>,
    /// The chunk ends a run, not only a message.
    pub(super) of_run: bool,
    /// Whether it says what is waited for, or that nothing is.
    pub(super) is_clear: bool,
    /// Whether it says that the run went well.
    pub(super) success: bool,
}

/// The word of one chunk about its run.
#[derive(Default)]
pub(super) struct Said {
    /// The message goes on.
    pub(super) goes: bool,
    /// A run starts.
    pub(super) begins: bool,
    /// Words or thoughts.
    pub(super) speaks: bool,
    /// A word of the answer.
    pub(super) word: bool,
    /// A call starts.
    pub(super) calls: bool,
    /// Whether it may come behind the end of a turn and still belongs to that.
    pub(super) afterthought: bool,
    pub(super) named: Option<NamedRun>,
    pub(super) end: Option<Ending>,
}

/// A change of a message's runs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum RunChange {
    /// A run begins that a server marked, and tells so many answers.
    Begin { told: usize },
    /// A turn begins where no server marks runs.
    Turn,
    /// The message goes on behind an end.
    Reopen,
    /// A run ended; `done` says that it waits for nothing.
    End { kind: Lifecycle, done: bool },
}

/// The runs of one message.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Runs {
    #[serde(skip)]
    pub(super) said: Said,
    pub(super) dialect: Option<Dialect>,
    /// The state before the first row.
    pub(super) first: Lifecycle,
    pub(super) lifecycle: Lifecycle,
    /// The last run said that it waits for tools, or ended with calls that nobody has answered.
    pub(super) wants_tools: bool,
    /// Whether only afterthoughts came since an end.
    pub(super) at_end: bool,
    /// The end gave a reason, and not that the run waits for tools.
    pub(super) for_good: bool,
    /// Whether no word was said since the last tool call.
    pub(super) calls_last: bool,
    /// Words came since the last call.
    pub(super) spoke: bool,
    /// Number of calls that were made.
    pub(super) made: u32,
    /// Number of calls before something that the agent did since: another turn, or words and another call.
    pub(super) passed: u32,
    /// Chunks that said something about the run.
    pub(super) steps: u64,
    /// Chunks with words of the answer.
    pub(super) words: u64,
    pub(super) mark: Option<RunMark>,
    /// AG-UI runs that were started and not ended, the outermost first.
    pub(super) open: Vec<String>,
    pub(super) last_run: Option<String>,
    pub(super) last_thread: Option<String>,
    pub(super) events: Vec<(u64, RunChange)>,
    /// Calls of which somebody else said something.
    pub(super) answered: BTreeSet<String>,
}

impl Runs {
    /// The first row of the message is by this role.
    pub(super) fn first(&mut self, role: Role) {
        // Whatever an agent begins with, it has not ended.
        self.first = if role == Role::Assistant { Lifecycle::Open } else { Lifecycle::Finished };
        self.lifecycle = self.first;
    }

    /// A run begins with the next chunk. What it tells its agent is delivered when it ends well; what is answered while
    /// it goes is for the next one.
    pub(super) fn begin(&mut self, mark: &RunMark, pos: u64) {
        self.note(pos, RunChange::Begin { told: mark.told });
        self.mark = Some(mark.clone());
        self.open.clear();
        self.begin_turn();
        self.lifecycle = Lifecycle::Open;
    }

    /// The agent goes on without the results of its calls so far: it does not wait for them.
    fn begin_turn(&mut self) {
        self.wants_tools = false;
        self.calls_last = false;
        self.passed = self.made;
        self.spoke = false;
    }

    /// Counts a call that is new in the message; its number. One that only a snapshot names says nothing of its place.
    pub(super) fn add_call(&mut self, in_snapshot: bool) -> u32 {
        if !in_snapshot && std::mem::take(&mut self.spoke) {
            self.passed = self.made;
        }
        let number = self.made;
        self.made = self.made.saturating_add(1);
        number
    }

    pub(super) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    fn note(&mut self, pos: u64, event: RunChange) {
        if self.events.len() >= MAX_EVENTS {
            self.events.drain(..MAX_EVENTS / 4);
        }
        self.events.push((pos, event));
    }

    /// Takes what an agent's chunk says about its run.
    pub(super) fn take(&mut self, said: Said, pos: u64) {
        let inside = said.named.is_some_and(|named| self.nests(named));
        let after = match &said.end {
            Some(end) if !inside => end.kind,
            _ if said.goes || said.end.is_some() => Lifecycle::Open,
            _ => return,
        };
        // Only another run, or who stops it, ends that a run failed.
        if self.lifecycle == Lifecycle::Failed && !said.begins && after != Lifecycle::Stopped {
            return;
        }
        self.words += u64::from(said.word);
        self.steps += 1;
        if self.lifecycle != Lifecycle::Open {
            // What agents send behind the end of a turn may belong to it; everything else begins a turn.
            if !said.afterthought {
                self.begin_turn();
            }
            // Where no server marks the beginning of runs, a turn counts as one; so does an end alone.
            if self.mark.is_none() && (!said.afterthought || after != Lifecycle::Open) {
                self.note(pos, RunChange::Turn);
            } else if after == Lifecycle::Open {
                self.note(pos, RunChange::Reopen);
            }
        }
        self.at_end = after != Lifecycle::Open || (self.at_end && said.afterthought);
        if said.speaks {
            self.calls_last = false;
            self.spoke = true;
        } else if said.calls {
            self.calls_last = true;
        }
        let Some(end) = said.end.filter(|_| !inside) else {
            self.lifecycle = Lifecycle::Open;
            return;
        };
        self.open.clear();
        // The AI SDK says in the reason that its run failed.
        let failed = end.kind == Lifecycle::Finished && end.reason == Some(FinishReason::Error);
        let kind = if failed { Lifecycle::Failed } else { end.kind };
        let says = end.reason.is_some() || end.success;
        let tools = end.reason == Some(FinishReason::ToolCalls);
        self.for_good = end.kind != Lifecycle::Finished || (says && !tools);
        if kind == Lifecycle::Failed {
            self.wants_tools = false;
        }
        if end.of_run {
            self.wants_tools = match end.reason {
                Some(_) => tools,
                None if end.is_clear => false,
                // Says nothing, and may be the server's own end of a run that said it before.
                None => self.wants_tools || self.calls_last,
            };
        }
        let done = kind == Lifecycle::Finished && self.for_good;
        self.lifecycle = kind;
        self.note(pos, RunChange::End { kind, done });
    }

    /// Whoever stopped it does not want it to go on.
    pub(super) fn stop(&mut self, pos: u64) {
        self.at_end = true;
        self.lifecycle = Lifecycle::Stopped;
        self.note(pos, RunChange::End { kind: Lifecycle::Stopped, done: false });
    }

    /// Takes the beginning or the end of an AG-UI run by its name. Says whether it is inside another one, so that it
    /// ends nothing.
    fn nests(&mut self, named: NamedRun) -> bool {
        let place = |open: &[String], id: &Option<String>| {
            id.as_ref().and_then(|id| open.iter().position(|run| run == id))
        };
        match named {
            NamedRun::Begins { run, thread } => {
                if let (None, Some(id)) = (place(&self.open, &run), &run)
                    && self.open.len() < MAX_NESTED
                {
                    self.open.push(id.clone());
                }
                self.last_thread = thread;
                self.last_run = run.or(self.last_run.take());
                false
            }
            NamedRun::Ends { run } => {
                self.open.truncate(place(&self.open, &run).unwrap_or(0));
                self.last_run = run.or(self.last_run.take());
                !self.open.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Said {
        Said { goes: true, speaks: true, word: true, ..Said::default() }
    }

    fn begins() -> Said {
        Said { goes: true, begins: true, ..Said::default() }
    }

    fn ends(kind: Lifecycle, reason: Option<FinishReason>) -> Said {
        let end = Ending { kind, reason, of_run: true, is_clear: false, success: false };
        Said { end: Some(end), ..Said::default() }
    }

    fn at(lifecycle: Lifecycle) -> Runs {
        let mut runs = Runs::default();
        runs.first(Role::Assistant);
        runs.take(words(), 0);
        if lifecycle != Lifecycle::Open {
            runs.take(ends(lifecycle, None), 1);
        }
        assert_eq!(runs.lifecycle(), lifecycle);
        runs
    }

    #[test]
    fn what_a_chunk_says_leads_from_one_lifecycle_to_the_next() {
        use Lifecycle::{Failed, Finished, Open, Stopped};
        let all = [Open, Finished, Stopped, Failed];
        type Say = fn() -> Said;
        // What is said, and where it leads from each of these.
        let table: [(&str, Say, [Lifecycle; 4]); 8] = [
            ("nothing", Said::default, all),
            ("words", words, [Open, Open, Open, Failed]),
            ("a run begins", begins, [Open, Open, Open, Open]),
            (
                "an afterthought",
                || Said { goes: true, afterthought: true, ..Said::default() },
                [Open, Open, Open, Failed],
            ),
            ("an end", || ends(Finished, None), [Finished, Finished, Finished, Failed]),
            ("an error", || ends(Failed, None), [Failed; 4]),
            ("a stop", || ends(Stopped, None), [Stopped; 4]),
            ("an end for an error", || ends(Finished, Some(FinishReason::Error)), [Failed; 4]),
        ];
        for (name, said, then) in table {
            for (before, then) in all.into_iter().zip(then) {
                let mut runs = at(before);
                runs.take(said(), 2);
                assert_eq!(runs.lifecycle(), then, "{name} after {before:?}");
            }
        }
        for before in all {
            let mut runs = at(before);
            runs.stop(2);
            assert_eq!(runs.lifecycle(), Stopped, "a person's stop after {before:?}");
            let mut runs = at(before);
            runs.begin(&RunMark::default(), 2);
            assert_eq!(runs.lifecycle(), Open, "a server's run after {before:?}");
        }
    }

    #[test]
    fn the_end_of_a_run_inside_another_one_ends_nothing() {
        let named = |name: fn(Option<String>) -> NamedRun, run: &str, said: Said| Said {
            named: Some(name(Some(run.to_owned()))),
            ..said
        };
        let begin = |run| NamedRun::Begins { run, thread: None };
        let end = |run| NamedRun::Ends { run };
        let mut runs = Runs::default();
        runs.first(Role::Assistant);
        for run in ["outer", "inner"] {
            runs.take(named(begin, run, begins()), 0);
        }
        runs.take(named(end, "inner", ends(Lifecycle::Finished, None)), 1);
        assert_eq!(runs.lifecycle(), Lifecycle::Open);
        runs.take(named(end, "outer", ends(Lifecycle::Finished, None)), 2);
        assert_eq!(runs.lifecycle(), Lifecycle::Finished);
    }
}
