//! Short forms of what a fold without readers keeps.
//!
//! A session server must know what its session waits for and where its runs stand, and nothing of what was said. Its
//! fold is the same one, with [`Texts::Dropped`]: words are not kept at all, arguments and results by what tells two of
//! them apart, and rows by their numbers. The policy is a value and not a type parameter: the operations of a step are
//! the same code for both, so that they cannot drift, and a parameter would double seventy methods to save one branch
//! in ten of them. Law L17 holds the two together.
//!
//! Without texts four things are known less well. Arguments of more than 16 KiB are compared by their bytes. Of a run
//! that is said once more the first 65,536 chunks are known again. Rows that are late, changed or deleted cannot be
//! folded again: their message is [torn](super::SessionFold::torn), and whoever has the stream reads it again with the
//! rows of that message kept, of which there may be 16 MiB. Items that are no rows (bare events, entities) are for
//! readers only.

use std::hash::Hasher;

use serde_json::Value;

use crate::text::Delta;

/// The part of the texts that a fold keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Texts {
    /// Everything, for readers.
    #[default]
    Kept,
    /// Only what tells things apart.
    Dropped,
}

/// Words of a message that somebody listens to while they are said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// The first part with words of it.
    pub(super) from: usize,
    /// Bytes that are kept beside those so far.
    pub(super) left: usize,
}

/// Bytes that are kept as they are.
pub(super) const SHORT: usize = 64;
/// Bytes of arguments that are kept until they are complete.
pub(super) const OPEN: usize = 16 << 10;
/// Bytes of rows of messages that came in disorder, of a whole session. Rows that are more are not kept.
pub(super) const KEPT: usize = 16 << 20;
/// Chunks of a run that are known again when they are said once more, where texts are not kept.
pub(super) const AGAIN: usize = 1 << 16;
/// The beginning of a fingerprint.
const MARK: char = '\u{1f}';
/// Settings that count for more than what is shown.
pub(super) const SETTINGS: [&str; 2] = ["title", "forkedFrom"];

/// FNV-1a: a fingerprint that goes on where it stopped.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The state behind a fingerprint; `None` for a text that is none.
fn state_of(text: &str) -> Option<u64> {
    let hex = text.strip_prefix(MARK).filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok()
}

fn print(state: u64) -> String {
    format!("{MARK}{state:016x}")
}

/// A text, or the fingerprint of a long one.
pub(super) fn short_text(text: String) -> String {
    if text.len() <= SHORT {
        return text;
    }
    let mut hash = Fnv::default();
    hash.write(text.as_bytes());
    print(hash.finish())
}

/// A value, or the fingerprint of a large one.
pub(super) fn short_value(value: Value) -> Value {
    fn is_small(value: &Value, left: &mut usize) -> bool {
        let size = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 8,
            Value::String(text) => text.len(),
            Value::Array(items) => return items.iter().all(|item| is_small(item, left)),
            Value::Object(fields) => {
                return fields.iter().all(|(name, value)| {
                    let fits = name.len() <= *left;
                    *left = left.saturating_sub(name.len());
                    fits && is_small(value, left)
                });
            }
        };
        let fits = size <= *left;
        *left = left.saturating_sub(size);
        fits
    }
    /// Equal values have equal fingerprints: the order of fields says nothing.
    fn hash(value: &Value) -> u64 {
        let mut state = Fnv::default();
        match value {
            Value::Array(items) => {
                state.write(b"[");
                items.iter().for_each(|item| state.write_u64(hash(item)));
            }
            Value::Object(fields) => {
                let members = fields.iter().map(|(name, value)| {
                    let mut member = Fnv::default();
                    member.write(name.as_bytes());
                    member.write_u64(hash(value));
                    member.finish()
                });
                state.write(b"{");
                state.write_u64(members.fold(0, u64::wrapping_add));
            }
            Value::String(text) => {
                state.write(b"\"");
                state.write(text.as_bytes());
            }
            other => state.write(other.to_string().as_bytes()),
        }
        state.finish()
    }
    if is_small(&value, &mut SHORT.clone()) {
        return value;
    }
    Value::String(print(hash(&value)))
}

/// Appends to arguments that are not complete, or to their fingerprint.
pub(super) fn append(text: &mut String, half: &mut Option<u16>, delta: &Delta<'_>) {
    if let Some(state) = state_of(text) {
        let mut more = String::new();
        delta.append_to(&mut more, half);
        let mut hash = Fnv(state);
        hash.write(more.as_bytes());
        *text = print(hash.finish());
        return;
    }
    delta.append_to(text, half);
    if text.len() > OPEN {
        *text = short_text(std::mem::take(text));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_have_one_fingerprint_however_they_are_cut() {
        let whole = "{\"words\":\"".to_owned() + &"naïve ".repeat(9000) + "\"}";
        let expected = short_text(whole.clone());
        for size in [1, 7, 4096, 60_000] {
            let (mut text, mut half) = (String::new(), None);
            let chars: Vec<char> = whole.chars().collect();
            for piece in chars.chunks(size) {
                let piece: String = piece.iter().collect();
                append(&mut text, &mut half, &Delta::whole(piece));
            }
            assert_eq!(short_text(text), expected);
        }
    }

    #[test]
    fn equal_values_are_short_alike_and_others_are_not() {
        let long = "x".repeat(100);
        let value = json!({"a": long, "b": [1, 2]});
        let turned = json!({"b": [1, 2], "a": long});
        assert_eq!(short_value(value.clone()), short_value(turned));
        assert_ne!(short_value(value.clone()), short_value(json!({"a": long, "b": [2, 1]})));
        assert_eq!(short_value(short_value(value.clone())), short_value(value));
        assert_eq!(short_value(json!({"a": 1})), json!({"a": 1}));
    }
}
