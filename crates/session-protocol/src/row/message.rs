use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{Part, Usage};

/// A generation without a new chunk for this many seconds is interrupted, not active.
pub const STALE_AFTER_SECONDS: i64 = 30;

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum Role {
    /// A person.
    User,
    /// An agent.
    #[default]
    Assistant,
    /// The session itself.
    System,
}

/// Why a generation ended, the spellings of all dialects as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The length limit was reached.
    Length,
    /// A filter cut the answer off.
    ContentFilter,
    /// The model waits for tool results.
    ToolCalls,
    /// The run failed.
    Error,
    /// The run was stopped, or went on with other words of a person.
    Interrupted,
    /// Anything else.
    Other,
}

/// The error a generation ended with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct MessageError {
    /// One sentence, as the agent or the server wrote it.
    pub message: String,
    /// A code for programs.
    pub code: Option<String>,
}

impl fmt::Debug for MessageError {
    // L11: providers quote prompts in their errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageError").field("code", &self.code).finish_non_exhaustive()
    }
}

/// A generation that somebody stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Stopped {
    /// The actor who stopped it, when the stop was not written in the agent's name.
    pub by: Option<String>,
    /// The reason on the wire, usually `aborted`.
    pub reason: Option<String>,
}

/// One message of the session, folded from its chunks.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Message {
    /// The durable `messageId` of its chunks.
    pub id: String,
    /// Who speaks.
    pub role: Role,
    /// The person or agent; `None` in streams that do not name actors.
    pub actor_id: Option<String>,
    /// Whether its last lifecycle event was terminal.
    pub is_complete: bool,
    /// RFC 3339 as on the wire; for display, never for order.
    pub created_at: Option<String>,
    /// The message's content, in order.
    pub parts: Vec<Part>,
    /// The error it ended with.
    pub error: Option<MessageError>,
    /// Set when somebody stopped it.
    pub stopped: Option<Stopped>,
    /// Why it ended.
    pub finish_reason: Option<FinishReason>,
    /// True while a chunk between two others is missing.
    pub has_gap: bool,
    /// True for messages that only carry signals (answers, results, settings): never a bubble.
    pub hidden: bool,
    /// Position of its first item in the session's stream, counted from 0: the order of messages.
    #[ts(type = "number")]
    pub position: u64,
    /// Time of its newest chunk, as on the wire. Not part of change sets.
    pub last_chunk_at: Option<String>,
    /// Tokens it used, as far as the agent said.
    pub usage: Option<Usage>,
    /// Number of its agent's chunks that were left out because only people may say such a thing (L15).
    #[serde(default, skip_serializing_if = "is_none")]
    #[ts(type = "number", optional)]
    pub refused: u64,
    /// The id a whole message carries in itself, when it differs from `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub inner_id: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Message {
    /// An empty message at `position`.
    pub fn new(id: impl Into<String>, position: u64) -> Self {
        Self {
            id: id.into(),
            role: Role::Assistant,
            actor_id: None,
            is_complete: false,
            created_at: None,
            parts: Vec::new(),
            error: None,
            stopped: None,
            finish_reason: None,
            has_gap: false,
            hidden: false,
            position,
            last_chunk_at: None,
            usage: None,
            refused: 0,
            inner_id: None,
        }
    }

    /// The id upstream shows: the one inside a whole message, else the durable one.
    pub fn shown_id(&self) -> &str {
        self.inner_id.as_deref().unwrap_or(&self.id)
    }

    /// All its own text parts joined with a blank line, without those of subagents; what is previewed.
    pub fn plain_text(&self) -> String {
        plain_text(&self.parts)
    }
}

/// The words of these parts, without those of subagents.
pub(crate) fn plain_text(parts: &[Part]) -> String {
    let mut out = String::new();
    for part in parts {
        if let Part::Text { text, subagent: None, .. } = part {
            if !out.is_empty() && !text.is_empty() {
                out.push_str("\n\n");
            }
            out.push_str(text);
        }
    }
    out
}

impl fmt::Debug for Message {
    // L11: the parts are a conversation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("is_complete", &self.is_complete)
            .field("hidden", &self.hidden)
            .field("has_gap", &self.has_gap)
            .field("position", &self.position)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

/// A message that is being generated right now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ActiveGeneration {
    /// The message.
    pub message_id: String,
    /// Whose it is.
    pub actor_id: Option<String>,
    /// The message's `createdAt`.
    pub started_at: Option<String>,
    /// Time of the newest chunk.
    pub last_chunk_at: Option<String>,
    /// Sequence number of the newest chunk.
    #[ts(type = "number")]
    pub last_chunk_seq: u64,
}
