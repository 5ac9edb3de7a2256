//! The store as the stream router wants it.

use std::sync::Arc;

use bytes::Bytes;
use durable_streams_server::{
    Storage,
    protocol::{
        error::{Error, Result},
        offset::Offset,
        producer::ProducerHeaders,
    },
    storage::{
        CreateStreamResult, CreateWithDataResult, ProducerAppendResult, ReadResult, StreamConfig,
        StreamMetadata,
    },
};
use tokio::sync::broadcast;

use super::{
    request,
    store::{Append, Create, Fork, StreamStore, end},
};

/// The router's view of the store. Writes block until they are on the disk.
pub(super) struct Routed(pub(super) Arc<StreamStore>);

impl Storage for Routed {
    fn create_stream(&self, name: &str, config: StreamConfig) -> Result<CreateStreamResult> {
        self.create_stream_with_data(name, config, Vec::new(), false).map(|created| created.status)
    }

    fn append(&self, name: &str, data: Bytes, content_type: &str) -> Result<Offset> {
        let size = data.len() as u64;
        let end = self.batch_append(name, vec![data], content_type, None)?;
        let (seq, byte) = end.parse_components().ok_or(Error::EmptyBody)?;
        Ok(Offset::new(seq - 1, byte - size))
    }

    fn batch_append(
        &self,
        name: &str,
        messages: Vec<Bytes>,
        content_type: &str,
        seq: Option<&str>,
    ) -> Result<Offset> {
        let append = Append {
            stream: name.to_owned(),
            items: request::as_sent(messages),
            content_type: content_type.to_owned(),
            producer: None,
            writer_seq: seq.map(ToOwned::to_owned),
            close: false,
            beyond: false,
        };
        self.0.append(append).map(end)
    }

    fn read(&self, name: &str, from_offset: &Offset) -> Result<ReadResult> {
        let (mut page, is_json) = self.0.page(name, from_offset)?;
        if !is_json && page.messages.len() > 1 {
            // Bytes have no boundaries, and each event of an event stream has to be followed by its
            // offset.
            page.messages = vec![Bytes::from(page.messages.concat())];
        }
        request::got_page(page.at_tail);
        Ok(page)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name)
    }

    fn head(&self, name: &str) -> Result<StreamMetadata> {
        self.0.head(name)
    }

    fn close_stream(&self, name: &str) -> Result<()> {
        self.0.close(name)
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
        self.0.append(Append {
            stream: name.to_owned(),
            items: request::as_sent(messages),
            content_type: content_type.to_owned(),
            producer: Some(producer.clone()),
            writer_seq: seq.map(ToOwned::to_owned),
            close: should_close,
            beyond: false,
        })
    }

    fn create_stream_with_data(
        &self,
        name: &str,
        config: StreamConfig,
        messages: Vec<Bytes>,
        should_close: bool,
    ) -> Result<CreateWithDataResult> {
        let items = request::as_sent(messages);
        let create = Create { name: name.to_owned(), config, items, close: should_close };
        let created = self.0.create(create)?;
        Ok(CreateWithDataResult {
            status: created.status,
            next_offset: created.next_offset,
            closed: created.closed,
        })
    }

    fn exists(&self, name: &str) -> bool {
        self.0.head(name).is_ok()
    }

    fn subscribe(&self, name: &str) -> Option<broadcast::Receiver<()>> {
        let (wake, receiver) = self.0.subscribe(name)?;
        request::waits(wake);
        Some(receiver)
    }

    fn cleanup_expired_streams(&self) -> usize {
        self.0.expire()
    }

    fn list_streams(&self) -> Result<Vec<(String, StreamMetadata)>> {
        self.0.list()
    }

    fn create_fork(
        &self,
        name: &str,
        source_name: &str,
        fork_offset: Option<&Offset>,
        config: StreamConfig,
    ) -> Result<CreateStreamResult> {
        let part = request::fork_part();
        let fork = Fork {
            name: name.to_owned(),
            source: source_name.to_owned(),
            at: fork_offset.cloned(),
            part: part.sub_offset,
            config,
            typed: part.typed,
            body: part.body,
        };
        self.0.fork(fork).map(|created| created.status)
    }
}
