//! Connections: each is a task, and none may hold up another.
//!
//! A peer that is silent or slow costs one connection and is cut: while it shakes hands, before its first request (the
//! server cannot know earlier which HTTP it speaks), in the middle of a request's head or body, between two requests,
//! and when it no longer answers HTTP/2's pings. An answer may take as long as it likes, because readers follow for
//! days, but not lie there: who takes nothing of it is cut, too (see `delivery`). How many connections there are is
//! limited, in total and for each address, so that one peer cannot have them all.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    budget::{Budget, Hold, Owner},
    config::Limits,
    delivery::Outgoing,
    guard::Peer,
    limits::{ClientKey, network},
    metrics::Metrics,
    problem::Problem,
};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes that a connection keeps of requests that are not read and of answers that are not sent.
const BUFFER: usize = 64 << 10;
/// Number of looks at whether answers are taken, in the time that one may lie there.
const LOOKS_IN_PAUSE: u32 = 4;
/// A shorter time would be looked for without a pause.
const LOOKS: Duration = Duration::from_millis(4);
/// After an error that the next connection would have too, such as no file being left.
const PAUSE: Duration = Duration::from_millis(250);

/// Connections that the system keeps until they are accepted. One that finds no place there is tried again by its peer
/// after a second.
const BACKLOG: u32 = 4096;

/// A listener with a long queue: a thousand who come at once keep nobody else out.
///
/// # Errors
///
/// The address cannot be listened on.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // On Windows it would let another program listen there, too.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves what connects until `stop`, then ends when all requests are answered.
///
/// # Cancel safety
///
/// Dropping the future cuts every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: Arc<Limits>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let (head, answer_pause) = (limits.head, limits.answer_pause);
    let line = Arc::new(Line { tls, app, http: http(&limits), head, answer_pause, metrics, stop });
    let mut open = JoinSet::new();
    let mut peers = Peers::new(limits.connections_per_address);
    loop {
        let accepted = tokio::select! {
            biased;
            () = line.stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted now");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let seat = if open.len() < limits.connections { peers.seat(peer.ip()) } else { None };
        let Some(seat) = seat else {
            tracing::debug!("a connection is closed: there are as many as there may be");
            line.metrics.refused("TOO_MANY_CONNECTIONS");
            continue;
        };
        let line = Arc::clone(&line);
        open.spawn(async move {
            line.connected(tcp, peer).await;
            drop(seat);
        });
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// The networks that are connected.
struct Peers {
    /// One for each network. Its connections hold clones of it, so it counts them.
    seats: HashMap<IpAddr, Arc<()>>,
    /// Connections that one may have.
    each: usize,
    /// When there are so many networks, those that left are forgotten.
    forget_at: usize,
}

impl Peers {
    fn new(each: usize) -> Self {
        Self { seats: HashMap::new(), each, forget_at: 64 }
    }

    /// A seat for one more connection, until it is dropped; `None` when the address has as many as it may.
    fn seat(&mut self, address: IpAddr) -> Option<Arc<()>> {
        if address.to_canonical().is_loopback() {
            return Some(Arc::default());
        }
        if self.seats.len() >= self.forget_at {
            self.seats.retain(|_, seat| Arc::strong_count(seat) > 1);
            self.forget_at = 2 * self.seats.len() + 64;
        }
        let seat = self.seats.entry(network(address)).or_default();
        (Arc::strong_count(seat) <= self.each).then(|| Arc::clone(seat))
    }
}

/// The state that every connection needs.
struct Line {
    tls: Option<TlsAcceptor>,
    app: Router,
    http: Builder<TokioExecutor>,
    head: Duration,
    answer_pause: Duration,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Line {
    async fn connected(&self, tcp: TcpStream, peer: SocketAddr) {
        tcp.set_nodelay(true).ok(); // words are small, and each is waited for
        keep_little(&tcp);

        let Some(tls) = &self.tls else { return self.talk(tcp, peer).await };
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = tokio::time::timeout(HANDSHAKE, tls.accept(tcp)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.talk(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake did not end in time"),
        }
    }

    /// Answers requests until one side ends the connection.
    async fn talk(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) {
        let asked = Arc::new(AtomicBool::new(false));
        let (app, asks) = (self.app.clone(), Arc::clone(&asked));
        let outgoing = Outgoing::new();
        let peer = Peer { address: peer, outgoing: outgoing.clone() };
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer.clone()));
            app.clone().oneshot(request)
        });
        let mut talk = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let mut patience = pin!(tokio::time::sleep(self.head));
        let mut look = tokio::time::interval(self.answer_pause.max(LOOKS) / LOOKS_IN_PAUSE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut began, mut stopping) = (false, false);
        loop {
            tokio::select! {
                ended = talk.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = patience.as_mut(), if !began => {
                    began = asked.load(Ordering::Relaxed);
                    if !began {
                        return;
                    }
                }
                _ = look.tick() => {
                    if outgoing.are_left_lying(self.answer_pause) {
                        tracing::debug!("a connection is cut: its peer takes no answer");
                        self.metrics.refused("ANSWER_NOT_TAKEN");
                        return;
                    }
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    talk.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER)
        .writev(true); // without a copy, so that what is held for an answer is all there is of it
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.head)
        .keep_alive_timeout(limits.head)
        .max_concurrent_streams(limits.streams_per_connection)
        .max_send_buf_size(BUFFER);
    http
}

/// Lets the system keep little of what was not sent: what it takes is not seen to be taken by the peer.
fn keep_little(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let set = socket.set_tcp_notsent_lowat(BUFFER as u32);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let set = socket.set_send_buffer_size(4 * BUFFER);
    set.ok(); // then a slow peer is taken for a silent one earlier
}

/// Errors of one connection, which says nothing about the next.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The rules by which bodies of requests are taken in.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) budget: Budget,
    /// Time that the next piece may take.
    pub(crate) pause: Duration,
}

/// Bytes of a body that does not say how long it is, which are counted at once.
const STEP: usize = 64 << 10;
/// Time that a body waits for room before its sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The middleware that takes in the bodies of requests: their bytes are held in the sender's share until the request is
/// answered, and one that stops coming is answered 408.
pub(crate) async fn take_in(
    State(intake): State<Intake>,
    request: Request,
    next: Next,
) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let Intake { budget, pause } = intake;
    let client = request.extensions().get::<ClientKey>().cloned();
    let owner = Owner::Sender(client.expect("the guard knows who sends"));
    let size = request.body().size_hint().exact();
    let counted = size.map_or(STEP, |size| usize::try_from(size).unwrap_or(usize::MAX));
    let Ok(hold) = tokio::time::timeout(PATIENCE, budget.take(&owner, counted)).await else {
        return Problem::busy().into_response();
    };
    let body = Arc::new(Mutex::new(Taken { holds: vec![hold], counted, bytes: 0, refused: None }));
    let taken = Arc::clone(&body);
    let request = request.map(|body| {
        let pieces = body.into_data_stream();
        Body::from_stream(futures::stream::unfold((pieces, taken), move |state| {
            let (budget, owner) = (budget.clone(), owner.clone());
            async move {
                let (mut pieces, taken) = state;
                let piece = match tokio::time::timeout(pause, pieces.next()).await {
                    Ok(piece) => piece?,
                    Err(_) => Err(lock(&taken).refuse(Problem::too_slow())),
                };
                let piece = piece.and_then(|piece| {
                    lock(&taken).count(piece.len(), &budget, &owner).map(|()| piece)
                });
                Some((piece, (pieces, taken)))
            }
        }))
    });
    // Whatever the route made of half a body, it did nothing with it.
    let answer = next.run(request).await;
    let refused = lock(&body).refused.take();
    refused.map_or(answer, IntoResponse::into_response)
}

/// The part of a body that has come.
struct Taken {
    holds: Vec<Hold>,
    /// Bytes that `holds` are for.
    counted: usize,
    bytes: usize,
    /// Why the rest is not taken.
    refused: Option<Problem>,
}

impl Taken {
    fn count(&mut self, more: usize, budget: &Budget, owner: &Owner) -> Result<(), axum::Error> {
        self.bytes = self.bytes.saturating_add(more);
        while self.counted < self.bytes {
            let Some(hold) = budget.try_take(owner, STEP) else {
                return Err(self.refuse(Problem::busy()));
            };
            self.counted += STEP;
            self.holds.push(hold);
        }
        Ok(())
    }

    fn refuse(&mut self, problem: Problem) -> axum::Error {
        self.refused = Some(problem);
        axum::Error::new(io::Error::other("the body is not taken"))
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats_and_gets_back_those_it_left() {
        let mut peers = Peers::new(2);
        let [ann, bob, us]: [IpAddr; 3] =
            ["192.0.2.1", "192.0.2.2", "127.0.0.1"].map(|ip| ip.parse().unwrap());
        let (first, second) = (peers.seat(ann), peers.seat(ann));
        assert!(first.is_some() && second.is_some() && peers.seat(ann).is_none());
        assert!(peers.seat(bob).is_some(), "others sit elsewhere");
        assert!((0..10).map(|_| peers.seat(us)).all(|seat| seat.is_some()), "this machine");
        drop(first);
        let again = peers.seat(ann);
        assert!(again.is_some() && peers.seat(ann).is_none());
        for host in 0..1000_u32 {
            peers.seat(std::net::Ipv4Addr::from_bits(host << 8).into()).unwrap();
        }
        assert!(peers.seats.len() <= 66, "who left is forgotten");
        assert!(peers.seat(ann).is_none(), "who stayed is not");
    }
}
