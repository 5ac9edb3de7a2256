//! Makes reads of the embedded storage exact.
//!
//! `AcidStorage::read` takes the tail's offset and the messages from two transactions. An append between them is in
//! the messages but not in the offset, so a reader that goes on from the offset gets it a second time. Offsets count
//! messages, so what is too much can be cut off: the reader is woken for it anyway, because it subscribes first.

use bytes::Bytes;
use durable_streams_server::{
    Storage,
    protocol::{error::Result, offset::Offset, producer::ProducerHeaders},
    storage::{
        CreateStreamResult, CreateWithDataResult, ProducerAppendResult, ReadResult, StreamConfig,
        StreamMetadata,
    },
};
use tokio::sync::broadcast;

/// A storage whose reads end where their offset says.
pub(super) struct Snapshot<S>(pub(super) S);

/// Drops messages that were appended after the read's offset was taken.
fn cut(mut read: ReadResult, from: &Offset) -> ReadResult {
    let first = match from {
        Offset::Start => Some(0),
        Offset::Now => None,
        Offset::Concrete { read_seq, .. } => Some(*read_seq),
    };
    if let (Some(first), Some((end, _))) = (first, read.next_offset.parse_components()) {
        let count = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        read.messages.truncate(count);
    }
    read
}

impl<S: Storage> Storage for Snapshot<S> {
    fn read(&self, name: &str, from_offset: &Offset) -> Result<ReadResult> {
        self.0.read(name, from_offset).map(|read| cut(read, from_offset))
    }

    fn create_stream(&self, name: &str, config: StreamConfig) -> Result<CreateStreamResult> {
        self.0.create_stream(name, config)
    }

    fn append(&self, name: &str, data: Bytes, content_type: &str) -> Result<Offset> {
        self.0.append(name, data, content_type)
    }

    fn batch_append(
        &self,
        name: &str,
        messages: Vec<Bytes>,
        content_type: &str,
        seq: Option<&str>,
    ) -> Result<Offset> {
        self.0.batch_append(name, messages, content_type, seq)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name)
    }

    fn head(&self, name: &str) -> Result<StreamMetadata> {
        self.0.head(name)
    }

    fn close_stream(&self, name: &str) -> Result<()> {
        self.0.close_stream(name)
    }

    fn append_with_producer(
        &self,
        name: &str,
        messages: Vec<Bytes>,
        content_type: &str,
        producer: &ProducerHeaders,
        should_close: bool,
        seq: Option<&str>,
    ) -> Result<ProducerAppendResult> {
        self.0.append_with_producer(name, messages, content_type, producer, should_close, seq)
    }

    fn create_stream_with_data(
        &self,
        name: &str,
        config: StreamConfig,
        messages: Vec<Bytes>,
        should_close: bool,
    ) -> Result<CreateWithDataResult> {
        self.0.create_stream_with_data(name, config, messages, should_close)
    }

    fn exists(&self, name: &str) -> bool {
        self.0.exists(name)
    }

    fn subscribe(&self, name: &str) -> Option<broadcast::Receiver<()>> {
        self.0.subscribe(name)
    }

    fn cleanup_expired_streams(&self) -> usize {
        self.0.cleanup_expired_streams()
    }

    fn list_streams(&self) -> Result<Vec<(String, StreamMetadata)>> {
        self.0.list_streams()
    }

    fn create_fork(
        &self,
        name: &str,
        source_name: &str,
        fork_offset: Option<&Offset>,
        config: StreamConfig,
    ) -> Result<CreateStreamResult> {
        self.0.create_fork(name, source_name, fork_offset, config)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use durable_streams_server::{AcidStorage, config::AcidBackend};

    use super::*;

    #[test]
    fn a_read_gives_nothing_beyond_its_offset() {
        let read = |from: &Offset, count: usize, end: u64| {
            let messages = vec![Bytes::from_static(b"{}"); count];
            let next_offset = Offset::new(end, end * 2);
            cut(ReadResult { messages, next_offset, at_tail: true, closed: false }, from)
                .messages
                .len()
        };
        assert_eq!(read(&Offset::Start, 5, 3), 3);
        assert_eq!(read(&Offset::new(2, 4), 3, 3), 1);
        assert_eq!(read(&Offset::new(3, 6), 2, 3), 0);
        assert_eq!(read(&Offset::Start, 3, 3), 3);
    }

    #[test]
    fn a_follower_of_a_busy_stream_sees_every_message_once() {
        let storage = AcidStorage::new("", 1, 1 << 30, 1 << 30, AcidBackend::InMemory).unwrap();
        let storage = Arc::new(Snapshot(storage));
        storage.create_stream("s", StreamConfig::new("application/json".into())).unwrap();
        let writer = Arc::clone(&storage);
        let writing = std::thread::spawn(move || {
            for n in 0..400 {
                writer.append("s", Bytes::from(n.to_string()), "application/json").unwrap();
            }
        });
        let mut seen = Vec::new();
        let mut offset = Offset::Start;
        while seen.len() < 400 {
            let read = storage.read("s", &offset).unwrap();
            seen.extend(read.messages);
            offset = read.next_offset;
        }
        writing.join().unwrap();
        let expected: Vec<Bytes> = (0..400).map(|n| Bytes::from(n.to_string())).collect();
        assert_eq!(seen, expected);
    }
}
