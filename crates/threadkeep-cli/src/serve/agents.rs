//! Agents that `threadkeep serve` runs: `--acp NAME=COMMAND`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use session_server::AcpAgent;

/// Which agents run here.
#[derive(clap::Args)]
pub(crate) struct AcpArgs {
    /// Run this agent, a program that speaks the Agent Client Protocol, as `acp:NAME`. Repeatable.
    ///
    /// The command may begin with variables, as in a shell: --acp 'qwen=OPENAI_API_KEY=… qwen
    /// --acp'. The agent works with the rights of whoever runs the server: everybody who may write
    /// in a session that has it starts commands here.
    #[arg(long = "acp", value_name = "NAME=COMMAND", value_parser = AcpAgent::parse)]
    agents: Vec<AcpAgent>,

    /// Folder that these agents work in; the present one if absent.
    #[arg(long, value_name = "DIR", requires = "agents")]
    acp_cwd: Option<PathBuf>,
}

impl AcpArgs {
    /// The agents with their folder.
    pub(crate) fn resolve(self) -> anyhow::Result<Vec<AcpAgent>> {
        let Self { agents, acp_cwd } = self;
        if agents.is_empty() {
            return Ok(agents);
        }
        let folder = acp_cwd.as_deref().unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder).and_then(|folder| folder.canonicalize());
        let folder =
            folder.context("the folder of --acp-cwd is not there; choose one that exists")?;
        let mut names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two agents are called {}; give each --acp a name of its own", twice[0]);
        }
        Ok(agents.into_iter().map(|agent| AcpAgent { folder: folder.clone(), ..agent }).collect())
    }
}
