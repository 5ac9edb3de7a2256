//! Answers on their way to who asked for them.
//!
//! An answer that nobody takes is memory that somebody else chose to use. So its bytes are held in the [`Budget`] of
//! who asked, from when they are in memory until they are written to the connection; nothing more is read for somebody
//! whose share is used up; and whoever takes nothing for [`Limits::answer_pause`](crate::Limits) loses the connection.
//! A reader that waits for what comes next has nothing to take, and one that is slow takes something: neither is cut.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::{IntoResponse, Response},
};
use http_body::{Frame, SizeHint};
use tokio::time::error::Elapsed;

use crate::{
    budget::{Budget, Hold, Owner},
    config::Limits,
    following::Revoked,
    problem::Problem,
    streams::PAGE_BYTES,
};

/// Bytes that are handed to a connection at once: taking them is seen as soon as so many are taken.
const PIECE: usize = 16 << 10;
/// Time that a request waits for room before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A future that is there when it was polled to its end.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answers of one connection that are under way. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Mutex<UnderWay>>);

struct UnderWay {
    answers: Vec<Weak<OutgoingAnswer>>,
    /// When there are so many, those that are over are forgotten.
    forget_at: usize,
}

/// One answer: what the connection was given of it and has not written.
struct OutgoingAnswer {
    began: Instant,
    /// Bytes given and not written.
    out: AtomicUsize,
    /// Milliseconds from `began` to when some of them were written last, or, when there were none, given.
    moved: AtomicU64,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(UnderWay { answers: Vec::new(), forget_at: 16 })))
    }

    fn begin(&self) -> Arc<OutgoingAnswer> {
        let new = Arc::new(OutgoingAnswer {
            began: Instant::now(),
            out: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
        });
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.answers.len() >= under_way.forget_at {
            under_way.answers.retain(|answer| answer.strong_count() > 0);
            under_way.forget_at = 2 * under_way.answers.len() + 16;
        }
        under_way.answers.push(Arc::downgrade(&new));
        new
    }

    /// Whether some answer lies ready and nothing of it was taken for so long.
    pub(crate) fn are_left_lying(&self, pause: Duration) -> bool {
        let under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.answers.iter().filter_map(Weak::upgrade).any(|answer| {
            answer.out.load(Ordering::Relaxed) > 0
                && answer.age().saturating_sub(answer.moved.load(Ordering::Relaxed))
                    > u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
        })
    }
}

impl OutgoingAnswer {
    /// Milliseconds since it began.
    fn age(&self) -> u64 {
        self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Gives the connection a piece.
    fn give(self: &Arc<Self>, bytes: Bytes, hold: &Arc<Hold>) -> Bytes {
        if self.out.fetch_add(bytes.len(), Ordering::Relaxed) == 0 {
            self.moved.store(self.age(), Ordering::Relaxed);
        }
        Bytes::from_owner(Piece { bytes, delivery: Arc::clone(self), _hold: Arc::clone(hold) })
    }
}

/// A part of an answer, until the connection has written it.
struct Piece {
    bytes: Bytes,
    delivery: Arc<OutgoingAnswer>,
    _hold: Arc<Hold>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.delivery.moved.store(self.delivery.age(), Ordering::Relaxed);
        self.delivery.out.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Waits until there is room for one more answer of a client.
struct Gate {
    budget: Budget,
    owner: Owner,
    /// Bytes that an answer may have; those that it has count when it is there.
    bytes: usize,
    waiting: Option<Pin<Box<dyn Future<Output = Hold> + Send>>>,
}

impl Gate {
    fn new(budget: &Budget, owner: &Owner, bytes: usize) -> Self {
        Self { budget: budget.clone(), owner: owner.clone(), bytes, waiting: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Hold> {
        if self.waiting.is_none() {
            if let Some(hold) = self.budget.try_answer(&self.owner, self.bytes) {
                return Poll::Ready(hold);
            }
            let (budget, owner, bytes) = (self.budget.clone(), self.owner.clone(), self.bytes);
            self.waiting = Some(Box::pin(async move { budget.answer(&owner, bytes).await }));
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Pending };
        let hold = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(hold)
    }
}

/// Bytes of the largest page of a stream that people and agents make.
pub(crate) fn largest_page(limits: &Limits) -> usize {
    PAGE_BYTES + limits.body_bytes.max(limits.chunk_bytes)
}

/// The room that an answer was made in, on its way to where it is delivered.
#[derive(Clone)]
struct Made(Arc<Mutex<Option<Hold>>>);

/// The room for one client's answers.
pub(crate) struct AnswerRoom<'a> {
    pub(crate) budget: &'a Budget,
    pub(crate) owner: &'a Owner,
    /// Bytes that are in memory at once of one answer.
    pub(crate) bytes: usize,
}

impl AnswerRoom<'_> {
    /// Makes an answer when there is room for it.
    ///
    /// `waits`: it may wait for something before it begins. Then it holds nothing while it waits, and goes on when
    /// there is room: also when it waited for the same as a thousand others.
    ///
    /// # Cancel safety
    ///
    /// As the answer's.
    pub(crate) async fn make(
        &self,
        waits: bool,
        answer: impl Future<Output = Response>,
    ) -> Response {
        let made = match waits {
            true => self.while_there_is_room(answer).await,
            false => self.when_there_is_room(answer).await,
        };
        let Ok((mut answer, hold)) = made else { return Problem::busy().into_response() };
        answer.extensions_mut().insert(Made(Arc::new(Mutex::new(Some(hold)))));
        answer
    }

    async fn when_there_is_room(
        &self,
        answer: impl Future<Output = Response>,
    ) -> Result<(Response, Hold), Elapsed> {
        let room = tokio::time::timeout(PATIENCE, self.budget.answer(self.owner, self.bytes));
        let hold = room.await?;
        Ok((answer.await, hold))
    }

    async fn while_there_is_room(
        &self,
        answer: impl Future<Output = Response>,
    ) -> Result<(Response, Hold), Elapsed> {
        let mut answer = std::pin::pin!(answer);
        let mut gate = Gate::new(self.budget, self.owner, self.bytes);
        let mut patience: Option<Pin<Box<tokio::time::Timeout<std::future::Pending<()>>>>> = None;
        std::future::poll_fn(|cx| {
            let Poll::Ready(hold) = gate.poll(cx) else {
                let late = patience.get_or_insert_with(|| {
                    Box::pin(tokio::time::timeout(PATIENCE, std::future::pending()))
                });
                return late.as_mut().poll(cx).map(|late| Err(late.expect_err("it never ends")));
            };
            patience = None;
            answer.as_mut().poll(cx).map(|answer| Ok((answer, hold)))
        })
        .await
    }

    /// The answer with bytes that are held until they are written and which ends with the token it was asked for with.
    pub(crate) fn deliver(
        &self,
        mut answer: Response,
        outgoing: &Outgoing,
        revoked: Option<Revoked>,
    ) -> Response {
        let made = answer.extensions_mut().remove::<Made>();
        let hold =
            made.and_then(|made| made.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        answer.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            // A body that knows how long it is lies in memory.
            let whole = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
            let hold = match (whole, hold) {
                (Some(size), Some(mut hold)) => {
                    hold.set(size);
                    Some(hold)
                }
                (Some(size), None) => Some(self.budget.take_anyway(self.owner, size)),
                // What it has ready is given out first.
                (None, hold) => hold,
            };
            Body::new(Delivered {
                body,
                hold,
                frame: None,
                gate: Gate::new(self.budget, self.owner, self.bytes),
                delivery: outgoing.begin(),
                ended: revoked
                    .map(|revoked| -> Waiting { Box::pin(async move { revoked.revoked().await }) }),
            })
        })
    }
}

/// The body of an answer on its way.
struct Delivered {
    body: Body,
    /// Room of that part of the body which is in memory from the beginning.
    hold: Option<Hold>,
    /// A frame of the body that the connection was not given yet.
    frame: Option<(Bytes, Arc<Hold>)>,
    gate: Gate,
    delivery: Arc<OutgoingAnswer>,
    /// Ready when the reader's token is revoked.
    ended: Option<Waiting>,
}

/// The token of who reads was revoked in the middle of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the token was revoked")]
struct Ended;

impl HttpBody for Delivered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
            // A body that said how long it is cannot end before: that is an error, and the connection's end.
            let is_cut = this.size_hint().exact().is_some_and(|size| size > 0);
            (this.ended, this.frame, this.body) = (None, None, Body::empty());
            return Poll::Ready(is_cut.then(|| Err(axum::Error::new(Ended))));
        }
        loop {
            if let Some((rest, hold)) = &mut this.frame {
                let piece = rest.split_to(rest.len().min(PIECE));
                let piece = this.delivery.give(piece, hold);
                if rest.is_empty() {
                    this.frame = None;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let hold = match this.hold.take() {
                Some(hold) => hold,
                None => ready!(this.gate.poll(cx)),
            };
            // What waits for news holds nothing.
            let frame = ready!(Pin::new(&mut this.body).poll_frame(cx)?);
            let Some(frame) = frame else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    let mut hold = hold;
                    hold.set(bytes.len());
                    this.frame = Some((bytes, Arc::new(hold)));
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.frame.as_ref().map_or(0, |(rest, _)| rest.len() as u64);
        let behind = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = behind.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(behind.lower().saturating_add(rest));
        hint
    }
}
