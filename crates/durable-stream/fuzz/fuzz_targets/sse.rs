//! The event stream decoder: any split of the bytes gives the same events, and the limits hold.

#![no_main]

use durable_stream::{SseDecoder, SseError, SseEvent};
use libfuzzer_sys::fuzz_target;

const MAX_LINE: usize = 64;
const MAX_EVENT: usize = 128;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<SseEvent>, Option<SseError>) {
    let mut decoder = SseDecoder::new(MAX_LINE, MAX_EVENT);
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.feed(piece, &mut events) {
            return (events, Some(error));
        }
    }
    (events, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(usize::from(size).max(1))), whole);
    assert_eq!(decode(bytes.chunks(1)), whole);
    for event in &whole.0 {
        assert!(event.data.len() <= MAX_EVENT + MAX_LINE);
    }
});
