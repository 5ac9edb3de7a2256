//! Reading a stream, and going on reading it.
//!
//! A reader first catches up with plain requests, which caches can answer, and goes live only when the server says
//! that it has everything. Live is an event stream, or long polls where that does not get through. Whatever breaks is
//! tried again from the last offset that was *committed*: data counts only together with the offset after it, so that
//! what was delivered once never comes again and nothing is left out.
//!
//! | what the server says | what the reader does |
//! | --- | --- |
//! | up to date | goes live, or ends with [`Live::No`] |
//! | closed | delivers what came with it and ends |
//! | 408, 425, 429, 5xx, a broken or silent connection | tries again, later and later, not before `Retry-After` |
//! | any other error, or an answer that breaks the protocol | delivers the error and ends |

mod events;
mod reader;
mod state;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::Stream;
use futures::stream::{BoxStream, StreamExt};

use crate::error::Error;
use crate::handle::StreamHandle;
use crate::nudge::Nudge;
use crate::offset::Offset;
use crate::retry::RetryPolicy;
use reader::Reader;

/// One delivery: items, and the place after them. Store both together, or neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// For a stream of JSON items each item as it was sent, byte for byte; for any other the bytes in pieces of any
    /// size. May be empty, when only the rest of the batch is news.
    pub items: Vec<Bytes>,
    /// Where to go on after these items.
    pub next_offset: Offset,
    /// To be sent with the next live request, so that caches in between can share answers.
    pub cursor: Option<String>,
    /// These items reach the end of the stream as it is now. More may come.
    pub up_to_date: bool,
    /// These items reach the end of the stream for good. Nothing comes after this batch.
    pub closed: bool,
}

impl fmt::Debug for Batch {
    // L11: items are the user's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("items", &self.items.len())
            .field("next_offset", &self.next_offset)
            .field("up_to_date", &self.up_to_date)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

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
    from: Offset,
    live: Live,
    cursor: Option<String>,
    on_state: Option<OnState>,
    nudge: Option<Nudge>,
    retry: Option<RetryPolicy>,
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

/// A stream of batches. See [`StreamHandle::follow`].
#[must_use = "a reader does nothing until it is polled"]
pub struct Follow {
    batches: BoxStream<'static, Result<Batch, Error>>,
    nudge: Nudge,
}

impl Follow {
    /// Reaches this reader only. Gets it from here or gives it by [`FollowOptions::nudge`].
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

impl Stream for Follow {
    type Item = Result<Batch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl StreamHandle {
    /// Reads the stream from a place, and goes on as `live` says.
    ///
    /// Failures that may pass are retried without a word (see [`FollowOptions::on_state`]); any other is delivered as
    /// the last item. Without one the reader ends only when the stream is closed, or, with [`Live::No`], when
    /// everything was read.
    ///
    /// # Cancel safety
    ///
    /// Waiting for the next batch may be given up and taken up again. Dropping the reader closes its connection;
    /// a new one from the last batch's offset goes on where it was.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::{Live, Offset};
    /// use futures::TryStreamExt;
    ///
    /// let mut batches = stream.follow(Offset::Beginning, Live::Auto);
    /// while let Some(batch) = batches.try_next().await? {
    ///     for item in &batch.items {
    ///         println!("{}", String::from_utf8_lossy(item));
    ///     }
    ///     println!("go on later from {}", batch.next_offset);
    /// }
    /// println!("the stream is closed");
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&self, from: Offset, live: Live) -> Follow {
        self.follow_with(FollowOptions::new(from, live))
    }

    /// As [`follow`](Self::follow), with more to say.
    pub fn follow_with(&self, options: FollowOptions) -> Follow {
        let nudge = options.nudge.clone().unwrap_or_default();
        let reader = Reader::new(self.clone(), options, nudge.clone());
        let batches = futures::stream::unfold(reader, |mut reader| async {
            reader.next().await.map(|batch| (batch, reader))
        });
        Follow { batches: batches.boxed(), nudge }
    }
}
