//! Agents: whatever answers in a session.

mod acp;
mod agui;
mod bridge;
mod calls;
mod completions;
mod demo;
mod dialogue;
mod lenient;
mod lines;
pub(crate) mod mcp;
mod model;
mod pieces;
mod public;
mod reading;
mod thoughts;
mod tools;
mod ways;
mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use session_protocol::{AgentSpec, api::BRIDGE};
use tokio::sync::mpsc;

pub use self::{
    acp::known_agents,
    bridge::{FarAgent, FarError},
};
pub(crate) use public::{from_public_fields, public_fields};
pub use ways::model_findings;

use self::{
    acp::{ACP, Acp},
    bridge::Bridges,
};
use crate::{
    config::ServerConfig,
    error::ServerError,
    history::History,
    problem::{Problem, ProblemCode},
    run::{Given, RunEnd, RunPlan, RunSink, ToldAnswer},
    ssrf::Outbound,
    store::Store,
};

/// One run, as an agent gets it.
pub(crate) struct RunRequest {
    pub(crate) session_id: String,
    pub(crate) plan: RunPlan,
    pub(crate) spec: AgentSpec,
    /// Answers that people gave since the agent's last run; empty for a new turn.
    pub(crate) answers: Vec<ToldAnswer>,
    pub(crate) history: History,
    /// Answers that people give while it runs, to requests with options; each when it is in the stream.
    pub(crate) given: mpsc::UnboundedReceiver<Given>,
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

/// Endpoints of agents inside the server begin with this.
const BUILTIN: &str = "builtin:";
const DEMO: &str = "builtin:demo";
const MODEL: &str = "builtin:model";

/// Whether the agent runs inside the server.
pub(crate) fn is_builtin(spec: &AgentSpec) -> bool {
    spec.endpoint.starts_with(BUILTIN)
}

/// The agents this server can run.
pub(crate) struct Agents {
    demo: Option<Arc<dyn Agent>>,
    model: Option<Arc<dyn Agent>>,
    webhook: Arc<webhook::Webhook>,
    acp: Arc<Acp>,
    bridges: Arc<Bridges>,
    mcp: Arc<mcp::Mcp>,
}

impl Agents {
    pub(crate) fn new(config: &ServerConfig, store: &Store) -> Result<Self, ServerError> {
        let demo = Arc::new(demo::Demo::new(config.demo_pace)) as Arc<dyn Agent>;
        let mcp = mcp::Mcp::new(Arc::clone(&config.tool_servers), &config.data_dir, store)?;
        let mcp = Arc::new(mcp);
        let model = match &config.agents.model {
            Some(settings) => {
                let model = model::Model::new(
                    Arc::clone(settings),
                    Arc::clone(&mcp),
                    &config.data_dir,
                    config.limits.clone(),
                )?;
                Some(Arc::new(model) as Arc<dyn Agent>)
            }
            None => None,
        };
        let outbound = Outbound::new(&config.allowed_agent_origins, config.allow_private_agents)?;
        Ok(Self {
            demo: config.agents.demo.then_some(demo),
            model,
            webhook: Arc::new(webhook::Webhook::new(outbound, config.limits.clone())),
            acp: Arc::new(Acp::new(&config.acp, &config.data_dir, store)),
            bridges: Arc::default(),
            mcp,
        })
    }

    /// Whether a client may register this agent.
    ///
    /// # Cancel safety
    ///
    /// Nothing is connected or kept.
    pub(crate) async fn check(&self, spec: &AgentSpec) -> Result<(), Problem> {
        let refused = |details: String| {
            Err(Problem::bad_request(details)
                .titled(ProblemCode::AgentRefused, "Invalid agent endpoint"))
        };
        match spec.endpoint.as_str() {
            DEMO if self.demo.is_none() => refused("the demo agent is switched off here".into()),
            MODEL if self.model.is_none() => {
                refused("no model is configured on this server".into())
            }
            DEMO | MODEL => Ok(()),
            other if other.starts_with(BUILTIN) => refused("there is no such agent".into()),
            other if self.acp.knows(other).await => Ok(()),
            other if other.starts_with(BRIDGE) => Ok(()),
            other if other.starts_with(ACP) => refused(
                "this server does not run this agent; start the server with --acp NAME=COMMAND"
                    .into(),
            ),
            other => match self.webhook.outbound().check_resolved(other).await {
                Ok(_) => Ok(()),
                Err(refusal) => refused(refusal.to_string()),
            },
        }
    }

    /// The agents that run as programs of this computer.
    pub(crate) fn local(&self) -> &Acp {
        &self.acp
    }

    /// The agents that bridges run.
    pub(crate) fn bridges(&self) -> &Bridges {
        &self.bridges
    }

    /// Ends the programs of agents and of tools. To be called when no run goes on any more.
    pub(crate) async fn close(&self) {
        tokio::join!(self.acp.close(), self.mcp.close());
    }

    /// The tool servers of the model agent.
    pub(crate) fn mcp(&self) -> &Arc<mcp::Mcp> {
        &self.mcp
    }

    /// The agent behind a spec's endpoint.
    pub(crate) fn find(&self, spec: &AgentSpec) -> Result<Arc<dyn Agent>, RunEnd> {
        let off = || RunEnd::failed("agent_disabled", "This agent is switched off on this server.");
        match spec.endpoint.as_str() {
            DEMO => self.demo.clone().ok_or_else(off),
            MODEL => self.model.clone().ok_or_else(off),
            other if other.starts_with(ACP) => Ok(Arc::clone(&self.acp) as Arc<dyn Agent>),
            other if other.starts_with(BRIDGE) => Ok(Arc::clone(&self.bridges) as Arc<dyn Agent>),
            _ => Ok(Arc::clone(&self.webhook) as Arc<dyn Agent>),
        }
    }
}
