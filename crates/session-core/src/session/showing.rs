//! The readers of a session, and what was told of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::diff::{Diff, Direction};
use crate::feed::FeedShared;
use crate::item::Item;
use crate::report::SessionReport;
use crate::summary::SessionMeta;
use crate::view::{Bounds, View};

/// Pause between looks at what goes out of date by itself: an answer that stopped coming, a person
/// who left without a word.
const TICK: Duration = Duration::from_secs(5);

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

    /// Takes note that something of the session changed: [`Showing::news`] tells it.
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

    /// Time at which there is something to tell, if nothing else happens.
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

    /// Takes a reader, which begins with the `Reset` of its view. One that was there begins anew.
    pub(super) fn show_to(&mut self, id: &str, feed: &Arc<FeedShared>, view: View) {
        let feed_of = Arc::downgrade(feed);
        self.viewers.retain(|viewer| !viewer.feed.ptr_eq(&feed_of));
        if feed.push_diff(id, view.reset()) {
            self.viewers.push(Viewer { feed: feed_of, view, full: false });
        }
        // Readers that were there before may have an older meta.
        self.dirty = true;
    }

    /// The bounds of what a reader has; `None` when it is no reader.
    pub(super) fn bounds_of(&self, feed: &Arc<FeedShared>) -> Option<Bounds> {
        let feed = Arc::downgrade(feed);
        self.viewers.iter().find(|viewer| viewer.feed.ptr_eq(&feed)).map(|it| it.view.bounds())
    }

    /// Adds a page to what a reader has, and tells it. Returns whether it wants more.
    pub(super) fn extend(
        &mut self,
        id: &str,
        feed: &Arc<FeedShared>,
        direction: Direction,
        (items, more): (Vec<(u64, Item)>, bool),
        local: Vec<Item>,
    ) -> bool {
        let feed_of = Arc::downgrade(feed);
        let viewer = self.viewers.iter_mut().find(|viewer| viewer.feed.ptr_eq(&feed_of));
        let Some(viewer) = viewer else { return true };
        let mut diffs = Vec::new();
        viewer.view.extend(direction, items, more, local, &mut diffs);
        feed.stay(id, viewer.view.bounds());
        viewer.push(id, diffs)
    }

    /// The readers.
    pub(super) fn feeds(&self) -> Vec<Arc<FeedShared>> {
        self.viewers.iter().filter_map(|viewer| viewer.feed.upgrade()).collect()
    }

    /// Lets every reader go.
    pub(super) fn clear(&mut self) {
        self.viewers.clear();
    }

    /// Forgets feeds that show something else by now, or nobody reads.
    pub(super) fn drop_gone(&mut self, id: &str) {
        let before = self.viewers.len();
        self.viewers.retain(|viewer| {
            !viewer.full && viewer.feed.upgrade().is_some_and(|feed| feed.shows(id))
        });
        self.dirty |= before != self.viewers.len();
    }

    /// Whether there may be something to tell. Asked again, there is not.
    pub(super) fn news(&mut self, id: &str, now: Instant) -> bool {
        if self.tick.is_some_and(|tick| tick <= now) {
            self.tick = None;
            self.dirty = true;
            self.drop_gone(id);
        }
        std::mem::take(&mut self.dirty)
    }

    /// Tells the readers the meta, where that is new to them.
    pub(super) fn tell_meta(&mut self, id: &str, meta: Arc<SessionMeta>, now: Instant) {
        let fades = !meta.active_generations.is_empty()
            || !meta.presence.is_empty()
            || meta.pending_approvals.iter().any(|approval| approval.expires_at.is_some())
            || self.is_shown();
        self.tick = fades.then(|| now + TICK);
        if self.meta.as_deref() != Some(&meta) {
            self.feeds().iter().for_each(|feed| feed.set_meta(id, &meta));
            self.meta = Some(meta);
        }
    }

    /// Keeps a report to the hub, where that is new.
    pub(super) fn new_report(&mut self, report: SessionReport) -> Option<&SessionReport> {
        if self.report.as_ref() == Some(&report) {
            return None;
        }
        Some(self.report.insert(report))
    }
}

/// A feed that shows the session.
struct Viewer {
    feed: Weak<FeedShared>,
    view: View,
    /// The feed is full; it asks again when somebody reads.
    full: bool,
}

impl Viewer {
    /// Tells the feed. Returns whether it wants more.
    fn push(&mut self, id: &str, diffs: Vec<Diff>) -> bool {
        let Some(feed) = self.feed.upgrade() else { return false };
        self.full = !diffs.into_iter().all(|diff| feed.push_diff(id, diff));
        !self.full
    }
}
