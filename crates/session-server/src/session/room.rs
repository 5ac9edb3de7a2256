//! Matters of the session rather than of a run: agents, title, clearing, chunks from outside.

use serde_json::{Value, json};
use session_protocol::AgentSpec;

use super::{MAX_AGENTS, RawChunk, Refusal, Session};
use crate::agent;
use crate::book::Wish;
use crate::event::{self, Row};
use crate::names::Looks;
use crate::store::Op;

/// Rows that one step of clearing deletes.
const CLEARED_AT_ONCE: usize = 4096;

impl Session {
    /// Registers agents; the same id replaces, for who `manages` the session. Only public fields reach the stream.
    ///
    /// # Errors
    ///
    /// Nothing is registered when one of them may not be.
    pub(super) fn register(&mut self, specs: Vec<AgentSpec>, manages: bool) -> Result<(), Refusal> {
        let new = specs.iter().filter(|spec| self.book.agent(&spec.id).is_none());
        if self.book.agents().count() + new.count() > MAX_AGENTS {
            return Err(Refusal::TooManyAgents);
        }
        for spec in &specs {
            self.admit(spec, manages)?;
        }
        self.register_checked(specs, manages);
        Ok(())
    }

    /// Registers agents that may be here.
    pub(super) fn register_checked(&mut self, specs: Vec<AgentSpec>, manages: bool) {
        for spec in specs {
            let known = self.book.agent(&spec.id);
            if known.is_some() && !manages {
                continue; // it is there, with whatever its owner gave it
            }
            let mut public = agent::public_fields(&spec);
            if !manages {
                public["guest"] = true.into(); // its name is what somebody claims
            }
            // Readers merge: what is not said any more would stay unless the row is deleted first.
            let stale = known.is_some_and(|old| {
                old.get("name").is_some() && spec.name.is_none() || old.get("guest").is_some()
            });
            if stale {
                self.push(event::delete("agent", &spec.id));
            }
            if self.book.agent(&spec.id).is_none_or(|old| !holds(old, &public)) {
                self.push(event::upsert("agent", &spec.id, &public));
            }
            let session_id = self.id.clone();
            self.effects.before.push(Op::PutAgent {
                session_id,
                spec: spec.clone(),
                inline: false,
            });
            let agent_id = spec.id.clone();
            self.specs.insert(agent_id.clone(), spec);
            self.show_now(&agent_id);
        }
    }

    /// Checks an agent that is brought along: it may not take the place of another one, which may have keys and a name
    /// that people trust, nor speak under the name of a person who is here.
    pub(super) fn admit(&self, spec: &AgentSpec, manages: bool) -> Result<(), Refusal> {
        let endpoint = match self.book.agent(&spec.id) {
            Some(row) => row.get("endpoint").and_then(Value::as_str),
            None => self.specs.get(&spec.id).map(|known| known.endpoint.as_str()),
        };
        if endpoint.is_some_and(|endpoint| endpoint != spec.endpoint) && !manages {
            return Err(Refusal::AgentExists);
        }
        if endpoint.is_some() {
            return Ok(());
        }
        let shown = [Some(&spec.id), spec.name.as_ref()].into_iter().flatten();
        let shown: Vec<Looks> = shown.map(|name| Looks::of(name)).collect();
        // Who manages may give an agent a name that looks like a person's, and not a person's id.
        let is_here = |row: &Value| {
            let text = |field| row.get(field).and_then(Value::as_str);
            text("actorId") == Some(&spec.id)
                || !manages
                    && [text("actorId"), text("name")].into_iter().flatten().any(|name| {
                        let name = Looks::of(name);
                        shown.iter().any(|shown| shown.like(&name))
                    })
        };
        if self.book.presence().values().any(is_here) {
            return Err(Refusal::ActorExists);
        }
        Ok(())
    }

    /// Keeps an agent that a message brings along: it answers here and is not registered. One that is registered stays
    /// as it is.
    pub(super) fn keep_inline(&mut self, spec: AgentSpec) {
        if self.book.agent(&spec.id).is_some() {
            return;
        }
        let session_id = self.id.clone();
        self.effects.before.push(Op::PutAgent { session_id, spec: spec.clone(), inline: true });
        self.specs.insert(spec.id.clone(), spec);
    }

    /// Takes an agent off the session. Unknown ones are no error.
    pub(super) fn unregister(&mut self, agent_id: &str) {
        if self.book.agent(agent_id).is_some() {
            self.push(event::delete("agent", agent_id));
        }
        self.specs.remove(agent_id);
        let (session_id, agent_id) = (self.id.clone(), agent_id.to_owned());
        self.effects.after.push(Op::DropAgent { session_id, agent_id });
    }

    /// Gives the session a title, unless the wish was granted before. Whoever gives it a `txid` waits for its echo, and
    /// may ask again when somebody else has given another title since.
    ///
    /// # Errors
    ///
    /// The `txid` was used for another wish.
    pub(super) fn name(
        &mut self,
        title: &str,
        actor_id: &str,
        txid: Option<&str>,
    ) -> Result<(), Refusal> {
        self.book.bring_wishes(txid);
        let granted = self.book.granted(Wish::Setting, txid, title)?;
        let is_new = match txid {
            Some(_) => granted.is_none(),
            None => self.book.title() != Some(title),
        };
        if is_new {
            self.rename(title, actor_id, txid);
        }
        Ok(())
    }

    /// Gives the session a title.
    pub(super) fn rename(&mut self, title: &str, actor_id: &str, txid: Option<&str>) {
        self.push_signal(&json!({"type": "config", "title": title}), actor_id, txid);
        let (session_id, title) = (self.id.clone(), title.to_owned());
        self.effects.after.push(Op::Title { session_id, title });
        self.touch();
    }

    /// Clears the conversation by deleting every row, some at once. Returns what to call it with again while there are
    /// more. What is said meanwhile stays. A `reset` event would break upstream's readers.
    pub(super) fn clear(
        &mut self,
        until: Option<u64>,
        presence: bool,
        actor_id: &str,
    ) -> Option<u64> {
        if until.is_none() {
            self.stop_all(actor_id);
        }
        let until = until.unwrap_or(self.book.items());
        let keys = self.book.row_keys(until, CLEARED_AT_ONCE);
        let more = keys.len() == CLEARED_AT_ONCE;
        if !keys.is_empty() {
            let session_id = self.id.clone();
            self.effects.after.push(Op::ForgetTold { session_id });
        }
        for key in keys {
            self.push(event::delete("chunk", &key));
        }
        if more {
            return Some(until);
        }
        if presence {
            self.forget_presence();
        }
        self.rest_all();
        self.touch();
        None
    }

    /// Writes chunks for a program that runs its agent elsewhere, except those that an earlier request wrote.
    pub(super) fn write_raw(&mut self, chunks: &[RawChunk]) {
        for raw in chunks {
            self.book.bring_wishes(raw.txid.as_deref());
        }
        let is_new = |raw: &&RawChunk| {
            let written = |txid: &String| {
                self.book.by_txid(Wish::of(&raw.kind), txid) == Some(&raw.message_id)
            };
            !raw.txid.as_ref().is_some_and(written)
        };
        // Looked at before the first of them is written: one request may carry one id.
        let new: Vec<&RawChunk> = chunks.iter().filter(is_new).collect();
        self.effects.grows |= !new.is_empty();
        for raw in new {
            self.push_row(Row {
                message_id: &raw.message_id,
                actor_id: &raw.actor_id,
                role: raw.role,
                chunk: &raw.chunk,
                txid: raw.txid.as_deref(),
                run: None,
            });
        }
    }
}

/// Whether a row has these fields with these values.
fn holds(row: &Value, fields: &Value) -> bool {
    fields
        .as_object()
        .is_some_and(|fields| fields.iter().all(|(name, value)| row.get(name) == Some(value)))
}
