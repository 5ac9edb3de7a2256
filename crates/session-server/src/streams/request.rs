//! Words between the stream router and its storage about one request, beyond the trait between
//! them.
//!
//! The router of `durable-streams-server` re-writes JSON, knows no fork inside a batch, and waits
//! to be called after a page although there is more to read. Each request therefore runs in a scope
//! that the storage calls it makes can look into.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::{Body, BodyDataStream, Bytes};
use futures::Stream;

use super::store::Wake;

tokio::task_local! {
    static REQUEST: Arc<Scope>;
}

/// One request of the stream router.
#[derive(Default)]
pub(super) struct Scope {
    /// The items of a JSON body as they came.
    pub(super) items: Option<Vec<Bytes>>,
    /// The part of a fork's request that the router does not pass on.
    pub(super) fork: Option<ForkPart>,
    /// The call for the reader who waits in this request.
    wake: Mutex<Option<Wake>>,
    /// The last page did not reach the tail.
    behind: AtomicBool,
}

/// The rest of a fork's request.
#[derive(Clone, Default)]
pub(super) struct ForkPart {
    pub(super) sub_offset: u64,
    pub(super) typed: bool,
    pub(super) body: Bytes,
}

impl Scope {
    /// Runs the request in its scope.
    pub(super) async fn run<T>(self: &Arc<Self>, request: impl Future<Output = T>) -> T {
        REQUEST.scope(Arc::clone(self), request).await
    }

    /// Keeps a body that is produced later in the scope.
    pub(super) fn keep(self: &Arc<Self>, body: Body) -> Body {
        Body::from_stream(Scoped { scope: Arc::clone(self), body: body.into_data_stream() })
    }

    /// Whether the last page did not reach the tail.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }
}

/// The items as the client sent them, for those that the router made of them.
pub(super) fn as_sent(items: Vec<Bytes>) -> Vec<Bytes> {
    let sent = REQUEST.try_with(|scope| scope.items.clone()).ok().flatten();
    sent.filter(|sent| sent.len() == items.len()).unwrap_or(items)
}

/// The rest of a fork's request.
pub(super) fn fork_part() -> ForkPart {
    let untouched = ForkPart { typed: true, ..ForkPart::default() };
    REQUEST.try_with(|scope| scope.fork.clone()).ok().flatten().unwrap_or(untouched)
}

/// Takes note that the request waits for a stream.
pub(super) fn waits(wake: Wake) {
    let keep = |scope: &Arc<Scope>| {
        *scope.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    };
    REQUEST.try_with(keep).ok();
}

/// Takes note that the request got a page. When there is more, its reader is called for the next
/// one at once.
pub(super) fn got_page(at_tail: bool) {
    let note = |scope: &Arc<Scope>| {
        scope.behind.store(!at_tail, Ordering::Relaxed);
        if !at_tail && let Some(wake) = &*scope.wake.lock().unwrap_or_else(PoisonError::into_inner)
        {
            wake.send(()).ok();
        }
    };
    REQUEST.try_with(note).ok();
}

/// A body whose chunks are made in the scope of their request.
struct Scoped {
    scope: Arc<Scope>,
    body: BodyDataStream,
}

impl Stream for Scoped {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let scope = Arc::clone(&self.scope);
        REQUEST.sync_scope(scope, || Pin::new(&mut self.body).poll_next(cx))
    }
}
