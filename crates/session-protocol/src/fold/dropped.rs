//! A fold that drops its texts, where it does: what a step keeps of words, and whom somebody listens to.

use serde_json::Value;

use super::call::Outcome;
use super::message::MessageFold;
use super::session::SessionFold;
use super::short::{Heard, SETTINGS, Texts, short_text, short_value};
use super::signal::SignalKind;
use super::step::Step;
use crate::row::{Part, plain_text};

impl Outcome {
    /// The short form, which tells it from another one.
    pub(super) fn short(self) -> Self {
        let (output, error) = (self.output.map(short_value), self.error.map(short_text));
        Self { output, error, ..self }
    }
}

impl SignalKind {
    /// The short form, with what counts beside what is shown.
    fn short(self) -> Self {
        match self {
            Self::Result { call, output, error } => {
                Self::Result { call, output: output.map(short_value), error: error.map(short_text) }
            }
            Self::Answer { approval, approved, chosen, .. } => {
                let chosen = chosen.map(|mut chosen| {
                    chosen.reason = chosen.reason.map(short_text);
                    chosen
                });
                Self::Answer { approval, approved, payload: None, chosen }
            }
            Self::Config { mut settings } => {
                settings.retain(|name, _| SETTINGS.contains(&name.as_str()));
                Self::Config { settings }
            }
        }
    }
}

impl MessageFold {
    /// Whether texts are not kept.
    pub(super) fn drops(&self) -> bool {
        self.texts == Texts::Dropped
    }

    /// Keeps the words that come from now on, so many bytes at most.
    pub(super) fn listen(&mut self, most: usize) {
        self.heard = Some(Heard { from: self.message.parts.len(), left: most });
    }

    /// The words that were kept.
    pub(super) fn heard(&self) -> String {
        let parts = self.heard.and_then(|heard| self.message.parts.get(heard.from..));
        plain_text(parts.unwrap_or_default())
    }

    /// Drops the words that were kept.
    pub(super) fn hear_no_more(&mut self) {
        let Some(heard) = self.heard.take() else { return };
        for part in self.message.parts.iter_mut().skip(heard.from) {
            match part {
                Part::Text { text, citations, .. } => {
                    let is_blank = text.trim().is_empty();
                    *text = if is_blank { String::new() } else { ".".to_owned() };
                    *citations = Vec::new();
                }
                Part::Reasoning { text, .. } => *text = String::new(),
                _ => {}
            }
        }
        self.scratch.cursor.forget_all();
    }
}

impl SessionFold {
    /// Keeps the words of a message that come from now on, so many bytes at most, although texts are not kept: somebody
    /// listens to what its agent says. The message may not be there yet.
    pub fn listen(&mut self, message_id: &str, most: usize) {
        self.listened.insert(message_id.to_owned(), most);
        if let Some(fold) = self.messages.get_mut(message_id) {
            fold.listen(most);
        }
    }

    /// The words said in a message since [`Self::listen`], as plain text.
    pub fn heard(&self, message_id: &str) -> String {
        self.messages.get(message_id).map(MessageFold::heard).unwrap_or_default()
    }

    /// Drops what was heard in a message; nobody listens any more.
    pub fn hear_no_more(&mut self, message_id: &str) {
        self.listened.remove(message_id);
        if let Some(fold) = self.messages.get_mut(message_id) {
            fold.hear_no_more();
        }
    }
}

impl Step<'_> {
    pub(super) fn drops(&self) -> bool {
        self.fold.drops()
    }

    /// Whether somebody listens to the words of the message, and not to more than they can hear.
    pub(super) fn is_heard(&self) -> bool {
        self.fold.heard.is_some_and(|heard| heard.left > 0)
    }

    pub(super) fn drops_words(&self) -> bool {
        self.drops() && !self.is_heard()
    }

    pub(super) fn short_outcome(&self, outcome: Outcome) -> Outcome {
        if self.drops() { outcome.short() } else { outcome }
    }

    pub(super) fn short_signal(&self, kind: SignalKind) -> SignalKind {
        if self.drops() { kind.short() } else { kind }
    }

    pub(super) fn short_input(&self, input: Option<Value>) -> Option<Value> {
        if self.drops() { input.map(short_value) } else { input }
    }

    pub(super) fn short_words(&self, text: String) -> String {
        if self.drops() { short_text(text) } else { text }
    }

    /// Something stands here that is not kept. Several in a row are one: all that counts is whether there is anything,
    /// and whether that is more than blank.
    pub(super) fn drop_words(&mut self, words: &str) {
        let is_blank = words.trim().is_empty();
        if let Some(Part::Text { text, .. }) = self.fold.message.parts.last_mut() {
            if text.is_empty() && !is_blank {
                text.push('.');
            }
            return;
        }
        self.place(None, Part::text(if is_blank { "" } else { "." }));
    }

    /// Drops as [`Self::drop_words`] does, of what is no text: words that are heard do not go on behind it.
    pub(super) fn drop_other(&mut self) {
        if !self.is_heard() {
            self.drop_words(".");
        } else if !matches!(self.fold.message.parts.last(), Some(Part::StepStart)) {
            self.place(None, Part::StepStart);
        }
    }
}
