//! The states of a reader, and which one follows which.
//!
//! | in | a step finds | next |
//! | --- | --- | --- |
//! | `CatchUp` | more | `CatchUp` |
//! | `CatchUp` | everything there is | `Opening`; `Polling` where event streams do not get through; `Ended` with [`Live::No`] |
//! | `Opening` | an event stream | `Events` |
//! | `Opening`, `Events` | that event streams do not get through | `Polling` |
//! | `Events` | news, or nothing yet | `Events` |
//! | `Events` | its end, after it was worth opening | `Opening` |
//! | `Polling` | news, or nothing yet | `Polling` |
//! | any of these | a failure that may pass | `Waiting` |
//! | `Waiting` | that the wait is over, or a nudge | `CatchUp` |
//! | any | a reconnect | `CatchUp`, and event streams are tried anew |
//! | any | that the stream is closed, or an error for good | `Ended` |
//!
//! The transitions do no I/O and know nothing of what an event stream is made of (`E`), so that a
//! test can name them all.

use std::time::Duration;

use super::options::Live;
use crate::nudge::Pulse;

/// Number of event streams in a row that were not worth opening, after which long polls take over.
const MAX_WORTHLESS: u32 = 3;

/// The step a reader takes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReaderState<E> {
    /// Reads what there is by plain requests, a page a step.
    CatchUp,
    /// Opens an event stream.
    Opening,
    /// Reads an open event stream.
    Events(E),
    /// Asks by long polls.
    Polling {
        /// Number of polls in a row that were answered at once and without news.
        instant: u32,
    },
    /// Waits for the next attempt.
    Waiting(Wait),
    /// The end: nothing comes any more.
    Ended,
}

/// A wait after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// Length of the wait.
    pub(super) delay: Duration,
    /// Number of attempts that have failed in a row, from 1.
    pub(super) attempt: u32,
    /// Code of the failure.
    pub(super) code: &'static str,
    /// HTTP status of the failure.
    pub(super) status: Option<u16>,
    /// Pulses of the nudges when the failed step began: a later wake ends the wait.
    pub(super) since: [Pulse; 2],
}

/// The result of one step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding<E> {
    /// A step of the usual kind, with or without news.
    GoOn,
    /// A page reached the end of the stream as it is now.
    UpToDate,
    /// An event stream is open.
    Opened(E),
    /// Event streams are refused here, or held back.
    NoEvents,
    /// The event stream ended and had been worth opening.
    EventsOver,
    /// A poll was answered at once and without news.
    Instant,
    /// The step failed and is to be tried again.
    Failed {
        /// The step was on an event stream that had been worth opening.
        worthwhile: bool,
        wait: Wait,
    },
    /// The wait is over.
    Elapsed,
    /// A nudge asked for a new connection.
    Reconnect,
    /// The stream is closed, or failed for good.
    Over,
}

/// The way to news after catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    live: Live,
    /// Event streams do not get through here, or would not be exact.
    polls_only: bool,
    /// Number of event streams in a row that were not worth opening.
    worthless: u32,
}

impl Route {
    pub(super) fn new(live: Live) -> Self {
        Self { live, polls_only: live == Live::LongPoll, worthless: 0 }
    }

    /// Whether the reader goes live by long polls.
    pub(super) fn polls(&self) -> bool {
        self.live != Live::No && self.polls_only
    }

    /// Whether long polls may take the place of event streams.
    pub(super) fn may_fall_back(&self) -> bool {
        self.live == Live::Auto
    }

    /// Whether the reader has nothing but event streams.
    pub(super) fn needs_events(&self) -> bool {
        self.live == Live::Sse
    }

    /// Leaves event streams where they may be left.
    pub(super) fn avoid_events(&mut self) {
        self.polls_only |= self.may_fall_back();
    }

    fn judge(&mut self, worthwhile: bool) {
        self.worthless = if worthwhile { 0 } else { self.worthless + 1 };
        if self.worthless >= MAX_WORTHLESS {
            self.avoid_events();
        }
    }
}

impl<E> ReaderState<E> {
    /// The state after a step. A combination that no step gives is a bug and panics.
    pub(super) fn after(self, found: Finding<E>, route: &mut Route) -> Self {
        match (self, found) {
            // L10: nothing else ends a reader that follows.
            (_, Finding::Over) => Self::Ended,
            (_, Finding::Reconnect) => {
                // The network may be another one now.
                *route = Route::new(route.live);
                Self::CatchUp
            }
            (state, Finding::Failed { worthwhile, wait }) => {
                if matches!(state, Self::Opening | Self::Events(_)) {
                    route.judge(worthwhile);
                }
                Self::Waiting(wait)
            }
            (Self::Waiting(_), Finding::Elapsed) => Self::CatchUp,
            (Self::CatchUp, Finding::UpToDate) => match route.live {
                Live::No => Self::Ended,
                _ if route.polls() => Self::Polling { instant: 0 },
                _ => Self::Opening,
            },
            (Self::Opening, Finding::Opened(events)) => Self::Events(events),
            (Self::Opening | Self::Events(_), Finding::NoEvents) => {
                route.avoid_events();
                Self::Polling { instant: 0 }
            }
            (Self::Events(_), Finding::EventsOver) => {
                route.judge(true);
                Self::Opening
            }
            (Self::Polling { instant }, Finding::Instant) => Self::Polling { instant: instant + 1 },
            (Self::Polling { .. }, Finding::GoOn) => Self::Polling { instant: 0 },
            (state @ (Self::CatchUp | Self::Events(_)), Finding::GoOn) => state,
            _ => unreachable!("a step finds only what its state can find"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Finding::*;
    use super::ReaderState::*;
    use super::*;

    const WAIT: Wait = Wait {
        delay: Duration::from_secs(1),
        attempt: 1,
        code: "interrupted",
        status: None,
        since: [Pulse::ZERO; 2],
    };

    fn route(live: Live, polls_only: bool, worthless: u32) -> Route {
        Route { live, polls_only, worthless }
    }

    #[test]
    fn each_step_leads_to_the_state_of_the_table() {
        let polling = |instant| Polling { instant };
        let failed = |worthwhile| Failed { worthwhile, wait: WAIT };
        let auto = |worthless| route(Live::Auto, false, worthless);
        let polls = route(Live::Auto, true, 0);
        let (none, sse) = (route(Live::No, false, 0), route(Live::Sse, false, 0));
        let long_poll = route(Live::LongPoll, true, 0);
        // State, route, what the step found: the state and the route after it.
        let table = [
            (CatchUp, auto(0), GoOn, CatchUp, auto(0)),
            (CatchUp, auto(0), UpToDate, Opening, auto(0)),
            (CatchUp, sse, UpToDate, Opening, sse),
            (CatchUp, polls, UpToDate, polling(0), polls),
            (CatchUp, long_poll, UpToDate, polling(0), long_poll),
            (CatchUp, none, UpToDate, Ended, none),
            (CatchUp, none, Over, Ended, none),
            (CatchUp, auto(1), failed(false), Waiting(WAIT), auto(1)),
            (CatchUp, polls, Reconnect, CatchUp, auto(0)),
            (Opening, auto(0), Opened("open"), Events("open"), auto(0)),
            (Opening, auto(1), NoEvents, polling(0), route(Live::Auto, true, 1)),
            (Opening, auto(0), failed(false), Waiting(WAIT), auto(1)),
            (Opening, auto(2), failed(false), Waiting(WAIT), route(Live::Auto, true, 3)),
            (
                Opening,
                route(Live::Sse, false, 2),
                failed(false),
                Waiting(WAIT),
                route(Live::Sse, false, 3),
            ),
            (Opening, auto(0), Over, Ended, auto(0)),
            (Opening, auto(2), Reconnect, CatchUp, auto(0)),
            (Events("open"), auto(1), GoOn, Events("open"), auto(1)),
            (Events("open"), auto(1), EventsOver, Opening, auto(0)),
            (Events("open"), auto(0), NoEvents, polling(0), polls),
            (Events("open"), auto(2), failed(true), Waiting(WAIT), auto(0)),
            (Events("open"), auto(2), failed(false), Waiting(WAIT), route(Live::Auto, true, 3)),
            (Events("open"), auto(0), Over, Ended, auto(0)),
            (Events("open"), auto(1), Reconnect, CatchUp, auto(0)),
            (polling(1), polls, Instant, polling(2), polls),
            (polling(7), polls, GoOn, polling(0), polls),
            (polling(0), polls, failed(false), Waiting(WAIT), polls),
            (polling(0), polls, Over, Ended, polls),
            (polling(0), polls, Reconnect, CatchUp, auto(0)),
            (polling(0), long_poll, Reconnect, CatchUp, long_poll),
            (Waiting(WAIT), polls, Elapsed, CatchUp, polls),
            (Waiting(WAIT), route(Live::Auto, true, 3), Reconnect, CatchUp, auto(0)),
        ];
        for (state, before, found, next, after) in table {
            let row = format!("{state:?}, {before:?}, {found:?}");
            let mut route = before;
            assert_eq!(state.after(found, &mut route), next, "{row}");
            assert_eq!(route, after, "{row}");
        }
    }
}
