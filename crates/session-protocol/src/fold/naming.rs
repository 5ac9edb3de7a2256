//! Names that the writer of one message named last, and later chunks leave out.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The thing that an AG-UI chunk is a piece of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Text,
    Thought,
    Call,
}

/// Names in the last chunks of one writer.
#[derive(Default, Serialize, Deserialize)]
struct NamesOfWriter([Option<String>; 3]);

impl NamesOfWriter {
    fn of(&self, kind: Chunk) -> &Option<String> {
        &self.0[kind as usize]
    }

    fn of_mut(&mut self, kind: Chunk) -> &mut Option<String> {
        &mut self.0[kind as usize]
    }
}

/// Names that were not given up yet.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Naming {
    /// By subagent what the last chunks named.
    chunks: HashMap<String, NamesOfWriter>,
    /// The step whose thoughts come.
    pub(super) thinking_step: Option<String>,
    /// Thoughts came as such.
    pub(super) saw_reasoning: bool,
}

impl Naming {
    /// The name in the last chunk of this kind that named something. The agent itself is no subagent, `""`.
    pub(super) fn chunk_of(&self, subagent: &str, kind: Chunk) -> Option<&str> {
        self.chunks.get(subagent).and_then(|named| named.of(kind).as_deref())
    }

    /// A chunk names what it is a piece of.
    pub(super) fn set_chunk(&mut self, subagent: &str, kind: Chunk, id: &str) {
        if self.chunk_of(subagent, kind) != Some(id) {
            let named = self.chunks.entry(subagent.to_owned()).or_default();
            *named.of_mut(kind) = Some(id.to_owned());
        }
    }

    /// The agent's next text names itself.
    pub(super) fn forget_text(&mut self) {
        if let Some(named) = self.chunks.get_mut("") {
            *named.of_mut(Chunk::Text) = None;
        }
    }
}
