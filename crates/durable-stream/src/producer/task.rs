//! The one owner of a producer's numbering.
//!
//! Batches under way form a *window* in the order of their numbers. A batch leaves it when it and
//! all before it are stored. Three answers change the plan rather than end the producer:
//!
//! - a gap (409): a later batch overtook an earlier one and was refused; it is sent again when the
//!   earlier is stored;
//! - too large (413): when nothing is under way any more, all that is left is cut into smaller
//!   batches under the numbers that were refused;
//! - replaced (403): the same, under the first numbers of a new epoch, if that may be claimed and
//!   nothing of it can have been stored.

use std::collections::VecDeque;
use std::future::pending;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use reqwest::Method;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::batch::{BodyShape, QueuedItem, fills_batch, take_batch};
use super::options::ProducerOptions;
use super::receipt::{Position, Receipt, stopped};
use crate::append::{AppendOptions, Appended, Closed, ProducerStamp};
use crate::error::Error;
use crate::handle::StreamHandle;
use crate::retry::RetryPolicy;
use crate::transport::Repeat;

/// Two producers of one id that both claim would go on for ever.
const MAX_CLAIMS: u32 = 5;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub(super) enum Command {
    Append(QueuedItem),
    Flush(Reply<()>),
    Close { last: Option<Bytes>, reply: Reply<Closed> },
    Detach(Reply<Position>),
}

/// A request that is answered when everything before it is stored.
enum Then {
    Flushed(Reply<()>),
    Detach(Reply<Position>),
}

/// How far a batch of the window is.
enum Stage {
    Sent,
    Stored(Appended),
    /// Refused because an earlier one was missing.
    Overtook,
    /// Refused for its size.
    TooLarge,
    /// Refused because of a later epoch. The flag: an attempt before that may have been stored.
    Fenced {
        error: Error,
        epoch: u64,
        maybe_stored: bool,
    },
}

struct BatchInFlight {
    seq: u64,
    items: Vec<QueuedItem>,
    body: Bytes,
    closes: bool,
    /// Sent when all before it were stored: a gap is not a matter of order then.
    alone: bool,
    stage: Stage,
}

type PostResult = Result<(Appended, bool), (Error, bool)>;

pub(super) struct Task {
    stream: StreamHandle,
    inbox: mpsc::UnboundedReceiver<Command>,
    /// All handles are gone.
    orphaned: bool,
    options: ProducerOptions,
    retry: RetryPolicy,
    body: BodyShape,
    epoch: u64,
    next_seq: u64,
    /// A batch of this epoch is stored. Before that a second one could be refused for starting an
    /// epoch in its middle.
    established: bool,
    claims: u32,
    /// Less than the option once the server has refused a batch for its size.
    max_batch_bytes: usize,

    queue: VecDeque<QueuedItem>,
    queued_bytes: usize,
    /// Items appended and items whose fate is known, ever.
    appended: u64,
    settled: u64,
    linger_until: Option<Instant>,
    /// Waits for `settled` to reach the number.
    waiting: VecDeque<(u64, Then)>,
    close: Option<(Option<Bytes>, Reply<Closed>)>,

    window: VecDeque<BatchInFlight>,
    sending: FuturesUnordered<BoxFuture<'static, (u64, PostResult)>>,
    /// A new numbering is due: sending rests until all answers are in.
    replanning: bool,
    /// The producer has closed the stream.
    closed: Option<Closed>,
    /// The code of the error that ended the producer, and the error itself until somebody has taken
    /// it.
    failed: Option<&'static str>,
    unclaimed: Option<Error>,
}

impl Task {
    pub(super) fn new(
        stream: StreamHandle,
        options: ProducerOptions,
        body: BodyShape,
        inbox: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            retry: options.retry.unwrap_or(*stream.client.retry()),
            stream,
            inbox,
            orphaned: false,
            body,
            epoch: options.epoch,
            next_seq: options.first_seq,
            // Going on in the middle of an epoch: the server knows it.
            established: options.first_seq > 0,
            claims: 0,
            max_batch_bytes: options.max_batch_bytes,
            options,
            queue: VecDeque::new(),
            queued_bytes: 0,
            appended: 0,
            settled: 0,
            linger_until: None,
            waiting: VecDeque::new(),
            close: None,
            window: VecDeque::new(),
            sending: FuturesUnordered::new(),
            replanning: false,
            closed: None,
            failed: None,
            unclaimed: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            // First what may fail, then the answers: a failure settles everything.
            self.launch();
            if self.answer_waiting() {
                return;
            }
            if self.orphaned && self.is_idle() {
                return;
            }
            let linger_until = self.linger_until;
            let linger = async move {
                match linger_until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                command = self.inbox.recv(), if !self.orphaned => match command {
                    Some(command) => self.obey(command),
                    None => self.orphaned = true,
                },
                Some((seq, outcome)) = self.sending.next(), if !self.sending.is_empty() => {
                    self.hear(seq, outcome);
                }
                () = linger => self.linger_until = None,
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.window.is_empty()
            && self.sending.is_empty()
            && self.close.is_none()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Append(item) if self.failed.is_some() || self.close.is_some() => {
                let error = self.failure();
                self.refuse(item, error);
            }
            Command::Append(item) => {
                if self.queue.is_empty() && !self.options.linger.is_zero() {
                    self.linger_until = Some(Instant::now() + self.options.linger);
                }
                self.queued_bytes += item.bytes.len();
                self.appended += 1;
                self.queue.push_back(item);
            }
            Command::Flush(reply) => self.waiting.push_back((self.appended, Then::Flushed(reply))),
            Command::Detach(reply) => self.waiting.push_back((self.appended, Then::Detach(reply))),
            Command::Close { reply, .. } if self.closed.is_some() => {
                reply.send(self.closed.clone().ok_or_else(stopped)).ok();
            }
            Command::Close { reply, .. } if self.failed.is_some() || self.close.is_some() => {
                let error = self.failure();
                if let Err(Err(error)) = reply.send(Err(error)) {
                    self.keep(error);
                }
            }
            Command::Close { last, reply } => self.close = Some((last, reply)),
        }
    }

    /// Replies to those who wait for what is settled by now. Returns whether that ends the
    /// producer.
    fn answer_waiting(&mut self) -> bool {
        while let Some((until, _)) = self.waiting.front() {
            if *until > self.settled {
                break;
            }
            let Some((_, then)) = self.waiting.pop_front() else { break };
            let failed = self.failed.is_some() && self.closed.is_none();
            let failure = failed.then(|| self.failure());
            let (unheard, ends) = match then {
                Then::Flushed(reply) => {
                    (reply.send(failure.map_or(Ok(()), Err)).err().and_then(Result::err), false)
                }
                Then::Detach(reply) => {
                    let position = Position { epoch: self.epoch, next_seq: self.next_seq };
                    (
                        reply.send(failure.map_or(Ok(position), Err)).err().and_then(Result::err),
                        true,
                    )
                }
            };
            if let Some(error) = unheard {
                self.keep(error);
            }
            if ends {
                return true;
            }
        }
        false
    }

    /// Sends what may be sent now.
    fn launch(&mut self) {
        if self.failed.is_some() {
            return;
        }
        if self.replanning {
            if !self.sending.is_empty() {
                return;
            }
            self.replan();
            if self.failed.is_some() {
                return;
            }
        }
        loop {
            let room = if self.established { self.options.max_in_flight } else { 1 };
            if self.window.len() >= room || self.queue.is_empty() || !self.is_due() {
                break;
            }
            let items =
                take_batch(&mut self.queue, self.options.max_batch_items, self.max_batch_bytes);
            self.queued_bytes -= items.iter().map(|item| item.bytes.len()).sum::<usize>();
            let body = self.body.build(&items);
            self.start(items, body, false);
        }
        // What is left of the queue fills no batch: it lingers anew.
        if self.queue.is_empty() {
            self.linger_until = None;
        }
        if let (Some((last, _)), true) =
            (&self.close, self.queue.is_empty() && self.window.is_empty())
        {
            let body = match (last, self.body) {
                (None, _) => Bytes::new(),
                (Some(last), BodyShape::Joined) => last.clone(),
                (Some(last), BodyShape::JsonArray) => [b"[", &last[..], b"]"].concat().into(),
            };
            self.start(Vec::new(), body, true);
        }
    }

    /// Whether the front of the queue should wait no longer.
    fn is_due(&self) -> bool {
        self.linger_until.is_none()
            || self.orphaned
            || self.close.is_some()
            || !self.waiting.is_empty()
            || fills_batch(
                self.queue.len(),
                self.queued_bytes,
                self.options.max_batch_items,
                self.max_batch_bytes,
            )
    }

    fn start(&mut self, items: Vec<QueuedItem>, body: Bytes, closes: bool) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.post(seq, body.clone(), closes);
        let alone = self.window.is_empty();
        self.window.push_back(BatchInFlight {
            seq,
            items,
            body,
            closes,
            alone,
            stage: Stage::Sent,
        });
    }

    fn post(&self, seq: u64, body: Bytes, closes: bool) {
        let stream = self.stream.clone();
        let retry = self.retry;
        let append = AppendOptions {
            content_type: self.options.content_type.clone(),
            producer: Some(ProducerStamp { id: self.options.id.clone(), epoch: self.epoch, seq }),
            close: closes,
            ..AppendOptions::default()
        };
        let post = async move {
            let headers = match append.headers(&body) {
                Ok(headers) => headers,
                Err(error) => return (seq, Err((error, false))),
            };
            let request = stream.request(Method::POST, headers, Some(body));
            let sent = stream.client.send_by(&retry, &request, Repeat::Freely).await;
            let outcome = match sent {
                Ok((response, maybe_stored)) => {
                    let appended = Appended::of(&response, true);
                    response.done().await;
                    Ok((appended, maybe_stored))
                }
                Err(failed) => Err(failed),
            };
            (seq, outcome)
        };
        self.sending.push(post.boxed());
    }

    /// Takes the answer to one batch.
    fn hear(&mut self, seq: u64, outcome: PostResult) {
        let Some(index) = self.window.iter().position(|flight| flight.seq == seq) else {
            return;
        };
        let flight = &self.window[index];
        let (alone, divisible) = (flight.alone, flight.items.len() > 1);
        let stage = match outcome {
            Ok((appended, _)) => Stage::Stored(appended),
            Err((Error::SequenceGap { expected, .. }, _)) if !alone && expected < seq => {
                Stage::Overtook
            }
            Err((Error::TooLarge { .. }, _)) if divisible => {
                self.replanning = true;
                Stage::TooLarge
            }
            Err((error @ Error::Fenced { epoch, .. }, maybe_stored)) if self.options.auto_claim => {
                self.replanning = true;
                Stage::Fenced { error, epoch, maybe_stored }
            }
            Err((error, _)) => return self.fail(error),
        };
        self.window[index].stage = stage;
        self.release_stored();
    }

    /// Lets stored batches go, in order, and sends the next again if it had overtaken them.
    fn release_stored(&mut self) {
        while let Some(BatchInFlight { stage: Stage::Stored(_), .. }) = self.window.front() {
            let Some(flight) = self.window.pop_front() else { break };
            let Stage::Stored(appended) = flight.stage else { break };
            self.established = true;
            self.claims = 0;
            self.settled += flight.items.len() as u64;
            let receipt = Receipt {
                next_offset: appended.next_offset,
                duplicate: appended.duplicate,
                epoch: self.epoch,
                seq: flight.seq,
            };
            for item in flight.items {
                // Whoever dropped the other end does not want to know.
                item.answer.send(Ok(receipt.clone())).ok();
            }
            if flight.closes
                && let Some((_, reply)) = self.close.take()
            {
                let closed = Closed { next_offset: receipt.next_offset };
                self.closed = Some(closed.clone());
                reply.send(Ok(closed)).ok();
                self.failed = Some("stream-closed");
            }
        }
        if self.replanning {
            return;
        }
        if let Some(first) = self.window.front_mut()
            && matches!(first.stage, Stage::Overtook)
        {
            first.stage = Stage::Sent;
            first.alone = true;
            let (seq, body, closes) = (first.seq, first.body.clone(), first.closes);
            self.post(seq, body, closes);
        }
    }

    /// All answers are in: numbers what is left anew.
    fn replan(&mut self) {
        self.replanning = false;
        let Some(first) = self.window.front() else { return };
        let mut next_seq = first.seq;
        let mut claim = None;
        let mut lost = None;
        for flight in &mut self.window {
            match std::mem::replace(&mut flight.stage, Stage::Sent) {
                Stage::Fenced { error, maybe_stored: true, .. } => lost = Some(error),
                Stage::Fenced { epoch, error, .. }
                    if claim.as_ref().is_none_or(|(known, _)| epoch > *known) =>
                {
                    claim = Some((epoch, error));
                }
                Stage::TooLarge => {
                    let half = (flight.body.len() / 2).max(1);
                    self.max_batch_bytes = self.max_batch_bytes.min(half);
                }
                Stage::Fenced { .. } | Stage::Overtook | Stage::Sent | Stage::Stored(_) => {}
            }
        }
        if let Some(error) = lost {
            return self.fail(error);
        }
        if let Some((epoch, error)) = claim {
            self.claims += 1;
            if self.claims > MAX_CLAIMS || epoch >= crate::wire::MAX_PRODUCER_NUMBER {
                return self.fail(error);
            }
            self.epoch = epoch + 1;
            self.established = false;
            next_seq = 0;
        }
        self.next_seq = next_seq;
        for flight in std::mem::take(&mut self.window).into_iter().rev() {
            for item in flight.items.into_iter().rev() {
                self.queued_bytes += item.bytes.len();
                self.queue.push_front(item);
            }
        }
        self.linger_until = None;
    }

    /// Ends the producer. Nothing after the failed batch may be stored, or there would be a hole.
    fn fail(&mut self, error: Error) {
        self.failed = Some(error.code());
        self.unclaimed = Some(error);
        self.sending.clear();
        self.replanning = false;
        self.linger_until = None;
        let window = std::mem::take(&mut self.window).into_iter().flat_map(|flight| flight.items);
        let items: Vec<QueuedItem> = window.chain(std::mem::take(&mut self.queue)).collect();
        self.queued_bytes = 0;
        self.settled = self.appended;
        for item in items {
            let error = self.failure();
            self.refuse(item, error);
        }
        if let Some((_, reply)) = self.close.take() {
            let error = self.failure();
            if let Err(Err(error)) = reply.send(Err(error)) {
                self.keep(error);
            }
        }
    }

    fn refuse(&mut self, item: QueuedItem, error: Error) {
        if let Err(Err(error)) = item.answer.send(Err(error)) {
            self.keep(error);
        }
    }

    /// The error itself for the first who asks, its code for all others.
    fn failure(&mut self) -> Error {
        let code = self.failed.unwrap_or("closing");
        self.unclaimed.take().unwrap_or(Error::ProducerStopped { code })
    }

    /// Nobody was there to take the error: the next who asks gets it.
    fn keep(&mut self, error: Error) {
        if !matches!(error, Error::ProducerStopped { .. }) {
            self.unclaimed = Some(error);
        }
    }
}
