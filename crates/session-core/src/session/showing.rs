//! Telling others: diffs and meta to the feeds, summary and approvals to the hub.

use std::sync::{Arc, Weak};
use std::time::Duration;

use session_protocol::SessionStats;
use tokio::time::Instant;

use super::state::Session;
use crate::diff::{Diff, Direction};
use crate::feed::FeedShared;
use crate::hub::{HubEvent, Need, SessionReport};
use crate::item::DeliveryState;
use crate::summary::{SessionMeta, SessionState, SessionSummary, SharedBy, UNTITLED};
use crate::view::{Bounds, View};

/// Pause between looks at what goes out of date by itself: an answer that stopped coming, a person
/// who left without a word.
const TICK: Duration = Duration::from_secs(5);
/// Number of characters of a title that is made from a message.
const TITLE_CHARS: usize = 60;

/// The readers of a session, and what was last told of it.
pub(super) struct Showing {
    viewers: Vec<Viewer>,
    /// Meta that the readers were told last.
    meta: Option<Arc<SessionMeta>>,
    /// Report that the hub was told last.
    report: Option<SessionReport>,
    /// Meta or report may have changed since.
    dirty: bool,
    /// Time of the next look, because something goes out of date by itself.
    tick: Option<Instant>,
}

impl Showing {
    /// Showing without readers, of which nothing was told yet.
    pub(super) fn new() -> Self {
        Self { viewers: Vec::new(), meta: None, report: None, dirty: true, tick: None }
    }

    /// Takes note that something of the session changed: [`Session::publish`] tells it.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Takes note that something of the session may have changed.
    pub(super) fn touch_if(&mut self, changed: bool) {
        self.dirty |= changed;
    }

    /// Whether somebody reads.
    pub(super) fn is_shown(&self) -> bool {
        !self.viewers.is_empty()
    }

    /// Time at which [`Session::publish`] has something, if nothing else happens.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.tick
    }

    /// Changes every reader's view and tells the readers. Returns whether one of them wants no
    /// more.
    pub(super) fn redraw(
        &mut self,
        id: &str,
        mut change: impl FnMut(&mut View, &mut Vec<Diff>),
    ) -> bool {
        let mut gone = false;
        for viewer in &mut self.viewers {
            let mut diffs = Vec::new();
            change(&mut viewer.view, &mut diffs);
            gone |= !viewer.push(id, diffs);
        }
        gone
    }
}

/// A feed that shows the session.
struct Viewer {
    feed: Weak<FeedShared>,
    view: View,
    /// The feed is full; it asks again when somebody reads.
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
        self.showing.viewers.retain(|viewer| !viewer.feed.ptr_eq(&weak));
        if feed.push_diff(&self.id, view.reset()) {
            self.showing.viewers.push(Viewer { feed: weak, view, full: false });
        }
        // Feeds that show it already may have an older one.
        self.showing.dirty = true;
    }

    /// Moves a reader on to what lies before or behind what it has.
    pub(super) fn move_on(&mut self, feed: &Arc<FeedShared>, direction: Direction) {
        let weak = Arc::downgrade(feed);
        let Some(at) = self.showing.viewers.iter().position(|viewer| viewer.feed.ptr_eq(&weak))
        else {
            // It begins anew anyway, when it reads.
            return;
        };
        let (items, more) = match self.next_to(self.showing.viewers[at].view.bounds(), direction) {
            Ok(next) => next,
            Err(error) => return self.store_failed(&error),
        };
        let local = self.local_items();
        let viewer = &mut self.showing.viewers[at];
        let mut diffs = Vec::new();
        viewer.view.extend(direction, items, more, local, &mut diffs);
        feed.stay(&self.id, viewer.view.bounds());
        if !viewer.push(&self.id, diffs) {
            self.drop_viewers();
        }
    }

    /// Begins every reader's list anew, because everything in it is another.
    pub(super) fn reset_views(&mut self) {
        let feeds: Vec<_> =
            self.showing.viewers.iter().filter_map(|viewer| viewer.feed.upgrade()).collect();
        for feed in feeds {
            // Nothing is left where it was.
            feed.stay(&self.id, Bounds::default());
            self.attach(&feed);
        }
    }

    /// Tells every reader that the session is not there any more.
    pub(super) fn leave_viewers(&mut self) {
        for feed in self.showing.viewers.drain(..).filter_map(|viewer| viewer.feed.upgrade()) {
            feed.leave(&self.id);
        }
    }

    /// Changes every reader's view, and tells the readers.
    pub(super) fn redraw_views(&mut self, change: impl FnMut(&mut View, &mut Vec<Diff>)) {
        if self.showing.redraw(&self.id, change) {
            self.drop_viewers();
        }
    }

    /// Forgets feeds that show something else by now, or nobody reads.
    pub(super) fn drop_viewers(&mut self) {
        let id = &self.id;
        let before = self.showing.viewers.len();
        self.showing.viewers.retain(|viewer| {
            !viewer.full && viewer.feed.upgrade().is_some_and(|feed| feed.shows(id))
        });
        self.showing.dirty |= before != self.showing.viewers.len();
    }

    /// Tells what has changed since the last time. Costs nothing when nothing did.
    pub(super) fn publish(&mut self, now: Instant) {
        if self.showing.tick.is_some_and(|tick| tick <= now) {
            self.showing.tick = None;
            self.showing.dirty = true;
            self.drop_viewers();
        }
        if !std::mem::take(&mut self.showing.dirty) || self.deleted {
            return;
        }
        let meta = self.meta();
        let fades = !meta.active_generations.is_empty()
            || !meta.presence.is_empty()
            || meta.pending_approvals.iter().any(|approval| approval.expires_at.is_some())
            || !self.showing.viewers.is_empty();
        self.showing.tick = fades.then(|| now + TICK);
        self.report(&meta);
        if self.showing.meta.as_deref() != Some(&meta) {
            for viewer in &self.showing.viewers {
                if let Some(feed) = viewer.feed.upgrade() {
                    feed.set_meta(&self.id, &meta);
                }
            }
            self.showing.meta = Some(meta);
        }
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
            need: if !self.showing.viewers.is_empty() {
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
        if self.showing.report.as_ref() != Some(&report) {
            self.shared.hub.send(HubEvent::Session(Box::new(report.clone()))).ok();
            self.showing.report = Some(report);
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

impl Viewer {
    /// Tells the feed. Returns whether it wants more.
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
