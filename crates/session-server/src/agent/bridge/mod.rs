//! Agents that a bridge runs: a program elsewhere, which asks for their work and brings what they say.
//!
//! ```text
//!   run ─▶ seat (one per session and agent) ─▶ events ─▶ work ─▶ bridge ─▶ agent
//!             ▲                                                     │
//!             └───────────── words ◀──────────── output ◀───────────┘
//! ```
//!
//! A run is one of this server's as any other: it is planned, queued, stopped and answered here, and its words are
//! checked here. A bridge that asks for nothing for a while has lost its run, and what that asked lapses.

mod far;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use session_protocol::{
    Message,
    api::{BridgeEnd, BridgeEvent, BridgeMessage, BridgeOutput, BridgeWork},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

pub use self::far::{FarAgent, FarError};
use super::{Agent, RunRequest};
use crate::{
    problem::{Problem, ProblemCode},
    run::{Cause, Face, Output, RunEnd, RunPlan, RunSink, Stopped},
};

/// Time that a request for work waits for some.
const WAIT: Duration = Duration::from_secs(20);
/// A bridge that has not asked for so long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Bytes of what was said that a bridge is told, and of one message of it.
const TOLD: (usize, usize) = (256 << 10, 64 << 10);
/// Bytes of what an agent shows of itself.
const FACE: usize = 64 << 10;
/// Outputs of a run that are not written yet.
const UNWRITTEN: usize = 16;

/// An output, and where its bridge waits until it is written.
type Words = (BridgeOutput, oneshot::Sender<()>);

/// The place of a bridge: an agent in a session.
struct Seat {
    state: Mutex<State>,
    /// There is something to hear.
    news: Notify,
}

struct State {
    /// Who sits there, and when that was heard of last.
    bridge: Option<(String, Instant)>,
    /// Events that it has not heard.
    events: VecDeque<BridgeEvent>,
    last: u64,
    going: Option<Going>,
}

struct Going {
    run_id: String,
    to: mpsc::Sender<Words>,
    /// Number of its last output.
    taken: u64,
}

impl State {
    /// Nobody sits there. Numbers go on from those of an earlier server, whose bridge may still ask.
    fn new() -> Self {
        let now = jiff::Timestamp::now().as_millisecond();
        Self { bridge: None, events: VecDeque::new(), last: now.unsigned_abs(), going: None }
    }

    fn is_there(&self) -> bool {
        self.bridge.as_ref().is_some_and(|(_, seen)| seen.elapsed() < SILENCE)
    }
}

impl Seat {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: BridgeEvent) {
        let mut state = self.lock();
        state.events.push_back(event);
        state.last += 1;
        drop(state);
        self.news.notify_waiters();
    }

    /// A bridge that asks from the beginning was started anew: what it had heard of, nobody does any more.
    fn begin(&self) {
        let mut state = self.lock();
        let unheard = |state: &State, run: &str| {
            let mut events = state.events.iter();
            events.any(|event| matches!(event, BridgeEvent::Prompt { run_id, .. } if run_id == run))
        };
        state.going = state.going.take().filter(|going| unheard(&state, &going.run_id));
    }

    /// Takes the seat for a bridge, or stays in it.
    fn sit(&self, bridge: &str) -> Result<(), Problem> {
        let mut state = self.lock();
        let is_own = state.bridge.as_ref().is_some_and(|(known, _)| known == bridge);
        if !is_own && state.is_there() {
            return Err(Problem::conflict(
                ProblemCode::AgentExists,
                "Another bridge runs this agent now; end it, or wait a minute",
            ));
        }
        if !is_own {
            // What another one has not heard is of runs that are over.
            let going = state.going.as_ref().map(|going| going.run_id.clone());
            state.events.retain(|event| match event {
                BridgeEvent::Prompt { run_id, .. } => Some(run_id) == going.as_ref(),
                _ => false,
            });
        }
        state.bridge = Some((bridge.to_owned(), Instant::now()));
        Ok(())
    }
}

/// The agents that bridges run.
#[derive(Default)]
pub(crate) struct Bridges {
    seats: Mutex<HashMap<(String, String), Arc<Seat>>>,
}

impl Bridges {
    fn seat(&self, session_id: &str, agent_id: &str) -> Arc<Seat> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = seats.entry((session_id.to_owned(), agent_id.to_owned()));
        let new = || Seat { state: Mutex::new(State::new()), news: Notify::new() };
        Arc::clone(seat.or_insert_with(|| Arc::new(new())))
    }

    /// The work of a bridge, behind the events that it has heard. Waits for something, for a while.
    ///
    /// # Errors
    ///
    /// Another bridge is there.
    ///
    /// # Cancel safety
    ///
    /// What is not heard is told again.
    pub(crate) async fn work(
        &self,
        session_id: &str,
        agent_id: &str,
        bridge: &str,
        after: u64,
    ) -> Result<BridgeWork, Problem> {
        let seat = self.seat(session_id, agent_id);
        let deadline = Instant::now() + WAIT;
        seat.sit(bridge)?;
        if after == 0 {
            seat.begin();
        }
        loop {
            let news = seat.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            seat.sit(bridge)?;
            let work = {
                let mut state = seat.lock();
                let first = state.last - state.events.len() as u64; // before the first that is kept
                let heard = after.min(state.last).saturating_sub(first);
                state.events.drain(..usize::try_from(heard).unwrap_or(usize::MAX));
                BridgeWork { last: state.last, events: state.events.iter().cloned().collect() }
            };
            if !work.events.is_empty() || timeout(deadline - Instant::now(), news).await.is_err() {
                return Ok(work);
            }
        }
    }

    /// Takes what a bridged agent says, and waits until the run has taken it.
    ///
    /// # Errors
    ///
    /// The run is over, or not this bridge's.
    ///
    /// # Cancel safety
    ///
    /// It may be taken; the same number again changes nothing.
    pub(crate) async fn output(
        &self,
        session_id: &str,
        agent_id: &str,
        output: BridgeOutput,
    ) -> Result<(), Problem> {
        let over = || Problem::conflict(ProblemCode::NotAsked, "The run is over, or was stopped");
        let seat = self.seat(session_id, agent_id);
        seat.sit(&output.bridge)?;
        let to = {
            let mut state = seat.lock();
            let going = state.going.as_mut().filter(|going| going.run_id == output.run_id);
            let going = going.ok_or_else(over)?;
            if output.number <= going.taken {
                return Ok(());
            }
            going.taken = output.number;
            going.to.clone()
        };
        let (written, is_written) = oneshot::channel();
        to.send((output, written)).await.map_err(|_| over())?;
        is_written.await.map_err(|_| over())
    }
}

/// A run that goes on at its seat. Dropped, its bridge hears that it is stopped.
struct Sitting {
    seat: Arc<Seat>,
    run_id: String,
    is_over: bool,
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.seat.lock().going = None;
        if !self.is_over {
            self.seat.tell(BridgeEvent::Stop { run_id: self.run_id.clone() });
        }
    }
}

#[async_trait]
impl Agent for Bridges {
    async fn run(&self, mut request: RunRequest, out: RunSink) -> RunEnd {
        let seat = self.seat(&request.session_id, &request.spec.id);
        if !seat.lock().is_there() {
            return RunEnd::failed(
                "bridge_away",
                "The computer that runs this agent is not connected. Start `threadkeep agent` there, then send the message again.",
            );
        }
        let run_id = request.plan.run_id.clone();
        let (to, mut words) = mpsc::channel(UNWRITTEN);
        seat.lock().going = Some(Going { run_id: run_id.clone(), to, taken: 0 });
        let mut sitting =
            Sitting { seat: Arc::clone(&seat), run_id: run_id.clone(), is_over: false };
        let history = std::mem::take(&mut request.history);
        seat.tell(prompt(&request.plan, &history.messages));
        drop(history);
        loop {
            let gone = seat.lock().bridge.as_ref().map(|(_, seen)| *seen + SILENCE);
            tokio::select! {
                said = words.recv() => {
                    let Some((output, written)) = said else { return lost() };
                    let end = match take(output, &out).await {
                        Ok(end) => end,
                        Err(Stopped) => return RunEnd::Finished, // whoever stopped it has said so
                    };
                    written.send(()).ok(); // a bridge that does not wait asks again
                    if let Some(end) = end {
                        sitting.is_over = true;
                        return end;
                    }
                }
                Some(given) = request.given.recv() => seat.tell(BridgeEvent::Answer {
                    run_id: run_id.clone(),
                    approval_id: given.approval_id,
                    approved: given.approved,
                    option_id: given.option_id,
                }),
                () = sleep_until(gone.unwrap_or_else(Instant::now)) => {
                    if !seat.lock().is_there() {
                        return lost();
                    }
                }
            }
        }
    }
}

fn lost() -> RunEnd {
    RunEnd::failed(
        "bridge_lost",
        "The computer that runs this agent was lost in the middle of its answer. What it was doing may have happened. Send a message to go on.",
    )
}

/// Hands on what an agent says; how its run ends, when it does.
async fn take(output: BridgeOutput, out: &RunSink) -> Result<Option<RunEnd>, Stopped> {
    if let Some(fields) = output.face.filter(|face| face.to_string().len() <= FACE) {
        out.send(Output::Face(Face { fields, told: Vec::new() })).await?;
    }
    for chunk in &output.chunks {
        out.emit(chunk).await?;
    }
    for (approval_id, reason) in output.withdrawn {
        out.send(Output::Withdraw { approval_id, reason }).await?;
    }
    if let Some(title) = output.title {
        out.send(Output::Title(title)).await?;
    }
    Ok(output.end.map(|BridgeEnd { code, message }| match code {
        None => RunEnd::Finished,
        Some(code) => RunEnd::failed(code, message.unwrap_or_default()),
    }))
}

/// The prompt that a bridge is told: the newest of what was said, as far as it fits.
fn prompt(plan: &RunPlan, messages: &[Message]) -> BridgeEvent {
    let mut left = TOLD.0;
    let mut told = Vec::new();
    for message in messages.iter().rev() {
        let mut text = message.plain_text();
        // What is to be answered is told as it is.
        if !told.is_empty() {
            text.truncate(text.floor_char_boundary(TOLD.1));
        }
        if text.len() > left && !told.is_empty() {
            break;
        }
        left = left.saturating_sub(text.len());
        told.push(BridgeMessage {
            id: message.id.clone(),
            actor_id: message.actor_id.clone(),
            role: message.role,
            text,
            cut: message.error.is_some() || message.stopped.is_some(),
        });
    }
    told.reverse();
    let cause = match &plan.cause {
        Cause::Message { .. } => "message",
        Cause::Again { .. } => "again",
        Cause::Reply { .. } => "reply",
        Cause::Answers { .. } => "answers",
    };
    BridgeEvent::Prompt {
        run_id: plan.run_id.clone(),
        message_id: plan.message_id.clone(),
        cause: cause.to_owned(),
        messages: told,
    }
}
