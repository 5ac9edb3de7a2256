//! `threadkeep completions` and `threadkeep man`: what shells and `man` know of the commands, made
//! of the commands themselves.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Print the completions of a shell.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep completions bash > ~/.local/share/bash-completion/completions/threadkeep\n  \
    threadkeep completions fish > ~/.config/fish/completions/threadkeep.fish\n  \
    threadkeep completions zsh > ~/.zfunc/_threadkeep")]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Write the man pages, one for each command.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Folder that the pages are written to; made if it is not there.
    folder: PathBuf,
}

/// Runs `threadkeep completions`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "threadkeep", &mut out);
    io::stdout().lock().write_all(&out).context("cannot write the result")
}

/// Runs `threadkeep man`.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let shown = args.folder.display();
    std::fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {shown}"))?;
    clap_mangen::generate_to(crate::Cli::command(), &args.folder)
        .with_context(|| format!("cannot write to {shown}"))
}
