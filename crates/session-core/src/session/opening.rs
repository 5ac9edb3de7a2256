//! Reading a window of a session: stored rows, under what memory knows better (L13).

use std::collections::BTreeMap;

use session_protocol::Message;

use super::restore::Session;
use crate::error::EngineError;
use crate::item::Item;
use crate::store::{StoreError, StoredRow, messages};
use crate::summary::{Page, SessionView};
use crate::view::{PAGE, View};

impl Session {
    /// The last items and everything around them.
    pub(super) fn opened(&mut self, limit: usize) -> Result<SessionView, EngineError> {
        let (remote, has_more_before) = self.window(None, limit)?;
        let mut items: Vec<Item> = remote.into_iter().map(|(_, item)| item).collect();
        items.extend(self.local_items());
        Ok(SessionView {
            items,
            has_more_before,
            meta: self.meta().as_ref().clone(),
            draft: self.draft.clone(),
        })
    }

    /// The items before one.
    pub(super) fn page_before(&mut self, before: &str, limit: usize) -> Result<Page, EngineError> {
        let position = match self.fold.message(before) {
            Some(message) => Some(message.position),
            None => self
                .shared
                .store
                .read(|connection| messages::find(connection, self.key, before))?
                .map(|row| row.position),
        };
        let (items, has_more_before) = self.window(position, limit)?;
        Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), has_more_before })
    }

    /// The last message that is shown.
    pub(super) fn last_shown(&mut self) -> Result<Option<String>, EngineError> {
        let (items, _) = self.window(None, 1)?;
        Ok(items.into_iter().next_back().map(|(_, item)| item.id))
    }

    /// Makes the view, from which feeds get their diffs.
    pub(super) fn ensure_view(&mut self) {
        if self.view.is_some() {
            return;
        }
        match self.window(None, PAGE) {
            Ok((remote, more)) => self.view = Some(View::new(remote, self.local_items(), more)),
            Err(error) => self.store_failed(&error),
        }
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
        let (rows, more) = self
            .shared
            .store
            .read(|connection| messages::page(connection, self.key, before, limit))?;
        let first = rows.first().map(|row| row.position);
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
            let inside = before.is_none_or(|before| message.position < before)
                && (!more || first.is_none_or(|first| message.position >= first));
            if inside {
                window.insert(message.position, Item::from_message(message));
            }
        }
        let surplus = window.len().saturating_sub(limit);
        let window: Vec<(u64, Item)> = window.into_iter().skip(surplus).collect();
        Ok((window, more || surplus > 0))
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
        let mut loader = self.persist.loader(&self.shared.store, self.key);
        let message = self.fold.load(&row.id, &mut loader)?.clone();
        if message.is_complete {
            self.fold.evict(&row.id);
        }
        Some(message)
    }
}
