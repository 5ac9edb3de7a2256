//! `threadkeep host`: the session server and the agents of this computer, for the app's windows.
//! Hidden, because the app starts it; what windows and host say to each other is in `host-link`.
//!
//! ```text
//! setsid ─▶ host.lock ─▶ session server ─▶ control ─▶ host.json ─▶ a scope of its own
//!                        (both on loopback, each with a token)
//! ends when nothing runs, nothing waits and no window is attached (`life`)
//! ```

mod control;
mod life;
mod model;
mod scope;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use host_link::api::Stop;
use host_link::files;
use session_server::{Activity, Auth, Secret, ServerConfig};

use self::control::Control;
use self::life::{Life, Now};
use self::model::Model;

/// Time that another host may take to let go of its lock.
const LOCK: Duration = Duration::from_millis(500);
/// Time between two looks whether the data folder is still this host's.
const LOOK: Duration = Duration::from_secs(2);

/// Run the agents of this computer for the app's windows, until nothing runs and no window is
/// there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The app's data folder.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Say which sessions the server of this folder has, one id a line, and end.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { data, list } = args;
    if list {
        for id in session_server::stored_sessions(&files::server(&data))? {
            println!("{id}");
        }
        return Ok(());
    }
    leave_the_terminal();
    crate::serve::logs_as_text();
    let data = std::path::absolute(&data).context("the data folder has no place")?;
    fs::create_dir_all(&data)
        .with_context(|| format!("the folder {} cannot be made", data.display()))?;
    let Some(lock) = lock(&data).await? else {
        tracing::info!("another host has the folder");
        return Ok(());
    };
    let mut signals = Signals::listen();
    crate::serve::raise_open_files();

    let model = Arc::new(Model::new(files::settings(&data)));
    let token = new_token();
    let mut config = ServerConfig::new(files::server(&data));
    config.auth = Auth::Token(Secret::new(token.clone()));
    // The person who types an agent's address owns this server, so it may be on this computer or in
    // the same network.
    config.allow_private_agents = true;
    config.agents.model = Some(Arc::clone(&model) as Arc<dyn session_server::ModelSettings>);
    config.continue_runs = true;
    let server = match session_server::start(config).await {
        Ok(server) => server,
        // Its sentence holds what the system said; as a cause it would be said twice.
        Err(error) => bail!("{error}"),
    };
    let activity = server.activity();
    let control = Control::start(activity.clone(), Arc::clone(&model)).await?;
    let address = files::Address {
        control: control.url().clone(),
        control_token: control.token().to_owned(),
        server: server.base_url(),
        server_token: token,
        pid: std::process::id(),
    };
    address.write(&data).with_context(|| format!("{} cannot be written", data.display()))?;
    tracing::info!("the host is there");
    let moves = tokio::spawn(scope::move_out(data.clone()));

    let how = until_the_end(&control, activity, &mut signals, &data, &address).await;
    tracing::info!(?how, "the host leaves");
    moves.abort();
    address.remove(&data);
    control.stop();
    let ends = async {
        match how {
            Stop::ForGood => server.shutdown_for_good().await,
            Stop::Now | Stop::WhenIdle => server.shutdown().await,
        }
    };
    tokio::select! {
        () = ends => {}
        () = signals.next() => tracing::warn!("stopped at once"),
    }
    drop(lock);
    Ok(())
}

/// Waits until the host is to leave: asked to, by a signal, because nothing needs it, or because
/// the folder is gone.
async fn until_the_end(
    control: &Control,
    mut activity: tokio::sync::watch::Receiver<Activity>,
    signals: &mut Signals,
    data: &Path,
    address: &files::Address,
) -> Stop {
    let mut life = Life::new(Instant::now());
    let mut windows = control.windows();
    let mut asked = control.asked();
    let mut look = tokio::time::interval(LOOK);
    loop {
        let Activity { running, waiting } = *activity.borrow_and_update();
        let now = Now {
            running,
            waiting,
            windows: *windows.borrow_and_update(),
            leaves: matches!(*asked.borrow_and_update(), Some(Stop::WhenIdle)),
        };
        if let Some(stop @ (Stop::Now | Stop::ForGood)) = *asked.borrow() {
            return stop;
        }
        let end = life.ends_at(now, Instant::now());
        tokio::select! {
            () = sleep_until(end) => return Stop::WhenIdle,
            () = signals.next() => return Stop::Now,
            _ = look.tick() => {
                // Whoever removed the folder or its address wants this host no more: nobody can
                // find it.
                if files::Address::read(data).as_ref() != Some(address) {
                    return Stop::Now;
                }
            }
            changed = activity.changed() => if changed.is_err() { return Stop::Now },
            changed = windows.changed() => if changed.is_err() { return Stop::Now },
            changed = asked.changed() => if changed.is_err() { return Stop::Now },
        }
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

/// Takes the lock of the folder. `None` when another host has it.
async fn lock(data: &Path) -> anyhow::Result<Option<fs::File>> {
    let path = files::lock(data);
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).with_context(|| format!("{} cannot be used", path.display()))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) if started.elapsed() < LOCK => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
    }
}

/// A token that nobody guesses.
fn new_token() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

/// Begins a session of its own: a terminal that is closed ends what belongs to it.
fn leave_the_terminal() {
    #[cfg(unix)]
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the host stays in its session");
    }
}

/// The signals by which systems and people end a program.
struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> Self {
        Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .ok(),
        }
    }

    /// The next one.
    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(terminate) = &mut self.terminate {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
        tokio::signal::ctrl_c().await.ok(); // where it cannot be heard, nothing comes
    }
}
