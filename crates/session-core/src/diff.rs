//! A diff: one edit to a list of items. Folding all diffs since a `Reset` gives the list (L4).

use std::fmt;

use serde::{Deserialize, Serialize};
use session_protocol::Part;
use ts_rs::TS;

use crate::item::{Item, ItemMeta};

/// A side of a list of items, and the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Direction {
    /// Older items.
    Before,
    /// Newer items.
    After,
}

/// One edit. `index` counts from the first item of the list as it is then.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum Diff {
    /// Drop everything and start with these.
    Reset {
        /// The items, oldest first.
        items: Vec<Item>,
        /// Older items can be had by paging.
        has_more_before: bool,
        /// The list ends before the session does: it was opened around a message, or the reader
        /// went far up. Newer items can be had by paging; what happens behind its end is not told.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(as = "Option<bool>", optional)]
        has_more_after: bool,
    },
    /// Items on one side of the list: the reader moved on. They are fewer than a page, or none,
    /// when the session ends there.
    Extend {
        /// The side: before the first item, or behind the last.
        side: Direction,
        /// The items, oldest first.
        items: Vec<Item>,
        /// More can be had on this side. Behind: without more, the list follows the session's end.
        has_more: bool,
    },
    /// Items went from one side of the list, because the reader moved on to the other. They can be
    /// had by paging.
    Trim {
        /// The side: the first items went, or the last.
        side: Direction,
        /// Number of items that went.
        #[ts(type = "number")]
        count: usize,
    },
    /// A new item.
    Insert {
        /// Index of the new item.
        #[ts(type = "number")]
        index: usize,
        /// The item.
        item: Box<Item>,
    },
    /// An item as a whole.
    Set {
        /// Index of the item.
        #[ts(type = "number")]
        index: usize,
        /// The new item.
        item: Box<Item>,
    },
    /// An item went away.
    Remove {
        /// Index that the item had.
        #[ts(type = "number")]
        index: usize,
    },
    /// Text was added to the end of a text or reasoning part, of a tool call's arguments, or of a
    /// structured output's raw text.
    Patch {
        /// Index of the item.
        #[ts(type = "number")]
        index: usize,
        /// Id of the item, to check by.
        id: String,
        /// Index of the part.
        #[ts(type = "number")]
        part: usize,
        /// The new text only.
        text: String,
    },
    /// A part as a whole; a new one when `part` is the number of parts.
    Part {
        /// Index of the item.
        #[ts(type = "number")]
        index: usize,
        /// Id of the item, to check by.
        id: String,
        /// Index of the part.
        #[ts(type = "number")]
        part: usize,
        /// The new part.
        value: Box<Part>,
    },
    /// Everything of an item but its parts.
    Meta {
        /// Index of the item.
        #[ts(type = "number")]
        index: usize,
        /// Id of the item, to check by.
        id: String,
        /// The new meta.
        item: Box<ItemMeta>,
    },
}

impl fmt::Debug for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset { items, .. } => write!(f, "Reset({} items)", items.len()),
            Self::Extend { side, items, .. } => {
                write!(f, "Extend({side:?}, {} items)", items.len())
            }
            Self::Trim { side, count } => write!(f, "Trim({side:?}, {count})"),
            Self::Insert { index, item } => write!(f, "Insert({index}, {})", item.id),
            Self::Set { index, item } => write!(f, "Set({index}, {})", item.id),
            Self::Remove { index } => write!(f, "Remove({index})"),
            Self::Patch { index, part, text, .. } => {
                write!(f, "Patch({index}, part {part}, {} bytes)", text.len())
            }
            Self::Part { index, part, .. } => write!(f, "Part({index}, part {part})"),
            Self::Meta { index, .. } => write!(f, "Meta({index})"),
        }
    }
}

/// A diff that does not fit the list it was applied to: the reader missed something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("diff does not fit the list: {0}")]
pub struct Misfit(&'static str);

/// The text that `Patch` adds to: of a text or reasoning part, a tool call's arguments, or the raw
/// text of a structured output.
pub(crate) fn patch_target(part: &mut Part) -> Option<&mut String> {
    match part {
        Part::Text { text, .. } | Part::Reasoning { text, .. } => Some(text),
        Part::ToolCall(call) => Some(&mut call.arguments),
        Part::StructuredOutput { raw, .. } => Some(raw),
        Part::File(_)
        | Part::Source(_)
        | Part::Data { .. }
        | Part::StepStart
        | Part::SteeringMessage { .. }
        | Part::Subagent(_)
        | Part::Activity(_)
        | Part::Question(_) => None,
    }
}

impl Diff {
    /// Applies the edit, as a reader does.
    ///
    /// # Errors
    /// When the index or the id does not fit; the list is unchanged then.
    pub fn apply(self, items: &mut Vec<Item>) -> Result<(), Misfit> {
        fn at<'a>(items: &'a mut [Item], index: usize, id: &str) -> Result<&'a mut Item, Misfit> {
            let item = items.get_mut(index).ok_or(Misfit("no such index"))?;
            if item.id == id { Ok(item) } else { Err(Misfit("another id")) }
        }
        match self {
            Self::Reset { items: new, .. } => *items = new,
            Self::Extend { side, items: new, .. } => {
                let at = if side == Direction::Before { 0 } else { items.len() };
                items.splice(at..at, new);
            }
            Self::Trim { side, count } => {
                let left = items.len().checked_sub(count).ok_or(Misfit("trim of too many"))?;
                match side {
                    Direction::Before => drop(items.drain(..count)),
                    Direction::After => items.truncate(left),
                }
            }
            Self::Insert { index, item } => {
                if index > items.len() {
                    return Err(Misfit("insert past the end"));
                }
                items.insert(index, *item);
            }
            Self::Set { index, item } => {
                *items.get_mut(index).ok_or(Misfit("no such index"))? = *item;
            }
            Self::Remove { index } => {
                if index >= items.len() {
                    return Err(Misfit("no such index"));
                }
                items.remove(index);
            }
            Self::Patch { index, id, part, text } => {
                let item = at(items, index, &id)?;
                let part = item.parts.get_mut(part).ok_or(Misfit("no such part"))?;
                patch_target(part).ok_or(Misfit("part has no text"))?.push_str(&text);
            }
            Self::Part { index, id, part, value } => {
                let item = at(items, index, &id)?;
                if part == item.parts.len() {
                    item.parts.push(*value);
                } else {
                    *item.parts.get_mut(part).ok_or(Misfit("no such part"))? = *value;
                }
            }
            Self::Meta { index, id, item: meta } => at(items, index, &id)?.meta = *meta,
        }
        Ok(())
    }

    /// Bytes that the diff takes in a queue, about.
    pub(crate) fn weight(&self) -> usize {
        fn part(part: &Part) -> usize {
            128 + match part {
                Part::Text { text, .. } | Part::Reasoning { text, .. } => text.len(),
                Part::ToolCall(call) => {
                    call.arguments.len()
                        + call.input.as_ref().map_or(0, json)
                        + call.output.as_ref().map_or(0, json)
                }
                Part::Activity(card) => json(&card.content),
                _ => 512,
            }
        }
        fn json(value: &serde_json::Value) -> usize {
            use serde_json::Value;
            16 + match value {
                Value::String(text) => text.len(),
                Value::Array(values) => values.iter().map(json).sum(),
                Value::Object(fields) => fields.iter().map(|(k, v)| k.len() + json(v)).sum(),
                Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            }
        }
        fn item(item: &Item) -> usize {
            256 + item.parts.iter().map(part).sum::<usize>()
        }
        match self {
            Self::Reset { items, .. } | Self::Extend { items, .. } => items.iter().map(item).sum(),
            Self::Insert { item: value, .. } | Self::Set { item: value, .. } => item(value),
            Self::Remove { .. } | Self::Trim { .. } => 32,
            Self::Patch { text, .. } => 96 + text.len(),
            Self::Part { value, .. } => part(value),
            Self::Meta { .. } => 256,
        }
    }
}
