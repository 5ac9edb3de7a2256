//! Telling the others that the person is here while a window shows the session. Each arrival and
//! each leave is a row of the shared log, so that a glance is neither.
//!
//! This is ephemeral. It is no intent and not in the outbox, one request at a time runs beside the
//! task (L5), and a failure is told to nobody: the others take silence for absence.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::state::Session;
use crate::connection::authorize;

/// How often it is said again. Readers believe it for three times as long.
const BEAT: Duration = Duration::from_secs(30);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the closing of the engine waits for the others to be told.
const GOODBYE: Duration = Duration::from_secs(1);

/// The person's presence in a session: what the others were told, and what they are to be told.
#[derive(Default)]
pub(super) struct Attendance {
    /// A window shows the session.
    shown: bool,
    /// When that began or ended.
    since: Option<Instant>,
    /// When the others were last told that the person is here, unless they were told otherwise.
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

    /// When a window has shown the session, or has not, for so long that it is said. `None`: it is
    /// said already, or cannot be now.
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
            self.call = call(session, "logout");
        } else if has_settled || self.shown && is_due {
            self.said = Some(Said { again: now + BEAT, at: crate::clock::now() });
            self.call = call(session, "login");
        }
    }

    /// When to call [`Attendance::begin`], if nothing else happens.
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

    /// Another server, or none: it was told nothing.
    pub(super) fn forget(&mut self) {
        self.said = None;
        self.call = None;
    }

    /// Takes leave, in a second or not at all.
    pub(super) fn goodbye(&mut self, session: &Session) -> impl Future<Output = ()> + use<> {
        let before = self.call.take();
        let last = self.said.take().and_then(|_| call(session, "logout"));
        let said = async move {
            // In this order, or the server would hear of the arrival last.
            for call in [before, last].into_iter().flatten() {
                call.await;
            }
        };
        async move {
            let _ = tokio::time::timeout(GOODBYE, said).await;
        }
    }
}

fn call(session: &Session, route: &'static str) -> Option<BoxFuture<'static, ()>> {
    let connected = session.home.connected.borrow().clone()?;
    let url = connected.endpoint.url(&["v1", "sessions", &session.home_id, route]);
    let config = &session.shared.config;
    let mut body = json!({ "actorId": config.actor.id, "deviceId": config.device_id });
    if route == "login" {
        body["name"] = config.actor.name.as_str().into();
        body["heartbeatSeconds"] = BEAT.as_secs().into();
    }
    let request = connected.http.post(url).timeout(TIMEOUT).json(&body);
    let request = authorize(request, &connected.endpoint);
    Some(
        async move {
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => {
                    tracing::debug!(status = answer.status().as_u16(), route, "not taken");
                }
                // L11: the error itself may quote the URL.
                Err(_) => tracing::debug!(route, "the server was not reached"),
            }
        }
        .boxed(),
    )
}
