//! Deliveries of a reader.

use std::fmt;

use bytes::Bytes;

use crate::offset::Offset;

/// One delivery: items, and the place after them. Store both together, or neither.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::{Live, Offset};
/// use futures::TryStreamExt;
///
/// let (mut items, mut place) = (Vec::new(), Offset::Beginning);
/// let mut batches = stream.follow(place.clone(), Live::No);
/// while let Some(batch) = batches.try_next().await? {
///     // Both or neither: a reader from `place` goes on exactly behind `items`.
///     items.extend(batch.items);
///     place = batch.next_offset;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// For a stream of JSON items each item as it was sent, byte for byte; for any other the bytes
    /// in pieces of any size. May be empty, when only the rest of the batch is news.
    pub items: Vec<Bytes>,
    /// Where to go on after these items.
    pub next_offset: Offset,
    /// To be sent with the next live request, so that caches in between can share answers.
    pub cursor: Option<String>,
    /// The batch reaches the end of the stream as it is now. More may come.
    pub up_to_date: bool,
    /// The batch reaches the end of the stream for good. Nothing comes after it.
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
