//! Cuts an agent's answer into chunks: Server-Sent Events, JSON lines, or a mixture.
//!
//! More is accepted than the SSE standard has, because agents in the wild send more: `data:` with or without a space,
//! one JSON object per line without a field name, `[DONE]`, CRLF, and a last line without an end. A payload spread
//! over several `data:` lines is joined. What is not a JSON object is counted and dropped (L9).

/// Lines of one payload. A JSON text that somebody laid out by hand has fewer.
const MAX_LINES: usize = 100_000;

/// A chunk is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The decoder. Feed it bytes as they come; any split gives the same chunks, and the work is in proportion to the bytes.
pub(crate) struct Lines {
    /// Bytes that a chunk, or what may become one, can have.
    limit: usize,
    /// The line that is not ended yet.
    line: Vec<u8>,
    /// The last byte was a CR: a following LF belongs to it.
    after_cr: bool,
    /// `data:` lines that do not make an object yet.
    data: String,
    /// So many of them.
    data_lines: usize,
    /// How far they are from making one.
    brackets: Brackets,
    chunks: Vec<String>,
    dropped: u64,
    rubbish: u64,
    /// `[DONE]` came.
    done: bool,
}

impl Lines {
    /// A decoder that refuses chunks of more than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            data: String::new(),
            data_lines: 0,
            brackets: Brackets::default(),
            chunks: Vec::new(),
            dropped: 0,
            rubbish: 0,
            done: false,
        }
    }

    /// Takes bytes and gives the chunks that they completed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let (part, ended) = match end {
                Some(at) => (&rest[..at], true),
                None => (rest, false),
            };
            if self.held() + part.len() > self.limit || self.data_lines > MAX_LINES {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            if !ended {
                break;
            }
            self.after_cr = rest.get(part.len()) == Some(&b'\r');
            rest = &rest[part.len() + 1..];
            let line = std::mem::take(&mut self.line);
            self.end_of_line(&line);
        }
        Ok(std::mem::take(&mut self.chunks))
    }

    /// The answer is over: gives what an unended last line holds.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        let line = std::mem::take(&mut self.line);
        self.end_of_line(&line);
        self.drop_data();
        std::mem::take(&mut self.chunks)
    }

    /// The agent said that nothing more comes, though it may leave the connection open.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes that wait for the rest of their chunk.
    pub(crate) fn held(&self) -> usize {
        self.line.len() + self.data.len()
    }

    /// Lines and payloads that were no JSON object.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Those of them that were meant to be one: payloads of events.
    pub(crate) fn rubbish(&self) -> u64 {
        self.rubbish
    }

    fn end_of_line(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else {
            self.dropped += 1;
            return;
        };
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let trimmed = line.trim();
        if trimmed.is_empty() {
            self.drop_data(); // the end of an event
        } else if trimmed.starts_with('{') {
            self.drop_data();
            self.payload(trimmed);
        } else if let Some(data) = trimmed.strip_prefix("data:") {
            self.data_line(data.trim());
        } else if !is_field(trimmed) {
            self.dropped += 1;
        }
    }

    fn data_line(&mut self, data: &str) {
        if data == "[DONE]" || data.is_empty() {
            self.done |= !data.is_empty();
            return;
        }
        // An object of its own means that what came before was rubbish, not its beginning.
        if is_object(data) {
            self.drop_data();
            self.chunks.push(data.to_owned());
            return;
        }
        if !self.data.is_empty() {
            self.data.push('\n');
        }
        self.data.push_str(data);
        self.data_lines += 1;
        self.brackets.read(data);
        // Looked at as a whole once only: more text cannot mend it.
        if self.brackets.are_closed() {
            if is_object(&self.data) {
                let data = std::mem::take(&mut self.data);
                self.chunks.push(data);
            }
            self.drop_data();
        }
    }

    fn payload(&mut self, text: &str) {
        if is_object(text) {
            self.chunks.push(text.to_owned());
        } else {
            self.dropped += 1;
        }
    }

    fn drop_data(&mut self) {
        if !std::mem::take(&mut self.data).is_empty() {
            self.dropped += 1;
            self.rubbish += 1;
        }
        self.data_lines = 0;
        self.brackets = Brackets::default();
    }
}

/// How deep a JSON text is in its brackets, known without reading any of it twice.
#[derive(Debug, Default)]
pub(crate) struct Brackets {
    depth: usize,
    begun: bool,
    in_text: bool,
    escaped: bool,
}

impl Brackets {
    /// Reads the next part of the text.
    pub(crate) fn read(&mut self, part: &str) {
        for byte in part.bytes() {
            if std::mem::take(&mut self.escaped) {
                continue;
            }
            match byte {
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => (self.depth, self.begun) = (self.depth + 1, true),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether there were brackets and all of them are closed.
    pub(crate) fn are_closed(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_text
    }
}

/// Comments and the fields of SSE that carry nothing for us.
fn is_field(line: &str) -> bool {
    line == "[DONE]"
        || ["event:", "id:", "retry:", ":"].iter().any(|field| line.starts_with(field))
        || ["event", "id", "retry", "data"].contains(&line)
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4 << 20;

    fn all(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(LIMIT);
        let mut chunks = lines.push(bytes).unwrap();
        chunks.extend(lines.finish());
        chunks
    }

    #[test]
    fn reads_data_with_and_without_a_space_json_lines_and_the_rest() {
        let text = "event: x\nid: 1\n: ping\ndata: {\"a\":1}\n\ndata:{\"b\":2}\r\n\r\n{\"c\":3}\n\
                    data: [DONE]\n\ndata: not json\n\n[1]\n\"text\"\n{\"d\":4}";
        let expected = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#, r#"{"d":4}"#];
        assert_eq!(all(text.as_bytes()), expected);
    }

    #[test]
    fn joins_a_payload_of_several_data_lines() {
        let text = "data: {\"a\":\ndata: 1}\n\ndata: {\"bad\":\n\ndata: {\"b\":2}\n\n";
        assert_eq!(all(text.as_bytes()), ["{\"a\":\n1}", "{\"b\":2}"]);
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_chunks() {
        let text =
            "data: {\"a\":\"zażółć 🎈\"}\r\n\r\ndata:{\"b\":2}\r\r{\"c\":3}\n\n\ndata: {\"d\":4}";
        let whole = all(text.as_bytes());
        assert_eq!(whole.len(), 4);
        for cut in 1..text.len() {
            let mut lines = Lines::new(LIMIT);
            let mut chunks = lines.push(&text.as_bytes()[..cut]).unwrap();
            chunks.extend(lines.push(&text.as_bytes()[cut..]).unwrap());
            chunks.extend(lines.finish());
            assert_eq!(chunks, whole, "cut at {cut}");
        }
        let mut lines = Lines::new(LIMIT);
        let mut chunks = Vec::new();
        for byte in text.as_bytes() {
            chunks.extend(lines.push(&[*byte]).unwrap());
        }
        chunks.extend(lines.finish());
        assert_eq!(chunks, whole);
    }

    #[test]
    fn a_line_without_end_is_refused_at_last() {
        let mut lines = Lines::new(LIMIT);
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..8).find_map(|_| lines.push(&piece).err());
        assert_eq!(refused, Some(TooLong));
    }

    #[test]
    fn an_object_that_never_ends_costs_in_proportion_to_its_bytes() {
        // Looked at anew at each line, this took minutes.
        let line = "data: {\"a\":[1,\n";
        let text = line.repeat(LIMIT / (line.len() - 6));
        let started = std::time::Instant::now();
        let mut lines = Lines::new(LIMIT);
        let taken =
            text.as_bytes().chunks(16 << 10).try_for_each(|part| lines.push(part).map(drop));
        assert_eq!(taken, Err(TooLong), "too many lines");
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn brackets_inside_of_text_do_not_count() {
        let text = "data: {\"a\":\"}\\\"]{\",\ndata: \"b\":[{}\ndata: ]}\n\n";
        assert_eq!(all(text.as_bytes()), ["{\"a\":\"}\\\"]{\",\n\"b\":[{}\n]}"]);
        let mut lines = Lines::new(LIMIT);
        assert_eq!(lines.push(b"data: [1\ndata: ]\nstray\ndata: {\"a\":1}\n\n").unwrap().len(), 1);
        assert_eq!((lines.dropped(), lines.rubbish()), (2, 1));
    }

    #[test]
    fn bad_utf8_costs_one_line() {
        assert_eq!(all(b"data: {\"a\":\"\xff\"}\n\ndata: {\"b\":1}\n\n"), [r#"{"b":1}"#]);
    }
}
