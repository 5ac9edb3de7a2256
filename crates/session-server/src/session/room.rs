//! What belongs to the session rather than to a turn: agents, title, clearing, copies.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};
use session_protocol::AgentSpec;
use uuid::Uuid;

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
        let chunk = json!({"type": "config", "title": title});
        self.push_row(Row {
            message_id: &Uuid::new_v4().to_string(),
            actor_id,
            role: Role::User,
            chunk: &chunk.to_string(),
            txid,
        });
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
            let keys: Vec<String> = self.ledger.presence().keys().cloned().collect();
            for key in keys {
                self.push(event::delete("presence", &key));
            }
            self.expect_absence();
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

    /// The session's agents with their secrets, for a copy of it.
    pub(crate) fn registered(&self) -> Vec<AgentSpec> {
        let ids = self.ledger.agents().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        ids.iter().filter_map(|id| self.spec(id)).collect()
    }

    /// Becomes a copy of another session. Repeating it with the same origin changes nothing.
    pub(crate) fn adopt(
        &mut self,
        items: Vec<Bytes>,
        agents: Vec<AgentSpec>,
        origin: &Origin,
    ) -> Result<(), Problem> {
        let mark = origin.mark();
        if let Some(known) = self.ledger.origin() {
            return if *known == mark {
                Ok(())
            } else {
                Err(Problem::conflict("SESSION_EXISTS", "The new session exists already"))
            };
        }
        if self.ledger.messages().next().is_some() {
            return Err(Problem::conflict("SESSION_EXISTS", "The new session exists already"));
        }
        for item in items {
            self.push(item);
        }
        self.register(agents);
        // What runs in the original does not run here.
        let open = self.unfinished(|_, _, _| true);
        for plan in &open {
            self.interrupt(plan);
        }
        let chunk = json!({"type": "config", "forkedFrom": mark});
        self.push_row(Row {
            message_id: &Uuid::new_v4().to_string(),
            actor_id: &origin.actor_id,
            role: Role::User,
            chunk: &chunk.to_string(),
            txid: None,
        });
        if let Some(title) = self.ledger.title().map(str::to_owned) {
            self.batch.after.push(Op::Title { session_id: self.id.clone(), title });
        }
        self.touch();
        Ok(())
    }
}

/// Whether a row has these fields with these values.
fn holds(row: &Value, fields: &Value) -> bool {
    fields
        .as_object()
        .is_some_and(|fields| fields.iter().all(|(name, value)| row.get(name) == Some(value)))
}

/// Where a copy comes from.
pub(crate) struct Origin {
    pub(crate) session_id: String,
    pub(crate) message_id: Option<String>,
    pub(crate) actor_id: String,
}

impl Origin {
    fn mark(&self) -> Value {
        json!({"sessionId": self.session_id, "messageId": self.message_id})
    }
}

/// The part of a session up to and including a message, without who was there.
///
/// # Errors
///
/// The message is not in the session.
pub(crate) fn up_to(items: Vec<Bytes>, message_id: Option<&str>) -> Result<Vec<Bytes>, Problem> {
    #[derive(serde::Deserialize)]
    struct Item {
        #[serde(default)]
        r#type: String,
        #[serde(default)]
        value: HashMap<String, Value>,
    }
    let mut end = if message_id.is_none() { items.len() } else { 0 };
    let mut keep = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let parsed = serde_json::from_slice::<Item>(&item).ok();
        if let (Some(wanted), Some(parsed)) = (message_id, &parsed)
            && parsed.r#type == "chunk"
            && parsed.value.get("messageId").and_then(Value::as_str) == Some(wanted)
        {
            end = at + 1;
        }
        let presence = parsed.is_some_and(|parsed| parsed.r#type == "presence");
        keep.push((!presence).then_some(item));
    }
    if end == 0 && message_id.is_some() {
        return Err(Problem::not_found("MESSAGE_NOT_FOUND", "Message not found"));
    }
    keep.truncate(end);
    Ok(keep.into_iter().flatten().collect())
}
