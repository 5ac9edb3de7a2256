//! When a host has nothing more to do. No clock and no process: both are passed in.

use std::time::{Duration, Instant};

/// Time that a new host waits for its first window.
const FIRST: Duration = Duration::from_secs(30);
/// Time after which a host that nobody needs ends: a window may be about to come back.
const REST: Duration = Duration::from_secs(3);
/// Time that a host without a window stays for what waits for a person: it is in the log, and the
/// next host knows it.
const WAITS: Duration = Duration::from_secs(24 * 60 * 60);

/// The host as it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) windows: usize,
    /// Whether it was asked to leave as soon as nothing runs.
    pub(super) leaves: bool,
}

/// The time since which nobody has needed the host.
#[derive(Debug)]
pub(super) struct Life {
    /// The state at the last look, and the time since when.
    state: State,
    since: Instant,
    /// There was something to do.
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Needed,
    Waits,
    Leaves,
    Rests,
}

impl Life {
    /// A host that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Rests, since: now, begun: false }
    }

    /// When it ends, if all stays as it is.
    pub(super) fn ends_at(&mut self, what: Now, now: Instant) -> Option<Instant> {
        let state = match what {
            Now { running: 1.., .. } => State::Needed,
            Now { leaves: true, .. } => State::Leaves,
            Now { windows: 1.., .. } => State::Needed,
            Now { waiting: 1.., .. } => State::Waits,
            _ => State::Rests,
        };
        if state != self.state {
            self.state = state;
            self.since = now;
        }
        self.begun |= state != State::Rests;
        match state {
            State::Needed => None,
            State::Waits => Some(self.since + WAITS),
            State::Leaves => Some(self.since),
            State::Rests if self.begun => Some(self.since + REST),
            State::Rests => Some(self.since + FIRST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_ends_when_nothing_runs_nothing_waits_and_no_window_is_there() {
        let start = Instant::now();
        let mut life = Life::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let idle = Now::default();
        let window = Now { windows: 1, ..idle };
        let runs = Now { running: 1, ..idle };
        let waits = Now { waiting: 1, ..idle };
        assert_eq!(
            life.ends_at(idle, at(1)),
            Some(start + FIRST),
            "the first window takes its time"
        );
        assert_eq!(life.ends_at(window, at(2)), None);
        assert_eq!(life.ends_at(runs, at(3)), None, "the window is gone and something runs");
        assert_eq!(life.ends_at(idle, at(10)), Some(at(10) + REST));
        assert_eq!(life.ends_at(idle, at(11)), Some(at(10) + REST), "looking does not keep it");
        assert_eq!(life.ends_at(waits, at(12)), Some(at(12) + WAITS));
        assert_eq!(life.ends_at(window, at(13)), None);
        assert_eq!(life.ends_at(idle, at(14)), Some(at(14) + REST));
    }

    #[test]
    fn a_host_that_leaves_waits_for_what_runs_and_for_nothing_else() {
        let start = Instant::now();
        let mut life = Life::new(start);
        let leaves = Now { windows: 2, waiting: 3, running: 1, leaves: true };
        assert_eq!(life.ends_at(leaves, start), None);
        assert_eq!(life.ends_at(Now { running: 0, ..leaves }, start), Some(start));
    }
}
