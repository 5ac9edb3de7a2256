//! The database's tables of tools: rules, switches, and calls that were begun.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sqlite_line::{Line, Room, Terms};

use crate::{
    event,
    store::{Store, StoreError},
};

/// The consequence when a model calls a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A person is asked each time.
    Ask,
    /// A person is asked, because the tool is not any more what was allowed.
    Changed,
    /// The tool is called.
    Allow,
    /// The model is not told of it.
    Never,
}

impl Decision {
    /// The word of a rule; `None` for what is none.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        match word {
            "ask" => Some(Self::Ask),
            "allow" => Some(Self::Allow),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ask | Self::Changed => "ask",
            Self::Allow => "allow",
            Self::Never => "never",
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRule {
    pub(crate) id: i64,
    pub(crate) server: String,
    pub(crate) tool: String,
    /// The only session it is for; `None` is all.
    pub(crate) session_id: Option<String>,
    pub(crate) decision: Decision,
    /// Of the tool that it was made for.
    pub(crate) digest: String,
    pub(crate) set_by: String,
    pub(crate) set_at: String,
}

/// The data that a call is made again with when people have answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wants {
    /// The server's own, unread.
    pub(super) state: Option<String>,
    /// The questions of the run, and what the server calls each.
    pub(super) asks: Vec<(String, String)>,
}

/// The tables.
#[derive(Clone)]
pub(crate) struct Table(Line);

impl Table {
    pub(super) fn of(store: &Store) -> Self {
        Self(store.line().clone())
    }

    async fn write(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<usize> + Send + 'static,
    ) -> Result<usize, StoreError> {
        let terms = Terms { room: Room::Takes, ..Terms::default() };
        Ok(self.0.write(terms, move |tx, (): &mut ()| work(tx)).await?)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Ok(self.0.read_soon(work).await?)
    }

    /// The rules that hold in a session.
    pub(super) async fn rules_of(&self, session_id: &str) -> Result<Vec<StoredRule>, StoreError> {
        let id = session_id.to_owned();
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!("{RULES} WHERE session_id IN ('', ?1)"))?;
            query.query_map([id], rule)?.collect()
        })
        .await
    }

    /// All rules, the oldest first.
    pub(crate) async fn all_rules(&self) -> Result<Vec<StoredRule>, StoreError> {
        self.read(|db| {
            db.prepare(&format!("{RULES} ORDER BY id LIMIT 10000"))?.query_map([], rule)?.collect()
        })
        .await
    }

    /// Makes a rule, in place of an earlier one about the same.
    pub(crate) async fn set_rule(&self, new: StoredRule) -> Result<(), StoreError> {
        self.write(move |db| {
            let session = new.session_id.as_deref().unwrap_or_default();
            db.execute(
                "INSERT OR REPLACE INTO tool_rules (server, tool, session_id, rule, digest, set_by, set_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![new.server, new.tool, session, new.decision.word(), new.digest, new.set_by, new.set_at],
            )
        })
        .await
        .map(drop)
    }

    /// Removes a rule; whether there was one.
    pub(crate) async fn drop_rule(&self, id: i64) -> Result<bool, StoreError> {
        let gone = self.write(move |db| db.execute("DELETE FROM tool_rules WHERE id = ?1", [id]));
        Ok(gone.await? > 0)
    }

    /// The servers that were switched on or off in a session.
    pub(super) async fn switched(
        &self,
        session_id: &str,
    ) -> Result<HashMap<String, bool>, StoreError> {
        let id = session_id.to_owned();
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT server, is_on FROM tool_servers WHERE session_id = ?1")?;
            query.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await
    }

    /// Switches a server on or off in a session.
    pub(crate) async fn switch(
        &self,
        session_id: &str,
        server: &str,
        is_on: bool,
    ) -> Result<(), StoreError> {
        let (session_id, server) = (session_id.to_owned(), server.to_owned());
        self.write(move |db| {
            db.execute(
                "INSERT OR REPLACE INTO tool_servers (session_id, server, is_on) VALUES (?1, ?2, ?3)",
                params![session_id, server, is_on],
            )
        })
        .await
        .map(drop)
    }

    /// Notes a call that is about to be made.
    pub(super) async fn begin(
        &self,
        session_id: &str,
        call_id: &str,
        server: &str,
        tool: &str,
    ) -> Result<(), StoreError> {
        let names = [session_id, call_id, server, tool].map(str::to_owned);
        self.write(move |db| {
            db.execute(
                "INSERT OR REPLACE INTO tool_calls (session_id, call_id, server, tool) VALUES (?1, ?2, ?3, ?4)",
                params![names[0], names[1], names[2], names[3]],
            )
        })
        .await
        .map(drop)
    }

    /// Keeps what a call that asks is made again with; `None` when it is made again.
    pub(super) async fn wants(
        &self,
        session_id: &str,
        call_id: &str,
        wants: Option<Wants>,
    ) -> Result<(), StoreError> {
        let (session_id, call_id) = (session_id.to_owned(), call_id.to_owned());
        let wants = wants.map(|wants| serde_json::json!(wants).to_string());
        self.write(move |db| {
            db.execute(
                "UPDATE tool_calls SET wants = ?3 WHERE session_id = ?1 AND call_id = ?2",
                params![session_id, call_id, wants],
            )
        })
        .await
        .map(drop)
    }

    /// The knowledge of a call that was begun: what it wants, where it asked people something.
    pub(super) async fn begun(
        &self,
        session_id: &str,
        call_id: &str,
    ) -> Result<Option<Option<Wants>>, StoreError> {
        let key = [session_id.to_owned(), call_id.to_owned()];
        let wants: Option<Option<String>> = self
            .read(move |db| {
                let known = "SELECT wants FROM tool_calls WHERE session_id = ?1 AND call_id = ?2";
                db.prepare_cached(known)?.query_row(key, |row| row.get(0)).optional()
            })
            .await?;
        Ok(wants.map(|wants| wants.and_then(|text| serde_json::from_str(&text).ok())))
    }

    /// The calls of a session that were begun.
    pub(crate) async fn all_begun(&self, session_id: &str) -> Result<Vec<String>, StoreError> {
        let id = session_id.to_owned();
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT call_id FROM tool_calls WHERE session_id = ?1")?;
            query.query_map([id], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Forgets calls whose results are in the log.
    pub(crate) async fn forget(
        &self,
        session_id: &str,
        calls: Vec<String>,
    ) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        let id = session_id.to_owned();
        self.write(move |db| {
            let mut forget =
                db.prepare_cached("DELETE FROM tool_calls WHERE session_id = ?1 AND call_id = ?2")?;
            calls.iter().map(|call| forget.execute([&id, call])).sum()
        })
        .await
        .map(drop)
    }
}

const RULES: &str =
    "SELECT id, server, tool, session_id, rule, digest, set_by, set_at FROM tool_rules";

fn rule(row: &Row<'_>) -> rusqlite::Result<StoredRule> {
    let session: String = row.get(3)?;
    let word: String = row.get(4)?;
    Ok(StoredRule {
        id: row.get(0)?,
        server: row.get(1)?,
        tool: row.get(2)?,
        session_id: Some(session).filter(|session| !session.is_empty()),
        // What is not understood allows nothing.
        decision: Decision::of_word(&word).unwrap_or(Decision::Ask),
        digest: row.get(5)?,
        set_by: row.get(6)?,
        set_at: row.get(7)?,
    })
}

impl StoredRule {
    /// A rule that is made now.
    pub(crate) fn new(
        server: &str,
        tool: &str,
        session_id: Option<&str>,
        decision: Decision,
        digest: String,
        set_by: &str,
    ) -> Self {
        Self {
            id: 0,
            server: server.to_owned(),
            tool: tool.to_owned(),
            session_id: session_id.map(str::to_owned),
            decision,
            digest,
            set_by: set_by.to_owned(),
            set_at: event::now(),
        }
    }

    /// The rule in words.
    pub(crate) fn words(&self) -> String {
        let Self { server, tool, set_by, .. } = self;
        let place = match &self.session_id {
            Some(_) => "in this session",
            None => "in every session",
        };
        match self.decision {
            Decision::Allow => format!(
                "{set_by} allowed {tool} of {server} {place} without being asked, as long as the tool stays as it was."
            ),
            Decision::Never => {
                format!("{set_by} said that {tool} of {server} is never called {place}.")
            }
            Decision::Ask | Decision::Changed => {
                format!(
                    "{set_by} wants to be asked each time before {tool} of {server} is called {place}."
                )
            }
        }
    }
}
