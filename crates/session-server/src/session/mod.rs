//! One session's state and what each intent does to it.
//!
//! A session is a state machine. What comes in is an intent, an agent's word, or the time ([`Session::tick`]); a method
//! checks it against the [`RunBook`], and either refuses it or puts effects into the current [`Batch`]: events, changes of
//! the database, runs to start. It reads no clock, waits for nothing and knows of other sessions only what is in its
//! [`Surroundings`]; when time alone changes something, [`Session::due_at`] says so. The task in `sessions` tells it the
//! time and commits its batches, and a test drives it through thousands of lives ([`tests`]).
//! State is ahead of the stream by what is not committed; when a commit fails the whole state is thrown away and read
//! again from the stream (L1).

mod activity;
mod face;
mod fork;
mod intents;
mod listeners;
mod options;
mod presence;
mod room;
mod runs;

pub(crate) use fork::{Cut, Found, Origin, Survey};
pub(crate) use options::Said;
pub(crate) use presence::{Called, Signs};
pub(crate) use room::{MAX_AGENTS, RawChunk, too_many_agents};

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::Bytes;
use listeners::{Hearing, MAX_HEARD};
use presence::Attendance;
use serde_json::{Value, json};
use session_protocol::{AgentSpec, Dialect, RunMark, api::SendMode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    book::{RunBook, Wish},
    budget::Hold,
    event::{self, Role, Row},
    metrics::Metrics,
    problem::Problem,
    run::{Given, RunPlan, Start},
    store::{Op, StoredRun},
};

/// Told when the batch is in the stream, or why it is not.
pub(crate) type Waiter = Box<dyn FnOnce(Result<(), Problem>) + Send>;

/// A time, by the clock that people read and by the one that only goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) time: jiff::Timestamp,
    pub(crate) clock: Instant,
}

impl Moment {
    /// This time. Whoever leads sessions asks for it; a session is told.
    pub(crate) fn now() -> Self {
        Self { time: jiff::Timestamp::now(), clock: Instant::now() }
    }
}

/// What a session has from its server.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// This server as a producer of streams.
    pub(crate) instance: String,
    /// Number of times in a row that agents may react to agents.
    pub(crate) agent_depth: u32,
    /// Time that a device which does not heartbeat may be silent.
    pub(crate) silence: Duration,
    /// Signs of life that are in no stream.
    pub(crate) signs: Arc<Signs>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Ends the runs when the server stops.
    pub(crate) shutdown_runs: CancellationToken,
}

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
    /// Room that is taken for the events.
    pub(crate) holds: Vec<Hold>,
    /// Somebody says something in it. Ends, answers and deletions have room in a session that is full.
    pub(crate) grows: bool,
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
    /// Where it is told answers to requests with options.
    given: mpsc::UnboundedSender<Given>,
    /// Its agent was called, or is about to be; see [`Start::called`].
    called: Arc<AtomicBool>,
    /// When the agent said something last in this run.
    wrote_at: Option<Instant>,
    /// What it said, where another agent may react to it.
    heard: Option<Hearing>,
    /// It said its first word.
    streaming: bool,
    /// What it may not say and said.
    refused: Refused,
}

/// Chunks of a run that were not written, because only people may say such a thing (L15).
#[derive(Debug, Default)]
struct Refused {
    /// Their types, each once.
    kinds: BTreeSet<String>,
    /// So many of them are not told in the log yet.
    untold: u64,
}

impl Refused {
    /// Counts one; says whether it is the first of its type. Few types are refused.
    fn count(&mut self, kind: &str) -> bool {
        self.untold = self.untold.saturating_add(1);
        !self.kinds.contains(kind) && self.kinds.insert(kind.to_owned())
    }
}

/// A message that a client posts.
pub(crate) struct NewMessage {
    pub(crate) message_id: Option<String>,
    pub(crate) content: String,
    pub(crate) role: Role,
    pub(crate) actor_id: String,
    pub(crate) agent: Option<AgentSpec>,
    /// Whoever sends it may replace agents.
    pub(crate) manages: bool,
    pub(crate) txid: Option<String>,
    pub(crate) mode: SendMode,
}

/// A tool result that a client posts.
pub(crate) struct NewToolResult {
    /// The message that holds the call, when two have calls of the same id; else the newest is meant.
    pub(crate) message_id: Option<String>,
    pub(crate) tool_call_id: String,
    pub(crate) output: Value,
    pub(crate) error: Option<String>,
    pub(crate) actor_id: String,
    pub(crate) txid: Option<String>,
}

/// The state of one session, owned by its task (L5).
pub(crate) struct Session {
    id: String,
    surroundings: Surroundings,
    now: Moment,
    book: RunBook,
    specs: HashMap<String, AgentSpec>,
    runs: HashMap<String, Live>,
    /// Runs that wait until their agent is free.
    queued: VecDeque<RunPlan>,
    attendance: Attendance,
    /// The server stops, or the stream is closed: nothing begins any more.
    is_closing: bool,
    /// Items of the stream when it was opened, with what the opening wrote.
    opened_at: u64,
    pub(crate) batch: Batch,
}

/// Longest wait for a question to be withdrawn before the clock is read again: it may be set.
const LONGEST: Duration = Duration::from_secs(60);

impl Session {
    /// Rebuilds a session from the index of its stream and the server's database, then ends or starts what a crash left over.
    pub(crate) fn open(
        id: &str,
        surroundings: Surroundings,
        now: Moment,
        mut book: RunBook,
        specs: Vec<AgentSpec>,
        runs: Vec<StoredRun>,
        is_known: bool,
    ) -> Self {
        book.tick(now.time);
        let mut session = Self {
            id: id.to_owned(),
            surroundings,
            now,
            book,
            specs: specs.into_iter().map(|spec| (spec.id.clone(), spec)).collect(),
            runs: HashMap::new(),
            queued: VecDeque::new(),
            attendance: Attendance::default(),
            is_closing: false,
            opened_at: 0,
            batch: Batch::default(),
        };
        // What was withdrawn by now is nothing new: the recovery sees it so.
        session.book.take_expired(now.time);
        session.recover(runs, is_known);
        session.rest_all();
        session.open_attendance();
        session.opened_at = session.book.items();
        session
    }

    /// Takes over what somebody else wrote to the stream, of which `book` is the index. No commit may be under way.
    pub(crate) fn refresh(&mut self, mut book: RunBook) {
        book.tick(self.now.time);
        for item in &self.batch.events {
            book.apply(item);
        }
        for live in self.runs.values_mut() {
            if let Some(heard) = &mut live.heard {
                heard.keep(&self.book.heard(&live.plan.message_id));
                book.listen(&live.plan.message_id, MAX_HEARD);
            }
        }
        self.book = book;
        self.expect_absences();
        self.opened_at = self.book.items();
    }

    /// Gives up what the opening wants to write and start: the stream is closed, and stays as it is.
    pub(crate) fn settle_for_reading(&mut self) {
        self.is_closing = true;
        self.batch.events.clear();
        self.batch.holds.clear();
        self.batch.starts.clear();
        let led = std::mem::take(&mut self.runs).into_values().map(|live| live.plan);
        let given_up: Vec<RunPlan> = led.chain(std::mem::take(&mut self.queued)).collect();
        for plan in given_up {
            self.batch.after.push(Op::DropRun { run_id: plan.run_id });
        }
    }

    /// Brings a title that only the stream knows into the list of sessions.
    pub(crate) fn keep_title(&mut self, listed: Option<&str>) {
        if let (None, Some(title)) = (listed, self.book.title()) {
            let op = Op::Title { session_id: self.id.clone(), title: title.to_owned() };
            self.batch.after.push(op);
        }
    }

    /// Gives the state up: stops its runs and answers whoever waits.
    pub(crate) fn abandon(mut self, problem: &Problem) {
        for waiter in std::mem::take(&mut self.batch.waiters) {
            waiter(Err(problem.clone()));
        }
    }

    pub(crate) fn book(&self) -> &RunBook {
        &self.book
    }

    pub(crate) fn book_mut(&mut self) -> &mut RunBook {
        &mut self.book
    }

    /// Whether there is a message with this id.
    pub(crate) fn has_message(&mut self, message_id: &str) -> bool {
        self.book.bring(message_id);
        self.book.message(message_id).is_some()
    }

    /// Takes the time. Whatever is asked next is asked now.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.now = now;
        self.book.tick(now.time);
    }

    /// When time alone changes something: somebody is missed, a run is over because its agent says nothing more, or a
    /// question is withdrawn.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let withdrawn = self.book.expires_next().map(|end| {
            let left = end.duration_since(self.now.time);
            self.now.clock + Duration::try_from(left).unwrap_or_default().min(LONGEST)
        });
        self.absence_at().into_iter().chain(self.over_at()).chain(withdrawn).min()
    }

    /// Does what is due.
    pub(crate) fn elapse(&mut self) {
        self.expire();
        self.end_silent();
        if self.book.take_expired(self.now.time) && !self.is_closing {
            self.go_on_where_decided();
            self.rest_all();
        }
    }

    /// No agent runs and none is about to, and nobody who is here could be missed.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty()
            && self.queued.is_empty()
            && self.batch.is_empty()
            && self.absence_at().is_none()
    }

    fn push(&mut self, item: Bytes) {
        self.book.apply(&item);
        self.batch.events.push(item);
    }

    fn push_row(&mut self, row: Row<'_>) -> Bytes {
        if row.role == Role::User {
            self.sign_of_life(row.actor_id);
        }
        let item = event::chunk(row, self.book.next_seq(row.message_id), &event::at(self.now.time));
        self.push(item.clone());
        item
    }

    /// Writes a signal: a message of its own that nobody is shown. It has an end, because upstream's readers take a
    /// message without one for an answer that is still being written.
    fn push_signal(&mut self, chunk: &Value, actor_id: &str, txid: Option<&str>) {
        let message_id = Uuid::new_v4().to_string();
        for (chunk, txid) in [(chunk, txid), (&json!({"type": "stop"}), None)] {
            let (message_id, chunk) = (message_id.as_str(), &*chunk.to_string());
            let row = Row { message_id, actor_id, role: Role::User, chunk, txid, run: None };
            self.push_row(row);
        }
    }

    /// Says in the stream that a wish was granted before, unless it says so already.
    fn acknowledge(&mut self, wish: Wish, txid: Option<&str>, thing: &str) {
        if let Some(txid) = txid.filter(|txid| !self.book.shows(wish, txid)) {
            self.push(event::ack(txid, &wish.about(thing)));
        }
    }

    fn push_agent_chunk(&mut self, plan: &RunPlan, chunk: &Value) {
        self.push_output(plan, &chunk.to_string());
    }

    /// Writes a chunk of a run. The first one says that the run begins.
    fn push_output(&mut self, plan: &RunPlan, chunk: &str) -> Bytes {
        let entry = self.book.message(&plan.message_id);
        // Whatever is open was begun before.
        let begins = entry.is_none_or(|run| !run.is_open() && run.run_id() != Some(&plan.run_id));
        let mark =
            begins.then(|| RunMark { id: plan.run_id.clone(), depth: plan.depth, told: plan.told });
        self.push_row(Row {
            message_id: &plan.message_id,
            actor_id: &plan.agent_id,
            role: Role::Assistant,
            chunk,
            txid: None,
            run: mark.as_ref(),
        })
    }

    fn touch(&mut self) {
        let op = Op::Touch { session_id: self.id.clone(), at: event::at(self.now.time) };
        self.batch.after.push(op);
    }

    fn dialect(&self, message_id: &str) -> Dialect {
        let known = self.book.message(message_id).and_then(|run| run.dialect());
        known.unwrap_or(Dialect::AgUi)
    }
}

/// Nobody leads its runs any more, also when its task fell.
impl Drop for Session {
    fn drop(&mut self) {
        for live in self.runs.values() {
            live.cancel.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
