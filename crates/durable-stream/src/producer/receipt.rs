//! The fates of items, and of the producer.

use crate::error::Error;
use crate::offset::Offset;

/// Where a producer stands: what to start the next one with.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::{Position, ProducerOptions};
///
/// let producer = stream.producer(ProducerOptions::new("importer-3"))?;
/// let Position { epoch, next_seq } = producer.detach().await?;
/// // Stored, and used by the next run:
/// let options = ProducerOptions { epoch, first_seq: next_seq, ..ProducerOptions::new("importer-3") };
/// # let _ = options;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch it wrote in.
    pub epoch: u64,
    /// The number its next batch would have had.
    pub next_seq: u64,
}

/// An item that is stored.
///
/// # Examples
///
/// ```no_run
/// # async fn run(producer: durable_stream::Producer) -> Result<(), durable_stream::Error> {
/// let receipt = producer.append(r#"{"n":1}"#).await?.await?;
/// println!("stored in batch {} of epoch {}", receipt.seq, receipt.epoch);
/// # Ok(())
/// # }
/// ```
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
