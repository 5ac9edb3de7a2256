//! Streams without envelopes: where such a stream stands.
//!
//! In an enveloped stream every chunk says its message. Bare AG-UI events hold a whole session in one
//! stream and name messages only where text begins; bare AI SDK chunks are one generation. The events
//! themselves are folded as anywhere else. Such streams are read only for us.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a bare stream stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bare {
    /// The agent's message that events without an id go to.
    pub(super) current: Option<String>,
    /// The messages of the run that goes on, oldest first.
    pub(super) run: Vec<String>,
    /// True between the start and the end of a run.
    pub(super) running: bool,
    /// Messages that began before their text named them: AG-UI id to message.
    pub(super) names: BTreeMap<String, String>,
    /// A message of this run that has no name yet.
    pub(super) nameless: Option<String>,
    /// The writer's id of the newest run.
    pub(super) run_id: Option<String>,
    /// The messages of that run, oldest first: a run that is said again says them again.
    pub(super) said: Vec<String>,
    /// Messages in which subagents of the newest run work.
    pub(super) subagents: BTreeMap<String, String>,
    /// No message may get a place before this one: messages that are gone had theirs there.
    pub(super) floor: u64,
    /// The last number of `{v, seq, chunk}` records.
    pub(super) last_number: Option<i64>,
    /// The AI SDK generation.
    pub(super) generation: Option<String>,
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

    pub(super) fn named(&self, id: &str) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// The message `id` is the agent's present one.
    pub(super) fn turn_to(&mut self, id: &str) {
        self.current = Some(id.to_owned());
        for list in [&mut self.run, &mut self.said] {
            if !list.iter().any(|known| known == id) {
                list.push(id.to_owned());
            }
        }
    }
}
