//! Activity of a server: for whoever has to decide whether it may be ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// Activity of a server now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Runs that go on, or wait until their agent is free.
    pub running: usize,
    /// Messages that wait for a person or a client, in sessions that were used since the server was started.
    pub waiting: usize,
}

/// Activity of each session that is not at rest. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Busy {
    sessions: Arc<Mutex<HashMap<String, Activity>>>,
    sum: watch::Sender<Activity>,
}

impl Busy {
    pub(crate) fn new() -> Self {
        Self { sessions: Arc::default(), sum: watch::Sender::new(Activity::default()) }
    }

    /// The sum over all sessions, whenever it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Activity> {
        self.sum.subscribe()
    }

    /// A session does this now.
    pub(crate) fn note(&self, session_id: &str, now: Activity) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if now == Activity::default() {
            sessions.remove(session_id)
        } else {
            sessions.insert(session_id.to_owned(), now)
        };
        let before = before.unwrap_or_default();
        self.sum.send_if_modified(|sum| {
            let then = *sum;
            sum.running = sum.running + now.running - before.running;
            sum.waiting = sum.waiting + now.waiting - before.waiting;
            *sum != then
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_of_what_each_session_said_last() {
        let busy = Busy::new();
        let sum = busy.watch();
        let does = |running, waiting| Activity { running, waiting };
        busy.note("a", does(2, 1));
        busy.note("b", does(1, 0));
        busy.note("a", does(0, 1));
        assert_eq!(*sum.borrow(), does(1, 1));
        busy.note("b", does(0, 0));
        busy.note("a", does(0, 0));
        assert_eq!(*sum.borrow(), does(0, 0));
    }
}
