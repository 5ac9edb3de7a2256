//! What was said in a session so far, for agents: folded from the stream at the start of each run.

use futures::TryStreamExt;
use serde_json::Value;
use session_protocol::{Message, Part, Role, SessionFold, ToolCallPart};

use crate::{
    streams::{StreamError, Streams, stream_name},
    turns::{Cause, RunPlan},
};

/// The messages of a session in order, without those that only carry signals.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) messages: Vec<Message>,
}

/// Reads and folds a session. Costs in proportion to the session, once per run: the agent is sent all of it anyway.
pub(crate) async fn load(streams: &dyn Streams, session_id: &str) -> Result<History, StreamError> {
    let name = stream_name(session_id);
    let mut fold = SessionFold::new(session_id);
    let mut pages = streams.pages(&name);
    while let Some(page) = pages.try_next().await? {
        fold.apply(page.iter(), &mut ());
    }
    let messages = fold.messages().filter(|message| !message.hidden).cloned().collect();
    Ok(History { messages })
}

impl History {
    /// What a run answers, last: the conversation up to the message that caused it, and what its agent has said since,
    /// before that message. So a queued message is answered by itself, whatever came in meanwhile. Another answer to a
    /// message gets what was there before the first one. A run that goes on gets everything, its own message last. What
    /// other agents have not finished is left out.
    pub(crate) fn for_run(mut self, plan: &RunPlan) -> Self {
        self.messages.retain(|message| message.is_complete || message.id == plan.message_id);
        let (id, goes_back) = match &plan.cause {
            Cause::Message { id } | Cause::Reply { id } => (id, false),
            Cause::Again { id } => (id, true),
            Cause::Answers { .. } => (&plan.message_id, false),
        };
        let Some(at) = self.messages.iter().position(|message| message.id == *id) else {
            return self;
        };
        let since = self.messages.split_off(at + 1);
        let last = self.messages.pop();
        let all = matches!(plan.cause, Cause::Answers { .. });
        let own = since.into_iter().filter(|message| {
            all || (message.role == Role::Assistant
                && message.actor_id.as_deref() == Some(&plan.agent_id))
        });
        if !goes_back {
            self.messages.extend(own);
        }
        self.messages.extend(last);
        self
    }

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

/// One turn of an assistant's message: what it said, then the tools it called.
#[derive(Debug, Default)]
pub(crate) struct Turn<'a> {
    pub(crate) text: String,
    pub(crate) calls: Vec<&'a ToolCallPart>,
}

/// Cuts an assistant's message into turns: text after a tool call belongs to the next one.
pub(crate) fn turns(message: &Message) -> Vec<Turn<'_>> {
    let mut turns = Vec::new();
    let mut turn = Turn::default();
    for part in &message.parts {
        match part {
            Part::Text { text } if !text.is_empty() => {
                if !turn.calls.is_empty() {
                    turns.push(std::mem::take(&mut turn));
                }
                if !turn.text.is_empty() {
                    turn.text.push_str("\n\n");
                }
                turn.text.push_str(text);
            }
            Part::ToolCall(call) => turn.calls.push(call),
            _ => {}
        }
    }
    if !turn.text.is_empty() || !turn.calls.is_empty() {
        turns.push(turn);
    }
    turns
}

/// The arguments of a call as JSON text; what a broken stream left is replaced by `{}`.
pub(crate) fn arguments(call: &ToolCallPart) -> String {
    if serde_json::from_str::<Value>(&call.arguments).is_ok() {
        return call.arguments.clone();
    }
    call.input.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string)
}

/// What a tool returned, as text; a refusal counts as a result. `None` while nothing is known.
pub(crate) fn result_text(call: &ToolCallPart) -> Option<String> {
    if let Some(error) = &call.error {
        return Some(error.clone());
    }
    match &call.output {
        Some(Value::String(text)) => return Some(text.clone()),
        Some(other) => return Some(other.to_string()),
        None => {}
    }
    let denied = call.approval.as_ref().is_some_and(|approval| approval.approved == Some(false));
    denied.then(|| "The user denied this tool call.".to_owned())
}
