//! The items of a JSON body, byte for byte as they came: keys in their order, `1.10` as `1.10`.

use bytes::Bytes;
use durable_streams_server::protocol::error::Error;
use serde_json::value::RawValue;

/// Splits a body into items: an array is flattened one level, anything else is one item (PROTOCOL, "JSON mode").
///
/// # Errors
///
/// [`Error::InvalidJson`], with the place and never the text (L11).
pub(super) fn items(body: &Bytes) -> Result<Vec<Bytes>, Error> {
    let invalid = |error: serde_json::Error| Error::InvalidJson(error.to_string());
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let items = if is_array {
        serde_json::from_slice::<Vec<&RawValue>>(body).map_err(invalid)?
    } else {
        vec![serde_json::from_slice::<&RawValue>(body).map_err(invalid)?]
    };
    Ok(items.into_iter().map(|item| body.slice_ref(item.get().as_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_bytes() {
        let split = |body: &'static str| items(&Bytes::from_static(body.as_bytes()));
        assert_eq!(
            split(r#" [ {"b":1.10,"a":1e2} , [2, 3],"x" ] "#).unwrap(),
            [r#"{"b":1.10,"a":1e2}"#, "[2, 3]", r#""x""#].map(Bytes::from_static_str)
        );
        assert_eq!(split(" {\"z\":0.10}\n").unwrap(), [Bytes::from_static(b"{\"z\":0.10}")]);
        assert!(split("[]").unwrap().is_empty());
        assert!(split("[1,").is_err() && split("{} {}").is_err() && split("").is_err());
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
