//! An item: one row of the transcript, as the window gets it.

use std::fmt;

use serde::{Deserialize, Serialize};
use session_protocol::{FinishReason, Message, MessageError, Part, Role, Stopped, Usage};
use ts_rs::TS;

/// One message of the transcript: folded from the stream, or a local echo of what waits in the
/// outbox. It keeps its id from one to the other (L7).
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Item {
    /// The durable message id.
    pub id: String,
    /// Everything but the parts.
    #[serde(flatten)]
    pub meta: ItemMeta,
    /// Content, in order.
    pub parts: Vec<Part>,
}

/// Everything of an item but its id and parts.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ItemMeta {
    /// Whose side it is on.
    pub role: Role,
    /// Id of the author.
    pub actor_id: Option<String>,
    /// Time of the message, RFC 3339.
    pub created_at: Option<String>,
    /// Whether more may come.
    pub is_complete: bool,
    /// Time of the last chunk of a complete answer, as on the wire. An answer took from
    /// `created_at` until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub ended_at: Option<String>,
    /// Tokens it used, as far as its agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub usage: Option<Usage>,
    /// The error that ended the message.
    pub error: Option<MessageError>,
    /// Actor that stopped the message.
    pub stopped: Option<Stopped>,
    /// The model's reason for the end.
    pub finish_reason: Option<FinishReason>,
    /// A chunk is missing in the middle.
    pub has_gap: bool,
    /// Number of its agent's chunks that were left out because only people may say such a thing.
    #[ts(type = "number")]
    pub refused: u64,
    /// Progress of a message of this person's own; `null` once the stream has it.
    pub delivery: Option<Delivery>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("id", &self.id).field("parts", &self.parts.len()).finish()
    }
}

impl fmt::Debug for ItemMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemMeta")
            .field("role", &self.role)
            .field("is_complete", &self.is_complete)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// State of an outbox entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum DeliveryState {
    /// Saved here, waiting for its turn or for the server.
    Queued,
    /// The request is on its way.
    Sending,
    /// The server has it; the stream has not shown it yet.
    Sent,
    /// Refused for good; waits for the person.
    Wedged,
}

/// Progress of a local message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Delivery {
    /// State of its outbox entry.
    pub state: DeliveryState,
    /// The outbox entry, to retry, edit or discard it by.
    pub entry_id: String,
    /// The reason why it was refused or still waits; one sentence.
    pub reason: Option<String>,
}

impl Item {
    /// The item of a folded message.
    pub fn from_message(message: &Message) -> Self {
        let meta = ItemMeta::from_message(message);
        Self { id: message.id.clone(), meta, parts: message.parts.clone() }
    }
}

impl ItemMeta {
    /// The flags of a folded message.
    pub fn from_message(message: &Message) -> Self {
        Self {
            role: message.role,
            actor_id: message.actor_id.clone(),
            created_at: message.created_at.clone(),
            is_complete: message.is_complete,
            ended_at: (message.is_complete && message.role == Role::Assistant)
                .then(|| message.last_chunk_at.clone())
                .flatten(),
            usage: message.usage,
            error: message.error.clone(),
            stopped: message.stopped.clone(),
            finish_reason: message.finish_reason,
            has_gap: message.has_gap,
            refused: message.refused,
            delivery: None,
        }
    }
}

impl From<Message> for Item {
    fn from(message: Message) -> Self {
        let meta = ItemMeta::from_message(&message);
        Self { id: message.id, meta, parts: message.parts }
    }
}
