//! The runner: leads one run of one agent, from its trigger to a terminal event.
//!
//! A run is planned in the database in the same step that writes its cause (a message, an answer), marked as started
//! just before its agent is called, and forgotten when its terminal event is in the stream. After a crash this tells
//! three cases apart: the cause never reached the stream (forget the plan), the agent was never called (call it now),
//! the agent was under way (end the run as interrupted: calling it twice might act twice).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::RunRequest;
use crate::budget::Owner;
use crate::history::{self, Unread, Wanted};
use crate::run::{Given, Output, RunEnd, RunOutput, RunSink, Start};
use crate::shared::Shared;
use crate::store::Op;

/// A run that is led by somebody. Dropped, the run is stopped.
pub(crate) struct RunHandle {
    cancel: CancellationToken,
    given: mpsc::UnboundedSender<Given>,
    called: Arc<AtomicBool>,
}

impl RunHandle {
    /// Tells the run an answer to a request with options. A run that is over has no use for it.
    pub(crate) fn give(&self, given: Given) {
        self.given.send(given).ok();
    }

    /// Sees to it that an agent that was not called yet is not called. Returns whether it was not.
    pub(crate) fn forestall(&self) -> bool {
        !self.called.swap(true, Ordering::AcqRel)
    }
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// A run about to start, with what its [`RunHandle`] has the other end of.
pub(crate) struct PlannedRun {
    start: Start,
    cancel: CancellationToken,
    given: mpsc::UnboundedReceiver<Given>,
    /// Set by the run just before it calls its agent, or by whoever sees to it that it does not.
    called: Arc<AtomicBool>,
}

impl PlannedRun {
    /// A run that also ends when `stop` is cancelled.
    pub(crate) fn new(start: Start, stop: &CancellationToken) -> (RunHandle, Self) {
        let (cancel, called) = (stop.child_token(), Arc::<AtomicBool>::default());
        let (to, given) = mpsc::unbounded_channel();
        let handle = RunHandle { cancel: cancel.clone(), given: to, called: Arc::clone(&called) };
        (handle, Self { start, cancel, given, called })
    }

    pub(crate) fn run_id(&self) -> &str {
        &self.start.plan.run_id
    }
}

/// Starts the task of a run. Its end is always sent, also when the agent panics.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    session_id: &str,
    run: PlannedRun,
    to: mpsc::Sender<RunOutput>,
) {
    let shared_for_run = Arc::clone(shared);
    let metrics = shared.metrics.clone();
    let session_id = session_id.to_owned();
    shared.tasks.spawn(async move {
        let run_id = run.run_id().to_owned();
        let cancel = run.cancel.clone();
        let agent = Owner::Agent(session_id.clone(), run.start.plan.agent_id.clone());
        let budget = shared_for_run.budget.clone();
        let sink = RunSink::new(run_id.clone(), to.clone(), cancel.clone(), budget, agent);
        let mut task =
            tokio::spawn(async move { drive(&shared_for_run, session_id, run, sink).await });
        let end = tokio::select! {
            () = cancel.cancelled() => {
                task.abort();
                metrics.run_ended("stopped");
                return;
            }
            end = &mut task => end.unwrap_or_else(|_| {
                RunEnd::failed("agent_crashed", "The agent ended unexpectedly. Try again.")
            }),
        };
        metrics.run_ended(match end {
            RunEnd::Finished => "finished",
            RunEnd::Failed { .. } => "failed",
        });
        // The session may be gone; then its next opening ends the run.
        to.send(RunOutput { run_id, what: Output::End(end), hold: None }).await.ok();
    });
}

async fn drive(shared: &Shared, session_id: String, run: PlannedRun, sink: RunSink) -> RunEnd {
    let PlannedRun { start, given, called, .. } = run;
    let Start { plan, spec, answers, recalls } = start;
    let first = spec.as_ref().and_then(|spec| spec.body_template.as_ref()?.get("state"));
    let first = first.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let wanted = Wanted::Run(Arc::new(plan.clone()), Arc::new(first));
    let history = match history::load(&shared.histories(), &session_id, &wanted).await {
        Ok(history) => history,
        Err(Unread::TooLong) => {
            return RunEnd::failed(
                "history_too_large",
                "The message to go on with is longer than an agent can be given. Begin a new message.",
            );
        }
        Err(Unread::Stream(error)) => {
            tracing::error!(%error, "a session's history could not be read");
            return RunEnd::failed(
                "history_unavailable",
                "The session could not be read. Try again.",
            );
        }
    };
    if let Some(message) = history.message(&plan.message_id)
        && sink.send(Output::Before(message.plain_text())).await.is_err()
    {
        return RunEnd::Finished;
    }
    if recalls {
        return RunEnd::Finished;
    }
    let Some(spec) = spec else {
        return RunEnd::failed("agent_unknown", "This agent is not registered any more.");
    };
    let agent = match shared.agents.find(&spec) {
        Ok(agent) => agent,
        Err(end) => return end,
    };
    if called.swap(true, Ordering::AcqRel) {
        return RunEnd::Finished;
    }
    let started = Op::StartRun { run_id: plan.run_id.clone() };
    if let Err(error) = shared.store.apply(vec![started]).await {
        tracing::error!(%error, "a run could not be marked as started");
        return RunEnd::failed("store_unavailable", "The server's database failed. Try again.");
    }
    let history = history.for_run(&plan);
    let request = RunRequest { session_id, plan, spec, answers, history, given };
    agent.run(request, sink).await
}
