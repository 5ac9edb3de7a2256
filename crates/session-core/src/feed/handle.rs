//! The feed as the host holds it: waiting, pacing, and asking the shown session for its items.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::batch::{FeedBatch, FeedChange};
use super::head::{ListHead, ListQuery};
use super::queue::{Edit, FeedRead, Queue, ReadState};
use crate::diff::{Diff, Direction};
use crate::error::{EngineError, Notice};
use crate::list::{Change, SessionList};
use crate::lock::lock;
use crate::server::ServerSummary;
use crate::summary::{Draft, SessionMeta, WaitingApproval};
use crate::view::Bounds;

/// Time that a pull waits for something to happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// The shortest time between two batches: one frame.
const FRAME: Duration = Duration::from_millis(16);
/// Bytes of diffs that wait for a reader before they become a `Reset`, about.
const CAP: usize = 1024 * 1024;

/// Asks the session with this id to serve a feed.
pub(crate) type Attach =
    Box<dyn Fn(&str, Arc<FeedShared>) -> Result<(), EngineError> + Send + Sync>;

/// Tells the session with this id that a feed may show something else by now.
pub(crate) type Detach = Box<dyn Fn(&str) + Send + Sync>;

/// Asks the session with this id to move a feed's items.
pub(crate) type Move = Box<dyn Fn(&str, Arc<FeedShared>, Direction) + Send + Sync>;

/// The stretch of a session that a window shows, for when its list begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The end.
    End,
    /// The first messages.
    Start,
    /// Around this message.
    Around(String),
    /// The stretch that it showed before, wherever it has moved on to.
    Within(Bounds),
}

/// Sources of the states that a feed does not queue.
pub(crate) struct Sources {
    pub(crate) servers: watch::Receiver<Arc<Vec<ServerSummary>>>,
    pub(crate) list: Arc<Mutex<SessionList>>,
    pub(crate) approvals: watch::Receiver<Arc<Vec<WaitingApproval>>>,
    /// Asks a session to send this feed a `Reset`, its meta, and every diff from then on.
    pub(crate) attach: Attach,
    pub(crate) detach: Detach,
    pub(crate) move_on: Move,
}

/// The state that the engine and the window's [`Feed`] share.
pub(crate) struct FeedShared {
    sources: Sources,
    state: Mutex<FeedState>,
    /// The newest number; wakes a waiting pull and the host.
    newest: watch::Sender<u64>,
}

struct FeedState {
    queue: Queue,
    head: ListHead,
    shown: Option<String>,
    place: Place,
    meta: Option<Arc<SessionMeta>>,
    draft: Option<Draft>,
    last_batch: Option<Instant>,
}

/// One window's feed. Dropping it ends it.
pub struct Feed {
    shared: Arc<FeedShared>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("newest", &*self.shared.newest.borrow()).finish()
    }
}

impl Feed {
    pub(crate) fn new(epoch: u64, sources: Sources) -> Self {
        let queue = Queue::new(epoch, CAP);
        let (newest, _) = watch::channel(queue.seq());
        Self {
            shared: Arc::new(FeedShared {
                sources,
                state: Mutex::new(FeedState {
                    queue,
                    head: ListHead::new(),
                    shown: None,
                    place: Place::End,
                    meta: None,
                    draft: None,
                    last_batch: None,
                }),
                newest,
            }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<FeedShared> {
        &self.shared
    }

    /// Number of this run of the feed. Pass it to [`Feed::next`].
    pub fn epoch(&self) -> u64 {
        lock(&self.shared.state).queue.epoch()
    }

    /// The session this window shows.
    pub fn shown(&self) -> Option<String> {
        lock(&self.shared.state).shown.clone()
    }

    /// Shows another session, or none, from its end. Its meta, draft and items come through the
    /// feed, the items with a `Reset` first; so they do when the same session is shown again. A
    /// session that is deleted while it is shown leaves the feed showing none.
    ///
    /// # Errors
    /// [`EngineError::UnknownSession`], also for one that was deleted, or when the database cannot
    /// be read; nothing is shown then.
    pub fn show(&self, session_id: Option<String>) -> Result<(), EngineError> {
        self.show_at(session_id, Place::End)
    }

    /// Shows a session around one of its messages, e.g. a search hit: the `Reset` has items on both
    /// sides of it and says whether there are newer ones. What happens among them goes on being
    /// told (L4). [`Feed::page`] moves on from there; [`Feed::show`] goes back to the end. The end
    /// is also shown when there is no such message.
    ///
    /// # Errors
    /// As [`Feed::show`].
    pub fn show_around(&self, session_id: String, message_id: String) -> Result<(), EngineError> {
        self.show_at(Some(session_id), Place::Around(message_id))
    }

    /// Shows a session from its first message on: what [`Feed::show_around`] is to a message.
    ///
    /// # Errors
    /// As [`Feed::show`].
    pub fn show_start(&self, session_id: String) -> Result<(), EngineError> {
        self.show_at(Some(session_id), Place::Start)
    }

    /// Moves on in what is shown: up to 60 items come as an `Extend`, which says whether there are
    /// more. What is then too much on the other side (more than 300 items in all) goes by a `Trim`.
    /// When newer items reach the end, the window follows it from then on. Asked for newer items at
    /// the end already, only the `Trim` comes, if anything. A window that reads too slowly gets a
    /// `Reset` with all of that instead.
    pub fn page(&self, direction: Direction) {
        if let Some(id) = self.shown() {
            (self.shared.sources.move_on)(&id, Arc::clone(&self.shared), direction);
        }
    }

    /// Sets the head of the list of sessions that the window wants. The rows that it did not have
    /// come with the next batch, and ids of those that it wants no more; what stays is not sent
    /// again. A feed begins with 40 rows of each server. Another title costs in proportion to the
    /// number of sessions, other numbers of rows in proportion to themselves.
    pub fn list(&self, query: ListQuery) {
        // The list first, then the feed, as the hub does it.
        let list = lock(&self.shared.sources.list);
        self.shared.edit(|state| {
            if state.head.ask(query, &list, state.queue.next()) {
                state.queue.sessions_changed();
            }
        });
    }

    fn show_at(&self, session_id: Option<String>, place: Place) -> Result<(), EngineError> {
        let (newest, before) = {
            let mut state = lock(&self.shared.state);
            let before = state.show(session_id.clone(), place);
            (state.queue.seq(), before.filter(|before| session_id.as_ref() != Some(before)))
        };
        self.shared.newest.send_replace(newest);
        if let Some(before) = before {
            (self.shared.sources.detach)(&before);
        }
        match session_id {
            Some(id) => self.shared.attach(&id),
            None => Ok(()),
        }
    }

    /// Tells this window something.
    pub fn notify(&self, notice: Notice) {
        self.shared.edit(|state| state.queue.push_notice(notice));
    }

    /// A receiver that changes with every new number. The host wakes a window that is not pulling
    /// when it changes.
    pub fn ready(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    /// Everything since `after`, merged into one batch. Waits at most 20 s for something to happen
    /// and then answers with an empty batch; answers at most once in 16 ms. Asking again after the
    /// same number gives at least the same changes; asking after a number lets go of everything up
    /// to it. Another epoch, or a number the feed has let go of, gives a batch with `reset` set
    /// that starts with the whole state.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call with the same number gives what this one would have given.
    pub async fn next(&self, epoch: u64, after: u64) -> FeedBatch {
        let mut newest = self.shared.newest.subscribe();
        let deadline = Instant::now() + PATIENCE;
        let earliest = lock(&self.shared.state).last_batch.map(|at| at + FRAME);
        if let Some(earliest) = earliest {
            tokio::time::sleep_until(earliest).await;
        }
        loop {
            newest.borrow_and_update();
            if let Some(batch) = self.shared.try_read(epoch, after) {
                return batch;
            }
            if tokio::time::timeout_at(deadline, newest.changed()).await.is_err() {
                let epoch = self.epoch();
                return FeedBatch { epoch, from: after, to: after, reset: false, changes: vec![] };
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Showing nothing cannot fail.
        self.show(None).ok();
    }
}

impl FeedState {
    /// Shows another session, or none. Returns the one that was shown before.
    fn show(&mut self, session_id: Option<String>, place: Place) -> Option<String> {
        self.queue.show(session_id.is_some());
        self.place = place;
        (self.meta, self.draft) = (None, None);
        std::mem::replace(&mut self.shown, session_id)
    }
}

impl FeedShared {
    fn edit<T>(&self, change: impl FnOnce(&mut FeedState) -> T) -> T {
        let (value, newest) = {
            let mut state = lock(&self.state);
            let value = change(&mut state);
            (value, state.queue.seq())
        };
        self.newest.send_if_modified(|known| {
            let changed = *known != newest;
            // Two writers may come here in the other order than they wrote.
            *known = newest.max(*known);
            changed
        });
        value
    }

    pub(crate) fn try_read(self: &Arc<Self>, epoch: u64, after: u64) -> Option<FeedBatch> {
        let mut attach = None;
        let batch = {
            let mut state = lock(&self.state);
            match state.queue.read(epoch, after) {
                FeedRead::Wait => None,
                FeedRead::NeedsReset => {
                    attach.clone_from(&state.shown);
                    None
                }
                FeedRead::Ready(read) => {
                    state.last_batch = Some(Instant::now());
                    let floor = state.queue.floor();
                    state.head.forget(floor);
                    Some(self.batch(&state, after, read))
                }
            }
        };
        let Some(id) = attach else { return batch };
        match self.attach(&id) {
            Ok(()) => None,
            // It shows nothing now, of which there is something to read.
            Err(_) => self.try_read(epoch, after),
        }
    }

    /// Asks a session to serve this feed.
    fn attach(self: &Arc<Self>, session_id: &str) -> Result<(), EngineError> {
        let attached = (self.sources.attach)(session_id, Arc::clone(self));
        if attached.is_err() {
            self.leave(session_id);
        }
        attached
    }

    /// Shows nothing from now on, if this session was shown: it is not there, or cannot be read.
    pub(crate) fn leave(&self, session_id: &str) {
        self.edit(|state| {
            if state.shown.as_deref() == Some(session_id) {
                state.show(None, Place::End);
            }
        });
    }

    fn batch(&self, state: &FeedState, after: u64, read: ReadState) -> FeedBatch {
        let mut changes = Vec::new();
        if read.servers {
            let servers = self.sources.servers.borrow().as_ref().clone();
            changes.push(FeedChange::Servers { servers });
        }
        if read.sessions {
            let (reset, servers) = state.head.since(read.since);
            changes.push(FeedChange::Sessions { reset, servers });
        }
        if read.approvals {
            let approvals = self.sources.approvals.borrow().as_ref().clone();
            changes.push(FeedChange::Approvals { approvals });
        }
        if read.meta
            && let Some(meta) = &state.meta
        {
            changes.push(FeedChange::Meta { meta: Box::new(meta.as_ref().clone()) });
        }
        let session_id = state.shown.as_deref().unwrap_or_default();
        if read.draft
            && let Some(draft) = state.draft.clone()
        {
            changes.push(FeedChange::Draft { session_id: session_id.to_owned(), draft });
        }
        changes.extend(read.edits.into_iter().map(|edit| match edit {
            Edit::Diff(diff) => FeedChange::Diff { session_id: session_id.to_owned(), diff },
            Edit::Notice(notice) => FeedChange::Notice { notice },
        }));
        let epoch = state.queue.epoch();
        FeedBatch { epoch, from: after, to: read.to, reset: read.reset, changes }
    }

    /// Takes a diff of a session. `false`: this feed wants no more of them until it is attached
    /// again.
    pub(crate) fn push_diff(&self, session_id: &str, diff: Diff) -> bool {
        self.edit(|state| state.shown.as_deref() == Some(session_id) && state.queue.push_diff(diff))
    }

    /// Takes the shown session's meta.
    pub(crate) fn set_meta(&self, session_id: &str, meta: &Arc<SessionMeta>) {
        self.edit(|state| {
            if state.shown.as_deref() == Some(session_id) {
                state.meta = Some(Arc::clone(meta));
                state.queue.meta_changed();
            }
        });
    }

    /// Takes the shown session's draft, when the session begins to be shown.
    pub(crate) fn set_draft(&self, session_id: &str, draft: Option<Draft>) {
        self.edit(|state| {
            if state.shown.as_deref() == Some(session_id) {
                if draft.is_some() {
                    state.queue.draft_changed();
                }
                state.draft = draft;
            }
        });
    }

    /// Whether this feed shows the session.
    pub(crate) fn shows(&self, session_id: &str) -> bool {
        lock(&self.state).shown.as_deref() == Some(session_id)
    }

    /// The stretch that is to be shown.
    pub(crate) fn place(&self) -> Place {
        lock(&self.state).place.clone()
    }

    /// The stretch that is shown from now on.
    pub(crate) fn stay(&self, session_id: &str, bounds: Bounds) {
        let mut state = lock(&self.state);
        if state.shown.as_deref() == Some(session_id) {
            state.place = Place::Within(bounds);
        }
    }

    /// Takes note that a server was joined or removed, or that its connection stands otherwise.
    pub(crate) fn servers_changed(&self) {
        self.edit(|state| state.queue.servers_changed());
    }

    /// Takes note that sessions changed. The caller holds the list, which has the changes already.
    pub(crate) fn sessions_changed(&self, changes: &[Change], list: &SessionList) {
        self.edit(|state| {
            if state.head.follow(changes, list, state.queue.next()) {
                state.queue.sessions_changed();
            }
        });
    }

    /// Takes note that the approvals that wait changed.
    pub(crate) fn approvals_changed(&self) {
        self.edit(|state| state.queue.approvals_changed());
    }

    /// Takes a notice for the person.
    pub(crate) fn push_notice(&self, notice: &Notice) {
        self.edit(|state| state.queue.push_notice(notice.clone()));
    }
}
