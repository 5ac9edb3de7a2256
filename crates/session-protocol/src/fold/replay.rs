//! Repetitions: what an agent says once more.
//!
//! Who loses the connection to an agent and asks again, or reads a log from its beginning, appends what stands in the
//! message already. The rows have new places, so nothing but the words tells. A repetition begins with a chunk that
//! names something by an id of its own (a run, a message) in the very same words as before, and goes on as it did then.
//! Its chunks are held back until it is clear: what differs was no repetition, and is folded then; what has come to an
//! end that was heard before, or to the end of all that was heard, is left out.
//!
//! A chunk costs its own bytes and four more (L12).

use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::context::RowContext;
use crate::authority::chunk_kind;
use crate::row::Role;

/// The chunk by which a bare stream tells a message that the run it is from is said again.
pub(super) const AGAIN: &str = r#"{"type":"AGAIN"}"#;

/// Bytes that are held back for each chunk that is known again: a repetition that holds back more counts as none.
const HELD: usize = 16;

/// A row that is kept for later.
#[derive(Serialize, Deserialize)]
pub(super) struct HeldRow {
    pos: u64,
    seq: i64,
    actor: Option<String>,
    role: Option<Role>,
    created_at: Option<String>,
}

impl HeldRow {
    pub(super) fn context(&self) -> RowContext<'_> {
        RowContext {
            pos: self.pos,
            seq: self.seq,
            actor: self.actor.as_deref(),
            role: self.role,
            created_at: self.created_at.as_deref(),
            run: None,
        }
    }
}

/// A chunk that may be a repetition.
#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) row: HeldRow,
    pub(super) chunk: String,
}

/// The meaning of a chunk for what was held back.
pub(super) struct Told {
    /// No repetition after all: to be folded first.
    pub(super) again: Vec<Held>,
    /// The chunk itself is to be folded.
    pub(super) now: bool,
}

/// A repetition that goes on.
#[derive(Serialize, Deserialize)]
struct Replay {
    /// The place of what comes next, if it is one.
    at: usize,
    /// The length of what was heard when it began.
    end: usize,
    /// A run is named again, and not only a message in it.
    of_run: bool,
    held: Vec<Held>,
    /// Bytes of them.
    bytes: usize,
}

/// Words that were heard in a message.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Replays {
    /// Half of the fingerprints of the chunks, in order: what begins a repetition is told by the whole.
    heard: Vec<u32>,
    /// Places of the chunks that a repetition can begin with.
    anchors: HashMap<u64, usize>,
    replay: Option<Replay>,
}

impl Replays {
    /// Hears a chunk of a type, `None` where it could not be read at once. Returns what is to be folded. At most `most`
    /// chunks are known again.
    pub(super) fn hear(
        &mut self,
        row: &RowContext<'_>,
        chunk: &str,
        kind: Option<&str>,
        most: usize,
    ) -> Told {
        let print = fingerprint(chunk);
        let mut again = Vec::new();
        if chunk == AGAIN {
            again = self.stop();
            let end = self.heard.len();
            let replay = Replay { at: 0, end, of_run: true, held: Vec::new(), bytes: 0 };
            self.replay = (end > 0).then_some(replay);
            return Told { again, now: false };
        }
        if row.run.is_some() {
            // A new run repeats nothing that was said before it.
            again = self.stop();
            self.heard.clear();
            self.anchors.clear();
        } else if let Some(replay) = &mut self.replay {
            if self.heard.get(replay.at) == Some(&half(print)) {
                replay.go_on(row, chunk);
                if replay.at >= replay.end {
                    self.replay = None;
                } else if replay.bytes > most.saturating_mul(HELD) {
                    again = self.stop();
                }
                return Told { again, now: false };
            }
            if let Some(from) = self.anchors.get(&print).filter(|from| **from < replay.at) {
                // Cut off and begun once more.
                replay.held.clear();
                replay.bytes = 0;
                replay.at = *from;
                replay.go_on(row, chunk);
                return Told { again, now: false };
            }
            again = self.stop();
        }
        if let Some(from) = self.anchors.get(&print).copied() {
            let end = self.heard.len();
            let of_run = names_a_run(chunk);
            let mut replay = Replay { at: from, end, of_run, held: Vec::new(), bytes: 0 };
            replay.go_on(row, chunk);
            self.replay = (replay.at < end).then_some(replay);
            return Told { again, now: false };
        }
        if self.heard.len() >= most {
            return Told { again, now: true };
        }
        if can_begin(chunk, kind) {
            self.anchors.entry(print).or_insert(self.heard.len());
        }
        self.heard.push(half(print));
        Told { again, now: true }
    }

    /// Ends a repetition that was none: what is held back was said now.
    fn stop(&mut self) -> Vec<Held> {
        let held = self.replay.take().map(|replay| replay.held).unwrap_or_default();
        self.heard.extend(held.iter().map(|held| half(fingerprint(&held.chunk))));
        held
    }
}

impl Replay {
    fn go_on(&mut self, row: &RowContext<'_>, chunk: &str) {
        self.at += 1;
        if ends(chunk, self.of_run) {
            // What has come to its end was surely said before.
            self.held.clear();
            self.bytes = 0;
            return;
        }
        let row = HeldRow {
            pos: row.pos,
            seq: row.seq,
            actor: row.actor.map(str::to_owned),
            role: row.role,
            created_at: row.created_at.map(str::to_owned),
        };
        self.bytes += chunk.len();
        self.held.push(Held { row, chunk: chunk.to_owned() });
    }
}

/// The fingerprint of a chunk, the same on every machine: it is stored.
fn fingerprint(chunk: &str) -> u64 {
    XxHash3_64::oneshot(chunk.as_bytes())
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn half(print: u64) -> u32 {
    print as u32
}

/// Whether a chunk names a run or a message, so that it is said once.
fn can_begin(chunk: &str, kind: Option<&str>) -> bool {
    let read;
    let kind = match kind {
        Some(kind) => kind,
        None => {
            read = chunk_kind(chunk).unwrap_or_default();
            &*read
        }
    };
    let id = match kind {
        "RUN_STARTED" => "\"runId\"",
        "start" | "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START" => "\"messageId\"",
        _ => return false,
    };
    chunk.contains(id)
}

/// Whether a chunk names a run, or a message that is one.
fn names_a_run(chunk: &str) -> bool {
    matches!(chunk_kind(chunk).as_deref(), Some("RUN_STARTED" | "start"))
}

/// Whether a chunk ends what one of its kind began. Where only a message is named again, the end of a text is none: an
/// agent says the same words before two calls, in two texts of one message.
fn ends(chunk: &str, of_run: bool) -> bool {
    match chunk_kind(chunk).as_deref() {
        Some("TEXT_MESSAGE_END" | "REASONING_MESSAGE_END" | "text-end" | "reasoning-end") => of_run,
        Some(
            "TOOL_CALL_END"
            | "TOOL_CALL_RESULT"
            | "RUN_FINISHED"
            | "RUN_ERROR"
            | "tool-input-available"
            | "tool-output-available"
            | "finish-step"
            | "finish",
        ) => true,
        _ => false,
    }
}
