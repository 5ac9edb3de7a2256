//! Items that a session's fold takes in, and the messages that it brings into memory for them.

use super::apply::Run;
use super::message::MessageFold;
use super::session::SessionFold;
use super::{ChangeSet, MessageLoader};
use crate::event::Event;
use crate::row::Message;

impl SessionFold {
    /// Folds items in stream order and says what changed. Never fails (L9).
    ///
    /// Messages that are not in memory are brought back through `loader` when an item needs them.
    pub fn apply<I>(&mut self, items: I, loader: &mut dyn MessageLoader) -> ChangeSet
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut run = Run::new(self, loader);
        for item in items {
            run.item(item.as_ref());
        }
        run.finish()
    }

    /// Folds one item that is decoded, where nobody follows the changes. Costs no more than the item, and the messages
    /// that it is about where `loader` has to bring these.
    pub fn take(&mut self, event: &Event<'_>, loader: &mut dyn MessageLoader) {
        let mut run = Run::new(self, loader);
        let pos = run.next_position();
        run.event(event, pos);
        run.finish();
    }

    /// A message, brought into memory when it is not there; `None` when there is none.
    pub fn load(&mut self, id: &str, loader: &mut dyn MessageLoader) -> Option<&Message> {
        Run::new(self, loader).bring(id);
        self.message(id)
    }

    /// Takes a message out of memory with everything that it asked, called and told others, for who folds more than
    /// fits into memory and will not look at it again. What comes of it later is a new message.
    pub fn forget(&mut self, id: &str) {
        let mut nothing = ();
        Run::new(self, &mut nothing).withdraw(id); // what it told others stays with them
        self.active.remove(id);
        self.evict(id);
    }

    /// The sequence number to write next into a message: one more than the greatest so far.
    pub fn next_seq(&mut self, message_id: &str, loader: &mut dyn MessageLoader) -> u64 {
        Run::new(self, loader).bring(message_id);
        let fold = self.messages.get(message_id);
        if let Some(fold) = fold.filter(|fold| fold.drops()) {
            return fold.log.keys.next();
        }
        fold.and_then(MessageFold::last_seq)
            .and_then(|last| u64::try_from(last).ok())
            .map_or(0, |last| last.saturating_add(1))
    }
}
