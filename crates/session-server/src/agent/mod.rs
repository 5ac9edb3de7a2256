//! Agents: whatever answers in a session.

mod agui;
mod demo;

use std::sync::Arc;

use async_trait::async_trait;
use session_protocol::AgentSpec;

use crate::{
    config::ServerConfig,
    error::ServerError,
    history::History,
    problem::Problem,
    turns::{Answer, RunEnd, RunPlan, RunSink},
};

/// One run, as an agent gets it.
pub(crate) struct RunRequest {
    pub(crate) session_id: String,
    pub(crate) plan: RunPlan,
    pub(crate) spec: AgentSpec,
    /// What was decided since the agent's last run; empty for a new turn.
    pub(crate) answers: Vec<Answer>,
    pub(crate) history: History,
}

/// Something that writes chunks into a message when it is triggered.
#[async_trait]
pub(crate) trait Agent: Send + Sync {
    /// Runs until the agent has no more to say. The session writes the terminal event when the agent did not.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the run is stopped.
    async fn run(&self, request: RunRequest, out: RunSink) -> RunEnd;
}

/// The endpoint of the demo agent.
pub(crate) const DEMO: &str = "builtin:demo";
/// The endpoint of the model agent.
pub(crate) const MODEL: &str = "builtin:model";

/// The agents this server can run.
pub(crate) struct Agents {
    demo: Option<Arc<dyn Agent>>,
}

impl Agents {
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, ServerError> {
        let demo = Arc::new(demo::Demo::new(config.demo_pace)) as Arc<dyn Agent>;
        Ok(Self { demo: config.agents.demo.then_some(demo) })
    }

    /// Whether a client may register this agent.
    pub(crate) fn check(&self, _spec: &AgentSpec) -> Result<(), Problem> {
        Ok(())
    }

    /// The agent behind a spec's endpoint.
    pub(crate) fn find(&self, spec: &AgentSpec) -> Result<Arc<dyn Agent>, RunEnd> {
        match spec.endpoint.as_str() {
            DEMO => self.demo.clone().ok_or_else(|| {
                RunEnd::failed("agent_disabled", "The demo agent is switched off on this server.")
            }),
            _ => Err(RunEnd::failed("agent_unknown", "This server has no such agent.")),
        }
    }
}
