//! Appending and closing, with what makes a repeated request store nothing twice.

use bytes::Bytes;
use durable_streams_server::{
    protocol::{error::Error, offset::Offset, producer::ProducerHeaders},
    storage::ProducerAppendResult,
};
use rusqlite::{OptionalExtension, params};

use super::{
    schema::message_id,
    stream::Stream,
    tx::{Effect, Stop, Tx},
};

/// A producer that was silent for this long (ms) is forgotten.
const PRODUCER_AGE: i64 = 7 * 24 * 3600 * 1000;

/// Bytes of a full stream that are left for its ends.
const BEYOND: u64 = 1 << 20;

/// One append.
pub(crate) struct Append {
    pub(crate) stream: String,
    pub(crate) items: Vec<Bytes>,
    /// Compared with the stream's, without regard to case.
    pub(crate) content_type: String,
    /// Marks the request, so that a repetition is known.
    pub(crate) producer: Option<ProducerHeaders>,
    /// The `Stream-Seq` of several writers that take turns.
    pub(crate) writer_seq: Option<String>,
    pub(crate) close: bool,
    /// The append may make the stream a little longer than streams may be.
    pub(crate) beyond: bool,
}

impl Append {
    pub(super) fn size(&self) -> usize {
        self.items.iter().map(Bytes::len).sum()
    }

    /// Stores the items, or finds that they are stored already. An append without a producer has
    /// epoch and seq 0.
    pub(super) fn run(
        &self,
        tx: &mut Tx<'_>,
        max: Option<u64>,
    ) -> Result<ProducerAppendResult, Stop> {
        let mut stream = Stream::usable(tx.db, &self.stream, tx.now)?;
        if self.producer.is_none() && stream.closed {
            return Err(Error::StreamClosed.into());
        }
        if !self.items.is_empty()
            && !self.content_type.eq_ignore_ascii_case(&stream.config.content_type)
        {
            return Err(Error::ContentTypeMismatch {
                expected: stream.config.content_type,
                actual: self.content_type.clone(),
            }
            .into());
        }
        if let Some(producer) = &self.producer
            && let Some((epoch, seq)) = repeated(tx, &stream, producer)?
        {
            let (next_offset, closed) = (stream.tail(), stream.closed);
            return Ok(ProducerAppendResult::Duplicate { epoch, seq, next_offset, closed });
        }
        if let (Some(last), Some(new)) = (&stream.writer_seq, &self.writer_seq)
            && new <= last
        {
            return Err(
                Error::SeqOrderingViolation { last: last.clone(), received: new.clone() }.into()
            );
        }
        let size = self.size() as u64;
        let beyond = if self.beyond { BEYOND } else { 0 };
        if max.is_some_and(|max| stream.bytes.saturating_add(size) > max.saturating_add(beyond)) {
            return Err(Error::StreamSizeLimitExceeded.into());
        }

        put(tx, &mut stream, &self.items)?;
        if let Some(producer) = &self.producer {
            remember(tx, &stream, producer)?;
        }
        stream.closed |= self.close;
        if self.writer_seq.is_some() {
            stream.writer_seq.clone_from(&self.writer_seq);
        }
        save(tx, &stream)?;
        if !self.items.is_empty() || self.close {
            tx.effects.push(Effect::Wake(self.stream.clone()));
        }
        let (epoch, seq) = self.producer.as_ref().map_or((0, 0), |by| (by.epoch, by.seq));
        let (next_offset, closed) = (stream.tail(), stream.closed);
        Ok(ProducerAppendResult::Accepted { epoch, seq, next_offset, closed })
    }
}

/// Closes the stream; closing it again is no error.
pub(super) fn close(tx: &mut Tx<'_>, name: &str) -> Result<(), Stop> {
    let mut stream = Stream::usable(tx.db, name, tx.now)?;
    stream.closed = true;
    save(tx, &stream)?;
    tx.effects.push(Effect::Wake(name.to_owned()));
    Ok(())
}

/// Moves the end of a stream that lives as long as it is used.
pub(super) fn renew(tx: &mut Tx<'_>, id: i64, expires_at: i64) -> Result<(), Stop> {
    tx.db
        .prepare_cached(
            "UPDATE streams SET expires_at = ?2 WHERE id = ?1 AND NOT hidden AND expires_at < ?2",
        )?
        .execute(params![id, expires_at])?;
    Ok(())
}

/// Adds messages at the stream's tail. The caller saves the stream.
pub(super) fn put(tx: &Tx<'_>, stream: &mut Stream, items: &[Bytes]) -> Result<(), Stop> {
    let mut insert =
        tx.db.prepare_cached("INSERT INTO messages (id, start, data) VALUES (?1, ?2, ?3)")?;
    for item in items {
        let id = message_id(stream.id, stream.next_seq);
        insert.execute(params![id, stream.next_byte, &item[..]])?;
        stream.next_seq += 1;
        stream.next_byte += item.len() as u64;
        stream.bytes += item.len() as u64;
    }
    Ok(())
}

/// Saves what an append changes of the stream's row.
pub(super) fn save(tx: &Tx<'_>, stream: &Stream) -> Result<(), Stop> {
    tx.db
        .prepare_cached(
            "UPDATE streams SET closed = ?2, next_seq = ?3, next_byte = ?4, bytes = ?5, writer_seq = ?6, \
             updated_at = ?7 WHERE id = ?1",
        )?
        .execute(params![
            stream.id,
            stream.closed,
            stream.next_seq,
            stream.next_byte,
            stream.bytes,
            stream.writer_seq,
            tx.now
        ])?;
    if let Some(expires_at) = stream.renewed(tx.now) {
        tx.db
            .prepare_cached("UPDATE streams SET expires_at = ?2 WHERE id = ?1")?
            .execute(params![stream.id, expires_at])?;
    }
    Ok(())
}

/// Whether this request was stored before: then the newest epoch and sequence number. PROTOCOL,
/// "Idempotent producers": an old epoch is fenced off; repetitions are known even when the stream
/// is closed by now; epochs begin at 0.
fn repeated(
    tx: &Tx<'_>,
    stream: &Stream,
    producer: &ProducerHeaders,
) -> Result<Option<(u64, u64)>, Stop> {
    let known: Option<(u64, u64)> = tx
        .db
        .prepare_cached("SELECT epoch, seq FROM producers WHERE stream = ?1 AND producer = ?2")?
        .query_row(params![stream.id, producer.id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((epoch, seq)) = known {
        if producer.epoch < epoch {
            return Err(Error::EpochFenced { current: epoch, received: producer.epoch }.into());
        }
        if producer.epoch == epoch && producer.seq <= seq {
            return Ok(Some((epoch, seq)));
        }
    }
    if stream.closed {
        return Err(Error::StreamClosed.into());
    }
    let expected = match known {
        Some((epoch, seq)) if producer.epoch == epoch => seq + 1,
        Some(_) if producer.seq != 0 => {
            let reason = "new epoch must start at seq 0".to_owned();
            return Err(Error::InvalidProducerState(reason).into());
        }
        _ => 0,
    };
    if producer.seq != expected {
        return Err(Error::SequenceGap { expected, actual: producer.seq }.into());
    }
    if i64::try_from(producer.epoch).is_err() {
        return Err(Error::InvalidProducerState("epoch is too large".to_owned()).into());
    }
    Ok(None)
}

/// Keeps what [`repeated`] asks for, in the transaction of the messages themselves.
fn remember(tx: &Tx<'_>, stream: &Stream, producer: &ProducerHeaders) -> Result<(), Stop> {
    if producer.seq == 0 {
        tx.db
            .prepare_cached("DELETE FROM producers WHERE stream = ?1 AND at < ?2")?
            .execute(params![stream.id, tx.now - PRODUCER_AGE])?;
    }
    tx.db
        .prepare_cached(
            "INSERT INTO producers (stream, producer, epoch, seq, at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET epoch = ?3, seq = ?4, at = ?5",
        )?
        .execute(params![stream.id, producer.id, producer.epoch, producer.seq, tx.now])?;
    Ok(())
}

/// The end of the stream after an append.
pub(crate) fn end(result: ProducerAppendResult) -> Offset {
    match result {
        ProducerAppendResult::Accepted { next_offset, .. }
        | ProducerAppendResult::Duplicate { next_offset, .. } => next_offset,
    }
}
