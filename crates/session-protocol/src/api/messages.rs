//! Saying something, having it answered again, and stopping those who answer.

use serde::{Deserialize, Serialize};

use super::{Method, Request, nullable, path};
use crate::{AgentSpec, FilePart, Role};

/// Says something in a session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendMessage {
    /// The message's id; a new one when absent. Repeating the request with the same one changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub message_id: Option<String>,
    /// The words. None are needed where files are attached.
    pub content: String,
    /// Files that are attached, each with its bytes in a `data:` URL: at most 8, of 256 KB each.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilePart>,
    /// Who speaks; `user` when absent. Any other one needs the role `manage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// The kind of the actor: `user`. Written for upstream's proxies and never read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub actor_type: Option<String>,
    /// An agent that answers this message only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,
    /// The wish's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
    /// The fate of a run that is under way: `queue` (default) or `steer`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "SendMode::is_queue")]
    pub mode: SendMode,
}

impl Request for SendMessage {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::MESSAGES;
}

/// The effect of a message on a run that is under way.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendMode {
    /// The message is answered when the run is over.
    #[default]
    Queue,
    /// The run is stopped, what it said stays, and the message is answered at once.
    Steer,
}

impl SendMode {
    /// Whether it is the default, which is not written.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde gives a reference
    pub(crate) fn is_queue(&self) -> bool {
        *self == Self::Queue
    }
}

/// A message that will be in the stream.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSent {
    /// The message's id.
    pub message_id: String,
}

/// Has a message answered again, or says it anew. One of `fromMessageId` and `content` is needed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Regenerate {
    /// The message to answer again; upstream never used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_message_id: Option<String>,
    /// The words that are said anew. Without it the agents answer `fromMessageId` again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The wish's id. Without one, each request is a wish of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
    /// The id of what is said anew, which does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub message_id: Option<String>,
    /// Who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl Request for Regenerate {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::REGENERATE;
}

/// Stops the run that writes a message. Without one: the runs that the actor began, or, where there are none, every run
/// of the session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// The message that is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl Request for Stop {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::STOP;
}
