//! An open event stream: pieces in, batches out.

use std::time::Duration;

use tokio::time::Instant;

use super::batch::Batch;
use crate::body::Collector;
use crate::error::Error;
use crate::limits::Limits;
use crate::media::Framing;
use crate::offset::Offset;
use crate::pairing::{Pair, Pairing, PairingError};
use crate::sse::{SseDecoder, SseEvent};
use crate::transport::Response;

/// Age at which an event stream was worth opening, whatever it brought.
const WORTHWHILE: Duration = Duration::from_secs(1);

/// An open event stream.
pub(super) struct Events {
    response: Response,
    decoder: SseDecoder,
    pairing: Pairing,
    /// Events of the piece in hand; the room is used again.
    decoded: Vec<SseEvent>,
    opened: Instant,
    /// Place that the last control event gave, also inside an item.
    place: Offset,
    /// A control event has come.
    spoke: bool,
    /// The place has moved.
    moved: bool,
}

/// The events of one piece.
pub(super) struct Decoded {
    /// All that was committed, as one batch.
    pub(super) batch: Option<Batch>,
    /// The error behind it. `None` once the stream is closed: nothing after that counts.
    pub(super) failed: Option<Error>,
}

impl Events {
    /// Takes over an answer that is an event stream, read from `place`. `known` is the framing of
    /// the stream where the answer does not say it.
    pub(super) fn new(response: Response, known: Framing, place: Offset, limits: &Limits) -> Self {
        let reply = response.reply();
        let framing = reply.sse_content_type().map_or(known, Framing::of);
        let collector = Collector::new(framing, limits.items, limits.sse_event);
        let pairing = Pairing::new(collector, reply.is_base64_sse(), limits.sse_event);
        Self {
            decoder: SseDecoder::new(limits.sse_line, limits.sse_event),
            pairing,
            response,
            decoded: Vec::new(),
            opened: Instant::now(),
            place,
            spoke: false,
            moved: false,
        }
    }

    /// Whether a control event has come.
    pub(super) fn spoke(&self) -> bool {
        self.spoke
    }

    /// Whether the event stream brought something or lived for a while.
    pub(super) fn was_worthwhile(&self) -> bool {
        self.moved || self.opened.elapsed() >= WORTHWHILE
    }

    /// Reads one piece. `None` at the end of the event stream.
    ///
    /// `cursor` is the one of the last batch, for control events that give none.
    pub(super) async fn read(
        &mut self,
        idle: Duration,
        cursor: Option<&str>,
    ) -> Result<Option<Decoded>, Error> {
        let piece = self.response.piece(idle).await?;
        Ok(piece.map(|piece| self.decode(&piece, cursor)))
    }

    /// The error of an event stream that ended too soon.
    pub(super) fn interrupted(&self) -> Error {
        Error::Interrupted { url: self.response.url().clone(), source: None }
    }

    fn decode(&mut self, piece: &[u8], cursor: Option<&str>) -> Decoded {
        let url = self.response.url().clone();
        let mut decoded = std::mem::take(&mut self.decoded);
        let fed = self.decoder.feed(piece, &mut decoded);
        let mut delivery = Decoded { batch: None, failed: None };
        for event in decoded.drain(..) {
            match self.pairing.event(&event) {
                Ok(Some(pair)) => self.take(pair, &mut delivery.batch, cursor),
                Ok(None) => {}
                Err(PairingError::Sse(source)) => {
                    delivery.failed = Some(Error::Sse { url: url.clone(), source });
                }
                Err(PairingError::Body(source)) => {
                    delivery.failed = Some(Error::Body { url: url.clone(), source });
                }
            }
            if delivery.failed.is_some() || delivery.is_last() {
                break;
            }
        }
        self.decoded = decoded;
        if let Err(source) = fed
            && delivery.failed.is_none()
            && !delivery.is_last()
        {
            delivery.failed = Some(Error::Sse { url, source });
        }
        delivery
    }

    fn take(&mut self, pair: Pair, batch: &mut Option<Batch>, cursor: Option<&str>) {
        let control = pair.control;
        self.spoke = true;
        let moved = self.place != control.next_offset;
        self.moved |= moved;
        self.place.clone_from(&control.next_offset);
        // The place is inside an item, whose rest is still to come.
        let Some(items) = pair.items else { return };
        let batch = batch.get_or_insert_with(|| Batch {
            items: Vec::new(),
            next_offset: Offset::Beginning,
            cursor: cursor.map(str::to_owned),
            up_to_date: false,
            closed: false,
        });
        // Data that does not move the offset was sent before: something on the way repeated it.
        if moved {
            batch.items.extend(items);
        }
        batch.next_offset = control.next_offset;
        batch.cursor = control.cursor.or(batch.cursor.take());
        batch.up_to_date = control.up_to_date || control.closed;
        batch.closed = control.closed;
    }
}

impl Decoded {
    /// Whether the stream is closed with this batch.
    pub(super) fn is_last(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.closed)
    }
}
