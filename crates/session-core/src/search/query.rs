//! What a person typed, as terms, and as an expression of the full-text index.

use super::text::{SearchText, folded, spaced, stands_alone};

/// Longer queries are cut: nobody reads what more they could say.
const MAX_CHARS: usize = 400;
/// So many terms are looked for at most.
const MAX_TERMS: usize = 16;

/// One thing that must be in a message: words that follow each other.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// As it was typed, without quotes.
    raw: String,
    /// Its words, folded; the last one may go on in the text.
    pub(super) words: Vec<Vec<char>>,
    /// The last word may go on.
    pub(super) open: bool,
}

/// What a person looks for: every term, in any order.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(super) terms: Vec<Term>,
}

impl Query {
    /// Reads what was typed. Words in quotes must follow each other exactly; nothing is an error.
    pub(crate) fn parse(typed: &str) -> Self {
        let typed: String = typed.chars().filter(|c| *c != '\0').take(MAX_CHARS).collect();
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

    /// Nothing is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The query in the index's language: every term a quoted string, so that nothing a person can
    /// type is syntax. `None` when some term has no word, only signs.
    pub(crate) fn expression(&self) -> Option<String> {
        let mut all = String::new();
        for term in &self.terms {
            if term.words.is_empty() {
                return None;
            }
            if !all.is_empty() {
                all.push_str(" AND ");
            }
            all.push('"');
            all.push_str(&spaced(&term.raw).replace('"', " "));
            all.push('"');
            if term.open {
                all.push('*');
            }
        }
        Some(all)
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
    /// As it was typed, without quotes.
    pub(super) fn raw(&self) -> &str {
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

#[cfg(test)]
mod tests {
    use super::*;

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
