//! Telling others: diffs and meta to the feeds, summary and approvals to the hub.

use std::sync::Arc;

use session_protocol::SessionStats;
use tokio::time::Instant;

use super::state::Session;
use super::title::title_from;
use crate::diff::{Diff, Direction};
use crate::feed::FeedShared;
use crate::item::DeliveryState;
use crate::report::{HubEvent, Need, SessionReport};
use crate::summary::{SessionMeta, SessionState, SessionSummary, SharedBy, UNTITLED};
use crate::view::{Bounds, View};

impl Session {
    /// Sends a feed the meta, the draft, a `Reset`, and every diff from now on.
    pub(super) fn attach(&mut self, feed: &Arc<FeedShared>) {
        if !feed.shows(&self.id) {
            return;
        }
        let view = match self.view_of(&feed.place()) {
            Ok(view) => view,
            Err(error) => {
                self.store_failed(&error);
                return feed.leave(&self.id);
            }
        };
        // First what stands around the items: whoever sees the `Reset` has everything.
        feed.set_meta(&self.id, &self.meta());
        feed.set_draft(&self.id, self.draft.clone());
        // It begins anew from here when it must, e.g. for a page that was loaded again.
        feed.stay(&self.id, view.bounds());
        self.showing.show_to(&self.id, feed, view);
    }

    /// Moves a reader on to what lies before or behind what it has.
    pub(super) fn move_on(&mut self, feed: &Arc<FeedShared>, direction: Direction) {
        // What is no reader begins anew anyway, when it reads.
        let Some(bounds) = self.showing.bounds_of(feed) else { return };
        let page = match self.next_to(bounds, direction) {
            Ok(page) => page,
            Err(error) => return self.store_failed(&error),
        };
        let local = self.local_items();
        if !self.showing.extend(&self.id, feed, direction, page, local) {
            self.drop_viewers();
        }
    }

    /// Begins every reader's list anew, because everything in it is another.
    pub(super) fn reset_views(&mut self) {
        for feed in self.showing.feeds() {
            // Nothing is left where it was.
            feed.stay(&self.id, Bounds::default());
            self.attach(&feed);
        }
    }

    /// Tells every reader that the session is not there any more.
    pub(super) fn leave_viewers(&mut self) {
        for feed in self.showing.feeds() {
            feed.leave(&self.id);
        }
        self.showing.clear();
    }

    /// Changes every reader's view, and tells the readers.
    pub(super) fn redraw_views(&mut self, change: impl FnMut(&mut View, &mut Vec<Diff>)) {
        if self.showing.redraw(&self.id, change) {
            self.drop_viewers();
        }
    }

    /// Forgets feeds that show something else by now, or nobody reads.
    pub(super) fn drop_viewers(&mut self) {
        self.showing.drop_gone(&self.id);
    }

    /// Tells what has changed since the last time. Costs nothing when nothing did.
    pub(super) fn publish(&mut self, now: Instant) {
        if !self.showing.news(&self.id, now) || self.deleted {
            return;
        }
        let meta = self.meta();
        self.report(&meta);
        self.showing.tell_meta(&self.id, meta, now);
    }

    fn report(&mut self, meta: &SessionMeta) {
        let state = self.state(meta);
        if self.keeping.head().state != state.as_str() {
            self.keeping.edit_head(|head| head.state = state.as_str().to_owned());
            self.keeping.schedule(Instant::now(), false);
        }
        let report = SessionReport {
            summary: SessionSummary {
                id: self.id.clone(),
                title: meta.title.clone(),
                created_at: self.keeping.head().created_at.clone(),
                last_activity_at: self.keeping.head().last_activity.clone(),
                preview: self.keeping.head().preview.clone(),
                state,
                unread: self.unread.count(),
                pending_approvals: u32::try_from(meta.pending_approvals.len()).unwrap_or(u32::MAX),
                draft: self.draft.as_ref().map(|draft| draft.text.clone()),
                parent_id: self.parent.clone(),
            },
            approvals: meta.pending_approvals.clone(),
            need: if self.showing.is_shown() {
                Need::Shown
            } else if self.sending.outbox.is_busy() {
                Need::Sending
            } else if !meta.pending_approvals.is_empty() {
                Need::Approval
            } else {
                Need::None
            },
            caught_up: self.reading.line.caught_up(),
        };
        if let Some(report) = self.showing.new_report(report) {
            self.shared.hub.send(HubEvent::Session(Box::new(report.clone()))).ok();
        }
    }

    fn state(&self, meta: &SessionMeta) -> SessionState {
        let undelivered = |state| {
            matches!(state, DeliveryState::Queued | DeliveryState::Sending | DeliveryState::Wedged)
        };
        if !meta.pending_approvals.is_empty() {
            SessionState::Approval
        } else if !meta.active_generations.is_empty() {
            SessionState::Running
        } else if meta.outbox.iter().any(|entry| undelivered(entry.state)) {
            SessionState::Sending
        } else if self.last_failed {
            SessionState::Failed
        } else {
            SessionState::Idle
        }
    }

    /// Everything but the messages, as it is now.
    pub(super) fn meta(&self) -> Arc<SessionMeta> {
        let now = crate::clock::now();
        let outbox = self.sending.outbox.summary();
        Arc::new(SessionMeta {
            session_id: self.id.clone(),
            title: self.title(),
            connection: self.reading.line.connection().clone(),
            agents: self.fold.agents(),
            shared: self.shared_by(),
            presence: self.fold.presence(now),
            pending_approvals: self.fold.pending_approvals(now),
            active_generations: self.fold.active_generations(now),
            stats: self.stats(now),
            skipped: self.fold.skipped(),
            queued: u32::try_from(self.sending.outbox.len()).unwrap_or(u32::MAX),
            outbox,
            notice: self.keeping.head().notice.clone(),
            read_only: self.reading.line.is_closed() || self.home.is_forgotten(),
        })
    }

    fn shared_by(&self) -> Vec<SharedBy> {
        let rows = self.fold.shared().filter_map(|(agent, state)| Some((agent, state.row()?)));
        rows.map(|(agent, (message, seq))| SharedBy {
            agent_id: agent.to_owned(),
            message_id: message.to_owned(),
            seq,
        })
        .collect()
    }

    /// The state that an agent shares; `None` where it shares none.
    pub(super) fn shared_state(&self, agent_id: &str) -> Option<serde_json::Value> {
        let mut shared = self.fold.shared().filter(|(agent, _)| *agent == agent_id);
        shared.find_map(|(_, state)| state.value().cloned())
    }

    fn stats(&self, now: jiff::Timestamp) -> SessionStats {
        let stats = self.fold.stats(now);
        let approval_count = self.requests.unwrap_or(stats.approval_count);
        SessionStats { approval_count, ..stats }
    }

    pub(super) fn title(&self) -> String {
        let asked = self.sending.outbox.title();
        if let Some(title) =
            asked.or_else(|| self.fold.title()).or(self.keeping.head().title.as_deref())
        {
            return title.to_owned();
        }
        self.sending.outbox.first_text().and_then(title_from).unwrap_or_else(|| UNTITLED.to_owned())
    }
}
