//! The state that an agent shares (AG-UI's `STATE_SNAPSHOT` and `STATE_DELTA`), as its rows in the log leave it.
//!
//! Rows count in the order of the stream, and each once: of one message, those count whose number is greater than that
//! of the last one taken. When the row that said something last is deleted, the agent begins anew. What does not fit
//! costs only itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authority::chunk_value;
use crate::patch::Patched;

/// Bytes that a state has at most. Patches may make twice as much of it before it is measured again.
const MOST: usize = 256 << 10;

/// The state of one agent; none until it says one.
#[derive(Clone, Default)]
pub struct SharedState {
    said: Option<Said>,
}

#[derive(Clone)]
struct Said {
    state: Patched,
    /// The row that said something last.
    message_id: String,
    seq: i64,
}

impl SharedState {
    /// Takes a chunk of the agent, in stream order. `first` is what a change changes that comes before any state.
    /// Returns whether the state is another one. Costs in proportion to the chunk, as [`Patched::apply`] does.
    pub fn take(&mut self, message_id: &str, seq: i64, chunk: &str, first: &Value) -> bool {
        let was_taken = |said: &Said| said.message_id == message_id && seq <= said.seq;
        // Nearly all chunks are something else, which need not be read for that.
        if !chunk.contains("STATE_") || self.said.as_ref().is_some_and(was_taken) {
            return false;
        }
        let Some(mut chunk) = chunk_value(chunk) else { return false };
        let mut field = |name: &str| chunk.get_mut(name).map(Value::take);
        let state = match field("type").as_ref().and_then(Value::as_str) {
            Some("STATE_SNAPSHOT") => {
                field("snapshot").map(Patched::new).filter(|state| state.size() <= MOST)
            }
            Some("STATE_DELTA") => field("delta").map(|patch| {
                let said = self.said.take().map(|said| said.state);
                let mut state = said.unwrap_or_else(|| Patched::new(first.clone()));
                state.apply(patch, MOST);
                state
            }),
            _ => None,
        };
        let taken = state.is_some();
        if let Some(state) = state {
            self.said = Some(Said { state, message_id: message_id.to_owned(), seq });
        }
        taken
    }

    /// Forgets the state when this row said something last. Returns whether it did.
    pub fn delete(&mut self, message_id: &str, seq: i64) -> bool {
        self.said.take_if(|said| said.message_id == message_id && said.seq == seq).is_some()
    }

    /// The state, when there is one.
    pub fn value(&self) -> Option<&Value> {
        self.said.as_ref().map(|said| said.state.value())
    }

    /// The state, out of it.
    pub fn into_value(self) -> Option<Value> {
        self.said.map(|said| said.state.into_value())
    }

    /// The row that said something last: its message, and its number in it.
    pub fn row(&self) -> Option<(&str, i64)> {
        self.said.as_ref().map(|said| (said.message_id.as_str(), said.seq))
    }

    /// Bytes that the state has as JSON, at most.
    pub fn size(&self) -> usize {
        self.said.as_ref().map_or(0, |said| said.state.size())
    }
}

impl fmt::Debug for SharedState {
    // L11: what an agent keeps is a person's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState").field("row", &self.row()).finish_non_exhaustive()
    }
}

/// A state as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SharedRow {
    message_id: String,
    seq: i64,
    state: Value,
}

impl SharedRow {
    /// The row of a state; `None` where there is no state.
    pub(super) fn of(shared: &SharedState) -> Option<Self> {
        let Said { state, message_id, seq } = shared.said.as_ref()?;
        Some(Self { message_id: message_id.clone(), seq: *seq, state: state.value().clone() })
    }
}

impl From<SharedRow> for SharedState {
    fn from(SharedRow { message_id, seq, state }: SharedRow) -> Self {
        Self { said: Some(Said { state: Patched::new(state), message_id, seq }) }
    }
}
