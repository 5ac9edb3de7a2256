//! Text in UTF-16, as some shells write whatever they redirect, read as UTF-8.

use std::io::{self, BufRead, Read};

/// The UTF-8 of a text in UTF-16. Halves of characters are U+FFFD.
pub(crate) struct Utf8Of<R> {
    input: R,
    order: Order,
    /// What is ready and not taken yet.
    ready: Vec<u8>,
    taken: usize,
    /// A first half that waits for its second.
    half: Option<u16>,
}

/// Which byte of a unit comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Utf8Of<io::Empty> {
    /// The order that a byte order mark tells; `None` where there is none of UTF-16.
    pub(crate) fn marked(head: &[u8]) -> Option<Order> {
        match head {
            [0xff, 0xfe, 0, 0, ..] => None,
            [0xff, 0xfe, ..] => Some(Order::Little),
            [0xfe, 0xff, ..] => Some(Order::Big),
            _ => None,
        }
    }
}

impl<R: BufRead> Utf8Of<R> {
    /// Reads behind the byte order mark.
    pub(crate) fn new(input: R, order: Order) -> Self {
        Self { input, order, ready: Vec::new(), taken: 0, half: None }
    }

    /// Decodes up to 16 KiB. Nothing is ready afterwards at the end only.
    fn refill(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(16 << 10);
        self.input.by_ref().take(16 << 10).read_to_end(&mut bytes)?;
        let (mut units, ended) = (Vec::with_capacity(bytes.len() / 2 + 2), bytes.len() < 16 << 10);
        units.extend(self.half.take());
        let (pairs, odd) = bytes.as_chunks::<2>();
        units.extend(pairs.iter().map(|pair| match self.order {
            Order::Little => u16::from_le_bytes(*pair),
            Order::Big => u16::from_be_bytes(*pair),
        }));
        if !odd.is_empty() {
            units.push(0xfffd);
        }
        if !ended && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.half = units.pop();
        }
        self.ready = String::from_utf16_lossy(&units).into_bytes();
        self.taken = 0;
        Ok(())
    }
}

impl<R: BufRead> Read for Utf8Of<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken >= self.ready.len() {
            self.refill()?;
        }
        let left = &self.ready[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_are_read_and_halves_cost_themselves() {
        let text = format!("{}{}", "ab é 安 ".repeat(5_000), "\u{1f980}".repeat(5_000));
        for order in [Order::Little, Order::Big] {
            let bytes: Vec<u8> = text
                .encode_utf16()
                .flat_map(|unit| match order {
                    Order::Little => unit.to_le_bytes(),
                    Order::Big => unit.to_be_bytes(),
                })
                .collect();
            let mut out = String::new();
            Utf8Of::new(&bytes[..], order).read_to_string(&mut out).unwrap();
            assert_eq!(out, text);
        }
        let mut out = String::new();
        Utf8Of::new(&[b'a', 0, 0x3d, 0xd8, b'b', 0, 7][..], Order::Little)
            .read_to_string(&mut out)
            .unwrap();
        assert_eq!(out, "a\u{fffd}b\u{fffd}");
        assert_eq!(Utf8Of::marked(b"\xfe\xff\0{"), Some(Order::Big));
        assert_eq!(Utf8Of::marked(b"\xef\xbb\xbf{"), None);
    }
}
