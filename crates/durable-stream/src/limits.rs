//! Limits of what a server may make the client wait and hold in memory.

use std::time::Duration;

/// Limits of the waits for a server. Every part of a request has its own; there is none on a whole
/// request.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use durable_stream::Timeouts;
///
/// let mut timeouts = Timeouts::default();
/// timeouts.connect = Duration::from_secs(3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Opening a connection, TLS included. Not applied to a client given by
    /// [`http`](crate::ClientBuilder::http), which has its own. Default 10 s.
    pub connect: Duration,
    /// From the request to the head of the answer. Default 30 s.
    pub headers: Duration,
    /// From a long poll, which a server may hold open, to the head of its answer. Default 90 s.
    pub long_poll: Duration,
    /// Between two pieces of a body. Default 30 s.
    pub idle: Duration,
    /// Between two pieces of an event stream. Servers close one about once a minute. Default 90 s.
    pub sse_idle: Duration,
    /// From the head of an event stream to its first event, before
    /// [`Live::Auto`](crate::Live::Auto) takes it for buffered by something in between. Default 10
    /// s.
    pub sse_first_event: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            long_poll: Duration::from_secs(90),
            idle: Duration::from_secs(30),
            sse_idle: Duration::from_secs(90),
            sse_first_event: Duration::from_secs(10),
        }
    }
}

/// Limits of what a server may make the client hold; bytes are counted after decompression.
///
/// # Examples
///
/// ```
/// use durable_stream::Limits;
///
/// let mut limits = Limits::default();
/// limits.body = 8 << 20;
/// limits.items = 100_000;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// One body that is not an event stream. Default 256 MiB.
    pub body: usize,
    /// The items of one delivery: a body of tiny items takes many times its size. Default
    /// 8,388,608.
    pub items: usize,
    /// One line of an event stream. Default 32 MiB.
    pub sse_line: usize,
    /// One event, and all data waiting for its control event. Default 64 MiB.
    pub sse_event: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 256 << 20, items: 8 << 20, sse_line: 32 << 20, sse_event: 64 << 20 }
    }
}
