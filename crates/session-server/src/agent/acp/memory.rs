//! Memory of an agent's own session, for after a restart. It is nobody else's business.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};
use sqlite_line::{Line, Room, Terms};

use crate::store::{Store, StoreError};

/// An agent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The agent's name on this server.
    pub(super) agent: String,
    /// The folder that it works in, which never changes for a session.
    pub(super) folder: PathBuf,
    /// The agent's id of it.
    pub(super) id: String,
    /// The last message that it was told.
    pub(super) told: Option<String>,
}

/// The table of agents' sessions.
pub(super) struct Memory(Line);

impl Memory {
    pub(super) fn of(store: &Store) -> Self {
        Self(store.line().clone())
    }

    /// The session that an agent had here. What cannot be read is not known.
    pub(super) async fn recall(&self, session_id: &str, agent_id: &str) -> Option<Remembered> {
        let key = [session_id.to_owned(), agent_id.to_owned()];
        let found = self.0.read_soon(move |db| {
            let wanted = "SELECT agent, folder, acp_id, told FROM acp_sessions WHERE session_id = ?1 AND agent_id = ?2";
            db.query_row(wanted, key, |row| {
                let folder: String = row.get(1)?;
                Ok(Remembered { agent: row.get(0)?, folder: folder.into(), id: row.get(2)?, told: row.get(3)? })
            })
            .optional()
        });
        found.await.ok().flatten()
    }

    /// Keeps it, in place of an earlier one.
    pub(super) async fn keep(
        &self,
        session_id: &str,
        agent_id: &str,
        new: Remembered,
    ) -> Result<(), StoreError> {
        let key = [session_id.to_owned(), agent_id.to_owned()];
        let terms = Terms { room: Room::Takes, ..Terms::default() };
        let keep = move |tx: &rusqlite::Transaction<'_>, (): &mut ()| {
            let [session_id, agent_id] = &key;
            let folder = new.folder.to_string_lossy();
            tx.execute(
                "INSERT OR REPLACE INTO acp_sessions (session_id, agent_id, agent, folder, acp_id, told)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![session_id, agent_id, new.agent, folder, new.id, new.told],
            )
        };
        self.0.write(terms, keep).await?;
        Ok(())
    }
}
