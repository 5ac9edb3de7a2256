//! `cargo xtask test --mcp`: published tool servers, whose tools the model agent calls.

use crate::python;
use crate::step::{Failure, cargo, root, step, target_dir};

/// The server that comes from PyPI; it speaks both eras of the protocol.
const PACKAGES: [&str; 1] = ["mcp-server-time==2026.10.19"];

/// Installs the server of PyPI and runs the tests that need them.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let bin = python::environment(&target_dir().join("mcp/venv"), &PACKAGES)?;
    step(
        "Tools of published servers, over stdio and HTTP",
        cargo(&["test", "-p", "mcp", "--test", "it", "--", "--ignored", "published"])
            .env("THREADKEEP_MCP_SERVERS", root().join("tests/mcp/node_modules"))
            .env("THREADKEEP_MCP_TIME", bin.join("mcp-server-time")),
    )
}
