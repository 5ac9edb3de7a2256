//! Memory of this computer's agents, for after a restart: their own sessions, what people chose of them, the folders
//! they work in, and the programs that the owner added. It is nobody else's business.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use sqlite_line::{Line, Room, Terms};

use crate::{
    config::AcpAgent,
    event,
    seal::Seal,
    store::{Store, StoreError},
};

/// Folders that are offered again.
const RECENT: usize = 12;

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

/// A program that the owner added, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

/// The tables of this computer's agents.
#[derive(Clone)]
pub(super) struct Memory {
    line: Line,
    seal: Seal,
}

impl Memory {
    pub(super) fn of(store: &Store) -> Self {
        Self { line: store.line().clone(), seal: store.seal().clone() }
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let terms = Terms { room: Room::Takes, ..Terms::default() };
        Ok(self.line.write(terms, move |tx: &Transaction<'_>, (): &mut ()| work(tx)).await?)
    }

    /// Reads something. A failure is the same as an absence.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        self.line.read_soon(work).await.ok()
    }

    /// The session that an agent had here. What cannot be read is not known.
    pub(super) async fn recall(&self, session_id: &str, agent_id: &str) -> Option<Remembered> {
        let key = [session_id.to_owned(), agent_id.to_owned()];
        let found = self.look(move |db| {
            let wanted = "SELECT agent, folder, acp_id, told FROM acp_sessions WHERE session_id = ?1 AND agent_id = ?2";
            db.query_row(wanted, key, |row| {
                let folder: String = row.get(1)?;
                Ok(Remembered { agent: row.get(0)?, folder: folder.into(), id: row.get(2)?, told: row.get(3)? })
            })
            .optional()
        });
        found.await.flatten()
    }

    /// Keeps it, in place of an earlier one.
    pub(super) async fn keep(
        &self,
        session_id: &str,
        agent_id: &str,
        new: Remembered,
    ) -> Result<(), StoreError> {
        let key = [session_id.to_owned(), agent_id.to_owned()];
        self.change(move |tx| {
            let [session_id, agent_id] = &key;
            let folder = new.folder.to_string_lossy();
            tx.execute(
                "INSERT OR REPLACE INTO acp_sessions (session_id, agent_id, agent, folder, acp_id, told)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![session_id, agent_id, new.agent, folder, new.id, new.told],
            )
        })
        .await?;
        Ok(())
    }

    /// The choices that people made of an agent, by option.
    pub(super) async fn choices(&self, session_id: &str, agent_id: &str) -> Vec<(String, String)> {
        let key = [session_id.to_owned(), agent_id.to_owned()];
        let found = self.look(move |db| {
            let all =
                "SELECT option_id, value FROM acp_choices WHERE session_id = ?1 AND agent_id = ?2";
            let mut all = db.prepare_cached(all)?;
            all.query_map(key, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        });
        found.await.unwrap_or_default()
    }

    /// Forgets a choice that the agent does not take.
    pub(super) async fn forget_choice(&self, session_id: &str, agent_id: &str, option_id: &str) {
        let key = [session_id.to_owned(), agent_id.to_owned(), option_id.to_owned()];
        let gone = self.change(move |tx| {
            let one = "DELETE FROM acp_choices WHERE session_id = ?1 AND agent_id = ?2 AND option_id = ?3";
            tx.execute(one, params![key[0], key[1], key[2]])
        });
        gone.await.ok(); // then it is tried again
    }

    /// The folder that somebody chose for a session.
    pub(super) async fn folder(&self, session_id: &str) -> Option<PathBuf> {
        let key = session_id.to_owned();
        let found = self.look(move |db| {
            let one = "SELECT folder FROM acp_folders WHERE session_id = ?1";
            db.query_row(one, [key], |row| row.get::<_, String>(0)).optional()
        });
        found.await.flatten().map(PathBuf::from)
    }

    /// Whether an agent of a session has begun to work, and in another folder than this one.
    pub(super) async fn works(&self, session_id: &str, folder: Option<&Path>) -> bool {
        let key = session_id.to_owned();
        let folder = folder.map(|folder| folder.to_string_lossy().into_owned());
        let found = self.look(move |db| {
            let one =
                "SELECT 1 FROM acp_sessions WHERE session_id = ?1 AND (?2 IS NULL OR folder <> ?2)";
            db.prepare_cached(one)?.exists(params![key, folder])
        });
        found.await.unwrap_or(true)
    }

    /// Keeps the folder of a session.
    pub(super) async fn choose_folder(
        &self,
        session_id: &str,
        folder: &Path,
    ) -> Result<(), StoreError> {
        let key = [session_id.to_owned(), folder.to_string_lossy().into_owned(), event::now()];
        self.change(move |tx| {
            let [session_id, folder, now] = &key;
            let put = "INSERT OR REPLACE INTO acp_folders VALUES (?1, ?2, ?3)";
            tx.execute(put, params![session_id, folder, now])?;
            let put = "INSERT OR REPLACE INTO acp_recent VALUES (?1, ?2)";
            tx.execute(put, params![folder, now])?;
            tx.execute(
                "DELETE FROM acp_recent WHERE folder NOT IN
                 (SELECT folder FROM acp_recent ORDER BY chosen_at DESC LIMIT ?1)",
                [RECENT],
            )
        })
        .await?;
        Ok(())
    }

    /// Folders that were chosen lately, the newest first.
    pub(super) async fn recent(&self) -> Vec<String> {
        let found = self.look(|db| {
            let mut all =
                db.prepare_cached("SELECT folder FROM acp_recent ORDER BY chosen_at DESC")?;
            all.query_map([], |row| row.get(0))?.collect()
        });
        found.await.unwrap_or_default()
    }

    /// The programs that the owner added; `folder` is where they work when they have none of their own. Those that
    /// cannot be opened with this key are left out.
    pub(super) async fn programs(&self, folder: &Path) -> Vec<AcpAgent> {
        let rows = self.look(|db| {
            let mut all = db.prepare_cached("SELECT name, spec FROM acp_commands ORDER BY name")?;
            let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        });
        let read = |(name, sealed): (String, String)| {
            let text = self.seal.open("", &name, &sealed)?;
            let kept: Kept = serde_json::from_str(&text).ok()?;
            let mut words = kept.command.into_iter().map(Into::into);
            Some(AcpAgent {
                name,
                program: words.next()?,
                arguments: words.collect(),
                environment: kept
                    .environment
                    .into_iter()
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
                folder: kept.folder.unwrap_or_else(|| folder.to_owned()),
            })
        };
        rows.await.unwrap_or_default().into_iter().filter_map(read).collect()
    }

    /// Keeps a program, in place of one of the same name.
    pub(super) async fn add_program(
        &self,
        name: &str,
        command: Vec<String>,
        environment: Vec<(String, String)>,
        folder: Option<PathBuf>,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(&Kept { command, environment, folder });
        let text = text.map_err(|error| StoreError::Failed(error.to_string()))?;
        let row = [name.to_owned(), self.seal.seal("", name, &text)];
        self.change(move |tx| {
            let put = "INSERT INTO acp_commands VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET spec = ?2";
            tx.execute(put, params![row[0], row[1]])
        })
        .await?;
        Ok(())
    }

    /// Forgets a program. One that is not there is no error.
    pub(super) async fn drop_program(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.change(move |tx| tx.execute("DELETE FROM acp_commands WHERE name = ?1", [&name]))
            .await?;
        Ok(())
    }
}
