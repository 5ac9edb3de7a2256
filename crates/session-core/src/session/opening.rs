//! Reading a window of a session: stored rows, under what memory knows better (L13).

use std::collections::BTreeMap;

use session_protocol::Message;

use super::restore::Session;
use crate::error::EngineError;
use crate::feed::Direction;
use crate::item::Item;
use crate::store::{StoreError, StoredRow, messages};
use crate::summary::{Page, SessionView};
use crate::view::{PAGE, Stretch, View};

/// How many of its items a reader keeps when it moves on.
const KEPT: usize = 3 * PAGE;

impl Session {
    /// The last items and everything around them.
    pub(super) fn opened(&mut self, limit: usize) -> Result<SessionView, EngineError> {
        let (remote, has_more_before) = self.window(None, limit)?;
        let mut items: Vec<Item> = remote.into_iter().map(|(_, item)| item).collect();
        items.extend(self.local_items());
        let me = &self.shared.actor().id;
        let first_unread = self.shared.store.read(|connection| {
            messages::first_unread(connection, self.key, self.read_position, me)
        })?;
        Ok(SessionView {
            items,
            first_unread,
            has_more_before,
            meta: self.meta().as_ref().clone(),
            draft: self.draft.clone(),
        })
    }

    /// The items before one.
    pub(super) fn page_before(&mut self, before: &str, limit: usize) -> Result<Page, EngineError> {
        let position = self.position_of(before)?;
        let (items, has_more_before) = self.window(position, limit)?;
        Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), has_more_before })
    }

    /// The last message that is shown.
    pub(super) fn last_shown(&mut self) -> Result<Option<String>, EngineError> {
        let (items, _) = self.window(None, 1)?;
        Ok(items.into_iter().next_back().map(|(_, item)| item.id))
    }

    fn position_of(&self, id: &str) -> Result<Option<u64>, StoreError> {
        if let Some(message) = self.fold.message(id) {
            return Ok(Some(message.position));
        }
        let stored =
            self.shared.store.read(|connection| messages::find(connection, self.key, id))?;
        Ok(stored.map(|row| row.position))
    }

    /// A view for a new reader: of the end, or around a message if it is there.
    pub(super) fn view_of(&mut self, around: Option<&str>) -> Result<View, StoreError> {
        let around = match around {
            Some(id) => self.position_of(id)?,
            None => None,
        };
        let stretch = match around {
            None => {
                let (items, has_more_before) = self.window(None, PAGE)?;
                Stretch { items, has_more_before, has_more_after: false }
            }
            Some(position) => {
                let (mut items, has_more_before) = self.window(Some(position), PAGE / 2)?;
                let (rest, has_more_after) = self.window_from(position, PAGE / 2)?;
                items.extend(rest);
                Stretch { items, has_more_before, has_more_after }
            }
        };
        Ok(View::new(stretch, self.local_items()))
    }

    /// A reader's view, moved: with up to `limit` more items on one side, and [`KEPT`] of those it
    /// had.
    pub(super) fn moved(
        &mut self,
        view: &View,
        direction: Direction,
        limit: usize,
    ) -> Result<View, StoreError> {
        let positions: Vec<u64> = view.positions().collect();
        let has = positions.len();
        let stretch = match direction {
            Direction::Before => {
                let goes = has > KEPT;
                let end = positions.get(KEPT).copied().filter(|_| goes || !view.follows());
                let end = end.or_else(|| {
                    let last = positions.last().filter(|_| !view.follows())?;
                    Some(last + 1)
                });
                let (items, has_more_before) = self.window(end, has.min(KEPT) + limit)?;
                let has_more_after = goes || !view.follows();
                Stretch { items, has_more_before, has_more_after }
            }
            Direction::After => {
                let from = positions.get(has.saturating_sub(KEPT)).copied().unwrap_or(0);
                let (items, has_more_after) = self.window_from(from, has.min(KEPT) + limit)?;
                let has_more_before = !self.window(Some(from), 1)?.0.is_empty();
                Stretch { items, has_more_before, has_more_after }
            }
        };
        Ok(View::new(stretch, self.local_items()))
    }

    /// Echoes of messages that the stream has not shown.
    fn local_items(&self) -> Vec<Item> {
        let actor = &self.shared.actor().id;
        self.outbox.iter().filter_map(|entry| entry.item(actor)).collect()
    }

    /// The last `limit` shown messages before a position, oldest first, and whether there are more.
    fn window(
        &mut self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, Item)>, bool), StoreError> {
        let mut window = BTreeMap::new();
        let mut bound = before;
        loop {
            let missing = limit.saturating_sub(window.len());
            let (rows, more) = self
                .shared
                .store
                .read(|connection| messages::page(connection, self.key, bound, missing))?;
            let first = rows.first().map(|row| row.position).filter(|_| more);
            window.append(&mut self.merged(rows, first, bound));
            // Rows that memory knows to be gone leave room for others.
            if window.len() >= limit || first.is_none() {
                let surplus = window.len().saturating_sub(limit);
                let window: Vec<(u64, Item)> = window.into_iter().skip(surplus).collect();
                return Ok((window, more || surplus > 0));
            }
            bound = first;
        }
    }

    /// The first `limit` shown messages from a position on, oldest first, and whether there are more.
    fn window_from(
        &mut self,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<(u64, Item)>, bool), StoreError> {
        let mut window = BTreeMap::new();
        let mut start = from;
        loop {
            let missing = limit.saturating_sub(window.len());
            let (rows, more) = self
                .shared
                .store
                .read(|connection| messages::page_from(connection, self.key, start, missing))?;
            let end = rows.last().map(|row| row.position + 1).filter(|_| more);
            window.append(&mut self.merged(rows, Some(start), end));
            match end.filter(|_| window.len() < limit) {
                Some(end) => start = end,
                None => {
                    let surplus = window.len() > limit;
                    return Ok((window.into_iter().take(limit).collect(), more || surplus));
                }
            }
        }
    }

    /// Stored rows of a stretch from `from` to before `to`, under what memory knows better.
    fn merged(
        &mut self,
        rows: Vec<StoredRow>,
        from: Option<u64>,
        to: Option<u64>,
    ) -> BTreeMap<u64, Item> {
        let mut window: BTreeMap<u64, Item> = BTreeMap::new();
        for row in rows {
            if !self.persist.hides(&row.id)
                && self.fold.message(&row.id).is_none()
                && let Some(message) = self.message_of(&row)
                && !message.hidden
            {
                window.insert(message.position, message.into());
            }
        }
        // Memory is newer than the disk.
        for message in self.fold.messages().filter(|message| !message.hidden) {
            let inside = to.is_none_or(|to| message.position < to)
                && from.is_none_or(|from| message.position >= from);
            if inside {
                window.insert(message.position, Item::from_message(message));
            }
        }
        window
    }

    /// A stored message: from its row, or folded from its log when the row is behind.
    fn message_of(&mut self, row: &StoredRow) -> Option<Message> {
        if !row.stale {
            match serde_json::from_str(&row.row) {
                Ok(message) => return Some(message),
                Err(error) => {
                    // L11: the error itself may quote the message.
                    let kind = error.classify();
                    tracing::warn!(?kind, id = row.id, "a stored message is folded again");
                }
            }
        }
        self.complete_fold();
        let mut loader = self.persist.loader(&self.shared.store, self.key);
        let message = self.fold.load(&row.id, &mut loader)?.clone();
        if message.is_complete {
            self.fold.evict(&row.id);
        }
        Some(message)
    }
}
