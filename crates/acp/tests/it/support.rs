//! A turn and the session that it is written into.

use std::{collections::HashMap, time::Duration};

use acp::{Ask, End, Local, Names, Turn};
use serde_json::{Value, json};
use session_protocol::{Message, Part, SessionFold, ToolCallPart};

/// Writes turns into a session as its server does.
pub(crate) struct Session {
    pub(crate) fold: SessionFold,
    seq: HashMap<String, u64>,
    /// Bytes that were written, and events.
    pub(crate) bytes: usize,
    pub(crate) events: usize,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { fold: SessionFold::new("s"), seq: HashMap::new(), bytes: 0, events: 0 }
    }

    pub(crate) fn write(&mut self, message: &str, role: &str, chunk: &Value) {
        let seq = self.seq.entry(message.to_owned()).or_default();
        let row = json!({"type": "chunk", "key": format!("{message}:{seq}"), "value": {
            "messageId": message, "actorId": if role == "user" { "ann" } else { "acp:it" },
            "role": role, "chunk": chunk.to_string(), "seq": *seq,
            "createdAt": "2026-03-01T10:00:00.000Z",
        }, "headers": {"operation": "insert"}});
        *seq += 1;
        let row = row.to_string();
        self.bytes += row.len();
        self.events += 1;
        self.fold.apply([row], &mut ());
    }

    pub(crate) fn take(&mut self, message: &str, turn: &mut Turn) {
        for chunk in turn.take() {
            self.write(message, "assistant", &chunk);
        }
    }

    pub(crate) fn answer(&mut self, message: &str, turn: &mut Turn, ask: &Ask, allowed: bool) {
        self.take(message, turn);
        turn.answered(&ask.id, allowed);
        let chunk = json!({"type": "approval-response", "approvalId": ask.id, "approved": allowed});
        self.write(message, "user", &chunk);
    }

    pub(crate) fn message(&self, id: &str) -> &Message {
        self.fold.message(id).expect("it was written")
    }
}

pub(crate) fn turn(message: &str) -> Turn {
    Turn::new(Names {
        thread: "s".into(),
        run: format!("run-{message}"),
        message: message.into(),
        local: Local::new("/project", Some("/home/user")),
    })
}

pub(crate) fn calls(message: &Message) -> impl Iterator<Item = &ToolCallPart> {
    message.parts.iter().filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    })
}

pub(crate) fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn answered() -> End {
    End::Answered(json!({"stopReason": "end_turn"}))
}
