//! What all parts of one engine share.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Actor, EngineConfig, Limits};
use crate::connection::Connected;
use crate::error::{EngineError, Notice};
use crate::feed::FeedShared;
use crate::hub::HubEvent;
use crate::session::{self, Command, SessionHandle};
use crate::store::{Store, lock};
use crate::summary::{SessionSummary, WaitingApproval};

/// Owned by every task of the engine; knows nothing of the [`crate::Engine`] that owns it.
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) limits: Limits,
    pub(crate) store: Store,
    /// The server, `None` while there is none.
    pub(crate) connected: watch::Sender<Option<Connected>>,
    /// Counts requests that got through and calls of `nudge`: whoever waits may try again.
    pub(crate) success: watch::Sender<u64>,
    pub(crate) summaries: watch::Sender<Arc<Vec<SessionSummary>>>,
    pub(crate) approvals: watch::Sender<Arc<Vec<WaitingApproval>>>,
    pub(crate) hub: mpsc::UnboundedSender<HubEvent>,
    /// How many sessions are followed.
    pub(crate) followed: AtomicUsize,
    /// Ends every task at once, without writing anything more.
    pub(crate) cancel: CancellationToken,
    sessions: Mutex<HashMap<String, SessionHandle>>,
    feeds: Mutex<Vec<Weak<FeedShared>>>,
    /// Told to every window, also to those that open later.
    notices: Mutex<Vec<Notice>>,
}

impl Shared {
    pub(crate) fn new(
        config: EngineConfig,
        store: Store,
        hub: mpsc::UnboundedSender<HubEvent>,
    ) -> Self {
        Self {
            config,
            limits: Limits::default(),
            store,
            connected: watch::Sender::new(None),
            success: watch::Sender::new(0),
            summaries: watch::Sender::default(),
            approvals: watch::Sender::default(),
            hub,
            followed: AtomicUsize::new(0),
            cancel: CancellationToken::new(),
            sessions: Mutex::default(),
            feeds: Mutex::default(),
            notices: Mutex::default(),
        }
    }

    /// The same with other limits.
    pub(crate) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    pub(crate) fn actor(&self) -> &Actor {
        &self.config.actor
    }

    /// The task of a session that exists here, started when it is not running.
    pub(crate) fn session(self: &Arc<Self>, id: &str) -> Result<SessionHandle, EngineError> {
        let mut sessions = lock(&self.sessions);
        if let Some(handle) = sessions.get(id)
            && !handle.is_closed()
        {
            return Ok(handle.clone());
        }
        let handle = session::spawn(self, id)?;
        sessions.insert(id.to_owned(), handle.clone());
        Ok(handle)
    }

    /// Lets a task go that nobody needs; whoever wants the session later starts another. `is_free`
    /// is asked while no handle can be handed out.
    pub(crate) fn retire(&self, id: &str, is_free: impl FnOnce() -> bool) -> bool {
        let mut sessions = lock(&self.sessions);
        let free = is_free();
        if free {
            sessions.remove(id);
        }
        free
    }

    /// Whatever waits is tried now.
    pub(crate) fn nudge(&self) {
        if let Some(connected) = self.connected.borrow().as_ref() {
            connected.streams.nudge().wake();
        }
        self.succeeded();
        for session in self.running() {
            session.tell(Command::Nudge);
        }
        let _ = self.hub.send(HubEvent::Nudge);
    }

    /// The same, and every connection is made anew, also those of requests under way.
    pub(crate) fn reconnect(&self) {
        self.connected.send_if_modified(|connected| {
            if let Some(connected) = connected {
                connected.renew();
                connected.streams.nudge().reconnect();
            }
            // It is the same server.
            false
        });
        for session in self.running() {
            session.tell(Command::Renew);
        }
        self.nudge();
    }

    /// The tasks that run.
    pub(crate) fn running(&self) -> Vec<SessionHandle> {
        lock(&self.sessions).values().filter(|handle| !handle.is_closed()).cloned().collect()
    }

    /// The task of a session, if it runs.
    pub(crate) fn running_session(&self, id: &str) -> Option<SessionHandle> {
        lock(&self.sessions).get(id).filter(|handle| !handle.is_closed()).cloned()
    }

    pub(crate) fn add_feed(&self, feed: &Arc<FeedShared>) {
        let mut feeds = lock(&self.feeds);
        feeds.retain(|feed| feed.strong_count() > 0);
        feeds.push(Arc::downgrade(feed));
    }

    /// The windows' feeds.
    pub(crate) fn feeds(&self) -> Vec<Arc<FeedShared>> {
        lock(&self.feeds).iter().filter_map(Weak::upgrade).collect()
    }

    /// Tells every window something, now and when it opens.
    pub(crate) fn notify(&self, notice: Notice) {
        for feed in self.feeds() {
            feed.push_notice(&notice);
        }
        let mut notices = lock(&self.notices);
        notices.retain(|known| known.code != notice.code);
        notices.push(notice);
    }

    /// What every window should know.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        lock(&self.notices).clone()
    }

    /// The matter of a notice is settled: windows that open later are not told.
    pub(crate) fn settle(&self, code: &str) {
        lock(&self.notices).retain(|known| known.code != code);
    }

    /// Something got through to the server: whatever waits may try now.
    pub(crate) fn succeeded(&self) {
        self.success.send_modify(|count| *count += 1);
    }
}
