//! The tasks of the open sessions.
//!
//! A session is opened by the first intent for it and closed when nothing happened for a while. Its task takes jobs
//! (closures over [`Session`]), output of runs, and finished commits, one at a time. A commit is: database changes,
//! append, database changes. While one is under way everything else gathers in the next batch; a batch of agent
//! output waits at most [`LINGER`] for company, one that somebody waits for not at all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{TryStreamExt, future::BoxFuture};
use tokio::{
    sync::{OnceCell, mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent::Agents,
    budget::Budget,
    config::Limits,
    event,
    ledger::Ledger,
    metrics::Metrics,
    problem::Problem,
    session::{Batch, Session, Signs, Waiter},
    store::{Op, Store},
    streams::{Stamp, StreamError, Streams, stream_name},
    turns::{self, Start},
};

/// No chunk waits longer than this for the batch it is in (plus the append before it).
const LINGER: Duration = Duration::from_millis(4);
const _: () = assert!(LINGER.as_millis() < 10, "no chunk waits for 10 ms");
/// Chunks that may wait for a commit before agents are held back; how many bytes they may have is up to the
/// [`Budget`](crate::budget).
const MAX_WAITING: usize = 4096;
/// Between two attempts to go on after a failure, at most.
pub(crate) const RECOVERY: Duration = Duration::from_secs(3);
/// Bytes of one append.
const MAX_APPEND: usize = 1 << 20;
/// A session without runs and jobs is closed after this.
const IDLE: Duration = Duration::from_secs(60);
/// With more open sessions than [`MANY`] it is closed after this: memory follows what is used, not what was.
const IDLE_AMONG_MANY: Duration = Duration::from_secs(1);
const MANY: usize = 1_000;

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) store: Store,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    pub(crate) budget: Budget,
    pub(crate) limits: Limits,
    /// This server as a producer of streams.
    pub(crate) instance: String,
    /// How many times in a row agents may react to agents.
    pub(crate) agent_depth: u32,
    /// How long a device that does not heartbeat may be silent.
    pub(crate) silence: Duration,
    pub(crate) signs: Signs,
    /// Ends runs, before the sessions themselves end.
    pub(crate) shutdown_runs: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// Whether a job may make a session that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Existing,
    Create,
}

type Work = Box<dyn FnOnce(Result<&mut Session, Problem>) + Send>;

enum Job {
    Do { open: Open, work: Work },
    Delete { done: oneshot::Sender<Result<(), Problem>> },
    Refresh,
    Shutdown { done: oneshot::Sender<()> },
}

/// The open sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    shared: Arc<Shared>,
    open: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Job>>>>,
}

impl Sessions {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: Arc::default() }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs `work` on the session's task. Its answer is given when everything it wrote is in the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the work done or not done as a whole.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        session_id: &str,
        open: Open,
        work: impl FnOnce(&mut Session) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |session| {
            let result = session.and_then(|session| Ok((work(session)?, session)));
            match result {
                Err(problem) => drop(answer.send(Err(problem))),
                Ok((value, session)) => session.batch.waiters.push(Box::new(move |committed| {
                    answer.send(committed.map(|()| value)).ok();
                })),
            }
        });
        self.submit(session_id, Job::Do { open, work });
        answered.await.unwrap_or_else(|_| Err(Problem::shutting_down()))
    }

    /// Opens the session so that what a crash left over is ended or goes on.
    pub(crate) async fn recover(&self, session_id: &str) -> Result<(), Problem> {
        self.with(session_id, Open::Existing, |_| Ok(())).await
    }

    /// Stops the session's runs and deletes its stream and everything the server knows of it.
    pub(crate) async fn delete(&self, session_id: &str) -> Result<(), Problem> {
        let (done, deleted) = oneshot::channel();
        self.submit(session_id, Job::Delete { done });
        deleted.await.unwrap_or_else(|_| Err(Problem::shutting_down()))
    }

    /// How many sessions are in memory.
    pub(crate) fn count_open(&self) -> usize {
        self.lock().len()
    }

    /// Says that somebody else wrote to the session's stream.
    pub(crate) fn refresh(&self, session_id: &str) {
        if let Some(task) = self.lock().get(session_id) {
            task.send(Job::Refresh).ok(); // a task that ended has nothing to refresh
        }
    }

    /// Ends every run in the log and every session task.
    pub(crate) async fn shutdown(&self) {
        let open: Vec<_> = self.lock().drain().map(|(_, task)| task).collect();
        let mut ends = Vec::new();
        for task in open {
            let (done, ended) = oneshot::channel();
            if task.send(Job::Shutdown { done }).is_ok() {
                ends.push(ended);
            }
        }
        for ended in ends {
            ended.await.ok();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Job>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, session_id: &str, job: Job) {
        let mut open = self.lock();
        let job = match open.get(session_id) {
            None => job,
            Some(task) => match task.send(job) {
                Ok(()) => return,
                // The task ended between its last look at the queue and now.
                Err(mpsc::error::SendError(job)) => job,
            },
        };
        if self.shared.tasks.is_closed() {
            return; // dropping the job answers it
        }
        let (task, jobs) = mpsc::unbounded_channel();
        // A runtime that is going away drops new tasks at once, and with them the job.
        task.send(job).ok();
        open.insert(session_id.to_owned(), task);
        let task = Task {
            id: session_id.to_owned(),
            sessions: self.clone(),
            shared: Arc::clone(&self.shared),
        };
        self.shared.tasks.spawn(task.run(jobs));
    }
}

struct Task {
    id: String,
    sessions: Sessions,
    shared: Arc<Shared>,
}

type Commit = BoxFuture<'static, Result<(), Problem>>;

/// A batch on its way, and what happens when it arrived.
struct UnderWay {
    commit: Commit,
    waiters: Vec<Waiter>,
    starts: Vec<Start>,
}

/// Why a session's loop ended.
enum Ended {
    Idle,
    /// A commit failed: memory is ahead of the stream and must be read again.
    Failed,
    Deleted,
    Shutdown(oneshot::Sender<()>),
}

impl Task {
    async fn run(self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let ended = self.serve(&mut jobs).await;
        jobs.close();
        {
            let mut open = self.sessions.lock();
            // Only this task's own entry: a newer one is not closed.
            if open.get(&self.id).is_some_and(mpsc::UnboundedSender::is_closed) {
                open.remove(&self.id);
            }
        }
        if let Ended::Shutdown(done) = ended {
            done.send(()).ok();
            return; // jobs that are left are dropped, which answers them
        }
        // Jobs that came in meanwhile belong to the next task of this session.
        while let Ok(job) = jobs.try_recv() {
            self.sessions.submit(&self.id, job);
        }
    }

    async fn serve(&self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Ended {
        let mut loaded = match self.load().await {
            Ok(loaded) => loaded,
            Err(problem) => return self.refuse(jobs, &problem).await,
        };
        let (runs, mut outputs) = mpsc::channel(1024);
        let mut under_way: Option<UnderWay> = None;
        let mut last_commit = Instant::now();
        let mut stale = false;
        loop {
            if stale && under_way.is_none() {
                stale = false;
                if let Err(problem) = self.refresh(&mut loaded).await {
                    return self.fail(loaded, &problem);
                }
            }
            let mut due = None;
            if let (None, Some(loaded)) = (&under_way, &mut loaded)
                && !loaded.session.batch.is_empty()
            {
                let batch = &loaded.session.batch;
                let at = last_commit + LINGER;
                let now = !batch.waiters.is_empty() || !batch.starts.is_empty();
                if now || at <= Instant::now() {
                    under_way = Some(self.commit(loaded));
                    last_commit = Instant::now();
                } else {
                    due = Some(at);
                }
            }
            let room = loaded.as_ref().is_some_and(|l| l.session.batch.events.len() < MAX_WAITING);
            let wait = loaded.as_ref().and_then(|l| l.session.due_in());
            let idle = under_way.is_none() && loaded.as_ref().is_none_or(|l| l.session.is_idle());
            let many = self.sessions.count_open() > MANY;
            let idle_for = if many { IDLE_AMONG_MANY } else { IDLE };
            tokio::select! {
                biased;
                committed = async {
                    match &mut under_way {
                        Some(under_way) => (&mut under_way.commit).await,
                        None => std::future::pending().await,
                    }
                } => {
                    let Some(UnderWay { waiters, starts, .. }) = under_way.take() else { continue };
                    for waiter in waiters {
                        waiter(committed.clone());
                    }
                    if let Err(problem) = committed {
                        tracing::warn!(?problem, "a session's events could not be written");
                        return self.fail(loaded, &problem);
                    }
                    for start in starts {
                        turns::spawn(&self.shared, &self.id, start, runs.clone());
                    }
                }
                job = jobs.recv(), if !stale => match job {
                    None => return Ended::Idle,
                    // The next one who wants something of it reads it again.
                    Some(Job::Refresh) if idle => return Ended::Idle,
                    Some(Job::Refresh) => stale = true,
                    Some(Job::Do { open, work }) => {
                        if loaded.is_none() && open == Open::Create {
                            match self.create().await {
                                Ok(created) => loaded = Some(created),
                                Err(problem) => {
                                    work(Err(problem));
                                    continue;
                                }
                            }
                        }
                        match &mut loaded {
                            Some(loaded) => work(Ok(&mut loaded.session)),
                            None => work(Err(Problem::session_not_found())),
                        }
                    }
                    Some(Job::Delete { done }) => {
                        // What was asked before is done before.
                        settle(under_way).await.ok();
                        if let Some(mut loaded) = loaded {
                            settle(Some(self.commit(&mut loaded))).await.ok();
                            loaded.session.abandon(&Problem::session_not_found());
                        }
                        done.send(self.delete().await).ok();
                        return Ended::Deleted;
                    }
                    Some(Job::Shutdown { done }) => {
                        self.last_commit(loaded, under_way).await;
                        return Ended::Shutdown(done);
                    }
                },
                Some(output) = outputs.recv(), if room => {
                    if let Some(loaded) = &mut loaded {
                        loaded.session.output(output);
                        while loaded.session.batch.events.len() < MAX_WAITING
                            && let Ok(output) = outputs.try_recv()
                        {
                            loaded.session.output(output);
                        }
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(last_commit)), if due.is_some() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    if let Some(loaded) = &mut loaded {
                        loaded.session.elapse();
                    }
                }
                () = tokio::time::sleep(idle_for), if idle => return Ended::Idle,
            }
        }
    }

    /// The session as it is in the stream, or `None` when there is none.
    async fn load(&self) -> Result<Option<Loaded>, Problem> {
        match self.read().await {
            Ok(ledger) => self.open(ledger).await.map(Some),
            Err(StreamError::NotFound | StreamError::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn refresh(&self, loaded: &mut Option<Loaded>) -> Result<(), Problem> {
        match loaded {
            Some(loaded) => loaded.session.refresh(self.read().await?),
            None => *loaded = self.load().await?,
        }
        Ok(())
    }

    async fn create(&self) -> Result<Loaded, Problem> {
        let new = self.shared.streams.create(&stream_name(&self.id)).await?;
        self.open(if new { Ledger::default() } else { self.read().await? }).await
    }

    /// The index of the stream, made page by page.
    async fn read(&self) -> Result<Ledger, StreamError> {
        let name = stream_name(&self.id);
        let mut ledger = Ledger::default();
        let mut pages = self.shared.streams.pages(&name);
        while let Some(page) = pages.try_next().await? {
            page.iter().for_each(|item| ledger.apply(item));
        }
        Ok(ledger)
    }

    async fn open(&self, ledger: Ledger) -> Result<Loaded, Problem> {
        // Nothing is written where nothing has to be: on a full disk what is there can still be opened.
        let store = &self.shared.store;
        let is_listed = store.is_listed(&self.id).await?;
        let specs = store.agents(&self.id).await?;
        let runs = store.runs(&self.id).await?;
        let title = store.title(&self.id).await?;
        let shared = Arc::clone(&self.shared);
        let mut session = Session::open(&self.id, shared, ledger, specs, runs, is_listed);
        if !is_listed {
            let add = Op::AddSession { session_id: self.id.clone(), at: event::now() };
            session.batch.before.insert(0, add);
        }
        session.keep_title(title.as_deref());
        // It writes something, or will when time passes.
        let writes = !session.batch.events.is_empty() || !session.is_idle();
        if writes && self.shared.streams.is_closed(&stream_name(&self.id)).await? {
            session.settle_for_reading();
        }
        Ok(Loaded { session, epoch: Arc::default(), next: 0 })
    }

    fn commit(&self, loaded: &mut Loaded) -> UnderWay {
        let Batch { before, events, after, starts, waiters, holds, grows } =
            std::mem::take(&mut loaded.session.batch);
        let groups = split(events);
        let first = loaded.next;
        loaded.next += groups.len() as u64;
        let shared = Arc::clone(&self.shared);
        let epoch = Arc::clone(&loaded.epoch);
        let id = self.id.clone();
        let commit = Box::pin(async move {
            shared.store.apply(before).await?;
            let name = stream_name(&id);
            for (seq, events) in (first..).zip(groups) {
                let count = events.len();
                let epoch = *epoch.get_or_try_init(|| shared.store.next_epoch(&id)).await?;
                let stamp = Stamp { id: shared.instance.clone(), epoch, seq };
                shared.streams.append(&name, events, &stamp, grows).await?;
                shared.metrics.appended(count);
            }
            drop(holds); // on the disk
            shared.store.apply(after).await?;
            Ok(())
        });
        UnderWay { commit, waiters, starts }
    }

    /// Answers all waiting jobs with the same refusal, except those that ask for no more than an end.
    async fn refuse(&self, jobs: &mut mpsc::UnboundedReceiver<Job>, problem: &Problem) -> Ended {
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            match job {
                Job::Do { work, .. } => work(Err(problem.clone())),
                Job::Delete { done } => drop(done.send(self.delete().await)),
                Job::Refresh => {}
                Job::Shutdown { done } => return Ended::Shutdown(done),
            }
        }
        Ended::Failed
    }

    async fn delete(&self) -> Result<(), Problem> {
        self.shared.streams.delete(&stream_name(&self.id)).await?;
        let forget = Op::ForgetSession { session_id: self.id.clone() };
        self.shared.store.apply(vec![forget]).await?;
        Ok(())
    }

    /// Throws the state away. Runs that were under way, or whose end was on its way, are ended in the log once the stream
    /// can be written again.
    fn fail(&self, loaded: Option<Loaded>, problem: &Problem) -> Ended {
        if let Some(loaded) = loaded {
            loaded.session.abandon(problem);
            let sessions = self.sessions.clone();
            let id = self.id.clone();
            let stop = self.shared.shutdown_runs.clone();
            self.shared.tasks.spawn(async move {
                let mut wait = Duration::from_secs(1);
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                    match sessions.recover(&id).await {
                        Err(problem) if problem.is_temporary() => {
                            wait = (wait * 2).min(RECOVERY);
                        }
                        _ => return,
                    }
                }
            });
        }
        Ended::Failed
    }

    async fn last_commit(&self, loaded: Option<Loaded>, under_way: Option<UnderWay>) {
        if settle(under_way).await.is_err() {
            return;
        }
        if let Some(mut loaded) = loaded {
            loaded.session.interrupt_all();
            settle(Some(self.commit(&mut loaded))).await.ok();
        }
    }
}

/// Waits for a commit, and answers those who wait for it.
async fn settle(under_way: Option<UnderWay>) -> Result<(), Problem> {
    let Some(under_way) = under_way else { return Ok(()) };
    let committed = under_way.commit.await;
    under_way.waiters.into_iter().for_each(|waiter| waiter(committed.clone()));
    committed
}

struct Loaded {
    session: Session,
    /// The writer's epoch, taken with the first write.
    epoch: Arc<OnceCell<u64>>,
    /// The number of the next append in it.
    next: u64,
}

/// Cuts a large batch into appends that stream servers with body limits take. Order is kept.
fn split(events: Vec<bytes::Bytes>) -> Vec<Vec<bytes::Bytes>> {
    let mut groups: Vec<Vec<bytes::Bytes>> = Vec::new();
    let mut size = usize::MAX;
    for event in events {
        if size.saturating_add(event.len()) > MAX_APPEND {
            groups.push(Vec::new());
            size = 0;
        }
        size += event.len();
        if let Some(group) = groups.last_mut() {
            group.push(event);
        }
    }
    groups
}
