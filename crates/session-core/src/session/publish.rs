//! Telling others: diffs and meta to the feeds, summary and approvals to the hub.

use std::sync::{Arc, Weak};
use std::time::Duration;

use session_protocol::SessionStats;
use tokio::time::Instant;

use super::restore::Session;
use crate::diff::{Diff, Direction};
use crate::feed::FeedShared;
use crate::hub::{HubEvent, Need, SessionReport, UNTITLED};
use crate::item::DeliveryState;
use crate::summary::{SessionMeta, SessionState, SessionSummary, SharedBy};
use crate::view::{Bounds, View};

/// How often things are looked at that go out of date by themselves: an answer that stopped
/// coming, a person who left without a word.
const TICK: Duration = Duration::from_secs(5);
/// How long a title made from a message may be.
const TITLE_CHARS: usize = 60;

/// A feed that shows the session.
pub(super) struct Viewer {
    feed: Weak<FeedShared>,
    view: View,
    /// It asks again when somebody reads.
    full: bool,
}

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
        let weak = Arc::downgrade(feed);
        self.viewers.retain(|viewer| !viewer.feed.ptr_eq(&weak));
        if feed.push_diff(&self.id, view.reset()) {
            self.viewers.push(Viewer { feed: weak, view, full: false });
        }
        // Feeds that show it already may have an older one.
        self.published.dirty = true;
    }

    /// Moves a reader on to what lies before or behind what it has.
    pub(super) fn move_on(&mut self, feed: &Arc<FeedShared>, direction: Direction) {
        let weak = Arc::downgrade(feed);
        let Some(at) = self.viewers.iter().position(|viewer| viewer.feed.ptr_eq(&weak)) else {
            // It begins anew anyway, when it reads.
            return;
        };
        let (items, more) = match self.next_to(self.viewers[at].view.bounds(), direction) {
            Ok(next) => next,
            Err(error) => return self.store_failed(&error),
        };
        let local = self.local_items();
        let viewer = &mut self.viewers[at];
        let mut diffs = Vec::new();
        viewer.view.extend(direction, items, more, local, &mut diffs);
        feed.stay(&self.id, viewer.view.bounds());
        if !viewer.push(&self.id, diffs) {
            self.drop_viewers();
        }
    }

    /// Begins every reader's list anew: everything is another.
    pub(super) fn reset_views(&mut self) {
        let feeds: Vec<_> =
            self.viewers.iter().filter_map(|viewer| viewer.feed.upgrade()).collect();
        for feed in feeds {
            // Nothing is left where it was.
            feed.stay(&self.id, Bounds::default());
            self.attach(&feed);
        }
    }

    /// Every reader is told that the session is not there any more.
    pub(super) fn leave_viewers(&mut self) {
        for feed in self.viewers.drain(..).filter_map(|viewer| viewer.feed.upgrade()) {
            feed.leave(&self.id);
        }
    }

    /// Changes every reader's view, and tells the readers.
    pub(super) fn redraw_views(&mut self, change: impl FnMut(&mut View, &mut Vec<Diff>)) {
        if Viewer::redraw(&mut self.viewers, &self.id, change) {
            self.drop_viewers();
        }
    }

    /// Forgets feeds that show something else by now, or nobody reads.
    pub(super) fn drop_viewers(&mut self) {
        let id = &self.id;
        let before = self.viewers.len();
        self.viewers.retain(|viewer| {
            !viewer.full && viewer.feed.upgrade().is_some_and(|feed| feed.shows(id))
        });
        self.published.dirty |= before != self.viewers.len();
    }

    /// Tells what has changed since the last time. Costs nothing when nothing did.
    pub(super) fn publish(&mut self, now: Instant) {
        if self.published.tick.is_some_and(|tick| tick <= now) {
            self.published.tick = None;
            self.published.dirty = true;
            self.drop_viewers();
        }
        if !std::mem::take(&mut self.published.dirty) || self.deleted {
            return;
        }
        let meta = self.meta();
        let fades = !meta.active_generations.is_empty()
            || !meta.presence.is_empty()
            || meta.pending_approvals.iter().any(|approval| approval.expires_at.is_some())
            || !self.viewers.is_empty();
        self.published.tick = fades.then(|| now + TICK);
        self.report(&meta);
        if self.published.meta.as_deref() != Some(&meta) {
            for viewer in &self.viewers {
                if let Some(feed) = viewer.feed.upgrade() {
                    feed.set_meta(&self.id, &meta);
                }
            }
            self.published.meta = Some(meta);
        }
    }

    fn report(&mut self, meta: &SessionMeta) {
        let state = self.state(meta);
        if self.head.state != state.as_str() {
            self.head.state = state.as_str().to_owned();
            self.persist.touch_head();
            self.persist.schedule(Instant::now(), false);
        }
        let report = SessionReport {
            summary: SessionSummary {
                id: self.id.clone(),
                title: meta.title.clone(),
                created_at: self.head.created_at.clone(),
                last_activity_at: self.head.last_activity.clone(),
                preview: self.head.preview.clone(),
                state,
                unread: self.unread,
                pending_approvals: u32::try_from(meta.pending_approvals.len()).unwrap_or(u32::MAX),
                draft: self.draft.as_ref().map(|draft| draft.text.clone()),
                parent_id: self.parent.clone(),
            },
            approvals: meta.pending_approvals.clone(),
            need: if !self.viewers.is_empty() {
                Need::Shown
            } else if self.outbox.is_busy() {
                Need::Sending
            } else if !meta.pending_approvals.is_empty() {
                Need::Approval
            } else {
                Need::None
            },
            caught_up: self.line.caught_up(),
        };
        if self.published.report.as_ref() != Some(&report) {
            let _ = self.shared.hub.send(HubEvent::Session(Box::new(report.clone())));
            self.published.report = Some(report);
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
        let outbox = self.outbox.summary();
        Arc::new(SessionMeta {
            session_id: self.id.clone(),
            title: self.title(),
            connection: self.line.connection().clone(),
            agents: self.fold.agents(),
            shared: self.shared_by(),
            presence: self.fold.presence(now),
            pending_approvals: self.fold.pending_approvals(now),
            active_generations: self.fold.active_generations(now),
            stats: self.stats(now),
            skipped: self.fold.skipped(),
            queued: u32::try_from(self.outbox.len()).unwrap_or(u32::MAX),
            outbox,
            notice: self.head.notice.clone(),
            read_only: self.line.is_closed() || self.home.is_forgotten(),
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
        let approval_count = self.settled.unwrap_or(stats.approval_count);
        SessionStats { approval_count, ..stats }
    }

    pub(super) fn title(&self) -> String {
        let asked = self.outbox.title();
        if let Some(title) = asked.or_else(|| self.fold.title()).or(self.head.title.as_deref()) {
            return title.to_owned();
        }
        self.outbox.first_text().and_then(title_from).unwrap_or_else(|| UNTITLED.to_owned())
    }
}

impl Viewer {
    /// Changes views and tells their readers. Answers whether one of them wants no more.
    pub(super) fn redraw(
        viewers: &mut [Self],
        id: &str,
        mut change: impl FnMut(&mut View, &mut Vec<Diff>),
    ) -> bool {
        let mut gone = false;
        for viewer in viewers {
            let mut diffs = Vec::new();
            change(&mut viewer.view, &mut diffs);
            gone |= !viewer.push(id, diffs);
        }
        gone
    }

    /// Answers whether the feed wants more.
    fn push(&mut self, id: &str, diffs: Vec<Diff>) -> bool {
        let Some(feed) = self.feed.upgrade() else { return false };
        self.full = !diffs.into_iter().all(|diff| feed.push_diff(id, diff));
        !self.full
    }
}

/// A title from what somebody said: the first line that says something, shortened.
pub(crate) fn title_from(text: &str) -> Option<String> {
    let line = text
        .lines()
        .map(|line| line.trim().trim_start_matches(['#', '>', '*', '-', ' ']))
        .find(|line| !line.is_empty())?;
    Some(shorten(line, TITLE_CHARS))
}

/// The first `limit` characters, cut at a word where one is near.
pub(super) fn shorten(line: &str, limit: usize) -> String {
    let mut chars = line.char_indices();
    let Some((cut, _)) = chars.nth(limit) else { return line.to_owned() };
    let head = &line[..cut];
    let head = match head.rfind(' ') {
        Some(space) if space > cut / 2 => &head[..space],
        _ => head,
    };
    format!("{}…", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_first_line_that_says_something() {
        assert_eq!(title_from("\n\n## Hello there\nmore").as_deref(), Some("Hello there"));
        assert_eq!(title_from("   \n"), None);
        let long = "word ".repeat(40);
        let title = title_from(&long).expect("it says something");
        assert!(title.chars().count() <= TITLE_CHARS + 1 && title.ends_with("word…"), "{title}");
        assert_eq!(title_from(&"é".repeat(100)).map(|t| t.chars().count()), Some(TITLE_CHARS + 1));
    }
}
