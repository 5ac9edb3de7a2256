//! The batch that gathers for the next commit, and the runs that are led meanwhile.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::budget::Hold;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::run::Given;
use crate::runner::{PlannedRun, RunHandle};
use crate::session::{Effects, Reply};
use crate::store::Op;

/// Told when the batch is in the stream, or why it is not.
pub(super) type Waiter = Box<dyn FnOnce(Result<(), Problem>) + Send>;

/// Writes of the next commit, and what happens after it.
#[derive(Default)]
pub(super) struct Batch {
    /// Changes of the database that must be there before the events are.
    pub(super) before: Vec<Op>,
    pub(super) events: Vec<Bytes>,
    /// Whether somebody says something in it.
    pub(super) grows: bool,
    /// Changes of the database that may only happen when the events are there.
    pub(super) after: Vec<Op>,
    /// Answers for runs that go.
    pub(super) given: Vec<(String, Given)>,
    pub(super) starts: Vec<PlannedRun>,
    pub(super) waiters: Vec<Waiter>,
    /// Room that is taken for the events.
    pub(super) holds: Vec<Hold>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty()
            && self.events.is_empty()
            && self.after.is_empty()
            && self.starts.is_empty()
            && self.waiters.is_empty()
    }

    /// Whether somebody waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiters.is_empty() || !self.starts.is_empty()
    }
}

/// The runs of a session that go or are about to. Dropped, all of them are stopped.
#[derive(Default)]
pub(super) struct Led(HashMap<String, RunHandle>);

impl Led {
    /// Tells a run an answer. A run that ended meanwhile has no use for it.
    pub(super) fn give(&self, run_id: &str, given: Given) {
        if let Some(run) = self.0.get(run_id) {
            run.give(given);
        }
    }

    /// Runs whose agents were not called yet, and will not be from now on.
    pub(super) fn forestall(&self) -> HashSet<String> {
        let uncalled = self.0.iter().filter(|(_, run)| run.forestall());
        uncalled.map(|(run_id, _)| run_id.clone()).collect()
    }
}

/// Means by which effects are carried out.
pub(super) struct Means<'a> {
    pub(super) metrics: &'a Metrics,
    /// Ends the runs when the server stops.
    pub(super) stop: &'a CancellationToken,
}

impl Batch {
    /// Takes what one input has led to: runs end and answers are counted at once, and the rest waits for the commit.
    pub(super) fn carry_out(&mut self, effects: Effects, led: &mut Led, with: &Means<'_>) -> Reply {
        for run_id in &effects.ended {
            led.0.remove(run_id);
            self.starts.retain(|start| start.run_id() != run_id);
        }
        for _ in 0..effects.refused_chunks {
            with.metrics.refused_chunk();
        }
        self.before.extend(effects.before);
        self.events.extend(effects.events);
        self.grows |= effects.grows;
        self.after.extend(effects.after);
        self.given.extend(effects.given);
        for start in effects.starts {
            let (handle, planned) = PlannedRun::new(start, with.stop);
            led.0.insert(planned.run_id().to_owned(), handle);
            self.starts.push(planned);
        }
        effects.reply
    }
}
