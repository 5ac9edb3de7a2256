//! What was said in a session so far, for agents: folded from the stream at the start of each run.

use session_protocol::{Message, Part, Role, SessionFold, ToolCallPart};

use crate::streams::{StreamError, Streams, stream_name};

/// The messages of a session in order, without those that only carry signals.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) messages: Vec<Message>,
}

/// Reads and folds a session. Costs in proportion to the session, once per run: the agent is sent all of it anyway.
pub(crate) async fn load(streams: &dyn Streams, session_id: &str) -> Result<History, StreamError> {
    let items = streams.read(&stream_name(session_id)).await?;
    let mut fold = SessionFold::new(session_id);
    fold.apply(items.iter(), &mut ());
    let messages = fold.messages().filter(|message| !message.hidden).cloned().collect();
    Ok(History { messages })
}

impl History {
    /// The message with this id.
    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.id == id)
    }

    /// The text of the newest message of a person.
    pub(crate) fn last_user_text(&self) -> String {
        let last = self.messages.iter().rev().find(|message| message.role == Role::User);
        last.map(Message::plain_text).unwrap_or_default()
    }

    /// Tool calls of a message, in order.
    pub(crate) fn tool_calls(&self, message_id: &str) -> impl Iterator<Item = &ToolCallPart> {
        let parts = self.message(message_id).map(|message| &message.parts[..]).unwrap_or_default();
        parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}
