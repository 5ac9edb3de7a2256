//! Bodies and their items.
//!
//! A JSON body is cut into its top-level items without building values: each item is a slice of the
//! body, byte for byte as the server sent it. The cut is made by `serde_json`'s own grammar, so
//! that what comes out is valid JSON and a damaged body is an error rather than an item.

use bytes::{Bytes, BytesMut};
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::media::Framing;

/// Why a body cannot be read. Carries no text of the body.
///
/// # Examples
///
/// ```
/// use durable_stream::{BodyError, Bytes, split_items};
///
/// let error = split_items("application/json", &Bytes::from_static(b"[1,]")).unwrap_err();
/// assert!(matches!(error, BodyError::Json { line: 1, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not valid JSON, or cut off.
    #[error("not valid JSON at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 at the start of a line.
        column: usize,
    },
    /// Not valid base64.
    #[error("not valid base64")]
    Base64,
    /// Longer than [`Limits`](crate::Limits) allows.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More items than [`Limits`](crate::Limits) allows.
    #[error("more than {limit} items")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl From<serde_json::Error> for BodyError {
    // The message of a `serde_json` error may quote the input, its position does not.
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// Collects bodies until they end where an item ends.
///
/// A page of JSON lines may end inside an item: a server that counts pages in bytes cuts where it
/// must (ursula does). The place after such a page is no place to go on from, so that nothing of it
/// is handed out before the item is whole. Any other body is whole in itself.
pub(crate) struct Collector {
    framing: Framing,
    max_items: usize,
    max_bytes: usize,
    items: Vec<Bytes>,
    /// JSON lines, the last of which may be cut.
    lines: BytesMut,
}

impl Collector {
    pub(crate) fn new(framing: Framing, max_items: usize, max_bytes: usize) -> Self {
        Self { framing, max_items, max_bytes, items: Vec::new(), lines: BytesMut::new() }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Drops what is not committed.
    pub(crate) fn clear(&mut self) {
        self.items = Vec::new();
        self.lines = BytesMut::new();
    }

    /// Whether a body brings nothing.
    pub(crate) fn is_blank(&self, body: &Bytes) -> bool {
        match self.framing {
            Framing::Json => {
                let mut bytes = body.iter().filter(|byte| !is_space(**byte));
                match bytes.next() {
                    None => true,
                    Some(b'[') => bytes.next() == Some(&b']'),
                    Some(_) => false,
                }
            }
            Framing::JsonLines => body.iter().all(|byte| is_space(*byte)),
            Framing::Bytes => body.is_empty(),
        }
    }

    pub(crate) fn push(&mut self, body: &Bytes) -> Result<(), BodyError> {
        match self.framing {
            Framing::Json => split_json(body, &mut self.items, self.max_items),
            Framing::JsonLines if self.lines.is_empty() && body.ends_with(b"\n") => {
                split_lines(body, &mut self.items, self.max_items)
            }
            Framing::JsonLines => {
                if self.lines.len() + body.len() > self.max_bytes {
                    return Err(BodyError::TooLong { limit: self.max_bytes });
                }
                self.lines.extend_from_slice(body);
                Ok(())
            }
            Framing::Bytes => {
                if !body.is_empty() {
                    self.items.push(body.clone());
                }
                Ok(())
            }
        }
    }

    /// All items up to a place that the server gave, or `None` if that place is inside an item. At
    /// the end of the stream the last line needs no line end.
    pub(crate) fn commit(&mut self, at_end: bool) -> Result<Option<Vec<Bytes>>, BodyError> {
        if !self.lines.is_empty() {
            if !at_end && !self.lines.ends_with(b"\n") {
                return Ok(None);
            }
            let lines = self.lines.split().freeze();
            split_lines(&lines, &mut self.items, self.max_items)?;
        }
        Ok(Some(std::mem::take(&mut self.items)))
    }
}

/// Cuts a body into items by its content type.
///
/// `application/json` is an array of items (a body that is one other value is one item),
/// `application/x-ndjson` one item a line; of any other type the whole body is one item. An empty
/// body has none. ItemSlices are slices of `body` without the white space around them.
///
/// # Errors
///
/// [`BodyError::Json`] if a JSON body is not valid; no item is returned then.
///
/// # Examples
///
/// ```
/// use durable_stream::{Bytes, split_items};
///
/// let items = split_items("application/json", &Bytes::from_static(br#"[ {"n": 1.10}, [2] ]"#))?;
/// assert_eq!(items, [&br#"{"n": 1.10}"#[..], b"[2]"]);
/// # Ok::<(), durable_stream::BodyError>(())
/// ```
pub fn split_items(content_type: &str, body: &Bytes) -> Result<Vec<Bytes>, BodyError> {
    let mut items = Vec::new();
    match Framing::of(content_type) {
        Framing::Json => split_json(body, &mut items, usize::MAX)?,
        Framing::JsonLines => split_lines(body, &mut items, usize::MAX)?,
        Framing::Bytes if body.is_empty() => {}
        Framing::Bytes => items.push(body.clone()),
    }
    Ok(items)
}

fn split_json(body: &Bytes, items: &mut Vec<Bytes>, max: usize) -> Result<(), BodyError> {
    match body.iter().find(|byte| !is_space(**byte)) {
        None => Ok(()),
        Some(b'[') => {
            let mut json = serde_json::Deserializer::from_slice(body);
            let whole = json.deserialize_seq(ItemSlices { body, items, max })?;
            json.end()?;
            if whole { Ok(()) } else { Err(BodyError::TooMany { limit: max }) }
        }
        Some(_) => push_value(body, body, items, max),
    }
}

fn split_lines(body: &Bytes, items: &mut Vec<Bytes>, max: usize) -> Result<(), BodyError> {
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(|byte| is_space(*byte)) {
            continue;
        }
        push_value(body, line, items, max).map_err(|error| match error {
            BodyError::Json { column, .. } => BodyError::Json { line: number + 1, column },
            other => other,
        })?;
    }
    Ok(())
}

fn push_value(
    body: &Bytes,
    value: &[u8],
    items: &mut Vec<Bytes>,
    max: usize,
) -> Result<(), BodyError> {
    let raw: &RawValue = serde_json::from_slice(value)?;
    if items.len() >= max {
        return Err(BodyError::TooMany { limit: max });
    }
    items.push(body.slice_ref(raw.get().as_bytes()));
    Ok(())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Collects the items of an array as slices of the body they are in. False when there are too many.
struct ItemSlices<'a> {
    body: &'a Bytes,
    items: &'a mut Vec<Bytes>,
    max: usize,
}

impl<'de> Visitor<'de> for ItemSlices<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut whole = true;
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            whole = self.items.len() < self.max;
            if whole {
                self.items.push(self.body.slice_ref(raw.get().as_bytes()));
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(body: &str) -> Result<Vec<String>, BodyError> {
        let items = split_items("application/json; charset=utf-8", &Bytes::from(body.to_owned()))?;
        Ok(items.iter().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect())
    }

    #[test]
    fn items_keep_every_byte() {
        let items =
            json("\n[ {\"b\":1.10 , \"a\":\"\\u0041 ]\"} ,\t[1,[2]],null,\"é\",-0 ]\r\n").unwrap();
        assert_eq!(items, ["{\"b\":1.10 , \"a\":\"\\u0041 ]\"}", "[1,[2]]", "null", "\"é\"", "-0"]);
    }

    #[test]
    fn nothing_is_no_items() {
        assert_eq!(json("").unwrap(), [""; 0]);
        assert_eq!(json(" [ ]\n").unwrap(), [""; 0]);
        assert_eq!(json("{\"one\":1}").unwrap(), ["{\"one\":1}"]);
    }

    #[test]
    fn a_damaged_body_is_an_error() {
        for body in [
            "[1,2",
            "[1,2]x",
            "[1,,2]",
            "[{\"a\":1]",
            "[1 2]",
            "[\"\u{1}\"]",
            "[01]",
            "{\"a\"",
            "[1,]",
        ] {
            assert!(matches!(json(body), Err(BodyError::Json { .. })), "{body}");
        }
        let cut_in_a_character = Bytes::from_static(b"[\"\xc3\"]");
        assert!(split_items("application/json", &cut_in_a_character).is_err());
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 200_000;
        let body = format!("[{}{}]", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(json(&body).unwrap().len(), 1);
    }

    #[test]
    fn lines_are_items() {
        let body = Bytes::from_static(b"{\"a\":1}\r\n\n [1,2] \n3");
        assert_eq!(
            split_items("application/x-ndjson", &body).unwrap(),
            [&b"{\"a\":1}"[..], b"[1,2]", b"3"]
        );
        let body = Bytes::from_static(b"{\"a\":1}\n{\"a\":");
        assert!(matches!(
            split_items("application/x-ndjson", &body),
            Err(BodyError::Json { line: 2, .. })
        ));
    }

    #[test]
    fn lines_that_are_cut_are_held_until_they_are_whole() {
        let mut collector = Collector::new(Framing::JsonLines, 100, 100);
        let mut push = |body: &'static [u8], at_end| {
            collector.push(&Bytes::from_static(body)).unwrap();
            collector.commit(at_end).unwrap()
        };
        assert_eq!(push(b"1\n2\n", false).unwrap(), ["1", "2"]);
        assert_eq!(push(b"{\"a\":\"\xc3", false), None);
        assert_eq!(push(b"\xa9\"}\n4", false), None);
        assert_eq!(push(b"5\n", false).unwrap(), ["{\"a\":\"\u{e9}\"}", "45"]);
        assert_eq!(push(b"6\n7", true).unwrap(), ["6", "7"]);
        assert_eq!(push(b"", false).unwrap(), [""; 0]);
    }

    #[test]
    fn no_more_items_are_made_than_allowed() {
        for (framing, body) in [
            (Framing::Json, &b"[1,2,3]"[..]),
            (Framing::JsonLines, b"1\n2\n3\n"),
            (Framing::JsonLines, b"1\n2\n3"),
        ] {
            let mut collector = Collector::new(framing, 2, 100);
            let result =
                collector.push(&Bytes::from_static(body)).and_then(|()| collector.commit(true));
            assert_eq!(result, Err(BodyError::TooMany { limit: 2 }));
        }
        let mut collector = Collector::new(Framing::JsonLines, 2, 3);
        assert_eq!(
            collector.push(&Bytes::from_static(b"1234")),
            Err(BodyError::TooLong { limit: 3 })
        );
    }

    #[test]
    fn other_types_are_one_item() {
        let body = Bytes::from_static(b"[1,2");
        assert_eq!(split_items("text/plain", &body).unwrap(), [body]);
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::hash_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_array_is_its_items(
            values in proptest::collection::vec(value(), 0..12),
            space in "[ \t\r\n]{0,3}",
            pretty: bool,
        ) {
            let texts: Vec<String> = values
                .iter()
                .map(|value| if pretty { format!("{value:#}") } else { value.to_string() })
                .collect();
            let body = format!("{space}[{space}{}{space}]{space}", texts.join(&format!("{space},{space}")));
            prop_assert_eq!(json(&body).unwrap(), texts);
        }

        #[test]
        fn a_cut_array_is_an_error(values in proptest::collection::vec(value(), 1..6), at: prop::sample::Index) {
            let body = serde_json::to_string(&values).unwrap();
            let mut cut = 1 + at.index(body.len() - 1);
            while !body.is_char_boundary(cut) {
                cut -= 1;
            }
            prop_assert!(json(&body[..cut.max(1)]).is_err() || cut == body.len());
        }
    }
}
