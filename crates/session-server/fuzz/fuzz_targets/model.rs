//! What a model's server answers: any split of the bytes gives the same answer, nothing is much longer than what came, and
//! a failure is a sentence of a bounded length.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/agent/calls.rs"]
mod calls;
#[path = "../../src/agent/lenient.rs"]
mod lenient;
#[path = "../../src/agent/lines.rs"]
mod lines;
#[path = "../../src/agent/pieces.rs"]
mod pieces;
#[path = "../../src/agent/thoughts.rs"]
mod thoughts;

use calls::CallNews;
use lines::Lines;
use pieces::{Failure, Piece, Pieces};

/// An answer as the model agent hears it.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    text: String,
    /// Where the text since the last reasoning begins.
    since: usize,
    reasoning: String,
    /// Names and arguments by place.
    calls: Vec<(String, String)>,
    failure: Option<Failure>,
    reason: Option<String>,
    given: usize,
}

impl Heard {
    fn take(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.text.push_str(&text),
                Piece::Reasoning(text) => {
                    self.reasoning.push_str(&text);
                    self.since = self.text.len();
                }
                Piece::Rethought => self.reasoning.push_str(&self.text.split_off(self.since)),
                Piece::Call(CallNews::Begins { place, name }) => {
                    if self.calls.len() <= place {
                        self.calls.resize(place + 1, Default::default());
                    }
                    self.calls[place].0 = name;
                }
                Piece::Call(CallNews::Goes { place, arguments }) => {
                    self.calls[place].1.push_str(&arguments);
                }
            }
        }
    }
}

fn hear<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Heard {
    let mut lines = Lines::new(4 << 20);
    let mut events = Vec::new();
    for part in parts {
        // Inputs are shorter than the longest chunk.
        events.extend(lines.push(part).expect("short enough"));
    }
    events.extend(lines.finish());
    let mut heard = Heard::default();
    let mut reader = Pieces::new(1 << 20);
    for event in events {
        match reader.read(&event) {
            Ok(pieces) => heard.take(pieces),
            Err(failure) => {
                heard.failure = Some(failure);
                return heard;
            }
        }
    }
    match reader.finish() {
        Ok(pieces) => heard.take(pieces),
        Err(failure) => {
            heard.failure = Some(failure);
            return heard;
        }
    }
    let answer = reader.into_complete();
    for (place, call) in answer.calls.iter().enumerate().filter(|(_, call)| !call.name.is_empty()) {
        assert_eq!(heard.calls[place], (call.name.clone(), call.arguments.clone()));
        assert!(call.input().is_none_or(|input| input.is_object()));
        let _ = (call.meant(), call.is_whole());
    }
    assert!(answer.reason.chars().count() <= 64);
    heard.given = answer.given.extra.values().map(|value| value.to_string().len()).sum();
    heard.reason = Some(answer.reason);
    heard
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = hear(std::iter::once(bytes));
    assert_eq!(hear(bytes.chunks(usize::from(size).max(1))), whole);
    assert_eq!(hear(bytes.chunks(1)), whole);

    let said = whole.text.len() + whole.reasoning.len() + whole.given;
    let calls: usize = whole.calls.iter().map(|(name, arguments)| name.len() + arguments.len()).sum();
    // Numbers may be written longer than they came, and what is no UTF-8 is three bytes each.
    assert!(said + calls <= bytes.len().saturating_mul(32));
    if let Some(failure) = whole.failure {
        assert!(failure.message.chars().count() <= 300);
    }
});
