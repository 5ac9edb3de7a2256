//! Reading the stream of a session: its line, and the comparison with what was read before.

use std::collections::HashSet;

use bytes::Bytes;
use session_protocol::Event;

use super::follow::StreamLine;

/// The reading side of a session.
pub(super) struct Reading {
    pub(super) line: StreamLine,
    /// While the stream is read again from its start: the messages that should be there and have
    /// not been seen yet.
    unconfirmed: Option<HashSet<String>>,
}

impl Reading {
    pub(super) fn new(line: StreamLine) -> Self {
        Self { line, unconfirmed: None }
    }

    /// Begins to compare: the stream is read from its start and should have these messages.
    pub(super) fn compare_with(&mut self, messages: impl Iterator<Item = String>) {
        self.unconfirmed = Some(messages.collect());
    }

    /// Whether the stream is read again and compared.
    pub(super) fn is_comparing(&self) -> bool {
        self.unconfirmed.is_some()
    }

    /// Takes note of the messages in a batch.
    pub(super) fn confirm(&mut self, items: &[Bytes]) {
        let Some(unconfirmed) = &mut self.unconfirmed else { return };
        for item in items {
            if let Event::Chunk(chunk) = session_protocol::decode(item) {
                unconfirmed.remove(chunk.message_id());
            }
        }
    }

    /// Ends the comparison. Returns the number of messages that the stream does not have; `None`
    /// when nothing was compared.
    pub(super) fn compared(&mut self) -> Option<usize> {
        self.unconfirmed.take().map(|missing| missing.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_the_stream_does_not_show_again_are_missing() {
        let mut reading = Reading::new(StreamLine::new(false, None));
        let item = Bytes::from_static(br#"{"type":"chunk","key":"m1:0","value":{"messageId":"m1","actorId":"a","role":"user","chunk":"{}","seq":0,"createdAt":"2026-01-01T00:00:00Z"},"headers":{"operation":"insert"}}"#);
        reading.confirm(std::slice::from_ref(&item));
        assert_eq!(reading.compared(), None, "nothing is compared");
        reading.compare_with(["m1".to_owned(), "m2".to_owned()].into_iter());
        reading.confirm(&[item]);
        assert!(reading.is_comparing());
        assert_eq!(reading.compared(), Some(1));
        assert!(!reading.is_comparing());
    }
}
