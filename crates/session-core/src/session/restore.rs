//! A session's state, and how it comes back from the store.

use std::collections::HashSet;
use std::sync::Arc;

use session_protocol::fold::{Collection, StateRow};
use session_protocol::{FoldState, SessionFold};
use tokio::time::Instant;

use super::follow::Line;
use super::persist::{Persist, Rows};
use super::publish::Viewer;
use crate::error::EngineError;
use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::store::{SessionHead, SessionKey, drafts, messages, outbox, sessions};
use crate::summary::{Draft, SessionMeta, SessionState};

/// Everything the task of one session owns.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) id: String,
    pub(super) key: SessionKey,
    pub(super) fold: SessionFold,
    pub(super) head: SessionHead,
    pub(super) outbox: Outbox,
    pub(super) draft: Option<Draft>,
    pub(super) unread: u32,
    pub(super) read_position: u64,
    /// Deleted by the person: only the server has still to be told.
    pub(super) deleted: bool,
    pub(super) persist: Persist,
    /// How each message in memory is stored.
    pub(super) rows: Rows,
    pub(super) line: Line,
    pub(super) viewers: Vec<Viewer>,
    /// While the stream is read again from its start: the messages that should be there and have
    /// not been seen yet.
    pub(super) unconfirmed: Option<HashSet<String>>,
    pub(super) published: Published,
    /// The last complete message failed.
    pub(super) last_failed: bool,
    /// Messages came, and the unread ones are to be counted again.
    pub(super) unread_stale: bool,
    /// The disk could not be written; said once.
    pub(super) store_trouble: bool,
    /// The server refused the token: until then nothing is sent, unless something changes.
    pub(super) refused: Option<Instant>,
}

/// What was last told to others, and what may have changed since.
#[derive(Default)]
pub(super) struct Published {
    pub(super) meta: Option<Arc<SessionMeta>>,
    pub(super) report: Option<crate::hub::SessionReport>,
    pub(super) dirty: bool,
    /// When to look again, because something goes out of date by itself.
    pub(super) tick: Option<Instant>,
}

impl Session {
    /// The session as the store has it; no network.
    pub(super) fn restore(shared: &Arc<Shared>, id: &str) -> Result<Self, EngineError> {
        let me = shared.actor().id.clone();
        let (row, state, entries, draft, unread) = shared
            .store
            .read(|connection| {
                let Some(row) = sessions::find(connection, id)? else { return Ok(None) };
                let state = messages::state_rows(connection, row.key)?;
                let entries = outbox::of_session(connection, id)?;
                let draft = drafts::find(connection, id)?;
                let unread = messages::unread(connection, row.key, row.read_position, &me)?;
                Ok(Some((row, state, entries, draft, unread)))
            })?
            .ok_or(EngineError::UnknownSession)?;
        let state: FoldState = state
            .into_iter()
            .filter_map(|(collection, key, json)| {
                // A collection of a newer version stays on the disk and is not used.
                let collection = Collection::from_name(&collection)?;
                Some(StateRow { collection, key, json: Some(json) })
            })
            .collect();
        let head = SessionHead {
            title: row.title,
            created_at: row.created_at,
            last_activity: row.last_activity,
            preview: row.preview,
            state: row.state,
            offset: row.offset,
            synced_at: row.synced_at,
            closed: row.closed,
            notice: row.notice,
            remote: row.remote,
        };
        Ok(Self {
            shared: Arc::clone(shared),
            id: id.to_owned(),
            key: row.key,
            fold: SessionFold::restore(id, &state),
            line: Line::new(head.closed, head.synced_at.clone()),
            last_failed: head.state == SessionState::Failed.as_str(),
            head,
            outbox: Outbox::restore(entries),
            draft: draft.map(|(text, saved_at)| Draft { text, saved_at }),
            unread,
            read_position: row.read_position,
            deleted: row.deleted,
            persist: Persist::new(row.commits),
            rows: Rows::default(),
            viewers: Vec::new(),
            unconfirmed: None,
            published: Published { dirty: true, ..Published::default() },
            unread_stale: false,
            store_trouble: false,
            refused: None,
        })
    }
}
