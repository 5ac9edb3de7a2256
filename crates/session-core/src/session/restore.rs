//! The way of a session's state back from the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use session_protocol::fold::{Collection, StateRow};
use session_protocol::{FoldState, SessionFold};

use super::follow::StreamLine;
use super::keeping::Keeping;
use super::reading::Reading;
use super::sending::Sending;
use super::showing::Showing;
use super::state::Session;
use super::unread::Unread;
use crate::address::Address;
use crate::error::EngineError;
use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::store::{StoreError, drafts, messages, outbox, sessions};
use crate::summary::{Draft, SessionState};

/// Notice of a session that had to be set aside.
const SET_ASIDE: &str = "This session's copy on this machine was damaged. It was kept aside, and the \
                         session is read again from the server.";

impl Session {
    /// Reads a session as the store has it; no network. A session that cannot be used is set aside,
    /// and starts over from the stream (L14).
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
            requests: Some(requests),
            parent: row.parent,
            draft: draft.map(|(text, saved_at)| Draft { text, saved_at }),
            last_failed: row.head.state == SessionState::Failed.as_str(),
            deleted: row.deleted,
            reading: Reading::new(StreamLine::new(row.head.closed, row.head.synced_at.clone())),
            sending: Sending::new(Outbox::restore(entries)),
            showing: Showing::new(),
            keeping: Keeping::new(row.head, row.commits),
            unread: Unread::new(unread, row.read_position),
        })
    }

    /// Reads the rest of the fold's state: settled calls, signals and requests. It has to be there
    /// before anything is applied or loaded; showing a session does not need it (L13).
    ///
    /// # Panics
    /// When the rest cannot be used. The session was set aside then, and its task starts over.
    pub(super) fn complete_fold(&mut self) {
        if self.requests.is_none() {
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
        self.requests = None;
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
