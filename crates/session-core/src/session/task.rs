//! The loop of a session's task.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use durable_stream::Error;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::apply::News;
use super::attendance::Attendance;
use super::follow::Arrival;
use super::intents::LocalWrite;
use super::state::Session;
use crate::error::{EngineError, Notice};
use crate::handle::{Command, Reply, SessionHandle};
use crate::outbox::SendOutcome;
use crate::report::HubEvent;
use crate::shared::Shared;
use crate::store::{StoreError, messages};
use crate::summary::ConnectionState;

/// Pause before a task that could not be let go is looked at again.
const SOON: Duration = Duration::from_millis(10);

/// The task of a session that exists here, started when it is not running.
pub(crate) fn task_of(shared: &Arc<Shared>, id: &str) -> Result<SessionHandle, EngineError> {
    shared.session(id, || spawn(shared, id))
}

/// Starts a session's task, which restores it first.
fn spawn(shared: &Arc<Shared>, id: &str) -> SessionHandle {
    let (handle, commands) = SessionHandle::new();
    let (shared, id, failed) = (Arc::clone(shared), id.to_owned(), handle.failed());
    tokio::spawn(async move {
        let restored = {
            let (shared, id) = (Arc::clone(&shared), id.clone());
            // It reads a file, and waits for the writer thread where something is set aside.
            tokio::task::spawn_blocking(move || Session::restore(&shared, &id))
        };
        match restored.await {
            Ok(Ok(session)) => watch_over(Task::new(session, commands)).await,
            Ok(Err(error)) => {
                tracing::warn!(session = id, code = error.code(), "a session does not open");
                // Whoever asks is told, and whoever asks later starts another task.
                failed.set(error).ok();
            }
            // The runtime ends: nothing else panics there.
            Err(_) => {}
        }
    });
    handle
}

/// Runs the task. If an invariant breaks, the hub restarts it from the store.
async fn watch_over(mut task: Task) {
    // Nothing of a task that fell is used again.
    if AssertUnwindSafe(task.run()).catch_unwind().await.is_ok() {
        return;
    }
    let shared = Arc::clone(&task.session.shared);
    let id = task.session.id.clone();
    tracing::error!(session = id, "a session's task fell");
    // What it handed to the writer thread is written before anybody can restore the session,
    // which is when `task` is dropped.
    shared.store.write(|_| Ok(())).await.ok();
    drop(task);
    shared.hub.send(HubEvent::Fell(id)).ok();
}

struct Task {
    session: Session,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Local writes under way; they end in the order they were asked for.
    saving: FuturesOrdered<LocalWrite>,
    /// The request under way: one at a time (FIFO).
    request: Option<BoxFuture<'static, (String, SendOutcome)>>,
    attendance: Attendance,
    /// Time since which nobody needs the session.
    resting_since: Option<Instant>,
}

/// A deleted session answers as one that does not exist; what else it is told, it may obey.
fn refuse(id: &str, command: Command) -> Option<Command> {
    // Whoever asked may have gone away.
    match command {
        Command::ForkPoint { reply, .. } => drop(reply.send(Err(EngineError::UnknownSession))),
        Command::SaveDraft { reply, .. } | Command::MarkRead { reply } => {
            drop(reply.send(Err(EngineError::UnknownSession)));
        }
        Command::Attach(feed) => feed.leave(id),
        Command::Move { .. } | Command::Detach => {}
        other => return Some(other),
    }
    None
}

/// Waits for a future that may not be there.
async fn maybe<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl Task {
    fn new(session: Session, commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self {
            session,
            commands,
            saving: FuturesOrdered::new(),
            request: None,
            attendance: Attendance::default(),
            resting_since: None,
        }
    }

    async fn run(&mut self) {
        let shared = Arc::clone(&self.session.shared);
        let home = Arc::clone(&self.session.home);
        let mut connected = home.connected.subscribe();
        let mut success = home.success.subscribe();
        let mut generation = connected.borrow_and_update().as_ref().map(|c| c.generation);
        loop {
            let now = Instant::now();
            self.begin(now);
            self.session.publish(now);
            if self.session.deleted
                && self.session.sending.outbox.is_empty()
                && self.saving.is_empty()
            {
                return;
            }
            if self.may_rest(now) {
                return;
            }
            let wake_at = self.wake_at().unwrap_or(now + Duration::from_secs(3600));
            let session = &mut self.session;
            let may_read = !session.keeping.is_overfull();
            tokio::select! {
                biased;
                () = shared.cancel.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(Command::Close { done }) => return self.close(done).await,
                    Some(command) => {
                        self.resting_since = None;
                        self.obey(command);
                    }
                    None => return,
                },
                result = session.keeping.finished() => session.committed(&result),
                Some(saved) = self.saving.next(), if !self.saving.is_empty() => {
                    session.saved(saved);
                }
                (id, outcome) = maybe(&mut self.request) => {
                    self.request = None;
                    session.sent(&id, outcome, Instant::now());
                }
                () = self.attendance.called() => {}
                changed = connected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let new = connected.borrow_and_update().as_ref().map(|c| c.generation);
                    if new != generation {
                        generation = new;
                        self.reconnect();
                    }
                }
                changed = success.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    session.sending.outbox.nudge();
                }
                arrival = session.reading.line.next(), if may_read => session.arrived(arrival),
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Starts whatever is due: reading, a request, a commit.
    fn begin(&mut self, now: Instant) {
        let session = &mut self.session;
        session.reading.line.due(now);
        if session.reading.line.is_idle() && session.reading.line.is_followed() && !session.deleted
        {
            let connected = session.home.connected.borrow().clone();
            let offset = session.keeping.head().offset.clone();
            let before = session.reading.line.connection().clone();
            session.reading.line.open(connected.as_ref(), &session.home_id, offset.as_deref());
            session.showing.touch_if(before != *session.reading.line.connection());
        }
        if self.request.is_none() {
            self.request = session.next_request(now);
        }
        if session.keeping.wake_at().is_some_and(|at| at <= now) {
            session.start_commit();
        }
        self.attendance.begin(session, now);
    }

    /// Whether nobody has needed the session for so long that it may leave memory.
    fn may_rest(&mut self, now: Instant) -> bool {
        let session = &self.session;
        let needed = session.reading.line.is_followed()
            || session.reading.is_comparing()
            || session.showing.is_shown()
            || session.sending.outbox.is_busy()
            || !session.keeping.is_clean()
            || !self.saving.is_empty()
            || self.request.is_some()
            || self.attendance.is_busy();
        if needed {
            self.resting_since = None;
            return false;
        }
        let since = *self.resting_since.get_or_insert(now);
        // Handles are given out under the lock that `retire` holds: none can be used later.
        now.duration_since(since) >= session.shared.limits.rest_after
            && session.shared.retire(&session.id, || {
                self.commands.sender_strong_count() == 1 && self.commands.is_empty()
            })
    }

    fn wake_at(&self) -> Option<Instant> {
        let session = &self.session;
        let can_send = self.request.is_none() && session.home.connected.borrow().is_some();
        let outbox =
            can_send.then(|| session.sending.wake_at(session.reading.line.is_live())).flatten();
        let attendance = self.attendance.wake_at(session);
        let tick = session.showing.wake_at();
        let rest = self.resting_since.map(|since| {
            // A little later when somebody holds a handle just then.
            (since + session.shared.limits.rest_after).max(Instant::now() + SOON)
        });
        [session.keeping.wake_at(), session.reading.line.wake_at(), tick, outbox, attendance, rest]
            .into_iter()
            .flatten()
            .min()
    }

    /// Starts over with another server, with none, or with another token.
    fn reconnect(&mut self) {
        let session = &mut self.session;
        self.request = None;
        self.attendance.forget();
        session.sending.ask_again();
        session.sending.outbox.start_over();
        session.reading.line.hang_up();
        session.showing.touch();
    }

    fn obey(&mut self, command: Command) {
        let session = &mut self.session;
        let command = if session.deleted { refuse(&session.id, command) } else { Some(command) };
        let Some(command) = command else { return };
        let pending = match command {
            Command::Attach(feed) => {
                session.attach(&feed);
                self.attendance.look(session);
                None
            }
            Command::Move { feed, direction } => {
                session.move_on(&feed, direction);
                None
            }
            Command::Detach => {
                session.drop_viewers();
                self.attendance.look(session);
                None
            }
            Command::Enqueue { entry_id, intent, reply } => {
                session.enqueue(entry_id, intent, reply)
            }
            Command::Stop { reply } => {
                self.stop(reply);
                None
            }
            Command::ForkPoint { at, reply } => {
                reply.send(session.fork_point(at)).ok();
                None
            }
            Command::SharedState { agent_id, reply } => {
                reply.send(Ok(session.shared_state(&agent_id))).ok();
                None
            }
            Command::Said { from, reply } => {
                reply.send(session.said(from)).ok();
                None
            }
            Command::Retry { entry_id, text, reply } => session.retry(entry_id, text, reply),
            Command::Discard { entry_id, reply } => {
                if session
                    .sending
                    .outbox
                    .get(&entry_id)
                    .is_some_and(crate::outbox::OutboxEntry::is_sending)
                {
                    // The request under way is given up; what it does can no longer be known.
                    self.request = None;
                    session.sending.outbox.give_up();
                }
                session.discard(entry_id, reply)
            }
            Command::SaveDraft { text, reply } => Some(session.save_draft(text, reply)),
            Command::MarkRead { reply } => session.mark_read(reply),
            Command::KeepCopy { reply } => session.keep_copy(reply),
            Command::Delete { reply } => session.delete(reply),
            Command::Follow(generation) => {
                session.reading.line.follow(generation);
                session.showing.touch();
                None
            }
            Command::Renew => {
                self.request = None;
                self.attendance.forget();
                session.sending.outbox.give_up();
                None
            }
            Command::Nudge => {
                session.sending.ask_again();
                session.showing.touch();
                session.sending.outbox.nudge();
                session.reading.line.nudge();
                None
            }
            // Handled by the loop.
            Command::Close { .. } => None,
            #[cfg(test)]
            Command::Fall => panic!("an invariant is broken, as a test asked for"),
        };
        self.saving.extend(pending);
    }

    /// Stops every answer that is being written. Replies with the first entry's id.
    fn stop(&mut self, reply: Reply<String>) {
        let mut intents = self.session.stoppable().into_iter();
        let Some(first) = intents.next() else {
            let why = "Nothing is running in this session.";
            reply.send(Err(EngineError::NotPossible(why))).ok();
            return;
        };
        let new_id = || uuid::Uuid::new_v4().to_string();
        self.saving.extend(self.session.enqueue(new_id(), first, reply));
        for intent in intents {
            let (reply, _) = oneshot::channel();
            self.saving.extend(self.session.enqueue(new_id(), intent, reply));
        }
    }

    /// Writes everything and ends.
    async fn close(&mut self, done: oneshot::Sender<()>) {
        let goodbye = self.attendance.goodbye(&self.session);
        tokio::join!(goodbye, self.write_everything());
        done.send(()).ok();
    }

    async fn write_everything(&mut self) {
        while let Some(saved) = self.saving.next().await {
            self.session.saved(saved);
        }
        self.session.reading.line.hang_up();
        while !self.session.keeping.is_clean() {
            self.session.start_commit();
            let result = self.session.keeping.finished().await;
            self.session.committed(&result);
            if result.is_err() {
                // The stream still has what could not be written.
                break;
            }
        }
    }
}

impl Session {
    fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        match arrival {
            Arrival::Batch(batch) => {
                if self.sending.ask_again() {
                    self.sending.outbox.nudge();
                }
                self.take_in(
                    News {
                        items: &batch.items,
                        next_offset: &batch.next_offset,
                        up_to_date: batch.up_to_date,
                        closed: batch.closed,
                    },
                    now,
                );
            }
            Arrival::Failed(Error::BadRequest { .. }) if self.keeping.head().offset.is_some() => {
                // The offset is of another stream: compare from the start (L14).
                self.reading.line.hang_up();
                self.read_again();
            }
            Arrival::Failed(error) => {
                let awaited = self.sending.outbox.makes_session() || !self.keeping.head().remote;
                self.reading.line.failed(&error, awaited, now);
                self.showing.touch();
            }
            Arrival::State => {
                let was_cut = self.reading.line.connection().state == ConnectionState::Retrying;
                self.showing.touch_if(self.reading.line.hear());
                if !was_cut && self.reading.line.connection().state == ConnectionState::Retrying {
                    // Whether this is the server's or the session's trouble is to be known.
                    self.home.ask.notify_one();
                }
                if was_cut && self.reading.line.is_live() {
                    self.home.succeeded();
                }
            }
            Arrival::Ended => self.reading.line.hang_up(),
        }
    }

    /// Hands what has changed to the writer thread.
    pub(super) fn start_commit(&mut self) {
        let fold = &self.fold;
        self.keeping.start(&self.shared.store, self.key, |id| fold.message(id));
    }

    pub(super) fn committed(&mut self, result: &Result<(), StoreError>) {
        let written = self.keeping.settle_commit(result, Instant::now());
        match result {
            Ok(()) => {
                if self.keeping.works() {
                    self.shared.dismiss_notice("disk");
                }
                // What is complete and on the disk need not stay in memory.
                for id in written {
                    let complete = self.fold.message(&id).is_none_or(|m| m.is_complete || m.hidden);
                    if complete && !self.keeping.is_dirty(&id) {
                        self.fold.evict(&id);
                        self.keeping.forget_row(&id);
                    }
                }
                self.fold.release_logs();
                self.keeping.schedule(Instant::now(), false);
                if self.unread.is_stale() {
                    self.count_unread();
                }
            }
            Err(error) => self.store_failed(error),
        }
    }

    fn count_unread(&mut self) {
        let me = self.home.me(self.shared.actor());
        let from = self.unread.position();
        let counted =
            self.shared.store.read(|connection| messages::unread(connection, self.key, from, &me));
        match counted {
            Ok(unread) => {
                // What is not on the disk yet is counted after the next commit.
                let all = self.keeping.is_clean();
                self.showing.touch_if(self.unread.counted(unread, all));
            }
            Err(error) => self.store_failed(&error),
        }
    }

    /// Tells once that the database failed, and goes on showing.
    pub(super) fn store_failed(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Closed) || !self.keeping.fails() {
            return;
        }
        tracing::error!(%error, session = self.id, "the database failed");
        let message = if error.is_damage() {
            self.shared.store.mark_damaged();
            "The local database is damaged. It is rebuilt from the server at the next start; \
             please restart Threadkeep."
        } else if error.is_disk_full() {
            "The disk is full. Nothing is lost, but nothing new is kept on this machine until there \
             is space again."
        } else {
            "The local database cannot be written. Nothing is lost, but nothing new is kept on this \
             machine until it can."
        };
        self.shared.notify(Notice { code: "disk".to_owned(), message: message.to_owned() });
    }
}
