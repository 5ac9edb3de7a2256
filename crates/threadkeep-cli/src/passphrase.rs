//! The passphrase of a file of secrets: from a file, the environment, or the terminal; never from
//! the command line, which others can see.

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const VARIABLE: &str = "THREADKEEP_PASSPHRASE";

/// Where the passphrase comes from.
#[derive(clap::Args)]
pub(crate) struct PassphraseArgs {
    /// File with the passphrase of the data folder's file of secrets (or set
    /// THREADKEEP_PASSPHRASE). It is asked for where there is a terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase; `None` where nobody can be asked.
    pub(crate) fn given(&self, question: &str) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.passphrase_file {
            return read(path).map(Some);
        }
        if let Some(given) = env::var(VARIABLE).ok().filter(|given| !given.is_empty()) {
            return Ok(Some(given));
        }
        if io::stdin().is_terminal() {
            return rpassword::prompt_password(question)
                .map(Some)
                .context("cannot read the passphrase");
        }
        Ok(None)
    }

    /// Whether the person types it.
    pub(crate) fn is_typed(&self) -> bool {
        self.passphrase_file.is_none() && env::var_os(VARIABLE).is_none_or(|given| given.is_empty())
    }

    /// The passphrase.
    pub(crate) fn wanted(&self, question: &str) -> anyhow::Result<String> {
        match self.given(question)? {
            Some(passphrase) => Ok(passphrase),
            None => bail!(
                "there is no terminal to ask for the passphrase. Give it by --passphrase-file or {VARIABLE}"
            ),
        }
    }
}

/// The first line of a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
