//! The input of the fold of one message: a row, with where it stands and who wrote it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::RunMark;
use crate::row::Role;

/// The shape of the rows a message is made of. One message never mixes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// Chunk rows with sequence numbers.
    Rows,
    /// Bare events, which name roles themselves and have no gaps.
    Bare,
    /// Rows of an entity stream.
    Entity,
}

/// A row on its way into the fold.
pub(crate) struct RowContext<'a> {
    /// Position of the row's item.
    pub(crate) pos: u64,
    /// The row's place in the message.
    pub(crate) seq: i64,
    pub(crate) actor: Option<&'a str>,
    pub(crate) role: Option<Role>,
    pub(crate) created_at: Option<&'a str>,
    /// The run of the message's agent that the server begins with it.
    pub(crate) run: Option<&'a RunMark>,
}

/// The content of a row.
pub(crate) enum RowBody<'a> {
    /// JSON text of an inner chunk.
    Chunk(&'a str),
    /// The merged row of an entity stream.
    Entity { type_: &'a str, key: &'a str, value: &'a Map<String, Value> },
    /// A row without a chunk.
    Nothing,
}
