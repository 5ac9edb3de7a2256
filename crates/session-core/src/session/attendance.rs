//! The person's presence, which the others are told while a window shows the session. Each arrival
//! and each leave is a row of the shared log, so that a glance is neither.
//!
//! Presence is ephemeral. It is no intent and not in the outbox. One request at a time runs beside
//! the task (L5). A failure is told to nobody: the others take silence for absence.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use session_protocol::api::{LogIn, LogOut};
use tokio::time::Instant;

use super::state::Session;
use crate::client::ClientError;

/// Pause between two beats. Readers believe a beat for three times as long.
const BEAT: Duration = Duration::from_secs(30);
/// Time that one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time that the closing of the engine waits for the others to be told.
const GOODBYE: Duration = Duration::from_secs(1);

/// The person's presence in a session: what the others were told, and what they are to be told.
#[derive(Default)]
pub(super) struct Attendance {
    /// A window shows the session.
    shown: bool,
    /// Time at which that began or ended.
    since: Option<Instant>,
    /// The last word that the person is here; `None` once the others were told otherwise.
    said: Option<Said>,
    /// The request under way.
    call: Option<BoxFuture<'static, ()>>,
}

#[derive(Clone, Copy)]
struct Said {
    again: Instant,
    /// The other clock stands still while the machine sleeps.
    at: Timestamp,
}

impl Said {
    fn is_due(&self, now: Instant) -> bool {
        now >= self.again || crate::clock::now().duration_since(self.at).unsigned_abs() >= BEAT
    }
}

impl Attendance {
    /// Looks whether a window shows the session.
    pub(super) fn look(&mut self, session: &Session) {
        let shown = session.shared.feeds().iter().any(|feed| feed.shows(&session.id));
        if shown != self.shown {
            self.shown = shown;
            self.since = Some(Instant::now());
        }
    }

    /// Time at which a window has shown the session, or has not, for so long that it is said.
    /// `None`: it is said already, or cannot be now.
    fn settled_at(&self, session: &Session) -> Option<Instant> {
        let limits = &session.shared.limits;
        match (self.shown, self.said) {
            (true, None) if session.reading.line.is_live() => {
                Some(self.since? + limits.arrive_after)
            }
            (false, Some(_)) => Some(self.since? + limits.leave_after),
            _ => None,
        }
    }

    /// Starts a request, if there is something to say.
    pub(super) fn begin(&mut self, session: &Session, now: Instant) {
        if session.deleted {
            *self = Self::default();
        }
        if self.call.is_some() {
            return;
        }
        let has_settled = self.settled_at(session).is_some_and(|at| now >= at);
        let is_due =
            self.said.is_some_and(|said| said.is_due(now)) && session.reading.line.is_live();
        if has_settled && !self.shown {
            self.said = None;
            self.call = call(session, Word::Left);
        } else if has_settled || self.shown && is_due {
            self.said = Some(Said { again: now + BEAT, at: crate::clock::now() });
            self.call = call(session, Word::Here);
        }
    }

    /// Time at which to call [`Attendance::begin`], if nothing else happens.
    pub(super) fn wake_at(&self, session: &Session) -> Option<Instant> {
        if self.call.is_some() {
            return None;
        }
        let again = self.said.filter(|_| self.shown && session.reading.line.is_live());
        self.settled_at(session).or(again.map(|said| said.again))
    }

    /// Waits for the request under way; for ever when there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn called(&mut self) {
        match &mut self.call {
            Some(call) => call.await,
            None => return std::future::pending().await,
        }
        self.call = None;
    }

    /// Whether somebody is here, or is still to be told that nobody is.
    pub(super) fn is_busy(&self) -> bool {
        self.shown || self.said.is_some() || self.call.is_some()
    }

    /// Forgets what was said: another server, or none, was told nothing.
    pub(super) fn forget(&mut self) {
        self.said = None;
        self.call = None;
    }

    /// Takes leave, in a second or not at all.
    pub(super) fn goodbye(&mut self, session: &Session) -> impl Future<Output = ()> + use<> {
        let before = self.call.take();
        let last = self.said.take().and_then(|_| call(session, Word::Left));
        let said = async move {
            // In this order, or the server would hear of the arrival last.
            for call in [before, last].into_iter().flatten() {
                call.await;
            }
        };
        async move {
            tokio::time::timeout(GOODBYE, said).await.ok();
        }
    }
}

/// A word to the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The person is here, or still is.
    Here,
    /// The person has left.
    Left,
}

fn call(session: &Session, word: Word) -> Option<BoxFuture<'static, ()>> {
    let client = session.home.connected.borrow().as_ref()?.client.clone().patient(TIMEOUT);
    let config = &session.shared.config;
    let (id, device_id) = (session.home_id.clone(), config.device_id.clone());
    let actor_id = config.actor.id.clone();
    let name = config.actor.name.clone();
    Some(
        async move {
            let told = match word {
                Word::Here => {
                    let beat = Some(BEAT.as_secs().into());
                    let default_agents = Vec::new();
                    let name = Some(name);
                    let body = LogIn {
                        actor_id,
                        device_id,
                        name,
                        heartbeat_seconds: beat,
                        default_agents,
                    };
                    client.log_in(&id, &body).await
                }
                Word::Left => {
                    let device_id = Some(device_id);
                    client.log_out(&id, &LogOut { actor_id, device_id, all_devices: false }).await
                }
            };
            match told {
                Ok(()) => {}
                Err(ClientError::Refused { status, .. }) => {
                    tracing::debug!(status = status.as_u16(), "presence was not taken");
                }
                Err(error) => tracing::debug!(%error, "presence was not said"),
            }
        }
        .boxed(),
    )
}
