//! Names: what they may look like, and when two of them look the same.
//!
//! People decide by names: who speaks, whose agent asks, which session this is. So an id (of a session, or of who acts)
//! is all there is to see of it: normalised (NFC), without characters that cannot be seen or that change how others
//! look. That leaves out the joiners which some scripts write words with, and the variation selectors of emoji: an id
//! without them can still be read. A label (a display name) may have both, and they do not count when names are
//! compared. What cannot be seen is decided by Unicode's properties, what looks the same by its table of confusables
//! (UTS #39).

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup},
};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Bytes that an id may have.
pub(crate) const MAX_ID: usize = 256;

/// Whether a character cannot be seen, changes how the text around it looks, or is nobody's yet: controls, marks of
/// direction, joiners, variation selectors, fillers, tags, other spaces than the usual one.
///
/// ```
/// assert!(session_server::hides('\u{202e}') && session_server::hides('\u{115f}'));
/// assert!(!session_server::hides('é') && !session_server::hides(' '));
/// ```
pub fn hides(c: char) -> bool {
    const EMPTY: GeneralCategoryGroup = GeneralCategoryGroup::Other
        .union(GeneralCategoryGroup::LineSeparator.union(GeneralCategoryGroup::ParagraphSeparator));
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    EMPTY.contains(category)
        || category == GeneralCategory::SpaceSeparator
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || matches!(c, '\u{2800}' | '\u{fffc}') // the blank of Braille, and what stands for a picture
}

/// Whether a character only joins the ones beside it or picks how the one before it is drawn: text needs it, in
/// Persian, in the scripts of India and in emoji.
///
/// ```
/// assert!(session_server::shapes('\u{200d}') && !session_server::shapes('\u{202e}'));
/// ```
pub fn shapes(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// The normalised (NFC) form of a name, which is how sessions are named.
pub fn normalised(name: &str) -> String {
    name.nfc().collect()
}

/// Whether a text can name what an agent asks for, which it names itself.
pub(crate) fn is_name(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && !id.chars().any(char::is_control)
}

/// Whether a text can name an agent, or a session that was made when more could.
pub(crate) fn is_id(id: &str) -> bool {
    is_name(id) && id != "." && id != ".." && !id.contains(['/', '\\', '?', '#'])
}

/// Whether a text can name a session or who acts: an id that is all there is to see of it, so that no two look the same
/// for what is not seen.
pub(crate) fn is_plain_id(name: &str) -> bool {
    is_id(name)
        && name.trim() == name
        && !name.contains(hides)
        && !name.starts_with(is_mark)
        && is_nfc(name)
}

/// Whether a text can be shown as a name, apart from its length.
pub(crate) fn is_label(text: &str) -> bool {
    !text.chars().any(|c| hides(c) && !shapes(c)) && !text.starts_with(is_mark)
}

/// Whether a character is drawn over the one before it.
fn is_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// The looks of a name. Two that look the same have the same letters to a reader's eye, whatever they are, and whether
/// they are capitals or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looks {
    as_written: String,
    /// A capital I is an l to the eye, and an i to who reads it aloud.
    as_read: String,
}

impl Looks {
    pub(crate) fn of(name: &str) -> Self {
        let seen = |text: &str| -> String {
            unicode_security::skeleton(text).filter(|c| !c.is_whitespace()).collect()
        };
        Self { as_written: seen(name), as_read: seen(&name.to_lowercase()).to_lowercase() }
    }

    /// Whether somebody may take one for the other.
    pub(crate) fn like(&self, other: &Self) -> bool {
        self.as_written == other.as_written || self.as_read == other.as_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_in_no_id() {
        for c in [
            '\u{0}',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{2066}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffc}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            assert!(hides(c), "{c:?}");
            assert!(!is_plain_id(&format!("a{c}b")), "{c:?}");
        }
        for name in ["e\u{301}", "\u{301}a", " a", "a ", "a/b", "", ".."] {
            assert!(!is_plain_id(name), "{name:?}");
        }
        for name in ["Ann Lee", "Zo\u{eb}", "安娜", "🦀", "नमस्ते", "مریم", "O'Neil-2_x", "\u{fffd}"]
        {
            assert!(is_plain_id(name) && is_label(name), "{name:?}");
        }
    }

    #[test]
    fn labels_have_what_scripts_and_emoji_need() {
        for label in ["", "می\u{200c}خواهم", "क्\u{200d}ष", "❤\u{fe0f}", "👩\u{200d}🔬 Lab"]
        {
            assert!(is_label(label), "{label:?}");
        }
        for label in ["a\u{202e}b", "a\nb", "a\u{3164}", "\u{301}a"] {
            assert!(!is_label(label), "{label:?}");
        }
    }

    #[test]
    fn names_that_look_the_same_are_known() {
        let like = |a, b| Looks::of(a).like(&Looks::of(b));
        for (a, b) in [
            ("ann", "ann"),
            ("ann", "Ann"),
            ("ann", "\u{430}nn"),
            ("ann", "a\u{200d}nn"),
            ("paypal", "pаypаl"),
            ("Iris", "lris"),
            ("iris", "IRIS"),
            ("mark", "rnark"),
            ("Ann Lee", "Ann  Lee"),
            ("ann", "ＡＮＮ"),
            ("e\u{301}va", "\u{e9}va"),
        ] {
            assert!(like(a, b), "{a} {b}");
        }
        for (a, b) in [("ann", "anna"), ("kermit", "hermit"), ("ann", "änn"), ("a", "b")] {
            assert!(!like(a, b), "{a} {b}");
        }
    }
}
