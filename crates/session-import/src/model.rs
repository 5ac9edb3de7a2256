//! A conversation of another app in our words, as every reader gives it.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::Format;

/// A conversation: one session of ours.
#[derive(Clone)]
pub struct Session {
    /// Where it comes from.
    pub format: Format,
    /// The source's id; `None` where the source has none.
    pub source_id: Option<String>,
    /// A key that is the same each time the same conversation is read: of the source's id, else of what began it.
    pub key: String,
    /// The source's title, else the first line that a person wrote.
    pub title: String,
    /// When it began, as the source says or its first dated message; `None` when nothing says so.
    pub created_at: Option<Timestamp>,
    /// When it changed last, as the source says or its last dated message.
    pub updated_at: Option<Timestamp>,
    /// The shown path, in order.
    pub messages: Vec<Message>,
    /// Which path is shown; `None` for sources without branches.
    pub branch: Option<Branch>,
    /// The paths that are not shown, each from its beginning, the newest first.
    pub others: Vec<Vec<Message>>,
    /// Number of compactions.
    pub compactions: usize,
    /// The source's id of what the context for going on begins with.
    pub context_from: Option<String>,
    /// What the model was told ahead of everything.
    pub system_prompt: Option<String>,
    /// The folder that an agent worked in.
    pub working_directory: Option<String>,
    /// Files that an agent changed.
    pub touched_files: Vec<String>,
    /// The last turn was broken off.
    pub interrupted: bool,
}

impl fmt::Debug for Session {
    // L11: shapes, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("format", &self.format)
            .field("messages", &self.messages.len())
            .field("others", &self.others.len())
            .finish_non_exhaustive()
    }
}

/// Which of several paths is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The source's id of the path's last entry.
    pub leaf: Option<String>,
    /// Why that one.
    pub why: &'static str,
    /// Number of other paths that say something.
    pub other_leaves: usize,
    /// The source's id of the session that it is a copy of.
    pub continues: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person of the import.
    User,
    /// The model or agent, with its tools.
    Assistant,
}

/// A message: what a person said at once, or a whole turn of the assistant.
#[derive(Clone)]
pub struct Message {
    /// The source's id of the first entry that shows something.
    pub id: Option<String>,
    /// Who speaks.
    pub role: Role,
    /// When it was written; a guess (the message before and a millisecond) where the source does not say.
    pub at: Option<Timestamp>,
    /// Whether `at` is a guess.
    pub guessed: bool,
    /// The model's or agent's name.
    pub author: Option<String>,
    /// What it says, in order; sources are behind everything else.
    pub parts: Vec<Part>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("role", &self.role)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

/// One piece of a message.
#[derive(Clone, PartialEq)]
pub enum Part {
    /// Markdown.
    Text(String),
    /// What the model thought, as far as it is readable.
    Reasoning(String),
    /// A call of a tool, with its result.
    Call(Call),
    /// A file.
    File(File),
    /// A source of the answer.
    Source(Source),
    /// A mark or a part of a type that we do not draw.
    Data {
        /// Its type.
        name: String,
        /// What it says.
        data: Value,
    },
    /// The boundary between two answers of the model in one turn.
    Step,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Reasoning(_) => "Reasoning",
            Self::Call(_) => "Call",
            Self::File(_) => "File",
            Self::Source(_) => "Source",
            Self::Data { .. } => "Data",
            Self::Step => "Step",
        })
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallState {
    /// Nothing is known of a result.
    #[default]
    Ready,
    /// It has a result.
    Done,
    /// It failed.
    Failed,
    /// The person said no.
    Denied,
}

/// A call of a tool.
#[derive(Clone, Default, PartialEq)]
pub struct Call {
    /// The source's id of the call.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// What it was given: JSON, or the text where that is no JSON.
    pub input: Value,
    /// How it ended.
    pub state: CallState,
    /// What it gave.
    pub output: Option<Value>,
    /// Why it failed or was refused.
    pub error: Option<String>,
}

/// A file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub filename: Option<String>,
    /// Its media type; `image/*` for an image of an unknown kind.
    pub media_type: Option<String>,
    /// What is in it; `None` when the import does not hold it.
    pub bytes: Option<Vec<u8>>,
}

/// A source of an answer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The page; `None` for a document.
    pub url: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The document's file name.
    pub filename: Option<String>,
}

/// An item that could not be read, or not whole. What was in it is not told (L11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file inside what was given, and the line or item in it.
    pub place: String,
    /// What is wrong with it.
    pub reason: &'static str,
}
