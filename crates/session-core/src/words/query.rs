//! A person's query, as terms and as an expression of the full-text index.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::SearchRange;
use super::text::{SearchText, folded, spaced, stands_alone};

/// Longer queries are cut: nobody reads what more they could say.
const MAX_CHARS: usize = 400;
/// Greatest number of terms that are looked for.
const MAX_TERMS: usize = 16;

/// One thing that must be in a message: words that follow each other.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// The query as it was typed, without quotes.
    raw: String,
    /// Words of the term, folded; the last one may go on in the text.
    pub(crate) words: Vec<Vec<char>>,
    /// The last word may go on.
    pub(crate) open: bool,
}

/// A search for every term, in any order.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) terms: Vec<Term>,
}

impl Query {
    /// Reads what was typed. Words in quotes must follow each other exactly; nothing is an error.
    pub(crate) fn parse(typed: &str) -> Self {
        let typed: String = typed.nfc().filter(|c| *c != '\0').take(MAX_CHARS).collect();
        let mut terms = Vec::new();
        for (n, piece) in typed.split(['"', '“', '”', '„']).enumerate() {
            if n % 2 == 1 {
                terms.extend(Term::new(piece, true));
            } else {
                terms.extend(piece.split_whitespace().filter_map(|word| Term::new(word, false)));
            }
        }
        terms.truncate(MAX_TERMS);
        Self { terms }
    }

    /// Whether there is no term.
    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The query in the index's language: every term a quoted string, so that nothing a person can
    /// type is syntax. `None` when some term has no word, only signs.
    pub(crate) fn expression(&self) -> Option<String> {
        Some(self.expressions()?.join(" AND "))
    }

    /// Expressions of the index, one for each term.
    pub(crate) fn expressions(&self) -> Option<Vec<String>> {
        let terms = self.terms.iter().map(|term| {
            if term.words.is_empty() {
                return None;
            }
            let quoted = spaced(&term.raw).replace('"', " ");
            Some(format!("\"{quoted}\"{}", if term.open { "*" } else { "" }))
        });
        terms.collect()
    }

    /// Whether every term stands in a text, also inside its words.
    pub(crate) fn is_in(&self, text: &SearchText) -> bool {
        let all = [&text.said, &text.tools, &text.thought].map(|text| text.to_lowercase());
        self.raw().all(|term| {
            let term = term.to_lowercase();
            all.iter().any(|text| text.contains(&term))
        })
    }

    /// The terms as they were typed.
    pub(crate) fn raw(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.raw.as_str())
    }
}

impl Term {
    /// The query as it was typed, without quotes.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    fn new(typed: &str, exact: bool) -> Option<Self> {
        let raw = typed.trim();
        if raw.is_empty() {
            return None;
        }
        let words = words(raw);
        // One letter begins a great many words; what follows a sign ends there.
        let open = !exact
            && raw.ends_with(char::is_alphanumeric)
            && words.last().is_some_and(|last| last.len() > 1);
        Some(Self { raw: raw.to_owned(), words, open })
    }
}

/// The folded words of a text.
fn words(text: &str) -> Vec<Vec<char>> {
    let mut words: Vec<Vec<char>> = Vec::new();
    let mut inside = false;
    for c in text.chars() {
        let Some(folded) = folded(c) else { continue };
        if stands_alone(c) {
            words.push(vec![folded]);
            inside = false;
        } else if folded.is_alphanumeric() {
            match words.last_mut().filter(|_| inside) {
                Some(word) => word.push(folded),
                None => words.push(vec![folded]),
            }
            inside = true;
        } else {
            inside = false;
        }
    }
    words
}

/// A filter of titles. A title must have every word, in any case, without accents, also inside a
/// word.
pub(crate) struct TitleFilter {
    terms: Vec<String>,
}

impl TitleFilter {
    /// Reads what was typed. `None` when nothing is looked for.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        let query = Query::parse(typed);
        (!query.is_empty()).then(|| Self { terms: query.raw().map(fold).collect() })
    }

    pub(crate) fn matches(&self, title: &str) -> bool {
        let title = fold(title);
        self.terms.iter().all(|term| title.contains(term.as_str()))
    }
}

impl TitleFilter {
    /// Places of the first of each word in a title that matches, in order, apart from each other.
    pub(crate) fn ranges(&self, title: &str) -> Vec<SearchRange> {
        // The folded title, and which code units of the title each of its bytes is of.
        let (mut text, mut units, mut at) = (String::new(), Vec::new(), 0);
        for letter in letters(title) {
            let end = at + u32::try_from(letter.encode_utf16().count()).unwrap_or(0);
            text.extend(letter.nfc().filter_map(folded));
            // What is no letter by itself, a mark, belongs to the one before.
            match text.len() > units.len() {
                true => units.resize(text.len(), (at, end)),
                false => units.iter_mut().rev().take_while(|unit| unit.1 == at).for_each(|unit| {
                    unit.1 = end;
                }),
            }
            at = end;
        }
        let mut ranges: Vec<SearchRange> = self
            .terms
            .iter()
            .filter_map(|term| {
                let from = text.find(term.as_str())?;
                let last = units.get((from + term.len()).checked_sub(1)?)?;
                Some(SearchRange { start: units.get(from)?.0, end: last.1 })
            })
            .collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        ranges.dedup_by(|next, range| {
            let meets = next.start < range.end;
            if meets {
                range.end = range.end.max(next.end);
            }
            meets
        });
        ranges
    }
}

fn fold(text: &str) -> String {
    text.nfc().filter_map(folded).collect()
}

/// Pieces of a text that can be composed each for itself.
fn letters(text: &str) -> impl Iterator<Item = &str> {
    let joins = |c: char| is_combining_mark(c) || ('\u{1160}'..='\u{11ff}').contains(&c);
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?.len_utf8();
        let end = rest[first..].find(|c| !joins(c)).map_or(rest.len(), |at| first + at);
        let (letter, after) = rest.split_at(end);
        rest = after;
        Some(letter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_every_word_in_any_case_and_without_accents() {
        let matches =
            |typed: &str, title| TitleFilter::parse(typed).is_none_or(|f| f.matches(title));
        assert!(matches("resume CAFE", "Café: mon Résumé"));
        assert!(matches("résumé", "RESUME of it"));
        assert!(matches("sum", "résumé"), "also inside a word");
        assert!(matches("\"mon ré\"", "Mon résumé") && !matches("\"ré mon\"", "Mon résumé"));
        assert!(matches("京", "東京の件"));
        assert!(!matches("resume tea", "Café: mon Résumé"));
        assert!(matches("  ", "anything"));
    }

    #[test]
    fn the_places_of_words_in_a_title_are_those_of_its_own_letters() {
        let ranges = |typed: &str, title| -> Vec<(u32, u32)> {
            let filter = TitleFilter::parse(typed).expect("something is looked for");
            assert!(filter.matches(title));
            filter.ranges(title).into_iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(ranges("resume cafe", "🙂 Cafe\u{301} résumé"), [(3, 8), (9, 15)]);
        assert_eq!(ranges("abc bcd", "abcd"), [(0, 4)], "what overlaps is one");
        assert_eq!(ranges("a a", "ba"), [(1, 2)]);
    }

    fn expression(typed: &str) -> Option<String> {
        Query::parse(typed).expression()
    }

    #[test]
    fn words_are_terms_and_quotes_make_phrases() {
        assert_eq!(expression("fix bug").as_deref(), Some(r#""fix"* AND "bug"*"#));
        assert_eq!(expression(r#""fix the" bug"#).as_deref(), Some(r#""fix the" AND "bug"*"#));
        assert_eq!(expression("東京").as_deref(), Some(r#"" 東  京 ""#));
        assert!(Query::parse("  \n ").is_empty());
        assert_eq!(expression("🙂"), None);
    }

    #[test]
    fn a_title_is_found_in_either_form_and_marked_where_it_stands() {
        let decomposed = "\u{1112}\u{116c}\u{110b}\u{1174}\u{1105}\u{1169}\u{11a8} 1";
        for typed in ["회의록", "\u{1112}\u{116c}\u{110b}\u{1174}", "의록"] {
            for title in ["회의록 1", decomposed] {
                let filter = TitleFilter::parse(typed).expect("something is looked for");
                assert!(filter.matches(title), "{typed} in {title}");
            }
        }
        let filter = TitleFilter::parse("회의").expect("something is looked for");
        assert_eq!(filter.ranges(decomposed), [SearchRange { start: 0, end: 4 }]);
    }

    #[test]
    fn nothing_typed_is_syntax() {
        for typed in ["a AND", "NEAR(", "said:x", "x*", "^x", "-x", "a\"b", "\"", "(", "{a b}:c"] {
            let all = expression(typed).filter(|all| !all.is_empty());
            for term in all.iter().flat_map(|all| all.split(" AND ")) {
                let inner = term.trim_end_matches('*');
                assert!(inner.len() >= 2 && inner.starts_with('"') && inner.ends_with('"'));
                assert!(!inner[1..inner.len() - 1].contains('"'), "{typed}: {term}");
            }
        }
    }
}
