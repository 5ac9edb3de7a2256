//! Runs: whether a message is still being written, what its agent was told, and what it must still be told.
//!
//! The state of a message's runs follows from its rows alone, what the dialects say of each chunk: that the message goes
//! on, that words or a call came, that a run ended and why. What people answered is matched by id over the whole session
//! and has positions of its own, so [`MessageRun::deliveries`] lays the two side by side, in the order of the stream.
//! Nothing depends on the order of discovery (L3): a fold that goes on from a store, and one that reads the stream whole,
//! owe an agent the same answers.
//!
//! A run that a server begins carries a mark on its first row ([`RunMark`]). Its answers are delivered when it ends well.
//! Where no server marks runs, a turn counts as one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::calls::call_id;
use super::message::{MessageFold, RowContext};
use super::step::Step;
use crate::Dialect;
use crate::authority::is_peoples;
use crate::event::RunMark;
use crate::row::{FinishReason, Role};

/// Whether a message is still being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Answers that a run was told which then failed: the next one is told again, but none begins by itself, because the
    /// agent may have acted on them.
    pub owed: Vec<AnswerRef>,
}

/// Events of a message's runs that are kept. Answers that are older than so many were delivered long ago.
const MAX_EVENTS: usize = 4096;

/// AG-UI runs inside each other that are told apart.
const MAX_NESTED: usize = 64;

/// The names of an AG-UI run, and what is said of it.
pub(crate) enum Named {
    Begins { run: Option<String>, thread: Option<String> },
    Ends { run: Option<String> },
}

/// The end of a run, as a chunk says it.
pub(crate) struct Ending {
    kind: Lifecycle,
    reason: Option<FinishReason>,
    /// The chunk ends a run, not only a message.
    of_run: bool,
    /// It says what is waited for, or that nothing is.
    is_clear: bool,
    /// It says that the run went well.
    success: bool,
}

/// What one chunk says of its run.
#[derive(Default)]
pub(crate) struct Said {
    /// The message goes on.
    goes: bool,
    /// A run starts.
    begins: bool,
    /// Words or thoughts.
    speaks: bool,
    /// A word of the answer.
    word: bool,
    /// A call starts.
    calls: bool,
    /// It may come behind the end of a turn and still belongs to that.
    afterthought: bool,
    named: Option<Named>,
    end: Option<Ending>,
}

/// A change of a message's runs.
#[derive(Clone, Copy, Debug)]
enum Event {
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
#[derive(Default)]
pub(crate) struct Runs {
    pub(super) said: Said,
    pub(super) dialect: Option<Dialect>,
    /// The state before the first row.
    first: Lifecycle,
    lifecycle: Lifecycle,
    /// The last run said that it waits for tools, or ended with calls that nobody has answered.
    wants_tools: bool,
    /// Nothing but afterthoughts came since an end.
    at_end: bool,
    /// The end gave a reason, and not that the run waits for tools.
    for_good: bool,
    /// Nothing was said since the last tool call.
    calls_last: bool,
    /// Words came since the last call.
    spoke: bool,
    /// Number of calls that were made.
    made: u32,
    /// Number of calls before something that the agent did since: another turn, or words and another call.
    passed: u32,
    /// Chunks that said something about the run.
    steps: u64,
    /// Chunks with words of the answer.
    words: u64,
    mark: Option<RunMark>,
    /// AG-UI runs that were started and not ended, the outermost first.
    open: Vec<String>,
    last_run: Option<String>,
    last_thread: Option<String>,
    events: Vec<(u64, Event)>,
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
        self.note(pos, Event::Begin { told: mark.told });
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

    fn note(&mut self, pos: u64, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.drain(..MAX_EVENTS / 4);
        }
        self.events.push((pos, event));
    }

    /// Takes what an agent's chunk says about its run.
    fn take(&mut self, said: Said, pos: u64) {
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
                self.note(pos, Event::Turn);
            } else if after == Lifecycle::Open {
                self.note(pos, Event::Reopen);
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
        self.note(pos, Event::End { kind, done });
    }

    /// Whoever stopped it does not want it to go on.
    fn stop(&mut self, pos: u64) {
        self.at_end = true;
        self.lifecycle = Lifecycle::Stopped;
        self.note(pos, Event::End { kind: Lifecycle::Stopped, done: false });
    }

    /// Takes the beginning or the end of an AG-UI run by its name. Says whether it is inside another one, so that it
    /// ends nothing.
    fn nests(&mut self, named: Named) -> bool {
        let place = |open: &[String], id: &Option<String>| {
            id.as_ref().and_then(|id| open.iter().position(|run| run == id))
        };
        match named {
            Named::Begins { run, thread } => {
                if let (None, Some(id)) = (place(&self.open, &run), &run)
                    && self.open.len() < MAX_NESTED
                {
                    self.open.push(id.clone());
                }
                self.last_thread = thread;
                self.last_run = run.or(self.last_run.take());
                false
            }
            Named::Ends { run } => {
                self.open.truncate(place(&self.open, &run).unwrap_or(0));
                self.last_run = run.or(self.last_run.take());
                !self.open.is_empty()
            }
        }
    }
}

impl MessageFold {
    /// A chunk was folded: takes down what it said about the run.
    pub(super) fn take_down(&mut self, row: &RowContext<'_>, kind: &str) {
        let runs = &mut self.scratch.runs;
        let said = std::mem::take(&mut runs.said);
        // Answers are written into an agent's message by somebody else.
        if row.role == Some(Role::User) && self.message.role == Role::Assistant {
            if said.end.is_some_and(|end| end.kind == Lifecycle::Stopped) {
                runs.stop(row.pos);
            }
            return;
        }
        if !is_peoples(kind) {
            runs.dialect = runs.dialect.or_else(|| Dialect::of(kind));
        }
        runs.take(said, row.pos);
    }
}

impl Step<'_> {
    fn said(&mut self) -> &mut Said {
        &mut self.fold.scratch.runs.said
    }

    /// Parts are being read that say how something was, not what happens.
    pub(super) fn in_snapshot(&self) -> bool {
        self.fold.scratch.before.is_some() || self.fold.scratch.stating
    }

    /// True for a row by which a person or a client answers an agent in its message.
    pub(super) fn is_answer(&self) -> bool {
        self.row.role == Some(Role::User) && self.fold.message.role == Role::Assistant
    }

    /// The language of the message so far.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.fold.scratch.runs.dialect
    }

    /// The run goes on, whether or not the message looks otherwise.
    pub(crate) fn goes_on(&mut self) {
        if !self.in_snapshot() {
            self.said().goes = true;
        }
    }

    /// The chunk may come behind the end of a turn and still belongs to it.
    pub(crate) fn afterthought(&mut self) {
        let said = self.said();
        (said.goes, said.afterthought) = (true, true);
    }

    pub(super) fn run_begins(&mut self) {
        self.said().begins = true;
    }

    pub(super) fn speaks(&mut self, word: bool) {
        if !self.in_snapshot() {
            let said = self.said();
            said.speaks = true;
            said.word |= word;
        }
    }

    pub(super) fn calls(&mut self) {
        if !self.in_snapshot() {
            self.said().calls = true;
        }
    }

    pub(super) fn ends(&mut self, kind: Lifecycle, reason: Option<FinishReason>) {
        let end = Ending { kind, reason, of_run: false, is_clear: false, success: false };
        self.said().end = Some(end);
    }

    /// The end that was just said is that of a run. `is_clear` says that it names what is waited for, or a result.
    pub(crate) fn ends_run(&mut self, is_clear: bool, success: bool) {
        if let Some(end) = &mut self.said().end {
            (end.of_run, end.is_clear, end.success) = (true, is_clear, success);
        }
    }

    /// An AG-UI run begins under this name.
    pub(crate) fn run_named(&mut self, run: Option<Cow<'_, str>>, thread: Option<Cow<'_, str>>) {
        let (run, thread) = (run.map(Cow::into_owned), thread.map(Cow::into_owned));
        self.said().named = Some(Named::Begins { run, thread });
    }

    /// The AG-UI run of this name ends.
    pub(crate) fn named_ends(&mut self, run: Option<Cow<'_, str>>) {
        self.said().named = Some(Named::Ends { run: run.map(Cow::into_owned) });
    }
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

    /// True when nobody is shown it: an answer, a setting.
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

    /// True when its last run failed.
    pub fn has_failed(&self) -> bool {
        self.lifecycle() == Lifecycle::Failed
    }

    /// True when its run may be over: nothing came since an end but what belongs to it.
    pub fn is_at_end(&self) -> bool {
        self.runs().at_end
    }

    /// True when its last end gave a reason, and not that the run waits for tools.
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

    /// How many agents reacted to agents before that run.
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

    /// True when its last turn ended for calls of which nobody said who runs them: the agent itself, which then goes on
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

    /// The answers that its agent must be told, as far as the stream goes. Costs in proportion to the answers and runs of
    /// the message.
    pub fn deliveries(&self) -> Deliveries {
        enum What {
            Run(Event),
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
                What::Run(Event::Begin { told }) => {
                    found.told = told.min(found.undelivered.len());
                    lifecycle = Lifecycle::Open;
                }
                What::Run(Event::Turn) => {
                    found.told = found.undelivered.len();
                    lifecycle = Lifecycle::Open;
                }
                What::Run(Event::Reopen) => lifecycle = Lifecycle::Open,
                What::Run(Event::End { kind, done }) => {
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
