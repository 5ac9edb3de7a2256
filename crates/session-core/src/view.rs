//! The view of a session: its items in order, and every edit to them as a diff.
//!
//! Two regions, always in this order:
//!
//! 1. *remote* items, folded from the stream, ordered by their position in it;
//! 2. *local* items, echoes of messages in the outbox, in the order they were written.
//!
//! A message keeps its id when it moves from the second region to the first (L7). Every reader has a
//! view of its own: a stretch of the session, whose first item has index 0. What lies before it is had
//! by paging. A view that *follows* reaches to the end and grows with it; one that was opened around
//! a message ends somewhere, and what happens behind its end is none of its business until the reader
//! moves on. Items far from the end of the view lose their content and keep their place (memory
//! follows the window).

use crate::diff::{Diff, patch_target};
use crate::item::{Item, ItemMeta};
use session_protocol::Part;

/// How many items a `Reset` has.
pub(crate) const PAGE: usize = 60;
/// How many items keep their content.
const LOADED: usize = 2 * PAGE;

struct Entry {
    id: String,
    position: u64,
    /// `None`: too far from the end to be kept in memory.
    item: Option<Box<Item>>,
}

/// A stretch of a session's items, as one reader has it.
pub(crate) struct View {
    entries: Vec<Entry>,
    /// How many entries are remote.
    remote: usize,
    has_more_before: bool,
    /// The last position that belongs to the view; `None`: it follows the end.
    until: Option<u64>,
}

/// What a view is made of: stored and remembered items, with their positions.
pub(crate) struct Stretch {
    pub(crate) items: Vec<(u64, Item)>,
    pub(crate) has_more_before: bool,
    pub(crate) has_more_after: bool,
}

impl View {
    /// A view of a stretch of the session; local echoes belong to its end.
    pub(crate) fn new(stretch: Stretch, local: impl IntoIterator<Item = Item>) -> Self {
        let Stretch { items, has_more_before, has_more_after } = stretch;
        let mut entries: Vec<Entry> = items
            .into_iter()
            .map(|(position, item)| Entry {
                id: item.id.clone(),
                position,
                item: Some(Box::new(item)),
            })
            .collect();
        entries.sort_by_key(|entry| entry.position);
        let remote = entries.len();
        let until = has_more_after.then(|| entries.last().map_or(0, |entry| entry.position));
        if until.is_none() {
            entries.extend(local.into_iter().map(Entry::local));
        }
        Self { entries, remote, has_more_before, until }
    }

    /// A `Reset` with all items, for a reader that has just got this view.
    pub(crate) fn reset(&self) -> Diff {
        Diff::Reset {
            items: self.entries.iter().filter_map(|entry| entry.item.as_deref().cloned()).collect(),
            has_more_before: self.has_more_before,
            has_more_after: self.until.is_some(),
        }
    }

    /// Whether it reaches to the end of the session and grows with it.
    pub(crate) fn follows(&self) -> bool {
        self.until.is_none()
    }

    /// The id in the middle of a view that does not follow.
    pub(crate) fn middle(&self) -> Option<String> {
        let entry = self.entries[..self.remote].get(self.remote / 2)?;
        (!self.follows()).then(|| entry.id.clone())
    }

    /// The positions of the stored items, in order.
    pub(crate) fn positions(&self) -> impl ExactSizeIterator<Item = u64> {
        self.entries[..self.remote].iter().map(|entry| entry.position)
    }

    fn find(&self, id: &str) -> Option<usize> {
        // What changes is nearly always at the end.
        self.entries.iter().rposition(|entry| entry.id == id)
    }

    fn place(&self, position: u64) -> usize {
        self.entries[..self.remote].partition_point(|entry| entry.position <= position)
    }

    /// A message appeared in the stream.
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
                self.entries.insert(place, Entry { position, item: Some(Box::new(item)), ..local });
                self.remote += 1;
            }
            None => {
                let place = self.place(position);
                if self.until.is_some_and(|until| position > until)
                    || (place == 0 && self.has_more_before)
                {
                    // Before or behind the view: paging finds it.
                    return;
                }
                diffs.push(Diff::Insert { index: place, item: Box::new(item.clone()) });
                self.entries.insert(place, Entry { id, position, item: Some(Box::new(item)) });
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

    /// A message is something else now, as a whole.
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

    /// Text was added to a part. Costs its own length (L12).
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

    /// A part is something else now, or is new at the end.
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

    /// The flags of a message changed. Answers whether the view has the message.
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

    /// A local echo went away: its entry was discarded.
    pub(crate) fn remove_local(&mut self, id: &str, diffs: &mut Vec<Diff>) {
        if self.find(id).is_some_and(|index| index >= self.remote) {
            self.remove(id, diffs);
        }
    }

    /// An item went away.
    pub(crate) fn remove(&mut self, id: &str, diffs: &mut Vec<Diff>) {
        let Some(index) = self.find(id) else { return };
        self.entries.remove(index);
        if index < self.remote {
            self.remote -= 1;
        }
        diffs.push(Diff::Remove { index });
    }

    /// A message was written here.
    pub(crate) fn insert_local(&mut self, item: Item, diffs: &mut Vec<Diff>) {
        if self.find(&item.id).is_some() {
            return self.replace(item, diffs);
        }
        if !self.follows() {
            return;
        }
        let index = self.entries.len();
        diffs.push(Diff::Insert { index, item: Box::new(item.clone()) });
        self.entries.push(Entry::local(item));
        self.unload();
    }

    /// A local message got further, or says something else. Remote items are no concern of it.
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

impl Entry {
    fn local(item: Item) -> Self {
        Self { id: item.id.clone(), position: u64::MAX, item: Some(Box::new(item)) }
    }
}
