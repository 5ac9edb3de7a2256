//! The words of a session, as text: for copying all of it, also what no window shows.

use std::fmt;

use serde::{Deserialize, Serialize};
use session_protocol::{Part, Role};
use ts_rs::TS;

use crate::item::Item;

/// The words of one message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Said {
    /// Whose side it is on.
    pub role: Role,
    /// The author.
    pub actor_id: Option<String>,
    /// The words as they were written, Markdown, with the names of the tools between them.
    pub text: String,
}

/// A stretch of what was said, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SaidPage {
    /// The words, by message. Messages without a word are left out.
    pub said: Vec<Said>,
    /// Where the next stretch begins; `None` behind the last one.
    #[ts(type = "number | null")]
    pub next: Option<u64>,
}

impl fmt::Debug for Said {
    // L11: the words are a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Said {
    /// The words of an item; `None` where nothing was.
    pub(crate) fn of(item: &Item) -> Option<Self> {
        let parts = item.parts.iter().filter_map(|part| match part {
            // What a subagent says is its caller's to tell.
            part if part.subagent().is_some() => None,
            Part::Text { text, .. } => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Part::ToolCall(call) => Some(format!("`{}`", call.name)),
            _ => None,
        });
        let text = parts.collect::<Vec<_>>().join("\n\n");
        let actor_id = item.meta.actor_id.clone();
        (!text.is_empty()).then_some(Self { role: item.meta.role, actor_id, text })
    }
}
