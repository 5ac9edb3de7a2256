//! The log of one message: the raw operations on its rows, and the rows they leave.
//!
//! The log is append-only: merging and deleting happen when it is read. That keeps a chunk in order
//! cheap, and lets the same entries be stored and replayed later with the same result (L3).

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::context::Shape;
use super::rows::Keys;
use super::short::Texts;
use crate::event::{ChunkFields, RunMark, split_key};
use crate::text::lenient_value;

/// The identity of a row inside its message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowId {
    /// `<messageId>:<seq>`, the usual key.
    Seq(i64),
    /// Any other key.
    Key(String),
    /// A row of an entity stream: `type/key`.
    Entity(String),
    /// A bare event: it has no key, its position is its own.
    Pos(u64),
}

impl RowId {
    /// The identity behind a chunk's key.
    pub(crate) fn of_chunk(key: &str, message_id: &str, seq: i64) -> Self {
        if split_key(key) == (message_id, Some(seq)) {
            Self::Seq(seq)
        } else {
            Self::Key(key.to_owned())
        }
    }
}

/// A row as it stands.
#[derive(Clone, Debug)]
pub(crate) struct LiveRow {
    /// The row's place in the message.
    pub(crate) seq: i64,
    /// Position of its first item.
    pub(crate) pos: u64,
    /// The row's merged value, JSON text.
    pub(crate) raw: Arc<str>,
    /// The run that the server begins with it.
    pub(crate) run: Option<Arc<RunMark>>,
}

/// A row as it comes.
#[derive(Clone, Copy)]
pub(crate) struct NewRow<'a> {
    pub(crate) seq: i64,
    pub(crate) pos: u64,
    pub(crate) raw: &'a str,
    pub(crate) run: Option<&'a RunMark>,
}

impl<'a> NewRow<'a> {
    /// A row that has no sequence number.
    pub(crate) fn at(pos: u64, raw: &'a str) -> Self {
        Self { seq: position_as_seq(pos), pos, raw, run: None }
    }

    fn live(&self) -> LiveRow {
        LiveRow {
            seq: self.seq,
            pos: self.pos,
            raw: Arc::from(self.raw),
            run: self.run.cloned().map(Arc::new),
        }
    }
}

/// The effect of an upsert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upsert {
    /// A row that was not there.
    New,
    /// A row changed.
    Changed,
    /// Nothing: the same value again.
    Same,
}

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A chunk row.
    Chunk,
    /// A chunk row that a run begins with.
    Begin,
    /// A chunk or entity row was deleted.
    Delete,
    /// A bare event.
    Bare,
    /// A row of an entity stream; its key is `type/key`.
    Entity,
}

impl EntryKind {
    /// The kind of a chunk row.
    pub(crate) fn of_chunk(run: Option<&RunMark>) -> Self {
        if run.is_some() { Self::Begin } else { Self::Chunk }
    }

    fn code(self) -> char {
        match self {
            Self::Chunk => 'c',
            Self::Begin => 'r',
            Self::Delete => 'd',
            Self::Bare => 'b',
            Self::Entity => 'e',
        }
    }
}

#[derive(Deserialize)]
struct Entry<'a>(
    u64,
    char,
    Option<String>,
    #[serde(borrow)] Option<&'a RawValue>,
    /// Entries of earlier versions have none.
    #[serde(default)]
    Option<RunMark>,
);

/// Writes one entry: `[position, kind, key, value]`, and behind them the mark of the run that begins. `out` is room to
/// write in.
pub(crate) fn entry(
    out: &mut String,
    pos: u64,
    kind: EntryKind,
    key: Option<&str>,
    raw: Option<&str>,
    run: Option<&RunMark>,
) -> Arc<str> {
    out.clear();
    out.push('[');
    out.push_str(itoa::Buffer::new().format(pos));
    out.push_str(",\"");
    out.push(kind.code());
    out.push_str("\",");
    match key {
        Some(key) if key.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') => {
            out.push('"');
            out.push_str(key);
            out.push('"');
        }
        Some(key) => match serde_json::to_string(key) {
            Ok(key) => out.push_str(&key),
            Err(_) => out.push_str("null"),
        },
        None => out.push_str("null"),
    }
    out.push(',');
    out.push_str(raw.unwrap_or("null"));
    if let Some(mark) = run.and_then(|run| serde_json::to_string(run).ok()) {
        out.push(',');
        out.push_str(&mark);
    }
    out.push(']');
    Arc::from(out.as_str())
}

/// The log of one message. Its rows are not stored with it.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct RowLog {
    /// Entries since the last release.
    #[serde(skip)]
    entries: Vec<Arc<str>>,
    /// Whether earlier entries are only with the loader.
    released: bool,
    /// The rows, once somebody had to look.
    #[serde(skip)]
    index: Option<HashMap<RowId, LiveRow>>,
    /// Whether the index must survive a release.
    keep_index: bool,
    /// Which rows there are, where texts are not kept.
    pub(super) keys: Keys,
    /// Whether the rows are not kept: none can be folded again.
    pub(super) is_bare: bool,
}

impl RowLog {
    /// A log that is stored elsewhere.
    pub(crate) fn stored() -> Self {
        Self { released: true, ..Self::default() }
    }

    /// A log that keeps no rows.
    pub(crate) fn bare() -> Self {
        Self { is_bare: true, ..Self::default() }
    }

    /// Comes back without its rows, which are elsewhere, or nowhere where texts are not kept.
    pub(crate) fn come_back(&mut self, texts: Texts) {
        self.released = texts == Texts::Kept;
        self.is_bare = texts == Texts::Dropped;
    }

    /// Drops the rows for good.
    pub(crate) fn give_up(&mut self) {
        (self.entries, self.index) = (Vec::new(), None);
        self.is_bare = true;
    }

    /// Appends an entry whose row is known to be new.
    pub(crate) fn push(&mut self, entry: Arc<str>, id: RowId, row: NewRow<'_>) {
        if let Some(index) = &mut self.index {
            index.insert(id, row.live());
        }
        self.entries.push(entry);
    }

    /// Appends an entry after the index was changed.
    pub(crate) fn push_indexed(&mut self, entry: Arc<str>) {
        self.entries.push(entry);
    }

    /// Drops the entries; the loader knows them.
    pub(crate) fn release(&mut self) {
        self.entries = Vec::new();
        self.released = true;
        if !self.keep_index {
            self.index = None;
        }
    }

    /// Keeps the index over releases: for rows that are updated by key as a rule.
    pub(crate) fn keep_index(&mut self) {
        self.keep_index = true;
    }

    /// Whether the index can be used.
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// Whether the loader is needed to build the index.
    pub(crate) fn needs_stored(&self) -> bool {
        self.released
    }

    /// Builds the index from stored entries and those in memory. Entries before `floor` belong to a
    /// message of the same name that is gone. Returns the position of the message's first item.
    pub(crate) fn build_index(
        &mut self,
        stored: &[String],
        message_id: &str,
        floor: u64,
    ) -> Option<u64> {
        let mut index = HashMap::new();
        let mut first = None;
        let all = stored.iter().map(String::as_str).chain(self.entries.iter().map(AsRef::as_ref));
        for raw in all {
            if let Some(pos) = replay(&mut index, raw, message_id, floor) {
                first.get_or_insert(pos);
            }
        }
        self.index = Some(index);
        first
    }

    fn rows(&mut self) -> &mut HashMap<RowId, LiveRow> {
        self.index.get_or_insert_default()
    }

    /// Merges a value into a row.
    pub(crate) fn upsert(&mut self, id: RowId, row: NewRow<'_>) -> Upsert {
        merge(self.rows(), id, row)
    }

    /// A row.
    pub(crate) fn row(&self, id: &RowId) -> Option<&LiveRow> {
        self.index.as_ref()?.get(id)
    }

    /// Deletes a row; false when it was not there.
    pub(crate) fn delete(&mut self, id: &RowId) -> bool {
        self.rows().remove(id).is_some()
    }

    /// The identity of a chunk row, given the rows there are.
    pub(crate) fn chunk_id(&mut self, key: &str, message_id: &str, seq: Option<i64>) -> RowId {
        chunk_id(self.rows(), key, message_id, seq)
    }

    /// The shape of the rows.
    pub(crate) fn shape(&self) -> Shape {
        match self.index.as_ref().and_then(|rows| rows.keys().next()) {
            Some(RowId::Entity(_)) => Shape::Entity,
            Some(RowId::Pos(_)) => Shape::Bare,
            Some(RowId::Seq(_) | RowId::Key(_)) | None => Shape::Rows,
        }
    }

    /// Whether no row is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.as_ref().is_some_and(HashMap::is_empty)
    }

    /// The rows in their order.
    pub(crate) fn sorted(&self) -> Vec<(RowId, LiveRow)> {
        let mut rows: Vec<_> =
            self.index.iter().flatten().map(|(id, row)| (id.clone(), row.clone())).collect();
        rows.sort_by_key(|(_, row)| (row.seq, row.pos));
        rows
    }
}

fn merge(rows: &mut HashMap<RowId, LiveRow>, id: RowId, new: NewRow<'_>) -> Upsert {
    let Some(row) = rows.get_mut(&id) else {
        rows.insert(id, new.live());
        return Upsert::New;
    };
    let raw = new.raw;
    if row.raw.as_ref() == raw {
        return Upsert::Same;
    }
    let (Some(Value::Object(mut merged)), Some(Value::Object(new))) =
        (lenient_value(&row.raw), lenient_value(raw))
    else {
        return Upsert::Same;
    };
    if !merge_into(&mut merged, new) {
        return Upsert::Same;
    }
    if matches!(id, RowId::Key(_)) {
        row.seq = merged.get("seq").and_then(Value::as_i64).unwrap_or(row.seq);
    }
    row.raw = Arc::from(Value::Object(merged).to_string());
    Upsert::Changed
}

/// Shallow merge, as every upstream reader shows updates; false when nothing changed.
pub(crate) fn merge_into(old: &mut Map<String, Value>, new: Map<String, Value>) -> bool {
    let mut changed = false;
    for (name, value) in new {
        if old.get(&name) != Some(&value) {
            old.insert(name, value);
            changed = true;
        }
    }
    changed
}

/// Replays one entry; its position, when it counts.
fn replay(
    rows: &mut HashMap<RowId, LiveRow>,
    raw: &str,
    message_id: &str,
    floor: u64,
) -> Option<u64> {
    let Entry(pos, kind, key, value, run) = serde_json::from_str::<Entry<'_>>(raw).ok()?;
    if pos < floor {
        return None;
    }
    let value = value.map(RawValue::get);
    match (kind, key) {
        ('c' | 'r', Some(key)) => {
            let raw = value?;
            let seq = ChunkFields::parse(raw).and_then(|f| f.seq).or(split_key(&key).1);
            let id = chunk_id(rows, &key, message_id, seq);
            let seq = seq.unwrap_or(0);
            let run = run.or_else(|| (kind == 'r').then(RunMark::default));
            merge(rows, id, NewRow { seq, pos, raw, run: run.as_ref() });
        }
        ('d', Some(key)) => {
            let seq = split_key(&key).1;
            let id = chunk_id(rows, &key, message_id, seq);
            if rows.remove(&id).is_none() {
                rows.remove(&RowId::Entity(key));
            }
        }
        ('e', Some(key)) => {
            if let Some(raw) = value {
                merge(rows, RowId::Entity(key), NewRow::at(pos, raw));
            }
        }
        ('b', _) => {
            if let Some(raw) = value {
                merge(rows, RowId::Pos(pos), NewRow::at(pos, raw));
            }
        }
        _ => {}
    }
    Some(pos)
}

fn chunk_id(
    rows: &HashMap<RowId, LiveRow>,
    key: &str,
    message_id: &str,
    seq: Option<i64>,
) -> RowId {
    let odd = RowId::Key(key.to_owned());
    if rows.contains_key(&odd) {
        return odd;
    }
    RowId::of_chunk(key, message_id, seq.unwrap_or(0))
}

/// Positions are the order of rows that have no sequence number.
pub(crate) fn position_as_seq(pos: u64) -> i64 {
    i64::try_from(pos).unwrap_or(i64::MAX)
}

/// The merged value of an entity row.
pub(crate) fn object(raw: &str) -> Option<Map<String, Value>> {
    match lenient_value(raw) {
        Some(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// Splits an entity row's `type/key`.
pub(crate) fn split_entity(key: &str) -> Option<(&str, &str)> {
    key.split_once('/')
}

/// The key of an entity row's entry.
pub(crate) fn entity_key(type_: &str, key: &str) -> String {
    format!("{type_}/{key}")
}
