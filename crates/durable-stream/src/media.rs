//! Media types, and how the bytes of each form items.

/// The media type of a content type: without parameters, in small letters.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The way in which the bytes of a stream form items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A JSON array of items.
    Json,
    /// One JSON item a line.
    JsonLines,
    /// No items: the pieces are handed on as they come.
    Bytes,
}

impl Framing {
    /// The framing of a content type.
    pub(crate) fn of(content_type: &str) -> Self {
        match media_type(content_type).as_str() {
            "application/json" => Self::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::JsonLines,
            _ => Self::Bytes,
        }
    }
}
