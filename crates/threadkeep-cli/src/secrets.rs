//! `threadkeep secrets`: keys and tokens in a file that a passphrase opens, where there is no
//! keychain.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use secret_store::SecretFile;

use crate::passphrase::{self, PassphraseArgs};

/// The file in a data folder.
const FILE: &str = "secrets.sealed";
/// The name of the model's API key.
pub(crate) const MODEL_KEY: &str = "model-key";
/// The name of the token for --streams-url.
pub(crate) const STREAMS_TOKEN: &str = "streams-token";

/// Keep keys and tokens in a file that a passphrase opens.
///
/// For computers without a keychain. The file lies in the data folder; without the passphrase
/// nothing in it can be read, not even names. `threadkeep serve` takes the secrets that it knows
/// from there: model-key and streams-token. What the environment says comes first.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep secrets set model-key --data-dir ~/sessions\n  \
    threadkeep secrets list --data-dir ~/sessions\n\n\
    Environment:\n  \
    THREADKEEP_PASSPHRASE  the passphrase (or use --passphrase-file)")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Place {
    /// The server's data folder.
    #[arg(long, default_value = "threadkeep-data", value_name = "DIR")]
    data_dir: PathBuf,

    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Write a secret, which is asked for or read from standard input. Makes the file if there is
    /// none.
    Set {
        /// Name of the secret.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the names of all secrets.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Remove a secret.
    Remove {
        /// Name of the secret.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Give the file another passphrase.
    Passphrase {
        /// File with the new passphrase; it is asked for if absent.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

impl Place {
    fn path(&self) -> PathBuf {
        self.data_dir.join(FILE)
    }

    fn open(&self) -> anyhow::Result<SecretFile> {
        let path = self.path();
        if !path.is_file() {
            bail!(
                "{} has no file of secrets. `threadkeep secrets set` makes one",
                self.data_dir.display()
            );
        }
        Ok(SecretFile::open(&path, &self.passphrase.wanted("Passphrase: ")?)?)
    }
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Set { name, place } => {
            let mut secrets = if place.path().is_file() { place.open()? } else { made(&place)? };
            let secret = secret(&name)?;
            secrets.write(&name, Some(&secret))?;
        }
        Command::List { place } => {
            let mut out = io::stdout().lock();
            for name in place.open()?.names() {
                writeln!(out, "{name}").context("cannot write the result")?;
            }
        }
        Command::Remove { name, place } => {
            let mut secrets = place.open()?;
            if secrets.read(&name).is_none() {
                bail!("there is no secret {name}. `threadkeep secrets list` lists them");
            }
            secrets.write(&name, None)?;
        }
        Command::Passphrase { new_passphrase_file, place } => {
            let mut secrets = place.open()?;
            let new = match new_passphrase_file {
                Some(file) => passphrase::read(&file)?,
                None => twice("New passphrase: ")?,
            };
            secrets.change_passphrase(&new)?;
        }
    }
    Ok(())
}

/// A new file. Its passphrase is asked for twice where it is typed.
fn made(place: &Place) -> anyhow::Result<SecretFile> {
    std::fs::create_dir_all(&place.data_dir)
        .with_context(|| format!("cannot make {}", place.data_dir.display()))?;
    let passphrase = place.passphrase.wanted("Passphrase for the new file of secrets: ")?;
    if place.passphrase.is_typed() && rpassword::prompt_password("The same again: ")? != passphrase
    {
        bail!("the two are not the same");
    }
    Ok(SecretFile::create(&place.path(), &passphrase)?)
}

fn twice(question: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask for it. Give it by --new-passphrase-file");
    }
    let first = rpassword::prompt_password(question)?;
    if rpassword::prompt_password("The same again: ")? != first {
        bail!("the two are not the same");
    }
    Ok(first)
}

/// A secret, typed without being shown, or everything that comes in.
fn secret(name: &str) -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("{name}: ")).context("cannot read the secret");
    }
    let mut text = String::new();
    io::stdin().lock().take(1 << 20).read_to_string(&mut text).context("cannot read the secret")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The secrets of a data folder for a server that starts there; `None` where there are none.
pub(crate) fn of_folder(
    data_dir: &Path,
    passphrase: &PassphraseArgs,
) -> anyhow::Result<Option<SecretFile>> {
    let path = data_dir.join(FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let question = format!("Passphrase for {}: ", path.display());
    match passphrase.given(&question)? {
        Some(passphrase) => Ok(Some(SecretFile::open(&path, &passphrase)?)),
        None => {
            tracing::warn!("the file of secrets stays closed: no passphrase was given");
            Ok(None)
        }
    }
}
