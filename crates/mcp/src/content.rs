//! The result of a call: blocks, of which a bounded number and size is kept.

use std::fmt;

use serde_json::Value;

use crate::tool::cut;

/// Blocks of one result that are kept.
const BLOCKS: usize = 256;
/// Bytes of a name or an address in a block.
const NAME: usize = 4096;

/// A piece of a result.
#[derive(Clone, PartialEq, Eq)]
pub enum Block {
    /// Words.
    Text(String),
    /// A picture or a sound, in base64.
    Media {
        /// The media type, such as `image/png`.
        mime: String,
        /// The data, in base64.
        data: String,
    },
    /// The address of something that the server has.
    Link {
        /// The address, in the server's own scheme.
        uri: String,
        /// Its name.
        name: String,
    },
    /// A kind of block that is not known.
    Other(String),
}

// L11
impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Block(…)")
    }
}

/// What a call gave.
#[derive(Clone, PartialEq)]
pub struct CallResult {
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
    /// The tool failed; the blocks say why.
    pub is_error: bool,
    /// Number of blocks that were left out because there were too many.
    pub left_out: usize,
}

// L11
impl fmt::Debug for CallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallResult")
            .field("blocks", &self.blocks.len())
            .field("is_error", &self.is_error)
            .finish_non_exhaustive()
    }
}

impl CallResult {
    /// Reads a result. What its structured content says is a block where no text says it already.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let Value::Object(mut map) = value else { return None };
        let is_error = map.get("isError") == Some(&Value::Bool(true));
        let content = match map.shift_remove("content") {
            Some(Value::Array(content)) => content,
            _ => Vec::new(),
        };
        let all = content.len();
        let mut blocks: Vec<Block> =
            content.into_iter().take(BLOCKS).map(|one| block(&one)).collect();
        let is_told = blocks.iter().any(|block| matches!(block, Block::Text(_)));
        if let Some(structured) = map.shift_remove("structuredContent")
            && !structured.is_null()
            && !is_told
        {
            blocks.insert(0, Block::Text(structured.to_string()));
        }
        Some(Self { blocks, is_error, left_out: all.saturating_sub(BLOCKS) })
    }
}

fn block(value: &Value) -> Block {
    let text = |from: &Value, name: &str| from.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = text(value, "type").unwrap_or_default();
    let mime = |from: &Value| text(from, "mimeType").unwrap_or_default();
    match kind.as_str() {
        "text" => text(value, "text").map(Block::Text),
        "image" | "audio" => {
            text(value, "data").map(|data| Block::Media { mime: cut(&mime(value), NAME), data })
        }
        "resource_link" => text(value, "uri").map(|uri| Block::Link {
            name: cut(&text(value, "name").unwrap_or_default(), NAME),
            uri: cut(&uri, NAME),
        }),
        "resource" => value.get("resource").and_then(|resource| {
            let words = text(resource, "text").map(Block::Text);
            words
                .or_else(|| {
                    let data = text(resource, "blob")?;
                    Some(Block::Media { mime: cut(&mime(resource), NAME), data })
                })
                .or_else(|| {
                    let uri = cut(&text(resource, "uri")?, NAME);
                    Some(Block::Link { name: String::new(), uri })
                })
        }),
        _ => None,
    }
    .unwrap_or_else(|| Block::Other(cut(&kind, 64)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_of_every_kind_are_read_and_odd_ones_cost_only_themselves() {
        let result = CallResult::read(json!({"content": [
            {"type": "text", "text": "a"}, {"type": "image", "data": "AA==", "mimeType": "image/png"},
            {"type": "audio", "data": "BB==", "mimeType": "audio/wav"},
            {"type": "resource_link", "uri": "x://1", "name": "one"},
            {"type": "resource", "resource": {"uri": "x://2", "text": "b"}},
            {"type": "resource", "resource": {"uri": "x://3", "blob": "CC==", "mimeType": "image/gif"}},
            {"type": "hologram"}, 7, {"type": "text"},
        ], "isError": true}))
        .unwrap();
        assert!(result.is_error);
        let media = |mime: &str, data: &str| Block::Media { mime: mime.into(), data: data.into() };
        assert_eq!(
            result.blocks,
            [
                Block::Text("a".into()),
                media("image/png", "AA=="),
                media("audio/wav", "BB=="),
                Block::Link { uri: "x://1".into(), name: "one".into() },
                Block::Text("b".into()),
                media("image/gif", "CC=="),
                Block::Other("hologram".into()),
                Block::Other(String::new()),
                Block::Other("text".into()),
            ]
        );
    }

    #[test]
    fn what_is_structured_is_told_once() {
        let both = json!({"content": [{"type": "text", "text": "{\"n\":1}"}], "structuredContent": {"n": 1}});
        assert_eq!(CallResult::read(both).unwrap().blocks, [Block::Text("{\"n\":1}".into())]);
        let only = json!({"structuredContent": {"n": 1}});
        assert_eq!(CallResult::read(only).unwrap().blocks, [Block::Text("{\"n\":1}".into())]);
        assert_eq!(CallResult::read(json!({})).unwrap().blocks, []);
    }

    #[test]
    fn blocks_without_end_are_counted() {
        let content: Vec<Value> =
            (0..1000).map(|n| json!({"type": "text", "text": n.to_string()})).collect();
        let result = CallResult::read(json!({"content": content})).unwrap();
        assert_eq!((result.blocks.len(), result.left_out), (BLOCKS, 744));
    }
}
