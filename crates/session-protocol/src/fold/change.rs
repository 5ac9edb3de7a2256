//! Changes of one application of items.

use std::fmt;
use std::sync::Arc;

use super::StateRow;
use crate::row::Approval;

/// A change of one message, in the order it happened.
///
/// A reader that holds copies of the messages follows by applying these in order: `AppendText`
/// carries its text; for the others the new value is read from [`super::SessionFold::message`] after
/// the application. Within one change set a message that was `Inserted` or `Replaced`, or a part that
/// was set by `SetPart`, gets no further changes of that kind: reading it once gives its last value.
#[derive(Clone, PartialEq, Eq)]
pub enum MessageChange {
    /// A new message. Its place among the others is by `Message::position`.
    Inserted {
        /// The message.
        id: String,
    },
    /// Text grew at the end of one part: the text of a text or reasoning part, the arguments of a
    /// tool call, or the raw text of a structured output.
    AppendText {
        /// The message.
        id: String,
        /// Index of the part.
        part: usize,
        /// Only the new text.
        text: String,
    },
    /// One part has a new value, or is new when its index is the number of parts so far.
    SetPart {
        /// The message.
        id: String,
        /// Index of the part.
        part: usize,
    },
    /// Something other than the parts changed.
    Meta {
        /// The message.
        id: String,
    },
    /// The message was refolded: everything may have changed, also its parts' number.
    Replaced {
        /// The message.
        id: String,
    },
    /// The message is gone.
    Removed {
        /// The message.
        id: String,
    },
}

impl MessageChange {
    /// The message it is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Inserted { id }
            | Self::AppendText { id, .. }
            | Self::SetPart { id, .. }
            | Self::Meta { id }
            | Self::Replaced { id }
            | Self::Removed { id } => id,
        }
    }
}

impl fmt::Debug for MessageChange {
    // L11: the text is somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inserted { id } => write!(f, "Inserted({id})"),
            Self::AppendText { id, part, text } => {
                write!(f, "AppendText({id}, part {part}, {} bytes)", text.len())
            }
            Self::SetPart { id, part } => write!(f, "SetPart({id}, part {part})"),
            Self::Meta { id } => write!(f, "Meta({id})"),
            Self::Replaced { id } => write!(f, "Replaced({id})"),
            Self::Removed { id } => write!(f, "Removed({id})"),
        }
    }
}

/// One raw entry of a message's log, to be stored and given back by the loader in this order.
#[derive(Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The message it belongs to.
    pub message_id: Arc<str>,
    /// Opaque JSON text.
    pub raw: Arc<str>,
}

impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogEntry({}, {} bytes)", self.message_id, self.raw.len())
    }
}

/// Changes of one application of items, and what to store of them.
///
/// To store it: when `reset`, delete every message, log entry and state row of the session; delete
/// message and log of every id in `removed`; append `log`; write the rows of the messages named in
/// `messages`; upsert or delete `rows`. All of it in one transaction with the stream offset (L2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// The stream was reset: everything before is gone. What follows is already after the reset.
    pub reset: bool,
    /// Changes of messages in order.
    pub messages: Vec<MessageChange>,
    /// Messages whose stored row and log are to be deleted before `log` is appended.
    pub removed: Vec<String>,
    /// Log entries to append.
    pub log: Vec<LogEntry>,
    /// Rows of the small collections ([`super::FoldState`]) that changed.
    pub rows: Vec<StateRow>,
    /// Approvals that are new or changed, as they are now.
    pub approvals: Vec<Approval>,
    /// Ids of approvals that are gone.
    pub removed_approvals: Vec<String>,
    /// Ids of tool calls whose state or result changed.
    pub tool_calls: Vec<String>,
    /// Somebody came, went or was renamed.
    pub presence_changed: bool,
    /// An agent was registered, changed or removed.
    pub agents_changed: bool,
    /// Whether the state that an agent shares changed.
    pub shared_changed: bool,
    /// The set of incomplete messages changed.
    pub active_changed: bool,
    /// A figure of the statistics changed.
    pub stats_changed: bool,
    /// Title or another setting of the session changed.
    pub meta_changed: bool,
    /// Transaction ids seen, also on events that changed nothing: echoes of what was sent.
    pub txids: Vec<String>,
    /// Items of this application that were malformed or unusable and left out.
    pub skipped: u64,
    /// Items of this application, whatever they were.
    pub items: u64,
}

impl ChangeSet {
    /// Whether nothing visible changed (there may still be log entries, rows and txids to store).
    pub fn is_quiet(&self) -> bool {
        !self.reset
            && self.messages.is_empty()
            && self.approvals.is_empty()
            && self.removed_approvals.is_empty()
            && !self.presence_changed
            && !self.agents_changed
            && !self.shared_changed
            && !self.active_changed
            && !self.stats_changed
            && !self.meta_changed
    }
}
