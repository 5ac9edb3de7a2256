//! Effects: what comes out of a session, as data that its task carries out.

use bytes::Bytes;

use crate::run::{Given, Start};
use crate::store::Op;

/// Everything that one input has led to. The order of carrying it out is that of the fields.
#[derive(Default)]
pub(crate) struct Effects {
    /// Runs that are over. They are let go at once; those that still go are stopped.
    pub(crate) ended: Vec<String>,
    /// Actors who gave a sign of life.
    pub(crate) signs: Vec<String>,
    /// Number of chunks that were not written because only people may say such a thing (L15).
    pub(crate) refused_chunks: u64,
    /// Changes of the database that must be there before the events are.
    pub(crate) before: Vec<Op>,
    /// Items of the stream.
    pub(crate) events: Vec<Bytes>,
    /// Whether somebody says something in them. Ends, answers and deletions have room in a session that is full.
    pub(crate) grows: bool,
    /// Changes of the database that may only happen when the events are there.
    pub(crate) after: Vec<Op>,
    /// Answers for runs that go, when the events are there: the run and what it is told.
    pub(crate) given: Vec<(String, Given)>,
    /// Runs whose agents are called when the events are there.
    pub(crate) starts: Vec<Start>,
    /// The reply to whoever asked, when the events are there.
    pub(crate) reply: Reply,
}

/// The reply to whoever asked. Most inputs leave it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The message that was sent now or before.
    pub(crate) message_id: String,
    /// Number of devices that were logged out.
    pub(crate) devices: usize,
    /// The item to go on clearing with; `None` when everything is cleared.
    pub(crate) left: Option<u64>,
}

impl Reply {
    pub(super) fn sent(message_id: String) -> Self {
        Self { message_id, ..Self::default() }
    }

    pub(super) fn devices(devices: usize) -> Self {
        Self { devices, ..Self::default() }
    }

    pub(super) fn left(left: Option<u64>) -> Self {
        Self { left, ..Self::default() }
    }
}

impl Effects {
    /// Whether there is nothing to carry out.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            ended, signs, refused_chunks, before, events, grows, after, given, starts, ..
        } = self;
        let nothing_goes = ended.is_empty() && given.is_empty() && starts.is_empty();
        let nothing_is_kept = before.is_empty() && events.is_empty() && after.is_empty();
        nothing_goes && nothing_is_kept && signs.is_empty() && *refused_chunks == 0 && !grows
    }

    /// Ends a run. One that was about to start does not.
    pub(super) fn end(&mut self, run_id: &str) {
        self.starts.retain(|start| start.plan.run_id != run_id);
        self.ended.push(run_id.to_owned());
    }

    /// Takes down that an actor did something.
    pub(super) fn sign(&mut self, actor_id: &str) {
        if self.signs.last().is_none_or(|last| last != actor_id) {
            self.signs.push(actor_id.to_owned());
        }
    }
}
