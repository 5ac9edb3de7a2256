//! Chunks of agents that run elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Method, Request, path};
use crate::Role;

/// Writes a chunk of an agent that runs elsewhere.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteChunk {
    /// The message that the chunk belongs to.
    pub message_id: String,
    /// Who writes it.
    pub actor_id: String,
    /// Who speaks; `assistant` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The chunk, an object with a `type`. Written as it came.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub chunk: Box<RawValue>,
    /// The wish's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
}

impl Request for WriteChunk {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::CHUNKS;
}

/// Writes several chunks of one message at once.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct WriteChunks {
    /// 1 to 4096 chunks of one message, in their order.
    pub chunks: Vec<WriteChunk>,
}

impl Request for WriteChunks {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::CHUNK_BATCH;
}

/// Chunks that are in the stream.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunksWritten {
    /// `true`.
    pub ok: bool,
    /// Number of chunks.
    pub count: usize,
}

/// Waits until everything is written. No field is read.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct FinishGeneration {}

impl Request for FinishGeneration {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::FINISH;
}

/// A generation of which everything is in the stream.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationFinished {
    /// `true`.
    pub ok: bool,
}
