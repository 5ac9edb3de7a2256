//! The state that the agent of a run shares, read from the log beside the history ([`SharedState`]).
//!
//! Only rows of the agent itself count (L15). When the stream begins anew, the agent does too.

use std::sync::Arc;

use serde_json::Value;
use session_protocol::{
    Event, Role, SharedState,
    event::{ChunkEvent, Control, Operation},
};

use super::Wanted;

/// The state of one agent, as its run is told of it.
pub(super) struct AgentState {
    agent_id: Option<String>,
    /// The state that it begins with.
    first: Arc<Value>,
    shared: SharedState,
}

impl AgentState {
    /// The state of the agent whose run it is; where there is none, nobody's.
    pub(super) fn of(wanted: &Wanted) -> Self {
        let (agent_id, first) = match wanted {
            Wanted::Run(plan, first) => (Some(plan.agent_id.clone()), Arc::clone(first)),
            Wanted::Message(_) => (None, Arc::default()),
        };
        Self { agent_id, first, shared: SharedState::default() }
    }

    /// Bytes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.shared.size()
    }

    /// The state, when its agent has said one.
    pub(super) fn into_value(self) -> Option<Value> {
        self.shared.into_value()
    }

    /// Takes an item of the stream, in stream order.
    pub(super) fn take(&mut self, item: &[u8]) {
        if self.agent_id.is_none() {
            return;
        }
        let Ok(text) = std::str::from_utf8(item) else { return };
        // Nearly all items are something else, which need not be read for that.
        let may_end = ["\"delete\"", "\"reset\""].iter().any(|end| text.contains(end));
        if !text.contains("STATE_") && (self.shared.row().is_none() || !may_end) {
            return;
        }
        match session_protocol::decode(item) {
            Event::Control(Control::Reset) => self.shared = SharedState::default(),
            Event::Chunk(row) if row.operation == Operation::Delete => {
                self.shared.delete(row.message_id(), row.seq());
            }
            Event::Chunk(row) => self.row(&row),
            _ => {}
        }
    }

    fn row(&mut self, row: &ChunkEvent<'_>) {
        let fields = &row.fields;
        let is_own = fields.role == Some(Role::Assistant)
            && fields.actor_id.as_deref() == self.agent_id.as_deref();
        if let Some(chunk) = fields.chunk.as_deref().filter(|_| is_own) {
            self.shared.take(row.message_id(), row.seq(), chunk, &self.first);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{Cause, RunPlan};

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
        let mut state = AgentState::of(&Wanted::Run(plan, Arc::new(json!([]))));
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
        assert!(state(&items).unwrap().to_string().len() <= 512 << 10);
    }
}
