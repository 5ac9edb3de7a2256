//! Starting and stopping a server.

use std::{collections::HashSet, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use sqlite_line::owner_only;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{
    agent::Agents,
    budget::Budget,
    busy::{Activity, Busy},
    config::{Auth, ServerConfig, StreamsBackend},
    error::ServerError,
    following::Following,
    forking::Making,
    guard::Guard,
    metrics::Metrics,
    problem::Problem,
    routes::{self, App, Readiness},
    run::Continues,
    serve,
    sessions::{RECOVERY, Sessions},
    shared::Shared,
    snapshots::Snapshots,
    store::{Op, Store, private_folder},
    streams::{Embedded, Remote, Streams},
    tls,
    tokens::KnownTokens,
};

/// Time that open requests may take to end after [`RunningServer::shutdown`].
const DRAIN: Duration = Duration::from_secs(5);

/// A server that serves until it is shut down or dropped.
#[derive(Debug)]
pub struct RunningServer {
    /// The address it listens on.
    pub addr: SocketAddr,
    scheme: &'static str,
    stop: CancellationToken,
    done: Option<tokio::task::JoinHandle<()>>,
    continues: Continues,
    activity: watch::Receiver<Activity>,
}

impl RunningServer {
    /// Watches what goes on in the server. Ends with the server.
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.clone()
    }

    /// Shuts down as [`Self::shutdown`] does, and no run goes on at the next start, whatever the configuration says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the server stopping by itself.
    pub async fn shutdown_for_good(self) {
        self.continues.switch_off();
        self.shutdown().await;
    }

    /// The URL for clients, such as `http://127.0.0.1:4000`.
    pub fn base_url(&self) -> Url {
        let mut addr = self.addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(match addr {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Url::parse(&format!("{}://{addr}/", self.scheme))
            .expect("a socket address makes a valid URL")
    }

    /// Stops: no new requests, runs end in the log as interrupted, then everything is closed. Takes at most a few
    /// seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the server stopping by itself.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(done) = self.done.take() {
            done.await.ok();
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a session server and returns when it accepts requests.
///
/// # Errors
///
/// [`ServerError`] says in one sentence what to do: the port is taken, the folder cannot be used, or the
/// configuration would be unsafe.
///
/// # Cancel safety
///
/// Dropping the future starts nothing.
pub async fn start(config: ServerConfig) -> Result<RunningServer, ServerError> {
    let open = matches!(config.auth, Auth::None);
    if open && !config.listen.ip().is_loopback() {
        return Err(ServerError::OpenToTheNetwork(config.listen));
    }
    if open && config.allowed_origins.iter().any(|origin| origin == "*") {
        return Err(ServerError::AnyOriginWithoutToken);
    }
    let listener = serve::listen(config.listen).map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => ServerError::AddressInUse(config.listen),
        _ => ServerError::Bind { addr: config.listen, source },
    })?;
    let addr = listener
        .local_addr()
        .map_err(|source| ServerError::Bind { addr: config.listen, source })?;

    // Before anything is made: a mistake in a file name leaves nothing behind.
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;

    let lock = data_dir(&config.data_dir)?;
    let store = Store::open(&config.data_dir, config.secret_key.as_ref())?;
    let stop = CancellationToken::new();
    // Readers of streams must end before the sessions do: a long poll would hold the shutdown up.
    let stop_readers = stop.child_token();
    let streams: Arc<dyn Streams> = match &config.streams {
        StreamsBackend::Embedded => {
            let path = config.data_dir.join("streams");
            let folder = path.clone();
            private_folder(&path)
                .map_err(|source| ServerError::DataDir { path: path.clone(), source })?;
            let sessions = store.count_sessions().await;
            let sessions = sessions.map_err(|error| ServerError::StoreFailed(error.to_string()))?;
            let found = Embedded::found(&path);
            if sessions > 0 && !found {
                return Err(ServerError::StreamsMissing { path, sessions });
            }
            if sessions == 0 && found && store.is_new() {
                tracing::warn!(
                    "the server's database is new: tokens and agents' headers have to be entered again"
                );
            }
            let limits = config.stream_limits;
            let open = move || Embedded::open(&folder, limits, stop_readers);
            let opened = tokio::task::spawn_blocking(open)
                .await
                .unwrap_or_else(|_| Err("opening them crashed".to_owned()));
            Arc::new(opened.map_err(|reason| ServerError::Streams { path, reason })?)
        }
        StreamsBackend::Remote(url) => Arc::new(Remote::new(url, config.streams_token.as_ref())?),
    };
    let instance =
        store.instance().await.map_err(|error| ServerError::StoreFailed(error.to_string()))?;
    let agents = Agents::new(&config, &store)?;
    let shared = Arc::new(Shared {
        streams,
        snapshots: Snapshots::of(&store),
        store,
        agents,
        metrics: Metrics::new(),
        budget: Budget::new(&config.limits),
        limits: config.limits.clone(),
        instance,
        agent_depth: config.agent_depth,
        silence: config.silence,
        signs: Arc::default(),
        making: Making::default(),
        shutdown_runs: CancellationToken::new(),
        continues: Continues::new(config.continue_runs),
        busy: Busy::new(),
        tasks: TaskTracker::new(),
    });
    let sessions = Sessions::new(Arc::clone(&shared));
    let following = Following::default();
    let tokens = match &config.auth {
        Auth::Named(_) => {
            let tokens = KnownTokens::of(&shared.store);
            shared.tasks.spawn(following.clone().watch(tokens.clone(), stop.clone()));
            Some(tokens)
        }
        Auth::None | Auth::Token(_) => None,
    };
    let guard = Guard::new(&config, tokens.clone(), following, shared.budget.clone());
    let guard = Arc::new(guard);
    let limits = Arc::new(config.limits.clone());
    let app = App {
        sessions: sessions.clone(),
        limits: Arc::clone(&limits),
        readiness: Readiness::default(),
        tokens,
    };
    let (continues, activity) = (shared.continues.clone(), shared.busy.watch());
    let (metrics, router) = (shared.metrics.clone(), routes::router(app, guard));
    let serving = serve::serve(listener, tls, router, limits, metrics, stop.clone());

    shared.tasks.spawn(recover(sessions.clone(), shared.shutdown_runs.clone()));
    let stopping = stop.clone();
    let done = tokio::spawn(async move {
        let _lock = lock;
        let drained = async {
            stopping.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            () = serving => {}
            () = drained => tracing::warn!("some requests did not end in time"),
        }
        shared.tasks.close();
        sessions.shutdown().await;
        shared.shutdown_runs.cancel();
        if tokio::time::timeout(DRAIN, shared.agents.close()).await.is_err() {
            tracing::warn!("some agents did not end in time and were killed");
        }
        if tokio::time::timeout(DRAIN, shared.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
    });
    tracing::info!(%addr, "session server listens");
    Ok(RunningServer { addr, scheme, stop, done: Some(done), continues, activity })
}

/// Makes the folder, readable by its owner only, and takes its lock: two servers would write the same sessions.
fn data_dir(path: &Path) -> Result<fs::File, ServerError> {
    let failed = |source| ServerError::DataDir { path: path.to_owned(), source };
    private_folder(path).map_err(failed)?;
    let file = path.join("server.lock");
    owner_only(&file).map_err(failed)?; // whoever can open it can hold it
    let lock = fs::OpenOptions::new().write(true).open(file).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(ServerError::DataDirInUse(path.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Lists sessions that the database does not know. Only listed: their runs may be another server's, which keeps its
/// streams here.
async fn list_unknown(shared: &Shared) -> Result<(), Problem> {
    let mut after = String::new();
    while let Some(page) = shared.streams.list(&after).await? {
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.session_id);
        let ids = page.iter().map(|stream| stream.session_id.clone()).collect();
        let unlisted: HashSet<String> = shared.store.unlisted(ids).await?.into_iter().collect();
        let unlisted = page.into_iter().filter(|stream| unlisted.contains(&stream.session_id));
        let ops = unlisted.flat_map(|stream| {
            let (id, last) = (stream.session_id.clone(), stream.last_activity_at);
            let add = Op::AddSession { session_id: stream.session_id, at: stream.created_at };
            [add, Op::Touch { session_id: id, at: last }]
        });
        shared.store.apply(ops.collect()).await?;
    }
    Ok(())
}

/// Lists sessions that the database does not know, and ends or continues what the last server left over in the others.
async fn recover(sessions: Sessions, stop: CancellationToken) {
    let work = async {
        let shared = sessions.shared();
        let mut unfinished = shared.store.sessions_to_open().await.unwrap_or_default();
        if let Err(error) = list_unknown(shared).await {
            tracing::error!(?error, "the list of sessions cannot be completed");
        }
        // The stream server may start after this one, or be away for a while.
        let mut attempt = 0;
        while !unfinished.is_empty() {
            let mut later = Vec::new();
            for session_id in unfinished {
                match sessions.recover(&session_id).await {
                    Err(problem) if problem.is_temporary() => later.push(session_id),
                    Err(problem) if problem != Problem::session_not_found() => {
                        tracing::warn!(?problem, "a session could not be recovered");
                    }
                    _ => {}
                }
            }
            unfinished = later;
            if !unfinished.is_empty() {
                tracing::warn!(sessions = unfinished.len(), "sessions are recovered later");
                tokio::time::sleep(RECOVERY.delay(attempt, None).unwrap_or_default()).await;
                attempt += 1;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}
