use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::{PartApproval, ToolCallPart};

/// One piece of a message. Every dialect folds to these.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[ts(export)]
pub enum Part {
    /// Words: Markdown.
    Text {
        /// The text so far.
        text: String,
        /// The sources of stretches of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[ts(optional, as = "Option<Vec<Citation>>")]
        citations: Vec<Citation>,
        /// The subagent whose words they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        subagent: Option<String>,
    },
    /// Thoughts of the model.
    Reasoning {
        /// The text so far.
        text: String,
        /// The subagent whose thoughts they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        subagent: Option<String>,
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
        /// The part's id; a later part with the same name and id replaces it.
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
    /// Words of a person that the agent was given in the middle of its answer, as the agent says.
    SteeringMessage {
        /// The writer's id of it.
        id: String,
        /// The words.
        text: String,
        /// The attachments.
        files: Vec<FilePart>,
    },
    /// An agent that this one called. Its work is in parts of the same message that name it.
    Subagent(SubagentPart),
    /// A card of its own: a plan, progress, search results.
    Activity(ActivityPart),
    /// A question to a person that is about no call.
    Question(QuestionPart),
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), citations: Vec::new(), subagent: None }
    }

    /// A thought.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self::Reasoning { text: text.into(), subagent: None }
    }

    /// The subagent whose work it is; `None` for the message's own agent.
    pub fn subagent(&self) -> Option<&str> {
        match self {
            Self::Text { subagent, .. } | Self::Reasoning { subagent, .. } => subagent.as_deref(),
            Self::ToolCall(call) => call.subagent.as_deref(),
            Self::Activity(activity) => activity.subagent.as_deref(),
            Self::Question(question) => question.subagent.as_deref(),
            Self::Subagent(subagent) => subagent.parent.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Debug for Part {
    // L11: shapes, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { text, .. } => write!(f, "Text({} bytes)", text.len()),
            Self::Reasoning { text, .. } => write!(f, "Reasoning({} bytes)", text.len()),
            Self::ToolCall(call) => call.fmt(f),
            Self::File(_) => f.write_str("File"),
            Self::Source(_) => f.write_str("Source"),
            Self::Data { .. } => f.write_str("Data"),
            Self::StructuredOutput { status, raw, .. } => {
                write!(f, "StructuredOutput({status:?}, {} bytes)", raw.len())
            }
            Self::StepStart => f.write_str("StepStart"),
            Self::SteeringMessage { .. } => f.write_str("SteeringMessage"),
            Self::Subagent(subagent) => subagent.fmt(f),
            Self::Activity(_) => f.write_str("Activity"),
            Self::Question(question) => question.fmt(f),
        }
    }
}

/// A file in a message.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct FilePart {
    /// Where it is; may be a `data:` URL.
    pub url: String,
    /// The file's media type.
    pub media_type: Option<String>,
    /// The file's name.
    pub filename: Option<String>,
    /// Whether it belongs to the model's thoughts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(type = "boolean", optional)]
    pub reasoning: bool,
}

impl fmt::Debug for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePart").finish_non_exhaustive()
    }
}

/// The kind of a source.
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
    /// The source's title.
    pub title: Option<String>,
    /// The source's media type, for documents.
    pub media_type: Option<String>,
    /// The source's file name, for documents.
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
    /// The output ended without an object.
    Error,
}

/// A source of a stretch of a text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Citation {
    /// The source.
    pub source: SourcePart,
    /// Where the stretch begins, in the writer's units; `None` when it does not say.
    #[ts(type = "number | null")]
    pub start: Option<u64>,
    /// Where it ends.
    #[ts(type = "number | null")]
    pub end: Option<u64>,
    /// The words of the source that it rests on.
    pub cited_text: Option<String>,
}

impl fmt::Debug for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Citation").field("source", &self.source).finish_non_exhaustive()
    }
}

/// How far a subagent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum SubagentState {
    /// The subagent works.
    Running,
    /// The subagent is done.
    Done,
    /// The subagent waits for a person.
    Suspended,
    /// The subagent failed.
    Failed,
}

/// An agent that the message's agent called.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SubagentPart {
    /// The id that its parts name.
    pub id: String,
    /// The subagent's name.
    pub name: String,
    /// The subagent's purpose.
    pub description: Option<String>,
    /// The subagent that called it; `None` when the message's own agent did.
    pub parent: Option<String>,
    /// The call that started it.
    pub tool_call_id: Option<String>,
    /// How far it is.
    pub state: SubagentState,
    /// The subagent's result.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
}

impl fmt::Debug for SubagentPart {
    // L11: names and results are a person's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubagentPart").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A card that an agent keeps up to date.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ActivityPart {
    /// The writer's id of it.
    pub id: String,
    /// The kind of the card, in the writer's words.
    pub kind: String,
    /// The card's content.
    pub content: Value,
    /// The subagent whose card it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub subagent: Option<String>,
}

impl fmt::Debug for ActivityPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActivityPart").finish_non_exhaustive()
    }
}

/// A question of an agent to a person, which is about no call.
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct QuestionPart {
    /// Why the agent waits, in its words.
    pub reason: String,
    /// The question.
    pub message: Option<String>,
    /// JSON Schema of the answer, for a form.
    pub response_schema: Option<Value>,
    /// When it is withdrawn, as on the wire.
    pub expires_at: Option<String>,
    /// The question's id, and whether it was answered or given up.
    pub approval: PartApproval,
    /// The answer in words or fields, where there is more than yes or no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub answer: Option<Value>,
    /// The subagent that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub subagent: Option<String>,
}

impl fmt::Debug for QuestionPart {
    // L11: a question is part of a conversation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuestionPart").field("approval", &self.approval).finish_non_exhaustive()
    }
}
