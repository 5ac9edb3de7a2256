//! The tasks of the open sessions.
//!
//! A session is opened by the first job for it and closed when nothing happened for a while. Its task takes jobs,
//! output of runs, and finished commits, one at a time. What is asked and what agents say are inputs of the
//! [`Session`], and the task carries their effects out ([`Batch`]). A commit is: database changes, append, database
//! changes. While one is under way everything else gathers in the next batch; a batch of agent output waits at most
//! [`LINGER`] for company, one that somebody waits for not at all.
//!
//! A task that panics takes nothing down but its own state: whoever waits gets a 500 of this session, and a deletion is
//! done all the same, because it needs no state.

mod batch;
mod keeping;

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use durable_stream::RetryPolicy;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::batch::{Batch, Led, Means, Waiter};
use self::keeping::{Kept, Shelved};
use crate::book::RunBook;
use crate::busy::Activity;
use crate::problem::Problem;
use crate::run::{Given, RunOutput};
use crate::runner::{self, PlannedRun};
use crate::session::{Effects, Input, Moment, Opening, Reply, Session};
use crate::shared::Shared;
use crate::snapshots::Kind;
use crate::store::Op;
use crate::streams::{Stamp, StreamError, stream_name};

/// Longest wait of a chunk for the batch it is in (plus the append before it).
const LINGER: Duration = Duration::from_millis(4);
const _: () = assert!(LINGER.as_millis() < 10, "no chunk waits for 10 ms");
/// Chunks that may wait for a commit before agents are held back; how many bytes they may have is up to the
/// [`Budget`](crate::budget).
const MAX_WAITING: usize = 4096;
/// Waits between attempts to go on after a failure.
pub(crate) const RECOVERY: RetryPolicy =
    RetryPolicy::doubling(Duration::from_secs(1), Duration::from_secs(3));
/// Bytes of one append.
const MAX_APPEND: usize = 1 << 20;
/// Another writer's epoch is taken over from so many times for one append.
const TAKE_OVERS: u32 = 3;
/// The highest epoch that every stream server can store.
const MAX_EPOCH: u64 = (1 << 53) - 1;
/// A deletion waits so long for the room that it made itself.
const FORGET_WITHIN: Duration = Duration::from_secs(2);
/// Time after which what goes on in a session is told.
const TELL: Duration = Duration::from_millis(100);
/// A session without runs and jobs is closed after this.
const IDLE: Duration = Duration::from_secs(60);
/// With more open sessions than [`MANY`] it is closed after this: memory follows what is used, not what was.
const IDLE_AMONG_MANY: Duration = Duration::from_secs(1);
const MANY: usize = 1_000;

/// Whether a job may make a session that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Existing,
    /// One that never was; a word that comes late makes no session again that was deleted.
    New,
    /// Also one that was deleted: that is the wish.
    Create,
}

/// Looks at a session, and returns who waits until what it has seen is in the stream.
type Look = Box<dyn FnOnce(Result<&Session, Problem>) -> Option<Waiter> + Send>;

enum Job {
    Apply { open: Open, input: Box<Input>, done: oneshot::Sender<Result<Reply, Problem>> },
    Read { open: Open, look: Look },
    Delete { done: oneshot::Sender<Result<(), Problem>> },
    Refresh,
    Shutdown { done: oneshot::Sender<()> },
}

/// The open sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    shared: Arc<Shared>,
    open: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Job>>>>,
    troubled: Arc<Mutex<Troubled>>,
}

/// Sessions with which something went wrong.
#[derive(Default)]
struct Troubled {
    /// Their streams are deleted and the database could not be told so yet.
    unforgotten: HashSet<String>,
    /// Their tasks fell, and were opened again by themselves once.
    fallen: HashSet<String>,
}

impl Sessions {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: Arc::default(), troubled: Arc::default() }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Applies an input to a session. The reply is given when all that it led to is in the stream.
    ///
    /// # Errors
    ///
    /// The session refuses it, cannot be opened, or could not be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the input applied or not applied as a whole.
    pub(crate) async fn apply(
        &self,
        session_id: &str,
        open: Open,
        input: Input,
    ) -> Result<Reply, Problem> {
        let (done, replied) = oneshot::channel();
        self.submit(session_id, Job::Apply { open, input: Box::new(input), done });
        replied.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Looks at a session. The answer is given when all that was asked of it before is in the stream.
    ///
    /// # Errors
    ///
    /// `look` fails, or the session cannot be opened or could not be written.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        session_id: &str,
        open: Open,
        look: impl FnOnce(&Session) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let look: Look = Box::new(move |session| match session.and_then(look) {
            Err(problem) => {
                answer.send(Err(problem)).ok(); // nobody waits any more
                None
            }
            Ok(found) => Some(Box::new(move |committed: Result<(), Problem>| {
                answer.send(committed.map(|()| found)).ok();
            })),
        });
        self.submit(session_id, Job::Read { open, look });
        answered.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Why a job was dropped.
    fn unanswered(&self) -> Problem {
        let stops = self.shared.tasks.is_closed();
        if stops { Problem::shutting_down() } else { Problem::session_failed() }
    }

    /// The session was deleted, although the database does not say so yet.
    pub(crate) fn is_deleted(&self, session_id: &str) -> bool {
        self.troubled().unforgotten.contains(session_id)
    }

    fn troubled(&self) -> std::sync::MutexGuard<'_, Troubled> {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was asked of an open session before is in its stream.
    pub(crate) async fn settled(&self, session_id: &str) {
        let is_open = self.lock().contains_key(session_id);
        if is_open {
            self.recover(session_id).await.ok(); // what is wrong with it is found out by who uses it
        }
    }

    /// The index of a session's stream as it is now, without opening the session, which may write to it.
    pub(crate) async fn index(&self, session_id: &str) -> Result<Option<RunBook>, Problem> {
        match keeping::read_whole(&*self.shared.streams, session_id).await {
            Ok(kept) => Ok(Some(kept.book)),
            Err(StreamError::NotFound | StreamError::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the session so that what a crash left over is ended or goes on.
    pub(crate) async fn recover(&self, session_id: &str) -> Result<(), Problem> {
        self.with(session_id, Open::Existing, |_| Ok(())).await
    }

    /// Stops the session's runs and deletes its stream and everything the server knows of it.
    pub(crate) async fn delete(&self, session_id: &str) -> Result<(), Problem> {
        let (done, deleted) = oneshot::channel();
        self.submit(session_id, Job::Delete { done });
        deleted.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Number of sessions in memory.
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
    given: Vec<(String, Given)>,
    starts: Vec<PlannedRun>,
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
        let ended = match unharmed(self.serve(&mut jobs)).await {
            Some(ended) => ended,
            None => self.fall(&mut jobs).await,
        };
        if !matches!(ended, Ended::Idle) {
            // Whoever opens it again says what goes on then.
            self.shared.busy.note(&self.id, Activity::default());
        }
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
        // A deletion needs nothing of the session, which may be what cannot be opened.
        let mut first = match jobs.recv().await {
            Some(Job::Delete { done }) => {
                done.send(self.delete().await).ok();
                return Ended::Deleted;
            }
            job => job,
        };
        let loaded = async {
            self.forget_deleted().await?;
            self.load().await
        };
        let mut loaded = match loaded.await {
            Ok(loaded) => loaded,
            Err(problem) => {
                if let Some(job) = first {
                    job.refuse(&problem);
                }
                return self.refuse(jobs, &problem).await;
            }
        };
        let (runs, mut outputs) = mpsc::channel(1024);
        let mut under_way: Option<UnderWay> = None;
        let mut last_commit = Instant::now();
        let mut stale = false;
        // When what goes on here is told next: not with every chunk, because it is counted.
        let mut tell_at = Some(Instant::now());
        loop {
            if tell_at.is_some_and(|at| at <= Instant::now()) {
                tell_at = None;
                self.tell(&loaded);
            }
            if stale && under_way.is_none() {
                stale = false;
                if let Err(problem) = self.refresh(&mut loaded).await {
                    return self.fail(loaded, &problem);
                }
            }
            if let Some(damaged) = loaded.take_if(|loaded| loaded.session.book().is_damaged()) {
                settle(under_way).await.ok();
                tracing::warn!("what was stored of a session is damaged; its stream is read again");
                self.shared.snapshots.drop(&self.id, Kind::Book).await;
                return self.fail(Some(damaged), &Problem::session_failed());
            }
            let mut due = None;
            if let (None, Some(loaded)) = (&under_way, &mut loaded)
                && !loaded.batch.is_empty()
            {
                let at = last_commit + LINGER;
                if loaded.batch.is_wanted() || at <= Instant::now() {
                    under_way = Some(self.commit(loaded));
                    last_commit = Instant::now();
                } else {
                    due = Some(at);
                }
            }
            let room = loaded.as_ref().is_some_and(|l| l.batch.events.len() < MAX_WAITING);
            let wait = loaded.as_ref().and_then(|l| l.session.due_at()).map(Instant::from_std);
            let idle = under_way.is_none() && loaded.as_ref().is_none_or(Loaded::is_idle);
            let many = self.sessions.count_open() > MANY;
            let idle_for = if many { IDLE_AMONG_MANY } else { IDLE };
            let tells = tell_at;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(tells.unwrap_or(last_commit)), if tells.is_some() => continue,
                committed = async {
                    match &mut under_way {
                        Some(under_way) => (&mut under_way.commit).await,
                        None => std::future::pending().await,
                    }
                } => {
                    let Some(UnderWay { waiters, given, starts, .. }) = under_way.take() else {
                        continue;
                    };
                    for waiter in waiters {
                        waiter(committed.clone());
                    }
                    if let Err(problem) = committed {
                        tracing::warn!(?problem, "a session's events could not be written");
                        return self.fail(loaded, &problem);
                    }
                    if let Some(loaded) = &loaded {
                        for (run_id, given) in given {
                            loaded.led.give(&run_id, given);
                        }
                    }
                    for run in starts {
                        runner::spawn(&self.shared, &self.id, run, runs.clone());
                    }
                    self.store(&mut loaded, false).await;
                }
                job = next(&mut first, jobs), if !stale => match job {
                    None => return Ended::Idle,
                    // The next one who wants something of it reads it again.
                    Some(Job::Refresh) if idle => return Ended::Idle,
                    Some(Job::Refresh) => stale = true,
                    Some(job @ (Job::Apply { open, .. } | Job::Read { open, .. })) => {
                        if loaded.is_none() && open != Open::Existing {
                            match self.create(open).await {
                                Ok(created) => loaded = Some(created),
                                Err(problem) => {
                                    job.refuse(&problem);
                                    continue;
                                }
                            }
                        }
                        match (&mut loaded, job) {
                            (None, job) => job.refuse(&Problem::session_not_found()),
                            (Some(loaded), Job::Apply { input, done, .. }) => {
                                self.apply(loaded, *input, done);
                            }
                            (Some(loaded), Job::Read { look, .. }) => {
                                loaded.batch.waiters.extend(look(Ok(&loaded.session)));
                            }
                            _ => {} // no other job has been let in
                        }
                    }
                    Some(Job::Delete { done }) => {
                        // What was asked before is done before.
                        let last = async {
                            settle(under_way).await.ok();
                            if let Some(mut loaded) = loaded {
                                settle(Some(self.commit(&mut loaded))).await.ok();
                                loaded.abandon(&Problem::session_not_found());
                            }
                        };
                        unharmed(last).await;
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
                        let now = Moment::now();
                        self.hear(loaded, output, now);
                        while loaded.batch.events.len() < MAX_WAITING
                            && let Ok(output) = outputs.try_recv()
                        {
                            self.hear(loaded, output, now);
                        }
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(last_commit)), if due.is_some() => {}
                () = tokio::time::sleep_until(wait.unwrap_or(last_commit)), if wait.is_some() => {
                    if let Some(loaded) = &mut loaded {
                        let now = Moment::now();
                        let missed = loaded.session.missed(now.clock);
                        let signs = self.shared.signs.last(&self.id, missed);
                        self.happen(loaded, Input::Elapse { signs }, now);
                    }
                }
                () = tokio::time::sleep(idle_for), if idle => {
                    self.store(&mut loaded, true).await;
                    self.tell(&loaded);
                    return Ended::Idle;
                }
            }
            tell_at = tell_at.or_else(|| Some(Instant::now() + TELL));
        }
    }

    /// Tells the server what goes on in the session.
    fn tell(&self, loaded: &Option<Loaded>) {
        if let Some(loaded) = loaded {
            self.shared.busy.note(&self.id, loaded.session.activity());
        }
    }

    /// Stores what is known of the session, when enough is new in it and none of it is on its way to the stream.
    async fn store(&self, loaded: &mut Option<Loaded>, rests: bool) {
        let Some(Loaded { session, batch, shelved, .. }) = loaded else { return };
        if batch.events.is_empty() {
            let book = session.book_mut();
            *shelved = keeping::store_grown(&self.shared, &self.id, book, *shelved, rests).await;
        }
    }

    /// The session as it is in the stream, or `None` when there is none.
    async fn load(&self) -> Result<Option<Loaded>, Problem> {
        match keeping::read(&self.shared, &self.id).await {
            Ok(kept) => self.open(kept).await.map(Some),
            Err(StreamError::NotFound | StreamError::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn refresh(&self, loaded: &mut Option<Loaded>) -> Result<(), Problem> {
        match loaded {
            Some(loaded) => {
                let Kept { mut book, shelved, .. } = keeping::read(&self.shared, &self.id).await?;
                if book.deleted_since(loaded.session.book().items()) {
                    self.shared.snapshots.drop(&self.id, Kind::Told).await;
                }
                for item in &loaded.batch.events {
                    book.apply(item);
                }
                self.happen(loaded, Input::Reread(Box::new(book)), Moment::now());
                loaded.shelved = shelved;
            }
            None => *loaded = self.load().await?,
        }
        Ok(())
    }

    async fn create(&self, open: Open) -> Result<Loaded, Problem> {
        if open == Open::New && self.shared.store.was_deleted(&self.id).await? {
            return Err(Problem::session_deleted());
        }
        let new = self.shared.streams.create(&stream_name(&self.id)).await?;
        let kept = if new { Kept::new() } else { keeping::read(&self.shared, &self.id).await? };
        self.open(kept).await
    }

    async fn open(&self, kept: Kept) -> Result<Loaded, Problem> {
        let Kept { book, shelved, .. } = kept;
        // Nothing is written where nothing has to be: on a full disk what is there can still be opened.
        let store = &self.shared.store;
        let is_listed = store.is_listed(&self.id).await?;
        let specs = store.agents(&self.id).await?;
        let runs = store.runs(&self.id).await?;
        let title = store.title(&self.id).await?;
        let (id, surroundings) = (self.id.clone(), self.shared.surroundings());
        let seed = rand::random();
        let opening = Opening { id, surroundings, seed, book, specs, runs, is_listed, title };
        let (session, mut effects) = Session::open(opening, Moment::now());
        let (batch, led, writing) = (Batch::default(), Led::default(), Arc::default());
        // It writes something, or will when time passes.
        let writes = !effects.is_empty() || !session.is_idle();
        let is_closed = writes && self.shared.streams.is_closed(&stream_name(&self.id)).await?;
        let mut loaded = Loaded { session, batch, led, shelved, writing };
        if is_closed {
            effects.events.clear();
        }
        self.carry_out(&mut loaded, effects);
        if is_closed {
            self.happen(&mut loaded, Input::CloseStream, Moment::now());
        }
        Ok(loaded)
    }

    /// Applies what somebody asks, and lets him wait for it.
    fn apply(
        &self,
        loaded: &mut Loaded,
        input: Input,
        done: oneshot::Sender<Result<Reply, Problem>>,
    ) {
        match loaded.session.apply(input, Moment::now()) {
            Ok(effects) => {
                let reply = self.carry_out(loaded, effects);
                loaded.batch.waiters.push(Box::new(move |committed| {
                    done.send(committed.map(|()| reply)).ok(); // nobody may wait any more
                }));
            }
            Err(refusal) => drop(done.send(Err(refusal.into()))),
        }
    }

    /// Applies what an agent says. The room of a chunk is taken until what it became is in the stream.
    fn hear(&self, loaded: &mut Loaded, output: RunOutput, now: Moment) {
        let RunOutput { run_id, what, hold } = output;
        self.happen(loaded, Input::Output { run_id, what }, now);
        if !loaded.batch.events.is_empty() {
            loaded.batch.holds.extend(hold);
        }
    }

    /// Applies what nobody asks for and no session refuses.
    fn happen(&self, loaded: &mut Loaded, input: Input, now: Moment) {
        if let Ok(effects) = loaded.session.apply(input, now) {
            self.carry_out(loaded, effects);
        }
    }

    fn carry_out(&self, loaded: &mut Loaded, effects: Effects) -> Reply {
        let now = std::time::Instant::now();
        for actor_id in &effects.signs {
            self.shared.signs.note(&self.id, actor_id, now);
        }
        let with = Means { metrics: &self.shared.metrics, stop: &self.shared.shutdown_runs };
        loaded.batch.carry_out(effects, &mut loaded.led, &with)
    }

    /// Tells the database of an earlier deletion of this session, before it can be made again.
    async fn forget_deleted(&self) -> Result<(), Problem> {
        if self.sessions.is_deleted(&self.id) {
            let forget = Op::ForgetSession { session_id: self.id.clone() };
            self.shared.store.apply(vec![forget]).await?;
            self.sessions.troubled().unforgotten.remove(&self.id);
        }
        Ok(())
    }

    fn commit(&self, loaded: &mut Loaded) -> UnderWay {
        let Batch { before, events, after, given, starts, waiters, holds, grows } =
            std::mem::take(&mut loaded.batch);
        let mut at = loaded.session.book().items().saturating_sub(events.len() as u64);
        let groups = split(events);
        let shared = Arc::clone(&self.shared);
        let writing = Arc::clone(&loaded.writing);
        let id = self.id.clone();
        let commit = Box::pin(async move {
            shared.store.apply(before).await?;
            let mut writing = writing.lock().await; // nobody else has it: one commit is under way at a time
            for events in groups {
                let count = events.len();
                writing.append(&shared, &id, events, at, grows).await?;
                at += count as u64;
                shared.metrics.appended(count);
            }
            drop(holds); // on the disk
            shared.store.apply(after).await?;
            Ok(())
        });
        UnderWay { commit, waiters, given, starts }
    }

    /// Answers all waiting jobs with the same refusal, except those that ask for no more than an end.
    async fn refuse(&self, jobs: &mut mpsc::UnboundedReceiver<Job>, problem: &Problem) -> Ended {
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            match job {
                Job::Delete { done } => drop(done.send(self.delete().await)),
                Job::Shutdown { done } => return Ended::Shutdown(done),
                job => job.refuse(problem),
            }
        }
        Ended::Failed
    }

    /// Deletes the stream and what the database knows. An error means that nothing was done.
    async fn delete(&self) -> Result<(), Problem> {
        self.shared.streams.delete(&stream_name(&self.id)).await?;
        self.shared.busy.note(&self.id, Activity::default());
        self.sessions.troubled().unforgotten.insert(self.id.clone());
        self.sessions.troubled().fallen.remove(&self.id);
        // On a full disk the room that the stream gave back is there in a moment.
        let started = Instant::now();
        while let Err(problem) = self.forget_deleted().await {
            if started.elapsed() >= FORGET_WITHIN {
                tracing::warn!(?problem, "a deleted session is forgotten later");
                self.open_later();
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The task fell over something in its session: whoever waits is told so.
    async fn fall(&self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Ended {
        tracing::error!("the task of a session fell; the others go on");
        // Runs that were under way are ended in the log by the next opening, which may fall too.
        if self.sessions.troubled().fallen.insert(self.id.clone()) {
            self.open_later();
        }
        self.refuse(jobs, &Problem::session_failed()).await
    }

    /// Throws the state away. Runs that were under way, or whose end was on its way, are ended in the log once the
    /// stream can be written again.
    fn fail(&self, loaded: Option<Loaded>, problem: &Problem) -> Ended {
        if let Some(loaded) = loaded {
            loaded.abandon(problem);
            self.open_later();
        }
        Ended::Failed
    }

    /// Opens the session again after a while, until that works or is of no use.
    fn open_later(&self) {
        let sessions = self.sessions.clone();
        let id = self.id.clone();
        let stop = self.shared.shutdown_runs.clone();
        self.shared.tasks.spawn(async move {
            let mut attempt = 0;
            while let Some(wait) = RECOVERY.delay(attempt, None) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                match sessions.recover(&id).await {
                    Err(problem) if problem.is_temporary() => attempt += 1,
                    _ => return,
                }
            }
        });
    }

    async fn last_commit(&self, loaded: Option<Loaded>, under_way: Option<UnderWay>) {
        if settle(under_way).await.is_err() {
            return;
        }
        if let Some(mut loaded) = loaded {
            let uncalled = loaded.led.forestall();
            self.happen(
                &mut loaded,
                Input::Interrupt { uncalled, continues: self.shared.continues.is_on() },
                Moment::now(),
            );
            settle(Some(self.commit(&mut loaded))).await.ok();
        }
    }
}

/// The output of a future, or `None` when it panicked.
async fn unharmed<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// The job that was taken before, else the next one.
async fn next(first: &mut Option<Job>, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Option<Job> {
    match first.take() {
        Some(job) => Some(job),
        None => jobs.recv().await,
    }
}

/// Waits for a commit, and answers those who wait for it.
async fn settle(under_way: Option<UnderWay>) -> Result<(), Problem> {
    let Some(under_way) = under_way else { return Ok(()) };
    let committed = under_way.commit.await;
    under_way.waiters.into_iter().for_each(|waiter| waiter(committed.clone()));
    committed
}

/// An open session, and what it has led to that is not in the stream.
struct Loaded {
    session: Session,
    batch: Batch,
    led: Led,
    /// The stored part of the book.
    shelved: Shelved,
    writing: Arc<tokio::sync::Mutex<Writing>>,
}

impl Loaded {
    fn is_idle(&self) -> bool {
        self.session.is_idle() && self.batch.is_empty()
    }

    /// Gives the session up: stops its runs, and answers whoever waits.
    fn abandon(self, problem: &Problem) {
        for waiter in self.batch.waiters {
            waiter(Err(problem.clone()));
        }
    }
}

impl Job {
    /// Answers whoever waits for it.
    fn refuse(self, problem: &Problem) {
        match self {
            Self::Apply { done, .. } => drop(done.send(Err(problem.clone()))),
            Self::Read { look, .. } => drop(look(Err(problem.clone()))),
            Self::Delete { done } => drop(done.send(Err(problem.clone()))),
            Self::Refresh => {}
            Self::Shutdown { done } => drop(done.send(())),
        }
    }
}

/// The mark of the next append.
#[derive(Default)]
struct Writing {
    /// The producer, where it is not the server itself.
    producer: Option<String>,
    /// The writer's epoch, taken with the first write.
    epoch: Option<u64>,
    /// The number of the next append in it.
    next: u64,
}

impl Writing {
    /// Appends behind the stream's first `at` items. An epoch that the stream knows already (the database may be older
    /// than the streams, or somebody has used it) is left behind, when nobody has written since the session was read.
    async fn append(
        &mut self,
        shared: &Shared,
        session_id: &str,
        events: Vec<bytes::Bytes>,
        at: u64,
        grows: bool,
    ) -> Result<(), Problem> {
        let name = stream_name(session_id);
        let mut take_overs = 0;
        loop {
            let epoch = match self.epoch {
                Some(epoch) => epoch,
                None => *self.epoch.insert(shared.store.next_epoch(session_id, None).await?),
            };
            let id = self.producer.clone().unwrap_or_else(|| shared.instance.clone());
            let stamp = Stamp { id, epoch, seq: self.next, at };
            match shared.streams.append(&name, events.clone(), &stamp, grows).await {
                Ok(()) => {
                    self.next += 1;
                    return Ok(());
                }
                Err(fenced @ StreamError::Fenced(known)) => {
                    self.take_over(shared, session_id, known).await?;
                    take_overs += 1;
                    if take_overs > TAKE_OVERS || !shared.streams.is_at(&name, at).await? {
                        return Err(fenced.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Goes on above the epoch that the stream knows; where there is none above it, as another producer.
    async fn take_over(
        &mut self,
        shared: &Shared,
        session_id: &str,
        known: Option<u64>,
    ) -> Result<(), Problem> {
        self.next = 0;
        if known.is_some_and(|known| known >= MAX_EPOCH) {
            self.producer = Some(format!("{}-{}", shared.instance, uuid::Uuid::new_v4()));
            self.epoch = Some(0);
        } else {
            self.epoch = Some(shared.store.next_epoch(session_id, known).await?);
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests;
