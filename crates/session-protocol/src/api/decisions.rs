//! Decisions of people for agents: approvals, results of tools that run at a client, answers to questions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Method, Request, path};

/// Answers an approval. The first answer wins.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerApproval {
    /// Yes or no.
    pub approved: bool,
    /// The answer in words or fields, where a question asks for more than yes or no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The option that is chosen, of a request that offers some; it has to say the same as `approved`. Without it the
    /// one is meant that holds once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// The message that asks, when agents ask under the same id in several; without it the only one that waits is
    /// meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// The wish's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
}

impl Request for AnswerApproval {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::APPROVAL;
}

/// Gives the result of a tool that ran at a client.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GiveToolResult {
    /// The call.
    pub tool_call_id: String,
    /// The result; `null` when absent.
    #[serde(default)]
    pub output: Value,
    /// Why the tool failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The message that holds the call, when several hold one of this id. Anything else is taken for no hint:
    /// upstream's clients send ids of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Whose tool it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// The wish's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
}

impl Request for GiveToolResult {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::TOOL_RESULTS;
}

/// Answers the questions of a tool use: they become the tool's result.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerQuestions {
    /// The answers, as the tool wants them.
    pub answers: Value,
    /// The message that asks, when several ask under this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Who answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl Request for AnswerQuestions {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::ANSWERS;
}
