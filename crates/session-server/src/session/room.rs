//! What belongs to the session rather than to a turn: agents, title, clearing, chunks from outside.

use serde_json::{Value, json};
use session_protocol::AgentSpec;

use super::Session;
use crate::{
    event::{self, Role, Row},
    problem::Problem,
    store::Op,
    turns,
};

/// A chunk that a program outside writes as an agent.
pub(crate) struct RawChunk {
    pub(crate) message_id: String,
    pub(crate) actor_id: String,
    pub(crate) role: Role,
    pub(crate) chunk: Value,
    pub(crate) txid: Option<String>,
}

impl Session {
    /// Registers agents; the same id replaces. Only public fields reach the stream.
    pub(crate) fn register(&mut self, specs: Vec<AgentSpec>) {
        for spec in specs {
            let public = turns::public_fields(&spec);
            let known = self.ledger.agent(&spec.id);
            // Readers merge: an old name would stay unless the row is deleted first.
            let stale = known.is_some_and(|old| old.get("name").is_some() && spec.name.is_none());
            if stale {
                self.push(event::delete("agent", &spec.id));
            }
            if self.ledger.agent(&spec.id).is_none_or(|old| !holds(old, &public)) {
                self.push(event::upsert("agent", &spec.id, &public));
            }
            let session_id = self.id.clone();
            self.batch.before.push(Op::PutAgent { session_id, spec: spec.clone(), inline: false });
            self.specs.insert(spec.id.clone(), spec);
        }
    }

    /// Keeps an agent that a message brings along: it answers here and is not registered.
    pub(super) fn keep_inline(&mut self, spec: AgentSpec) {
        let session_id = self.id.clone();
        self.batch.before.push(Op::PutAgent { session_id, spec: spec.clone(), inline: true });
        self.specs.insert(spec.id.clone(), spec);
    }

    /// Takes an agent off the session. Unknown ones are no error.
    pub(crate) fn unregister(&mut self, agent_id: &str) {
        if self.ledger.agent(agent_id).is_some() {
            self.push(event::delete("agent", agent_id));
        }
        self.specs.remove(agent_id);
        let (session_id, agent_id) = (self.id.clone(), agent_id.to_owned());
        self.batch.after.push(Op::DropAgent { session_id, agent_id });
    }

    /// Gives the session a title.
    pub(crate) fn rename(&mut self, title: &str, actor_id: &str, txid: Option<&str>) {
        self.push_signal(&json!({"type": "config", "title": title}), actor_id, txid);
        let (session_id, title) = (self.id.clone(), title.to_owned());
        self.batch.after.push(Op::Title { session_id, title });
        self.touch();
    }

    /// Clears the conversation by deleting every row. A `reset` event would break upstream's readers.
    pub(crate) fn clear(&mut self, presence: bool, actor_id: &str) {
        self.stop_all(actor_id);
        let rows: Vec<(String, u64)> =
            self.ledger.messages().map(|(id, entry)| (id.clone(), entry.next_seq)).collect();
        for (id, next_seq) in rows {
            for seq in 0..next_seq {
                self.push(event::delete("chunk", &format!("{id}:{seq}")));
            }
        }
        if presence {
            self.forget_presence();
        }
        self.rest_all();
        self.touch();
    }

    /// Writes a chunk for a program that runs its agent elsewhere.
    pub(crate) fn write_raw(&mut self, raw: &RawChunk) -> Result<(), Problem> {
        if let Some(txid) = &raw.txid
            && self.ledger.by_txid(txid) == Some(&raw.message_id)
        {
            return Ok(());
        }
        if raw.chunk.get("type").and_then(Value::as_str).is_none() {
            return Err(Problem::bad_request("chunk: expected an object with a type"));
        }
        self.push_row(Row {
            message_id: &raw.message_id,
            actor_id: &raw.actor_id,
            role: raw.role,
            chunk: &raw.chunk.to_string(),
            txid: raw.txid.as_deref(),
        });
        Ok(())
    }
}

/// Whether a row has these fields with these values.
fn holds(row: &Value, fields: &Value) -> bool {
    fields
        .as_object()
        .is_some_and(|fields| fields.iter().all(|(name, value)| row.get(name) == Some(value)))
}
