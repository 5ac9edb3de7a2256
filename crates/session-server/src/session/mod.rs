//! One session's state, and what each [`Input`] does to it.
//!
//! A session is a pure state machine. What comes in is an [`Input`]: what somebody asks, what an agent says, or that
//! time has passed. [`Session::apply`] is the one way in. It checks the input against the [`RunBook`], and either
//! refuses it and leaves everything as it was, or returns [`Effects`]: events, changes of the database, runs to start
//! and to end, answers to hand on, numbers to count. Effects are data, and the task in `sessions` carries them out.
//! When time alone changes something, [`Session::due_at`] says so.
//!
//! The same inputs have the same effects: a session reads no clock, waits for nothing, shares nothing, and draws its
//! ids from the seed that it was opened with. Two things stand behind it and are read only: the [`Surroundings`], which
//! do not change, and the shelf of its book, which holds what the stream said before.
//!
//! State is ahead of the stream by what is not committed. When a commit fails, the whole state is thrown away and read
//! again from the stream (L1).

mod activity;
mod continuing;
mod effects;
mod face;
mod fork;
mod ids;
mod input;
mod intents;
mod listeners;
mod options;
mod presence;
mod refusal;
mod room;
mod runs;

pub(crate) use effects::{Effects, Reply};
pub(crate) use fork::{Cut, Found, Origin, Survey};
pub(crate) use input::{Called, Choice, Decision, Input, NewMessage, NewToolResult, RawChunk};
pub(crate) use refusal::{MAX_AGENTS, Refusal};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use session_protocol::{AgentSpec, Dialect, RunMark};

use self::ids::Ids;
use self::listeners::{Hearing, MAX_HEARD};
use self::presence::Attendance;
use crate::book::{RunBook, Wish};
use crate::event::{self, Role, Row};
use crate::run::RunPlan;
use crate::store::{Op, StoredRun};

/// A time, by the clock that people read and by the one that only goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) time: jiff::Timestamp,
    pub(crate) clock: Instant,
}

impl Moment {
    /// The time now. Whoever leads sessions asks for it; a session is told.
    pub(crate) fn now() -> Self {
        Self { time: jiff::Timestamp::now(), clock: Instant::now() }
    }
}

/// Settings that a session has from its server.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The server's name as a producer of streams.
    pub(crate) instance: String,
    /// Number of times in a row that agents may react to agents.
    pub(crate) agent_depth: u32,
    /// Time that a device which does not heartbeat may be silent.
    pub(crate) silence: Duration,
    /// Whether interrupted runs of built-in agents go on by themselves, once.
    pub(crate) continues: bool,
}

/// Everything that a session is opened with.
pub(crate) struct Opening {
    pub(crate) id: String,
    pub(crate) surroundings: Surroundings,
    /// The seed of its ids, which no other opening has.
    pub(crate) seed: [u8; 32],
    /// The index of its stream.
    pub(crate) book: RunBook,
    /// The agents that the database knows.
    pub(crate) specs: Vec<AgentSpec>,
    /// Runs that were planned, or went when its server died.
    pub(crate) runs: Vec<StoredRun>,
    /// Whether the list of sessions has it. Where not, it may be about to become a fork.
    pub(crate) is_listed: bool,
    /// The title in the list of sessions.
    pub(crate) title: Option<String>,
}

/// A run that goes, as its session knows it.
struct Live {
    plan: RunPlan,
    /// When the agent said something last in this run.
    wrote_at: Option<Instant>,
    /// Words of the run, where another agent may react to them.
    heard: Option<Hearing>,
    /// Whether it said its first word.
    streaming: bool,
    /// Chunks that it sent and may not say.
    refused: RefusedChunks,
}

/// Chunks of a run that were not written, because only people may say such a thing (L15).
#[derive(Debug, Default)]
struct RefusedChunks {
    /// Their types, each once.
    kinds: BTreeSet<String>,
    /// Number of them that are not told in the log yet.
    untold: u64,
}

impl RefusedChunks {
    /// Counts one. Returns whether it is the first of its type; few types are refused.
    fn count(&mut self, kind: &str) -> bool {
        self.untold = self.untold.saturating_add(1);
        !self.kinds.contains(kind) && self.kinds.insert(kind.to_owned())
    }
}

/// The state of one session, owned by its task (L5).
pub(crate) struct Session {
    id: String,
    surroundings: Surroundings,
    ids: Ids,
    now: Moment,
    book: RunBook,
    specs: BTreeMap<String, AgentSpec>,
    runs: BTreeMap<String, Live>,
    /// Runs that wait until their agent is free.
    queued: VecDeque<RunPlan>,
    attendance: Attendance,
    /// The server stops, or the stream is closed: nothing begins any more.
    is_closing: bool,
    /// Items of the stream when it was opened, with what the opening wrote.
    opened_at: u64,
    /// Effects of the input that is being applied.
    effects: Effects,
}

/// Longest wait for a question to be withdrawn before the clock is read again: it may be set.
const LONGEST: Duration = Duration::from_secs(60);

impl Session {
    /// Rebuilds a session from the index of its stream and the server's database, then ends or starts what a crash left
    /// over.
    pub(crate) fn open(opening: Opening, now: Moment) -> (Self, Effects) {
        let Opening { id, surroundings, seed, mut book, specs, runs, is_listed, title } = opening;
        book.tick(now.time);
        let mut session = Self {
            id,
            surroundings,
            ids: Ids::of(seed),
            now,
            book,
            specs: specs.into_iter().map(|spec| (spec.id.clone(), spec)).collect(),
            runs: BTreeMap::new(),
            queued: VecDeque::new(),
            attendance: Attendance::default(),
            is_closing: false,
            opened_at: 0,
            effects: Effects::default(),
        };
        if !is_listed {
            let (session_id, at) = (session.id.clone(), event::at(now.time));
            session.effects.before.push(Op::AddSession { session_id, at });
        }
        // What was withdrawn by now is nothing new: the recovery sees it so.
        session.book.take_expired(now.time);
        session.recover(runs, is_listed);
        session.rest_all();
        session.open_attendance();
        session.opened_at = session.book.items();
        if let (None, Some(known)) = (title, session.book.title()) {
            // Only the stream knows it.
            let op = Op::Title { session_id: session.id.clone(), title: known.to_owned() };
            session.effects.after.push(op);
        }
        let effects = std::mem::take(&mut session.effects);
        (session, effects)
    }

    /// Takes one input, at a time that is not before the last one. What it changes is in the session's state at once,
    /// and must reach the stream.
    ///
    /// # Errors
    ///
    /// The input is refused, and nothing has changed.
    pub(crate) fn apply(&mut self, input: Input, now: Moment) -> Result<Effects, Refusal> {
        self.now = now;
        self.book.tick(now.time);
        let reply = self.decide(input);
        let mut effects = std::mem::take(&mut self.effects);
        match reply {
            Ok(reply) => {
                effects.reply = reply;
                Ok(effects)
            }
            Err(refusal) => {
                assert!(effects.is_empty(), "a refusal changes nothing");
                Err(refusal)
            }
        }
    }

    fn decide(&mut self, input: Input) -> Result<Reply, Refusal> {
        match input {
            Input::Send(new) => return Ok(Reply::sent(self.send(new)?)),
            Input::SendAnew { instead_of, new } => self.send_anew(instead_of.as_deref(), new)?,
            Input::AnswerAgain { message_id, text, actor_id, txid } => {
                self.retry(&message_id, &text, &actor_id, txid.as_deref())?;
            }
            Input::Decide(decision) => self.respond(&decision)?,
            Input::GiveResult(new) => self.tool_result(&new)?,
            Input::Stop { message_id, actor_id } => self.stop(message_id.as_deref(), &actor_id),
            Input::Create { agents, manages, title, actor_id } => {
                self.register(agents, manages)?;
                if let Some(title) = title
                    && self.book.title() != Some(&title)
                {
                    self.rename(&title, &actor_id, None);
                }
            }
            Input::Register { agents, manages } => {
                self.register(agents, manages)?;
                self.go_on_where_decided();
            }
            Input::Unregister { agent_id } => self.unregister(&agent_id),
            Input::Rename { title, actor_id, txid } => {
                self.name(&title, &actor_id, txid.as_deref())?;
            }
            Input::Clear { until, presence, actor_id } => {
                return Ok(Reply::left(self.clear(until, presence, &actor_id)));
            }
            Input::Write(chunks) => self.write_raw(&chunks),
            Input::LogIn { actor_id, device_id, called, heartbeat, agents, manages } => {
                if self.book.agents().next().is_none() {
                    self.register(agents, manages)?;
                }
                self.log_in(&actor_id, &device_id, &called, heartbeat.as_ref());
            }
            Input::LogOut { actor_id, device_id } => {
                return Ok(Reply::devices(self.log_out(&actor_id, device_id.as_deref())));
            }
            Input::Adopt { company, origin } => self.adopt(company, &origin)?,
            Input::Choose(choice) => self.choose(&choice)?,
            Input::Face { agent_id, face } => self.face(&agent_id, &face),
            Input::Output { run_id, what } => self.output(run_id, what),
            Input::Elapse { signs } => self.elapse(&signs),
            Input::Reread(book) => self.reread(*book),
            Input::CloseStream => self.close_stream(),
            Input::Interrupt { uncalled, continues } => {
                self.surroundings.continues &= continues;
                self.interrupt_all(&uncalled);
            }
        }
        Ok(Reply::default())
    }

    /// Takes over what somebody else wrote to the stream, of which `book` is the index, with what is on its way to it.
    fn reread(&mut self, mut book: RunBook) {
        book.tick(self.now.time);
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

    /// Gives up every run, because the stream is closed and stays as it is.
    fn close_stream(&mut self) {
        self.is_closing = true;
        let led = std::mem::take(&mut self.runs).into_values().map(|live| live.plan);
        let given_up: Vec<RunPlan> = led.chain(std::mem::take(&mut self.queued)).collect();
        for RunPlan { run_id, .. } in given_up {
            self.effects.end(&run_id);
            self.effects.after.push(Op::DropRun { run_id });
        }
    }

    /// The index of its stream.
    pub(crate) fn book(&self) -> &RunBook {
        &self.book
    }

    /// The index of its stream, for whoever stores it.
    pub(crate) fn book_mut(&mut self) -> &mut RunBook {
        &mut self.book
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

    /// Does what is due. `signs` has when the actors were heard of last who are [missed](Self::missed).
    fn elapse(&mut self, signs: &HashMap<String, Instant>) {
        self.expire(signs);
        self.end_silent();
        if self.book.take_expired(self.now.time) && !self.is_closing {
            self.go_on_where_decided();
            self.rest_all();
        }
    }

    /// No agent runs and none is about to, and nobody who is here could be missed.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.queued.is_empty() && self.absence_at().is_none()
    }

    /// Activity of the session. Costs in proportion to the messages in memory.
    pub(crate) fn activity(&self) -> crate::busy::Activity {
        let running = self.runs.len() + self.queued.len();
        crate::busy::Activity { running, waiting: self.book.count_asking() }
    }

    fn push(&mut self, item: Bytes) {
        self.book.apply(&item);
        self.effects.events.push(item);
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
        let message_id = self.ids.message();
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
        self.effects.after.push(op);
    }

    fn dialect(&self, message_id: &str) -> Dialect {
        let known = self.book.message(message_id).and_then(|run| run.dialect());
        known.unwrap_or(Dialect::AgUi)
    }
}

#[cfg(test)]
mod tests;
