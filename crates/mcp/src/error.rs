//! Why a tool server cannot be used, in one sentence each with what to do next.

use rpc_process::{RpcError, StartError};

/// Why a server could not be reached, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address was not reached.
    #[error("The tool server could not be reached. Check that it runs, and its address.")]
    Unreachable,
    /// The system knows no certificate authorities, or does not trust the server's.
    #[error("The tool server's certificate is not trusted here. Check its address.")]
    Certificate,
    /// It wants somebody to sign in; what its `WWW-Authenticate` header says, where it has one.
    #[error(
        "The tool server wants a sign-in. Give it a token as a header, or sign in to it in the settings."
    )]
    Unauthorized(Option<String>),
    /// It answered with this status.
    #[error("The tool server answered with status {0}. Check its address.")]
    Status(u16),
    /// It sends requests on to somewhere else.
    #[error(
        "The tool server sends requests on to another address, which was not asked. If that is where it is now, enter its address."
    )]
    Redirected,
    /// What it says is not this protocol.
    #[error("What answers there does not speak MCP. Check the command or the address.")]
    Foreign,
    /// It said nothing for so many seconds.
    #[error("The tool server said nothing for {0} seconds. Check that it works, or try again.")]
    Silent(u64),
    /// It ended, or its connection broke, before it answered: whether it did what was asked is not known.
    #[error("The tool server ended before it answered{}. Look at its last words.", code(.0))]
    Gone(Option<i32>),
    /// It does not know this connection any more, and did nothing.
    #[error("The tool server does not know this connection any more. Try again.")]
    Lost,
    /// It refused, in its own words.
    #[error("The tool server refused: {}", .0.said)]
    Refused(RpcError),
    /// It said more than is read.
    #[error("The tool server's answer is larger than is read.")]
    TooLarge,
    /// It wants something of this side that is not offered.
    #[error("The tool server wants {0}, which is not offered here.")]
    Wants(&'static str),
}

fn code(code: &Option<i32>) -> String {
    code.map(|code| format!(" (exit code {code})")).unwrap_or_default()
}

impl Error {
    /// Whether the server may have done what was asked, although nothing came back.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Gone(_) | Self::Silent(_) | Self::TooLarge)
    }
}
