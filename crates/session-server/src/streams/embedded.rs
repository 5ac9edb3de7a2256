//! Streams in this process: the router of `durable-streams-server` over its redb storage.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use axum::{Router, body::Body, http::Request, response::Response};
use bytes::Bytes;
use durable_streams_server::{
    AcidStorage, Config, Storage, build_router_with_ready,
    config::AcidBackend,
    protocol::{error::Error, offset::Offset, producer::ProducerHeaders},
    storage::{CreateStreamResult, StreamConfig},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Listed, MOUNT, Stamp, StreamError, Streams, snapshot::Snapshot};

/// Fewer files and less memory than the crate's 16; a desktop has few writers.
const SHARDS: usize = 4;
/// The crate's caps (10 MB a stream, 100 MB in all) are for caches; ours is the only copy of a person's sessions.
const MAX_STREAM_BYTES: u64 = 4 << 30;
const MAX_TOTAL_BYTES: u64 = 64 << 30;

const JSON: &str = "application/json";

/// Streams on this machine's disk.
pub(crate) struct Embedded {
    storage: Arc<Snapshot<AcidStorage>>,
    router: Router,
}

impl Embedded {
    /// Opens the streams in `folder`, recovering from an unclean stop.
    pub(crate) fn open(folder: &Path, shutdown: CancellationToken) -> Result<Self, String> {
        let storage =
            AcidStorage::new(folder, SHARDS, MAX_TOTAL_BYTES, MAX_STREAM_BYTES, AcidBackend::File)
                .map_err(|error| error.to_string())?;
        let storage = Arc::new(Snapshot(storage));
        let mut config = Config::default();
        config.http.stream_base_path = MOUNT.to_owned();
        // No origin: CORS is decided in front, see `guard`.
        config.http.cors_origins = String::new();
        let router = build_router_with_ready(Arc::clone(&storage), &config, None, shutdown);
        Ok(Self { storage, router })
    }

    /// The storage is synchronous and syncs to disk: never on a runtime worker.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot<AcidStorage>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StreamError> {
        let storage = Arc::clone(&self.storage);
        tokio::task::spawn_blocking(move || work(&storage))
            .await
            .map_err(|_| StreamError::Unavailable("the storage task ended".into()))?
            .map_err(StreamError::from)
    }
}

impl From<Error> for StreamError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) | Error::StreamExpired => Self::NotFound,
            Error::StreamGone(_) | Error::StreamPathBlocked(_) => Self::Gone,
            Error::StreamClosed => Self::Closed,
            Error::EpochFenced { .. } => Self::Fenced,
            Error::MemoryLimitExceeded
            | Error::StreamSizeLimitExceeded
            | Error::InsufficientStorage(_) => Self::Full,
            Error::Unavailable(failure) => Self::Unavailable(failure.operation),
            Error::Storage(detail) => Self::Unavailable(detail),
            other => Self::Refused(other.to_string()),
        }
    }
}

#[async_trait]
impl Streams for Embedded {
    async fn create(&self, name: &str) -> Result<bool, StreamError> {
        let name = name.to_owned();
        let created = self
            .blocking(move |storage| storage.create_stream(&name, StreamConfig::new(JSON.into())))
            .await?;
        Ok(created == CreateStreamResult::Created)
    }

    async fn append(
        &self,
        name: &str,
        items: Vec<Bytes>,
        stamp: &Stamp,
    ) -> Result<(), StreamError> {
        let name = name.to_owned();
        let producer = ProducerHeaders { id: stamp.id.clone(), epoch: stamp.epoch, seq: stamp.seq };
        self.blocking(move |storage| {
            storage.append_with_producer(&name, items, JSON, &producer, false, None)
        })
        .await?;
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Vec<Bytes>, StreamError> {
        let name = name.to_owned();
        self.blocking(move |storage| {
            let mut page = storage.read(&name, &Offset::start())?;
            let mut items = page.messages;
            while !page.at_tail {
                page = storage.read(&name, &page.next_offset)?;
                items.append(&mut page.messages);
            }
            Ok(items)
        })
        .await
    }

    async fn exists(&self, name: &str) -> Result<bool, StreamError> {
        let name = name.to_owned();
        self.blocking(move |storage| match storage.head(&name) {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_) | Error::StreamGone(_) | Error::StreamExpired) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), StreamError> {
        let name = name.to_owned();
        match self.blocking(move |storage| storage.delete(&name)).await {
            Ok(()) | Err(StreamError::NotFound | StreamError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self) -> Result<Option<Vec<Listed>>, StreamError> {
        let streams = self.blocking(Storage::list_streams).await?;
        let listed = streams
            .into_iter()
            .filter_map(|(name, head)| {
                let time = |at: i64| {
                    jiff::Timestamp::from_millisecond(at)
                        .map(|at| format!("{at:.3}"))
                        .unwrap_or_default()
                };
                let created = head.created_at.timestamp_millis();
                let updated = head.updated_at.map_or(created, |at| at.timestamp_millis());
                Some(Listed {
                    session_id: name.strip_prefix("sessions/")?.to_owned(),
                    created_at: time(created),
                    last_activity_at: time(updated),
                })
            })
            .collect();
        Ok(Some(listed))
    }

    fn takes_writes(&self) -> bool {
        true
    }

    async fn serve(&self, mut request: Request<Body>) -> Response {
        request.extensions_mut().clear(); // our router's path parameters are not theirs
        // Their proxy rules want a peer; ours have been applied already.
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
