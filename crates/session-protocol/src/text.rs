//! Strings as JavaScript writes them.
//!
//! A model's answer is cut into deltas anywhere, also between the two halves of a UTF-16 surrogate
//! pair, and `JSON.stringify` writes such a half as `\ud83d`. It is no character by itself, so a strict
//! parser refuses the whole chunk. Here a half at the end of one delta waits for the half that the next
//! delta begins with; only a half that stays alone becomes U+FFFD.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

/// A JSON string with the halves of characters it may begin and end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta<'a> {
    low: Option<u16>,
    text: Cow<'a, str>,
    high: Option<u16>,
}

impl<'a> Delta<'a> {
    /// A delta of whole characters.
    pub(crate) fn whole(text: impl Into<Cow<'a, str>>) -> Self {
        Self { low: None, text: text.into(), high: None }
    }

    /// Reads the raw JSON of a string; `None` when it is not a string.
    pub(crate) fn from_json(raw: &'a str) -> Option<Self> {
        let raw = raw.trim();
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        if !inner.contains('\\') {
            return Some(Self::whole(inner));
        }
        match serde_json::from_str::<String>(raw) {
            Ok(text) => Some(Self::whole(text)),
            Err(_) => Some(Self::lossy(inner)),
        }
    }

    /// The text of a string whose surrogates do not pair up.
    fn lossy(inner: &str) -> Self {
        let mut units: Vec<u16> = Vec::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                continue;
            }
            let unit = match chars.next() {
                Some('n') => 0x0a,
                Some('t') => 0x09,
                Some('r') => 0x0d,
                Some('b') => 0x08,
                Some('f') => 0x0c,
                Some('u') => {
                    let hex: String = chars.by_ref().take(4).collect();
                    u16::from_str_radix(&hex, 16).unwrap_or(0xfffd)
                }
                Some(other) => {
                    units.extend_from_slice(other.encode_utf16(&mut [0; 2]));
                    continue;
                }
                None => break,
            };
            units.push(unit);
        }
        let mut body = units.as_slice();
        let low = body.first().copied().filter(|u| is_low(*u));
        if low.is_some() {
            body = &body[1..];
        }
        let high = body.last().copied().filter(|u| is_high(*u));
        if high.is_some() {
            body = &body[..body.len() - 1];
        }
        Self { low, text: Cow::Owned(String::from_utf16_lossy(body)), high }
    }

    /// Whether it adds nothing that JSON reads.
    pub(crate) fn is_blank(&self) -> bool {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.low.is_none() && self.high.is_none() && self.text.as_bytes().iter().all(is_space)
    }

    /// Whether it adds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.low.is_none() && self.high.is_none()
    }

    /// Appends to `buffer`; `half` is what the delta before left over.
    pub(crate) fn append_to(&self, buffer: &mut String, half: &mut Option<u16>) {
        if self.is_empty() {
            return;
        }
        match (half.take(), self.low) {
            (Some(high), Some(low)) => buffer.push_str(&String::from_utf16_lossy(&[high, low])),
            (None, None) => {}
            _ => buffer.push('\u{fffd}'),
        }
        buffer.push_str(&self.text);
        *half = self.high;
    }

    /// The text on its own.
    pub(crate) fn into_text(self) -> Cow<'a, str> {
        if self.low.is_none() && self.high.is_none() {
            return self.text;
        }
        let mut text = String::new();
        let mut half = None;
        self.append_to(&mut text, &mut half);
        if half.is_some() {
            text.push('\u{fffd}');
        }
        Cow::Owned(text)
    }
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

/// Reads the raw JSON of a string leniently; `None` when it is not a string.
pub(crate) fn json_text(raw: &str) -> Option<Cow<'_, str>> {
    Delta::from_json(raw).map(Delta::into_text)
}

/// A string that borrows when it can, also inside an `Option`.
#[derive(Default, Deserialize)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Parses JSON, also with surrogates that do not pair up; they become U+FFFD.
pub(crate) fn lenient_value(raw: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(raw) {
        return Some(value);
    }
    if !raw.contains("\\u") {
        return None;
    }
    serde_json::from_str(&pair_surrogates(raw)).ok()
}

/// Replaces escapes of lone surrogates in JSON text.
fn pair_surrogates(raw: &str) -> String {
    let unit = |at: usize| -> Option<u16> {
        let bytes = raw.as_bytes().get(at..at + 6)?;
        if bytes[0] != b'\\' || bytes[1] != b'u' {
            return None;
        }
        u16::from_str_radix(raw.get(at + 2..at + 6)?, 16).ok()
    };
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw[at..];
        if let Some(stripped) = rest.strip_prefix('\\') {
            match unit(at) {
                Some(high @ 0xd800..0xdc00) => match unit(at + 6) {
                    Some(0xdc00..0xe000) => {
                        out.push_str(&raw[at..at + 12]);
                        at += 12;
                    }
                    _ => {
                        debug_assert!(high >= 0xd800, "matched above");
                        out.push_str("\\ufffd");
                        at += 6;
                    }
                },
                Some(0xdc00..0xe000) => {
                    out.push_str("\\ufffd");
                    at += 6;
                }
                _ => {
                    let len = 1 + stripped.chars().next().map_or(0, char::len_utf8);
                    out.push_str(&raw[at..at + len]);
                    at += len;
                }
            }
        } else {
            let len = rest.find('\\').unwrap_or(rest.len());
            out.push_str(&rest[..len]);
            at += len;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_between_two_deltas_is_whole_again() {
        let (mut text, mut half) = (String::new(), None);
        for raw in [r#""a\ud83d""#, r#""\ude42b""#, r#""c""#] {
            Delta::from_json(raw).expect("a string").append_to(&mut text, &mut half);
        }
        assert_eq!(text, "a\u{1f642}bc");
    }

    #[test]
    fn a_half_that_stays_alone_becomes_a_replacement() {
        let (mut text, mut half) = (String::new(), None);
        for raw in [r#""\ud83d""#, r#""x\u00e9\n""#, r#""\ude42""#] {
            Delta::from_json(raw).expect("a string").append_to(&mut text, &mut half);
        }
        assert_eq!(text, "\u{fffd}x\u{e9}\n\u{fffd}");
        assert_eq!(json_text(r#""\ud83d""#).as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn what_is_not_a_string_is_none() {
        assert_eq!(json_text("12"), None);
        assert_eq!(json_text("\"a"), None);
        assert_eq!(json_text("\""), None);
        assert_eq!(json_text("\"a b\"").as_deref(), Some("a b"));
    }
}
