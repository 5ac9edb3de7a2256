//! Options and states of readers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::nudge::Nudge;
use crate::offset::Offset;
use crate::retry::RetryPolicy;

/// How to go on once everything there is has been read.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::{Live, Offset};
/// use futures::TryStreamExt;
///
/// // Everything there is now, and no more.
/// let batches: Vec<_> = stream.follow(Offset::Beginning, Live::No).try_collect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Live {
    /// Not at all: the stream of batches ends.
    No,
    /// By an event stream, or by long polls where that is refused or held back on the way, and for
    /// `text/*`, which an event stream does not carry byte for byte (line ends and leading spaces).
    #[default]
    Auto,
    /// By an event stream only.
    Sse,
    /// By long polls only.
    LongPoll,
}

/// The present doing of a reader.
///
/// # Examples
///
/// ```
/// use durable_stream::FollowState;
///
/// fn describe(state: &FollowState) -> String {
///     match state {
///         FollowState::Live => "connected".to_owned(),
///         FollowState::Retrying { delay, cause_code, .. } => {
///             format!("{cause_code}; next attempt in {} s", delay.as_secs())
///         }
///         _ => "connecting".to_owned(),
///     }
/// }
/// assert_eq!(describe(&FollowState::Live), "connected");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowState {
    /// Opening a connection.
    Connecting,
    /// Reading what there is.
    CatchingUp,
    /// Connected, with everything there is, and waiting for more.
    Live,
    /// Waiting for the next attempt after one that failed.
    Retrying {
        /// Number of attempts that have failed in a row, from 1.
        attempt: u32,
        /// Length of the wait.
        delay: Duration,
        /// Time of the next attempt, unless a nudge comes before.
        at: SystemTime,
        /// The [`code`](crate::Error::code) of the failure.
        cause_code: &'static str,
        /// The HTTP status of the failure, if it had one.
        status: Option<u16>,
    },
}

/// A function that hears what a reader is doing.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use durable_stream::OnState;
///
/// let print: OnState = Arc::new(|state| println!("{state:?}"));
/// # let _ = print;
/// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{FollowOptions, Live, Offset};
    ///
    /// let options = FollowOptions::new(Offset::from("0000_0042"), Live::Auto);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn new(from: Offset, live: Live) -> Self {
        Self { from, live, ..Self::default() }
    }

    /// The cursor of the batch that `from` was taken from.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{Batch, FollowOptions, Live};
    ///
    /// fn go_on_after(batch: &Batch) -> FollowOptions {
    ///     FollowOptions::new(batch.next_offset.clone(), Live::Auto).cursor(batch.cursor.clone())
    /// }
    /// # let _ = go_on_after;
    /// ```
    #[must_use]
    pub fn cursor(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Tells `hear` what the reader is doing, each time that changes. Called from the task that
    /// polls the reader; it must not block.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{FollowOptions, FollowState, Live, Offset};
    ///
    /// let (tell, states) = std::sync::mpsc::channel::<FollowState>();
    /// let options = FollowOptions::new(Offset::Beginning, Live::Auto).on_state(move |state| {
    ///     // Whoever listened may be gone.
    ///     tell.send(state).ok();
    /// });
    /// # let _ = (options, states);
    /// ```
    #[must_use]
    pub fn on_state(mut self, hear: impl Fn(FollowState) + Send + Sync + 'static) -> Self {
        self.on_state = Some(Arc::new(hear));
        self
    }

    /// Lets this nudge reach the reader, besides that of the client.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{FollowOptions, Live, Nudge, Offset};
    ///
    /// let nudge = Nudge::new();
    /// let options = FollowOptions::new(Offset::Beginning, Live::Auto).nudge(nudge.clone());
    /// // Later: the window has focus again.
    /// nudge.wake();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn nudge(mut self, nudge: Nudge) -> Self {
        self.nudge = Some(nudge);
        self
    }

    /// Retries by this policy instead of the client's.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::{FollowOptions, Live, Offset, RetryPolicy};
    ///
    /// let options = FollowOptions::new(Offset::Beginning, Live::Auto).retry(RetryPolicy::none());
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }
}
