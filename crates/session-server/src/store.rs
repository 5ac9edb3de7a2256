//! The server's own database: what must survive a restart and must not be in a stream.
//!
//! Agents' headers and bodies, which runs were planned or under way, the writer's epoch per session, and the list of
//! sessions. Losing it loses the secrets of webhook agents and nothing of any session.

use std::{
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, ffi, params};
use serde::Serialize;
use session_protocol::AgentSpec;

use crate::{
    config::Secret,
    error::ServerError,
    seal::{self, Seal},
    turns::RunPlan,
};

/// The database failed. The text is SQLite's and never holds values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("no space is left")]
    Full,
    #[error("{0}")]
    Failed(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The shared index of the log says in its own way that it cannot grow.
        let code = error.sqlite_error().map(|error| error.extended_code);
        if matches!(code, Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE)) {
            Self::Full
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// A session in the list.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionRow {
    pub(crate) session_id: String,
    pub(crate) title: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) last_activity_at: Option<String>,
}

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
    ForgetSession {
        session_id: String,
    },
}

// L11: agents hold secrets.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Op(…)")
    }
}

const FILE: &str = "server.sqlite";
const VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS sessions (
        session_id TEXT PRIMARY KEY, title TEXT, created_at TEXT, last_activity_at TEXT,
        epoch INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE IF NOT EXISTS agents (
        session_id TEXT NOT NULL, agent_id TEXT NOT NULL, spec TEXT NOT NULL, inline INTEGER NOT NULL,
        PRIMARY KEY (session_id, agent_id)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS runs (
        run_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, plan TEXT NOT NULL, started INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS attended (session_id TEXT PRIMARY KEY) STRICT;
    PRAGMA user_version = 1;
";

/// A handle on the database. Calls run on the blocking pool; the lock is never held across an await.
#[derive(Clone)]
pub(crate) struct Store {
    connection: Arc<Mutex<Connection>>,
    seal: Seal,
    is_new: bool,
}

impl Store {
    /// Opens or makes the database in `folder`, readable by its owner only. Agents are sealed with `key`, else with the
    /// folder's own.
    pub(crate) fn open(folder: &Path, key: Option<&Secret>) -> Result<Self, ServerError> {
        let mut connection = connect(folder)?;
        let failed = |source| ServerError::store(folder.join(FILE), &source);
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if version != VERSION {
            // A write, and there may be no room for one.
            connection.execute_batch(SCHEMA).map_err(failed)?;
        }
        let seal = seal::prepare(folder, key, &mut connection)?;
        let is_new = version == 0;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), seal, is_new })
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        tokio::task::spawn_blocking(move || {
            // A panic while the lock was held rolled its transaction back: the connection is sound.
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .map_err(|_| StoreError::Failed("the database task ended".to_owned()))?
        .map_err(StoreError::from)
    }

    /// The name under which this server writes to streams, made once.
    pub(crate) async fn instance(&self) -> Result<String, StoreError> {
        self.call(|db| {
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

    /// The database was made when it was opened.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Applies changes in one transaction.
    pub(crate) async fn apply(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        if ops.is_empty() {
            return Ok(());
        }
        let seal = self.seal.clone();
        self.call(move |db| {
            let tx = db.transaction()?;
            for op in &ops {
                apply(&tx, op, &seal)?;
            }
            tx.commit()
        })
        .await
    }

    /// Takes over the writing of a session: each call gives a higher epoch.
    pub(crate) async fn next_epoch(&self, session_id: &str) -> Result<u64, StoreError> {
        let id = session_id.to_owned();
        self.call(move |db| {
            db.query_row(
                "INSERT INTO sessions (session_id, epoch) VALUES (?1, 1)
                 ON CONFLICT (session_id) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                [id],
                |row| row.get::<_, i64>(0),
            )
        })
        .await
        .map(i64::unsigned_abs)
    }

    /// Sessions, newest activity first. Rows without a creation time are only epochs.
    pub(crate) async fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        self.call(|db| {
            let mut query = db.prepare(
                "SELECT session_id, title, created_at, last_activity_at FROM sessions
                 WHERE created_at IS NOT NULL ORDER BY last_activity_at DESC, session_id",
            )?;
            let rows = query.query_map([], |row| {
                Ok(SessionRow {
                    session_id: row.get(0)?,
                    title: row.get(1)?,
                    created_at: row.get(2)?,
                    last_activity_at: row.get(3)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// How many sessions there are.
    pub(crate) async fn count_sessions(&self) -> Result<i64, StoreError> {
        self.call(|db| {
            let count = "SELECT count(*) FROM sessions WHERE created_at IS NOT NULL";
            db.query_row(count, [], |row| row.get(0))
        })
        .await
    }

    /// Writes something, to see whether it can be done.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        self.call(|db| {
            let now = crate::event::now();
            db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?1)", [now]).map(drop)
        })
        .await
    }

    /// Sessions that need their task at once: with a run that did not end, or somebody to be missed.
    pub(crate) async fn sessions_to_open(&self) -> Result<Vec<String>, StoreError> {
        self.call(|db| {
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
            .call(move |db| {
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
            .call(move |db| {
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
        self.call(move |db| db.prepare_cached(listed)?.exists([id])).await
    }

    /// The title of a session.
    pub(crate) async fn title(&self, session_id: &str) -> Result<Option<String>, StoreError> {
        let id = session_id.to_owned();
        self.call(move |db| {
            db.query_row("SELECT title FROM sessions WHERE session_id = ?1", [id], |row| row.get(0))
                .optional()
        })
        .await
        .map(Option::flatten)
    }
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
        ),
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
        Op::ForgetSession { session_id } => {
            // The epoch stays: a session made again under the same id must not reuse stamps.
            db.execute("DELETE FROM agents WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM runs WHERE session_id = ?1", [session_id])?;
            db.execute("DELETE FROM attended WHERE session_id = ?1", [session_id])?;
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

/// Opens the database in `folder`, readable by its owner only.
pub(crate) fn connect(folder: &Path) -> Result<Connection, ServerError> {
    let path = folder.join(FILE);
    owner_only(&path).map_err(|source| ServerError::DataDir { path: path.clone(), source })?;
    let open = |path: &Path| -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        Ok(connection)
    };
    open(&path).map_err(|source| ServerError::store(path, &source))
}

/// Makes a folder, where it is new readable by its owner only.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the file, or tightens an existing one, to mode 0600 before any secret is in it.
pub(crate) fn owner_only(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(0o600).open(path)?.set_permissions(fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    options.open(path).map(drop)
}
