//! What people decide for agents: approvals, results of tools that run at the client, answers to questions.

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{App, Body, Param, SessionId, no_content, uuid};
use crate::{
    access::Acting, names::is_name, problem::Problem, session::NewToolResult, sessions::Open,
};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decide {
    approved: bool,
    /// The answer in words or fields, where a question asks for more than yes or no.
    #[serde(default)]
    payload: Option<Value>,
    /// The message that asks, when agents ask under the same id in several; without it the only one that waits
    /// is meant.
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    actor_id: Option<String>,
    #[serde(default)]
    #[schema(format = "uuid")]
    txid: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolResult {
    tool_call_id: String,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Option<String>,
    /// The message that holds the call, when several hold one of this id. Anything else is taken for no hint: upstream's
    /// clients send ids of their own.
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    actor_id: Option<String>,
    #[serde(default)]
    #[schema(format = "uuid")]
    txid: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answers {
    answers: Value,
    /// The message that asks, when several ask under this id.
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    actor_id: Option<String>,
}

/// The approval or tool use named in the path.
pub(super) struct Asked(String);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = match Param::read(parts, state, "approval", is_name).await {
            Ok(found) => Ok(found),
            Err(_) => Param::read(parts, state, "tool_use", is_name).await,
        };
        found.map(|Param(id)| Self(id))
    }
}

/// Answers an approval. The first answer wins; a contradicting one gets 409.
#[utoipa::path(post, path = "/v1/sessions/{session}/approvals/{approval}", request_body = Decide, responses((status = 204)))]
pub(super) async fn approval(
    State(app): State<App>,
    SessionId(session): SessionId,
    Asked(approval): Asked,
    acting: Acting,
    Body(body): Body<Decide>,
) -> Result<Response, Problem> {
    let actor = acting.actor(body.actor_id)?;
    let txid = uuid("txid", body.txid)?;
    app.sessions
        .with(&session, Open::Existing, move |session| {
            let message_id = body.message_id.as_deref();
            let (approved, payload) = (body.approved, body.payload.as_ref());
            session.respond(&approval, message_id, approved, payload, &actor, txid.as_deref())
        })
        .await?;
    Ok(no_content())
}

/// Gives the result of a tool that ran at the client.
#[utoipa::path(post, path = "/v1/sessions/{session}/tool-results", request_body = ToolResult, responses((status = 204)))]
pub(super) async fn tool_result(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<ToolResult>,
) -> Result<Response, Problem> {
    if !is_name(&body.tool_call_id) {
        return Err(Problem::bad_request("toolCallId: expected 1 to 256 bytes and no controls"));
    }
    let new = NewToolResult {
        message_id: body.message_id,
        tool_call_id: body.tool_call_id,
        output: body.output,
        error: body.error,
        actor_id: acting.actor(body.actor_id)?,
        txid: uuid("txid", body.txid)?,
    };
    app.sessions.with(&session, Open::Existing, move |session| session.tool_result(&new)).await?;
    Ok(no_content())
}

/// Answers to an agent's questions are the result of the tool that asked them.
#[utoipa::path(post, path = "/v1/sessions/{session}/answers/{tool_use}", request_body = Answers, responses((status = 204)))]
pub(super) async fn answers(
    State(app): State<App>,
    SessionId(session): SessionId,
    Asked(tool_use): Asked,
    acting: Acting,
    Body(body): Body<Answers>,
) -> Result<Response, Problem> {
    let new = NewToolResult {
        message_id: body.message_id,
        tool_call_id: tool_use,
        output: json!({"answers": body.answers}),
        error: None,
        actor_id: acting.actor(body.actor_id)?,
        txid: None,
    };
    app.sessions.with(&session, Open::Existing, move |session| session.tool_result(&new)).await?;
    Ok(no_content())
}
