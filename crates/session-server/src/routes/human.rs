//! Decisions of people for agents: approvals, results of tools that run at the client, answers to questions.

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::Response,
};
use serde_json::json;
use session_protocol::api::{AnswerApproval, AnswerQuestions, GiveToolResult, path};

use super::{App, Body, Param, SessionId, no_content, uuid};
use crate::{
    access::Acting,
    names::is_name,
    problem::Problem,
    session::{Decision, Input, NewToolResult},
    sessions::Open,
};

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
#[utoipa::path(post, path = path::APPROVAL, request_body = AnswerApproval, responses((status = 204)))]
pub(super) async fn approval(
    State(app): State<App>,
    SessionId(session): SessionId,
    Asked(approval): Asked,
    acting: Acting,
    Body(body): Body<AnswerApproval>,
) -> Result<Response, Problem> {
    let decision = Decision {
        approval_id: approval,
        message_id: body.message_id,
        approved: body.approved,
        payload: body.payload,
        option_id: body.option_id,
        actor_id: acting.actor(body.actor_id)?,
        txid: uuid("txid", body.txid)?,
    };
    app.sessions.apply(&session, Open::Existing, Input::Decide(decision)).await?;
    Ok(no_content())
}

/// Gives the result of a tool that ran at the client.
#[utoipa::path(post, path = path::TOOL_RESULTS, request_body = GiveToolResult, responses((status = 204)))]
pub(super) async fn tool_result(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<GiveToolResult>,
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
    app.sessions.apply(&session, Open::Existing, Input::GiveResult(new)).await?;
    Ok(no_content())
}

/// Answers to an agent's questions are the result of the tool that asked them.
#[utoipa::path(post, path = path::ANSWERS, request_body = AnswerQuestions, responses((status = 204)))]
pub(super) async fn answers(
    State(app): State<App>,
    SessionId(session): SessionId,
    Asked(tool_use): Asked,
    acting: Acting,
    Body(body): Body<AnswerQuestions>,
) -> Result<Response, Problem> {
    let new = NewToolResult {
        message_id: body.message_id,
        tool_call_id: tool_use,
        output: json!({"answers": body.answers}),
        error: None,
        actor_id: acting.actor(body.actor_id)?,
        txid: None,
    };
    app.sessions.apply(&session, Open::Existing, Input::GiveResult(new)).await?;
    Ok(no_content())
}
