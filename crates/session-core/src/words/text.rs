//! The searched text of a message, and how text becomes words.
//!
//! The index knows words: runs of letters and digits, without case and diacritics. Scripts that are
//! written without spaces have none, so each of their characters is a word of its own, and what a
//! person types of them is looked for as a phrase: any part of a sentence is found, a single
//! character too. That needs a fifteenth of the time and a sixth of the space of an index of
//! trigrams, and finds queries of one and two characters, which trigrams do not.

use session_protocol::{Message, Part};
use unicode_normalization::char::{decompose_canonical, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The searched text of a message, most telling first.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SearchText {
    /// Text.
    pub(crate) said: String,
    /// Names and arguments of the tools.
    pub(crate) tools: String,
    /// Thoughts of the model.
    pub(crate) thought: String,
}

impl SearchText {
    /// The searched text of a message; empty for messages that are never shown.
    pub(crate) fn of(message: &Message) -> Self {
        let mut all = Self::default();
        if message.hidden {
            return all;
        }
        for part in &message.parts {
            match part {
                Part::Text { text, subagent: None, .. } => push(&mut all.said, text),
                // Said to the agent that called it.
                Part::Text { text, .. } => push(&mut all.thought, text),
                Part::Reasoning { text, .. } => push(&mut all.thought, text),
                Part::ToolCall(call) => {
                    push(&mut all.tools, &call.name);
                    push(&mut all.tools, &call.arguments);
                }
                Part::StructuredOutput { raw, .. } => push(&mut all.said, raw),
                Part::File(file) => push(&mut all.said, file.filename.as_deref().unwrap_or("")),
                Part::Source(source) => push(&mut all.said, source.title.as_deref().unwrap_or("")),
                Part::SteeringMessage { text, .. } => push(&mut all.said, text),
                Part::Question(question) => {
                    push(&mut all.said, question.message.as_deref().unwrap_or(""));
                }
                Part::Subagent(subagent) => push(&mut all.tools, &subagent.name),
                Part::Data { .. } | Part::Activity(_) | Part::StepStart => {}
            }
        }
        for text in [&mut all.said, &mut all.tools, &mut all.thought] {
            if is_nfc_quick(text.chars()) != IsNormalized::Yes {
                *text = text.nfc().collect();
            }
        }
        all
    }

    /// The parts of its identifiers that no sign sets apart, in each place with what follows:
    /// `getUserName` has `UserName` and `Name`.
    pub(crate) fn parts(&self) -> String {
        let mut parts = String::new();
        for text in [&self.said, &self.tools, &self.thought] {
            for word in text.split(|c: char| !c.is_alphanumeric()) {
                // Nobody names a thing so; it is data in letters. Most other words have no capital inside.
                if word.len() > MAX_IDENTIFIER || !may_have_humps(word) {
                    continue;
                }
                for at in humps(word).take(MAX_HUMPS) {
                    parts.push_str(&word[at..]);
                    parts.push(' ');
                }
            }
        }
        parts
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty() && self.tools.is_empty() && self.thought.is_empty()
    }

    /// Sets every character of a script without spaces apart, as it is indexed.
    pub(crate) fn spaced(mut self) -> Self {
        for text in [&mut self.said, &mut self.tools, &mut self.thought] {
            if text.chars().any(stands_alone) {
                *text = spaced(text);
            }
        }
        self
    }
}

/// Bytes of the longest identifier whose parts are indexed, and how many parts of one.
const MAX_IDENTIFIER: usize = 80;
const MAX_HUMPS: usize = 8;

/// Indexes at which the second and later parts of an identifier begin: at a capital behind a small
/// letter or digit, and at the last of several capitals before a small letter (`HTTPServer`).
fn humps(word: &str) -> impl Iterator<Item = usize> {
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    (1..letters.len()).filter_map(move |n| {
        let (at, c) = letters[n];
        let before = letters[n - 1].1;
        let small_after = letters.get(n + 1).is_some_and(|(_, c)| c.is_lowercase());
        let begins = c.is_uppercase() && (!before.is_uppercase() || small_after);
        begins.then_some(at)
    })
}

/// Whether a word has a capital behind its first letter, or letters of which that is not known.
fn may_have_humps(word: &str) -> bool {
    word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii())
}

fn push(to: &mut String, text: &str) {
    if !to.is_empty() && !text.is_empty() {
        to.push('\n');
    }
    to.push_str(text);
}

/// Whether a character is a word of its own: its script is written without spaces.
pub(crate) fn stands_alone(c: char) -> bool {
    // Nearly all characters are before these.
    c >= '\u{0E00}'
        && matches!(u32::from(c),
        0x0E00..=0x0EFF     // Thai, Lao
        | 0x1000..=0x109F   // Myanmar
        | 0x1100..=0x11FF   // Hangul letters
        | 0x1780..=0x17FF   // Khmer
        | 0x2E80..=0x2FDF   // CJK radicals
        | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3031..=0x3035
        | 0x3041..=0x312F   // Hiragana, Katakana, Bopomofo
        | 0x3131..=0x318E | 0x31A0..=0x31BF | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xA960..=0xA97F | 0xAC00..=0xD7FF // Hangul syllables
        | 0xF900..=0xFAFF
        | 0xFF66..=0xFFDC
        | 0x1B000..=0x1B16F
        | 0x20000..=0x3FFFF)
}

/// Sets every character that stands alone apart by spaces.
pub(crate) fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 4 / 3);
    for c in text.chars() {
        if stands_alone(c) {
            out.push(' ');
            out.push(c);
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    out
}

/// A character without case and diacritics; `None` for a mark that only changes the one before.
pub(crate) fn folded(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c.to_ascii_lowercase());
    }
    if is_combining_mark(c) && !stands_alone(c) {
        return None;
    }
    let mut base = None;
    // A syllable of Hangul is its own base.
    if !stands_alone(c) {
        decompose_canonical(c, |part| {
            base.get_or_insert(part);
        });
    }
    base.unwrap_or(c).to_lowercase().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_scripts_without_spaces_stand_apart() {
        assert_eq!(spaced("東京tower"), " 東  京 tower");
        assert_eq!(spaced("naïve — café"), "naïve — café");
    }

    #[test]
    fn identifiers_have_parts() {
        let parts =
            |said: &str| SearchText { said: said.to_owned(), ..SearchText::default() }.parts();
        assert_eq!(parts("call getUserName(id)"), "UserName Name ");
        assert_eq!(parts("HTTPServer utf8Decoder my_func a/b.rs"), "Server Decoder ");
        assert_eq!(parts("Words And CAPITALS are whole"), "");
        assert_eq!(parts(&"aA".repeat(1000)), "");
    }

    #[test]
    fn case_and_diacritics_do_not_matter() {
        let fold = |text: &str| text.chars().filter_map(folded).collect::<String>();
        assert_eq!(fold("ÁÉñ Ünïcode"), "aen unicode");
        assert_eq!(fold("cafe\u{301}"), "cafe");
        assert_eq!(fold("한국어"), "한국어");
        assert_eq!(fold("ガ"), "ガ");
    }
}
