//! JSON of others: read leniently, one item of a long list at a time, and on behind what is broken.
//!
//! [`Items`] cuts a top-level array (or a list inside the top-level object) into its elements without holding more than
//! one. An element that is no JSON costs itself: reading goes on where the next one begins, which is where an object
//! begins with the same field as the others. [`Lines`] does the same for lines.

use std::io::{self, BufRead, Read};

use serde_json::Value;

/// Bytes of one element of a list.
const MAX_ITEM: usize = 256 << 20;
/// Bytes of one line.
const MAX_LINE: usize = 64 << 20;
/// Bytes that may be read once more to find out where a list goes on.
const MAX_AGAIN: usize = 1 << 30;

/// The JSON in these bytes, with halves of characters and bytes that are no UTF-8 replaced. At most 127 levels deep.
pub(crate) fn parse(bytes: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text).or_else(|_| serde_json::from_str(&mended(&text))).ok()
}

/// The text with `\ufffd` for halves of characters.
fn mended(text: &str) -> String {
    let bytes = text.as_bytes();
    let unit = |at: usize| -> Option<u32> {
        if bytes.get(at) != Some(&b'\\') || bytes.get(at + 1) != Some(&b'u') {
            return None;
        }
        let digits = bytes.get(at + 2..at + 6)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut out, mut from, mut at) = (String::with_capacity(text.len()), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                out.push_str(&text[from..at]);
                out.push_str("\\ufffd");
                at += 6;
                from = at;
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// A field's text; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field's text; `None` where it is empty or none.
pub(crate) fn named<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    Some(text(value, field)).filter(|text| !text.trim().is_empty())
}

/// The elements of a field's list.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether a field is `true`.
pub(crate) fn is(value: &Value, field: &str) -> bool {
    value.get(field).is_some_and(|value| value == &Value::Bool(true) || value.as_i64() == Some(1))
}

/// One element of a list.
#[derive(Debug)]
pub(crate) enum Item {
    /// It is JSON.
    Value(Value),
    /// It is not, or not whole; why.
    Broken(&'static str),
}

/// How far a scan of one value came.
enum Scan {
    Whole,
    /// The file ended inside it.
    Cut,
    /// A bracket closed what another opened.
    Crossed,
    /// It is larger than anything that is read.
    TooLarge,
}

/// Finds the end of one value, buffer by buffer.
#[derive(Default)]
struct Cutter {
    open: Vec<u8>,
    text: bool,
    escaped: bool,
    begun: bool,
}

impl Cutter {
    fn is_whole(&self) -> bool {
        self.begun && self.open.is_empty() && !self.text
    }

    /// The number of bytes that belong to the value, and how it ends when it does.
    fn feed(&mut self, buffer: &[u8]) -> (usize, Option<Scan>) {
        for (at, byte) in buffer.iter().enumerate() {
            if self.text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.text = false;
                        if self.open.is_empty() {
                            return (at + 1, Some(Scan::Whole));
                        }
                    }
                    _ => {}
                }
                continue;
            }
            if self.is_whole() && matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
            {
                // A number or a word ends where the next thing begins.
                return (at, Some(Scan::Whole));
            }
            match byte {
                b'"' => self.text = true,
                b'{' | b'[' => self.open.push(*byte),
                b'}' | b']' => {
                    let wanted = if *byte == b'}' { b'{' } else { b'[' };
                    if self.begun && self.open.last() != Some(&wanted) {
                        return (at, Some(Scan::Crossed));
                    }
                    self.open.pop();
                    if self.open.is_empty() {
                        return (at + 1, Some(Scan::Whole));
                    }
                }
                _ => {}
            }
            self.begun = true;
        }
        (buffer.len(), None)
    }
}

/// The elements of a JSON file: of its array, of a list in its object, or the values that follow each other in it.
pub(crate) struct Items<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Fields of the top-level object whose lists hold the elements; none where the object is an element itself.
    lists: &'a [&'a str],
    /// Whether a value is an element, asked for those that are found behind a broken one.
    is_item: fn(&Value) -> bool,
    /// Open brackets outside of the elements.
    outside: Vec<u8>,
    /// First field of the elements.
    first: Option<Vec<u8>>,
    /// What was read behind something broken and must be read again.
    again: io::Cursor<Vec<u8>>,
    again_read: usize,
    searching: bool,
    done: bool,
    /// Number of elements so far.
    pub(crate) count: usize,
}

impl<'a> Items<'a> {
    /// Elements of what `input` gives, which is at its beginning and has no byte order mark.
    pub(crate) fn new(
        input: Box<dyn BufRead + 'a>,
        lists: &'a [&'a str],
        is_item: fn(&Value) -> bool,
    ) -> Self {
        Self {
            input,
            lists,
            is_item,
            outside: Vec::new(),
            first: None,
            again: io::Cursor::default(),
            again_read: 0,
            searching: false,
            done: false,
            count: 0,
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.buffer().first().copied()
    }

    fn next_byte(&mut self) {
        self.consume(1);
    }

    fn skip_between(&mut self) {
        // Files that were joined have byte order marks in between, and one that was torn may end in zeros.
        while matches!(
            self.peek(),
            Some(b' ' | b'\t' | b'\r' | b'\n' | b',' | 0x1e | 0xef | 0xbb | 0xbf | 0)
        ) {
            self.next_byte();
        }
    }

    /// What is read next; nothing at the end.
    fn buffer(&mut self) -> &[u8] {
        let at = usize::try_from(self.again.position()).unwrap_or(usize::MAX);
        if at < self.again.get_ref().len() {
            return &self.again.get_ref()[at..];
        }
        // An error of the file is its end: what was read until then counts.
        self.input.fill_buf().unwrap_or_default()
    }

    fn consume(&mut self, count: usize) {
        let at = usize::try_from(self.again.position()).unwrap_or(usize::MAX);
        if at < self.again.get_ref().len() {
            self.again.set_position(self.again.position() + count as u64);
        } else {
            self.input.consume(count);
        }
    }

    /// Takes one value into `out`, as long as it is not too large; with `out` `None` only goes past it.
    fn scan(&mut self, mut out: Option<&mut Vec<u8>>) -> Scan {
        let mut cutter = Cutter::default();
        loop {
            let buffer = self.buffer();
            if buffer.is_empty() {
                return if cutter.is_whole() { Scan::Whole } else { Scan::Cut };
            }
            let (count, end) = cutter.feed(buffer);
            if let Some(out) = out.as_deref_mut() {
                if out.len() + count > MAX_ITEM {
                    return Scan::TooLarge;
                }
                out.extend_from_slice(&buffer[..count]);
            }
            self.consume(count);
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Goes into the first list of the top-level object that holds elements. `false` when there is none.
    fn enter_object(&mut self) -> bool {
        loop {
            self.skip_between();
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => {
                    self.next_byte();
                    self.outside.pop();
                    return false;
                }
                _ => return false,
            }
            let mut key = Vec::new();
            if !matches!(self.scan(Some(&mut key)), Scan::Whole) {
                return false;
            }
            while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n' | b':')) {
                self.next_byte();
            }
            let name: String = serde_json::from_slice(&key).unwrap_or_default();
            if self.lists.contains(&name.as_str()) && self.peek() == Some(b'[') {
                self.next_byte();
                self.outside.push(b'[');
                return true;
            }
            if !matches!(self.scan(None), Scan::Whole) {
                return false;
            }
        }
    }

    /// Reads again from the place in `bytes` where the next element seems to begin.
    fn resume_in(&mut self, bytes: &[u8]) {
        let first = self.first.clone().or_else(|| first_field(bytes));
        let found = first.as_ref().and_then(|first| next_begin(bytes, first));
        self.searching = true;
        let Some(at) = found else { return };
        self.again_read += bytes.len() - at;
        if self.again_read > MAX_AGAIN {
            self.done = true;
            return;
        }
        let position = usize::try_from(self.again.position()).unwrap_or(usize::MAX);
        let mut left = bytes[at..].to_vec();
        left.extend_from_slice(self.again.get_ref().get(position..).unwrap_or_default());
        self.again = io::Cursor::new(left);
    }
}

/// The first field of an object, with its quotes.
fn first_field(bytes: &[u8]) -> Option<Vec<u8>> {
    let inside = bytes.strip_prefix(b"{")?.trim_ascii_start();
    let end = inside.get(1..)?.iter().position(|byte| *byte == b'"')? + 2;
    inside.starts_with(b"\"").then(|| inside[..end].to_vec())
}

/// Where, behind its own beginning, an object begins whose first field is `first`.
fn next_begin(bytes: &[u8], first: &[u8]) -> Option<usize> {
    let mut at = 1;
    while let Some(next) = bytes.get(at..)?.iter().position(|byte| *byte == b'{') {
        at += next;
        let before = bytes[..at].trim_ascii_end().last().copied();
        if matches!(before, Some(b',' | b'[' | b'}' | b'"')) {
            let inside = bytes[at + 1..].trim_ascii_start();
            if inside.starts_with(first) {
                return Some(at);
            }
        }
        at += 1;
    }
    None
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if self.done {
                return None;
            }
            self.skip_between();
            let Some(byte) = self.peek() else {
                self.done = true;
                // An array that is not closed was cut off between two elements.
                let open = !std::mem::take(&mut self.outside).is_empty();
                return (open && !self.searching)
                    .then_some(Item::Broken("the file ends too early"));
            };
            match byte {
                b'[' if self.outside.is_empty() => {
                    self.next_byte();
                    self.outside.push(b'[');
                    continue;
                }
                b']' if self.searching => {
                    // The broken element's own, as far as anybody knows.
                    self.next_byte();
                    continue;
                }
                b']' => {
                    self.next_byte();
                    if self.outside.last() == Some(&b'[') {
                        self.outside.pop();
                    }
                    if self.outside.last() == Some(&b'{') && !self.enter_object() {
                        self.outside.clear();
                    }
                    continue;
                }
                b'{' if self.outside.is_empty() && !self.lists.is_empty() => {
                    self.next_byte();
                    self.outside.push(b'{');
                    if !self.enter_object() {
                        self.outside.clear();
                    }
                    continue;
                }
                b'}' => {
                    self.next_byte();
                    continue;
                }
                _ => {}
            }
            let mut bytes = Vec::new();
            let scan = self.scan(Some(&mut bytes));
            let value = matches!(scan, Scan::Whole).then(|| parse(&bytes)).flatten();
            if let Some(value) = value {
                let found = std::mem::take(&mut self.searching);
                if found && !(self.is_item)(&value) {
                    self.searching = true;
                    // What the broken element holds may be whole and hold the next one.
                    self.resume_in(&bytes);
                    continue;
                }
                if self.first.is_none() {
                    self.first = first_field(&bytes);
                }
                self.count += 1;
                return Some(Item::Value(value));
            }
            let was_searching = self.searching;
            self.resume_in(&bytes);
            if was_searching {
                continue;
            }
            self.count += 1;
            return Some(Item::Broken(match scan {
                Scan::Whole | Scan::Crossed => "it is not JSON",
                Scan::Cut => "the file ends too early",
                Scan::TooLarge => "it is too large",
            }));
        }
    }
}

/// A line of a file.
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// What is in it, without white space at its end; `None` when it is too long.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// The lines of a file that are not empty.
pub(crate) struct Lines<'a> {
    input: Box<dyn BufRead + 'a>,
    number: usize,
}

impl<'a> Lines<'a> {
    /// Lines of what `input` gives.
    pub(crate) fn new(input: Box<dyn BufRead + 'a>) -> Self {
        Self { input, number: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        loop {
            let mut bytes = Vec::new();
            let limit = (MAX_LINE + 1) as u64;
            if self.input.by_ref().take(limit).read_until(b'\n', &mut bytes).ok()? == 0 {
                return None;
            }
            self.number += 1;
            if bytes.last() != Some(&b'\n') && bytes.len() > MAX_LINE {
                drop(bytes);
                self.input.skip_until(b'\n').ok()?;
                return Some(Line { number: self.number, bytes: None });
            }
            let trimmed = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii_end();
            if !trimmed.is_empty() {
                return Some(Line { number: self.number, bytes: Some(trimmed.to_vec()) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn items(text: &str) -> Vec<Result<String, &'static str>> {
        let is_item = |value: &Value| value.get("a").is_some();
        let items = Items::new(Box::new(Cursor::new(text.to_owned())), &["list"], is_item);
        let told = items.map(|item| match item {
            Item::Value(value) => Ok(value.to_string()),
            Item::Broken(why) => Err(why),
        });
        told.collect()
    }

    fn ok(json: &str) -> Result<String, &'static str> {
        Ok(json.to_owned())
    }

    const BROKEN: Result<String, &str> = Err("it is not JSON");
    const CUT: Result<String, &str> = Err("the file ends too early");

    #[test]
    fn a_list_is_cut_into_its_elements_wherever_it_stands() {
        let (one, two) = (ok(r#"{"a":1}"#), ok(r#"{"a":"]}\""}"#));
        for text in [
            r#"[{"a":1}, {"a":"]}\""}]"#,
            r#"{"x":{"list":[9]},"list":[{"a":1},{"a":"]}\""}],"y":[1]}"#,
            r#"{"list":[{"a":1}],"other":7,"list":[{"a":"]}\""}]}"#,
            r#"[{"a":1}{"a":"]}\""}]"#,
            r#"[{"a":1},][{"a":"]}\""}]"#,
        ] {
            assert_eq!(items(text), [one.clone(), two.clone()], "{text}");
        }
    }

    #[test]
    fn a_broken_element_costs_itself_only() {
        let (one, three) = (ok(r#"{"a":1}"#), ok(r#"{"a":3}"#));
        for broken in [
            r#"{"a":}"#,
            r#"{"a":2"#,
            r#"{"a":{"b":[}"#,
            r#"{"a":"never closed"#,
            r#"{"a":"never closed}"#,
            r#"{"a":[1,2}"#,
            r#"{"a":2]"#,
            r#"{"a":2}}"#,
            "nonsense",
        ] {
            let got = items(&format!(r#"[{{"a":1}},{broken},{{"a":3}}]"#));
            let good: Vec<_> = got.iter().filter(|item| item.is_ok()).cloned().collect();
            assert_eq!(good.first(), Some(&one), "{broken}");
            assert_eq!(good.last(), Some(&three), "{broken}: {got:?}");
            assert!(good.len() <= 3, "{broken}: {got:?}");
        }
        assert_eq!(items(r#"[{"a":1},{"a":2"#), [one.clone(), CUT]);
        assert_eq!(items(r#"[{"a":1},"#), [one.clone(), CUT]);
        assert_eq!(items(r#"[{"a":}, {"a":3}]"#), [BROKEN, three]);
        assert_eq!(items(r#"[{"a":1},{"a":2,"b":{"a":9}, {"a":1}]"#).last(), Some(&one));
    }

    #[test]
    fn halves_of_characters_cost_nothing_but_themselves() {
        assert_eq!(parse(br#""a\ud83d b""#), Some(Value::from("a\u{fffd} b")));
        assert_eq!(parse(br#""a\ud83d\ude00 \\ud83d""#), Some(Value::from("a\u{1f600} \\ud83d")));
        assert_eq!(parse(b"\"a\xff\""), Some(Value::from("a\u{fffd}")));
        assert_eq!(parse("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_only() {
        let text = format!("1\n{}\n\n3", "x".repeat(MAX_LINE + 1));
        let lines: Vec<_> = Lines::new(Box::new(Cursor::new(text))).collect();
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 4]);
        assert!(lines[1].bytes.is_none());
    }
}
