//! Reading: one page at a time, of one snapshot, so that the offset is always where the messages
//! end.

use bytes::Bytes;
use durable_streams_server::{
    protocol::{error::Error, offset::Offset},
    storage::ReadResult,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{schema::message_id, stream::Stream, tx::Stop};

/// Bytes of messages after which a page ends. A page has at least one message.
pub(crate) const PAGE_BYTES: usize = 256 << 10;

/// Messages after which a page ends.
const PAGE_MESSAGES: usize = 4096;

/// The messages after the offset, up to a page of them.
pub(super) fn page(db: &Connection, stream: &Stream, from: &Offset) -> Result<ReadResult, Stop> {
    if from.is_now() {
        let (next_offset, closed) = (stream.tail(), stream.closed);
        return Ok(ReadResult { messages: Vec::new(), next_offset, at_tail: true, closed });
    }
    let (mut seq, mut byte) = boundary(db, stream, from)?;
    let (mut messages, mut size) = (Vec::new(), 0);
    'segments: for segment in segments(db, stream, seq)?.into_iter().rev() {
        let mut rows = db.prepare_cached(
            "SELECT data FROM messages WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = rows.query(params![
            message_id(segment.stream, segment.from.max(seq)),
            message_id(segment.stream, segment.until),
            PAGE_MESSAGES - messages.len(),
        ])?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            messages.push(Bytes::copy_from_slice(data));
            size += data.len();
            (seq, byte) = (seq + 1, byte + data.len() as u64);
            if size >= PAGE_BYTES || messages.len() == PAGE_MESSAGES {
                break 'segments;
            }
        }
    }
    let at_tail = seq == stream.next_seq;
    Ok(ReadResult { messages, next_offset: Offset::new(seq, byte), at_tail, closed: stream.closed })
}

/// Sequence number and byte of an offset that this stream has given out.
pub(super) fn boundary(
    db: &Connection,
    stream: &Stream,
    offset: &Offset,
) -> Result<(u64, u64), Stop> {
    let Some((seq, byte)) = offset.parse_components() else {
        return Ok(if offset.is_now() { (stream.next_seq, stream.next_byte) } else { (0, 0) });
    };
    let start = if seq == stream.next_seq {
        Some(stream.next_byte)
    } else {
        message(db, stream, seq)?.map(|(start, _)| start)
    };
    // An offset of another stream, or of one that had this name before.
    if start != Some(byte) {
        return Err(Error::InvalidOffset("the offset is not one of this stream".to_owned()).into());
    }
    Ok((seq, byte))
}

/// The message with this number: the byte it starts at, and its data.
pub(super) fn message(
    db: &Connection,
    stream: &Stream,
    seq: u64,
) -> Result<Option<(u64, Bytes)>, Stop> {
    if seq >= stream.next_seq {
        return Ok(None);
    }
    let Some(segment) = segments(db, stream, seq)?.pop() else { return Ok(None) };
    let found = db
        .prepare_cached("SELECT start, data FROM messages WHERE id = ?1")?
        .query_row([message_id(segment.stream, seq)], |row| {
            Ok((row.get(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?)))
        })
        .optional()?;
    Ok(found)
}

/// A stretch of sequence numbers, `from..until`, and the stream that owns it.
struct Segment {
    stream: i64,
    from: u64,
    until: u64,
}

/// The segments from the stream's own back to the one that holds `seq`.
fn segments(db: &Connection, stream: &Stream, seq: u64) -> rusqlite::Result<Vec<Segment>> {
    let mut segments =
        vec![Segment { stream: stream.id, from: stream.fork_seq, until: stream.next_seq }];
    let (mut first, mut source) = (stream.fork_seq, stream.source);
    while let Some(id) = source
        && seq < first
    {
        let Some(parent) = Stream::by_id(db, id)? else { break };
        segments.push(Segment { stream: id, from: parent.fork_seq, until: first });
        (first, source) = (first.min(parent.fork_seq), parent.source);
    }
    Ok(segments)
}
