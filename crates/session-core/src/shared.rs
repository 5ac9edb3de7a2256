//! The state that all parts of one engine share.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::config::{Actor, EngineConfig, Limits};
use crate::error::{EngineError, Notice};
use crate::feed::FeedShared;
use crate::handle::{Command, SessionHandle};
use crate::list::SessionList;
use crate::lock::lock;
use crate::report::HubEvent;
use crate::server::{Server, ServerSummary};
use crate::store::{ServerRow, Store, StoreError, servers, sessions};
use crate::summary::WaitingApproval;

/// Owned by every task of the engine; knows nothing of the [`crate::Engine`] that owns it.
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) limits: Limits,
    pub(crate) store: Store,
    pub(crate) servers: watch::Sender<Arc<Vec<ServerSummary>>>,
    pub(crate) list: Arc<Mutex<SessionList>>,
    pub(crate) approvals: watch::Sender<Arc<Vec<WaitingApproval>>>,
    pub(crate) hub: mpsc::UnboundedSender<HubEvent>,
    /// Number of sessions that are followed.
    pub(crate) followed: AtomicUsize,
    /// Ends every task at once, without writing anything more.
    pub(crate) cancel: CancellationToken,
    joined: Mutex<Vec<Arc<Server>>>,
    sessions: Mutex<HashMap<String, SessionHandle>>,
    feeds: Mutex<Vec<Weak<FeedShared>>>,
    /// Notices for every window, also for those that open later.
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
            servers: watch::Sender::default(),
            list: Arc::default(),
            approvals: watch::Sender::default(),
            hub,
            followed: AtomicUsize::new(0),
            cancel: CancellationToken::new(),
            joined: Mutex::default(),
            sessions: Mutex::default(),
            feeds: Mutex::default(),
            notices: Mutex::default(),
        }
    }

    /// Replaces the limits.
    pub(crate) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    pub(crate) fn actor(&self) -> &Actor {
        &self.config.actor
    }

    /// Reads the stored servers.
    pub(crate) fn restore_servers(&self) -> Result<(), StoreError> {
        for row in self.store.read(servers::all)? {
            self.add_server(row);
        }
        Ok(())
    }

    pub(crate) fn add_server(&self, row: ServerRow) -> Arc<Server> {
        let server = Arc::new(Server::new(row, self.cancel.child_token()));
        lock(&self.joined).push(Arc::clone(&server));
        server
    }

    pub(crate) fn remove_server(&self, id: &str) {
        lock(&self.joined).retain(|server| server.id != id);
    }

    /// All servers, in the order they were joined.
    pub(crate) fn servers(&self) -> Vec<Arc<Server>> {
        lock(&self.joined).clone()
    }

    /// Tells every window how the servers stand.
    pub(crate) fn publish_servers(&self) {
        let servers: Vec<_> = self.servers().iter().map(|server| server.summary()).collect();
        let changed = self.servers.send_if_modified(|known| {
            let changed = **known != servers;
            if changed {
                *known = Arc::new(servers);
            }
            changed
        });
        if changed {
            self.feeds().iter().for_each(|feed| feed.servers_changed());
        }
    }

    pub(crate) fn server(&self, id: &str) -> Option<Arc<Server>> {
        lock(&self.joined).iter().find(|server| server.id == id).cloned()
    }

    /// The task of a session that exists here, which `start` starts when it is not running.
    pub(crate) fn session(
        &self,
        id: &str,
        start: impl FnOnce() -> SessionHandle,
    ) -> Result<SessionHandle, EngineError> {
        if let Some(handle) = self.running_session(id) {
            return Ok(handle);
        }
        // Looked up without the lock: who holds it waits for no disk.
        let home = Address::parse(id).and_then(|at| self.server(&at.server));
        if home.is_none() || !self.store.read(|db| sessions::exists(db, id))? {
            return Err(EngineError::UnknownSession);
        }
        let mut sessions = lock(&self.sessions);
        if let Some(handle) = sessions.get(id).filter(|handle| !handle.is_closed()) {
            return Ok(handle.clone());
        }
        let handle = start();
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

    /// Tries whatever waits now.
    pub(crate) fn nudge(&self) {
        for server in self.servers() {
            server.nudge();
        }
        for session in self.running() {
            session.tell(Command::Nudge);
        }
    }

    /// Makes every connection anew, also those of requests under way, and tries whatever waits.
    pub(crate) fn reconnect(&self) {
        for server in self.servers() {
            server.renew();
        }
        for session in self.running() {
            session.tell(Command::Renew);
        }
        self.nudge();
    }

    /// The tasks that run.
    pub(crate) fn running(&self) -> Vec<SessionHandle> {
        self.running_sessions().into_iter().map(|(_, handle)| handle).collect()
    }

    /// The tasks that run, with their sessions' ids.
    pub(crate) fn running_sessions(&self) -> Vec<(String, SessionHandle)> {
        let sessions = lock(&self.sessions);
        let running = sessions.iter().filter(|(_, handle)| !handle.is_closed());
        running.map(|(id, handle)| (id.clone(), handle.clone())).collect()
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

    /// Notices for every window.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        lock(&self.notices).clone()
    }

    /// Dismisses a notice: windows that open later are not told.
    pub(crate) fn dismiss_notice(&self, code: &str) {
        lock(&self.notices).retain(|known| known.code != code);
    }
}
