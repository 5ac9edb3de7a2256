//! Cuts an answer of an agent or a model into chunks: Server-Sent Events, JSON lines, one JSON text, or a mixture.
//!
//! This is the one reader of foreign answers. More is accepted than the SSE standard has, because servers in the wild
//! send more: `data:` with or without a space or twice, events that no blank line parts, JSON without a field name on
//! one line or many, several JSON texts on a line, lists of objects, `[DONE]` anywhere, CRLF, a lone CR, a BOM,
//! comments, a last line without an end, and numbers that JSON does not have. A payload spread over several `data:`
//! lines is joined. Bytes that are no UTF-8 cost themselves only. What is no JSON object is counted and dropped (L9).
//!
//! An error that the framing names, by `event: error` or a field `error:`, is told apart from a chunk.
//!
//! A reader that keeps to the standard, such as `durable_stream`'s [`SseDecoder`](durable_stream::SseDecoder), cannot
//! take its place: it drops a bare line of JSON, the field `error:` (which is where servers say what went wrong) and
//! whatever no blank line ends, and it parts events where the standard does, not where a JSON text ends.

use serde_json::value::RawValue;

use super::lenient;

/// Lines of one payload. A JSON text that somebody laid out by hand has fewer.
const MAX_LINES: usize = 100_000;
/// Letters that are kept of the first words that were no JSON.
const MAX_WORDS: usize = 300;

/// A chunk is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// One event of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AgentEvent {
    /// JSON text of an object.
    Chunk(String),
    /// An error by its framing, as it was said: JSON text, words or nothing.
    Error(String),
}

/// Where the text that is not complete yet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Data,
    Bare,
    ErrorField,
}

/// The decoder. Feed it bytes as they come; any split gives the same events, and the work is in proportion to the
/// bytes.
pub(crate) struct Lines {
    /// Bytes that a chunk, or what may become one, can have.
    limit: usize,
    /// The line that is not ended yet.
    line: Vec<u8>,
    /// The last byte was a CR: a following LF belongs to it.
    after_cr: bool,
    /// Lines that do not make a JSON text yet, and where they come from.
    text: String,
    from: Origin,
    /// Number of those lines.
    text_lines: usize,
    /// The brackets that those lines leave open.
    brackets: Brackets,
    /// `event: error` came, and whether anything was said under it.
    failing: Option<bool>,
    events: Vec<AgentEvent>,
    words: Option<String>,
    dropped: u64,
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
            text: String::new(),
            from: Origin::Data,
            text_lines: 0,
            brackets: Brackets::default(),
            failing: None,
            events: Vec::new(),
            words: None,
            dropped: 0,
            done: false,
        }
    }

    /// Takes bytes and gives the events that they completed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<AgentEvent>, TooLong> {
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
            if self.held() + part.len() > self.limit || self.text_lines > MAX_LINES {
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
        Ok(std::mem::take(&mut self.events))
    }

    /// The answer is over: gives what an unended last line holds.
    pub(crate) fn finish(&mut self) -> Vec<AgentEvent> {
        let line = std::mem::take(&mut self.line);
        self.end_of_line(&line);
        self.drop_text();
        self.end_of_event();
        std::mem::take(&mut self.events)
    }

    /// The agent said that nothing more comes, though it may leave the connection open.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes that wait for the rest of their chunk.
    pub(crate) fn held(&self) -> usize {
        self.line.len() + self.text.len()
    }

    /// Lines and payloads that were no JSON object.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The first of them, in part, or the first that has an error in it.
    pub(crate) fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }

    fn end_of_line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        match field(line) {
            Some((Field::Data, mut data)) => {
                // Some proxies wrap what is wrapped.
                while let Some(inner) = data.strip_prefix("data:") {
                    data = inner.trim_start();
                }
                if self.from == Origin::Bare {
                    self.drop_text();
                }
                self.data(data);
            }
            Some((Field::Event, name)) => {
                self.drop_text();
                self.failing = (name == "error").then_some(false);
            }
            Some((Field::Error, said)) => {
                self.drop_text();
                if said.starts_with(['{', '[']) {
                    self.json(said, Origin::ErrorField);
                } else if !said.is_empty() {
                    self.events.push(AgentEvent::Error(said.to_owned()));
                }
            }
            Some((Field::Other, _)) => {}
            None if line.is_empty() => {
                // A JSON text without a field name may have empty lines.
                if self.from != Origin::Bare || !self.is_open() {
                    self.drop_text();
                    self.end_of_event();
                }
            }
            None => self.bare(line),
        }
    }

    fn end_of_event(&mut self) {
        if self.failing.take() == Some(false) {
            self.events.push(AgentEvent::Error(String::new()));
        }
    }

    fn is_open(&self) -> bool {
        self.brackets.begun && !self.brackets.are_closed()
    }

    fn data(&mut self, data: &str) {
        if is_done(data) {
            self.drop_text();
            self.done = true;
        } else if !data.is_empty() {
            self.json(data, Origin::Data);
        }
    }

    fn bare(&mut self, line: &str) {
        if is_done(line) {
            self.drop_text();
            self.done = true;
        } else if line.starts_with(['{', '[']) || self.is_open() {
            let from = if self.is_open() { self.from } else { Origin::Bare };
            self.json(line, from);
        } else {
            self.drop_text();
            self.drop_words(line);
        }
    }

    /// Takes the next line of a JSON text, which may be all of it.
    fn json(&mut self, part: &str, from: Origin) {
        // An object of its own means that what came before was rubbish, unless it has its place there.
        let nests = self.is_open() && self.text.ends_with(['[', ',', ':']);
        if part.starts_with(['{', '['])
            && !nests
            && (self.text.is_empty() || part.starts_with('{'))
            && let Some(values) = values(part)
        {
            self.drop_text();
            self.take(values, part, from);
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.from = from;
        self.text.push_str(part);
        self.text_lines += 1;
        self.brackets.read(part);
        // Looked at as a whole once only: more text cannot mend it.
        if self.brackets.are_closed() {
            let text = std::mem::take(&mut self.text);
            self.clear_text();
            let mended;
            let found = match values(&text) {
                Some(values) => Some((values, &text)),
                None => {
                    mended = lenient::mended(&text);
                    values(&mended).map(|values| (values, &mended))
                }
            };
            match found {
                Some((values, text)) => self.take(values, text, from),
                None => self.drop_rubbish(&text, from),
            }
        }
    }

    /// Takes the values of a JSON text.
    fn take(&mut self, values: Values<'_>, text: &str, from: Origin) {
        self.done |= values.done;
        if values.objects.is_empty() && !values.done {
            return self.drop_rubbish(text, from);
        }
        let fails = from == Origin::ErrorField || self.failing.is_some();
        if fails {
            self.failing = self.failing.map(|_| true);
        }
        let event = if fails { AgentEvent::Error } else { AgentEvent::Chunk };
        self.events.extend(values.objects.into_iter().map(|object| event(object.to_owned())));
    }

    fn drop_text(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            let from = self.from;
            self.drop_rubbish(&text, from);
        }
        self.clear_text();
    }

    fn clear_text(&mut self) {
        self.text_lines = 0;
        self.brackets = Brackets::default();
        self.from = Origin::Data;
    }

    fn drop_rubbish(&mut self, text: &str, from: Origin) {
        if from == Origin::ErrorField || self.failing.is_some() {
            self.failing = self.failing.map(|_| true);
            self.events.push(AgentEvent::Error(text.to_owned()));
            return;
        }
        self.drop_words(text);
    }

    fn drop_words(&mut self, text: &str) {
        self.dropped += 1;
        let has_error = |text: &str| text.to_lowercase().contains("error");
        if self.words.as_ref().is_none_or(|words| !has_error(words)) {
            let words: String = text.chars().take(MAX_WORDS).collect();
            if self.words.is_none() || has_error(&words) {
                self.words = Some(words);
            }
        }
    }
}

/// The fields of SSE, and what else is known to stand before a colon.
enum Field {
    Data,
    Event,
    Error,
    /// Comments and the fields that carry nothing for us.
    Other,
}

fn field(line: &str) -> Option<(Field, &str)> {
    let (name, rest) = match line.split_once(':') {
        Some((name, rest)) => (name, rest.trim_start()),
        None => (line, ""),
    };
    let field = match name {
        "data" => Field::Data,
        "event" => Field::Event,
        "error" if line.len() > name.len() => Field::Error,
        "id" | "retry" => Field::Other,
        "" if line.starts_with(':') => Field::Other,
        _ => return None,
    };
    Some((field, rest))
}

fn is_done(text: &str) -> bool {
    text.trim_matches('"').eq_ignore_ascii_case("[done]")
}

/// The objects of a line or a text: one, several behind each other, or lists of them.
#[derive(Default)]
struct Values<'a> {
    objects: Vec<&'a str>,
    /// `[DONE]` stands behind them.
    done: bool,
}

/// `None` when it is not all JSON.
fn values(text: &str) -> Option<Values<'_>> {
    let mut found = Values::default();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    loop {
        let at = stream.byte_offset();
        match stream.next() {
            None => return Some(found),
            Some(Ok(value)) => found.take(value),
            Some(Err(_)) if at > 0 && is_done(text[at..].trim()) => {
                found.done = true;
                return Some(found);
            }
            Some(Err(_)) => return None,
        }
    }
}

impl<'a> Values<'a> {
    fn take(&mut self, value: &'a RawValue) {
        let text = value.get();
        if text.starts_with('{') {
            self.objects.push(text);
        } else if text.starts_with('[')
            && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text)
        {
            let objects = items.into_iter().map(RawValue::get);
            self.objects.extend(objects.filter(|item| item.starts_with('{')));
        }
    }
}

/// Depth of a JSON text in its brackets, known without reading any of it twice.
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4 << 20;

    /// The events of a text, at every cut into two and byte by byte.
    fn read(text: &[u8]) -> (Vec<AgentEvent>, Lines) {
        let all = |parts: &mut dyn Iterator<Item = &[u8]>| {
            let mut lines = Lines::new(LIMIT);
            let mut events = Vec::new();
            for part in parts {
                events.extend(lines.push(part).unwrap());
            }
            events.extend(lines.finish());
            (events, lines)
        };
        let whole = all(&mut std::iter::once(text));
        for cut in 1..text.len().min(400) {
            let (events, _) = all(&mut [&text[..cut], &text[cut..]].into_iter());
            assert_eq!(events, whole.0, "cut at {cut}");
        }
        for size in [1, 3] {
            assert_eq!(all(&mut text.chunks(size)).0, whole.0, "in pieces of {size}");
        }
        whole
    }

    /// The chunks of an answer without errors.
    fn chunks(text: &str) -> Vec<String> {
        let events = read(text.as_bytes()).0.into_iter();
        events
            .map(|event| match event {
                AgentEvent::Chunk(chunk) => chunk,
                AgentEvent::Error(said) => panic!("an error: {said}"),
            })
            .collect()
    }

    fn errors(text: &str) -> Vec<String> {
        let events = read(text.as_bytes()).0.into_iter();
        let errors = events.filter_map(|event| match event {
            AgentEvent::Error(said) => Some(said),
            AgentEvent::Chunk(_) => None,
        });
        errors.collect()
    }

    #[test]
    fn reads_data_with_and_without_a_space_json_lines_and_the_rest() {
        let text = "event: x\nid: 1\n: ping\ndata: {\"a\":1}\n\ndata:{\"b\":2}\r\n\r\n{\"c\":3}\n\
                    data: not json\n\n[1]\n\"text\"\n{\"d\":4}";
        let expected = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#, r#"{"d":4}"#];
        assert_eq!(chunks(text), expected);
    }

    #[test]
    fn two_chunks_are_two_however_they_are_framed() {
        for text in [
            "data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n",
            "data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]",
            "data: {\"a\":1}\r\rdata: {\"b\":2}\r",
            "data: {\"a\":1}\r\n\r\n: x\r\ndata: {\"b\":2}\r\n\r\n",
            "\u{feff}data:{\"a\":1}\n\n\u{feff}data:{\"b\":2}\n\n",
            "data: data: {\"a\":1}\n\ndata:data:{\"b\":2}\n\n",
            "{\"a\":1}\n{\"b\":2}\n[DONE]\n",
            "{\"a\":1}{\"b\":2}",
            "data: {\"a\":1}{\"b\":2}[DONE]\n\n",
            "[{\"a\":1},{\"b\":2}]",
            "data: [{\"a\":1}]\ndata: [{\"b\":2}]\n\n",
            "[DONE]\ndata: {\"a\":1}\n\ndata: [DONE]\n\ndata: {\"b\":2}\n\n",
            "event: message\nid: 7\nretry: 1\ndata: {\"a\":1}\n\nevent:chunk\ndata: {\"b\":2}\n\n",
            "  data: {\"a\":1}  \n\n\tdata: {\"b\":2}\n\n",
            "data\n\ndata:\n\ndata: {\"a\":1}\n\nevent\n{\"b\":2}\n",
        ] {
            assert_eq!(chunks(text), [r#"{"a":1}"#, r#"{"b":2}"#], "{text:?}");
        }
    }

    #[test]
    fn a_payload_of_several_lines_is_joined() {
        let text = "data: {\"a\":\ndata: 1}\n\ndata: {\"bad\":\n\ndata: {\"b\":2}\n\n";
        assert_eq!(chunks(text), ["{\"a\":\n1}", "{\"b\":2}"]);
        for text in [
            "{\n  \"a\": [\n    {\"b\": 1}\n  ]\n}\n",
            "data: {\n  \"a\": [\n    {\"b\": 1}\n  ]\n}\n\n",
            "data: {\ndata: \"a\": [\ndata: {\"b\": 1}\ndata: ]\ndata: }\n\n",
            "{\r\n\"a\":\r\n\r\n[{\"b\": 1}]}",
        ] {
            let chunks = chunks(text);
            let value: serde_json::Value = serde_json::from_str(&chunks[0]).unwrap();
            assert_eq!(
                (chunks.len(), value),
                (1, serde_json::json!({"a": [{"b": 1}]})),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_error_of_the_framing_is_told_apart() {
        for (text, said) in [
            ("error: {\"message\":\"no\"}\n\ndata: [DONE]\n\n", "{\"message\":\"no\"}"),
            ("error:{\n\"message\":\"no\"\n}\n", "{\n\"message\":\"no\"\n}"),
            ("error: too long\n", "too long"),
            ("event: error\ndata: {\"message\":\"no\"}\n\n", "{\"message\":\"no\"}"),
            ("event: error\ndata: too long\n\n", "too long"),
            ("event:error\ndata: \"too long\"\n\n", "\"too long\""),
            ("event: error\n\n", ""),
            ("event: error", ""),
            ("event: error\ndata: [1]\n\n", "[1]"),
        ] {
            assert_eq!(errors(&format!("data: {{\"a\":1}}\n\n{text}")), [said], "{text:?}");
        }
        assert_eq!(errors("event: error\ndata: {\"a\":1}\n\ndata: {\"b\":2}\n\n").len(), 1);
        assert_eq!(errors("data: {\"a\":\"error: no\"}\nerrors\nerrors: 1\n\n"), [""; 0]);
    }

    #[test]
    fn done_is_said_only_where_it_stands_alone() {
        for (text, done) in [
            ("data: [DONE]\n\n", true),
            ("data:[done]", true),
            ("data: \"[DONE]\"\n", true),
            ("[DONE]", true),
            ("data: {\"a\":1} [DONE]\n", true),
            ("data: {\"a\":\"[DONE]\"}\n\n", false),
            ("data: say [DONE] now\n\n", false),
        ] {
            assert_eq!(read(text.as_bytes()).1.is_done(), done, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_counted_and_its_first_words_are_kept() {
        let (events, lines) = read(b"data: [1\ndata: ]\nstray\ndata: {\"a\":1}\n\n");
        assert_eq!((events.len(), lines.dropped()), (1, 2));
        let (_, lines) = read("data: upstream żółw\n\n{\"half\":".as_bytes());
        assert_eq!((lines.words(), lines.dropped()), (Some("upstream żółw"), 2));
    }

    #[test]
    fn numbers_and_words_of_other_languages_are_read() {
        assert_eq!(
            chunks(
                "data: {\"a\": NaN, \"b\": [-Infinity], \"c\": None, \"d\": True, \"e\": \"NaN\ttab\"}\n\n"
            ),
            [r#"{"a": null, "b": [null], "c": null, "d": true, "e": "NaN\u0009tab"}"#]
        );
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
        for line in ["data: {\"a\":[1,\n", "{\"a\":[1,\n", "data: [\n"] {
            let text = line.repeat(LIMIT / (line.len() - 6));
            let started = std::time::Instant::now();
            let mut lines = Lines::new(LIMIT);
            let taken =
                text.as_bytes().chunks(16 << 10).try_for_each(|part| lines.push(part).map(drop));
            assert_eq!(taken, Err(TooLong), "too many lines");
            assert!(
                started.elapsed() < std::time::Duration::from_secs(5),
                "{:?}",
                started.elapsed()
            );
        }
    }

    #[test]
    fn brackets_inside_of_text_do_not_count() {
        let text = "data: {\"a\":\"}\\\"]{\",\ndata: \"b\":[{}\ndata: ]}\n\n";
        assert_eq!(chunks(text), ["{\"a\":\"}\\\"]{\",\n\"b\":[{}\n]}"]);
    }

    #[test]
    fn bad_utf8_costs_itself_only() {
        let (events, _) = read(b"data: {\"a\":\"\xff\"}\n\ndata: {\"b\":1}\n\n");
        let chunk = |text: &str| AgentEvent::Chunk(text.to_owned());
        assert_eq!(events, [chunk("{\"a\":\"\u{fffd}\"}"), chunk(r#"{"b":1}"#)]);
    }
}
