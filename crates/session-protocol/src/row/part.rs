use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::ToolCallPart;

/// One piece of a message. Every dialect folds to these.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[ts(export)]
pub enum Part {
    /// What is said: Markdown.
    Text {
        /// The text so far.
        text: String,
    },
    /// What the model thinks aloud.
    Reasoning {
        /// The text so far.
        text: String,
    },
    /// A call of a tool with its result, never two parts.
    ToolCall(ToolCallPart),
    /// A file by URL (may be a `data:` URL).
    File(FilePart),
    /// A source the answer rests on.
    Source(SourcePart),
    /// Data for an application, or a part of a type we do not draw.
    Data {
        /// The name behind `data-`, or the unknown part's type.
        name: String,
        /// Its id; a later part with the same name and id replaces it.
        id: Option<String>,
        /// The payload.
        data: Value,
    },
    /// An object the model was asked to produce.
    #[serde(rename_all = "camelCase")]
    StructuredOutput {
        /// Streaming, complete or failed.
        status: StructuredStatus,
        /// The JSON text so far.
        raw: String,
        /// The object when complete.
        object: Option<Value>,
    },
    /// The boundary between two steps of one generation.
    StepStart,
}

impl fmt::Debug for Part {
    // L11: shapes, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { text } => write!(f, "Text({} bytes)", text.len()),
            Self::Reasoning { text } => write!(f, "Reasoning({} bytes)", text.len()),
            Self::ToolCall(call) => call.fmt(f),
            Self::File(_) => f.write_str("File"),
            Self::Source(_) => f.write_str("Source"),
            Self::Data { .. } => f.write_str("Data"),
            Self::StructuredOutput { status, raw, .. } => {
                write!(f, "StructuredOutput({status:?}, {} bytes)", raw.len())
            }
            Self::StepStart => f.write_str("StepStart"),
        }
    }
}

/// A file in a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct FilePart {
    /// Where it is; may be a `data:` URL.
    pub url: String,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its name.
    pub filename: Option<String>,
}

impl fmt::Debug for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePart").finish_non_exhaustive()
    }
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum SourceKind {
    /// A page.
    Url,
    /// A document.
    Document,
}

/// A source of an answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SourcePart {
    /// Page or document.
    pub kind: SourceKind,
    /// The writer's id of the source.
    pub id: String,
    /// Where it is.
    pub url: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its media type, for documents.
    pub media_type: Option<String>,
    /// Its file name, for documents.
    pub filename: Option<String>,
}

impl fmt::Debug for SourcePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourcePart").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// How far a structured output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum StructuredStatus {
    /// Text is still coming.
    Streaming,
    /// The object is there.
    Complete,
    /// It ended without an object.
    Error,
}
