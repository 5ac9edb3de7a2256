//! What an agent answers: any split of the bytes gives the same chunks, every chunk is a JSON object that fits a row,
//! and whatever dialect it pretends to be, readers fold it without falling.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use session_protocol::{Dialect, SessionFold};

#[path = "../../src/agent/lenient.rs"]
mod lenient;
#[path = "../../src/agent/lines.rs"]
mod lines;

use lines::{AgentEvent, Lines};

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<AgentEvent>, u64) {
    let mut lines = Lines::new(4 << 20);
    let mut events = Vec::new();
    for piece in pieces {
        // Inputs are shorter than the longest chunk.
        events.extend(lines.push(piece).expect("short enough"));
    }
    events.extend(lines.finish());
    (events, lines.dropped())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(usize::from(size).max(1))), whole);
    assert_eq!(decode(bytes.chunks(1)), whole);

    let mut fold = SessionFold::new("s");
    for (seq, event) in whole.0.iter().enumerate() {
        let chunk = match event {
            AgentEvent::Chunk(chunk) => chunk,
            AgentEvent::Error(said) => {
                let said = lenient::said(&Value::String(said.clone()));
                assert!(said.is_none_or(|said| said.chars().count() <= 300));
                continue;
            }
        };
        if let Some(error) = lenient::parse(chunk).as_ref().and_then(lenient::error_in) {
            assert!(lenient::said(&error).is_none_or(|said| said.chars().count() <= 300));
        }
        let value: Value = serde_json::from_str(chunk).unwrap_or_else(|_| {
            // What is nested too deeply for a value is still an object for readers that only scan it.
            Value::Object(serde_json::Map::new())
        });
        assert!(value.is_object());
        if let Some(kind) = value.get("type").and_then(Value::as_str) {
            let _ = Dialect::of(kind);
        }
        let row = json!({
            "type": "chunk", "key": format!("m:{seq}"), "headers": {"operation": "insert"},
            "value": {"messageId": "m", "actorId": "a", "role": "assistant", "chunk": chunk, "seq": seq},
        });
        let item = row.to_string();
        fold.apply([&item].into_iter(), &mut ());
        fold.apply([&item].into_iter(), &mut ()); // twice is once
    }
    assert!(fold.messages().count() <= 1);
});
