//! State of a fold that must be kept beside its messages.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A small collection of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Collection {
    /// One row: counters and settings of the session.
    Meta,
    /// Requests for approval, by message and approval id.
    Requests,
    /// Answers and results that wait for, or were given to, a call; by row key.
    Signals,
    /// Which message holds which call; by message and call id.
    Calls,
    /// Incomplete messages.
    Active,
    /// Presence rows.
    Presence,
    /// Agents.
    Agents,
    /// Rows of entity streams.
    Entities,
    /// States that agents share, by agent.
    Shared,
}

impl Collection {
    /// All collections.
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::Requests,
        Self::Signals,
        Self::Calls,
        Self::Active,
        Self::Presence,
        Self::Agents,
        Self::Entities,
        Self::Shared,
    ];

    /// A short stable name, for a column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Requests => "requests",
            Self::Signals => "signals",
            Self::Calls => "calls",
            Self::Active => "active",
            Self::Presence => "presence",
            Self::Agents => "agents",
            Self::Entities => "entities",
            Self::Shared => "shared",
        }
    }

    /// The collection of that [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

/// One row of a small collection that changed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRow {
    /// The collection.
    pub collection: Collection,
    /// The row's key, unique in the collection.
    pub key: String,
    /// The row's JSON, `None` when the row is gone.
    pub json: Option<String>,
    /// Whether the session cannot be shown without it. Calls, answers and requests that are settled,
    /// of which there may be very many, are read when the fold goes on.
    #[serde(default)]
    pub standing: bool,
}

impl fmt::Debug for StateRow {
    // L11: rows hold names, titles and tool results.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateRow({}, {})", self.collection.name(), self.key)
    }
}

/// Everything a fold needs to go on, except its messages: the rows of its small collections.
///
/// It can be kept whole ([`super::SessionFold::state`]) or row by row ([`super::ChangeSet::rows`]).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldState {
    rows: BTreeMap<Collection, BTreeMap<String, String>>,
}

impl FoldState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Upserts or deletes one row.
    pub fn put(&mut self, row: StateRow) {
        let rows = self.rows.entry(row.collection).or_default();
        match row.json {
            Some(json) => {
                rows.insert(row.key, json);
            }
            None => {
                rows.remove(&row.key);
            }
        }
        if rows.is_empty() {
            self.rows.remove(&row.collection);
        }
    }

    /// Deletes all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// The rows of a collection: key and JSON.
    pub fn rows(&self, collection: Collection) -> impl Iterator<Item = (&str, &str)> {
        self.rows
            .get(&collection)
            .into_iter()
            .flatten()
            .map(|(key, json)| (key.as_str(), json.as_str()))
    }
}

impl FromIterator<StateRow> for FoldState {
    fn from_iter<T: IntoIterator<Item = StateRow>>(rows: T) -> Self {
        let mut state = Self::new();
        for row in rows {
            state.put(row);
        }
        state
    }
}

impl fmt::Debug for FoldState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (collection, rows) in &self.rows {
            map.entry(&collection.name(), &rows.len());
        }
        map.finish()
    }
}
