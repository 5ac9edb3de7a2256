//! `threadkeep open`: where a `threadkeep://` link leads.

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use session_core::Link;
use url::Url;

use crate::foreign::clean;
use crate::remote::{Remote, ServerArgs};
use crate::tail::{Transcript, Until};

/// The app's program, which is shipped beside this one.
const APP: &str = "threadkeep-desktop";

/// Open a threadkeep:// link: in the app where there is one, else here.
///
/// The app shows the session that the link leads to. Without the app, or with --here, the session
/// is printed. A server that is not the one of --url is asked about first, and gets no token of
/// yours.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep open 'threadkeep://open?session=first-steps'\n  \
    threadkeep open --here 'threadkeep://open?session=plan&server=https://team.example'")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The link.
    link: String,

    /// Print the session instead of showing it in the app.
    #[arg(long)]
    here: bool,

    /// Ask nothing about a server that is not known.
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let link = Link::parse(&args.link)?;
    if !args.here
        && let Some(app) = app()
    {
        return tokio::task::block_in_place(|| show(&app, &link));
    }
    let stranger = link.leads_to_stranger(std::iter::once(args.server.url()));
    if stranger && !args.yes {
        let server = link.server().map(Url::as_str).unwrap_or_default().to_owned();
        tokio::task::spawn_blocking(move || ask(&server)).await??;
    }
    match link {
        Link::Session { server, session, .. } => {
            let remote = match server {
                Some(server) => Remote::at(args.server, server, &session)?,
                None => Remote::new(args.server, &session)?,
            };
            remote.check().await?;
            Transcript::text(&remote).follow(&remote, Until::CaughtUp).await
        }
        Link::Invitation { server, .. } => {
            // The token is not printed: terminals keep what they show.
            eprintln!(
                "An invitation to {}. Open it in the app, or set THREADKEEP_URL to that address and THREADKEEP_TOKEN to \
                what stands behind token= in the link.",
                clean(server.as_str())
            );
            Ok(())
        }
    }
}

/// Asks whether a server may be read.
fn ask(server: &str) -> anyhow::Result<()> {
    let server = clean(server);
    if !io::stdin().is_terminal() {
        bail!("{server} is not a server that you use. Use --yes if you trust the link");
    }
    eprint!("The link leads to {server}, which is not a server that you use. Go there? [y/N] ");
    io::stderr().flush().ok();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read your answer")?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was opened");
    }
    Ok(())
}

/// The app, where it can show something: beside this program, else on the path.
fn app() -> Option<PathBuf> {
    let has_display = ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    if cfg!(target_os = "linux") && !has_display {
        return None;
    }
    let name = format!("{APP}{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = beside.into_iter().chain(env::split_paths(&path)).collect();
    folders.into_iter().map(|folder| folder.join(&name)).find(|program| program.is_file())
}

/// Starts the app with the link as its one argument, and lets go of it.
fn show(app: &Path, link: &Link) -> anyhow::Result<()> {
    let mut command = Command::new(app);
    command.arg(link.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot start {}", app.display()))?;
    Ok(())
}
