//! Streams without envelopes: which message an event belongs to.
//!
//! The events themselves are folded as anywhere else.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use serde_json::{Value, json};

use super::apply::{Run, bare_time};
use super::replay::AGAIN;
use crate::chunk::{self, Inner};
use crate::row::{Approval, ApprovalStatus, Part, Role};

const FINISHED: &str = r#"{"type":"RUN_FINISHED"}"#;

impl Run<'_> {
    /// Folds one bare AI SDK chunk.
    pub(super) fn aisdk(&mut self, raw: &str, pos: u64) {
        let Some(inner) = Inner::parse(raw) else { return };
        if inner.kind() == "start" {
            let id = chunk::id(inner.message_id).map(Cow::into_owned);
            let old = self.fold.bare.generation.clone();
            let open = old.as_ref().filter(|old| self.is_open(old));
            let id = match (id, &old) {
                (Some(id), _) => id,
                // Streams that are merged start more than once.
                (None, Some(old)) if open.is_some() => old.clone(),
                (None, Some(_)) => format!("generation-{pos}"),
                (None, None) => "generation".to_owned(),
            };
            if let Some(open) = open.filter(|open| **open != id) {
                // The message begins anew.
                self.remove(open, pos);
            }
            self.fold.bare.generation = Some(id);
        }
        let id = self.fold.bare.generation.get_or_insert_with(|| "generation".to_owned()).clone();
        self.bare_chunk(&id, raw, None, pos);
    }

    /// Whether a message is there and has not ended.
    fn is_open(&mut self, id: &str) -> bool {
        self.bring(id) && self.fold.message(id).is_some_and(|message| !message.is_complete)
    }

    /// Folds one bare AG-UI event.
    pub(super) fn agui(&mut self, raw: &str, pos: u64) {
        let Some(inner) = Inner::parse(raw) else { return };
        let at = bare_time(&inner);
        let at = at.as_deref();
        let message_id = chunk::id(inner.message_id);
        match inner.kind() {
            "RUN_STARTED" => self.begin_run(&inner, at, pos),
            "RUN_FINISHED" | "RUN_ERROR" => self.end_run(&inner, raw, at, pos),
            "MESSAGES_SNAPSHOT" => self.snapshot(&inner, at, pos),
            "SUBAGENT_STARTED" => {
                let id = self.present(pos);
                if let Some(subagent) = chunk::id(inner.subagent_run_id) {
                    self.fold.bare.subagents.insert(subagent.into_owned(), id.clone());
                }
                self.bare_chunk(&id, raw, at, pos);
            }
            // A subagent works in the message of its parent.
            _ if inner.subagent_run_id.is_some_and(|id| id.get() != "null") => {
                let subagent = chunk::id(inner.subagent_run_id);
                let known = subagent.and_then(|id| self.fold.bare.subagents.get(&*id).cloned());
                let id = known.unwrap_or_else(|| self.present(pos));
                self.bare_chunk(&id, raw, at, pos);
            }
            "ACTIVITY_SNAPSHOT" | "ACTIVITY_DELTA" => {
                let Some(card) = message_id else { return };
                let id = match self.fold.bare.names.get(&*card) {
                    Some(id) => id.clone(),
                    None => self.present(pos),
                };
                self.fold.bare.names.insert(card.into_owned(), id.clone());
                self.bare_chunk(&id, raw, at, pos);
            }
            "TEXT_MESSAGE_START" | "TEXT_MESSAGE_CHUNK" => {
                let role = chunk::text(inner.role);
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
                let id = match chunk::id(inner.parent_message_id) {
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
                let call = chunk::id(inner.tool_call_id)
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

    fn begin_run(&mut self, inner: &Inner<'_>, at: Option<&str>, pos: u64) {
        let run_id = chunk::id(inner.run_id).map(Cow::into_owned);
        let input = chunk::value(inner.input);
        let field = |name: &str| {
            let list = input.as_ref().and_then(|input| input.get(name)).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        // What the run is told, as far as nobody said it before.
        for message in field("messages") {
            let id = message.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let role = message.get("role").and_then(Value::as_str);
            if !id.is_empty()
                && matches!(role, Some("user" | "system" | "developer"))
                && !self.bring(&id)
            {
                let pos = self.next_position();
                let chunk = json!({"type": "whole-message", "message": message});
                self.bare_chunk(&id, &chunk.to_string(), at, pos);
            }
        }
        for answer in field("resume") {
            let Some(interrupt) = answer.get("interruptId").and_then(Value::as_str) else {
                continue;
            };
            let asks = self.fold.signals.requests_of(interrupt).last();
            let Some(owner) = asks.map(|site| site.message.clone()) else { continue };
            let said =
                answer.get("payload").map(|payload| payload.get("approved").unwrap_or(payload));
            let resolved = answer.get("status").and_then(Value::as_str) == Some("resolved");
            let approved = resolved && said.is_none_or(|said| said.as_bool() != Some(false));
            let chunk = json!({"type": "approval-response", "approvalId": interrupt,
                "approved": approved, "payload": answer.get("payload")});
            let pos = self.next_position();
            self.bare_chunk(&owner, &chunk.to_string(), at, pos);
        }
        debug_assert!(pos < self.fold.next, "it has its place");
        let bare = &mut self.fold.bare;
        bare.run.clear();
        let nameless = bare.nameless.take();
        bare.current = None;
        bare.running = true;
        if run_id.is_some() && run_id == bare.run_id {
            // It is said again: what names no message belongs where it did.
            bare.nameless = nameless;
            bare.current = bare.said.first().cloned();
            bare.run.extend(bare.current.clone());
            for id in bare.said.clone() {
                let pos = self.next_position();
                self.bare_chunk(&id, AGAIN, at, pos);
            }
        } else {
            bare.run_id = run_id;
            bare.said.clear();
            bare.subagents.clear();
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
            if inner.kind() == "RUN_ERROR" || asks_something(inner) {
                // An error or a question that nothing came before must still be seen.
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

    /// A snapshot says which messages there are, and lays them over those that are there.
    fn snapshot(&mut self, inner: &Inner<'_>, at: Option<&str>, pos: u64) {
        let Some(Value::Array(messages)) = chunk::value(inner.messages) else { return };
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
                "activity" => match groups.last_mut().filter(|(_, _, whole)| !whole) {
                    Some((_, group, _)) => group.push(message),
                    None => thoughts.push(message),
                },
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
        let mut places = self.places();
        let named: HashSet<&String> = groups.iter().map(|(id, ..)| id).collect();
        let mut gone: Vec<String> =
            places.values().filter(|id| !named.contains(id)).cloned().collect();
        gone.retain(|id| self.bring(id) && !self.outlives_snapshot(id));
        let floor = self.fold.bare.floor;
        for id in &gone {
            self.remove(id, pos);
        }
        places.retain(|_, id| !gone.contains(id));
        let mut places: HashMap<String, u64> =
            places.into_iter().map(|(place, id)| (id, place)).collect();
        let bare = &mut self.fold.bare;
        bare.run.retain(|id| places.contains_key(id));
        bare.nameless = bare.nameless.take().filter(|id| places.contains_key(id));
        bare.current = bare.current.take().filter(|id| places.contains_key(id));
        let running = bare.running;
        let mut before = free_places(&groups, &places, floor..pos);
        let mut last_of_agent = None;
        for (id, group, whole) in groups {
            let known = places.contains_key(&id);
            let place = match before.remove(&id) {
                Some(place) => place,
                None => self.next_position(),
            };
            places.insert(id.clone(), place);
            let chunk = if whole {
                json!({"type": "whole-message", "message": group.into_iter().next_back().unwrap_or_default()})
            } else {
                json!({"type": "MESSAGES_SNAPSHOT", "messages": group})
            };
            self.bare_chunk(&id, &chunk.to_string(), at, place);
            if !whole {
                last_of_agent = Some(id.clone());
                let open = self.fold.bare.run.contains(&id);
                if !known || (!open && self.is_open(&id)) {
                    let pos = self.next_position();
                    self.bare_chunk(&id, FINISHED, at, pos);
                }
            }
        }
        // What comes without a name goes on where the snapshot ends.
        let bare = &mut self.fold.bare;
        if bare.current.is_none()
            && let Some(id) = last_of_agent
        {
            bare.current = Some(id.clone());
            if running {
                bare.run = vec![id];
            }
        }
    }

    /// The messages there are, by their places.
    fn places(&mut self) -> BTreeMap<u64, String> {
        let here = self.fold.order.iter().map(|(place, id)| (*place, id.clone()));
        let mut places: BTreeMap<u64, String> = here.collect();
        for brief in self.loader.briefs() {
            let floor = self.floor(&brief.id);
            if brief.position >= floor && !self.fold.messages.contains_key(&brief.id) {
                places.insert(brief.position, brief.id);
            }
        }
        places
    }

    /// Whether a message stays that a snapshot does not name: what snapshots do not carry, what still waits for a
    /// person, and what is being said now.
    fn outlives_snapshot(&self, id: &str) -> bool {
        let Some(message) = self.fold.message(id) else { return false };
        let aside = |part: &Part| {
            matches!(part, Part::Reasoning { .. } | Part::Activity(_) | Part::Subagent(_))
                || part.subagent().is_some()
        };
        let waits = |approval: &Approval| {
            approval.message_id == id && approval.status == ApprovalStatus::Pending
        };
        let agent = message.role == Role::Assistant;
        let speaks = self.fold.bare.running && self.fold.bare.run.iter().any(|open| open == id);
        agent
            && (speaks
                || message.parts.iter().all(aside)
                || self.fold.approvals.values().any(waits))
    }
}

/// Places for messages that a snapshot puts before others that are there: such as no message has. Where there is none,
/// a message comes last.
fn free_places(
    groups: &[(String, Vec<Value>, bool)],
    places: &HashMap<String, u64>,
    within: Range<u64>,
) -> HashMap<String, u64> {
    let taken: HashSet<u64> = places.values().copied().collect();
    let mut free = HashMap::new();
    let mut below: Option<u64> = None;
    for (id, ..) in groups.iter().rev() {
        if let Some(place) = places.get(id) {
            below = Some(below.map_or(*place, |below| below.min(*place)));
            continue;
        }
        let Some(limit) = below else { continue };
        let mut lower = (within.start..limit.min(within.end)).rev();
        let place = lower.find(|place| !taken.contains(place));
        free.extend(place.map(|place| (id.clone(), place)));
        // Where there was none there is none further down.
        below = Some(place.unwrap_or(within.start));
    }
    free
}

/// The call a custom event is about.
fn named_call(inner: &Inner<'_>) -> Option<String> {
    let payload = chunk::value(inner.value).or_else(|| chunk::value(inner.data))?;
    payload.get("toolCallId")?.as_str().map(str::to_owned)
}

/// Whether a run ends with something that is asked.
fn asks_something(inner: &Inner<'_>) -> bool {
    let outcome = chunk::value(inner.outcome);
    let asked = outcome.as_ref().and_then(|outcome| outcome.get("interrupts"));
    asked.and_then(Value::as_array).is_some_and(|asked| !asked.is_empty())
}

/// The first call an interrupt is about.
fn interrupted_call(inner: &Inner<'_>) -> Option<String> {
    let outcome = chunk::value(inner.outcome)?;
    let interrupts = outcome.get("interrupts")?.as_array()?;
    interrupts.iter().find_map(|one| one.get("toolCallId")?.as_str().map(str::to_owned))
}
