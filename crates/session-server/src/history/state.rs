//! The state that an agent shares (AG-UI's `STATE_SNAPSHOT` and `STATE_DELTA`), as its rows in the log leave it.
//!
//! Only rows of the agent itself count (L15), in the order of the stream. A row that is written twice counts once: a
//! message's rows count in the order of their numbers. When the row that said something last is deleted, or the stream
//! begins anew, the agent begins anew. What does not fit costs only itself.

use std::sync::Arc;

use serde_json::Value;
use session_protocol::{
    Event, Role,
    authority::chunk_value,
    event::{ChunkEvent, Control, Operation},
    patch::Patched,
};

use super::Wanted;

/// Bytes that a state has at most. Patches may make twice as much of it before it is measured again.
const MOST: usize = 256 << 10;

/// The state of one agent.
pub(super) struct SharedState {
    agent_id: Option<String>,
    /// What it begins with.
    first: Arc<Value>,
    said: Option<Said>,
}

struct Said {
    state: Patched,
    /// The row that said something last.
    message_id: String,
    seq: i64,
}

impl SharedState {
    /// The state of the agent whose run it is; where there is none, nobody's.
    pub(super) fn of(wanted: &Wanted) -> Self {
        let (agent_id, first) = match wanted {
            Wanted::Run(plan, first) => (Some(plan.agent_id.clone()), Arc::clone(first)),
            Wanted::Message(_) => (None, Arc::default()),
        };
        Self { agent_id, first, said: None }
    }

    /// Bytes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.said.as_ref().map_or(0, |said| said.state.size())
    }

    /// The state, when its agent has said one.
    pub(super) fn into_value(self) -> Option<Value> {
        self.said.map(|said| said.state.into_value())
    }

    /// Takes an item of the stream, in stream order.
    pub(super) fn take(&mut self, item: &[u8]) {
        if self.agent_id.is_none() {
            return;
        }
        let Ok(text) = std::str::from_utf8(item) else { return };
        // Nearly all items are something else, which need not be read for that.
        let may_end = ["\"delete\"", "\"reset\""].iter().any(|end| text.contains(end));
        if !text.contains("STATE_") && (self.said.is_none() || !may_end) {
            return;
        }
        match session_protocol::decode(item) {
            Event::Control(Control::Reset) => self.said = None,
            Event::Chunk(row) if row.operation == Operation::Delete => {
                let (message_id, seq) = (row.message_id(), row.seq());
                self.said.take_if(|said| said.message_id == message_id && said.seq == seq);
            }
            Event::Chunk(row) => self.row(&row),
            _ => {}
        }
    }

    fn row(&mut self, row: &ChunkEvent<'_>) {
        let fields = &row.fields;
        let is_own = fields.role == Some(Role::Assistant)
            && fields.actor_id.as_deref() == self.agent_id.as_deref();
        let (message_id, seq) = (row.message_id(), row.seq());
        let was_taken = |said: &Said| said.message_id == message_id && seq <= said.seq;
        if !is_own || self.said.as_ref().is_some_and(was_taken) {
            return;
        }
        let Some(mut chunk) = fields.chunk.as_deref().and_then(chunk_value) else { return };
        let mut take = |name: &str| chunk.get_mut(name).map(Value::take);
        let state = match take("type").as_ref().and_then(Value::as_str) {
            Some("STATE_SNAPSHOT") => {
                take("snapshot").map(Patched::new).filter(|state| state.size() <= MOST)
            }
            Some("STATE_DELTA") => take("delta").map(|patch| {
                let first = || Patched::new(Value::clone(&self.first));
                let mut state = self.said.take().map_or_else(first, |said| said.state);
                state.apply(patch, MOST);
                state
            }),
            _ => None,
        };
        if let Some(state) = state {
            self.said = Some(Said { state, message_id: message_id.to_owned(), seq });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::turns::{Cause, RunPlan};

    fn row(message: &str, seq: i64, chunk: &Value) -> Value {
        json!({"type": "chunk", "key": format!("{message}:{seq}"), "headers": {"operation": "upsert"},
            "value": {"messageId": message, "actorId": "a", "role": "assistant", "seq": seq,
                      "chunk": chunk.to_string()}})
    }

    fn push(message: &str, seq: i64) -> Value {
        let patch = json!([{"op": "add", "path": "/-", "value": format!("{message}{seq}")}]);
        row(message, seq, &json!({"type": "STATE_DELTA", "delta": patch}))
    }

    fn state(items: &[Value]) -> Option<Value> {
        let cause = Cause::Message { id: "q".to_owned() };
        let plan = Arc::new(RunPlan::new("a", cause, None));
        let mut state = SharedState::of(&Wanted::Run(plan, Arc::new(json!([]))));
        items.iter().for_each(|item| state.take(item.to_string().as_bytes()));
        state.into_value()
    }

    #[test]
    fn a_row_counts_once_and_goes_with_its_message() {
        let all = [push("m", 1), push("m", 2), push("n", 0)];
        assert_eq!(state(&all), Some(json!(["m1", "m2", "n0"])));
        let twice = [&all[..1], &all[..2], &all[1..], &all[2..]].concat();
        assert_eq!(state(&twice), state(&all));
        let gone =
            |key: &str| json!({"type": "chunk", "key": key, "headers": {"operation": "delete"}});
        let with = |item: Value| [&all[..], &[item]].concat();
        assert_eq!(state(&with(gone("m:1"))), state(&all));
        assert_eq!(state(&with(gone("n:0"))), None);
        let reset = json!({"headers": {"control": "reset"}});
        assert_eq!(state(&with(reset.clone())), None);
        let again = [&all[..], &[reset, push("m", 1)]].concat();
        assert_eq!(state(&again), Some(json!(["m1"])));
    }

    #[test]
    fn only_rows_of_the_agent_count_whatever_they_hold() {
        let forged = json!({"type": "STATE_SNAPSHOT", "snapshot": ["forged"]});
        let own = push("m", 1);
        for (field, value) in [
            ("actorId", json!("b")),
            ("actorId", Value::Null),
            ("role", json!("user")),
            ("role", Value::Null),
        ] {
            let mut item = row("m", 2, &forged);
            item["value"][field] = value;
            assert_eq!(state(&[own.clone(), item]), state(std::slice::from_ref(&own)));
        }
        for odd in [
            json!({"type": "STATE_SNAPSHOT"}),
            json!({"type": "STATE_DELTA"}),
            json!({"name": "STATE_"}),
            json!(["STATE_DELTA"]),
        ] {
            assert_eq!(state(&[own.clone(), row("m", 2, &odd)]), state(std::slice::from_ref(&own)));
        }
    }

    #[test]
    fn a_state_has_a_bound_however_often_it_is_changed() {
        let long = "x".repeat(40 << 10);
        let add = |seq: i64| {
            let patch = json!([{"op": "add", "path": format!("/{seq}"), "value": long}]);
            row("m", seq, &json!({"type": "STATE_DELTA", "delta": patch}))
        };
        let mut items = vec![row("m", 0, &json!({"type": "STATE_SNAPSHOT", "snapshot": {}}))];
        items.extend((1..100).map(add));
        assert!(state(&items).unwrap().to_string().len() <= 2 * MOST);
    }
}
