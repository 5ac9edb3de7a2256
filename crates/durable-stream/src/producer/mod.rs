//! Writing so that every item is stored exactly once, however often requests have to be repeated.
//!
//! A producer collects items into batches, numbers the batches, and keeps several under way. The
//! server stores a number once and in order (PROTOCOL.md §5.2.1), so a batch whose answer was lost
//! is sent again, byte for byte the same, until its fate is known. Where a fate cannot be known,
//! the producer stops and says so: it never guesses.
//!
//! One task owns the numbering; handles send it items (`task`). A batch that came before its
//! predecessor waits for it and is sent again; one that is too large for the server is halved; a
//! producer that was replaced claims the next epoch if it may.

mod batch;
mod options;
mod receipt;
mod task;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::append::Closed;
use crate::error::Error;
use crate::handle::StreamHandle;
use batch::{BodyShape, QueuedItem};
use receipt::stopped;
use task::{Command, Task};

pub use options::ProducerOptions;
pub use receipt::{Position, Receipt};

/// The fate of one item, to be awaited. Dropping it changes nothing about the item.
///
/// # Examples
///
/// ```no_run
/// # async fn run(producer: durable_stream::Producer) -> Result<(), durable_stream::Error> {
/// let first = producer.append(r#"{"n":1}"#).await?;
/// let second = producer.append(r#"{"n":2}"#).await?;
/// // Both may share a batch.
/// first.await?;
/// second.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an item is stored only when its receipt has come"]
pub struct Pending {
    receipt: oneshot::Receiver<Result<Receipt, Error>>,
}

impl Future for Pending {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receipt).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(stopped())))
    }
}

/// Writes items in order and exactly once. A clone is the same producer.
///
/// When the last clone is dropped, what was appended is still sent, in the background, as long as
/// the runtime lives; [`detach`](Self::detach) or [`close`](Self::close) waits for it.
///
/// # Examples
///
/// ```no_run
/// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
/// use durable_stream::ProducerOptions;
///
/// let producer = stream.producer(ProducerOptions::new("importer-3"))?;
/// producer.append(r#"{"n":1}"#).await?.await?;
/// producer.close(None).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Semaphore>,
    max_room: u32,
    json: bool,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl StreamHandle {
    /// Starts a producer, whose task runs until all its clones are dropped.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the options do not [validate](ProducerOptions::validate).
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(stream: durable_stream::StreamHandle) -> Result<(), durable_stream::Error> {
    /// use durable_stream::{Bytes, ProducerOptions};
    ///
    /// let producer = stream.producer(ProducerOptions::new("importer-3"))?;
    /// for number in 0..10_000 {
    ///     drop(producer.append(Bytes::from(format!("{{\"n\":{number}}}"))).await?);
    /// }
    /// producer.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        options.validate()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let max_room = u32::try_from(options.max_pending_bytes.min(Semaphore::MAX_PERMITS))
            .unwrap_or(u32::MAX);
        let body = BodyShape::of(&options.content_type);
        let producer = Producer {
            commands,
            room: Arc::new(Semaphore::new(max_room as usize)),
            max_room,
            json: body == BodyShape::JsonArray,
        };
        tokio::spawn(Task::new(self.clone(), options, body, inbox).run());
        Ok(producer)
    }
}

impl Producer {
    /// Takes an item to be stored after all items appended before. For a JSON stream it is one JSON
    /// value.
    ///
    /// Waits only while too many bytes are under way. The item is stored when the [`Pending`] says
    /// so.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the item is empty or not valid JSON; then it has no effect on
    /// other items.
    ///
    /// # Cancel safety
    ///
    /// If it is given up while it waits the item was not taken.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(producer: durable_stream::Producer) -> Result<(), durable_stream::Error> {
    /// // Taken; stored when the receipt comes.
    /// let pending = producer.append(r#"{"n":1}"#).await?;
    /// let receipt = pending.await?;
    /// println!("the stream ends at {:?}", receipt.next_offset);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn append(&self, item: impl Into<Bytes>) -> Result<Pending, Error> {
        let bytes = item.into();
        self.check(&bytes)?;
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.max_room);
        let room = Arc::clone(&self.room).acquire_many_owned(size).await;
        let room = room.expect("the semaphore is never closed");
        let (answer, receipt) = oneshot::channel();
        self.send(Command::Append(QueuedItem { bytes, answer, _room: Some(room) }))?;
        Ok(Pending { receipt })
    }

    /// Waits until everything appended before is stored.
    ///
    /// # Errors
    ///
    /// The error that stopped the producer.
    ///
    /// # Cancel safety
    ///
    /// Safe: the items are sent all the same.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(producer: durable_stream::Producer) -> Result<(), durable_stream::Error> {
    /// for n in 0..1_000 {
    ///     drop(producer.append(format!(r#"{{"n":{n}}}"#)).await?);
    /// }
    /// producer.flush().await?;
    /// println!("all thousand are stored");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(Command::Flush).await
    }

    /// Waits until everything appended before is stored and closes the stream, in one step with
    /// `last` if there is one.
    ///
    /// # Errors
    ///
    /// The error that stopped the producer; [`Error::StreamClosed`] if another closed the stream.
    ///
    /// # Cancel safety
    ///
    /// The stream is closed all the same.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(producer: durable_stream::Producer) -> Result<(), durable_stream::Error> {
    /// let closed = producer.close(Some(r#"{"done":true}"#.into())).await?;
    /// println!("the stream ends at {:?} for good", closed.next_offset);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self, last: Option<Bytes>) -> Result<Closed, Error> {
        if let Some(bytes) = &last {
            self.check(bytes)?;
        }
        self.ask(|reply| Command::Close { last, reply }).await
    }

    /// Waits until everything appended before is stored and ends the producer without closing the
    /// stream.
    ///
    /// # Errors
    ///
    /// The error that stopped the producer.
    ///
    /// # Cancel safety
    ///
    /// The producer ends all the same.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(producer: durable_stream::Producer) -> Result<(), durable_stream::Error> {
    /// let position = producer.detach().await?;
    /// println!("start the next run in epoch {} with {}", position.epoch, position.next_seq);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn detach(&self) -> Result<Position, Error> {
        self.ask(Command::Detach).await
    }

    fn check(&self, bytes: &Bytes) -> Result<(), Error> {
        let invalid = |reason| Err(Error::InvalidInput { what: "item", reason });
        if bytes.is_empty() {
            return invalid("it must not be empty");
        }
        if self.json && serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_err() {
            return invalid("it is not one JSON value");
        }
        Ok(())
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).map_err(|_| stopped())
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}
