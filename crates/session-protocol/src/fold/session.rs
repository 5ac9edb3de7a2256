//! The fold of a whole session.

use jiff::Timestamp;

use super::{ChangeSet, FoldState, MessageLoader};
use crate::row::{
    ActiveGeneration, Agent, Approval, Message, Presence, PresenceRow, SessionStats, ToolCall,
};

/// The fold of one session: feed it the items of the stream, read its collections.
#[derive(Default)]
pub struct SessionFold {
    session_id: String,
    messages: Vec<Message>,
}

impl SessionFold {
    /// An empty session.
    pub fn new(session_id: &str) -> Self {
        Self { session_id: session_id.to_owned(), ..Self::default() }
    }

    /// A session that goes on from a stored state. Its messages are loaded when they are needed.
    pub fn restore(session_id: &str, _state: &FoldState) -> Self {
        Self::new(session_id)
    }

    /// Everything but the messages.
    pub fn state(&self) -> FoldState {
        FoldState::new()
    }

    /// The session's id.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Folds items in stream order and says what changed. Never fails (L9).
    pub fn apply<I>(&mut self, items: I, _loader: &mut dyn MessageLoader) -> ChangeSet
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut changes = ChangeSet::default();
        for item in items {
            let _ = item.as_ref();
            changes.items += 1;
        }
        changes
    }

    /// A message that is in memory.
    pub fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|m| m.id == id)
    }

    /// The messages in memory, by position. Hidden ones are among them.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// A message, brought into memory when it is not there.
    pub fn load(&mut self, id: &str, _loader: &mut dyn MessageLoader) -> Option<&Message> {
        self.message(id)
    }

    /// Drops a message from memory. Its log must be known to the loader.
    pub fn evict(&mut self, _id: &str) {}

    /// Drops the logs of all messages in memory, keeping the messages. From now on the loader must
    /// know every entry that left in a change set so far. Call it after each commit.
    pub fn release_logs(&mut self) {}

    /// The sequence number to write next into a message: one more than the greatest so far.
    pub fn next_seq(&mut self, _message_id: &str, _loader: &mut dyn MessageLoader) -> u64 {
        0
    }

    /// All approvals, oldest request first.
    pub fn approvals(&self) -> Vec<Approval> {
        Vec::new()
    }

    /// Approvals nobody has answered, oldest first.
    pub fn pending_approvals(&self) -> Vec<Approval> {
        Vec::new()
    }

    /// One approval by its id; the newest when several requests have the same id.
    pub fn approval(&self, _approval_id: &str) -> Option<Approval> {
        None
    }

    /// The tool calls of the messages in memory, in order.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        Vec::new()
    }

    /// The message that holds a call, also when it is not in memory; the newest when several do.
    pub fn tool_call_owner(&self, _tool_call_id: &str) -> Option<&str> {
        None
    }

    /// Messages being generated: incomplete and with a chunk less than
    /// [`crate::row::STALE_AFTER_SECONDS`] before `now`.
    pub fn active_generations(&self, _now: Timestamp) -> Vec<ActiveGeneration> {
        Vec::new()
    }

    /// Messages that are incomplete, however long ago their last chunk came.
    pub fn incomplete(&self) -> Vec<ActiveGeneration> {
        Vec::new()
    }

    /// Actors with at least one device online at `now`.
    pub fn presence(&self, _now: Timestamp) -> Vec<Presence> {
        Vec::new()
    }

    /// All actors ever seen, with those that are away or offline at `now`.
    pub fn everyone(&self, _now: Timestamp) -> Vec<Presence> {
        Vec::new()
    }

    /// Presence as the stream has it: a row per device.
    pub fn presence_rows(&self) -> Vec<PresenceRow> {
        Vec::new()
    }

    /// The registered agents, by id.
    pub fn agents(&self) -> Vec<Agent> {
        Vec::new()
    }

    /// Figures of the session at `now`.
    pub fn stats(&self, _now: Timestamp) -> SessionStats {
        SessionStats { session_id: self.session_id.clone(), ..SessionStats::default() }
    }

    /// The title somebody gave the session (`config.title`), else `None`.
    pub fn title(&self) -> Option<&str> {
        None
    }

    /// How many items were malformed or unusable and left out, ever.
    pub fn skipped(&self) -> u64 {
        0
    }

    /// How many items were applied, ever: the position the next item gets.
    pub fn position(&self) -> u64 {
        0
    }
}
