//! Reading a stream, and going on reading it.
//!
//! A reader first catches up with plain requests, which caches can answer, and goes live only when
//! the server says that it has everything. Live is an event stream, or long polls where that does
//! not get through. Whatever breaks is tried again from the last offset that was *committed*: data
//! counts only together with the offset after it, so that what was delivered once never comes again
//! and nothing is left out.
//!
//! | what the server says | what the reader does |
//! | --- | --- |
//! | up to date | goes live, or ends with [`Live::No`] |
//! | closed | delivers what came with it and ends |
//! | 408, 425, 429, 5xx, a broken or silent connection | tries again, later and later, not before `Retry-After` |
//! | any other error, or an answer that breaks the protocol | delivers the error and ends |

mod batch;
mod events;
mod options;
mod reader;
mod state;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{BoxStream, StreamExt};

use crate::error::Error;
use crate::handle::StreamHandle;
use crate::nudge::Nudge;
use crate::offset::Offset;
use reader::Reader;

pub use batch::Batch;
pub use options::{FollowOptions, FollowState, Live, OnState};

/// A stream of batches. See [`StreamHandle::follow`].
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::{Follow, Live, Offset};
/// use futures::TryStreamExt;
///
/// let mut batches: Follow = stream.follow(Offset::Beginning, Live::Auto);
/// while let Some(batch) = batches.try_next().await? {
///     println!("{} items", batch.items.len());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a reader does nothing until it is polled"]
pub struct Follow {
    batches: BoxStream<'static, Result<Batch, Error>>,
    nudge: Nudge,
}

impl Follow {
    /// Reaches this reader only. Gets it from here or gives it by [`FollowOptions::nudge`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::{Live, Offset};
    ///
    /// let batches = stream.follow(Offset::Beginning, Live::Auto);
    /// let nudge = batches.nudge();
    /// // From anywhere, while another task polls `batches`:
    /// nudge.reconnect();
    /// # Ok(())
    /// # }
    /// ```
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
    /// Failures that may pass are retried without a word (see [`FollowOptions::on_state`]); any
    /// other is delivered as the last item. Without one the reader ends only when the stream is
    /// closed, or, with [`Live::No`], when everything was read.
    ///
    /// # Cancel safety
    ///
    /// Waiting for the next batch may be given up and taken up again. Dropping the reader closes
    /// its connection; a new one from the last batch's offset goes on where it was.
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

    /// Follows the stream as [`follow`](Self::follow) does, with more to say.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::{FollowOptions, Live, Offset};
    /// use futures::TryStreamExt;
    ///
    /// let options = FollowOptions::new(Offset::Beginning, Live::Auto)
    ///     .on_state(|state| println!("{state:?}"));
    /// let mut batches = stream.follow_with(options);
    /// while let Some(batch) = batches.try_next().await? {
    ///     println!("{} items", batch.items.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow_with(&self, options: FollowOptions) -> Follow {
        let nudge = options.nudge.clone().unwrap_or_default();
        let reader = Reader::new(self.clone(), options, nudge.clone());
        let batches = futures::stream::unfold(reader, |mut reader| async {
            reader.next().await.map(|batch| (batch, reader))
        });
        Follow { batches: batches.boxed(), nudge }
    }
}
