//! A change of a file as a patch, not as two files.

use std::hash::{DefaultHasher, Hash, Hasher};

use similar::{ChangeTag, TextDiff};

use crate::caps::{CUT, cost, short};

/// Bytes of what differs that are compared line by line. Longer ones are told by their size.
const COMPARED: usize = 200 << 10;
/// Lines of it.
const LINES: usize = 4_000;
/// What a patch may cost in the stream.
const PATCH: usize = 12 << 10;
/// What one line of it may cost.
const LINE: usize = 2_000;

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) text: String,
    pub(super) added: usize,
    pub(super) removed: usize,
    pub(super) truncated: bool,
}

/// A value that two changes have in common only when they are the same.
pub(super) fn key(path: &str, old: &str, new: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (path, old, new).hash(&mut hasher);
    hasher.finish()
}

/// The difference of two texts, with three lines around each place.
pub(super) fn patch(old: &str, new: &str) -> Patch {
    let (begin, old_rest, new_rest) = without_common(old, new);
    let lines = old_rest.lines().count() + new_rest.lines().count();
    if old_rest.len() + new_rest.len() > COMPARED || lines > LINES {
        let (added, removed) = (new_rest.lines().count(), old_rest.lines().count());
        return Patch { text: String::new(), added, removed, truncated: true };
    }
    // A few lines of what both begin with are shown around the first place.
    let skipped = begin.len() - last_lines(begin, 3).len();
    let offset = begin[..skipped].lines().count();
    let rest_of = |text: &str| text[skipped..].to_owned();
    let end = old.len() - begin.len() - old_rest.len();
    let keep = end.min(4_000);
    let cut = |text: String| {
        let to = text.floor_char_boundary(text.len() - (end - keep));
        text[..to].to_owned()
    };
    let (old, new) = (cut(rest_of(old)), cut(rest_of(new)));
    let diff = TextDiff::from_lines(&old, &new);
    let (mut added, mut removed) = (0, 0);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => added += 1,
            ChangeTag::Delete => removed += 1,
            ChangeTag::Equal => {}
        }
    }
    let (mut text, mut truncated, mut spent) = (String::new(), false, 0);
    'all: for group in diff.grouped_ops(3) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (old, new) = (
            first.old_range().start..last.old_range().end,
            first.new_range().start..last.new_range().end,
        );
        let place = |range: &std::ops::Range<usize>| {
            let start =
                if range.is_empty() { range.start + offset } else { range.start + offset + 1 };
            format!("{start},{}", range.len())
        };
        text.push_str(&format!("@@ -{} +{} @@\n", place(&old), place(&new)));
        for op in &group {
            for change in diff.iter_changes(op) {
                let line = short(change.value().trim_end_matches(['\n', '\r']), LINE);
                spent += cost(&line) + 5;
                if spent > PATCH {
                    text.push(CUT);
                    truncated = true;
                    break 'all;
                }
                let sign = match change.tag() {
                    ChangeTag::Insert => '+',
                    ChangeTag::Delete => '-',
                    ChangeTag::Equal => ' ',
                };
                text.push(sign);
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
    Patch { text, added, removed, truncated }
}

/// What two texts begin with in common, in whole lines, and both without that and without what they end with in common.
fn without_common<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str, &'a str) {
    let same = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
    let begin =
        old.as_bytes()[..same].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (left, right) = (&old[begin..], &new[begin..]);
    let same =
        left.bytes().rev().zip(right.bytes().rev()).take_while(|(old, new)| old == new).count();
    let end = &left.as_bytes()[left.len() - same..];
    // Whole lines, and the line end before them.
    let end = end.iter().position(|byte| *byte == b'\n').map_or(0, |at| end.len() - at - 1);
    (&old[..begin], &left[..left.len() - end], &right[..right.len() - end])
}

fn last_lines(text: &str, count: usize) -> &str {
    let mut ends =
        text.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
    ends.nth(count).map_or(text, |at| &text[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_its_lines() {
        let change = patch("", "line one\nline two\n");
        assert_eq!(change.text, "@@ -0,0 +1,2 @@\n+line one\n+line two\n");
        assert_eq!((change.added, change.removed, change.truncated), (2, 0, false));
        let old: String = (1..=100).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n50\n", "\nfifty\n");
        let change = patch(&old, &new);
        assert_eq!(change.text, "@@ -47,7 +47,7 @@\n 47\n 48\n 49\n-50\n+fifty\n 51\n 52\n 53\n");
        assert_eq!(patch(&old, &old).text, "");
    }

    #[test]
    fn a_small_change_of_a_large_file_is_small_and_a_large_one_is_counted() {
        let old = "a line of a large file\n".repeat(100_000);
        let new = format!("{old}the end\n");
        assert_eq!((patch(&old, &new).added, patch(&old, &new).truncated), (1, false));
        let other = old.replace('a', "b");
        let change = patch(&old, &other);
        assert_eq!((change.text.as_str(), change.added, change.truncated), ("", 100_000, true));
    }

    #[test]
    fn a_patch_has_its_size_whatever_is_in_it() {
        for (old, new) in [
            ("ä".repeat(90_000), "ö".repeat(9_000)),
            ("\"\n".repeat(1_900), "\\\n".repeat(1_900)),
            ("x\r\ny".to_owned(), "x\ny\u{0}".to_owned()),
        ] {
            let change = patch(&old, &new);
            assert!(cost(&change.text) <= PATCH + 4_000, "{}", cost(&change.text));
        }
    }
}
