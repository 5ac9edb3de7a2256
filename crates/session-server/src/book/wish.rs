//! Wishes: what clients asked for under a transaction id, so that asking again changes nothing.

use std::collections::HashMap;

use super::shelf::Grant;
use serde_json::Value;
use session_protocol::{
    Role,
    authority::{chunk_kind, chunk_value, is_peoples},
    event::ChunkEvent,
};

/// The wish that a transaction id was used for.
#[derive(Debug, Clone)]
struct Granted {
    /// Where it was written.
    message_id: String,
    /// Hash of the [`Wish::about`].
    about: u64,
}

/// The kind of a wish: clients number their wishes, and two kinds of them may share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    Message = 0,
    Approval = 1,
    Setting = 2,
    Regenerate = 3,
    /// A tool's result, or a chunk of an agent that runs elsewhere.
    Chunk = 4,
}

impl Wish {
    const ALL: [Self; 5] =
        [Self::Message, Self::Approval, Self::Setting, Self::Regenerate, Self::Chunk];

    /// The wish that wrote a chunk of this type.
    pub(crate) fn of(kind: &str) -> Self {
        match kind {
            "whole-message" | "user-message" | "message" => Self::Message,
            "approval-response" | "tool-approval" | "tool-approval-response" => Self::Approval,
            "config" => Self::Setting,
            "control" => Self::Regenerate,
            _ => Self::Chunk,
        }
    }

    /// The thing that a wish is about, in the words of the chunk that grants it.
    fn about_of(self, message_id: &str, chunk: &Value) -> String {
        let id = |field| text(chunk, field).unwrap_or_default();
        match self {
            Self::Message => self.about(message_id),
            Self::Approval => {
                let approved = chunk.get("approved") == Some(&Value::Bool(true));
                self.about(&format!("{} {approved}", id("approvalId")))
            }
            Self::Setting => self.about(id("title")),
            Self::Regenerate => self.about(id("messageId")),
            Self::Chunk => self.about(id("toolCallId")),
        }
    }

    /// One transaction id is one wish about one thing: this is the thing.
    pub(crate) fn about(self, thing: &str) -> String {
        let kind = match self {
            Self::Message => "message",
            Self::Approval => "approval",
            Self::Setting => "setting",
            Self::Regenerate => "regenerate",
            Self::Chunk => "chunk",
        };
        format!("{kind} {thing}")
    }
}

/// The transaction id of a wish was used for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TxidUsed;

/// The wishes that were granted, by their transaction ids.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    txids: HashMap<(Wish, String), Granted>,
    /// The wishes that are not stored.
    unsaved: Vec<(Wish, String)>,
    /// Hashes of wishes that others had had before, by transaction id.
    acks: HashMap<String, Vec<u64>>,
}

impl Wishes {
    /// Wishes of which only these acknowledgements are in memory.
    pub(super) fn of(acks: HashMap<String, Vec<u64>>) -> Self {
        Self { acks, ..Self::default() }
    }

    /// Hashes of wishes that others had had before, by transaction id.
    pub(super) fn acks(&self) -> &HashMap<String, Vec<u64>> {
        &self.acks
    }

    /// Takes a wish back that was stored.
    pub(super) fn recall(&mut self, row: Grant) {
        let Some(wish) = Wish::ALL.into_iter().find(|wish| *wish as u8 == row.wish) else { return };
        let granted = Granted { message_id: row.message_id, about: row.about };
        self.txids.entry((wish, row.txid)).or_insert(granted);
    }

    /// The wishes that are not stored yet.
    pub(super) fn unsaved(&self) -> impl Iterator<Item = Grant> {
        self.unsaved.iter().filter_map(|key| {
            let Granted { message_id, about } = self.txids.get(key)?.clone();
            Some(Grant { txid: key.1.clone(), wish: key.0 as u8, message_id, about })
        })
    }

    /// All wishes are stored now.
    pub(super) fn saved(&mut self) {
        self.unsaved.clear();
    }

    /// Takes down the wish that a chunk grants.
    pub(super) fn chunk(&mut self, row: &ChunkEvent<'_>) {
        let (Some(txid), Some(chunk)) = (&row.txid, &row.fields.chunk) else { return };
        let kind = chunk_kind(chunk).unwrap_or_default();
        // L15: what only people say counts in no agent's row.
        let by_agent = row.fields.role == Some(Role::Assistant);
        let wish = if by_agent && is_peoples(&kind) { Wish::Chunk } else { Wish::of(&kind) };
        let about = hash(wish.about_of(row.message_id(), &chunk_value(chunk).unwrap_or_default()));
        let granted = Granted { message_id: row.message_id().to_owned(), about };
        let key = (wish, txid.clone().into_owned());
        self.unsaved.push(key.clone());
        self.txids.insert(key, granted);
    }

    /// Takes down that a wish had been granted to somebody else before.
    pub(super) fn ack(&mut self, txid: &str, value: Option<&str>) {
        let value: Option<Value> = value.and_then(|value| serde_json::from_str(value).ok());
        let about = value.as_ref().and_then(|value| text(value, "about"));
        self.acks.entry(txid.to_owned()).or_default().extend(about.map(hash));
    }

    /// Whether the transaction id of a wish is in the stream, wherever.
    pub(super) fn shows(&self, wish: Wish, txid: &str) -> bool {
        self.txids.contains_key(&(wish, txid.to_owned())) || self.acks.contains_key(txid)
    }

    /// The message that a wish of this kind about this thing was written into, when it was granted before.
    ///
    /// # Errors
    ///
    /// The transaction id was used for another thing.
    pub(super) fn granted(
        &self,
        wish: Wish,
        txid: Option<&str>,
        thing: &str,
    ) -> Result<Option<&str>, TxidUsed> {
        let Some(txid) = txid else { return Ok(None) };
        let about = hash(wish.about(thing));
        match self.txids.get(&(wish, txid.to_owned())) {
            Some(granted) if granted.about == about => Ok(Some(&granted.message_id)),
            Some(_) => Err(TxidUsed),
            None => match self.acks.get(txid) {
                Some(known) if !known.is_empty() && !known.contains(&about) => Err(TxidUsed),
                _ => Ok(None),
            },
        }
    }

    /// The message that a client's transaction id was written into, for a wish of this kind.
    pub(super) fn by_txid(&self, wish: Wish, txid: &str) -> Option<&str> {
        self.txids.get(&(wish, txid.to_owned())).map(|granted| granted.message_id.as_str())
    }
}

/// The first bytes of a hash that is the same in every version: it is stored.
fn hash(text: impl AsRef<str>) -> u64 {
    let hash = blake3::hash(text.as_ref().as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}
