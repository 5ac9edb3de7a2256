//! How a producer writes.

use std::time::Duration;

use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::wire::{MAX_PRODUCER_NUMBER, header_value};

/// How a producer works.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use durable_stream::ProducerOptions;
///
/// let options = ProducerOptions { linger: Duration::ZERO, ..ProducerOptions::new("importer-3") };
/// assert!(options.validate().is_ok());
/// assert!(ProducerOptions::new("").validate().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Name of the writer: the same across restarts, of one writer only.
    pub id: String,
    /// Which run of the writer. Start each run with a greater one, or with the same and the right
    /// `first_seq`.
    pub epoch: u64,
    /// The number of the first batch: 0 in a new epoch, else that of the
    /// [`Position`](crate::Position) the last run ended with.
    pub first_seq: u64,
    /// When the server knows a later epoch, take the one after it rather than fail. For writers
    /// that cannot remember their epoch. It shuts out whoever holds the id now.
    ///
    /// A batch that may have been stored before the refusal is not sent again under the new epoch,
    /// since it could be stored twice: the producer fails with [`Error::Fenced`] then.
    pub auto_claim: bool,
    /// The content type of the stream. Default `application/json`.
    pub content_type: String,
    /// The greatest body of one batch; a single item may be larger. Default 1 MiB.
    pub max_batch_bytes: usize,
    /// The greatest number of items in one batch. Default 1,000.
    pub max_batch_items: usize,
    /// Time that an item may wait for others to share its batch. Default 5 ms.
    pub linger: Duration,
    /// Number of batches that may be under way at once. Default 5.
    pub max_in_flight: usize,
    /// Bytes of items that may wait for their answer before
    /// [`Producer::append`](crate::Producer::append) waits. Default 16 MiB.
    pub max_pending_bytes: usize,
    /// How a batch is retried. `None`: as the client retries requests.
    pub retry: Option<RetryPolicy>,
}

impl ProducerOptions {
    /// The defaults for a producer of this name, at the start of epoch 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::ProducerOptions;
    ///
    /// let options = ProducerOptions::new("importer-3");
    /// assert_eq!((options.epoch, options.first_seq), (0, 0));
    /// ```
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            epoch: 0,
            first_seq: 0,
            auto_claim: false,
            content_type: "application/json".to_owned(),
            max_batch_bytes: 1 << 20,
            max_batch_items: 1000,
            linger: Duration::from_millis(5),
            max_in_flight: 5,
            max_pending_bytes: 16 << 20,
            retry: None,
        }
    }

    /// Whether a producer can work so.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the id is empty or not allowed in a header, a number is greater
    /// than 2⁵³ − 1, or a limit is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::ProducerOptions;
    ///
    /// let options = ProducerOptions { max_in_flight: 0, ..ProducerOptions::new("importer-3") };
    /// assert!(options.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |what, reason| Err(Error::InvalidInput { what, reason });
        if self.id.is_empty() {
            return invalid("producer id", "it must not be empty");
        }
        header_value("producer id", &self.id)?;
        header_value("content type", &self.content_type)?;
        if self.epoch > MAX_PRODUCER_NUMBER || self.first_seq > MAX_PRODUCER_NUMBER {
            return invalid("producer", "epoch and sequence must be at most 2^53 - 1");
        }
        if self.max_batch_bytes == 0 || self.max_batch_items == 0 {
            return invalid("producer", "a batch must have room for something");
        }
        if self.max_in_flight == 0 || self.max_pending_bytes == 0 {
            return invalid("producer", "there must be room for something under way");
        }
        Ok(())
    }
}
