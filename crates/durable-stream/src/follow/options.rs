//! How a reader follows, and what it tells of itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::nudge::Nudge;
use crate::offset::Offset;
use crate::retry::RetryPolicy;

/// How to go on once everything there is has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Live {
    /// Not at all: the stream of batches ends.
    No,
    /// By an event stream, or by long polls where that is refused or held back on the way, and for `text/*`, which
    /// an event stream does not carry byte for byte (line ends and leading spaces).
    #[default]
    Auto,
    /// By an event stream only.
    Sse,
    /// By long polls only.
    LongPoll,
}

/// What a reader is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowState {
    /// It opens a connection.
    Connecting,
    /// It reads what there is.
    CatchingUp,
    /// It has everything and waits for more.
    Live,
    /// An attempt failed, and it waits for the next.
    Retrying {
        /// How many attempts have failed in a row, from 1.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
        /// When it tries again, unless it is nudged before.
        at: SystemTime,
        /// The [`code`](Error::code) of the failure.
        cause_code: &'static str,
        /// The HTTP status of the failure, if it had one.
        status: Option<u16>,
    },
}

/// A function that hears what a reader is doing.
pub type OnState = Arc<dyn Fn(FollowState) + Send + Sync>;

/// How to follow a stream.
///
/// # Examples
///
/// ```
/// use durable_stream::{FollowOptions, FollowState, Live, Offset};
///
/// let options = FollowOptions::new(Offset::Beginning, Live::Auto).on_state(|state| {
///     if let FollowState::Retrying { delay, .. } = state {
///         eprintln!("offline, next attempt in {delay:?}");
///     }
/// });
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct FollowOptions {
    pub(super) from: Offset,
    pub(super) live: Live,
    pub(super) cursor: Option<String>,
    pub(super) on_state: Option<OnState>,
    pub(super) nudge: Option<Nudge>,
    pub(super) retry: Option<RetryPolicy>,
}

impl fmt::Debug for FollowOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowOptions")
            .field("from", &self.from)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl FollowOptions {
    /// Follows from a place.
    #[must_use]
    pub fn new(from: Offset, live: Live) -> Self {
        Self { from, live, ..Self::default() }
    }

    /// The cursor of the batch that `from` was taken from.
    #[must_use]
    pub fn cursor(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Tells `hear` what the reader is doing, each time that changes. Called from the task that polls the reader; it
    /// must not block.
    #[must_use]
    pub fn on_state(mut self, hear: impl Fn(FollowState) + Send + Sync + 'static) -> Self {
        self.on_state = Some(Arc::new(hear));
        self
    }

    /// Lets this nudge reach the reader, besides that of the client.
    #[must_use]
    pub fn nudge(mut self, nudge: Nudge) -> Self {
        self.nudge = Some(nudge);
        self
    }

    /// Retries by this policy instead of the client's.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }
}
