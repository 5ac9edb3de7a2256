//! The state that all sessions of a server share.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent::Agents, budget::Budget, busy::Busy, config::Limits, forking::Making, history,
    metrics::Metrics, run::Continues, session::Surroundings, signs::Signs, snapshots::Snapshots,
    store::Store, streams::Streams,
};

/// The state that all sessions share.
pub(crate) struct Shared {
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) store: Store,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    pub(crate) budget: Budget,
    pub(crate) limits: Limits,
    /// The server's name as a producer of streams.
    pub(crate) instance: String,
    /// Number of times in a row that agents may react to agents.
    pub(crate) agent_depth: u32,
    /// Time that a device which does not heartbeat may be silent.
    pub(crate) silence: Duration,
    pub(crate) signs: Arc<Signs>,
    pub(crate) snapshots: Snapshots,
    pub(crate) making: Making,
    /// Ends runs, before the sessions themselves end.
    pub(crate) shutdown_runs: CancellationToken,
    pub(crate) continues: Continues,
    pub(crate) busy: Busy,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// The surroundings of a session.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            instance: self.instance.clone(),
            agent_depth: self.agent_depth,
            silence: self.silence,
            continues: self.continues.is_on(),
        }
    }

    /// Where agents' histories are read from.
    pub(crate) fn histories(&self) -> history::Source<'_> {
        let Self { streams, snapshots, budget, limits, .. } = self;
        history::Source { streams: &**streams, snapshots, budget, limits }
    }
}
