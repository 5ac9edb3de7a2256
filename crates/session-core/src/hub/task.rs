//! The hub's task.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use session_protocol::Approval;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::listing::Listed;
use super::{HubEvent, Need, SessionReport};
use crate::address::Address;
use crate::error::{EngineError, Notice};
use crate::outbox::Outbox;
use crate::session::{Command, title_from};
use crate::shared::Shared;
use crate::store::{StoreError, drafts, messages, outbox, sessions};
use crate::summary::{SessionState, SessionSummary, WaitingApproval};

/// Changes are gathered this long before they are published.
const GATHER: Duration = Duration::from_millis(40);
/// A session whose task falls this often within [`FALLS_WITHIN`] is not restarted by itself.
const FALLS: usize = 4;
const FALLS_WITHIN: Duration = Duration::from_secs(60);

struct Known {
    summary: SessionSummary,
    approvals: Vec<Approval>,
    need: Need,
    followed: bool,
    /// How often it was followed anew: the number of its look.
    look: u64,
    /// The line of this look has said all there is.
    looked: bool,
    /// When something last happened in it, by the server's list.
    listed: Option<String>,
    /// What `listed` was when this look began. A line that has said all vouches for this, not for
    /// what was listed meanwhile, which may still be on its way.
    sought: Option<String>,
    /// What was listed and is here.
    seen: Option<String>,
}

impl Known {
    fn new(summary: SessionSummary, need: Need) -> Self {
        let seen = summary.last_activity_at.clone();
        Self {
            summary,
            approvals: vec![],
            need,
            followed: false,
            look: 0,
            looked: false,
            listed: None,
            sought: None,
            seen,
        }
    }

    /// Something happened that is not here, and whose coming nobody waits for.
    fn is_behind(&self) -> bool {
        self.listed > self.seen && !(self.followed && self.looked)
    }

    /// A look begins, or ends.
    fn follow(&mut self, follow: bool) -> Option<u64> {
        self.followed = follow;
        self.looked = false;
        self.look += 1;
        self.sought.clone_from(&self.listed);
        follow.then_some(self.look)
    }

    /// A look's line has said all there is.
    fn has_looked(&mut self, look: Option<u64>) {
        if self.followed && look == Some(self.look) {
            self.looked = true;
            self.seen = self.seen.take().max(self.sought.clone());
        }
    }

    fn recency(&self) -> &str {
        let summary = &self.summary;
        let own = summary.last_activity_at.as_deref().or(summary.created_at.as_deref());
        own.max(self.listed.as_deref()).unwrap_or_default()
    }
}

pub(super) struct Hub {
    shared: Arc<Shared>,
    known: HashMap<String, Known>,
    /// Deleted by the person, whatever the server still lists.
    deleted: HashSet<String>,
    /// When tasks fell.
    falls: HashMap<String, Vec<Instant>>,
    publish_at: Option<Instant>,
}

impl Hub {
    /// The hub as the store has it.
    pub(super) fn restore(shared: &Arc<Shared>) -> Result<Self, EngineError> {
        let me = shared.actor().id.clone();
        let (rows, drafts, waiting) = shared.store.read(|connection| {
            let unread = messages::all_unread(connection, &me)?;
            let rows: Vec<_> = sessions::all(connection)?
                .into_iter()
                .map(|row| (unread.get(&row.key).copied().unwrap_or(0), row))
                .collect();
            let drafts: HashMap<String, String> = drafts::all(connection)?
                .into_iter()
                .map(|(session, text, _)| (session, text))
                .collect();
            let mut waiting: HashMap<String, Outbox> = HashMap::new();
            for entry in outbox::all(connection)? {
                waiting.entry(entry.session.clone()).or_default().restore_one(entry);
            }
            Ok((rows, drafts, waiting))
        })?;
        let mut hub = Self {
            shared: Arc::clone(shared),
            known: HashMap::new(),
            deleted: HashSet::new(),
            falls: HashMap::new(),
            publish_at: None,
        };
        for (unread, row) in rows {
            let waits = waiting.get(&row.id);
            if row.deleted {
                hub.deleted.insert(row.id.clone());
                if waits.is_some() {
                    // The server has still to be told.
                    shared.session(&row.id)?;
                }
                continue;
            }
            let state = SessionState::from_stored(&row.state);
            let asked = waits.and_then(Outbox::title).map(str::to_owned);
            let said = waits.and_then(Outbox::first_text).and_then(title_from);
            let summary = SessionSummary {
                title: asked.or(row.title).or(said).unwrap_or_else(|| UNTITLED.to_owned()),
                created_at: row.created_at,
                last_activity_at: row.last_activity,
                preview: row.preview,
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
                shared.session(&row.id)?;
            }
            hub.known.insert(row.id, Known::new(summary, need));
        }
        hub.publish();
        Ok(hub)
    }

    pub(super) async fn run(mut self, mut events: mpsc::UnboundedReceiver<HubEvent>) {
        let shared = Arc::clone(&self.shared);
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
                let SessionReport { summary, approvals, need, looked } = *report;
                let known = self
                    .known
                    .entry(id)
                    .or_insert_with(|| Known::new(summary.clone(), Need::default()));
                // The server's list may know where it comes from, and its stream does not.
                let parent_id = summary.parent_id.or(known.summary.parent_id.take());
                known.summary = SessionSummary { parent_id, ..summary };
                known.approvals = approvals;
                known.need = need;
                known.has_looked(looked);
            }
            HubEvent::Deleted(id) => {
                self.known.remove(&id);
                self.deleted.insert(id);
            }
            HubEvent::Fell(id) => return self.restart(&id),
            HubEvent::Removed(server) => {
                let is_there = |id: &str| Address::parse(id).is_some_and(|at| at.server == server);
                self.known.retain(|id, _| !is_there(id));
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
        match self.shared.session(id) {
            Ok(session) => feeds.into_iter().for_each(|feed| session.tell(Command::Attach(feed))),
            Err(error) => tracing::warn!(code = error.code(), "a session does not open"),
        }
        if let Some(known) = self.known.get_mut(id) {
            known.follow(false);
        }
        self.follow_recent();
    }

    fn publish_soon(&mut self) {
        self.publish_at.get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// Makes the lists anew and tells every window.
    fn publish(&mut self) {
        self.publish_at = None;
        let summaries = self.by_recency().map(|known| known.summary.clone()).collect();
        let mut approvals: Vec<WaitingApproval> = self
            .known
            .values()
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
        let sessions_changed = replace(&self.shared.summaries, summaries);
        let approvals_changed = replace(&self.shared.approvals, approvals);
        for feed in self.shared.feeds() {
            if sessions_changed {
                feed.sessions_changed();
            }
            if approvals_changed {
                feed.approvals_changed();
            }
        }
    }

    /// The sessions, the most recently active first.
    fn by_recency(&self) -> impl Iterator<Item = &Known> {
        let mut known: Vec<&Known> = self.known.values().collect();
        known.sort_by(|a, b| {
            b.recency().cmp(a.recency()).then_with(|| a.summary.id.cmp(&b.summary.id))
        });
        known.into_iter()
    }

    /// Follows what is shown and, within bounds, what needs it most, and nothing else.
    fn follow_recent(&mut self) {
        let limit = self.shared.limits.background;
        // Those that are behind take turns, so that the recent ones stay.
        let mut turns = (limit / 4).max(1);
        let order: Vec<(Need, String)> = self
            .by_recency()
            .map(|known| {
                let behind = known.need < Need::Behind && known.is_behind() && turns > 0;
                turns -= usize::from(behind);
                (if behind { Need::Behind } else { known.need }, known.summary.id.clone())
            })
            .collect();
        // Among equals the servers take turns, the more recent session of each first.
        let mut turn: HashMap<(Need, String), usize> = HashMap::new();
        let mut order: Vec<(Need, usize, String)> = order
            .into_iter()
            .map(|(need, id)| {
                let server = Address::parse(&id).map(|at| at.server).unwrap_or_default();
                let turn = turn.entry((need, server)).or_default();
                *turn += 1;
                (need, *turn, id)
            })
            .collect();
        order.sort_by(|(a, turn_a, _), (b, turn_b, _)| b.cmp(a).then(turn_a.cmp(turn_b)));
        let mut background = 0;
        for (need, _, id) in order {
            let follow = need == Need::Shown || background < limit;
            background += usize::from(need != Need::Shown);
            let Some(known) = self.known.get_mut(&id) else { continue };
            if follow == known.followed {
                continue;
            }
            let look = known.follow(follow);
            if follow {
                match self.shared.session(&id) {
                    Ok(session) => session.tell(Command::Follow(look)),
                    Err(error) => tracing::warn!(code = error.code(), "a session does not open"),
                }
            } else if let Some(session) = self.shared.running_session(&id) {
                session.tell(Command::Follow(look));
            }
        }
        let followed = self.known.values().filter(|known| known.followed).count();
        self.shared.followed.store(followed, Ordering::Relaxed);
    }

    /// A server has told its sessions.
    async fn listed(&mut self, server: &str, sessions: Vec<Listed>) {
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
            }
            match self.known.get_mut(&listed.session_id) {
                Some(known) if known.listed < listed.last_activity_at => {
                    known.listed = listed.last_activity_at;
                    stirred |= known.is_behind();
                }
                Some(_) => {}
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
    async fn adopt(&mut self, new: Vec<Listed>) -> Result<(), StoreError> {
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
            let known = Known::new(summary, Need::None);
            let listed_at = listed.last_activity_at.clone();
            let known = Known { listed: listed_at, seen: None, ..known };
            self.known.insert(listed.session_id.clone(), known);
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

/// What a session without title and messages is called.
pub(crate) const UNTITLED: &str = "New session";

fn replace<T: PartialEq>(watch: &watch::Sender<Arc<Vec<T>>>, value: Vec<T>) -> bool {
    watch.send_if_modified(|old| {
        let changed = **old != value;
        if changed {
            *old = Arc::new(value);
        }
        changed
    })
}
