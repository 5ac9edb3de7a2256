//! Thoughts and calls that stand as `<details type="…">` in a text, with attributes in escaped HTML.

use serde_json::Value;

use crate::html::unescaped;
use crate::model::{Call, CallState};
use crate::text as words;
use crate::turns::Turns;

/// Says a text: what stands in such tags as what it is, the rest as words.
pub(crate) fn say(text: &str, turns: &mut Turns) {
    let text = words::clean(text);
    let mut rest = text.as_str();
    while let Some((at, tag)) = next(rest) {
        turns.text_with_thoughts(&rest[..at]);
        let behind = &rest[at + tag.len..];
        let (inside, next) = match behind.find("</details>") {
            Some(end) => (&behind[..end], &behind[end + "</details>".len()..]),
            None => (behind, ""),
        };
        block(&tag, inside, turns);
        rest = next.trim_start();
    }
    turns.text_with_thoughts(rest);
}

struct Tag {
    attributes: Vec<(String, String)>,
    /// Its length in bytes.
    len: usize,
}

impl Tag {
    fn get(&self, name: &str) -> &str {
        self.attributes.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// The next tag of a kind that is known, at the beginning of a line and outside of code.
fn next(text: &str) -> Option<(usize, Tag)> {
    let (mut at, mut fenced) = (0, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") {
            fenced = !fenced;
        } else if !fenced && trimmed.starts_with("<details") {
            let begin = at + line.len() - trimmed.len();
            if let Some(tag) = tag(&text[begin..])
                && matches!(tag.get("type"), "reasoning" | "tool_calls" | "code_interpreter")
            {
                return Some((begin, tag));
            }
        }
        at += line.len();
    }
    None
}

fn tag(text: &str) -> Option<Tag> {
    let bytes = text.as_bytes();
    let mut at = "<details".len();
    let mut attributes = Vec::new();
    loop {
        while bytes.get(at)?.is_ascii_whitespace() {
            at += 1;
        }
        if bytes[at] == b'>' {
            return Some(Tag { attributes, len: at + 1 });
        }
        let begin = at;
        while !matches!(bytes.get(at)?, b'=' | b'>') && !bytes[at].is_ascii_whitespace() {
            at += 1;
        }
        let name = text.get(begin..at)?.to_owned();
        let mut value = String::new();
        if bytes[at] == b'=' && matches!(bytes.get(at + 1)?, b'"' | b'\'') {
            let quote = bytes[at + 1];
            let begin = at + 2;
            let end = begin + bytes[begin..].iter().position(|byte| *byte == quote)?;
            value = unescaped(text.get(begin..end)?);
            at = end + 1;
        } else if begin == at {
            at += 1;
        }
        attributes.push((name, value));
    }
}

fn block(tag: &Tag, inside: &str, turns: &mut Turns) {
    let body = match inside.find("</summary>") {
        Some(end) => &inside[end + "</summary>".len()..],
        None => inside,
    };
    let body = unescaped(body.trim());
    match tag.get("type") {
        "reasoning" => {
            let lines = body.lines().map(|line| {
                line.strip_prefix("> ").or_else(|| line.strip_prefix('>')).unwrap_or(line)
            });
            turns.reasoning(lines.collect::<Vec<_>>().join("\n").trim());
        }
        "tool_calls" => {
            let output = once(tag.get("result"));
            let ended = tag.get("done") != "false" && !tag.get("result").is_empty();
            turns.call(Call {
                id: Some(tag.get("id")).filter(|id| !id.is_empty()).map(str::to_owned),
                name: tag.get("name").to_owned(),
                input: twice(tag.get("arguments")),
                state: if ended { CallState::Done } else { CallState::Ready },
                output: ended.then(|| words::output_of(&output)),
                error: None,
            });
        }
        _ => {
            let code = body.trim().trim_start_matches("```");
            let code = code.split_once('\n').map_or(code, |(_, code)| code);
            let output = tag.get("output");
            turns.call(Call {
                id: None,
                name: "code_interpreter".to_owned(),
                input: Value::String(code.trim_end().trim_end_matches("```").trim_end().to_owned()),
                state: if output.is_empty() { CallState::Ready } else { CallState::Done },
                output: (!output.is_empty()).then(|| once(output)),
                error: None,
            });
        }
    }
}

/// JSON in text.
fn once(text: &str) -> Value {
    words::json_or_text(text)
}

/// JSON in a string of JSON.
fn twice(text: &str) -> Value {
    match once(text) {
        Value::String(inner) => words::input_of(Some(&Value::String(inner))),
        other => words::input_of(Some(&other)),
    }
}
