//! Agents that `threadkeep serve` runs: `--acp NAME=COMMAND`.

use std::ffi::OsString;
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
    #[arg(long = "acp", value_name = "NAME=COMMAND", value_parser = agent)]
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

/// An agent as it stands on the command line.
fn agent(text: &str) -> Result<AcpAgent, String> {
    let (name, command) =
        text.split_once('=').ok_or("give NAME=COMMAND, as in qwen='qwen --acp'")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err("the name has letters, digits, - . and _ only".to_owned());
    }
    let CommandLine { program, arguments, environment } = command_line(command)?;
    let name = name.to_owned();
    Ok(AcpAgent { name, program, arguments, environment, folder: PathBuf::new() })
}

/// A command as a shell has it: variables, a program, arguments.
pub(super) struct CommandLine {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// Reads a command as a shell does.
pub(super) fn command_line(command: &str) -> Result<CommandLine, String> {
    let words = shlex::split(command).ok_or("a quote in the command has no end")?;
    let mut words = words.into_iter().peekable();
    let mut environment = Vec::new();
    while let Some((variable, value)) = words.peek().and_then(|word| assignment(word)) {
        environment.push((variable.into(), value.into()));
        words.next();
    }
    let program = words.next().ok_or("there is no command behind the name")?;
    let (program, arguments) = (program.into(), words.map(Into::into).collect());
    Ok(CommandLine { program, arguments, environment })
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_name = begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_a_shell_reads_it() {
        let agent = agent(r#"q=KEY=x A_B='two words' /opt/q --acp "it's" a=b"#).expect("it is one");
        assert_eq!((agent.name.as_str(), agent.program.to_str()), ("q", Some("/opt/q")));
        assert_eq!(agent.arguments, ["--acp", "it's", "a=b"]);
        let variables: Vec<_> = agent
            .environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
            .collect();
        assert_eq!(variables, [("KEY", "x"), ("A_B", "two words")]);
    }

    #[test]
    fn what_is_no_agent_is_told_in_one_sentence() {
        for (text, says) in [
            ("qwen", "NAME=COMMAND"),
            ("=x", "letters"),
            ("a b=x", "letters"),
            ("a=", "no command"),
            ("a='x", "quote"),
            ("a=K=v", "no command"),
        ] {
            let error = agent(text).expect_err("it is none");
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
