//! What a call says while it runs.
//!
//! Agents append to it, or say all of it again each time it grows, or a window over its end. What is new is found without
//! keeping all: the last [`SEEN`] bytes tell. New text goes out at most four times a second, and more slowly the more
//! was spent, because a command may run for days; what a call does not say while it runs, its result says.

use std::time::Duration;

use crate::caps::{CUT, cost, head, tail};

/// Bytes by which a text that grows is known again.
const SEEN: usize = 64 << 10;
/// Bytes of its end by which a window that moved is known again.
const NEEDLE: usize = 512;
/// Bytes that wait for the next moment.
const PENDING: usize = 32 << 10;
/// What a call may say while it runs, as it costs in the stream.
const BUDGET: usize = 44 << 10;
/// What an event costs beside its text.
const EVENT: usize = 450;
/// An escape sequence that is longer than this is none.
const ESCAPE: usize = 64;

/// The first wait between two events, for calls and plans alike.
pub(super) const PACE: Duration = Duration::from_millis(250);

/// The output of a running call.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Bytes of the text as the agent said it last, and the end of it.
    total: usize,
    seen: String,
    pending: String,
    /// Something before the pending text is left out.
    cut: bool,
    /// The pending text stands in place of all before.
    anew: bool,
    spent: usize,
    said_cut: bool,
}

/// A piece to be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) append: String,
    /// It stands in place of what was said before.
    pub(super) anew: bool,
    /// Nothing more is said until the result.
    pub(super) truncated: bool,
}

impl Output {
    /// Takes the whole text so far.
    pub(super) fn set(&mut self, text: &str) {
        if text.len() == self.total && text.ends_with(&self.seen) {
            return;
        }
        let from = self.total - self.seen.len();
        let grown = text.get(from..self.total).is_some_and(|same| same == self.seen);
        if grown {
            let new = text[self.total..].to_owned();
            self.add(&new);
        } else if let Some(at) =
            self.needle().and_then(|needle| Some(text.rfind(needle)? + needle.len()))
        {
            let new = text[at..].to_owned();
            self.add(&new);
        } else {
            self.pending.clear();
            self.cut = false;
            self.anew = self.spent > 0;
            self.add(text);
        }
        self.total = text.len();
        let keep = text.ceil_char_boundary(text.len().saturating_sub(SEEN));
        text[keep..].clone_into(&mut self.seen);
    }

    fn needle(&self) -> Option<&str> {
        let at = self.seen.floor_char_boundary(self.seen.len().checked_sub(NEEDLE)?);
        self.seen.get(at..)
    }

    /// Takes more text.
    pub(super) fn append(&mut self, text: &str) {
        self.add(text);
        self.total = self.total.saturating_add(text.len());
        self.seen.push_str(&text[text.ceil_char_boundary(text.len().saturating_sub(SEEN))..]);
        let over = self.seen.ceil_char_boundary(self.seen.len().saturating_sub(SEEN));
        self.seen.drain(..over);
    }

    fn add(&mut self, text: &str) {
        let from = text.ceil_char_boundary(text.len().saturating_sub(PENDING));
        self.cut |= from > 0;
        self.pending.push_str(&text[from..]);
        let over = self.pending.ceil_char_boundary(self.pending.len().saturating_sub(PENDING));
        self.cut |= over > 0;
        self.pending.drain(..over);
    }

    /// The time between two events now; `None` when nothing waits to be said.
    pub(super) fn pace(&self) -> Option<Duration> {
        if self.said_cut || self.pending.is_empty() {
            return None;
        }
        Some(match self.spent {
            0..12_000 => PACE,
            12_000..30_000 => PACE * 4,
            _ => PACE * 20,
        })
    }

    /// What is to be said now.
    pub(super) fn take(&mut self) -> Option<Piece> {
        self.pace()?;
        let (text, rest) = plain(&self.pending);
        let rest = rest.to_owned();
        let mut append = text;
        if std::mem::take(&mut self.cut) {
            append.insert(0, '\n');
            append.insert(0, CUT);
        }
        self.pending = rest;
        if append.is_empty() {
            return None;
        }
        let left = BUDGET.saturating_sub(self.spent).saturating_sub(EVENT);
        let size = cost(&append);
        // A burst does not take all that there is for the rest.
        let most = (left / 4).max(2_000).min(left);
        if size > most {
            let begin = head(&append, most / 4);
            let end = tail(&append, most / 4 * 3);
            append = format!("{begin}\n{CUT}\n{end}");
        }
        self.spent += cost(&append) + EVENT;
        let truncated = self.spent + 2 * EVENT >= BUDGET;
        self.said_cut = truncated;
        Some(Piece { append, anew: std::mem::take(&mut self.anew), truncated })
    }

    /// The end of what was said, where the agent gives no result.
    pub(super) fn last(&self) -> String {
        plain(&self.seen).0
    }
}

/// A text without control characters and escape sequences, except those for colours; and what may be the beginning of a
/// sequence at its end.
pub(super) fn plain(text: &str) -> (String, &str) {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' && !matches!(c, '\n' | '\t')) {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        if !rest.starts_with('\u{1b}') {
            let is_return = rest.starts_with('\r') && !rest[1..].starts_with('\n');
            if is_return && rest.len() > 1 {
                kept.push('\n'); // a line that is written over: each state is a line
            }
            rest = &rest[1..];
            continue;
        }
        match sequence(rest) {
            Some((length, colours)) => {
                if colours {
                    kept.push_str(&rest[..length]);
                }
                rest = &rest[length..];
            }
            None if rest.len() < ESCAPE => return (kept, rest),
            None => rest = &rest[1..],
        }
    }
    kept.push_str(rest);
    (kept, "")
}

/// The length of the escape sequence at the beginning, and whether it sets colours; `None` while it has no end.
fn sequence(text: &str) -> Option<(usize, bool)> {
    let bytes = text.as_bytes();
    match bytes.get(1)? {
        b'[' => {
            let end = bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))? + 2;
            let all_ascii = bytes[..=end].is_ascii();
            let numbers = bytes[2..end]
                .iter()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'));
            all_ascii.then_some((end + 1, bytes[end] == b'm' && numbers)).or(Some((1, false)))
        }
        b']' | b'P' | b'_' | b'^' => {
            let end = text.find(['\u{7}', '\u{9c}'])?;
            let ends = text[end..].chars().next().map_or(1, char::len_utf8);
            let st = text.find("\u{1b}\\").filter(|at| *at > 0 && *at < end);
            Some((st.map_or(end + ends, |at| at + 2), false))
        }
        _ => Some((1 + text[1..].chars().next().map_or(0, char::len_utf8), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(output: &mut Output) -> String {
        output.take().map(|piece| piece.append).unwrap_or_default()
    }

    #[test]
    fn a_text_that_is_said_again_is_told_once() {
        let mut output = Output::default();
        output.set("one\n");
        assert_eq!(said(&mut output), "one\n");
        output.set("one\n");
        assert_eq!(said(&mut output), "");
        output.set("one\ntwo\n");
        output.set("one\ntwo\nthree\n");
        assert_eq!(said(&mut output), "two\nthree\n");
    }

    #[test]
    fn a_window_that_moves_over_a_text_is_told_once() {
        let lines: Vec<String> = (0..2000).map(|n| format!("line {n}\n")).collect();
        let mut output = Output::default();
        output.set(&lines[..400].concat());
        said(&mut output);
        output.set(&lines[300..420].concat());
        assert_eq!(said(&mut output), lines[400..420].concat());
    }

    #[test]
    fn another_text_replaces_what_was_said() {
        let mut output = Output::default();
        output.set("10 %");
        assert!(!output.take().expect("it is said").anew);
        output.set("done");
        let piece = output.take().expect("it is said");
        assert_eq!((piece.append.as_str(), piece.anew), ("done", true));
    }

    #[test]
    fn an_endless_output_says_little_and_says_that_it_stops() {
        let mut output = Output::default();
        let (mut bytes, mut events, mut last) = (0, 0, None);
        for n in 0..200_000 {
            output.append(&format!("line {n}\n"));
            if n % 50 == 0
                && let Some(piece) = output.take()
            {
                bytes += cost(&piece.append);
                events += 1;
                last = Some(piece.truncated);
            }
        }
        assert!(bytes + events * EVENT <= BUDGET, "{bytes} bytes in {events} events");
        assert_eq!(last, Some(true));
        assert!(output.seen.len() <= SEEN && output.pending.len() <= PENDING);
    }

    #[test]
    fn only_colours_are_left_of_escape_sequences_wherever_they_are_cut() {
        let text = "a\u{1b}[31mred\u{1b}[0m\u{1b}[2K\u{1b}]0;title\u{7}b\u{8}\r\nc\rd";
        let wanted = "a\u{1b}[31mred\u{1b}[0mb\nc\nd";
        assert_eq!(plain(text).0, wanted);
        for at in 0..text.len() {
            let (first, rest) = plain(&text[..at]);
            let (second, _) = plain(&format!("{rest}{}", &text[at..]));
            let whole = format!("{first}{second}");
            // A return at a border may lose the line that it begins.
            assert_eq!(whole.replace('\n', ""), wanted.replace('\n', ""), "cut at {at}");
        }
    }
}
