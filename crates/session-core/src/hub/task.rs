//! The hub's task.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;
use session_protocol::Approval;
use session_protocol::api::SessionEntry;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::catch_up::CatchUp;
use super::turns::Turns;
use crate::address::Address;
use crate::error::{EngineError, Notice};
use crate::handle::Command;
use crate::list::FIRST_ROWS;
use crate::lock::lock;
use crate::outbox::Outbox;
use crate::report::{HubEvent, Need, SessionReport};
use crate::session::{self, title_from};
use crate::shared::Shared;
use crate::store::sessions::StoredSession;
use crate::store::{StoreError, drafts, messages, outbox, sessions};
use crate::summary::{SessionState, SessionSummary, UNTITLED, WaitingApproval};

/// Changes are gathered this long before they are published.
const GATHER: Duration = Duration::from_millis(40);
/// A session whose task falls this often within [`FALLS_WITHIN`] is not restarted by itself.
const FALLS: usize = 4;
const FALLS_WITHIN: Duration = Duration::from_secs(60);

/// Number of sessions that are taken from the store in one go.
const AT_ONCE: usize = 500;

/// The stored sessions: rows with the number of unread messages, drafts, and outboxes.
struct Stored {
    rows: Vec<(u32, StoredSession)>,
    drafts: HashMap<String, String>,
    waiting: HashMap<String, Outbox>,
}

impl Stored {
    fn read(connection: &Connection, rows: Vec<(u32, StoredSession)>) -> rusqlite::Result<Self> {
        let drafts = drafts::all(connection)?.into_iter();
        let drafts = drafts.map(|(session, text, _)| (session, text)).collect();
        let mut waiting: HashMap<String, Outbox> = HashMap::new();
        for entry in outbox::all(connection)? {
            waiting.entry(entry.session.clone()).or_default().restore_one(entry);
        }
        Ok(Self { rows, drafts, waiting })
    }
}

struct KnownSession {
    summary: SessionSummary,
    approvals: Vec<Approval>,
    need: Need,
    catch_up: CatchUp,
}

impl KnownSession {
    fn new(summary: SessionSummary, need: Need) -> Self {
        let catch_up = CatchUp::new(summary.last_activity_at.clone());
        Self { summary, approvals: vec![], need, catch_up }
    }

    fn recency(&self) -> &str {
        let summary = &self.summary;
        let own = summary.last_activity_at.as_deref().or(summary.created_at.as_deref());
        own.max(self.catch_up.listed()).unwrap_or_default()
    }
}

pub(super) struct Hub {
    shared: Arc<Shared>,
    known: HashMap<String, KnownSession>,
    /// Deleted by the person, whatever the server still lists.
    deleted: HashSet<String>,
    /// Times at which tasks fell.
    falls: HashMap<String, Vec<Instant>>,
    publish_at: Option<Instant>,
    /// Sessions that changed since the list was last published.
    changed: HashSet<String>,
    /// Sessions that wait for an approval.
    asking: BTreeSet<String>,
    /// Sessions that are followed.
    followed: HashSet<String>,
    /// Order in which sessions are followed.
    turns: Turns,
}

impl Hub {
    /// The hub with the most recent sessions of each server, as the store has them. [`Hub::run`]
    /// takes the others, so that a start costs what is shown.
    pub(super) fn restore(shared: &Arc<Shared>) -> Result<Self, EngineError> {
        let servers = shared.servers();
        let stored = shared.store.read(|connection| {
            let mut rows = Vec::new();
            for server in &servers {
                let me = &server.me(shared.actor());
                for row in sessions::recent(connection, &server.id, FIRST_ROWS)? {
                    let from = row.read_position;
                    rows.push((messages::unread(connection, row.key, from, me)?, row));
                }
            }
            Stored::read(connection, rows)
        })?;
        let mut hub = Self {
            shared: Arc::clone(shared),
            known: HashMap::new(),
            deleted: HashSet::new(),
            falls: HashMap::new(),
            publish_at: None,
            changed: HashSet::new(),
            asking: BTreeSet::new(),
            followed: HashSet::new(),
            turns: Turns::default(),
        };
        let Stored { rows, drafts, waiting } = stored;
        for (unread, row) in rows {
            hub.take(unread, row, &drafts, &waiting)?;
        }
        hub.publish();
        Ok(hub)
    }

    /// Takes the sessions that are not here yet from the store.
    async fn restore_others(&mut self) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || {
            shared.store.read(|connection| {
                let unread = messages::all_unread(connection, &shared.actor().id)?;
                let rows = sessions::all(connection)?.into_iter();
                let rows = rows.map(|row| (unread.get(&row.key).copied().unwrap_or(0), row));
                Stored::read(connection, rows.collect())
            })
        });
        let Stored { rows, drafts, waiting } = read.await.map_err(|_| EngineError::Closed)??;
        for (n, (unread, row)) in rows.into_iter().enumerate() {
            if !self.known.contains_key(&row.id) {
                // One that cannot be opened costs no other.
                if let Err(error) = self.take(unread, row, &drafts, &waiting) {
                    tracing::warn!(code = error.code(), "a session does not open");
                }
            }
            // Windows that ask meanwhile wait for few.
            if n % AT_ONCE == AT_ONCE - 1 {
                self.publish();
                tokio::task::yield_now().await;
            }
        }
        self.publish();
        Ok(())
    }

    /// Takes a session as it is stored.
    fn take(
        &mut self,
        unread: u32,
        row: StoredSession,
        drafts: &HashMap<String, String>,
        waiting: &HashMap<String, Outbox>,
    ) -> Result<(), EngineError> {
        let waits = waiting.get(&row.id);
        if row.deleted {
            self.deleted.insert(row.id.clone());
            if waits.is_some() {
                // The server has still to be told.
                session::task_of(&self.shared, &row.id)?;
            }
            return Ok(());
        }
        let state = SessionState::from_stored(&row.head.state);
        let asked = waits.and_then(Outbox::title).map(str::to_owned);
        let said = waits.and_then(Outbox::first_text).and_then(title_from);
        let summary = SessionSummary {
            title: asked.or(row.head.title).or(said).unwrap_or_else(|| UNTITLED.to_owned()),
            created_at: row.head.created_at,
            last_activity_at: row.head.last_activity,
            preview: row.head.preview,
            state,
            unread,
            pending_approvals: u32::from(state == SessionState::Approval),
            draft: drafts.get(&row.id).cloned(),
            parent_id: row.parent,
            id: row.id.clone(),
        };
        let need = match waits.map(Outbox::is_busy) {
            Some(true) => Need::Sending,
            _ if state == SessionState::Approval => Need::Approval,
            _ => Need::None,
        };
        if need != Need::None {
            // What waits is shown, and what is to be sent is sent, whatever the session's age.
            session::task_of(&self.shared, &row.id)?;
        }
        self.known.insert(row.id.clone(), KnownSession::new(summary, need));
        self.touch(&row.id);
        Ok(())
    }

    pub(super) async fn run(mut self, mut events: mpsc::UnboundedReceiver<HubEvent>) {
        let shared = Arc::clone(&self.shared);
        // Before any event: what was deleted here must be known when a server lists it.
        if let Err(error) = self.restore_others().await {
            tracing::warn!(code = error.code(), "older sessions could not be read");
        }
        self.follow_recent();
        loop {
            let far = Instant::now() + Duration::from_secs(3600);
            let publish_at = self.publish_at.unwrap_or(far);
            tokio::select! {
                biased;
                () = shared.cancel.cancelled() => return,
                event = events.recv() => match event {
                    Some(HubEvent::Listed { server, sessions }) => {
                        self.listed(&server, sessions).await;
                    }
                    Some(event) => self.hear(event),
                    None => return,
                },
                () = tokio::time::sleep_until(publish_at) => {
                    self.publish();
                    self.follow_recent();
                }
            }
        }
    }

    fn hear(&mut self, event: HubEvent) {
        match event {
            HubEvent::Session(report) => {
                let id = report.summary.id.clone();
                if self.deleted.contains(&id) {
                    return;
                }
                let SessionReport { summary, approvals, need, caught_up } = *report;
                let known = self
                    .known
                    .entry(id.clone())
                    .or_insert_with(|| KnownSession::new(summary.clone(), Need::default()));
                // The server's list may know where it comes from, and its stream does not.
                let parent_id = summary.parent_id.or(known.summary.parent_id.take());
                known.summary = SessionSummary { parent_id, ..summary };
                known.approvals = approvals;
                known.need = need;
                if let Some(generation) = caught_up {
                    known.catch_up.reached(generation);
                }
                self.touch(&id);
            }
            HubEvent::Deleted(id) => {
                self.known.remove(&id);
                self.touch(&id);
                self.deleted.insert(id);
            }
            HubEvent::Fell(id) => return self.restart(&id),
            HubEvent::Removed(server) => {
                let is_there = |id: &str| Address::parse(id).is_some_and(|at| at.server == server);
                let gone: Vec<String> =
                    self.known.keys().filter(|id| is_there(id)).cloned().collect();
                for id in gone {
                    self.known.remove(&id);
                    self.touch(&id);
                }
                self.deleted.retain(|id| !is_there(id));
            }
            // Taken by the loop.
            HubEvent::Listed { .. } => return,
        }
        self.publish_soon();
    }

    /// Starts a session's task again, from the store, for the windows that show it and for what it
    /// has to send and to follow.
    fn restart(&mut self, id: &str) {
        let now = Instant::now();
        let falls = self.falls.entry(id.to_owned()).or_default();
        falls.retain(|fall| now.duration_since(*fall) < FALLS_WITHIN);
        falls.push(now);
        let again = falls.len() < FALLS;
        let message = if again {
            "Something went wrong in this session; it was opened again."
        } else {
            "Something goes wrong in this session again and again. Restart Threadkeep; what was \
             said is kept."
        };
        let notice = Notice { code: "session-fell".to_owned(), message: message.to_owned() };
        let mut feeds = self.shared.feeds();
        feeds.retain(|feed| feed.shows(id));
        for feed in &feeds {
            feed.push_notice(&notice);
        }
        if !again {
            return;
        }
        match session::task_of(&self.shared, id) {
            Ok(session) => feeds.into_iter().for_each(|feed| session.tell(Command::Attach(feed))),
            Err(error) => tracing::warn!(code = error.code(), "a session does not open"),
        }
        self.follow(id, false);
        self.follow_recent();
    }

    /// Takes note that a session is not what it was, or gone.
    fn touch(&mut self, id: &str) {
        self.changed.insert(id.to_owned());
        match self.known.get(id) {
            Some(known) => {
                self.turns.put(id, known.recency(), known.need, known.catch_up.is_behind())
            }
            None => {
                self.turns.remove(id);
                self.followed.remove(id);
            }
        }
    }

    /// Follows a session from now on, or no more. Returns the generation of its line.
    fn follow(&mut self, id: &str, follow: bool) -> Option<u64> {
        let known = self.known.get_mut(id)?;
        let generation = if follow {
            self.followed.insert(id.to_owned());
            Some(known.catch_up.follow())
        } else {
            self.followed.remove(id);
            known.catch_up.rest();
            None
        };
        self.turns.put(id, known.recency(), known.need, known.catch_up.is_behind());
        generation
    }

    fn publish_soon(&mut self) {
        self.publish_at.get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// Takes what changed into the lists and tells every window.
    fn publish(&mut self) {
        self.publish_at = None;
        let mut changes = Vec::new();
        let mut asks = false;
        {
            let mut list = lock(&self.shared.list);
            for id in self.changed.drain() {
                let known = self.known.get(&id);
                changes.extend(match known {
                    Some(known) => list.put(known.recency(), &known.summary),
                    None => list.remove(&id),
                });
                asks |= if known.is_some_and(|known| !known.approvals.is_empty()) {
                    self.asking.insert(id);
                    true
                } else {
                    self.asking.remove(&id)
                };
            }
            // With the list at hand: a feed that is made meanwhile has the changes or is told them.
            if !changes.is_empty() {
                self.shared.feeds().iter().for_each(|feed| feed.sessions_changed(&changes, &list));
            }
        }
        if asks {
            self.publish_approvals();
        }
    }

    fn publish_approvals(&self) {
        let mut approvals: Vec<WaitingApproval> = self
            .asking
            .iter()
            .filter_map(|id| self.known.get(id))
            .flat_map(|known| {
                known.approvals.iter().map(|approval| WaitingApproval {
                    session_id: known.summary.id.clone(),
                    session_title: known.summary.title.clone(),
                    approval: approval.clone(),
                })
            })
            .collect();
        approvals.sort_by(|a, b| {
            let key = |w: &WaitingApproval| (w.approval.requested_at.clone(), w.session_id.clone());
            key(a).cmp(&key(b))
        });
        let changed = self.shared.approvals.send_if_modified(|known| {
            let changed = **known != approvals;
            if changed {
                *known = Arc::new(approvals);
            }
            changed
        });
        if changed {
            self.shared.feeds().iter().for_each(|feed| feed.approvals_changed());
        }
    }

    /// Follows what is shown and, within bounds, what needs it most, and nothing else.
    fn follow_recent(&mut self) {
        let wanted = self.turns.first(self.shared.limits.background);
        let kept: HashSet<&String> = wanted.iter().collect();
        let left: Vec<String> =
            self.followed.iter().filter(|id| !kept.contains(id)).cloned().collect();
        for id in left {
            let generation = self.follow(&id, false);
            if let Some(session) = self.shared.running_session(&id) {
                session.tell(Command::Follow(generation));
            }
        }
        for id in wanted {
            if self.followed.contains(&id) {
                continue;
            }
            let generation = self.follow(&id, true);
            match session::task_of(&self.shared, &id) {
                Ok(session) => session.tell(Command::Follow(generation)),
                Err(error) => tracing::warn!(code = error.code(), "a session does not open"),
            }
        }
        self.shared.followed.store(self.followed.len(), Ordering::Relaxed);
    }

    /// Takes the sessions that a server told.
    async fn listed(&mut self, server: &str, sessions: Vec<SessionEntry>) {
        if self.shared.server(server).is_none_or(|server| server.is_forgotten()) {
            return;
        }
        let mut new = Vec::new();
        let mut stirred = false;
        let mut forks = Vec::new();
        for mut listed in sessions {
            // From here on by their ids on this machine.
            listed.session_id = Address::new(server, &listed.session_id).to_string();
            if let Some(from) = &mut listed.forked_from {
                from.session_id = Address::new(server, &from.session_id).to_string();
            }
            if let (Some(known), Some(from)) =
                (self.known.get_mut(&listed.session_id), &listed.forked_from)
                && known.summary.parent_id.is_none()
            {
                known.summary.parent_id = Some(from.session_id.clone());
                forks.push((listed.session_id.clone(), from.session_id.clone()));
                self.touch(&listed.session_id);
            }
            match self.known.get_mut(&listed.session_id) {
                Some(known) => {
                    if known.catch_up.list(listed.last_activity_at) {
                        stirred |= known.catch_up.is_behind();
                        self.touch(&listed.session_id);
                    }
                }
                None if self.deleted.contains(&listed.session_id) => {}
                None => new.push(listed),
            }
        }
        if !new.is_empty()
            && let Err(error) = self.adopt(new).await
        {
            tracing::warn!(%error, "the server's list could not be saved");
        }
        if stirred || !forks.is_empty() {
            self.publish_soon();
        }
        if !forks.is_empty() {
            // If this cannot be saved, the list says it again.
            drop(self.shared.store.write(move |tx| {
                forks.iter().try_for_each(|(id, parent)| sessions::note_parent(tx, id, parent))
            }));
        }
    }

    /// Takes over sessions that others made.
    async fn adopt(&mut self, new: Vec<SessionEntry>) -> Result<(), StoreError> {
        for listed in &new {
            let summary = SessionSummary {
                id: listed.session_id.clone(),
                title: listed.title.clone().unwrap_or_else(|| UNTITLED.to_owned()),
                created_at: listed.created_at.clone(),
                last_activity_at: listed.last_activity_at.clone().or(listed.created_at.clone()),
                preview: None,
                state: SessionState::Idle,
                unread: 0,
                pending_approvals: 0,
                draft: None,
                parent_id: listed.forked_from.as_ref().map(|from| from.session_id.clone()),
            };
            let mut known = KnownSession::new(summary, Need::None);
            let listed_at = listed.last_activity_at.clone();
            known.catch_up = CatchUp::new(None);
            known.catch_up.list(listed_at);
            self.known.insert(listed.session_id.clone(), known);
            self.touch(&listed.session_id);
        }
        self.shared
            .store
            .write(move |tx| {
                new.iter().try_for_each(|listed| {
                    sessions::merge_listed(
                        tx,
                        &listed.session_id,
                        listed.title.as_deref(),
                        listed.created_at.as_deref(),
                        listed.last_activity_at.as_deref().or(listed.created_at.as_deref()),
                    )?;
                    match &listed.forked_from {
                        Some(from) => {
                            sessions::note_parent(tx, &listed.session_id, &from.session_id)
                        }
                        None => Ok(()),
                    }
                })
            })
            .await?;
        self.publish();
        self.follow_recent();
        Ok(())
    }
}
