//! The lines around a match, as plain text with ranges; never HTML.

use super::SearchField;
use crate::words::{Query, SearchRange, SearchText, Term, folded, stands_alone};

/// Number of characters that are shown before the first match, and from it on.
const BEFORE: usize = 40;
const FROM: usize = 120;
/// Greatest number of matches that are marked.
const MAX_RANGES: usize = 32;

/// A piece of a message's text and where in it the terms are.
pub(super) struct Snippet {
    pub(super) field: SearchField,
    pub(super) text: String,
    pub(super) ranges: Vec<SearchRange>,
}

/// The piece around the first match; the beginning when there is none that we can see.
pub(super) fn of(text: &SearchText, query: &Query) -> Snippet {
    let fields = [
        (SearchField::Text, &text.said),
        (SearchField::Tool, &text.tools),
        (SearchField::Reasoning, &text.thought),
    ];
    for (field, text) in fields {
        let first = query.terms.iter().filter_map(|term| term.find(text, 0)).min();
        if let Some((at, _)) = first {
            let (text, ranges) = cut(text, at, query);
            return Snippet { field, text, ranges };
        }
    }
    let (field, text) =
        fields.into_iter().find(|(_, text)| !text.is_empty()).unwrap_or((fields[0].0, fields[0].1));
    let (text, ranges) = cut(text, 0, query);
    Snippet { field, text, ranges }
}

/// The piece of `text` around byte `at`, on one line.
fn cut(text: &str, at: usize, query: &Query) -> (String, Vec<SearchRange>) {
    let start = text[..at].char_indices().rev().nth(BEFORE - 1).map_or(0, |(at, _)| at);
    let start = match text[start..at].find(char::is_whitespace) {
        // Begin with a whole word.
        Some(space) if start > 0 => start + space + 1,
        _ => start,
    };
    let end = text[at..].char_indices().nth(FROM).map_or(text.len(), |(n, _)| at + n);
    let end = match text[at..end].rfind(char::is_whitespace) {
        Some(space) if end < text.len() && space > FROM / 2 => at + space,
        _ => end,
    };
    let piece = &text[start..end];
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for term in &query.terms {
        let mut from = 0;
        while let Some((start, end)) = term.find(piece, from) {
            ranges.push((start, end));
            from = end.max(start + 1);
            while !piece.is_char_boundary(from) {
                from += 1;
            }
            if ranges.len() >= MAX_RANGES {
                break;
            }
        }
    }
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let overlaps = next.0 <= last.1;
        if overlaps {
            last.1 = last.1.max(next.1);
        }
        overlaps
    });
    let mut shown = String::with_capacity(piece.len() + 6);
    if start > 0 {
        shown.push('…');
    }
    let shift = u32::from(start > 0);
    let mut units = shift;
    let mut starts = ranges.into_iter().peekable();
    let mut marked = Vec::new();
    let mut open: Option<(u32, usize)> = None;
    for (byte, c) in piece.char_indices() {
        if let Some((began, until)) = open
            && byte >= until
        {
            marked.push(SearchRange { start: began, end: units });
            open = None;
        }
        if let Some((_, until)) = starts.next_if(|(start, _)| *start <= byte) {
            open = Some((units, until));
        }
        // One line: a break is a space, of the same length.
        let c = if c.is_control() { ' ' } else { c };
        shown.push(c);
        units += if c.len_utf16() == 2 { 2 } else { 1 };
    }
    if let Some((began, _)) = open {
        marked.push(SearchRange { start: began, end: units });
    }
    if end < text.len() {
        shown.push('…');
    }
    (shown, marked)
}

impl Term {
    /// The first place at or after byte `from`: its start and end.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let Some(first) = self.words.first().and_then(|word| word.first()) else {
            // Only signs.
            return self.find_as_it_stands(text, from);
        };
        let mut before = text[..from].chars().next_back();
        for (at, c) in text[from..].char_indices() {
            let begins =
                stands_alone(c) || !before.is_some_and(|b| b.is_alphanumeric() && !stands_alone(b));
            before = Some(c);
            if begins
                && folded(c) == Some(*first)
                && let Some(end) = self.matches_at(text, from + at)
            {
                return Some((from + at, end));
            }
        }
        self.find_as_it_stands(text, from)
    }

    /// The first place that reads as the term was typed, also inside a word.
    fn find_as_it_stands(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let wanted: Vec<char> = self.raw().chars().filter_map(folded).collect();
        for (at, _) in text[from..].char_indices() {
            let mut rest = text[from + at..].char_indices();
            let end = wanted.iter().try_fold(0, |_, wanted| {
                rest.by_ref()
                    .find_map(|(n, c)| folded(c).map(|folded| (n + c.len_utf8(), folded)))
                    .filter(|(_, folded)| folded == wanted)
                    .map(|(end, _)| end)
            });
            if let Some(end) = end.filter(|_| !wanted.is_empty()) {
                return Some((from + at, from + at + end));
            }
        }
        None
    }

    /// End of the term when it begins at byte `at`.
    fn matches_at(&self, text: &str, at: usize) -> Option<usize> {
        let mut rest = text[at..].char_indices().peekable();
        let mut end = at;
        for (n, word) in self.words.iter().enumerate() {
            if n > 0 {
                while rest.next_if(|(_, c)| !c.is_alphanumeric()).is_some() {}
            }
            for wanted in word {
                let (offset, c) = loop {
                    let (offset, c) = rest.next()?;
                    if let Some(folded) = folded(c) {
                        break (offset + c.len_utf8(), folded);
                    }
                };
                if c != *wanted {
                    return None;
                }
                end = at + offset;
            }
            // Marks belong to the letter before them.
            while let Some((offset, c)) = rest.next_if(|(_, c)| folded(*c).is_none()) {
                end = at + offset + c.len_utf8();
            }
            let last = n + 1 == self.words.len();
            let alone = word.len() == 1 && stands_alone(word[0]);
            let may_go_on = alone || (last && self.open);
            if !may_go_on
                && rest.peek().is_some_and(|(_, c)| c.is_alphanumeric() && !stands_alone(*c))
            {
                return None;
            }
        }
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(said: &str, typed: &str) -> (String, Vec<String>) {
        let text = SearchText { said: said.to_owned(), ..SearchText::default() };
        let snippet = of(&text, &Query::parse(typed));
        let units: Vec<u16> = snippet.text.encode_utf16().collect();
        let marked = snippet
            .ranges
            .iter()
            .map(|range| String::from_utf16_lossy(&units[range.start as usize..range.end as usize]))
            .collect();
        (snippet.text, marked)
    }

    #[test]
    fn matches_are_marked_whatever_their_case_and_diacritics() {
        let (text, marked) = snippet("One Café, two CAFES\nand a 🙂 cafe\u{301}", "cafe");
        assert_eq!(text, "One Café, two CAFES and a 🙂 cafe\u{301}");
        assert_eq!(marked, ["Café", "CAFE", "cafe\u{301}"]);
    }

    #[test]
    fn a_part_of_a_sentence_without_spaces_is_marked() {
        let (_, marked) = snippet("明日の天気予報です", "天気");
        assert_eq!(marked, ["天気"]);
        let (_, marked) = snippet("한국어를 배웁니다", "국어");
        assert_eq!(marked, ["국어"]);
    }

    #[test]
    fn phrases_and_names_of_several_words_are_marked_as_one() {
        let (_, marked) = snippet("call my_function(1) and my function", "my_func");
        assert_eq!(marked, ["my_func", "my func"]);
        let (_, marked) = snippet("no one, no none", "\"no one\"");
        assert_eq!(marked, ["no one"]);
    }

    #[test]
    fn only_the_lines_around_the_match_are_shown() {
        let far = format!("{} the needle {}", "hay ".repeat(500), "stack ".repeat(500));
        let (text, marked) = snippet(&far, "needle");
        assert!(text.starts_with('…') && text.ends_with('…') && text.len() < 200, "{text}");
        assert_eq!(marked, ["needle"]);
    }

    #[test]
    fn what_cannot_be_found_is_shown_from_its_beginning() {
        let (text, marked) = snippet("something else", "zzz");
        assert_eq!((text.as_str(), marked.len()), ("something else", 0));
    }
}
