//! Streams without envelopes: which message an event belongs to.
//!
//! In an enveloped stream every chunk says its message. Bare AG-UI events hold a whole session in one
//! stream and name messages only where text begins; bare AI SDK chunks are one generation. The events
//! themselves are folded as anywhere else. Such streams are read only for us.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apply::{Run, bare_time};
use crate::dialect::{self, Inner};

/// Where a bare stream stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bare {
    /// The agent's message that events without an id go to.
    current: Option<String>,
    /// The messages of the run that goes on, oldest first.
    run: Vec<String>,
    /// True between the start and the end of a run.
    running: bool,
    /// Messages that began before their text named them: AG-UI id to message.
    names: BTreeMap<String, String>,
    /// A message of this run that has no name yet.
    nameless: Option<String>,
    /// The last number of `{v, seq, chunk}` records.
    last_number: Option<i64>,
    /// The AI SDK generation.
    generation: Option<String>,
}

impl Bare {
    /// Takes a numbered record; false when it is a repetition.
    pub(super) fn accept(&mut self, number: i64) -> bool {
        if self.last_number.is_some_and(|last| number <= last) {
            return false;
        }
        self.last_number = Some(number);
        true
    }

    fn named(&self, id: &str) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// The message `id` is the agent's present one.
    fn turn_to(&mut self, id: &str) {
        self.current = Some(id.to_owned());
        if !self.run.iter().any(|known| known == id) {
            self.run.push(id.to_owned());
        }
    }
}

const FINISHED: &str = r#"{"type":"RUN_FINISHED"}"#;

impl Run<'_> {
    /// Folds one bare AI SDK chunk.
    pub(super) fn aisdk(&mut self, raw: &str, pos: u64) {
        let Some(inner) = Inner::parse(raw) else { return };
        if inner.kind() == "start" {
            let id = dialect::id(inner.message_id).map(Cow::into_owned);
            self.fold.bare.generation =
                Some(id.unwrap_or_else(|| match self.fold.bare.generation.is_some() {
                    true => format!("generation-{pos}"),
                    false => "generation".to_owned(),
                }));
        }
        let id = self.fold.bare.generation.get_or_insert_with(|| "generation".to_owned()).clone();
        self.bare_chunk(&id, raw, None, pos);
    }

    /// Folds one bare AG-UI event.
    pub(super) fn agui(&mut self, raw: &str, pos: u64) {
        let Some(inner) = Inner::parse(raw) else { return };
        let at = bare_time(&inner);
        let at = at.as_deref();
        let message_id = dialect::id(inner.message_id);
        match inner.kind() {
            "RUN_STARTED" => {
                let bare = &mut self.fold.bare;
                bare.run.clear();
                bare.nameless = None;
                bare.current = None;
                bare.running = true;
            }
            "RUN_FINISHED" | "RUN_ERROR" => self.end_run(&inner, raw, at, pos),
            "MESSAGES_SNAPSHOT" => self.snapshot(&inner, at, pos),
            "TEXT_MESSAGE_START" | "TEXT_MESSAGE_CHUNK" => {
                let role = dialect::text(inner.role);
                let id = match (message_id, role.as_deref()) {
                    (Some(id), Some("user" | "system")) => id.into_owned(),
                    (Some(id), _) => self.begin_text(&id),
                    (None, _) => self.present(pos),
                };
                self.bare_chunk(&id, raw, at, pos);
            }
            "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_END" => {
                let id = match message_id {
                    Some(id) => self.fold.bare.named(&id),
                    None => self.present(pos),
                };
                self.bare_chunk(&id, raw, at, pos);
            }
            "TOOL_CALL_START" => {
                let id = match dialect::id(inner.parent_message_id) {
                    Some(parent) => {
                        let id = self.begin_text(&parent);
                        self.fold.bare.turn_to(&id);
                        id
                    }
                    None => self.present(pos),
                };
                self.bare_chunk(&id, raw, at, pos);
            }
            kind => {
                // What names a call goes to the call's message.
                let call = dialect::id(inner.tool_call_id)
                    .map(Cow::into_owned)
                    .or_else(|| named_call(&inner));
                let owner =
                    call.and_then(|call| self.fold.tool_call_owner(&call).map(str::to_owned));
                let speaks = kind.starts_with("REASONING_") || kind.starts_with("THINKING_");
                let id = match owner {
                    Some(owner) => Some(owner),
                    None if speaks || kind == "TOOL_CALL_CHUNK" => Some(self.present(pos)),
                    None => self.fold.bare.current.clone(),
                };
                if let Some(id) = id {
                    self.bare_chunk(&id, raw, at, pos);
                }
            }
        }
    }

    /// The message of a text: known, or the nameless one of this run, or a new one.
    fn begin_text(&mut self, id: &str) -> String {
        let bare = &mut self.fold.bare;
        let message = match bare.nameless.take() {
            Some(nameless) if !bare.names.contains_key(id) => {
                bare.names.insert(id.to_owned(), nameless.clone());
                nameless
            }
            _ => bare.named(id),
        };
        bare.turn_to(&message);
        message
    }

    /// The agent's present message; a nameless one when this run has none.
    fn present(&mut self, pos: u64) -> String {
        let bare = &mut self.fold.bare;
        if let Some(current) = &bare.current {
            return current.clone();
        }
        let id = format!("message-{pos}");
        bare.nameless = Some(id.clone());
        bare.turn_to(&id);
        id
    }

    fn end_run(&mut self, inner: &Inner<'_>, raw: &str, at: Option<&str>, pos: u64) {
        let mut run = std::mem::take(&mut self.fold.bare.run);
        self.fold.bare.running = false;
        self.fold.bare.nameless = None;
        if run.is_empty() {
            if inner.kind() == "RUN_ERROR" {
                // An error that nothing came before must still be seen.
                let id = self.present(pos);
                self.fold.bare.run.clear();
                self.bare_chunk(&id, raw, at, pos);
            }
            return;
        }
        // Tokens and questions are said once: by the message that asks, else by the last.
        let asks = interrupted_call(inner)
            .and_then(|call| self.fold.tool_call_owner(&call).map(str::to_owned))
            .filter(|owner| run.contains(owner));
        let speaker = match asks {
            Some(owner) => Some(owner),
            None => run.pop(),
        };
        for id in run.iter().filter(|id| Some(*id) != speaker.as_ref()) {
            let pos = self.next_position();
            self.bare_chunk(id, FINISHED, at, pos);
        }
        if let Some(id) = speaker {
            self.bare_chunk(&id, raw, at, pos);
        }
    }

    /// A snapshot replaces all messages of the stream.
    fn snapshot(&mut self, inner: &Inner<'_>, at: Option<&str>, pos: u64) {
        let Some(Value::Array(messages)) = dialect::value(inner.messages) else { return };
        // A person's message is whole; an agent's takes the tool rows that follow it along.
        let mut groups: Vec<(String, Vec<Value>, bool)> = Vec::new();
        let mut thoughts: Vec<Value> = Vec::new();
        for message in messages {
            let text = |name: &str| {
                message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            match text("role").as_str() {
                "tool" => {
                    let agent = groups.iter_mut().rev().find(|(_, _, whole)| !whole);
                    if let Some((_, group, _)) = agent {
                        group.push(message);
                    }
                }
                "reasoning" => thoughts.push(message),
                role @ ("user" | "system" | "developer" | "assistant") => {
                    let id = match text("id") {
                        id if id.is_empty() => format!("message-{}", self.next_position()),
                        id => self.fold.bare.named(&id),
                    };
                    let whole = role != "assistant";
                    let mut group = std::mem::take(&mut thoughts);
                    group.push(message);
                    groups.push((id, group, whole));
                }
                _ => {}
            }
        }
        let mut gone = self.fold.ids_in_memory();
        gone.extend(self.loader.briefs().into_iter().map(|brief| brief.id));
        let mut gone: Vec<String> = gone.into_iter().collect();
        gone.sort();
        for id in gone {
            if self.bring(&id) {
                self.remove(&id, pos);
            }
        }
        let bare = &mut self.fold.bare;
        bare.run.clear();
        bare.nameless = None;
        bare.current = None;
        let running = bare.running;
        for (id, group, whole) in groups {
            let pos = self.next_position();
            if whole {
                let message = group.into_iter().next_back().unwrap_or_default();
                let chunk = json!({"type": "whole-message", "message": message});
                self.bare_chunk(&id, &chunk.to_string(), at, pos);
            } else {
                let chunk = json!({"type": "MESSAGES_SNAPSHOT", "messages": group});
                self.bare_chunk(&id, &chunk.to_string(), at, pos);
                self.fold.bare.current = Some(id.clone());
                if running {
                    self.fold.bare.run = vec![id.clone()];
                }
                let pos = self.next_position();
                self.bare_chunk(&id, FINISHED, at, pos);
            }
        }
    }
}

/// The call a custom event is about.
fn named_call(inner: &Inner<'_>) -> Option<String> {
    let payload = dialect::value(inner.value).or_else(|| dialect::value(inner.data))?;
    payload.get("toolCallId")?.as_str().map(str::to_owned)
}

/// The first call an interrupt is about.
fn interrupted_call(inner: &Inner<'_>) -> Option<String> {
    let outcome = dialect::value(inner.outcome)?;
    let interrupts = outcome.get("interrupts")?.as_array()?;
    interrupts.iter().find_map(|one| one.get("toolCallId")?.as_str().map(str::to_owned))
}
