//! A session's state, and how it comes back from the store.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use session_protocol::fold::{Collection, StateRow};
use session_protocol::{FoldState, SessionFold};
use tokio::time::Instant;

use super::follow::Line;
use super::persist::{Persist, Rows};
use super::publish::Viewer;
use crate::address::Address;
use crate::error::EngineError;
use crate::outbox::Outbox;
use crate::server::Server;
use crate::shared::Shared;
use crate::store::{SessionHead, SessionKey, StoreError, drafts, messages, outbox, sessions};
use crate::summary::{Draft, SessionMeta, SessionState};

/// Everything the task of one session owns.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    /// Its id on this machine: its server, and [`Session::home_id`].
    pub(super) id: String,
    /// The server it lives on, the only one that it is ever sent to (L16).
    pub(super) home: Arc<Server>,
    /// Its id on that server.
    pub(super) home_id: String,
    pub(super) key: SessionKey,
    /// Until [`Session::complete_fold`] it has only what is needed to show the session.
    pub(super) fold: SessionFold,
    /// How many approvals were ever asked for, while the fold does not have them all.
    pub(super) settled: Option<u64>,
    /// The session it is a copy of.
    pub(super) parent: Option<String>,
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

/// What the person is told when a session had to be set aside.
const SET_ASIDE: &str = "This session's copy on this machine was damaged. It was kept aside, and the \
                         session is read again from the server.";

impl Session {
    /// The session as the store has it; no network. What cannot be used of it is set aside, and the
    /// session starts over from the stream (L14).
    pub(super) fn restore(shared: &Arc<Shared>, id: &str) -> Result<Self, EngineError> {
        match catch_unwind(AssertUnwindSafe(|| Self::try_restore(shared, id))) {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(
                error @ (EngineError::UnknownSession | EngineError::Closed | EngineError::DiskFull),
            )) => return Err(error),
            Ok(Err(error)) => {
                tracing::error!(session = id, code = error.code(), "a stored session is broken");
            }
            Err(_) => tracing::error!(session = id, "a stored session broke the program"),
        }
        set_aside(shared, id)?;
        Self::try_restore(shared, id)
    }

    fn try_restore(shared: &Arc<Shared>, id: &str) -> Result<Self, EngineError> {
        let address = Address::parse(id).ok_or(EngineError::UnknownSession)?;
        let home = shared.server(&address.server).ok_or(EngineError::UnknownSession)?;
        let me = home.me(shared.actor());
        let (row, state, requests, entries, draft, unread) = shared
            .store
            .read(|connection| {
                let Some(row) = sessions::find(connection, id)? else { return Ok(None) };
                let state = messages::standing_rows(connection, row.key)?;
                let requests = messages::requests(connection, row.key)?;
                let entries = outbox::of_session(connection, id)?;
                let draft = drafts::find(connection, id)?;
                let unread = messages::unread(connection, row.key, row.read_position, &me)?;
                Ok(Some((row, state, requests, entries, draft, unread)))
            })?
            .ok_or(EngineError::UnknownSession)?;
        Ok(Self {
            shared: Arc::clone(shared),
            id: id.to_owned(),
            home,
            fold: SessionFold::restore(&address.session, &folded(state)),
            home_id: address.session,
            key: row.key,
            settled: Some(requests),
            parent: row.parent,
            line: Line::new(row.head.closed, row.head.synced_at.clone()),
            last_failed: row.head.state == SessionState::Failed.as_str(),
            head: row.head,
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

    /// Reads the rest of the fold's state: settled calls, signals and requests. Before anything is
    /// applied or loaded; showing a session does not need it (L13).
    ///
    /// # Panics
    /// When the rest cannot be used. It was set aside then, and the task starts over.
    pub(super) fn complete_fold(&mut self) {
        if self.settled.is_none() {
            return;
        }
        let read = self.shared.store.read(|connection| messages::state_rows(connection, self.key));
        let fold = match read {
            Ok(rows) => {
                let fold = || SessionFold::restore(&self.home_id, &folded(rows));
                catch_unwind(AssertUnwindSafe(fold)).ok()
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, session = self.id, "a stored session is broken");
                None
            }
        };
        let Some(fold) = fold else {
            let kept = set_aside(&self.shared, &self.id);
            panic!("a session's stored state can be used (set aside: {})", kept.is_ok());
        };
        self.fold = fold;
        self.settled = None;
    }
}

/// The state of a fold from its stored rows.
fn folded(rows: Vec<(String, String, String)>) -> FoldState {
    rows.into_iter()
        .filter_map(|(collection, key, json)| {
            // A collection of a newer version stays on the disk and is not used.
            let collection = Collection::from_name(&collection)?;
            Some(StateRow { collection, key, json: Some(json), standing: false })
        })
        .collect()
}

fn set_aside(shared: &Shared, id: &str) -> Result<(), EngineError> {
    let id = id.to_owned();
    Ok(shared.store.write_now(move |tx| sessions::set_aside(tx, &id, SET_ASIDE))?)
}
