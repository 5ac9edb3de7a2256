//! Reads what an agent or a model answers, within the limits of the server.

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use reqwest::Response;

use super::lines::{Lines, TooLong};
use crate::{
    budget::Hold,
    config::Limits,
    pace::Pace,
    turns::{RunSink, Stopped},
};

/// Bytes that are decoded in one step.
const SLICE: usize = 64 << 10;
/// Bytes of an unfinished chunk that are not worth counting: what is behind a finished one in its slice, so that nothing
/// is held while room for the finished one is waited for.
const SMALL: usize = 2 * SLICE;

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

/// An answer, read chunk by chunk.
///
/// One that does not end, or has no end of a line, costs no more than one chunk. It never keeps a worker
/// ([`Pace`]).
pub(crate) struct Reading {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    /// What came and is not decoded yet.
    piece: Bytes,
    lines: Lines,
    /// Bytes that the answer may still have.
    left: u64,
    chunk_bytes: usize,
    pace: Pace,
    over: bool,
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
            chunk_bytes: limits.chunk_bytes,
            pace: Pace::default(),
            over: false,
            hold: None,
            room: SMALL,
            sink,
        }
    }

    /// The next chunks, one or more, or `None` when the answer is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, Unreadable> {
        while !self.over {
            let Some(slice) = self.slice().await? else { break };
            let mut chunks = self.lines.push(&slice)?;
            self.over = self.lines.is_done();
            if self.over {
                chunks.extend(self.lines.finish());
            }
            self.make_room(self.lines.held()).await?;
            if !chunks.is_empty() {
                return Ok(Some(chunks));
            }
        }
        self.over = true;
        let rest = self.lines.finish();
        self.hold = None;
        Ok(Some(rest).filter(|rest| !rest.is_empty()))
    }

    /// All of an answer that is one JSON text.
    pub(crate) async fn whole(mut self) -> Result<String, Unreadable> {
        let mut all = Vec::new();
        while let Some(slice) = self.slice().await? {
            if all.len() + slice.len() > self.chunk_bytes {
                return Err(Unreadable::LongChunk);
            }
            self.make_room(all.len() + slice.len()).await?;
            all.extend_from_slice(&slice);
        }
        Ok(String::from_utf8(all)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Whether the agent said that nothing more comes.
    pub(crate) fn is_done(&self) -> bool {
        self.lines.is_done()
    }

    /// What was no JSON object so far; see [`Lines::dropped`].
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Payloads of events that were no JSON object so far.
    pub(crate) fn rubbish(&self) -> u64 {
        self.lines.rubbish()
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
