//! Servers of tools that `threadkeep serve` gives the model agent: `--mcp NAME=COMMAND` or `--mcp NAME=URL`.

use std::env;
use std::path::Path;

use anyhow::{Context as _, bail};
use session_server::{CommandLine, Secret, ToolServer, ToolServerTarget};
use url::Url;

/// Which tools the model agent has.
#[derive(clap::Args)]
pub(crate) struct ToolArgs {
    /// Give the model agent the tools of this server (Model Context Protocol): a command, or an
    /// address that begins with http:// or https://. Repeatable.
    ///
    /// The command may begin with variables, as in a shell: --mcp 'db=DB_KEY=… db-server'. It runs
    /// with the rights of whoever runs the server. An address is sent what the variable
    /// THREADKEEP_MCP_NAME holds (NAME in capitals) as its Authorization header. People are asked
    /// before a tool is called.
    #[arg(long = "mcp", value_name = "NAME=COMMAND", value_parser = server)]
    servers: Vec<ToolServer>,

    /// Believe what this server says about its tools: those that only look are called unasked.
    /// Repeatable.
    #[arg(long, value_name = "NAME", requires = "servers")]
    mcp_trust: Vec<String>,

    /// Have this server off in sessions where nobody switched it on. Repeatable.
    #[arg(long, value_name = "NAME", requires = "servers")]
    mcp_off: Vec<String>,
}

impl ToolArgs {
    /// The servers with their folder, headers and switches.
    pub(crate) fn resolve(self) -> anyhow::Result<Vec<ToolServer>> {
        let Self { mut servers, mcp_trust, mcp_off } = self;
        let here = env::current_dir().context("the present folder is not there any more")?;
        let mut names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two tool servers are called {}; give each --mcp a name of its own", twice[0]);
        }
        if let Some(name) = mcp_trust.iter().chain(&mcp_off).find(|name| !names.contains(name)) {
            bail!("there is no --mcp of the name {name}; name one of those that are given");
        }
        for server in &mut servers {
            server.is_trusted = mcp_trust.contains(&server.name);
            server.is_on = !mcp_off.contains(&server.name);
            match &mut server.target {
                ToolServerTarget::Program { folder, .. } => folder.clone_from(&here),
                ToolServerTarget::Address { headers, .. } => {
                    let name = server.name.to_ascii_uppercase().replace('-', "_");
                    let value = env::var(format!("THREADKEEP_MCP_{name}")).unwrap_or_default();
                    if !value.is_empty() {
                        headers.push(("Authorization".to_owned(), Secret::new(value)));
                    }
                }
            }
        }
        Ok(servers)
    }
}

/// A server as it stands on the command line.
fn server(text: &str) -> Result<ToolServer, String> {
    let (name, place) =
        text.split_once('=').ok_or("give NAME=COMMAND or NAME=URL, as in files='npx …'")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
        return Err("the name has at most 32 letters, digits, - and _ only".to_owned());
    }
    let target = if place.starts_with("http://") || place.starts_with("https://") {
        let url = Url::parse(place).map_err(|_| "the address cannot be read")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address has no password; set THREADKEEP_MCP_NAME instead".to_owned());
        }
        ToolServerTarget::Address { url, headers: Vec::new() }
    } else {
        let CommandLine { program, arguments, environment } = CommandLine::parse(place)?;
        let folder = Path::new(".").to_owned();
        ToolServerTarget::Program { program, arguments, environment, folder }
    };
    Ok(ToolServer { name: name.to_owned(), target, is_trusted: false, is_on: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_command_or_an_address() {
        let command = server("fs=KEY=x npx -y server '/a b'").expect("it is one");
        let ToolServerTarget::Program { program, arguments, environment, .. } = command.target
        else {
            panic!("a command");
        };
        assert_eq!((program.to_str(), environment.len()), (Some("npx"), 1));
        assert_eq!(arguments, ["-y", "server", "/a b"]);
        let address = server("web=https://tools.example/mcp").expect("it is one");
        assert!(matches!(address.target, ToolServerTarget::Address { .. }));
    }

    #[test]
    fn what_is_no_server_is_told_in_one_sentence() {
        for (text, says) in [
            ("fs", "NAME=COMMAND"),
            ("=x", "letters"),
            ("a.b=x", "letters"),
            ("a=", "no command"),
            ("a=http://", "address"),
            ("a=https://me:pw@x/", "password"),
        ] {
            let error = server(text).expect_err("it is none");
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
