//! Items that wait, and the body that several of them make.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::receipt::Receipt;
use crate::error::Error;
use crate::media::Framing;

/// One item, and who waits for it.
pub(super) struct QueuedItem {
    pub(super) bytes: Bytes,
    pub(super) answer: oneshot::Sender<Result<Receipt, Error>>,
    /// Given back when the item's fate is known.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// How items make a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyShape {
    /// Any JSON stream takes its items as an array.
    JsonArray,
    /// Bytes follow one another.
    Joined,
}

impl BodyShape {
    pub(super) fn of(content_type: &str) -> Self {
        match Framing::of(content_type) {
            Framing::Json => Self::JsonArray,
            Framing::JsonLines | Framing::Bytes => Self::Joined,
        }
    }

    pub(super) fn build(self, items: &[QueuedItem]) -> Bytes {
        let length: usize = items.iter().map(|item| item.bytes.len() + 1).sum();
        let mut body = BytesMut::with_capacity(length + 1);
        if self == Self::JsonArray && !items.is_empty() {
            for (index, item) in items.iter().enumerate() {
                body.put_u8(if index == 0 { b'[' } else { b',' });
                body.put_slice(&item.bytes);
            }
            body.put_u8(b']');
        } else {
            items.iter().for_each(|item| body.put_slice(&item.bytes));
        }
        body.freeze()
    }
}

/// Takes as many items as a batch may hold, at least one.
pub(super) fn take_batch(
    queue: &mut VecDeque<QueuedItem>,
    max_items: usize,
    max_bytes: usize,
) -> Vec<QueuedItem> {
    let mut bytes = 2;
    let mut count = 0;
    for item in queue.iter().take(max_items) {
        bytes += item.bytes.len() + 1;
        if count > 0 && bytes > max_bytes {
            break;
        }
        count += 1;
    }
    queue.drain(..count).collect()
}

/// Whether the queue holds all that a batch may hold.
pub(super) fn fills_batch(
    queued: usize,
    queued_bytes: usize,
    max_items: usize,
    max_bytes: usize,
) -> bool {
    queued >= max_items || queued_bytes + queued + 1 >= max_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(texts: &[&'static str]) -> VecDeque<QueuedItem> {
        let item = |text: &&'static str| QueuedItem {
            bytes: Bytes::from_static(text.as_bytes()),
            answer: oneshot::channel().0,
            _room: None,
        };
        texts.iter().map(item).collect()
    }

    #[test]
    fn json_items_make_an_array() {
        let items: Vec<QueuedItem> = items(&["{\"a\":1}", "[2]"]).into();
        assert_eq!(BodyShape::JsonArray.build(&items), "[{\"a\":1},[2]]");
        assert_eq!(BodyShape::JsonArray.build(&[]), "");
        assert_eq!(BodyShape::Joined.build(&items), "{\"a\":1}[2]");
    }

    #[test]
    fn a_batch_keeps_to_both_limits_but_takes_one_item_at_least() {
        let mut queue = items(&["1", "2", "3", "44444444", "5"]);
        let mut next = |max_items, max_bytes| -> Vec<Bytes> {
            take_batch(&mut queue, max_items, max_bytes)
                .into_iter()
                .map(|item| item.bytes)
                .collect()
        };
        assert_eq!(next(2, 100), ["1", "2"]);
        assert_eq!(next(9, 6), ["3"]);
        assert_eq!(next(9, 6), ["44444444"]);
        assert_eq!(next(9, 6), ["5"]);
        assert!(next(9, 6).is_empty());
    }
}
