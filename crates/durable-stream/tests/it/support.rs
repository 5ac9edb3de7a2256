//! A stream server in this process, and ways to wait that end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use durable_stream::{Batch, Bytes, Client, ClientBuilder, Error, RetryPolicy, StreamHandle, Url};
use durable_streams_server::{Config, InMemoryStorage, build_router};
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Time that a test takes only when it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) base: Url,
    /// Keeps the streams of one test apart from those of others, on a server that outlives it.
    prefix: String,
    client: Client,
    task: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Server {
    /// A server in this process, or the one whose streams are below `DURABLE_STREAM_SERVER`, a URL
    /// with a slash at its end.
    pub(crate) async fn start() -> Self {
        let prefix = format!("t{:08x}-", rand::random::<u32>());
        if let Ok(base) = std::env::var("DURABLE_STREAM_SERVER") {
            let base = Url::parse(&base).expect("DURABLE_STREAM_SERVER is a URL");
            return Self { base, prefix, client: client(), task: None };
        }
        let storage = Arc::new(InMemoryStorage::new(1 << 30, 1 << 28));
        let router = build_router(storage, &Config::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base =
            Url::parse(&format!("http://{}/v1/stream/", listener.local_addr().unwrap())).unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, prefix, client: client(), task: Some(task) }
    }

    /// Not the server of this process: it may lack what the protocol lets a server lack.
    pub(crate) fn is_foreign(&self) -> bool {
        self.task.is_none()
    }

    pub(crate) fn stream(&self, name: &str) -> StreamHandle {
        self.client.stream(self.url(&self.base, name))
    }

    /// The stream's address by way of a proxy at `base`.
    pub(crate) fn url(&self, base: &Url, name: &str) -> Url {
        base.join(&format!("{}{name}", self.prefix)).unwrap()
    }
}

/// A client that does not wait long before it tries again.
pub(crate) fn eager() -> ClientBuilder {
    let policy = |max| {
        RetryPolicy::new(max, Duration::from_millis(1), Duration::from_millis(8), 1.5).unwrap()
    };
    Client::builder()
        .http_builder(reqwest::Client::builder().no_proxy())
        .retry(policy(Some(60)))
        .follow_retry(policy(None))
}

pub(crate) fn client() -> Client {
    eager().build().unwrap()
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it ends before the deadline")
}

pub(crate) async fn next(
    batches: &mut (impl Stream<Item = Result<Batch, Error>> + Unpin),
) -> Batch {
    within(batches.next()).await.expect("there is one more batch").expect("it is not an error")
}

/// Reads until there are this many items.
pub(crate) async fn read(
    batches: &mut (impl Stream<Item = Result<Batch, Error>> + Unpin),
    count: usize,
) -> Vec<Bytes> {
    let mut items = Vec::new();
    while items.len() < count {
        items.extend(next(batches).await.items);
    }
    items
}

pub(crate) fn json(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}
