//! Reading a window of a session: stored rows, under what memory knows better (L13).

use std::collections::BTreeMap;

use session_protocol::Message;

use super::state::Session;
use crate::diff::Direction;
use crate::error::EngineError;
use crate::feed::Place;
use crate::item::Item;
use crate::said::{Said, SaidPage};
use crate::store::{StoreError, StoredRow, messages};
use crate::view::{Bounds, KEPT, PAGE, Stretch, View};

impl Session {
    /// The last message that is shown.
    pub(super) fn last_shown(&mut self) -> Result<Option<String>, EngineError> {
        let (items, _) = self.window(None, 1)?;
        Ok(items.into_iter().next_back().map(|(_, item)| item.id))
    }

    /// The words from a position on: a page of them.
    pub(super) fn said(&mut self, from: u64) -> Result<SaidPage, EngineError> {
        let (items, more) = self.window_from(from, PAGE)?;
        let next = items.last().filter(|_| more).map(|(position, _)| position + 1);
        // What is not in the stream yet stands behind it.
        let local = if next.is_none() { self.local_items() } else { Vec::new() };
        let items = items.into_iter().map(|(_, item)| item).chain(local);
        Ok(SaidPage { said: items.filter_map(|item| Said::of(&item)).collect(), next })
    }

    fn position_of(&self, id: &str) -> Result<Option<u64>, StoreError> {
        if let Some(message) = self.fold.message(id) {
            return Ok(Some(message.position));
        }
        let stored =
            self.shared.store.read(|connection| messages::find(connection, self.key, id))?;
        Ok(stored.map(|row| row.position))
    }

    /// A view for a reader whose list begins.
    pub(super) fn view_of(&mut self, place: &Place) -> Result<View, StoreError> {
        let around = match place {
            Place::Around(id) => self.position_of(id)?,
            Place::Start => Some(0),
            Place::End | Place::Within(_) => None,
        };
        let stretch = match (place, around) {
            (_, Some(position)) => self.around(position)?,
            (Place::Within(Bounds { from, until: Some(until) }), None) => {
                self.between(*from, *until)?
            }
            (Place::Within(Bounds { from, until: None }), None) => self.end(*from, KEPT)?,
            (Place::End | Place::Start | Place::Around(_), None) => self.end(None, PAGE)?,
        };
        Ok(View::new(stretch, self.local_items()))
    }

    /// The stretch at the end: at most `limit` items, and none before the position `from`.
    fn end(&mut self, from: Option<u64>, limit: usize) -> Result<Stretch, StoreError> {
        let (mut items, more) = self.window(None, limit)?;
        let from = match from {
            Some(from) if items.first().is_none_or(|(position, _)| *position < from) => {
                items.retain(|(position, _)| *position >= from);
                Some(from)
            }
            _ => items.first().map(|(position, _)| *position).filter(|_| more),
        };
        Ok(Stretch { items, bounds: Bounds { from, until: None } })
    }

    /// The items on both sides of a position, and at it.
    fn around(&mut self, position: u64) -> Result<Stretch, StoreError> {
        let (mut items, before) = self.window(Some(position), PAGE / 2)?;
        let (rest, after) = self.window_from(position, PAGE / 2)?;
        items.extend(rest);
        let from = items.first().map_or(position, |(position, _)| *position);
        let until = items.last().map_or(position, |(position, _)| *position);
        let bounds = Bounds { from: before.then_some(from), until: after.then_some(until) };
        Ok(Stretch { items, bounds })
    }

    /// The items from one position to another, but for the last of them when they are too many.
    fn between(&mut self, from: Option<u64>, until: u64) -> Result<Stretch, StoreError> {
        let (mut items, _) = self.window_from(from.unwrap_or(0), 2 * KEPT)?;
        items.retain(|(position, _)| *position <= until);
        let until = match items.last() {
            Some((last, _)) if items.len() == 2 * KEPT => *last,
            _ => until,
        };
        Ok(Stretch { items, bounds: Bounds { from, until: Some(until) } })
    }

    /// The items that lie next to a stretch on one side, at most a page of them, and whether there
    /// are more behind those. None where the stretch has no bound.
    pub(super) fn next_to(
        &mut self,
        bounds: Bounds,
        direction: Direction,
    ) -> Result<(Vec<(u64, Item)>, bool), StoreError> {
        match (direction, bounds.from, bounds.until) {
            (Direction::Before, Some(from), _) => self.window(Some(from), PAGE),
            (Direction::After, _, Some(until)) => self.window_from(until + 1, PAGE),
            (Direction::Before, None, _) | (Direction::After, _, None) => Ok((Vec::new(), false)),
        }
    }

    /// Echoes of messages that the stream has not shown.
    pub(super) fn local_items(&self) -> Vec<Item> {
        let actor = &self.home.me(self.shared.actor());
        self.sending.outbox.iter().filter_map(|entry| entry.item(actor)).collect()
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

    /// The first `limit` shown messages from a position on, oldest first, and whether there are
    /// more.
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
            if !self.keeping.hides(&row.id)
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
        let mut loader = self.keeping.loader(&self.shared.store, self.key);
        let message = self.fold.load(&row.id, &mut loader)?.clone();
        if message.is_complete {
            self.fold.evict(&row.id);
        }
        Some(message)
    }
}
