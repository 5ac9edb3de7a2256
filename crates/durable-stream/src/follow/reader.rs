//! The reader behind [`Follow`](super::Follow): one step at a time, each of which either brings news or fails.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::{Batch, FollowOptions, FollowState, Live, OnState};
use crate::body::{Collector, Framing};
use crate::error::{Error, StreamUrl};
use crate::handle::StreamHandle;
use crate::nudge::{Nudge, Pulse};
use crate::offset::Offset;
use crate::pairing::{Pairing, PairingError};
use crate::retry::RetryPolicy;
use crate::sse::{SseDecoder, SseEvent};
use crate::transport::{Request, Response, uncompressed};
use crate::wire::media_type;

/// An event stream that lived this long was worth opening, whatever it brought.
const WORTHWHILE: Duration = Duration::from_secs(1);

/// After this many event streams in a row that were not, long polls take over.
const MAX_WORTHLESS: u32 = 3;

/// Long polls answered faster than this without news are not polls that waited.
const INSTANT: Duration = Duration::from_millis(50);

/// How many instant empty answers in a row are taken without a pause.
const MAX_INSTANT: u32 = 3;

/// Where the next batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    CatchUp,
    Sse,
    LongPoll,
}

impl Mode {
    fn query(self) -> Option<&'static str> {
        match self {
            Self::CatchUp => None,
            Self::Sse => Some("sse"),
            Self::LongPoll => Some("long-poll"),
        }
    }
}

/// An open event stream.
struct Events {
    response: Response,
    decoder: SseDecoder,
    pairing: Pairing,
    decoded: Vec<SseEvent>,
    opened: Instant,
    /// Where the last control event has led.
    place: Offset,
    /// A control event has come.
    spoke: bool,
    /// The offset has moved.
    moved: bool,
}

impl Events {
    fn was_worthwhile(&self) -> bool {
        self.moved || self.opened.elapsed() >= WORTHWHILE
    }
}

pub(super) struct Reader {
    stream: StreamHandle,
    live: Live,
    retry: RetryPolicy,
    on_state: Option<OnState>,
    nudges: [Nudge; 2],
    /// How often each nudge had been given when the current step began: a later wake ends the wait after it.
    pulses: [Pulse; 2],
    /// The same when the current connection was sought: a later reconnect leaves it.
    connected: [Pulse; 2],

    mode: Mode,
    offset: Offset,
    cursor: Option<String>,
    /// The reader has said that it is up to date.
    up_to_date: bool,
    /// What answers that are not event streams have brought and is not committed yet.
    collector: Option<Collector>,
    /// Where to read on when that ends inside an item.
    ahead: Option<Offset>,
    events: Option<Events>,
    ready: VecDeque<Batch>,
    failed: Option<Error>,
    ended: bool,

    state: Option<FollowState>,
    failures: u32,
    worthless: u32,
    instant: u32,
    /// Event streams do not get through here, or would not be exact.
    polls_only: bool,
}

impl Reader {
    pub(super) fn new(stream: StreamHandle, options: FollowOptions, nudge: Nudge) -> Self {
        let nudges = [stream.client.nudge().clone(), nudge];
        Self {
            retry: options.retry.unwrap_or(*stream.client.follow_retry()),
            stream,
            live: options.live,
            on_state: options.on_state,
            pulses: [nudges[0].pulse(), nudges[1].pulse()],
            connected: [nudges[0].pulse(), nudges[1].pulse()],
            nudges,
            mode: Mode::CatchUp,
            offset: options.from,
            cursor: options.cursor,
            up_to_date: false,
            collector: None,
            ahead: None,
            events: None,
            ready: VecDeque::new(),
            failed: None,
            ended: false,
            state: None,
            failures: 0,
            worthless: 0,
            instant: 0,
            polls_only: options.live == Live::LongPoll,
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Batch, Error>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(Ok(batch));
            }
            // What was committed before a failure is delivered before it.
            if let Some(error) = self.failed.take()
                && let Err(error) = self.recover(error).await
            {
                self.ended = true;
                return Some(Err(error));
            }
            if self.ended {
                return None;
            }
            self.failed = self.step().await.err();
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        self.pulses = self.given();
        let nudges = self.nudges.clone();
        let [client, own] = self.connected;
        tokio::select! {
            done = self.advance() => done,
            () = nudges[0].reconnected(client) => { self.reconnect(); Ok(()) }
            () = nudges[1].reconnected(own) => { self.reconnect(); Ok(()) }
        }
    }

    fn given(&self) -> [Pulse; 2] {
        [self.nudges[0].pulse(), self.nudges[1].pulse()]
    }

    /// Starts over from the last offset. What an open event stream had not committed comes again.
    fn reconnect(&mut self) {
        self.connected = self.given();
        self.forget();
        self.mode = Mode::CatchUp;
        self.tell(FollowState::Connecting);
        // The network may be another one now.
        self.polls_only = self.live == Live::LongPoll;
        self.worthless = 0;
    }

    /// Drops what is not committed.
    fn forget(&mut self) {
        self.events = None;
        self.ahead = None;
        self.collector = self.collector.take().map(|collector| self.collect(collector.framing()));
    }

    fn collect(&self, framing: Framing) -> Collector {
        let limits = self.stream.client.limits();
        Collector::new(framing, limits.items, limits.body)
    }

    async fn advance(&mut self) -> Result<(), Error> {
        match self.mode {
            Mode::CatchUp => self.catch_up().await,
            Mode::Sse if self.events.is_none() => self.open_events().await,
            Mode::Sse => self.read_events().await,
            Mode::LongPoll => self.poll().await,
        }
    }

    /// Waits until the next attempt, or gives the error back when there is to be none.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        let events = self.events.take();
        self.forget();
        if !error.is_retryable() {
            return Err(error);
        }
        if self.mode == Mode::Sse {
            if events.is_some_and(|events| events.was_worthwhile()) {
                self.progress();
                self.worthless = 0;
            } else {
                self.worthless += 1;
                self.polls_only |= self.live == Live::Auto && self.worthless >= MAX_WORTHLESS;
            }
        }
        let Some(delay) = self.retry.delay(self.failures, error.retry_after()) else {
            return Err(error);
        };
        self.failures += 1;
        self.mode = Mode::CatchUp;
        self.tell(FollowState::Retrying {
            attempt: self.failures,
            delay,
            at: SystemTime::now() + delay,
            cause_code: error.code(),
            status: error.status(),
        });
        tracing::debug!(
            code = error.code(),
            attempt = self.failures,
            ?delay,
            "reader will try again"
        );
        let [client, own] = self.pulses;
        tokio::select! {
            () = sleep(delay) => {}
            () = self.nudges[0].woken(client) => {}
            () = self.nudges[1].woken(own) => {}
        }
        self.connected = self.given();
        self.tell(FollowState::Connecting);
        Ok(())
    }

    fn progress(&mut self) {
        self.failures = 0;
    }

    fn tell(&mut self, state: FollowState) {
        if self.state.as_ref() != Some(&state) {
            if let Some(hear) = &self.on_state {
                hear(state.clone());
            }
            self.state = Some(state);
        }
    }

    async fn get(&self, mode: Mode) -> Result<Response, Error> {
        let timeouts = self.stream.client.timeouts();
        let mut request = self.stream.request(Method::GET, HeaderMap::new(), None);
        self.address(&mut request, mode);
        match mode {
            Mode::CatchUp => {}
            Mode::LongPoll => request.wait = timeouts.long_poll,
            Mode::Sse => {
                request.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
                uncompressed(&mut request.headers);
            }
        }
        self.stream.client.send_once(&request).await
    }

    /// Sets the query. Its keys are in order, so that caches see one address for one request.
    fn address(&self, request: &mut Request, mode: Mode) {
        let mut query: Vec<(String, String)> = request
            .url
            .query_pairs()
            .filter(|(key, _)| !matches!(&**key, "offset" | "live" | "cursor"))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        query.push(("offset".to_owned(), self.place().to_string()));
        if let Some(live) = mode.query() {
            query.push(("live".to_owned(), live.to_owned()));
            query.extend(self.cursor.clone().map(|cursor| ("cursor".to_owned(), cursor)));
        }
        query.sort();
        request.url.query_pairs_mut().clear().extend_pairs(query);
    }

    /// Where to read on.
    fn place(&self) -> &Offset {
        self.ahead.as_ref().unwrap_or(&self.offset)
    }

    async fn catch_up(&mut self) -> Result<(), Error> {
        if self.state.is_none() {
            self.tell(FollowState::Connecting);
        }
        let response = self.get(Mode::CatchUp).await?;
        if !self.up_to_date {
            self.tell(FollowState::CatchingUp);
        }
        let answer = self.take(response).await?;
        // A proxy may have dropped the header that says so, but there is nothing more to read.
        let up_to_date = answer.up_to_date || answer.stuck;
        let closed = answer.closed;
        self.commit(Answer { up_to_date, ..answer })?;
        if up_to_date && !closed {
            match self.live {
                Live::No => self.ended = true,
                Live::LongPoll => self.mode = Mode::LongPoll,
                Live::Auto | Live::Sse if self.polls_only => self.mode = Mode::LongPoll,
                Live::Auto | Live::Sse => self.mode = Mode::Sse,
            }
            if self.mode == Mode::LongPoll {
                self.tell(FollowState::Live);
            }
        }
        Ok(())
    }

    async fn poll(&mut self) -> Result<(), Error> {
        let asked = Instant::now();
        let response = self.get(Mode::LongPoll).await?;
        let answer = self.take(response).await?;
        self.progress();
        self.tell(FollowState::Live);
        let waited = asked.elapsed() >= INSTANT || !answer.stuck || answer.closed;
        // A poll that ended without data has waited at the end of the stream.
        let up_to_date = answer.up_to_date || answer.stuck;
        self.commit(Answer { up_to_date, ..answer })?;
        if waited {
            self.instant = 0;
        } else {
            self.instant += 1;
            if let Some(over) = self.instant.checked_sub(MAX_INSTANT) {
                sleep(RetryPolicy::forever().delay(over, None).unwrap_or_default()).await;
            }
        }
        Ok(())
    }

    async fn open_events(&mut self) -> Result<(), Error> {
        let may_poll = self.live == Live::Auto;
        let response = match self.get(Mode::Sse).await {
            Ok(response) => response,
            Err(error)
                if may_poll
                    && matches!(error.status(), Some(400 | 405 | 406 | 415 | 501 | 505)) =>
            {
                self.give_up_events();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let reply = response.reply();
        let is_events =
            reply.content_type().map(media_type).as_deref() == Some("text/event-stream");
        if !is_events {
            if may_poll {
                self.give_up_events();
                return Ok(());
            }
            return Err(self.protocol("it is not an event stream"));
        }
        let limits = self.stream.client.limits();
        let known = self.collector.as_ref().map_or(Framing::Bytes, Collector::framing);
        let framing = reply.sse_content_type().map_or(known, Framing::of);
        let collector = Collector::new(framing, limits.items, limits.sse_event);
        self.events = Some(Events {
            decoder: SseDecoder::new(limits.sse_line, limits.sse_event),
            pairing: Pairing::new(collector, reply.is_base64_sse(), limits.sse_event),
            place: self.offset.clone(),
            response,
            decoded: Vec::new(),
            opened: Instant::now(),
            spoke: false,
            moved: false,
        });
        // With nothing to fall back to there is no use in waiting for its first word.
        if self.live == Live::Sse {
            self.tell(FollowState::Live);
        }
        Ok(())
    }

    fn give_up_events(&mut self) {
        tracing::debug!("event streams do not get through, polling instead");
        self.polls_only = true;
        self.mode = Mode::LongPoll;
    }

    /// Reads one piece of the event stream and delivers what it completes, as one batch.
    async fn read_events(&mut self) -> Result<(), Error> {
        let timeouts = *self.stream.client.timeouts();
        let Some(events) = &mut self.events else { return Ok(()) };
        let first = self.live == Live::Auto && !events.spoke;
        let idle = if first { timeouts.sse_first_event } else { timeouts.sse_idle };
        let piece = match events.response.piece(idle).await {
            Err(Error::Timeout { .. }) if first => {
                self.events = None;
                self.give_up_events();
                return Ok(());
            }
            piece => piece?,
        };
        let Some(piece) = piece else {
            let url = events.response.url().clone();
            if events.was_worthwhile() {
                self.events = None;
                self.worthless = 0;
                self.progress();
                return Ok(());
            }
            return Err(Error::Interrupted { url, source: None });
        };
        self.decode(&piece)
    }

    fn decode(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Some(mut events) = self.events.take() else { return Ok(()) };
        let url = events.response.url().clone();
        let mut decoded = std::mem::take(&mut events.decoded);
        let fed = events.decoder.feed(piece, &mut decoded);
        let mut news: Option<Batch> = None;
        let mut failed = None;
        for event in decoded.drain(..) {
            let pair = match events.pairing.event(&event) {
                Ok(Some(pair)) => pair,
                Ok(None) => continue,
                Err(PairingError::Sse(source)) => {
                    failed = Some(Error::Sse { url: url.clone(), source });
                    break;
                }
                Err(PairingError::Body(source)) => {
                    failed = Some(Error::Body { url: url.clone(), source });
                    break;
                }
            };
            events.spoke = true;
            let control = pair.control;
            let moved = events.place != control.next_offset;
            events.moved |= moved;
            events.place.clone_from(&control.next_offset);
            // The place is inside an item, whose rest is still to come.
            let Some(items) = pair.items else { continue };
            let batch = news.get_or_insert_with(|| Batch {
                items: Vec::new(),
                next_offset: self.offset.clone(),
                cursor: self.cursor.clone(),
                up_to_date: false,
                closed: false,
            });
            // Data that does not move the offset was sent before: something on the way repeated it.
            if moved {
                batch.items.extend(items);
            }
            batch.next_offset = control.next_offset;
            batch.cursor = control.cursor.or(batch.cursor.take());
            batch.up_to_date = control.up_to_date || control.closed;
            batch.closed = control.closed;
            if batch.closed {
                break;
            }
        }
        events.decoded = decoded;
        if events.moved {
            self.progress();
            self.worthless = 0;
        }
        let spoke = events.spoke;
        self.events = Some(events);
        if let Some(batch) = news {
            self.deliver(batch);
        }
        if spoke && !self.ended {
            self.tell(FollowState::Live);
        }
        match (failed, fed) {
            (Some(error), _) if !self.ended => Err(error),
            (None, Err(source)) if !self.ended => Err(Error::Sse { url, source }),
            _ => Ok(()),
        }
    }

    /// Reads an answer that is not an event stream.
    async fn take(&mut self, response: Response) -> Result<Answer, Error> {
        let client = &self.stream.client;
        let has_body = response.status() != StatusCode::NO_CONTENT;
        let reply = response.reply();
        let mut answer = Answer {
            next_offset: self.place().clone(),
            cursor: reply.cursor(),
            up_to_date: reply.up_to_date(),
            closed: reply.closed(),
            stuck: true,
        };
        let next = reply.next_offset();
        let framing = reply.content_type().filter(|_| has_body).map(Framing::of);
        // An event stream carries text by lines: it loses which line ends they had, and servers that write `data:`
        // without a space after it lose a space at the start of each.
        let is_text =
            reply.content_type().is_some_and(|kind| media_type(kind).starts_with("text/"));
        let url = response.url().clone();
        let body = response.body(client.limits().body, client.timeouts().idle).await?;
        let body = if has_body { body } else { Bytes::new() };

        self.polls_only |= self.live == Live::Auto && has_body && is_text;
        let known = self.collector.take();
        let mut collector = match (known, framing) {
            (Some(known), None) => known,
            (Some(known), Some(framing)) if known.framing() == framing => known,
            (_, framing) => self.collect(framing.unwrap_or(Framing::Bytes)),
        };
        let empty = collector.is_blank(&body);
        collector.push(&body).map_err(|source| Error::Body { url, source })?;
        self.collector = Some(collector);
        match next {
            Some(next @ Offset::At(_)) => answer.next_offset = next,
            Some(_) => return Err(self.protocol("its next offset is not a place")),
            // Without items nothing has moved, so that a proxy may lose the header.
            None if empty && matches!(self.offset, Offset::At(_)) => {}
            None => return Err(self.protocol("it has no next offset")),
        }
        answer.stuck = answer.next_offset == *self.place();
        if answer.stuck && !empty && !answer.closed {
            return Err(self.protocol("the offset does not move on"));
        }
        Ok(answer)
    }

    /// Delivers what the collector holds, unless the answer ends inside an item.
    fn commit(&mut self, answer: Answer) -> Result<(), Error> {
        let at_end = answer.up_to_date || answer.closed;
        let items = match &mut self.collector {
            Some(collector) => collector.commit(at_end),
            None => Ok(Some(Vec::new())),
        };
        let url = StreamUrl::from(self.stream.url());
        match items.map_err(|source| Error::Body { url, source })? {
            Some(items) => self.deliver(Batch {
                items,
                next_offset: answer.next_offset,
                cursor: answer.cursor.or_else(|| self.cursor.clone()),
                up_to_date: at_end,
                closed: answer.closed,
            }),
            None => self.ahead = Some(answer.next_offset),
        }
        Ok(())
    }

    /// Commits a batch: offset, cursor and items together. What brings no news is not handed out.
    fn deliver(&mut self, batch: Batch) {
        let news = !batch.items.is_empty()
            || batch.next_offset != self.offset
            || batch.closed
            || batch.up_to_date && !self.up_to_date;
        if batch.next_offset != self.offset {
            self.progress();
        }
        self.ahead = None;
        self.offset.clone_from(&batch.next_offset);
        self.cursor.clone_from(&batch.cursor);
        self.up_to_date = batch.up_to_date;
        // L10: only this ends a reader that follows.
        self.ended |= batch.closed;
        if self.ended {
            self.events = None;
        }
        if news {
            self.ready.push_back(batch);
        }
    }

    fn protocol(&self, reason: &'static str) -> Error {
        Error::Protocol { reason, url: StreamUrl::from(self.stream.url()) }
    }
}

/// An answer that is not an event stream; its items are in the collector.
struct Answer {
    next_offset: Offset,
    cursor: Option<String>,
    up_to_date: bool,
    closed: bool,
    /// It leads to where it was asked from.
    stuck: bool,
}
