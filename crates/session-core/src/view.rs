//! The view of a session: its items in order, and every edit to them as a diff.
//!
//! Two regions, always in this order:
//!
//! 1. *remote* items, folded from the stream, ordered by their position in it;
//! 2. *local* items, echoes of messages in the outbox, in the order they were written.
//!
//! A message keeps its id when it moves from the second region to the first (L7). Every reader has
//! a view of its own: a stretch of the session between two bounds, whose first item has index 0. A
//! view without an upper bound *follows*: it reaches to the end of the session and grows with it.
//! What happens beyond a bound is none of the view's business until the reader moves on
//! ([`View::extend`]). A view that has grown beyond some pages is trimmed on the side that the
//! reader came from. Items far from the end of the view lose their content and keep their place
//! (memory follows the window).

use crate::diff::{Diff, Direction, patch_target};
use crate::item::{Item, ItemMeta};
use session_protocol::Part;

/// Number of items that a reader gets when it opens a session, and at most when it moves on.
pub(crate) const PAGE: usize = 60;
/// Number of items that a reader keeps when it moves on: many screens of the shortest rows, so that
/// both ends are never near at once.
pub(crate) const KEPT: usize = 5 * PAGE;
/// Number of items that keep their content.
const LOADED: usize = 2 * PAGE;

struct ViewRow {
    id: String,
    position: u64,
    /// `None`: too far from the end to be kept in memory.
    item: Option<Box<Item>>,
}

/// The positions that a view reaches over; by default all. Only moving on changes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first position; `None`: nothing lies before the view.
    pub(crate) from: Option<u64>,
    /// The last position; `None`: the view follows the end.
    pub(crate) until: Option<u64>,
}

/// A stretch of a session's items, as one reader has it.
pub(crate) struct View {
    entries: Vec<ViewRow>,
    /// Number of entries that are remote.
    remote: usize,
    bounds: Bounds,
}

/// The contents of a view: stored and remembered items, with their positions, oldest first.
pub(crate) struct Stretch {
    pub(crate) items: Vec<(u64, Item)>,
    pub(crate) bounds: Bounds,
}

impl View {
    /// A view of a stretch of the session; local echoes belong to its end.
    pub(crate) fn new(stretch: Stretch, local: impl IntoIterator<Item = Item>) -> Self {
        let Stretch { items, bounds } = stretch;
        let mut entries: Vec<ViewRow> =
            items.into_iter().map(|(position, item)| ViewRow::remote(position, item)).collect();
        let remote = entries.len();
        if bounds.until.is_none() {
            entries.extend(local.into_iter().map(ViewRow::local));
        }
        Self { entries, remote, bounds }
    }

    /// A `Reset` with all items, for a reader that has just got this view.
    pub(crate) fn reset(&self) -> Diff {
        Diff::Reset {
            items: self.entries.iter().filter_map(|entry| entry.item.as_deref().cloned()).collect(),
            has_more_before: self.bounds.from.is_some(),
            has_more_after: self.bounds.until.is_some(),
        }
    }

    /// Whether the stretch reaches to the end of the session and grows with it.
    fn follows(&self) -> bool {
        self.bounds.until.is_none()
    }

    /// The positions that it reaches over.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Moves the reader on: takes the items that lie next on one side, and lets go of those on the
    /// other that are too many. `more`: there are others behind those. Local echoes (`local`) come
    /// with the end of the session. Costs in proportion to the view, which is bounded.
    pub(crate) fn extend(
        &mut self,
        side: Direction,
        items: Vec<(u64, Item)>,
        more: bool,
        local: Vec<Item>,
        diffs: &mut Vec<Diff>,
    ) {
        match side {
            Direction::Before => {
                if self.bounds.from.is_none() {
                    return;
                }
                self.bounds.from = items.first().map(|(position, _)| *position).filter(|_| more);
                // Content is kept near the end only.
                let entries = items.iter().map(|(position, item)| ViewRow {
                    id: item.id.clone(),
                    position: *position,
                    item: None,
                });
                self.entries.splice(..0, entries);
                self.remote += items.len();
                let items = items.into_iter().map(|(_, item)| item).collect();
                diffs.push(Diff::Extend { side, items, has_more: self.bounds.from.is_some() });
                self.trim(Direction::After, diffs);
            }
            Direction::After => {
                if !self.follows() {
                    self.bounds.until =
                        items.last().map(|(position, _)| *position).filter(|_| more);
                    let at = self.entries.len();
                    self.remote += items.len();
                    self.entries
                        .extend(items.into_iter().map(|(at, item)| ViewRow::remote(at, item)));
                    if self.follows() {
                        self.entries.extend(local.into_iter().map(ViewRow::local));
                    }
                    let items =
                        self.entries[at..].iter().filter_map(|e| e.item.as_deref().cloned());
                    let items = items.collect();
                    diffs.push(Diff::Extend { side, items, has_more: !self.follows() });
                }
                self.trim(Direction::Before, diffs);
                self.unload();
            }
        }
    }

    /// Lets go of items on one side until [`KEPT`] are left, and never of the last remote one.
    fn trim(&mut self, side: Direction, diffs: &mut Vec<Diff>) {
        let Some(surplus) = self.entries.len().checked_sub(KEPT).filter(|n| *n > 0) else { return };
        let count = match side {
            Direction::Before => {
                let count = surplus.min(self.remote);
                let Some(last) = count.checked_sub(1) else { return };
                self.bounds.from = Some(self.entries[last].position + 1);
                self.entries.drain(..count);
                self.remote -= count;
                count
            }
            Direction::After => {
                // Local echoes are of the end, so they go first, and all of them.
                let kept = self.remote.min(KEPT);
                let Some(last) = kept.checked_sub(1) else { return };
                self.bounds.until = Some(self.entries[last].position);
                let count = self.entries.len() - kept;
                self.entries.truncate(kept);
                self.remote = kept;
                count
            }
        };
        diffs.push(Diff::Trim { side, count });
    }

    fn find(&self, id: &str) -> Option<usize> {
        // What changes is nearly always at the end.
        self.entries.iter().rposition(|entry| entry.id == id)
    }

    fn place(&self, position: u64) -> usize {
        self.entries[..self.remote].partition_point(|entry| entry.position <= position)
    }

    /// Inserts a message that appeared in the stream.
    pub(crate) fn insert_remote(&mut self, position: u64, item: Item, diffs: &mut Vec<Diff>) {
        let id = item.id.clone();
        match self.find(&id) {
            Some(at) if at < self.remote => return self.replace(item, diffs),
            Some(at) => {
                // L7: the local echo becomes the confirmed message, under the same id.
                let local = self.entries.remove(at);
                let place = self.place(position);
                let boxed = Box::new(item.clone());
                if place == at {
                    diffs.push(Diff::Set { index: at, item: boxed });
                } else {
                    diffs.push(Diff::Remove { index: at });
                    diffs.push(Diff::Insert { index: place, item: boxed });
                }
                self.entries
                    .insert(place, ViewRow { position, item: Some(Box::new(item)), ..local });
                self.remote += 1;
            }
            None => {
                let place = self.place(position);
                if self.bounds.until.is_some_and(|until| position > until)
                    || self.bounds.from.is_some_and(|from| position < from)
                {
                    // Before or behind the view: paging finds it.
                    return;
                }
                diffs.push(Diff::Insert { index: place, item: Box::new(item.clone()) });
                self.entries.insert(place, ViewRow { id, position, item: Some(Box::new(item)) });
                self.remote += 1;
            }
        }
        self.unload();
    }

    /// Forgets the content of items far from the end.
    fn unload(&mut self) {
        let Some(last) = self.entries.len().checked_sub(LOADED + 1) else { return };
        for entry in self.entries[..=last].iter_mut().rev() {
            if entry.item.take().is_none() {
                break;
            }
        }
    }

    /// Replaces a message as a whole.
    pub(crate) fn replace(&mut self, item: Item, diffs: &mut Vec<Diff>) {
        let Some(index) = self.find(&item.id) else { return };
        let entry = &mut self.entries[index];
        if entry.item.as_deref() == Some(&item) {
            return;
        }
        diffs.push(Diff::Set { index, item: Box::new(item.clone()) });
        if entry.item.is_some() {
            entry.item = Some(Box::new(item));
        }
    }

    /// Adds text to a part. Costs the text's own length (L12).
    pub(crate) fn append_text(
        &mut self,
        id: &str,
        part: usize,
        text: String,
        diffs: &mut Vec<Diff>,
    ) -> Result<(), Unfit> {
        let Some(index) = self.find(id) else { return Ok(()) };
        if let Some(item) = &mut self.entries[index].item {
            let target = item.parts.get_mut(part).and_then(patch_target).ok_or(Unfit)?;
            target.push_str(&text);
        }
        if !text.is_empty() {
            diffs.push(Diff::Patch { index, id: id.to_owned(), part, text });
        }
        Ok(())
    }

    /// Replaces a part, or adds one at the end.
    pub(crate) fn set_part(
        &mut self,
        id: &str,
        part: usize,
        value: Part,
        diffs: &mut Vec<Diff>,
    ) -> Result<(), Unfit> {
        let Some(index) = self.find(id) else { return Ok(()) };
        if let Some(item) = &mut self.entries[index].item {
            if part == item.parts.len() {
                item.parts.push(value.clone());
            } else {
                let old = item.parts.get_mut(part).ok_or(Unfit)?;
                if *old == value {
                    return Ok(());
                }
                old.clone_from(&value);
            }
        }
        diffs.push(Diff::Part { index, id: id.to_owned(), part, value: Box::new(value) });
        Ok(())
    }

    /// Changes the flags of a message. Returns whether the view has the message.
    pub(crate) fn set_meta(&mut self, id: &str, meta: ItemMeta, diffs: &mut Vec<Diff>) -> bool {
        let Some(index) = self.find(id) else { return false };
        if let Some(item) = &mut self.entries[index].item {
            if item.meta == meta {
                return true;
            }
            item.meta = meta.clone();
        }
        diffs.push(Diff::Meta { index, id: id.to_owned(), item: Box::new(meta) });
        true
    }

    /// Removes a local echo whose entry was discarded.
    pub(crate) fn remove_local(&mut self, id: &str, diffs: &mut Vec<Diff>) {
        if self.find(id).is_some_and(|index| index >= self.remote) {
            self.remove(id, diffs);
        }
    }

    /// Removes an item.
    pub(crate) fn remove(&mut self, id: &str, diffs: &mut Vec<Diff>) {
        let Some(index) = self.find(id) else { return };
        self.entries.remove(index);
        if index < self.remote {
            self.remote -= 1;
        }
        diffs.push(Diff::Remove { index });
    }

    /// Inserts the echo of a message that was written here.
    pub(crate) fn insert_local(&mut self, item: Item, diffs: &mut Vec<Diff>) {
        if self.find(&item.id).is_some() {
            return self.replace(item, diffs);
        }
        if !self.follows() {
            return;
        }
        let index = self.entries.len();
        diffs.push(Diff::Insert { index, item: Box::new(item.clone()) });
        self.entries.push(ViewRow::local(item));
        self.unload();
    }

    /// Replaces the echo of a message that got further, or says something else. A remote item stays
    /// as it is.
    pub(crate) fn redraw_local(&mut self, item: Item, diffs: &mut Vec<Diff>) {
        let Some(index) = self.find(&item.id).filter(|index| *index >= self.remote) else { return };
        match &self.entries[index].item {
            Some(old) if old.parts == item.parts => {
                self.set_meta(&item.id, item.meta, diffs);
            }
            _ => self.replace(item, diffs),
        }
    }
}

/// A change that does not fit the item: the caller replaces the item as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit;

impl ViewRow {
    fn remote(position: u64, item: Item) -> Self {
        Self { id: item.id.clone(), position, item: Some(Box::new(item)) }
    }

    fn local(item: Item) -> Self {
        Self { id: item.id.clone(), position: u64::MAX, item: Some(Box::new(item)) }
    }
}
