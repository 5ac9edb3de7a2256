//! The items of a JSON body, byte for byte as they came: keys in their order, `1.10` as `1.10`.

use std::fmt;

use bytes::Bytes;
use durable_streams_server::protocol::error::Error;
use serde::{
    Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The reason why a body has no items.
#[derive(Debug)]
pub(super) enum NoItems {
    /// A text that is not JSON. The error holds the place and never the text (L11).
    Invalid(serde_json::Error),
    /// A text with more items than there may be.
    TooMany,
}

/// Splits a body into items: an array is flattened one level, anything else is one item (PROTOCOL,
/// "JSON mode"). It stops where there are more than `most`.
pub(super) fn items(body: &Bytes, most: usize) -> Result<Vec<Bytes>, NoItems> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        let item: &RawValue = serde_json::from_slice(body).map_err(NoItems::Invalid)?;
        return Ok(vec![body.slice_ref(item.get().as_bytes())]);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let mut split = Split { body, most, items: Vec::new(), full: false };
    let read = reader.deserialize_seq(&mut split).and_then(|()| reader.end());
    match read {
        _ if split.full => Err(NoItems::TooMany),
        Err(error) => Err(NoItems::Invalid(error)),
        Ok(()) => Ok(split.items),
    }
}

/// Splits a body into items as [`items`] does, however many there are.
///
/// # Errors
///
/// [`Error::InvalidJson`].
pub(super) fn all_items(body: &Bytes) -> Result<Vec<Bytes>, Error> {
    items(body, usize::MAX).map_err(|none| match none {
        NoItems::Invalid(error) => Error::InvalidJson(error.to_string()),
        NoItems::TooMany => Error::InvalidJson("too many items".to_owned()),
    })
}

struct Split<'b> {
    body: &'b Bytes,
    most: usize,
    items: Vec<Bytes>,
    full: bool,
}

impl<'de> Visitor<'de> for &mut Split<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(item) = array.next_element::<&'de RawValue>()? {
            if self.items.len() == self.most {
                self.full = true;
                return Err(serde::de::Error::custom("too many items"));
            }
            self.items.push(self.body.slice_ref(item.get().as_bytes()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_bytes() {
        let split = |body: &'static str| all_items(&Bytes::from_static(body.as_bytes()));
        assert_eq!(
            split(r#" [ {"b":1.10,"a":1e2} , [2, 3],"x" ] "#).unwrap(),
            [r#"{"b":1.10,"a":1e2}"#, "[2, 3]", r#""x""#].map(Bytes::from_static_str)
        );
        assert_eq!(split(" {\"z\":0.10}\n").unwrap(), [Bytes::from_static(b"{\"z\":0.10}")]);
        assert!(split("[]").unwrap().is_empty());
        assert!(split("[1,").is_err() && split("{} {}").is_err() && split("").is_err());
    }

    #[test]
    fn there_may_be_so_many_and_no_more() {
        let body = Bytes::from_static(b"[1,2,3]");
        assert_eq!(items(&body, 3).unwrap().len(), 3);
        assert!(matches!(items(&body, 2), Err(NoItems::TooMany)));
        assert!(matches!(items(&Bytes::from_static(b"[1,2"), 2), Err(NoItems::Invalid(_))));
    }

    trait FromStaticStr {
        fn from_static_str(text: &'static str) -> Bytes;
    }

    impl FromStaticStr for Bytes {
        fn from_static_str(text: &'static str) -> Bytes {
            Self::from_static(text.as_bytes())
        }
    }
}
