//! The reader behind [`Follow`](super::Follow): one step at a time, each of which either brings
//! news or fails.
//!
//! `state` says which step follows which; the steps here do the I/O and say what they found.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::batch::Batch;
use super::events::Events;
use super::options::{FollowOptions, FollowState, OnState};
use super::state::{Finding, ReaderState, Route, Wait};
use crate::body::Collector;
use crate::error::{Error, StreamUrl};
use crate::handle::StreamHandle;
use crate::media::{Framing, media_type};
use crate::nudge::{Nudge, Pulse};
use crate::offset::Offset;
use crate::retry::RetryPolicy;
use crate::transport::{Request, Response, uncompressed};

/// Time within which a long poll without news was answered at once, and has not waited.
const INSTANT: Duration = Duration::from_millis(50);

/// Number of empty answers at once that are taken in a row without a pause.
const MAX_INSTANT: u32 = 3;

type Step = Finding<Box<Events>>;

/// The kind of a read, for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadKind {
    Page,
    LongPoll,
    Sse,
}

impl ReadKind {
    /// Value of the query's `live`.
    fn live(self) -> Option<&'static str> {
        match self {
            Self::Page => None,
            Self::LongPoll => Some("long-poll"),
            Self::Sse => Some("sse"),
        }
    }
}

pub(super) struct Reader {
    stream: StreamHandle,
    state: ReaderState<Box<Events>>,
    route: Route,

    /// Place after everything that was committed.
    offset: Offset,
    cursor: Option<String>,
    /// The last batch was up to date.
    up_to_date: bool,
    /// Items of pages that are not committed yet.
    collector: Option<Collector>,
    /// Place to read on from when they end inside an item.
    ahead: Option<Offset>,
    /// Batches, and an error behind them, to be handed out before the next step.
    ready: VecDeque<Result<Batch, Error>>,

    retry: RetryPolicy,
    /// Number of attempts that have failed in a row.
    failures: u32,
    nudges: [Nudge; 2],
    /// Pulses of the nudges at the last reconnect: a later one leaves the connection.
    reconnected: [Pulse; 2],

    on_state: Option<OnState>,
    /// The state that was told last.
    told: Option<FollowState>,
}

impl Reader {
    pub(super) fn new(stream: StreamHandle, options: FollowOptions, nudge: Nudge) -> Self {
        let nudges = [stream.client.nudge().clone(), nudge];
        Self {
            retry: options.retry.unwrap_or(*stream.client.follow_retry()),
            stream,
            state: ReaderState::CatchUp,
            route: Route::new(options.live),
            offset: options.from,
            cursor: options.cursor,
            up_to_date: false,
            collector: None,
            ahead: None,
            ready: VecDeque::new(),
            failures: 0,
            reconnected: [nudges[0].pulse(), nudges[1].pulse()],
            nudges,
            on_state: options.on_state,
            told: None,
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Batch, Error>> {
        loop {
            // What was committed before a failure is delivered before it.
            if let Some(news) = self.ready.pop_front() {
                return Some(news);
            }
            if matches!(self.state, ReaderState::Ended) {
                return None;
            }
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let since = self.pulses();
        let nudges = self.nudges.clone();
        let [client, own] = self.reconnected;
        let found = tokio::select! {
            // A reconnect also wakes, and is more than that.
            biased;
            () = nudges[0].reconnected(client) => self.reconnect(),
            () = nudges[1].reconnected(own) => self.reconnect(),
            found = self.advance() => found.unwrap_or_else(|error| self.fail(error, since)),
        };
        let state = std::mem::replace(&mut self.state, ReaderState::Ended);
        self.state = state.after(found, &mut self.route);
    }

    async fn advance(&mut self) -> Result<Step, Error> {
        match self.state {
            ReaderState::CatchUp => self.catch_up().await,
            ReaderState::Opening => self.open_events().await,
            ReaderState::Events(_) => self.read_events().await,
            ReaderState::Polling { instant } => self.poll(instant).await,
            ReaderState::Waiting(wait) => Ok(self.wait(wait).await),
            ReaderState::Ended => Ok(Finding::Over),
        }
    }

    fn pulses(&self) -> [Pulse; 2] {
        [self.nudges[0].pulse(), self.nudges[1].pulse()]
    }

    /// Leaves the connection. What it had not committed comes again.
    fn reconnect(&mut self) -> Step {
        self.reconnected = self.pulses();
        self.drop_uncommitted();
        self.tell(FollowState::Connecting);
        Finding::Reconnect
    }

    /// Plans the next attempt, or delivers the error when there is to be none.
    fn fail(&mut self, error: Error, since: [Pulse; 2]) -> Step {
        let worthwhile =
            matches!(&self.state, ReaderState::Events(events) if events.was_worthwhile());
        if worthwhile {
            self.failures = 0;
        }
        self.drop_uncommitted();
        let delay = self.retry.delay(self.failures, error.retry_after());
        let Some(delay) = delay.filter(|_| error.is_retryable()) else {
            self.ready.push_back(Err(error));
            return Finding::Over;
        };
        self.failures += 1;
        let attempt = self.failures;
        let code = error.code();
        tracing::debug!(code, attempt, ?delay, "reader will try again");
        let wait = Wait { delay, attempt, code, status: error.status(), since };
        Finding::Failed { worthwhile, wait }
    }

    fn drop_uncommitted(&mut self) {
        self.ahead = None;
        if let Some(collector) = &mut self.collector {
            collector.clear();
        }
    }

    async fn wait(&mut self, wait: Wait) -> Step {
        self.tell(FollowState::Retrying {
            attempt: wait.attempt,
            delay: wait.delay,
            at: SystemTime::now() + wait.delay,
            cause_code: wait.code,
            status: wait.status,
        });
        let [client, own] = wait.since;
        tokio::select! {
            () = sleep(wait.delay) => {}
            () = self.nudges[0].woken(client) => {}
            () = self.nudges[1].woken(own) => {}
        }
        self.tell(FollowState::Connecting);
        Finding::Elapsed
    }

    fn tell(&mut self, state: FollowState) {
        if self.told.as_ref() != Some(&state) {
            if let Some(hear) = &self.on_state {
                hear(state.clone());
            }
            self.told = Some(state);
        }
    }

    async fn get(&self, read: ReadKind) -> Result<Response, Error> {
        let timeouts = self.stream.client.timeouts();
        let mut request = self.stream.request(Method::GET, HeaderMap::new(), None);
        self.address(&mut request, read);
        match read {
            ReadKind::Page => {}
            ReadKind::LongPoll => request.wait = timeouts.long_poll,
            ReadKind::Sse => {
                request.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
                uncompressed(&mut request.headers);
            }
        }
        self.stream.client.send_once(&request).await
    }

    /// Sets the query. Its keys are in order, so that caches see one address for one request.
    fn address(&self, request: &mut Request, read: ReadKind) {
        let mut query: Vec<(String, String)> = request
            .url
            .query_pairs()
            .filter(|(key, _)| !matches!(&**key, "offset" | "live" | "cursor"))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        query.push(("offset".to_owned(), self.place().to_string()));
        if let Some(live) = read.live() {
            query.push(("live".to_owned(), live.to_owned()));
            query.extend(self.cursor.clone().map(|cursor| ("cursor".to_owned(), cursor)));
        }
        query.sort();
        request.url.query_pairs_mut().clear().extend_pairs(query);
    }

    /// Place to read on from.
    fn place(&self) -> &Offset {
        self.ahead.as_ref().unwrap_or(&self.offset)
    }

    async fn catch_up(&mut self) -> Result<Step, Error> {
        if self.told.is_none() {
            self.tell(FollowState::Connecting);
        }
        let response = self.get(ReadKind::Page).await?;
        if !self.up_to_date {
            self.tell(FollowState::CatchingUp);
        }
        let page = self.read_page(response).await?;
        // A proxy may have dropped the header that says so, but there is nothing more to read.
        let up_to_date = page.up_to_date || page.stuck;
        let closed = page.closed;
        self.commit(Page { up_to_date, ..page })?;
        if closed {
            return Ok(Finding::Over);
        }
        if !up_to_date {
            return Ok(Finding::GoOn);
        }
        if self.route.polls() {
            self.tell(FollowState::Live);
        }
        Ok(Finding::UpToDate)
    }

    async fn poll(&mut self, instant: u32) -> Result<Step, Error> {
        if let Some(over) = instant.checked_sub(MAX_INSTANT) {
            sleep(RetryPolicy::forever().delay(over, None).unwrap_or_default()).await;
        }
        let asked = Instant::now();
        let response = self.get(ReadKind::LongPoll).await?;
        let page = self.read_page(response).await?;
        self.failures = 0;
        self.tell(FollowState::Live);
        let at_once = asked.elapsed() < INSTANT && page.stuck;
        // A poll that ended without data has waited at the end of the stream.
        let up_to_date = page.up_to_date || page.stuck;
        let closed = page.closed;
        self.commit(Page { up_to_date, ..page })?;
        Ok(match closed {
            true => Finding::Over,
            false if at_once => Finding::Instant,
            false => Finding::GoOn,
        })
    }

    async fn open_events(&mut self) -> Result<Step, Error> {
        let may_poll = self.route.may_fall_back();
        let response = match self.get(ReadKind::Sse).await {
            Ok(response) => response,
            Err(error)
                if may_poll
                    && matches!(error.status(), Some(400 | 405 | 406 | 415 | 501 | 505)) =>
            {
                return Ok(no_events());
            }
            Err(error) => return Err(error),
        };
        let content_type = response.reply().content_type().map(media_type);
        if content_type.as_deref() != Some("text/event-stream") {
            if may_poll {
                return Ok(no_events());
            }
            return Err(self.protocol("it is not an event stream"));
        }
        let known = self.collector.as_ref().map_or(Framing::Bytes, Collector::framing);
        let limits = self.stream.client.limits();
        let events = Events::new(response, known, self.offset.clone(), limits);
        // With nothing to fall back to there is no use in waiting for its first word.
        if self.route.needs_events() {
            self.tell(FollowState::Live);
        }
        Ok(Finding::Opened(Box::new(events)))
    }

    /// Reads one piece of the event stream and delivers what it completes, as one batch.
    async fn read_events(&mut self) -> Result<Step, Error> {
        let timeouts = *self.stream.client.timeouts();
        let ReaderState::Events(events) = &mut self.state else { return Ok(Finding::GoOn) };
        let first = self.route.may_fall_back() && !events.spoke();
        let idle = if first { timeouts.sse_first_event } else { timeouts.sse_idle };
        let delivery = match events.read(idle, self.cursor.as_deref()).await {
            Err(Error::Timeout { .. }) if first => return Ok(no_events()),
            delivery => delivery?,
        };
        let Some(delivery) = delivery else {
            if events.was_worthwhile() {
                self.failures = 0;
                return Ok(Finding::EventsOver);
            }
            return Err(events.interrupted());
        };
        let spoke = events.spoke();
        let closed = delivery.is_last();
        if let Some(batch) = delivery.batch {
            self.deliver(batch);
        }
        if closed {
            return Ok(Finding::Over);
        }
        if spoke {
            self.tell(FollowState::Live);
        }
        delivery.failed.map_or(Ok(Finding::GoOn), Err)
    }

    /// Reads a page, the answer to a plain request or a long poll, into the collector.
    async fn read_page(&mut self, response: Response) -> Result<Page, Error> {
        let client = &self.stream.client;
        let has_body = response.status() != StatusCode::NO_CONTENT;
        let reply = response.reply();
        let mut page = Page {
            next_offset: self.place().clone(),
            cursor: reply.cursor(),
            up_to_date: reply.up_to_date(),
            closed: reply.closed(),
            stuck: true,
        };
        let next = reply.next_offset();
        let framing = reply.content_type().filter(|_| has_body).map(Framing::of);
        // An event stream carries text by lines: it loses which line ends they had, and servers
        // that write `data:` without a space after it lose a space at the start of each.
        let is_text =
            reply.content_type().is_some_and(|kind| media_type(kind).starts_with("text/"));
        let url = response.url().clone();
        let body = response.body(client.limits().body, client.timeouts().idle).await?;
        let body = if has_body { body } else { Bytes::new() };

        if has_body && is_text {
            self.route.avoid_events();
        }
        let mut collector = match (self.collector.take(), framing) {
            (Some(known), None) => known,
            (Some(known), Some(framing)) if known.framing() == framing => known,
            (_, framing) => {
                let limits = self.stream.client.limits();
                Collector::new(framing.unwrap_or(Framing::Bytes), limits.items, limits.body)
            }
        };
        let empty = collector.is_blank(&body);
        collector.push(&body).map_err(|source| Error::Body { url, source })?;
        self.collector = Some(collector);
        match next {
            Some(next @ Offset::At(_)) => page.next_offset = next,
            Some(_) => return Err(self.protocol("its next offset is not a place")),
            // Without items nothing has moved, so that a proxy may lose the header.
            None if empty && matches!(self.offset, Offset::At(_)) => {}
            None => return Err(self.protocol("it has no next offset")),
        }
        page.stuck = page.next_offset == *self.place();
        if page.stuck && !empty && !page.closed {
            return Err(self.protocol("the offset does not move on"));
        }
        Ok(page)
    }

    /// Delivers what the collector holds, unless the page ends inside an item.
    fn commit(&mut self, page: Page) -> Result<(), Error> {
        let at_end = page.up_to_date || page.closed;
        let items = match &mut self.collector {
            Some(collector) => collector.commit(at_end),
            None => Ok(Some(Vec::new())),
        };
        let url = StreamUrl::from(self.stream.url());
        match items.map_err(|source| Error::Body { url, source })? {
            Some(items) => self.deliver(Batch {
                items,
                next_offset: page.next_offset,
                cursor: page.cursor.or_else(|| self.cursor.clone()),
                up_to_date: at_end,
                closed: page.closed,
            }),
            None => self.ahead = Some(page.next_offset),
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
            self.failures = 0;
        }
        self.ahead = None;
        self.offset.clone_from(&batch.next_offset);
        self.cursor.clone_from(&batch.cursor);
        self.up_to_date = batch.up_to_date;
        if news {
            self.ready.push_back(Ok(batch));
        }
    }

    fn protocol(&self, reason: &'static str) -> Error {
        Error::Protocol { reason, url: StreamUrl::from(self.stream.url()) }
    }
}

fn no_events() -> Step {
    tracing::debug!("event streams do not get through, polling instead");
    Finding::NoEvents
}

/// The head of an answer to a plain request or a long poll. Its items are in the collector.
struct Page {
    next_offset: Offset,
    cursor: Option<String>,
    up_to_date: bool,
    closed: bool,
    /// The answer leads to where it was asked from.
    stuck: bool,
}
