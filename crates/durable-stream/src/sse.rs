//! The event stream format (WHATWG HTML, "Server-sent events"), decoded from bytes as they come.
//!
//! The decoder works on bytes: a character that is cut between two pieces is never looked at before
//! it is whole, and what comes out is exactly what was sent. Lines end in LF, CR or CRLF, also when
//! a cut falls inside CRLF.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

/// One event.
///
/// # Examples
///
/// ```
/// use durable_stream::SseDecoder;
///
/// let mut events = Vec::new();
/// SseDecoder::new(1024, 1024).feed(b"data: one\ndata: two\n\n", &mut events)?;
/// assert_eq!((events[0].name.as_str(), &events[0].data[..]), ("message", &b"one\ntwo"[..]));
/// # Ok::<(), durable_stream::SseError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The value of the last `event` field; `message` if there was none.
    pub name: String,
    /// The values of all `data` fields, joined with LF.
    pub data: Bytes,
}

impl std::fmt::Debug for SseEvent {
    // L11: the data is the user's text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SseEvent")
            .field("name", &self.name)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// Why an event stream cannot be decoded.
///
/// # Examples
///
/// ```
/// use durable_stream::{SseDecoder, SseError};
///
/// let mut decoder = SseDecoder::new(8, 8);
/// let error = decoder.feed(b"data: too long", &mut Vec::new()).unwrap_err();
/// assert_eq!(error, SseError::LineTooLong { limit: 8 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// A line is longer than allowed.
    #[error("a line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The data of an event, or of all events that wait for their control event, is longer than
    /// allowed.
    #[error("an event is longer than {limit} bytes")]
    EventTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A control event that is not a JSON object with `streamNextOffset`.
    #[error("a control event is not valid")]
    Control,
}

/// Decodes an event stream from pieces of any size.
///
/// # Examples
///
/// ```
/// use durable_stream::SseDecoder;
///
/// let mut decoder = SseDecoder::new(1024, 1024);
/// let mut events = Vec::new();
/// for piece in ["event: da", "ta\r", "\ndata: caf\u{e9}\r\n\r", "\n"] {
///     decoder.feed(piece.as_bytes(), &mut events)?;
/// }
/// assert_eq!(events[0].name, "data");
/// assert_eq!(events[0].data, "café");
/// # Ok::<(), durable_stream::SseError>(())
/// ```
pub struct SseDecoder {
    max_line: usize,
    max_event: usize,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has been read yet: a byte order mark may come.
    at_start: bool,
    name: Vec<u8>,
    data: BytesMut,
    has_data: bool,
}

impl std::fmt::Debug for SseDecoder {
    // L11: what it holds is the user's text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SseDecoder")
            .field("line_bytes", &self.partial.len())
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl SseDecoder {
    /// A decoder that allows lines of `max_line` bytes and events of `max_event` bytes of data.
    ///
    /// # Examples
    ///
    /// ```
    /// let decoder = durable_stream::SseDecoder::new(32 << 20, 64 << 20);
    /// # let _ = decoder;
    /// ```
    #[must_use]
    pub fn new(max_line: usize, max_event: usize) -> Self {
        Self {
            max_line,
            max_event,
            partial: Vec::new(),
            after_cr: false,
            at_start: true,
            name: Vec::new(),
            data: BytesMut::new(),
            has_data: false,
        }
    }

    /// Decodes one piece and appends the events that it completes. An event without its blank line
    /// is never complete: what the decoder holds when the stream ends is to be dropped with it.
    ///
    /// # Errors
    ///
    /// [`SseError`] if a limit is passed. The decoder must not be used after that.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::SseDecoder;
    ///
    /// let mut decoder = SseDecoder::new(1024, 1024);
    /// let mut events = Vec::new();
    /// decoder.feed(b"data: ca", &mut events)?;
    /// assert!(events.is_empty());
    /// decoder.feed(b"t\n\n", &mut events)?;
    /// assert_eq!(events[0].data, "cat");
    /// # Ok::<(), durable_stream::SseError>(())
    /// ```
    pub fn feed(&mut self, piece: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let mut rest = piece;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr2(b'\r', b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.partial.len() + part.len() > self.max_line {
                return Err(SseError::LineTooLong { limit: self.max_line });
            }
            let Some(end) = end else {
                self.partial.extend_from_slice(part);
                break;
            };
            if self.partial.is_empty() {
                self.line(part, events)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(part);
                self.line(&whole, events)?;
                // Its room is used again, unless one long line made it large.
                if whole.capacity() <= 64 << 10 {
                    whole.clear();
                    self.partial = whole;
                }
            }
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(text) if self.at_start => text,
            _ => line,
        };
        self.at_start = false;
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        let (field, value) = match memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                if self.data.len() + value.len() > self.max_event {
                    return Err(SseError::EventTooLong { limit: self.max_event });
                }
                self.data.reserve(value.len() + 1);
                self.data.extend_from_slice(value);
                self.data.extend_from_slice(b"\n");
                self.has_data = true;
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // A comment, `id`, `retry` or a field of later days: none says anything about the
            // stream.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let name = match self.name.as_slice() {
            b"" => "message".to_owned(),
            name => String::from_utf8_lossy(name).into_owned(),
        };
        self.name.clear();
        if std::mem::take(&mut self.has_data) {
            self.data.truncate(self.data.len() - 1);
            events.push(SseEvent { name, data: self.data.split().freeze() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<SseEvent> {
        let mut decoder = SseDecoder::new(1 << 20, 1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut events).unwrap();
        }
        events
    }

    fn texts(input: &[u8]) -> Vec<(String, String)> {
        let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
        decode([input]).into_iter().map(|event| (event.name, text(&event.data))).collect()
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn joins_data_lines_and_ignores_other_fields() {
        let input =
            b"id: 7\nretry: 5\n: note\nevent: data\ndata: [\ndata:  1\ndata\ndata:]\n\ndata: x\n\n";
        assert_eq!(texts(input), [pair("data", "[\n 1\n\n]"), pair("message", "x")]);
    }

    #[test]
    fn an_event_without_data_is_none_but_one_with_empty_data_is() {
        assert_eq!(texts(b"event: a\n\ndata: x\n\n"), [pair("message", "x")]);
        assert_eq!(texts(b"event: a\ndata:\n\n"), [pair("a", "")]);
    }

    #[test]
    fn takes_every_kind_of_line_end() {
        for end in ["\n", "\r", "\r\n"] {
            let input = "event: data|data: a|data: b||data: c||".replace('|', end);
            assert_eq!(texts(input.as_bytes()), [pair("data", "a\nb"), pair("message", "c")]);
        }
    }

    #[test]
    fn skips_one_byte_order_mark_at_the_start_only() {
        assert_eq!(texts("\u{feff}data: a\n\n".as_bytes()), [pair("message", "a")]);
        assert_eq!(texts("\n\u{feff}data: a\n\n".as_bytes()), []);
    }

    #[test]
    fn drops_an_event_that_was_not_ended() {
        assert_eq!(texts(b"data: a\n\ndata: b\n"), [pair("message", "a")]);
    }

    #[test]
    fn stops_at_its_limits() {
        let mut decoder = SseDecoder::new(8, 10);
        let mut events = Vec::new();
        assert_eq!(
            decoder.feed(b"data: 123", &mut events),
            Err(SseError::LineTooLong { limit: 8 })
        );
        let mut decoder = SseDecoder::new(8, 10);
        decoder.feed(b"data: 12\ndata: 3", &mut events).unwrap();
        assert_eq!(
            decoder.feed(b"\ndata:456\ndata:78\n", &mut events),
            Err(SseError::EventTooLong { limit: 10 })
        );
        assert!(events.is_empty());
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_events(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just(String::new()),
                    Just("event: data".to_owned()),
                    "data: ?[a-zé€😀:\u{feff}]{0,12}",
                    "[a-z:é ]{0,8}",
                ],
                0..40,
            ),
            ends in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r"), Just("\r\n")], 40),
            mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
            bom: bool,
        ) {
            let mut input = if bom { "\u{feff}".to_owned() } else { String::new() };
            for (line, end) in lines.iter().zip(&ends) {
                input.push_str(line);
                input.push_str(end);
            }
            let input = input.into_bytes();
            let mut at: Vec<usize> = cuts.drain(..).map(|cut| cut.index(input.len() + 1)).collect();
            at.extend([0, input.len()]);
            at.sort_unstable();
            let pieces = at.windows(2).map(|ends| &input[ends[0]..ends[1]]);
            prop_assert_eq!(decode(pieces), decode([input.as_slice()]));
            prop_assert_eq!(decode(input.chunks(1)), decode([input.as_slice()]));
        }
    }
}
