//! Foreign JSON, read so that one odd value costs itself only.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

/// Depth to which odd values are looked for.
const DEPTH: usize = 8;
/// Letters of an error that a person is shown.
const MAX_SAID: usize = 300;
/// Half a character of UTF-16 stands in a parsed text as the character this far above it, in the last private plane.
const HALVES: u32 = 0x10_0000;

/// Parses JSON. Halves of UTF-16 characters become marks that [`whole`] joins, numbers that JSON does not have `null`,
/// and what is nested too deeply for a value is left out. `None` when it is no JSON.
pub(crate) fn parse(raw: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(raw) {
        return Some(value);
    }
    let marked = marked(raw);
    shallow(&marked, DEPTH).or_else(|| shallow(&mended(&marked), DEPTH))
}

fn shallow(raw: &str, depth: usize) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(raw) {
        return Some(value);
    }
    let depth = depth.checked_sub(1)?;
    if raw.trim_start().starts_with('{') {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
        let fields = fields.into_iter();
        Some(Value::Object(
            fields.filter_map(|(key, raw)| Some((key, shallow(raw.get(), depth)?))).collect(),
        ))
    } else {
        let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
        Some(items.into_iter().filter_map(|raw| shallow(raw.get(), depth)).collect())
    }
}

/// JSON text with a mark for each escape of half a character.
fn marked(raw: &str) -> String {
    let unit = |at: usize| -> Option<u32> {
        let hex = raw.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(hex, 16).ok()
    };
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while let Some(next) = raw[at..].find('\\').map(|next| at + next) {
        out.push_str(&raw[at..next]);
        let (low, len) = match (unit(next), unit(next + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (None, 12),
            (Some(half @ 0xd800..0xe000), _) => (char::from_u32(HALVES + half), 6),
            (Some(_), _) => (None, 6),
            (None, _) => (None, 1 + raw[next + 1..].chars().next().map_or(0, char::len_utf8)),
        };
        match low {
            Some(mark) => out.push(mark),
            None => out.push_str(&raw[next..next + len]),
        }
        at = next + len;
    }
    out.push_str(&raw[at..]);
    out
}

/// A text of a parsed value as it was meant: the half at its end waits in `half` for the one that the next text begins
/// with, and a half that stays alone becomes U+FFFD.
pub(crate) fn whole(text: String, half: &mut Option<u32>) -> String {
    let of = |c: char| u32::from(c).checked_sub(HALVES).filter(|u| (0xd800..0xe000).contains(u));
    // The marks are in the plane whose letters begin with this byte.
    if half.is_none() && !text.bytes().any(|byte| byte == 0xf4) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let unit = of(c);
        match (half.take(), unit) {
            (Some(high), Some(low @ 0xdc00..)) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                continue;
            }
            (Some(_), _) => out.push(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match unit {
            Some(high @ ..0xdc00) => *half = Some(high),
            Some(_) => out.push(char::REPLACEMENT_CHARACTER),
            None => out.push(c),
        }
    }
    out
}

/// JSON text without what other languages write for JSON: `NaN`, `Infinity`, `None`, `True`, `False`, control
/// characters and needless escapes in strings.
pub(crate) fn mended(raw: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("-Infinity", "null"),
        ("Infinity", "null"),
        ("-inf", "null"),
        ("NaN", "null"),
        ("None", "null"),
        ("True", "true"),
        ("False", "false"),
    ];
    let mut out = String::with_capacity(raw.len());
    let mut in_text = false;
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '"' => {
                in_text = !in_text;
                out.push(c);
            }
            '\\' if in_text => {
                let next = rest[1..].chars().next();
                taken += next.map_or(0, char::len_utf8);
                match next {
                    Some(next @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u')) => {
                        out.extend(['\\', next]);
                    }
                    Some(next) => out.push(next),
                    None => {}
                }
            }
            c if in_text && c < ' ' => {
                out.push_str("\\u00");
                out.extend(
                    [u32::from(c) >> 4, u32::from(c) & 15]
                        .map(|digit| char::from_digit(digit, 16).expect("four bits are a digit")),
                );
            }
            _ if in_text => out.push(c),
            _ => match WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
                Some((word, meant)) => {
                    taken = word.len();
                    out.push_str(meant);
                }
                None => out.push(c),
            },
        }
        rest = &rest[taken..];
    }
    out
}

/// The words of an error, in whatever shape it comes; at most a few lines of them. `None` when it has none.
pub(crate) fn said(error: &Value) -> Option<String> {
    let text = words(error, DEPTH)?;
    let text = whole(text, &mut None);
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(MAX_SAID).collect())
}

/// Fields that say what went wrong, the most telling first.
const SAYING: [&str; 16] = [
    "message",
    "msg",
    "detail",
    "error",
    "errors",
    "error_message",
    "errorMessage",
    "error_msg",
    "status_msg",
    "errorText",
    "reason",
    "description",
    "title",
    "text",
    "error_description",
    "data",
];

fn words(error: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match error {
        Value::String(text) => match text.trim_start().starts_with(['{', '[']) {
            true => {
                parse(text).and_then(|inner| words(&inner, depth)).or_else(|| Some(text.clone()))
            }
            false => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        },
        Value::Array(items) => {
            let all: Vec<String> =
                items.iter().take(5).filter_map(|item| words(item, depth)).collect();
            (!all.is_empty()).then(|| all.join("; "))
        }
        Value::Object(fields) => {
            let mut text = SAYING.iter().find_map(|name| words(fields.get(*name)?, depth))?;
            // Where in a request it is, as FastAPI says it.
            if let Some(Value::Array(path)) = fields.get("loc") {
                let path: Vec<String> = path.iter().filter_map(step).collect();
                text = format!("{text} ({})", path.join("."));
            }
            // What the provider behind a router said.
            if let Some(raw) = fields.get("metadata").and_then(|metadata| metadata.get("raw"))
                && let Some(raw) = words(raw, depth)
            {
                text = format!("{text}: {raw}");
            }
            Some(text)
        }
        _ => None,
    }
}

fn step(step: &Value) -> Option<String> {
    step.as_str().map(str::to_owned).or_else(|| step.as_u64().map(|index| index.to_string()))
}

/// Whether a value says that there is an error: `null`, `false`, 0 and what is empty say that there is none.
pub(crate) fn is_error(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => items.iter().any(is_error),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// The error that an object is about, when it is one and says nothing else: an error field, an object that calls itself
/// an error, or words beside a code.
pub(crate) fn error_in(chunk: &Value) -> Option<Value> {
    let fields = chunk.as_object()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if let Some(error) = fields.get("error").filter(|error| is_error(error)) {
        // Words beside a mere flag or a name say more.
        let more = matches!(error, Value::Bool(_) | Value::Number(_) | Value::String(_))
            && ["message", "detail"].iter().any(|name| fields.get(*name).and_then(said).is_some());
        return Some(if more { without_error(fields) } else { error.clone() });
    }
    let names_itself =
        |name: &str| text(name).is_some_and(|text| text.to_lowercase().ends_with("error"));
    let named = ["object", "type", "status"].into_iter().any(names_itself);
    let speaks = |names: &[&str]| {
        names.iter().any(|name| {
            fields.get(*name).is_some_and(|value| is_error(value) && said(value).is_some())
        })
    };
    let coded = fields.iter().any(|(name, value)| is_failing(name, value));
    let only = speaks(&["detail", "errors", "error_message", "errorMessage", "error_msg"]);
    let words = speaks(&["message", "msg", "status_msg", "errorText"]);
    (named || only || (words && (coded || fields.len() == 1))).then(|| chunk.clone())
}

/// Whether a field says by a code that something failed.
fn is_failing(name: &str, value: &Value) -> bool {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_lowercase(),
        Value::Bool(false) => return name == "success",
        _ => return false,
    };
    match name {
        "code" | "status_code" | "statusCode" | "errorCode" | "error_code" => {
            !["", "0", "200", "ok", "success"].contains(&&*text)
        }
        "status" => {
            text.contains("err")
                || text.contains("fail")
                || text.parse().is_ok_and(|code: u32| code >= 400)
        }
        _ => false,
    }
}

fn without_error(fields: &serde_json::Map<String, Value>) -> Value {
    fields.iter().filter(|(key, _)| *key != "error").map(|(k, v)| (k.clone(), v.clone())).collect()
}
