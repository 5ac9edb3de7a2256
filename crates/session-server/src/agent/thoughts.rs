//! Tells thoughts in tags from what is said: `<think>…</think>` and its kin, cut anywhere.
//!
//! A tag at the beginning of an answer, or behind another thought, opens a thought at once. One in the middle opens one
//! only at the beginning of a line, outside of code, and when it is closed later: it is held until then, because a
//! model may talk about tags. Some templates give the model the opening tag, so that an answer begins inside a thought
//! and only the closing tag is seen; some models think again in the middle without a tag that opens. Then what was said
//! since the last thought was one ([`Said::Rethought`]), unless the tag stands in code or inside of a sentence.

/// Opening and closing tags. Letters may be small or capital.
const TAGS: [(&str, &str); 7] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
];
/// Bytes of what may be a thought in the middle of an answer that are held.
const MAX_HELD: usize = 256 << 10;

/// A stretch of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Thought(String),
    /// All text since the last thought, or of the answer so far, was a thought.
    Rethought,
}

#[derive(Default)]
enum ThoughtState {
    /// The start: no word was said, or only a thought.
    #[default]
    Start,
    Text,
    /// In the thought of these tags; `true` when it has words.
    Thought(usize, bool),
    /// Behind an opening tag in the middle of an answer, with what came since.
    Perhaps(usize, String),
    /// Behind a closing tag that nothing opened, between spaces: the end of a line makes it one.
    Stray(String),
}

/// The reader of one answer's text. Any split of the text gives the same stretches.
#[derive(Default)]
pub(crate) struct Thoughts {
    mode: ThoughtState,
    /// The beginning of what may be a tag.
    tag: String,
    /// Spaces and line ends that belong to what follows.
    space: String,
    /// A thought was before: spaces behind it are its own.
    thought: bool,
    /// Opening tags that are text, whose closing tags are text, too.
    spoken: usize,
    prose: Prose,
}

impl Thoughts {
    /// Takes more of the answer.
    pub(crate) fn push(&mut self, text: &str, out: &mut Vec<Said>) {
        for c in text.chars() {
            self.letter(c, out);
        }
    }

    /// Gives what was held; the answer may go on, with a call or nothing in between.
    pub(crate) fn flush(&mut self, out: &mut Vec<Said>) {
        self.release(out);
        match std::mem::take(&mut self.mode) {
            ThoughtState::Perhaps(tag, text) => {
                self.say(TAGS[tag].0, out);
                self.say(&text, out);
                self.mode = ThoughtState::Text;
            }
            ThoughtState::Stray(tag) => {
                self.say(&tag, out);
                self.mode = ThoughtState::Text;
            }
            mode => self.mode = mode,
        }
        let space = std::mem::take(&mut self.space);
        if !matches!(self.mode, ThoughtState::Thought(..)) {
            add(out, Said::Text(space));
        }
    }

    fn letter(&mut self, c: char, out: &mut Vec<Said>) {
        let may_begin = matches!(c, '<' | '[' | '◁');
        if self.tag.is_empty() && !may_begin {
            return self.plain(c, out);
        }
        self.tag.push(c);
        let mut found = None;
        let mut may_be = false;
        for (n, (open, close)) in TAGS.iter().enumerate() {
            let (opens, closes) = match &self.mode {
                ThoughtState::Start | ThoughtState::Text | ThoughtState::Stray(_) => (true, true),
                ThoughtState::Thought(tag, _) | ThoughtState::Perhaps(tag, _) => (false, *tag == n),
            };
            for (is_wanted, is_open, tag) in [(opens, true, open), (closes, false, close)] {
                if is_wanted && begins_with(tag, &self.tag) {
                    may_be = true;
                    if tag.len() == self.tag.len() {
                        found = Some((n, is_open));
                    }
                }
            }
        }
        match found {
            Some((n, true)) => self.open(n, out),
            Some((_, false)) => self.close(out),
            None if may_be => {}
            None => {
                self.tag.pop();
                let was_empty = self.tag.is_empty();
                self.release(out);
                if was_empty { self.plain(c, out) } else { self.letter(c, out) }
            }
        }
    }

    /// Lets text go that might have become a tag and did not.
    fn release(&mut self, out: &mut Vec<Said>) {
        for c in std::mem::take(&mut self.tag).chars() {
            self.plain(c, out);
        }
    }

    fn open(&mut self, n: usize, out: &mut Vec<Said>) {
        if let ThoughtState::Stray(tag) = &mut self.mode {
            let tag = std::mem::take(tag);
            self.mode = ThoughtState::Text;
            self.say(&tag, out);
        }
        match self.mode {
            ThoughtState::Start => {
                (self.mode, self.thought) = (ThoughtState::Thought(n, false), true);
                self.tag.clear();
                self.space.clear();
            }
            _ if self.prose.begins_line() && !self.prose.is_code() => {
                self.mode = ThoughtState::Perhaps(n, String::new());
                self.tag.clear();
            }
            _ => {
                self.spoken += usize::from(!self.prose.is_code());
                self.release(out);
            }
        }
    }

    fn close(&mut self, out: &mut Vec<Said>) {
        match std::mem::take(&mut self.mode) {
            // What is left of a tag whose thought came by itself.
            ThoughtState::Start => self.after_thought(),
            ThoughtState::Thought(..) => {
                self.space.clear();
                self.after_thought();
            }
            ThoughtState::Perhaps(_, text) => {
                add(out, Said::Thought(text.trim().to_owned()));
                self.after_thought();
            }
            ThoughtState::Text if self.spoken > 0 && !self.prose.is_code() => {
                self.spoken -= 1;
                self.mode = ThoughtState::Text;
                self.release(out);
            }
            ThoughtState::Text if !self.prose.is_code() => {
                if self.prose.is_in_sentence() {
                    self.mode = ThoughtState::Stray(std::mem::take(&mut self.tag));
                    return;
                }
                self.rethink(out);
            }
            mode => {
                self.mode = mode;
                self.release(out);
            }
        }
    }

    fn rethink(&mut self, out: &mut Vec<Said>) {
        self.space.clear();
        out.push(Said::Rethought);
        self.after_thought();
    }

    fn after_thought(&mut self) {
        (self.mode, self.thought) = (ThoughtState::Start, true);
        self.tag.clear();
        self.prose = Prose::default();
    }

    fn plain(&mut self, c: char, out: &mut Vec<Said>) {
        match &mut self.mode {
            ThoughtState::Start if c.is_whitespace() => {
                if !self.thought {
                    self.space.push(c);
                    self.prose.read(c);
                }
            }
            ThoughtState::Start => {
                self.mode = ThoughtState::Text;
                self.say(c.encode_utf8(&mut [0; 4]), out);
            }
            ThoughtState::Text => self.say(c.encode_utf8(&mut [0; 4]), out),
            ThoughtState::Thought(..) if c.is_whitespace() => self.space.push(c),
            ThoughtState::Thought(_, begun) => {
                if !std::mem::replace(begun, true) {
                    self.space.clear();
                }
                self.space.push(c);
                match out.last_mut() {
                    Some(Said::Thought(thought)) => thought.push_str(&self.space),
                    _ => out.push(Said::Thought(self.space.clone())),
                }
                self.space.clear();
            }
            ThoughtState::Perhaps(tag, held) => {
                held.push(c);
                if held.len() > MAX_HELD {
                    let (tag, held) = (*tag, std::mem::take(held));
                    self.mode = ThoughtState::Text;
                    self.say(TAGS[tag].0, out);
                    self.say(&held, out);
                }
            }
            ThoughtState::Stray(_) if c == '\n' => self.rethink(out),
            ThoughtState::Stray(tag) => {
                let tag = std::mem::take(tag);
                self.mode = ThoughtState::Text;
                self.say(&tag, out);
                self.plain(c, out);
            }
        }
    }

    fn say(&mut self, text: &str, out: &mut Vec<Said>) {
        for c in text.chars() {
            self.prose.read(c);
            self.space.push(c);
            if c.is_whitespace() {
                continue;
            }
            match out.last_mut() {
                Some(Said::Text(text)) => text.push_str(&self.space),
                _ => out.push(Said::Text(self.space.clone())),
            }
            self.space.clear();
        }
    }
}

fn begins_with(tag: &str, start: &str) -> bool {
    tag.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

fn add(out: &mut Vec<Said>, said: Said) {
    match (out.last_mut(), said) {
        (_, Said::Text(text) | Said::Thought(text)) if text.is_empty() => {}
        (Some(Said::Text(so_far)), Said::Text(text))
        | (Some(Said::Thought(so_far)), Said::Thought(text)) => so_far.push_str(&text),
        (_, said) => out.push(said),
    }
}

/// Where in a text of Markdown its end is.
#[derive(Debug)]
struct Prose {
    last: char,
    /// Spaces at the beginning of the line; `None` behind anything else.
    indent: Option<usize>,
    /// Ticks or tildes at the beginning of the line.
    run: usize,
    is_fenced: bool,
    is_ticked: bool,
}

impl Default for Prose {
    fn default() -> Self {
        Self { last: '\n', indent: Some(0), run: 0, is_fenced: false, is_ticked: false }
    }
}

impl Prose {
    fn read(&mut self, c: char) {
        let is_tick = matches!(c, '`' | '~');
        match c {
            '\n' => {
                (self.indent, self.run, self.is_ticked) = (Some(0), 0, false);
            }
            c if c.is_whitespace() => self.indent = self.indent.map(|spaces| spaces + 1),
            c => {
                if is_tick && (self.indent.is_some() || (self.run > 0 && self.last == c)) {
                    self.run += 1;
                    if self.run == 3 {
                        (self.is_fenced, self.is_ticked) = (!self.is_fenced, false);
                    }
                } else {
                    self.run = 0;
                }
                if c == '`' && self.last != '`' && self.run <= 1 {
                    self.is_ticked = !self.is_ticked;
                }
                self.indent = None;
            }
        }
        self.last = c;
    }

    fn begins_line(&self) -> bool {
        self.indent.is_some_and(|spaces| spaces < 4)
    }

    fn is_code(&self) -> bool {
        self.is_fenced || self.is_ticked
    }

    /// Words stand before it on the line and lead on to it, as before a word.
    fn is_in_sentence(&self) -> bool {
        self.indent.is_none()
            && matches!(self.last, ' ' | '\t' | '"' | '\'' | '`' | '(' | '“' | '«')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and thoughts, whatever the cut.
    fn read(answer: &str) -> (String, String) {
        let whole = cut(answer, usize::MAX);
        for size in [1, 2, 3, 7] {
            assert_eq!(cut(answer, size), whole, "{size}: {answer}");
        }
        whole
    }

    fn cut(answer: &str, size: usize) -> (String, String) {
        let letters: Vec<char> = answer.chars().collect();
        let (mut thoughts, mut out) = (Thoughts::default(), Vec::new());
        for part in letters.chunks(size.min(letters.len()).max(1)) {
            thoughts.push(&part.iter().collect::<String>(), &mut out);
        }
        thoughts.flush(&mut out);
        let (mut text, mut thought) = (String::new(), String::new());
        for said in out {
            match said {
                Said::Text(more) => text.push_str(&more),
                Said::Thought(more) => thought.push_str(&more),
                Said::Rethought => thought.push_str(&std::mem::take(&mut text)),
            }
        }
        (text, thought)
    }

    fn says(answer: &str, text: &str, thought: &str) {
        assert_eq!(read(answer), (text.to_owned(), thought.to_owned()), "{answer:?}");
    }

    #[test]
    fn a_tag_at_the_beginning_opens_a_thought() {
        for (open, close) in TAGS {
            says(&format!("{open}\nCount *twice*.\n{close}\n\nSeven."), "Seven.", "Count *twice*.");
            says(&format!("\n {open}a{close}b"), "b", "a");
        }
        says("<THINK>a < b</Think>c", "c", "a < b");
        says("<think>\n\n</think>\n\nHi.\n", "Hi.\n", "");
        says("<think>a</think><think>b</think>c", "c", "ab");
        says("<think>the tag <thinking> is</think>c", "c", "the tag <thinking> is");
        says("<think>never closed", "", "never closed");
        says("<think></think>", "", "");
    }

    #[test]
    fn a_thought_in_the_middle_begins_a_line_and_is_closed() {
        says("I look.\n<think>hm\n</think>\nDone.", "I look.\nDone.", "hm");
        says("I look.\n<think>hm", "I look.\n<think>hm", "");
        says("I look.\n<think>hm</thinking>", "I look.\n<think>hm</thinking>", "");
    }

    #[test]
    fn a_thought_without_an_opening_tag_is_what_was_said_before_its_end() {
        says("Count twice.\n</think>\n\nSeven.", "Seven.", "Count twice.");
        says("Count twice.</think>Seven.", "Seven.", "Count twice.");
        says("So, seven. </think>\nSeven.", "Seven.", "So, seven.");
        says("</think>\n\nSeven.", "Seven.", "");
        says("a\n</think>\nb\n</think>\nc", "c", "ab");
        says("<think>a</think>b\n</think>\n\nc", "c", "ab");
        says("<think>a</think>Use </think> to close.", "Use </think> to close.", "a");
    }

    #[test]
    fn a_tag_that_is_talked_about_is_text() {
        for text in [
            "Use `<think>` and `</think>`.",
            "It ends with </think> there.",
            "It ends with </think>",
            "Like so:\n```xml\n<think>\nx\n</think>\n```\nDone.",
            "Like so:\n~~~\n</think>\n~~~\nDone.",
            "Write <think>a</think> now.",
            "Hi <b>you</b>, 1 < 2 [1] <t",
            "<thin",
            "<thinks>no</thinks>",
            " \n",
        ] {
            says(text, text, "");
        }
    }

    #[test]
    fn long_stretches_of_spaces_and_beginnings_cost_in_proportion() {
        let text = format!("x{}<{}", " ".repeat(1 << 18), "<thin".repeat(1 << 16));
        let started = std::time::Instant::now();
        assert_eq!(cut(&text, 1).0, text);
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
