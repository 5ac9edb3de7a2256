//! Details that an agent says of a call beside its arguments and its result, and cards of its own.
//!
//! Who leads runs needs none of it: a fold that drops its texts keeps nothing here.

use serde_json::{Map, Value};

use super::step::Step;
use crate::row::Part;

/// Bytes of a running call's output that are kept, the last ones.
const OUTPUT: usize = 64 << 10;
/// The field of a call's details that holds its output.
const FIELD: &str = "output";

impl Step<'_> {
    /// Details of a call: given fields replace, a title is shown instead of its name. Costs what is given.
    pub(crate) fn tool_details(&mut self, call_id: &str, given: Map<String, Value>) {
        if let Some(title) = given.get("title").and_then(Value::as_str) {
            self.tool_title(call_id, Some(title.to_owned().into()));
        }
        self.detail(call_id, |details| {
            for (name, value) in given {
                details.insert(name, value);
            }
        });
    }

    /// More output of a call that runs, or `anew` all that there is.
    pub(crate) fn tool_output(&mut self, call_id: &str, append: &str, anew: bool, truncated: bool) {
        self.detail(call_id, |details| {
            let field = details.entry(FIELD).or_insert_with(|| Map::new().into());
            let Value::Object(output) = field else { return };
            if let Value::String(text) = output.entry("text").or_insert_with(|| "".into()) {
                if anew {
                    text.clear();
                }
                text.push_str(append);
                let over = text.ceil_char_boundary(text.len().saturating_sub(OUTPUT));
                text.drain(..over);
            }
            if truncated {
                output.insert("truncated".to_owned(), true.into());
            }
        });
    }

    fn detail(&mut self, call_id: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        if self.drops() {
            return;
        }
        let key = self.fold.scratch.calls.key(call_id).into_owned();
        let Some(at) = self.fold.call(&key).map(|call| call.part) else { return };
        if let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) {
            if let Value::Object(details) = part.details.get_or_insert_with(|| Map::new().into()) {
                change(details);
            }
            self.tracker.set_part(&self.fold.message.id, at);
        }
    }

    /// A card of this name and id, which replaces an earlier one.
    pub(crate) fn card(&mut self, name: &str, id: &str, what: Map<String, Value>) {
        if !self.drops() {
            self.data(name, Some(id), what.into());
        }
    }

    /// A note at this place.
    pub(crate) fn note(&mut self, name: &str, what: Map<String, Value>) {
        if !self.drops() {
            self.data(name, None, what.into());
        }
    }
}
