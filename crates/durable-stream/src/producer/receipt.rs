//! What becomes of items, and of the producer.

use crate::error::Error;
use crate::offset::Offset;

/// Where a producer stands: what to start the next one with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch it wrote in.
    pub epoch: u64,
    /// The number its next batch would have had.
    pub next_seq: u64,
}

/// An item that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The end of the stream after the item's batch.
    pub next_offset: Option<Offset>,
    /// The batch had been stored by an attempt whose answer was lost.
    pub duplicate: bool,
    /// The epoch of the batch.
    pub epoch: u64,
    /// The number of the batch.
    pub seq: u64,
}

/// The error of a producer that has ended.
pub(super) fn stopped() -> Error {
    Error::ProducerStopped { code: "ended" }
}
