//! The line to a session's stream: opening it, what its failures mean, and the words for it.
//!
//! | what happens | what the line does |
//! | --- | --- |
//! | no connection, 5xx, 429 | the reader tries again by itself; shown as retrying |
//! | 401, 403 | waits for another token or server, asks again once a minute |
//! | 404, and the session waits to be made | waits for that |
//! | 404, 410 otherwise | *gone*: everything local is kept and marked (L14); asks again once a minute |
//! | 400 | the offset is of another stream: reads from the start and compares (L14) |
//! | closed | ends for good (L10) |
//! | anything else | asks again every half minute |

use std::time::Duration;

use durable_stream::{Batch, Error, Follow, FollowOptions, FollowState, Live, Nudge, Offset};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connected;
use crate::summary::{Connection, ConnectionState};

/// Pause before a server is asked again that refused or does not know the session.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Pause after an answer that makes no sense.
const ASK_STRANGER: Duration = Duration::from_secs(30);
/// Pause before a session is asked for again that is just being made.
const ASK_NEW: Duration = Duration::from_secs(2);

/// An arrival over the line.
pub(super) enum Arrival {
    Batch(Batch),
    /// Another state of the reader: see [`StreamLine::hear`].
    State,
    Failed(Error),
    /// The end of the reader, which comes without a word only after the stream was closed.
    Ended,
}

/// The line of one session.
pub(super) struct StreamLine {
    /// The generation of the line, by the hub; `None`: the session is not to be followed.
    generation: Option<u64>,
    reader: Option<Follow>,
    nudge: Nudge,
    states: watch::Receiver<FollowState>,
    hear: watch::Sender<FollowState>,
    retry_at: Option<Instant>,
    closed: bool,
    /// Everything was read since the line was opened.
    caught_up: bool,
    connection: Connection,
}

impl StreamLine {
    /// A line that is not open yet. `synced_at`: when the session was last up to date.
    pub(super) fn new(closed: bool, synced_at: Option<String>) -> Self {
        let (hear, states) = watch::channel(FollowState::Connecting);
        let state = if closed { ConnectionState::Closed } else { ConnectionState::Offline };
        Self {
            generation: None,
            reader: None,
            nudge: Nudge::new(),
            states,
            hear,
            retry_at: None,
            closed,
            caught_up: false,
            connection: Connection { state, synced_at, ..Connection::default() },
        }
    }

    /// State of the line, for the window.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Follows the stream by a line of this generation, or no more.
    pub(super) fn follow(&mut self, generation: Option<u64>) {
        self.generation = generation;
        if generation.is_none() {
            self.hang_up();
        }
    }

    /// Whether the session is to be followed.
    pub(super) fn is_followed(&self) -> bool {
        self.generation.is_some()
    }

    /// Whether everything was read at some point of this connection.
    pub(super) fn is_live(&self) -> bool {
        self.connection.state == ConnectionState::Live
    }

    /// The generation of the line, when it has said all that can be had now.
    pub(super) fn caught_up(&self) -> Option<u64> {
        let has_said_all = matches!(
            self.connection.state,
            ConnectionState::Live
                | ConnectionState::Closed
                | ConnectionState::Gone
                | ConnectionState::Refused
        );
        self.generation.filter(|_| has_said_all)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the server said that it does not have the session any more.
    pub(super) fn is_gone(&self) -> bool {
        self.connection.state == ConnectionState::Gone
    }

    /// Stops reading for good.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.reader = None;
        self.retry_at = None;
        self.set(ConnectionState::Closed, Some("stream-closed"), None, None);
    }

    /// Whether [`StreamLine::open`] may be called: nothing is read, and nothing is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.reader.is_none() && self.retry_at.is_none()
    }

    /// Starts reading from `offset`, if it should and can.
    pub(super) fn open(&mut self, connected: Option<&Connected>, id: &str, offset: Option<&str>) {
        if self.reader.is_some() || self.closed || self.generation.is_none() {
            return;
        }
        let Some(connected) = connected else { return };
        let from = offset.map_or(Offset::Beginning, Offset::from);
        self.hear.send_replace(FollowState::Connecting);
        self.states.mark_unchanged();
        let hear = self.hear.clone();
        let options = FollowOptions::new(from, Live::Auto)
            .nudge(self.nudge.clone())
            // A state that was heard twice is not news.
            .on_state(move |state| {
                hear.send_if_modified(|known| {
                    let news = *known != state;
                    if news {
                        *known = state;
                    }
                    news
                });
            });
        self.reader = Some(connected.client.stream(id).follow_with(options));
        self.retry_at = None;
        self.caught_up = false;
        self.set(ConnectionState::Connecting, None, None, None);
    }

    /// Stops reading; [`StreamLine::open`] goes on.
    pub(super) fn hang_up(&mut self) {
        self.reader = None;
        self.retry_at = None;
        if !self.closed {
            self.set(ConnectionState::Offline, None, None, None);
        }
    }

    /// Tries whatever waits now. Returns whether the line should be opened.
    pub(super) fn nudge(&mut self) -> bool {
        self.nudge.wake();
        self.reader.is_none() && self.retry_at.take().is_some()
    }

    /// Time at which to call [`StreamLine::due`].
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether it is time to open the line again.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = self.retry_at.is_some_and(|at| at <= now);
        if due {
            self.retry_at = None;
        }
        due
    }

    /// Waits for the next arrival; for ever when nothing is read.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Arrival {
        let Self { reader: Some(reader), states, .. } = self else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            // The sender lives as long as the line.
            _ = states.changed() => Arrival::State,
            batch = reader.next() => match batch {
                Some(Ok(batch)) => Arrival::Batch(batch),
                Some(Err(error)) => Arrival::Failed(error),
                None => Arrival::Ended,
            },
        }
    }

    /// Takes note of what the reader does. Returns whether the window should know.
    pub(super) fn hear(&mut self) -> bool {
        let state = self.states.borrow_and_update().clone();
        if self.reader.is_none() {
            return false;
        }
        let before = self.connection.clone();
        match state {
            // A reconnect of a moment is no news to a person who was up to date.
            FollowState::Connecting | FollowState::CatchingUp if self.is_live() => {}
            FollowState::Connecting => self.set(ConnectionState::Connecting, None, None, None),
            FollowState::CatchingUp => self.set(ConnectionState::CatchingUp, None, None, None),
            FollowState::Retrying { at, cause_code, status, .. } => {
                let retry_at = jiff::Timestamp::try_from(at).ok().map(|at| format!("{at:.3}"));
                let message = match status {
                    Some(status) => format!("The server has a problem (HTTP {status})."),
                    None => "The server cannot be reached.".to_owned(),
                };
                let state = ConnectionState::Retrying;
                self.set(state, Some(cause_code), Some(message), retry_at);
            }
            // There was nothing new after a reconnect.
            FollowState::Live if self.caught_up => {
                self.set(ConnectionState::Live, None, None, None)
            }
            // Said by `arrived`, when the last batch was folded.
            _ => {}
        }
        before != self.connection
    }

    /// Takes note of a batch that was folded.
    pub(super) fn arrived(&mut self, up_to_date: bool, closed: bool, now_text: &str) {
        if closed {
            self.closed = true;
            self.reader = None;
            self.set(
                ConnectionState::Closed,
                Some("stream-closed"),
                Some("This session is closed. It can be read, not written.".to_owned()),
                None,
            );
        } else if up_to_date {
            self.caught_up = true;
            self.set(ConnectionState::Live, None, None, None);
        } else if !self.is_live() {
            self.set(ConnectionState::CatchingUp, None, None, None);
        }
        if up_to_date || closed {
            self.connection.synced_at = Some(now_text.to_owned());
        }
    }

    /// Takes note of a reader that gave up. `awaited`: the session waits to be made on the server.
    pub(super) fn failed(&mut self, error: &Error, awaited: bool, now: Instant) {
        self.reader = None;
        let (state, wait, message): (_, _, &str) = match error {
            Error::NotFound { .. } if awaited => {
                (ConnectionState::Connecting, ASK_NEW, "This session is being made on the server.")
            }
            Error::NotFound { .. } | Error::Gone { .. } => (
                ConnectionState::Gone,
                ASK_AGAIN,
                "The server does not have this session any more. What is here is kept.",
            ),
            Error::Unauthorized { .. } => (
                ConnectionState::Refused,
                ASK_AGAIN,
                "The server refuses the token. Sign in to it again with another.",
            ),
            Error::Forbidden { .. } => (
                ConnectionState::Refused,
                ASK_AGAIN,
                "You are not allowed to read this session. Ask its owner for access.",
            ),
            Error::NoCertificates { .. } => {
                (ConnectionState::Refused, ASK_AGAIN, durable_stream::NO_CERTIFICATES)
            }
            _ => (
                ConnectionState::Retrying,
                ASK_STRANGER,
                "The server's answer cannot be understood. Check its address.",
            ),
        };
        self.retry_at = Some(now + wait);
        self.set(state, Some(error.code()), Some(message.to_owned()), None);
    }

    fn set(
        &mut self,
        state: ConnectionState,
        code: Option<&str>,
        message: Option<String>,
        retry_at: Option<String>,
    ) {
        let synced_at = self.connection.synced_at.take();
        let code = code.map(str::to_owned);
        self.connection = Connection { state, code, message, retry_at, synced_at };
    }
}
