//! From a source's entries to messages: everything of the assistant and its tools between two entries of a person is one
//! message.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::media;
use crate::model::{Call, CallState, File, Message, Part, Role, Source};
use crate::text::{self, Stretch};
use crate::time;

/// An entry's own facts.
#[derive(Clone, Default)]
pub(crate) struct Head {
    /// The source's id.
    pub(crate) id: Option<String>,
    /// When it was written.
    pub(crate) at: Option<Timestamp>,
    /// The model or agent.
    pub(crate) author: Option<String>,
}

impl Head {
    /// An entry with this id and time.
    pub(crate) fn new(id: Option<&str>, at: Option<Timestamp>) -> Self {
        Self { id: id.filter(|id| !id.is_empty()).map(str::to_owned), at, author: None }
    }

    /// The same, of this model or agent.
    pub(crate) fn by(self, author: Option<&str>) -> Self {
        Self { author: author.filter(|name| !name.is_empty()).map(str::to_owned), ..self }
    }
}

/// Which call a result is of.
pub(crate) enum Of<'a> {
    /// The one with this id.
    Id(&'a str),
    /// The nearest open one of this tool.
    Name(&'a str),
}

/// What a call came to.
pub(crate) struct Outcome {
    pub(crate) state: CallState,
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<String>,
}

impl Outcome {
    /// It gave this.
    pub(crate) fn done(output: Value) -> Self {
        Self { state: CallState::Done, output: Some(output), error: None }
    }

    /// It failed with these words.
    pub(crate) fn failed(error: String) -> Self {
        Self { state: CallState::Failed, output: None, error: Some(error) }
    }

    /// The person refused it, with these words.
    pub(crate) fn denied(error: String) -> Self {
        Self { state: CallState::Denied, output: None, error: Some(error) }
    }

    /// It gave or failed with what MCP-like blocks say.
    pub(crate) fn of(value: &Value, failed: bool) -> Self {
        if failed {
            Self::failed(text::error_of(value))
        } else {
            Self::done(text::output_of(value))
        }
    }
}

/// Messages in the making.
#[derive(Default)]
pub(crate) struct Turns {
    messages: Vec<Message>,
    /// The entry that what comes next belongs to, until it has shown something.
    entry: Option<(Role, Head)>,
    /// The entry is another answer of the model.
    step: bool,
    /// Sources of the last message.
    sources: Vec<Source>,
    calls: HashMap<String, (usize, usize)>,
    /// Marks ahead of the first message.
    marks: Vec<Part>,
    compactions: usize,
}

/// What became of the entries.
pub(crate) struct Told {
    pub(crate) messages: Vec<Message>,
    pub(crate) compactions: usize,
}

impl Turns {
    /// An entry of a person begins.
    pub(crate) fn user(&mut self, head: Head) {
        self.entry = Some((Role::User, head));
    }

    /// An entry of the assistant or one of its tools begins.
    pub(crate) fn assistant(&mut self, head: Head) {
        self.entry = Some((Role::Assistant, head));
        self.step = true;
    }

    /// An entry begins that is a piece of the answer before it.
    pub(crate) fn goes_on(&mut self, head: Head) {
        self.entry = Some((Role::Assistant, head));
    }

    /// An entry of whom it says begins.
    pub(crate) fn entry(&mut self, role: Role, head: Head) {
        match role {
            Role::User => self.user(head),
            Role::Assistant => self.assistant(head),
        }
    }

    /// The message that what is shown next belongs to.
    fn message(&mut self) -> &mut Message {
        let (role, head) = match self.entry.take() {
            Some(entry) => entry,
            None if self.messages.is_empty() => (Role::Assistant, Head::default()),
            None => return self.messages.last_mut().expect("there is one"),
        };
        let step = std::mem::take(&mut self.step);
        let goes_on = role == Role::Assistant
            && self.messages.last().is_some_and(|last| last.role == Role::Assistant);
        if goes_on {
            let message = self.messages.last_mut().expect("there is one");
            let says = |part: &Part| !matches!(part, Part::Data { .. } | Part::Step);
            if step && message.parts.iter().any(says) {
                message.parts.push(Part::Step);
            }
            message.author = message.author.take().or(head.author);
        } else {
            self.end_message();
            let before = self.messages.last().and_then(|last| last.at);
            self.messages.push(Message {
                id: head.id,
                role,
                at: head.at.or_else(|| before.map(time::just_after)),
                guessed: head.at.is_none(),
                author: head.author,
                parts: std::mem::take(&mut self.marks),
            });
        }
        self.messages.last_mut().expect("there is one")
    }

    /// Puts the sources behind everything else.
    fn end_message(&mut self) {
        let sources = std::mem::take(&mut self.sources);
        if let Some(message) = self.messages.last_mut() {
            message.parts.extend(sources.into_iter().map(Part::Source));
        }
    }

    /// Words; nothing for blank ones.
    pub(crate) fn text(&mut self, words: &str) {
        if !text::is_blank(words) {
            let words = text::clean(words);
            self.message().parts.push(Part::Text(words));
        }
    }

    /// Words that go on where the last ones end, in the middle of a sentence.
    pub(crate) fn more_text(&mut self, words: &str) {
        if self.entry.is_none()
            && let Some(Part::Text(before)) =
                self.messages.last_mut().and_then(|last| last.parts.last_mut())
        {
            before.push_str(&text::clean(words));
        } else {
            self.text(words);
        }
    }

    /// Thoughts.
    pub(crate) fn reasoning(&mut self, words: &str) {
        if !text::is_blank(words) {
            let words = text::clean(words);
            self.message().parts.push(Part::Reasoning(words));
        }
    }

    /// Words in which thoughts stand in tags; a person's are only words.
    pub(crate) fn text_with_thoughts(&mut self, words: &str) {
        let last = || self.messages.last().map(|last| last.role);
        if self.entry.as_ref().map(|(role, _)| *role).or_else(last) == Some(Role::User) {
            return self.text(words);
        }
        let words = text::clean(words);
        let stretches = text::stretches(&words);
        let several = stretches.len() > 1;
        for stretch in stretches {
            match stretch {
                Stretch::Said(words) if several => self.text(words.trim()),
                Stretch::Said(words) => self.text(words),
                Stretch::Thought(words) => self.reasoning(words.trim()),
            }
        }
    }

    /// A file.
    pub(crate) fn file(&mut self, file: File) {
        self.message().parts.push(Part::File(file));
    }

    /// A source of the answer; one for each page.
    pub(crate) fn source(&mut self, source: Source) {
        self.message();
        let same = |known: &&mut Source| match (&known.url, &source.url) {
            (Some(known), Some(url)) => known == url,
            (None, None) => known.filename == source.filename && known.title == source.title,
            _ => false,
        };
        match self.sources.iter_mut().find(same) {
            Some(known) => known.title = known.title.take().or(source.title),
            None => self.sources.push(source),
        }
    }

    /// A page that the answer rests on; nothing for an empty address.
    pub(crate) fn page(&mut self, url: &str, title: Option<&str>) {
        if url.starts_with("http://") || url.starts_with("https://") {
            let title = title.map(text::clean).filter(|title| !text::is_blank(title));
            self.source(Source { url: Some(url.to_owned()), title, filename: None });
        }
    }

    /// A document that the answer rests on.
    pub(crate) fn document(&mut self, filename: Option<&str>, title: Option<&str>) {
        let own = |text: &str| Some(text::clean(text)).filter(|text| !text::is_blank(text));
        let source =
            Source { url: None, title: title.and_then(own), filename: filename.and_then(own) };
        if source.title.is_some() || source.filename.is_some() {
            self.source(source);
        }
    }

    /// A part that we do not draw.
    pub(crate) fn data(&mut self, name: &str, data: Value) {
        self.message().parts.push(Part::Data { name: text::clean(name), data });
    }

    /// A call.
    pub(crate) fn call(&mut self, call: Call) {
        let id = call.id.clone();
        let parts = &mut self.message().parts;
        parts.push(Part::Call(call));
        let at = parts.len() - 1;
        if let Some(id) = id {
            self.calls.insert(id, (self.messages.len() - 1, at));
        }
    }

    /// A call whose end is known at once.
    pub(crate) fn call_with(&mut self, mut call: Call, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            (call.state, call.output, call.error) = (outcome.state, outcome.output, outcome.error);
        }
        self.call(call);
    }

    /// Whether there is a call with this id.
    pub(crate) fn has_call(&self, id: &str) -> bool {
        self.calls.get(id).is_some_and(|at| self.at(*at).is_some())
    }

    fn at(&self, (message, part): (usize, usize)) -> Option<&Call> {
        match self.messages.get(message)?.parts.get(part)? {
            Part::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The result of a call. `false` when there is no such call.
    pub(crate) fn result(&mut self, of: &Of<'_>, outcome: Outcome) -> bool {
        let at = match of {
            Of::Id(id) => self.calls.get(*id).copied(),
            Of::Name(name) => self.open_call(name),
        };
        let Some((message, part)) = at else { return false };
        let part = self.messages.get_mut(message).and_then(|message| message.parts.get_mut(part));
        let Some(Part::Call(call)) = part else { return false };
        (call.state, call.output, call.error) = (outcome.state, outcome.output, outcome.error);
        true
    }

    /// The nearest open call of a tool; of calls that follow each other the first.
    fn open_call(&self, name: &str) -> Option<(usize, usize)> {
        let message = self.messages.len().checked_sub(1)?;
        let mut found = None;
        for (at, part) in self.messages[message].parts.iter().enumerate().rev() {
            match part {
                Part::Call(call) if call.state == CallState::Ready && call.name == name => {
                    found = Some((message, at));
                }
                Part::Call(_) | Part::Step => {}
                _ if found.is_some() => break,
                _ => {}
            }
        }
        found
    }

    /// The last call of a tool in the last message, with or without a result.
    pub(crate) fn last_call(&mut self, name: &str) -> Option<&mut Call> {
        let parts = self.messages.last_mut()?.parts.iter_mut().rev();
        parts
            .filter_map(|part| match part {
                Part::Call(call) => Some(call),
                _ => None,
            })
            .find(|call| call.name == name)
    }

    /// The result of a call that is nowhere: kept as data of the answer, where there is one.
    pub(crate) fn stray_result(&mut self, name: &str, value: &Value) {
        if let Some(last) = self.messages.last_mut().filter(|last| last.role == Role::Assistant) {
            let data = json!({"name": name, "content": value});
            last.parts.push(Part::Data { name: "tool-result".to_owned(), data });
        }
    }

    /// A mark between messages: a compaction, a beginning without what was before.
    pub(crate) fn mark(&mut self, name: &str, data: Value) {
        if name == COMPACTION {
            self.compactions += 1;
        }
        let part = Part::Data { name: name.to_owned(), data };
        match self.messages.last_mut() {
            Some(last) => last.parts.push(part),
            None => self.marks.push(part),
        }
    }

    /// The messages; those with marks alone are left out.
    pub(crate) fn finish(mut self) -> Told {
        self.end_message();
        let says = |part: &Part| !matches!(part, Part::Step);
        self.messages.retain(|message| message.parts.iter().any(says));
        Told { messages: self.messages, compactions: self.compactions }
    }

    /// Text, images and other files in MCP-like or OpenAI-like blocks.
    pub(crate) fn blocks(&mut self, blocks: &[Value]) {
        for block in blocks {
            self.block(block);
        }
    }

    fn block(&mut self, block: &Value) {
        if let Value::String(words) = block {
            return self.text(words);
        }
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
        if let Some(file) = media::of_block(block) {
            self.file(file);
        } else if let Some(words) = block.get("text").and_then(Value::as_str) {
            self.text(words);
        } else if !kind.is_empty() {
            self.data(kind, block.clone());
        }
    }
}

/// Name of the mark of a compaction.
pub(crate) const COMPACTION: &str = "compaction";
