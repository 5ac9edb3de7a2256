//! Who may say what in a session (law L15).
//!
//! What a row may say depends on who wrote it, never on what it calls itself. The session server is the only writer: it
//! writes what people ask for in rows of role `user` (`system` and `assistant` for who manages the session), and what
//! agents send in rows of role `assistant`. An agent's row says nothing that only people say, and what it says of tool
//! calls counts in its own message. The fold upholds this, and so does the server with what is defined here, before it
//! writes an agent's output and when it decides what agents are told.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

pub use crate::chunk::{is_peoples, is_whole};
use crate::text::{Str, lenient_value};

/// The type of a chunk given as JSON text, as the fold reads it, however it is spelled; `None` when it has none.
pub fn chunk_kind(chunk: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Str<'a>,
    }
    if !chunk.trim_ascii_start().starts_with('{') {
        return None;
    }
    if let Ok(typed) = serde_json::from_str::<Typed<'_>>(chunk) {
        return Some(typed.kind.0);
    }
    match chunk_value(chunk)?.get_mut("type")?.take() {
        Value::String(kind) => Some(Cow::Owned(kind)),
        _ => None,
    }
}

/// A chunk given as JSON text, as the fold reads it: of a field that stands there twice the last one counts, and half a
/// character is U+FFFD. `None` when it is not an object.
pub fn chunk_value(chunk: &str) -> Option<Value> {
    lenient_value(chunk).filter(Value::is_object)
}

/// Name of the `CUSTOM` event by which the server says in an agent's message how many of its `chunks` it refused.
pub const REFUSED: &str = "threadkeep.refused";

/// Name of the `CUSTOM` event by which a model agent says of a call (`toolCallId`) whose tool it is: `server`, `tool`,
/// `title`, `traits` and a `digest` of what the tool says of itself.
pub const TOOL_INFO: &str = "tool.info";

/// Name of the `CUSTOM` event by which a call says how far it is (`progress`: `done`, `total`, `message`).
pub const TOOL_PROGRESS: &str = "tool.progress";

/// Name of the `CUSTOM` event by which an agent says that its words since its last thought or call were thoughts: some
/// models begin an answer inside a thought, and only the end of it tells. Readers that do not know it show the words as
/// words.
pub const RETHOUGHT: &str = "threadkeep.rethought";

/// Whether an agent gives the result of a call by a chunk of this type.
pub fn is_result(kind: &str) -> bool {
    matches!(
        kind,
        "TOOL_CALL_RESULT"
            | "tool_result"
            | "tool-output-available"
            | "tool-output-error"
            | "tool-output-denied"
    )
}

/// The call whose result a chunk gives, when its type [gives one](is_result).
pub fn call_of_result(chunk: &Value) -> Option<&str> {
    let gives = chunk.get("type").and_then(Value::as_str).is_some_and(is_result);
    if gives { chunk.get("toolCallId")?.as_str() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_however_it_is_spelled() {
        for chunk in [
            r#"{"type":"config"}"#,
            r#" {"a":1,"type":"config"}"#,
            r#"{"type":"\u0063onfig"}"#,
            r#"{"type":"RUN_STARTED","type":"config"}"#,
            r#"{"type":"x","title":"\ud800","type":"config"}"#,
        ] {
            assert_eq!(chunk_kind(chunk).as_deref(), Some("config"), "{chunk}");
        }
        for chunk in [r#"["config"]"#, r#"{"type":["config"]}"#, "", "config", r#"{"type":1}"#] {
            assert_eq!(chunk_kind(chunk), None, "{chunk}");
        }
    }
}
