//! The agents that could run on this computer, as they are told.

use session_protocol::api::{KnownAgent, KnownAgents};

/// Looks which of the agents that speak the Agent Client Protocol are installed here. Takes some seconds at most, and
/// installs nothing.
///
/// # Cancel safety
///
/// What was started for it ends.
pub async fn known_agents() -> KnownAgents {
    let agents = acp::discover().await.into_iter().map(|found| KnownAgent {
        command: found.command(),
        id: found.known.id.to_owned(),
        name: found.known.name.to_owned(),
        install: found.known.install.to_owned(),
        path: found.path.map(|path| path.to_string_lossy().into_owned()),
        version: found.version,
        needs: found.needs,
    });
    KnownAgents { agents: agents.collect() }
}
