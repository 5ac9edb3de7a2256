//! What a model's server answers: any split of the bytes gives the same pieces, nothing is longer than what came, and a
//! failure is a sentence of a bounded length.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/agent/lines.rs"]
mod lines;
#[path = "../../src/agent/pieces.rs"]
mod pieces;

use lines::Lines;
use pieces::{Failure, Piece, Pieces};

fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Piece>, Option<Failure>, bool) {
    let mut lines = Lines::new(4 << 20);
    let mut chunks = Vec::new();
    for part in parts {
        // Inputs are shorter than the longest chunk.
        chunks.extend(lines.push(part).expect("short enough"));
    }
    chunks.extend(lines.finish());
    let mut reader = Pieces::default();
    let mut all = Vec::new();
    for chunk in chunks {
        match reader.read(&chunk) {
            Ok(pieces) => all.extend(pieces),
            Err(failure) => return (all, Some(failure), reader.finished),
        }
    }
    (all, None, reader.finished)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(usize::from(size).max(1))), whole);
    assert_eq!(decode(bytes.chunks(1)), whole);

    let (pieces, failure, _) = whole;
    let said: usize = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) | Piece::Reasoning(text) | Piece::Finish(text) => text.len(),
            Piece::Call { arguments, .. } => arguments.len(),
            Piece::Usage(_) => 0,
        })
        .sum();
    // Numbers may be written longer than they came, an escape never.
    assert!(said <= bytes.len().saturating_mul(32));
    if let Some(failure) = failure {
        assert!(failure.message.chars().count() <= 300);
    }
});
