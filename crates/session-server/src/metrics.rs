//! Counters of the server, for Prometheus. Labels are patterns of routes, never what is in a path.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Instant,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use futures::StreamExt;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use session_protocol::api::ProblemCode;

use crate::reading;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    outcome: &'static str,
}

/// The counters. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    refused: Family<RefusalLabels, Counter>,
    seconds: Histogram,
    readers: Gauge<i64, AtomicI64>,
    appends: Counter,
    events: Counter,
    runs: Family<RunLabels, Counter>,
    refused_chunks: Counter,
    sessions: Gauge<i64, AtomicI64>,
    open: Gauge<i64, AtomicI64>,
    held: Gauge<i64, AtomicI64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(…)")
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("threadkeep");
        let requests = Family::default();
        registry.register("requests", "Requests answered", requests.clone());
        let refused = Family::default();
        let what = "Requests and connections for which there was too little room, by code";
        registry.register("refused", what, refused.clone());
        // 0.5 ms to 16 s.
        let seconds = Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let what = "Time until an answer begins, without reads that follow";
        registry.register_with_unit("request", what, Unit::Seconds, seconds.clone());
        let readers = Gauge::default();
        registry.register("live_readers", "Readers that follow a stream now", readers.clone());
        let appends = Counter::default();
        registry.register("appends", "Appends to session streams", appends.clone());
        let events = Counter::default();
        registry.register("events", "Events in these appends", events.clone());
        let runs = Family::default();
        registry.register("runs", "Runs of agents that ended", runs.clone());
        let refused_chunks = Counter::default();
        let what =
            "Chunks of agents that were not written, because only people may say such a thing";
        registry.register("refused_chunks", what, refused_chunks.clone());
        let sessions = Gauge::default();
        registry.register("sessions", "Sessions that exist", sessions.clone());
        let open = Gauge::default();
        registry.register("open_sessions", "Sessions in memory", open.clone());
        let held = Gauge::default();
        let what = "Bytes held for others, of those that there may be";
        registry.register_with_unit("held", what, Unit::Bytes, held.clone());
        let registry = Arc::new(registry);
        Self {
            registry,
            requests,
            refused,
            seconds,
            readers,
            appends,
            events,
            runs,
            refused_chunks,
            sessions,
            open,
            held,
        }
    }

    /// An append of so many events is in the stream.
    pub(crate) fn appended(&self, events: usize) {
        self.appends.inc();
        self.events.inc_by(events as u64);
    }

    /// A chunk of an agent was refused.
    pub(crate) fn refused_chunk(&self) {
        self.refused_chunks.inc();
    }

    /// A run ended: `finished`, `failed` or `stopped`.
    pub(crate) fn run_ended(&self, outcome: &'static str) {
        self.runs.get_or_create(&RunLabels { outcome }).inc();
    }

    /// Counts a client that was refused or cut for want of room.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// The counters, in the format of OpenMetrics.
    pub(crate) fn encode(&self, sessions: i64, open: usize, held: usize) -> String {
        self.sessions.set(sessions);
        self.held.set(held.try_into().unwrap_or(i64::MAX));
        self.open.set(open.try_into().unwrap_or(i64::MAX));
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string cannot fail");
        out
    }
}

/// One reader that follows, for as long as it lives.
struct FollowingReader(Gauge<i64, AtomicI64>);

impl FollowingReader {
    fn new(readers: &Gauge<i64, AtomicI64>) -> Self {
        readers.inc();
        Self(readers.clone())
    }
}

impl Drop for FollowingReader {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The outermost layer of every route.
pub(crate) async fn count(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let reader = reading::follows(&request).then(|| FollowingReader::new(&metrics.readers));
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    let took = began.elapsed();
    tracing::debug!(method, route, status = status.as_u16(), ?took, "answered");
    let is_refusal = matches!(
        status,
        StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
    );
    if is_refusal && let Some(code) = response.extensions().get::<ProblemCode>() {
        metrics.refused(code.as_str());
    }
    let labels = RequestLabels { method, route, status: status.as_u16() };
    metrics.requests.get_or_create(&labels).inc();
    let Some(reader) = reader else {
        metrics.seconds.observe(took.as_secs_f64());
        return response;
    };
    let (parts, body) = response.into_parts();
    let body = body.into_data_stream().map(move |piece| {
        let _follows = &reader; // until the body is dropped
        piece
    });
    Response::from_parts(parts, Body::from_stream(body))
}
