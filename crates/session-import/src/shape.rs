//! What the beginning of a file looks like: which fields stand where.
//!
//! Only the first bytes of a file are looked at, so the JSON in them is cut off; a small scanner notes the path of each
//! field it meets. A list counts as `[]`, whatever the index.

use std::collections::BTreeSet;

/// Paths that are noted.
const MAX_PATHS: usize = 6_000;
/// Levels that are noted.
const MAX_LEVELS: usize = 9;
/// Bytes of a string that is noted.
const MAX_TEXT: usize = 80;

/// The fields of some JSON and its short strings.
#[derive(Default)]
pub(crate) struct Shape {
    paths: BTreeSet<Vec<String>>,
    strings: BTreeSet<(Vec<String>, String)>,
    /// The value is whole.
    pub(crate) whole: bool,
}

impl Shape {
    /// Looks at one value, which may be cut off.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut shape = Self::default();
        let mut scan = Scan { bytes, at: 0, odd: false };
        let mut path: Vec<String> = Vec::new();
        let whole = scan.value(&mut path, &mut shape).is_some();
        scan.space();
        shape.whole = whole && !scan.odd && scan.at >= bytes.len();
        // Behind a value that is broken stand others.
        while scan.at < bytes.len() && scan.value(&mut path, &mut shape).is_some() {
            scan.space();
            if matches!(bytes.get(scan.at), Some(b'}' | b']' | b',')) {
                scan.at += 1;
            }
        }
        shape
    }

    /// Whether there is a field at this path: names with slashes between them, `*` for any one name.
    pub(crate) fn has(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split('/').collect();
        self.paths.iter().any(|path| matches(path, &wanted))
    }

    /// Whether a string at this path satisfies the test.
    pub(crate) fn says(&self, path: &str, test: impl Fn(&str) -> bool) -> bool {
        let wanted: Vec<&str> = path.split('/').collect();
        self.strings.iter().any(|(path, text)| matches(path, &wanted) && test(text))
    }
}

fn matches(path: &[String], wanted: &[&str]) -> bool {
    path.len() == wanted.len()
        && path.iter().zip(wanted).all(|(name, wanted)| *wanted == "*" || name == wanted)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Something was no JSON.
    odd: bool,
}

impl Scan<'_> {
    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Option<String> {
        let begin = self.at + 1;
        let mut at = begin;
        loop {
            match self.bytes.get(at)? {
                b'\\' => at += 2,
                b'"' => break,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        let raw = &self.bytes[begin..at];
        Some(String::from_utf8_lossy(&raw[..raw.len().min(MAX_TEXT)]).into_owned())
    }

    /// Goes past a value; `None` where it is cut off or none.
    fn value(&mut self, path: &mut Vec<String>, shape: &mut Shape) -> Option<()> {
        self.space();
        match self.bytes.get(self.at)? {
            b'{' if path.len() < 120 => {
                self.at += 1;
                loop {
                    self.space();
                    match self.bytes.get(self.at)? {
                        b'}' => {
                            self.at += 1;
                            return Some(());
                        }
                        b',' => self.at += 1,
                        b'"' => {
                            let key = self.string()?;
                            path.push(key);
                            if path.len() <= MAX_LEVELS && shape.paths.len() < MAX_PATHS {
                                shape.paths.insert(path.clone());
                            }
                            self.space();
                            if self.bytes.get(self.at) == Some(&b':') {
                                self.at += 1;
                            }
                            let whole = self.value(path, shape);
                            path.pop();
                            whole?;
                        }
                        b']' => {
                            self.odd = true;
                            return Some(());
                        }
                        _ => {
                            self.odd = true;
                            self.at += 1;
                        }
                    }
                }
            }
            b'[' if path.len() < 120 => {
                self.at += 1;
                path.push("[]".to_owned());
                if path.len() <= MAX_LEVELS {
                    shape.paths.insert(path.clone());
                }
                let whole = loop {
                    self.space();
                    match self.bytes.get(self.at) {
                        Some(b']') => {
                            self.at += 1;
                            break Some(());
                        }
                        Some(b',') => self.at += 1,
                        Some(b'}') => {
                            self.odd = true;
                            break Some(());
                        }
                        Some(_) if self.value(path, shape).is_some() => {}
                        _ => break None,
                    }
                };
                path.pop();
                whole
            }
            b'"' => {
                let text = self.string()?;
                if path.len() <= MAX_LEVELS && shape.strings.len() < MAX_PATHS {
                    shape.strings.insert((path.clone(), text));
                }
                Some(())
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I' => {
                let rest = &self.bytes[self.at..];
                let end = rest.iter().position(|byte| {
                    matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace()
                });
                self.at += end.unwrap_or(rest.len());
                Some(())
            }
            b'}' | b']' => {
                self.odd = true;
                Some(())
            }
            // Too deep, or nothing that begins a value.
            b'{' | b'[' => None,
            _ => {
                self.odd = true;
                self.at += 1;
                Some(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_noted_as_far_as_the_bytes_go() {
        let shape = Shape::of(br#"[{"a":{"x1":{"b":"Hi"}}},{"c":[{"d":1},{"e":"cut of"#);
        assert!(shape.has("[]/a/*/b") && shape.has("[]/c/[]/d") && shape.has("[]/c/[]/e"));
        assert!(!shape.has("[]/b") && !shape.whole);
        assert!(shape.says("[]/a/*/b", |text| text == "Hi"));
        assert!(Shape::of(b" {\"a\": 1}\n").whole);
        for broken in [
            "[{\"a\":\"b\":{}},{\"c\":1}]",
            "[{\"a\":}},{\"c\":1}]",
            "[{\"a\":[1}],{\"c\":1}]",
            "[{\"a\":1]},{\"c\":1}]",
        ] {
            let shape = Shape::of(broken.as_bytes());
            assert!((shape.has("[]/c") || shape.has("c")) && !shape.whole, "{broken}");
        }
        assert!(!Shape::of("[".repeat(1 << 20).as_bytes()).whole);
    }
}
