//! Bytes of a program's standard output → lines.
//!
//! A line that is longer than the limit is skipped and counted: nothing of it is kept. Each byte is looked at once.

/// Bytes of a line that is read. Agents were seen to send a command's whole output in one line of 1.5 MB.
pub const MAX_LINE: usize = 16 << 20;

/// Cuts bytes into lines.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    begun: Vec<u8>,
    /// The line that is being read is too long.
    skips: bool,
    long: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self::with_limit(MAX_LINE)
    }
}

impl Lines {
    /// Lines of at most `limit` bytes, without their ends.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, begun: Vec::new(), skips: false, long: 0 }
    }

    /// Takes bytes as they came and hands out each line that is complete, without its end. Empty ones are left out.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Vec<u8>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if !self.skips && self.begun.len().saturating_add(text.len()) > self.limit {
                self.skips = true;
                self.long += 1;
                self.begun = Vec::new(); // gives the room back
            }
            if !self.skips {
                self.begun.extend_from_slice(text);
            }
            if ends {
                let mut line = std::mem::take(&mut self.begun);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                if !std::mem::take(&mut self.skips) && !line.is_empty() {
                    each(line);
                }
            }
        }
    }

    /// The last line, when the output ended without a line end.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.begun);
        (!std::mem::take(&mut self.skips) && !rest.is_empty()).then_some(rest)
    }

    /// Number of lines that were too long.
    pub fn long(&self) -> u64 {
        self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(limit: usize, pieces: &[&[u8]]) -> (Vec<String>, u64) {
        let mut lines = Lines::with_limit(limit);
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| found.push(String::from_utf8_lossy(&line).into_owned()));
        }
        found.extend(lines.rest().map(|line| String::from_utf8_lossy(&line).into_owned()));
        (found, lines.long())
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let bytes = b"one\r\n\ntwo\nthis one is too long\nthree";
        for at in 0..=bytes.len() {
            let (found, long) = cut(10, &[&bytes[..at], &bytes[at..]]);
            assert_eq!((found, long), (vec!["one".into(), "two".into(), "three".into()], 1));
        }
    }

    #[test]
    fn a_long_line_keeps_no_memory() {
        let mut lines = Lines::with_limit(1000);
        for _ in 0..1000 {
            lines.push(&[b'x'; 100], |_| panic!("it is too long"));
        }
        assert!(lines.begun.capacity() <= 2000, "{}", lines.begun.capacity());
        assert_eq!(lines.long(), 1);
        assert_eq!(lines.rest(), None);
    }
}
