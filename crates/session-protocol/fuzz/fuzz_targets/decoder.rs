//! The decoder: any bytes are some event, and a log of them folds as any other.

#![no_main]

#[allow(dead_code, reason = "the other targets make logs of a vocabulary")]
mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let items: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(64).collect();
    for item in &items {
        let event = session_protocol::decode(item);
        let _ = (format!("{event:?}"), event.txid());
    }
    common::laws(&items);
});
