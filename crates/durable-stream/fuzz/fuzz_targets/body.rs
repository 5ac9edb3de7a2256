//! The body parser: items are slices of the body, in order and apart from each other, and each is a
//! body of its own.

#![no_main]

use durable_stream::{Bytes, split_items};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let body = Bytes::copy_from_slice(bytes);
    for kind in ["application/json", "application/x-ndjson"] {
        let Ok(items) = split_items(kind, &body) else { continue };
        let mut end = body.as_ptr() as usize;
        for item in &items {
            let start = item.as_ptr() as usize;
            assert!(!item.is_empty() && start >= end);
            end = start + item.len();
            // An item that is an array would be cut again.
            if !item.starts_with(b"[") {
                assert_eq!(split_items(kind, item).as_deref(), Ok(&[item.clone()][..]));
            }
        }
        assert!(end <= body.as_ptr() as usize + body.len());
    }
    assert_eq!(split_items("text/plain", &body).map(|items| items.concat()).as_deref(), Ok(bytes));
});
