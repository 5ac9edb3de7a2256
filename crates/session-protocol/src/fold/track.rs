//! Collecting the changes of messages during one application.

use foldhash::HashMap;

use super::MessageChange;

#[derive(Default)]
struct Touched {
    /// Inserted or replaced: the reader takes the whole message afterwards.
    whole: bool,
    /// Parts the reader takes whole afterwards.
    parts: Vec<usize>,
    meta: bool,
    /// Where the last append of a part is in the list: `(part, index)`.
    append: Option<(usize, usize)>,
}

/// The changes so far, merged so that a batch says each thing once.
#[derive(Default)]
pub(crate) struct Tracker {
    off: bool,
    list: Vec<MessageChange>,
    touched: HashMap<String, Touched>,
}

impl Tracker {
    /// One that records nothing, for refolding.
    pub(crate) fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    fn touch(&mut self, id: &str) -> &mut Touched {
        if !self.touched.contains_key(id) {
            self.touched.insert(id.to_owned(), Touched::default());
        }
        self.touched.get_mut(id).expect("inserted above")
    }

    /// Text grew at the end of a part.
    pub(crate) fn append(&mut self, id: &str, part: usize, text: &str) {
        if self.off || text.is_empty() {
            return;
        }
        let next = self.list.len();
        let touched = self.touch(id);
        if touched.whole || touched.parts.contains(&part) {
            return;
        }
        if let Some((last, at)) = touched.append
            && last == part
        {
            if let Some(MessageChange::AppendText { text: so_far, .. }) = self.list.get_mut(at) {
                so_far.push_str(text);
            }
            return;
        }
        touched.append = Some((part, next));
        self.list.push(MessageChange::AppendText {
            id: id.to_owned(),
            part,
            text: text.to_owned(),
        });
    }

    /// A part is new or has a new value.
    pub(crate) fn set_part(&mut self, id: &str, part: usize) {
        if self.off {
            return;
        }
        let touched = self.touch(id);
        if touched.whole || touched.parts.contains(&part) {
            return;
        }
        touched.parts.push(part);
        self.list.push(MessageChange::SetPart { id: id.to_owned(), part });
    }

    /// A flag changed.
    pub(crate) fn meta(&mut self, id: &str) {
        if self.off {
            return;
        }
        let touched = self.touch(id);
        if touched.whole || touched.meta {
            return;
        }
        touched.meta = true;
        self.list.push(MessageChange::Meta { id: id.to_owned() });
    }

    /// A new message.
    pub(crate) fn inserted(&mut self, id: &str) {
        if self.off {
            return;
        }
        self.touch(id).whole = true;
        self.list.push(MessageChange::Inserted { id: id.to_owned() });
    }

    /// Everything may have changed.
    pub(crate) fn replaced(&mut self, id: &str) {
        if self.off || self.touch(id).whole {
            return;
        }
        self.touch(id).whole = true;
        self.list.push(MessageChange::Replaced { id: id.to_owned() });
    }

    /// The message is gone.
    pub(crate) fn removed(&mut self, id: &str) {
        if self.off {
            return;
        }
        self.touched.remove(id);
        self.list.push(MessageChange::Removed { id: id.to_owned() });
    }

    /// The list.
    pub(crate) fn into_changes(self) -> Vec<MessageChange> {
        self.list
    }
}
