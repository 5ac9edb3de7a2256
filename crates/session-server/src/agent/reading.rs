//! Reads what an agent or a model answers, within the limits of the server.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::lines::{AgentEvent, Lines, TooLong};
use crate::{
    budget::Hold,
    config::Limits,
    pace::Pace,
    run::{RunSink, Stopped},
};

/// Bytes that are decoded in one step.
const SLICE: usize = 64 << 10;
/// Bytes of an unfinished chunk that are not worth counting: what is behind a finished one in its slice, so that
/// nothing is held while room for the finished one is waited for.
const SMALL: usize = 2 * SLICE;

/// Time in which something may follow behind `[DONE]`: some send their usage there, and leave the connection open.
const AFTER_DONE: Duration = Duration::from_secs(1);

/// Why an answer cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A line, an event or a chunk is longer than it may be.
    LongChunk,
    /// The answer as a whole is longer than it may be.
    LongAnswer,
    /// The connection broke.
    CutOff,
    /// The run was stopped.
    Stopped,
}

impl From<TooLong> for Unreadable {
    fn from(_: TooLong) -> Self {
        Self::LongChunk
    }
}

impl From<Stopped> for Unreadable {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// An answer, read event by event.
///
/// One that does not end, or has no end of a line, costs no more than one chunk. It never keeps a worker
/// ([`Pace`]).
pub(crate) struct Reading {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    /// Bytes that came and are not decoded yet.
    piece: Bytes,
    lines: Lines,
    /// Bytes that the answer may still have.
    left: u64,
    pace: Pace,
    over: bool,
    /// The answer has said its end: what does not come until then is not waited for.
    ends_by: Option<Instant>,
    /// Room for the unfinished chunk, taken from the agent's share.
    hold: Option<Hold>,
    /// Bytes that `hold` is for.
    room: usize,
    sink: RunSink,
}

impl Reading {
    pub(crate) fn new(response: Response, limits: &Limits, sink: RunSink) -> Self {
        Self {
            bytes: response.bytes_stream().boxed(),
            piece: Bytes::new(),
            lines: Lines::new(limits.chunk_bytes),
            left: limits.answer_bytes,
            pace: Pace::default(),
            over: false,
            ends_by: None,
            hold: None,
            room: SMALL,
            sink,
        }
    }

    /// The next events, one or more, or `None` when the answer is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<AgentEvent>>, Unreadable> {
        while !self.over {
            let slice = match self.ends_by {
                Some(at) => match timeout_at(at, self.slice()).await {
                    // It was complete before it broke.
                    Err(_) | Ok(Err(Unreadable::CutOff)) => None,
                    Ok(slice) => slice?,
                },
                None => self.slice().await?,
            };
            let Some(slice) = slice else { break };
            let events = self.lines.push(&slice)?;
            if self.lines.is_done() {
                self.end_within(AFTER_DONE);
            }
            self.make_room(self.lines.held()).await?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
        self.over = true;
        let rest = self.lines.finish();
        self.hold = None;
        Ok(Some(rest).filter(|rest| !rest.is_empty()))
    }

    /// The answer has said its end: more is waited for only so long.
    pub(crate) fn end_within(&mut self, time: Duration) {
        let at = Instant::now() + time;
        self.ends_by = Some(self.ends_by.map_or(at, |known| known.min(at)));
    }

    /// The first words that were no JSON; see [`Lines::words`].
    pub(crate) fn words(&self) -> Option<&str> {
        self.lines.words()
    }

    /// Number of things so far that were no JSON object; see [`Lines::dropped`].
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// The next bytes to decode.
    async fn slice(&mut self) -> Result<Option<Bytes>, Unreadable> {
        while self.piece.is_empty() {
            let Some(piece) = self.bytes.next().await else { return Ok(None) };
            self.piece = piece.map_err(|_| Unreadable::CutOff)?;
            let left = self.left.checked_sub(self.piece.len() as u64);
            self.left = left.ok_or(Unreadable::LongAnswer)?;
        }
        let slice = self.piece.split_to(self.piece.len().min(SLICE));
        self.pace.worked(slice.len()).await;
        Ok(Some(slice))
    }

    /// Sees to it that an unfinished chunk of so many bytes is counted.
    async fn make_room(&mut self, bytes: usize) -> Result<(), Stopped> {
        let wanted = bytes.saturating_mul(2); // what grows by doubling
        if wanted <= SMALL {
            self.hold = None;
            self.room = SMALL;
        } else if wanted > self.room {
            self.hold = None; // who waits for room holds none
            self.room = wanted.next_power_of_two();
            self.hold = Some(self.sink.hold(self.room).await?);
        }
        Ok(())
    }
}
