//! Words as they are kept: line ends, characters that are none, titles, fences, thoughts in tags.

use serde_json::Value;

/// Longest title that is made of a text, in characters.
const TITLE: usize = 80;

/// The text with LF for line ends and without NUL.
pub(crate) fn clean(text: &str) -> String {
    if !text.contains(['\r', '\0']) {
        return text.to_owned();
    }
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "")
}

/// Whether there is nothing to see.
pub(crate) fn is_blank(text: &str) -> bool {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0').is_empty()
}

/// The first line that says something, as a title; `None` for a command.
pub(crate) fn title_of(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let command = line.split_whitespace().next().and_then(|word| word.strip_prefix('/'));
    if command.is_some_and(|name| !name.is_empty() && !name.contains('/')) {
        return None; // a path has more than one slash
    }
    Some(shortened(line))
}

/// A title of at most 80 characters on one line.
pub(crate) fn shortened(line: &str) -> String {
    if line.chars().count() <= TITLE {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(TITLE - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A fenced block of code.
pub(crate) fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let language: String =
        language.chars().filter(|c| c.is_alphanumeric() || "+-#._".contains(*c)).collect();
    let line = if code.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{code}{line}{fence}")
}

/// JSON where the text is JSON, else the text.
pub(crate) fn json_or_text(text: &str) -> Value {
    let trimmed = text.trim_start();
    let is_json = trimmed.starts_with(['{', '[', '"'])
        || matches!(trimmed.trim_end(), "true" | "false" | "null");
    if let Some(value) = is_json.then(|| crate::json::parse(text.as_bytes())).flatten() {
        return value;
    }
    Value::String(clean(text))
}

/// The input of a call: JSON text is JSON, nothing is an empty object.
pub(crate) fn input_of(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
        Some(Value::String(text)) if is_blank(text) => Value::Object(serde_json::Map::new()),
        Some(Value::String(text)) => json_or_text(text),
        Some(other) => other.clone(),
    }
}

/// A stretch of a text: said or thought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'t> {
    /// Words.
    Said(&'t str),
    /// Thoughts.
    Thought(&'t str),
}

/// The stretches of a text in which thoughts stand in tags at the beginning of a line: `<think>`, `<thinking>`,
/// `:::thinking`. A tag that is not closed goes to the end.
pub(crate) fn stretches(text: &str) -> Vec<Stretch<'_>> {
    const TAGS: [(&str, &str); 3] =
        [("<think>", "</think>"), ("<thinking>", "</thinking>"), (":::thinking", "\n:::")];
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let begin = TAGS.iter().filter_map(|(open, close)| {
            let at = outside_code(rest, open)?;
            Some((at, *open, *close))
        });
        let Some((at, open, close)) = begin.min_by_key(|(at, ..)| *at) else { break };
        let inside = &rest[at + open.len()..];
        let (thought, behind) = match inside.find(close) {
            Some(end) => (&inside[..end], &inside[end + close.len()..]),
            None => (inside, ""),
        };
        if !is_blank(&rest[..at]) {
            out.push(Stretch::Said(&rest[..at]));
        }
        if !is_blank(thought) {
            out.push(Stretch::Thought(thought));
        }
        rest = behind;
    }
    if !is_blank(rest) {
        out.push(Stretch::Said(rest));
    }
    out
}

/// Where a tag begins a line outside of fenced code.
fn outside_code(text: &str, tag: &str) -> Option<usize> {
    let mut fence: Option<&str> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        match fence {
            Some(mark) if trimmed.starts_with(mark) => fence = None,
            Some(_) => {}
            None if trimmed.starts_with("```") => fence = Some("```"),
            None if trimmed.starts_with("~~~") => fence = Some("~~~"),
            None if trimmed.starts_with(tag) => return Some(at + line.len() - trimmed.len()),
            None => {}
        }
        at += line.len();
    }
    None
}

/// The text of MCP-like blocks, where all of them are text: a string, a list of blocks, or an object with `content`.
pub(crate) fn of_blocks(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(clean(text)),
        Value::Array(blocks) if !blocks.is_empty() => {
            let texts: Option<Vec<String>> = blocks.iter().map(of_block).collect();
            texts.map(|texts| texts.join("\n"))
        }
        Value::Object(fields) => match fields.get("content")? {
            content @ Value::Array(_) => of_blocks(content),
            Value::String(text) => Some(clean(text)),
            _ => None,
        },
        _ => None,
    }
}

fn of_block(block: &Value) -> Option<String> {
    match block {
        Value::String(text) => Some(clean(text)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or("text");
            let text = fields.get("text").and_then(Value::as_str)?;
            matches!(kind, "text" | "input_text" | "output_text" | "Text").then(|| clean(text))
        }
        _ => None,
    }
}

/// An output: the text of text blocks, else the value.
pub(crate) fn output_of(value: &Value) -> Value {
    of_blocks(value).map_or_else(|| value.clone(), Value::String)
}

/// Words for an error of any shape.
pub(crate) fn error_of(value: &Value) -> String {
    if let Some(text) = of_blocks(value) {
        return text;
    }
    let fields = ["message", "error", "text", "output", "errorText"];
    let inner = fields.iter().find_map(|field| value.get(field)).filter(|inner| !inner.is_null());
    match inner {
        Some(inner) => error_of(inner),
        None if value.is_null() => String::new(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_in_tags_are_told_apart_outside_of_code() {
        use Stretch::{Said, Thought};
        assert_eq!(stretches("<think>a</think>b"), [Thought("a"), Said("b")]);
        assert_eq!(
            stretches("x\n:::thinking\nHm.\n:::\ny"),
            [Said("x\n"), Thought("\nHm."), Said("\ny")]
        );
        assert_eq!(stretches("```\n<think>\n```"), [Said("```\n<think>\n```")]);
        assert_eq!(stretches("a <think> b"), [Said("a <think> b")]);
        assert_eq!(stretches("<think>never closed"), [Thought("never closed")]);
    }

    #[test]
    fn a_title_is_the_first_line_and_no_command() {
        assert_eq!(title_of("\n  Hi \nyou").as_deref(), Some("Hi"));
        assert_eq!(title_of("/clear"), None);
        assert_eq!(title_of("/compact all of it"), None);
        assert_eq!(title_of("/usr/bin is full").as_deref(), Some("/usr/bin is full"));
        assert_eq!(title_of(&"ä".repeat(90)).unwrap().chars().count(), 80);
    }

    #[test]
    fn a_fence_is_longer_than_what_is_inside() {
        assert_eq!(fenced("rs", "a\n```\n"), "````rs\na\n```\n````");
    }
}
