//! The server's own database: what must survive a restart and must not be in a stream.
//!
//! The database holds agents' headers and bodies, runs that were planned or under way, the writer's
//! epoch of each session, the list of sessions, the parents of forks, and named tokens. A server
//! that loses it loses those, and nothing that was said in any session.

use std::{fmt, fs, path::Path};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use session_protocol::AgentSpec;
use session_protocol::api::ForkedFrom;
use sqlite_line::{Cause, Checkpoint, Line, OpenError, Opened, Room, Setup, Terms};

use crate::{
    config::Secret,
    error::ServerError,
    run::RunPlan,
    seal::{self, Seal},
};

/// The database failed. The text is SQLite's and never holds values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("no space is left")]
    Full,
    #[error("{0}")]
    Failed(String),
}

impl From<sqlite_line::Error> for StoreError {
    fn from(error: sqlite_line::Error) -> Self {
        match &error {
            sqlite_line::Error::Sqlite(sqlite) if Cause::of(sqlite) == Cause::Full => Self::Full,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// A session in the list.
#[derive(Clone)]
pub(crate) struct SessionRow {
    pub(crate) session_id: String,
    pub(crate) title: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) last_activity_at: Option<String>,
    /// The session that it was forked from, for who may see that one.
    pub(crate) forked_from: Option<ForkedFrom>,
}

impl SessionRow {
    /// The place at which a page that ends with this session goes on.
    pub(crate) fn place(&self) -> ListPlace {
        (self.last_activity_at.clone().unwrap_or_default(), self.session_id.clone())
    }
}

/// A fork of a session.
#[derive(Clone)]
pub(crate) struct ForkRow {
    pub(crate) session_id: String,
    /// The last message that it took over; absent when it took over everything.
    pub(crate) message_id: Option<String>,
    /// Number of the fork, by which forks are ordered.
    pub(crate) number: i64,
}

/// A place in the list of sessions: the last activity and the id of the session before it.
pub(crate) type ListPlace = (String, String);

/// A run that the database knows to be unfinished.
#[derive(Clone)]
pub(crate) struct StoredRun {
    pub(crate) plan: RunPlan,
    /// The agent was called; otherwise the run was only planned.
    pub(crate) started: bool,
}

/// A change, applied together with others in one transaction.
pub(crate) enum Op {
    AddSession {
        session_id: String,
        at: String,
    },
    Touch {
        session_id: String,
        at: String,
    },
    Title {
        session_id: String,
        title: String,
    },
    PutAgent {
        session_id: String,
        spec: AgentSpec,
        inline: bool,
    },
    DropAgent {
        session_id: String,
        agent_id: String,
    },
    PlanRun {
        session_id: String,
        plan: RunPlan,
    },
    StartRun {
        run_id: String,
    },
    DropRun {
        run_id: String,
    },
    /// Whether somebody is here whose absence would be noticed.
    Attend {
        session_id: String,
        attended: bool,
    },
    /// Stores the parent of a fork.
    NameFork {
        session_id: String,
        source: String,
        message_id: Option<String>,
    },
    /// Words were deleted: what is stored of what agents are told goes with them.
    ForgetTold {
        session_id: String,
    },
    ForgetSession {
        session_id: String,
    },
    /// Keeps what a person chose of an agent.
    Choose {
        session_id: String,
        agent_id: String,
        option_id: String,
        value: String,
    },
}

// L11: agents hold secrets.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Op(…)")
    }
}

mod embedded {
    refinery::embed_migrations!("migrations/server");
}

const FILE: &str = "server.sqlite";
/// Bytes that are kept on the disk so that a session can be forgotten when it is full, and what one
/// needs.
const RESERVE: (u64, u64) = (256 << 10, 128 << 10);
/// Pages of the log after which it is folded into the database.
const LOG_PAGES: u32 = 250;

/// A handle on the database.
#[derive(Clone)]
pub(crate) struct Store {
    line: Line,
    seal: Seal,
    is_new: bool,
}

impl Store {
    /// Opens or makes the database in `folder`, readable by its owner only. Agents are sealed with
    /// `key`, else with the folder's own.
    pub(crate) fn open(folder: &Path, key: Option<&Secret>) -> Result<Self, ServerError> {
        let failed = |error: OpenError| ServerError::store(folder.join(FILE), &error);
        let mut opened = open(folder, Some(RESERVE))?;
        let seal = seal::prepare(folder, key, &mut opened.db)?;
        let known = "SELECT 1 FROM meta WHERE key = 'instance'";
        let known = opened.db.prepare(known).and_then(|mut known| known.exists([]));
        let is_new = !known.map_err(|error| failed(error.into()))?;
        let line = opened.start(()).map_err(|error| failed(error.into()))?;
        Ok(Self { line, seal, is_new })
    }

    /// The seal of texts that nobody but this server may read.
    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The database itself, for what reads other tables of it.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Writes a little, whatever room there is.
    async fn note<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let terms = Terms { room: Room::Takes, ..Terms::default() };
        Ok(self.line.write(terms, move |tx, ()| work(tx)).await?)
    }

    /// Reads, beside whoever writes.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Ok(self.line.read_soon(work).await?)
    }

    /// The name under which this server writes to streams, made once.
    pub(crate) async fn instance(&self) -> Result<String, StoreError> {
        self.note(|db| {
            let known = "SELECT value FROM meta WHERE key = 'instance'";
            if let Some(known) = db.query_row(known, [], |row| row.get(0)).optional()? {
                return Ok(known);
            }
            let fresh = format!("threadkeep-{}", uuid::Uuid::new_v4());
            db.execute("INSERT INTO meta VALUES ('instance', ?1)", [&fresh])?;
            Ok(fresh)
        })
        .await
    }

    /// Whether no server has used the database before.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Applies changes in one transaction.
    pub(crate) async fn apply(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        if ops.is_empty() {
            return Ok(());
        }
        let seal = self.seal.clone();
        let frees = ops.iter().any(|op| matches!(op, Op::ForgetSession { .. }));
        let room = if frees { Room::Frees } else { Room::Leaves };
        let work = move |tx: &rusqlite::Transaction<'_>, (): &mut ()| {
            ops.iter().try_for_each(|op| apply(tx, op, &seal))
        };
        Ok(self.line.write(Terms { room, ..Terms::default() }, work).await?)
    }

    /// Takes over the writing of a session: each call gives a higher epoch, and one above that
    /// which the stream knows (`fence`) where it knows one.
    pub(crate) async fn next_epoch(
        &self,
        session_id: &str,
        fence: Option<u64>,
    ) -> Result<u64, StoreError> {
        let id = session_id.to_owned();
        let fence = fence.map_or(0, |fence| i64::try_from(fence).unwrap_or(i64::MAX));
        self.note(move |db| {
            db.query_row(
                "INSERT INTO sessions (session_id, epoch) VALUES (?1, max(0, ?2) + 1)
                 ON CONFLICT (session_id) DO UPDATE SET epoch = max(epoch, ?2) + 1 RETURNING epoch",
                params![id, fence],
                |row| row.get::<_, i64>(0),
            )
        })
        .await
        .map(i64::unsigned_abs)
    }

    /// A page of the sessions behind a place, newest activity first; of only these, when some are
    /// named. One that is used meanwhile moves to the front, where the next look at the list has
    /// it. Rows without a creation time are only epochs.
    pub(crate) async fn sessions(
        &self,
        only: Option<Vec<String>>,
        after: Option<ListPlace>,
        limit: usize,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let behind =
            if after.is_some() { "AND (last_activity_at, s.session_id) < (?2, ?3)" } else { "" };
        let (from, names) = match only {
            // Looked up one by one, however many others there are.
            Some(ids) => (
                "json_each(?4) AS only CROSS JOIN sessions AS s ON s.session_id = only.value",
                json(&ids),
            ),
            None => ("sessions AS s", String::new()),
        };
        let sql = format!(
            "SELECT s.session_id, title, created_at, last_activity_at, f.source, f.message_id FROM {from}
             LEFT JOIN forks AS f ON f.session_id = s.session_id
             WHERE created_at IS NOT NULL AND ?4 IS NOT NULL {behind}
             ORDER BY last_activity_at DESC, s.session_id DESC LIMIT ?1"
        );
        let (at, id) = after.unwrap_or_default();
        self.look(move |db| {
            let mut query = db.prepare_cached(&sql)?;
            let rows = query.query_map(params![limit, at, id, names], session_row)?;
            rows.collect()
        })
        .await
    }

    /// A page of the forks of a session, the oldest first, behind the one with this number; only
    /// these, when some are named.
    pub(crate) async fn forks(
        &self,
        source: &str,
        only: Option<Vec<String>>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ForkRow>, StoreError> {
        let source = source.to_owned();
        self.look(move |db| {
            let row = |row: &Row<'_>| {
                Ok(ForkRow {
                    number: row.get(0)?,
                    session_id: row.get(1)?,
                    message_id: row.get(2)?,
                })
            };
            let rest = "f.source = ?1 AND f.number > ?2 ORDER BY f.number LIMIT ?3";
            if let Some(ids) = only {
                let sql = format!(
                    "SELECT f.number, f.session_id, f.message_id FROM json_each(?4) AS only
                     CROSS JOIN forks AS f ON f.session_id = only.value WHERE {rest}"
                );
                let mut query = db.prepare_cached(&sql)?;
                return query.query_map(params![source, after, limit, json(&ids)], row)?.collect();
            }
            let sql =
                format!("SELECT f.number, f.session_id, f.message_id FROM forks AS f WHERE {rest}");
            let mut query = db.prepare_cached(&sql)?;
            query.query_map(params![source, after, limit], row)?.collect()
        })
        .await
    }

    /// Ids that no session of the list has.
    pub(crate) async fn unlisted(&self, ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        self.look(move |db| {
            let mut listed = db.prepare_cached(
                "SELECT 1 FROM sessions WHERE session_id = ?1 AND created_at IS NOT NULL",
            )?;
            let mut unlisted = Vec::new();
            for id in ids {
                if !listed.exists([&id])? {
                    unlisted.push(id);
                }
            }
            Ok(unlisted)
        })
        .await
    }

    /// Number of sessions in the list.
    pub(crate) async fn count_sessions(&self) -> Result<i64, StoreError> {
        self.look(|db| {
            let count = "SELECT count(*) FROM sessions WHERE created_at IS NOT NULL";
            db.query_row(count, [], |row| row.get(0))
        })
        .await
    }

    /// Writes something, to see whether it can be done.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        self.note(|db| {
            let now = crate::event::now();
            db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?1)", [now]).map(drop)
        })
        .await
    }

    /// Sessions that need their task at once: with a run that did not end, or somebody to be
    /// missed.
    pub(crate) async fn sessions_to_open(&self) -> Result<Vec<String>, StoreError> {
        self.look(|db| {
            let mut query =
                db.prepare("SELECT session_id FROM runs UNION SELECT session_id FROM attended")?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect()
        })
        .await
    }

    /// Unfinished runs of a session, oldest first.
    pub(crate) async fn runs(&self, session_id: &str) -> Result<Vec<StoredRun>, StoreError> {
        let id = session_id.to_owned();
        let rows: Vec<(String, bool)> = self
            .look(move |db| {
                let mut query = db.prepare(
                    "SELECT plan, started FROM runs WHERE session_id = ?1 ORDER BY rowid",
                )?;
                let rows = query.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(plan, started)| {
                Some(StoredRun { plan: serde_json::from_str(&plan).ok()?, started })
            })
            .collect())
    }

    /// Full specs of a session's agents, with headers.
    pub(crate) async fn agents(&self, session_id: &str) -> Result<Vec<AgentSpec>, StoreError> {
        let id = session_id.to_owned();
        let rows: Vec<(String, String)> = self
            .look(move |db| {
                let mut query = db.prepare(
                    "SELECT agent_id, spec FROM agents WHERE session_id = ?1 ORDER BY rowid",
                )?;
                let rows = query.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .await?;
        let (all, mut specs) = (rows.len(), Vec::with_capacity(rows.len()));
        for (agent_id, sealed) in rows {
            let text = self.seal.open(session_id, &agent_id, &sealed);
            specs.extend(text.and_then(|text| serde_json::from_str::<AgentSpec>(&text).ok()));
        }
        if specs.len() < all {
            tracing::warn!(
                "agents' headers cannot be read with this key; register the agents again"
            );
        }
        Ok(specs)
    }

    /// Whether the session is in the list.
    pub(crate) async fn is_listed(&self, session_id: &str) -> Result<bool, StoreError> {
        let id = session_id.to_owned();
        let listed = "SELECT 1 FROM sessions WHERE session_id = ?1 AND created_at IS NOT NULL";
        self.look(move |db| db.prepare_cached(listed)?.exists([id])).await
    }

    /// Whether there was a session of this id, which was deleted: only its epoch is left of it.
    pub(crate) async fn was_deleted(&self, session_id: &str) -> Result<bool, StoreError> {
        let id = session_id.to_owned();
        let left = "SELECT 1 FROM sessions WHERE session_id = ?1 AND created_at IS NULL";
        self.look(move |db| db.prepare_cached(left)?.exists([id])).await
    }

    /// The title of a session.
    pub(crate) async fn title(&self, session_id: &str) -> Result<Option<String>, StoreError> {
        let id = session_id.to_owned();
        self.look(move |db| {
            db.query_row("SELECT title FROM sessions WHERE session_id = ?1", [id], |row| row.get(0))
                .optional()
        })
        .await
        .map(Option::flatten)
    }
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let (source, message_id) = (row.get::<_, Option<String>>(4)?, row.get(5)?);
    Ok(SessionRow {
        session_id: row.get(0)?,
        title: row.get(1)?,
        created_at: row.get(2)?,
        last_activity_at: row.get(3)?,
        forked_from: source.map(|session_id| ForkedFrom { session_id, message_id }),
    })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs always serialise")
}

fn apply(db: &Connection, op: &Op, seal: &Seal) -> rusqlite::Result<()> {
    match op {
        Op::AddSession { session_id, at } => db.execute(
            "INSERT INTO sessions (session_id, created_at, last_activity_at) VALUES (?1, ?2, ?2)
             ON CONFLICT (session_id) DO UPDATE SET
                created_at = coalesce(created_at, ?2), last_activity_at = coalesce(last_activity_at, ?2)",
            params![session_id, at],
        ),
        Op::Touch { session_id, at } => db.execute(
            "UPDATE sessions SET last_activity_at = ?2 WHERE session_id = ?1",
            params![session_id, at],
        ),
        Op::Title { session_id, title } => db.execute(
            "UPDATE sessions SET title = ?2 WHERE session_id = ?1",
            params![session_id, title],
        ),
        Op::PutAgent { session_id, spec, inline } => db.execute(
            "INSERT INTO agents (session_id, agent_id, spec, inline) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (session_id, agent_id) DO UPDATE SET spec = ?3, inline = ?4",
            params![session_id, spec.id, seal.seal(session_id, &spec.id, &json(spec)), inline],
        ),
        Op::DropAgent { session_id, agent_id } => db.execute(
            "DELETE FROM agents WHERE session_id = ?1 AND agent_id = ?2",
            params![session_id, agent_id],
        )
        .and_then(|_| {
            // One that comes back under this id begins anew.
            let key = params![session_id, agent_id];
            db.execute("DELETE FROM acp_choices WHERE session_id = ?1 AND agent_id = ?2", key)
        }),
        Op::PlanRun { session_id, plan } => db.execute(
            "INSERT OR REPLACE INTO runs (run_id, session_id, plan, started) VALUES (?1, ?2, ?3, 0)",
            params![plan.run_id, session_id, json(plan)],
        ),
        Op::StartRun { run_id } => {
            db.execute("UPDATE runs SET started = 1 WHERE run_id = ?1", [run_id])
        }
        Op::DropRun { run_id } => db.execute("DELETE FROM runs WHERE run_id = ?1", [run_id]),
        Op::Attend { session_id, attended: true } => {
            db.execute("INSERT OR IGNORE INTO attended VALUES (?1)", [session_id])
        }
        Op::Attend { session_id, attended: false } => {
            db.execute("DELETE FROM attended WHERE session_id = ?1", [session_id])
        }
        Op::NameFork { session_id, source, message_id } => db.execute(
            "INSERT INTO forks (session_id, source, message_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![session_id, source, message_id],
        ),
        Op::ForgetTold { session_id } => {
            db.execute("DELETE FROM folds WHERE session_id = ?1 AND kind = 1", [session_id])?;
            db.execute("DELETE FROM folded WHERE session_id = ?1 AND kind = 1", [session_id])
        }
        Op::Choose { session_id, agent_id, option_id, value } => db.execute(
            "INSERT OR REPLACE INTO acp_choices VALUES (?1, ?2, ?3, ?4)",
            params![session_id, agent_id, option_id, value],
        ),
        Op::ForgetSession { session_id } => {
            // The epoch stays: a session made again under the same id must not reuse stamps.
            db.execute("DELETE FROM agents WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM runs WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM attended WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM acp_sessions WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM acp_choices WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM acp_folders WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM tool_rules WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM tool_servers WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM tool_calls WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM forks WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM forks WHERE source = ?1", [session_id])?;
            db.execute("DELETE FROM folds WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM folded WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM granted WHERE session_id = ?1", [session_id])?;
            db.execute(
                "UPDATE sessions SET title = NULL, created_at = NULL, last_activity_at = NULL
                 WHERE session_id = ?1",
                [session_id],
            )
        }
    }
    .map(drop)
}

/// Whether the folder has a database.
pub(crate) fn is_in(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

/// Opens or makes the database in `folder`, readable by its owner only, and brings its tables up to
/// date.
pub(crate) fn open(folder: &Path, reserve: Option<(u64, u64)>) -> Result<Opened, ServerError> {
    let file = folder.join(FILE);
    let setup = Setup {
        private: true,
        overwrites: true,
        checkpoint: Checkpoint::Pages(LOG_PAGES),
        log_bytes: 1 << 20,
        reserve,
        ..Setup::new(file.clone(), "server-store")
    };
    let opened = setup.open(embedded::migrations::runner, &|_, _| Ok(()));
    opened.map_err(|error| ServerError::store(file, &error))
}

/// Makes a folder, where it is new readable by its owner only.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of version 1 as they were first; presence came later without a new number.
    const FIRST: &str = "
        CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
        CREATE TABLE sessions (
            session_id TEXT PRIMARY KEY, title TEXT, created_at TEXT, last_activity_at TEXT,
            epoch INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE agents (
            session_id TEXT NOT NULL, agent_id TEXT NOT NULL, spec TEXT NOT NULL, inline INTEGER NOT NULL,
            PRIMARY KEY (session_id, agent_id)
        ) STRICT;
        CREATE TABLE runs (
            run_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, plan TEXT NOT NULL, started INTEGER NOT NULL
        ) STRICT;
        INSERT INTO meta VALUES ('instance', 'threadkeep-1');
        INSERT INTO sessions VALUES ('s', 'Old', '2025-01-01T00:00:00Z', NULL, 3);
        PRAGMA user_version = 1;
    ";
    const PRESENCE: &str = "CREATE TABLE attended (session_id TEXT PRIMARY KEY) STRICT;";
    const SECOND: &str = "
        UPDATE sessions SET last_activity_at = created_at;
        CREATE INDEX sessions_by_activity ON sessions (last_activity_at, session_id) WHERE created_at IS NOT NULL;
        CREATE INDEX runs_by_session ON runs (session_id);
        CREATE TABLE forks (
            number INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, message_id TEXT
        ) STRICT;
        CREATE INDEX forks_by_source ON forks (source, number);
        PRAGMA user_version = 2;
    ";
    const TOKENS: &str = "
        CREATE TABLE tokens (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, sessions TEXT,
            hash BLOB NOT NULL, created_at TEXT NOT NULL
        ) STRICT;
        INSERT INTO tokens VALUES ('id', 'ann', 'chat', NULL, x'00', '2025-01-01T00:00:00Z');
    ";

    #[tokio::test]
    async fn a_database_of_every_earlier_version_keeps_what_it_has() {
        for (left, has_session, has_token) in [
            (vec![], false, false),
            (vec![TOKENS], false, true),
            (vec![FIRST], true, false),
            (vec![FIRST, PRESENCE], true, false),
            (vec![FIRST, TOKENS], true, true),
            (vec![FIRST, PRESENCE, SECOND], true, false),
            (vec![FIRST, PRESENCE, TOKENS, SECOND], true, true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let db = Connection::open(dir.path().join(FILE)).unwrap();
            db.execute_batch(&left.concat()).unwrap();
            drop(db);
            for run in 0..2 {
                let store = Store::open(dir.path(), None).unwrap();
                assert_eq!(store.is_new(), !has_session && run == 0);
                let sessions = store.sessions(None, None, 10).await.unwrap();
                assert_eq!(sessions.len(), usize::from(has_session));
                if has_session {
                    assert_eq!(sessions[0].last_activity_at, sessions[0].created_at);
                    assert_eq!(store.instance().await.unwrap(), "threadkeep-1");
                }
                store.instance().await.unwrap();
                let attend = |attended| Op::Attend { session_id: "s".to_owned(), attended };
                store.apply(vec![attend(true)]).await.unwrap();
                assert_eq!(store.sessions_to_open().await.unwrap(), ["s"]);
                store.apply(vec![attend(false)]).await.unwrap();
                let names = crate::tokens::KnownTokens::of(&store).names().await.unwrap();
                assert_eq!(names.len(), usize::from(has_token));
            }
        }
    }

    #[test]
    fn a_database_of_a_newer_version_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join(FILE)).unwrap();
        db.execute_batch("CREATE TABLE later (x); PRAGMA user_version = 99").unwrap();
        let refused = Store::open(dir.path(), None).map(drop);
        assert!(matches!(refused, Err(ServerError::StoreNewer(_))), "{refused:?}");
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }
}
