//! Text of others on a terminal: nothing in it is obeyed, and nothing in it is hidden.

use session_server::{hides, shapes};

/// Words of somebody else that are short (what an agent asks for, a name, an id), as they may be
/// shown: every character that cannot be seen is shown by its number, so that what is approved is
/// what is read. Of control characters only the end of a line and a tab are left.
pub(crate) fn clean(text: &str) -> String {
    shown(text, |_, _| false)
}

/// Words of a message, as they may be shown: cleaned as [`clean`] does, with the joiners of scripts
/// and emoji where they join something. `before` is the character that was printed just before.
pub(crate) fn clean_words(before: Option<char>, text: &str) -> String {
    let mut before = before;
    shown(text, |c, inside| {
        let joined = if inside.is_some() { inside } else { before.take() };
        shapes(c) && joined.is_some_and(|c| !c.is_ascii() && (!hides(c) || shapes(c)))
    })
}

/// The text with what is hidden in it shown, except where `keeps` says so of a character and the
/// one before it.
fn shown(text: &str, mut keeps: impl FnMut(char, Option<char>) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || keeps(c, before) {
            out.push(c);
        } else if c.is_control() {
            // A terminal would obey it; there is nothing to see of it either.
        } else if hides(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        before = Some(c);
    }
    out
}

/// JSON as it is written, with what is hidden in its strings as escapes: the same to who reads it.
pub(crate) fn clean_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // All of JSON outside strings is ASCII, and in them its controls are escapes already.
        if !c.is_ascii() && hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_command_the_terminal() {
        for clean in [clean, |text: &str| clean_words(None, text)] {
            assert_eq!(clean("a\x1b[2Jb\r\nc\td\u{9b}1m"), "a[2Jb\nc\td1m");
        }
    }

    #[test]
    fn what_is_hidden_is_shown() {
        assert_eq!(clean("rm \u{202e}fdp.exe"), "rm \\u{202e}fdp.exe");
        assert_eq!(
            clean("a\u{ad}\u{3164}\u{e0041}\u{fe0f}"),
            "a\\u{ad}\\u{3164}\\u{e0041}\\u{fe0f}"
        );
        assert_eq!(clean_words(None, "a\u{202e}b\u{200d}"), "a\\u{202e}b\\u{200d}");
        assert_eq!(clean("a b é 安 🦀"), "a b é 安 🦀");
    }

    #[test]
    fn json_stays_the_same_and_hides_nothing() {
        let value = serde_json::json!({"a\u{202e}": ["\u{9b}1m\u{e0041}\u{feff}", "\n\"\\é🦀"]});
        let json = clean_json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        assert!(!json.contains(|c: char| !c.is_ascii() && hides(c)), "{json}");
    }

    #[test]
    fn words_keep_what_scripts_and_emoji_are_written_with() {
        for words in ["❤\u{fe0f}", "👩\u{200d}🔬", "می\u{200c}خواهم", "🏳\u{fe0f}\u{200d}🌈"]
        {
            assert_eq!(clean_words(None, words), words);
            assert_ne!(clean(words), words);
        }
        // A joiner may come in a later piece than what it joins.
        assert_eq!(clean_words(Some('👩'), "\u{200d}🔬"), "\u{200d}🔬");
        assert_eq!(clean_words(Some('x'), "\u{200d}🔬"), "\\u{200d}🔬");
    }
}
