//! The parts of one message that are known again by an id, and where each part comes from.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::encoding::pairs;
use crate::row::Part;

/// Where a part comes from.
#[derive(Serialize, Deserialize)]
pub(super) struct Origin {
    /// The writer's own id of the message it is part of.
    pub(super) key: Option<Box<str>>,
    /// Whether it was not only in a snapshot.
    pub(super) streamed: bool,
}

/// Where parts stand, by what they are known by.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Places {
    /// Data by name and id.
    #[serde(with = "pairs")]
    pub(super) data: HashMap<(String, Option<String>), usize>,
    pub(super) activities: HashMap<String, usize>,
    pub(super) subagents: HashMap<String, usize>,
    /// Where the parts come from, one for each.
    pub(super) origins: Vec<Origin>,
}

impl Places {
    /// A part is gone.
    pub(super) fn forget(&mut self, part: Part) {
        match part {
            Part::Data { name, id, .. } => drop(self.data.remove(&(name, id))),
            Part::Activity(activity) => drop(self.activities.remove(&activity.id)),
            Part::Subagent(subagent) => drop(self.subagents.remove(&subagent.id)),
            _ => {}
        }
    }

    /// The origins from before a snapshot and from it, at their new places. Origins are laid with the parts.
    pub(super) fn behind(
        self,
        before: Self,
        old_at: &HashMap<usize, usize>,
        new_at: &HashMap<usize, usize>,
    ) -> Self {
        fn joined<K: Eq + Hash>(
            old: HashMap<K, usize>,
            new: HashMap<K, usize>,
            old_at: &HashMap<usize, usize>,
            new_at: &HashMap<usize, usize>,
        ) -> HashMap<K, usize> {
            let old = old.into_iter().filter_map(|(key, at)| Some((key, *old_at.get(&at)?)));
            let new = new.into_iter().filter_map(|(key, at)| Some((key, *new_at.get(&at)?)));
            old.chain(new).collect()
        }
        Self {
            data: joined(before.data, self.data, old_at, new_at),
            activities: joined(before.activities, self.activities, old_at, new_at),
            subagents: joined(before.subagents, self.subagents, old_at, new_at),
            origins: self.origins,
        }
    }
}
