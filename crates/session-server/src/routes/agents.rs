//! Registering agents. Their headers go in and never come out.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, header, request::Parts},
    response::Response,
};
use session_protocol::{
    AgentSpec,
    api::{AgentList, Done, RegisterAgents, TokenRole, path},
};

use super::{App, Body, Param, SessionId, no_content};
use crate::{
    access::{Acting, Caller},
    agent::is_builtin,
    config::Limits,
    names::{Looks, is_id, is_label, is_plain_id},
    problem::Problem,
    session::{Input, MAX_AGENTS, Refusal},
    sessions::Open,
};

/// Bytes of an agent's address.
const MAX_ENDPOINT: usize = 2048;

/// The agent named in the path.
pub(super) struct AgentId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for AgentId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Param(id) = Param::read(parts, state, "agent", is_id).await?;
        Ok(Self(id))
    }
}

/// Agents that may be called: known built-in ones and webhooks whose address is allowed.
///
/// Requests that only [`TokenRole::Chat`] needs may bring the built-in ones along. A webhook makes this server send
/// requests, so bringing one is registering it.
pub(super) async fn checked(
    app: &App,
    session: &str,
    caller: &Caller,
    agents: Vec<AgentSpec>,
) -> Result<Vec<AgentSpec>, Problem> {
    if agents.len() > MAX_AGENTS {
        return Err(Refusal::TooManyAgents.into()); // before any of their names is looked up
    }
    for spec in &agents {
        if !is_builtin(spec) {
            caller.require(TokenRole::Manage)?;
        }
        if !is_plain_id(&spec.id) {
            let details = "agents: an id has 1 to 256 bytes, no slash and no invisible character";
            return Err(Problem::bad_request(details));
        }
        fits(spec, &app.limits)?;
        if spec.method.as_deref().is_some_and(|method| method != "POST") {
            return Err(Problem::bad_request("agents: the method can only be POST"));
        }
        if spec.body_template.as_ref().is_some_and(|template| !template.is_object()) {
            return Err(Problem::bad_request("agents: bodyTemplate must be an object"));
        }
        if spec.headers.iter().flatten().any(|(name, value)| !is_header(name, value)) {
            return Err(Problem::bad_request(
                "agents: a header cannot be sent, or is the server's own to set",
            ));
        }
        app.sessions.shared().agents.check(spec).await?;
    }
    not_a_persons(app, session, caller, &agents).await?;
    Ok(agents)
}

/// Checks that what is kept of an agent, and shown of it, is no larger than it may be.
fn fits(spec: &AgentSpec, limits: &Limits) -> Result<(), Problem> {
    let name = spec.name.as_deref().unwrap_or_default();
    if name.len() > limits.name_bytes || !is_label(name) {
        return Err(Problem::bad_request(format!(
            "agents: a name has at most {} bytes and no invisible character",
            limits.name_bytes
        )));
    }
    if spec.endpoint.len() > MAX_ENDPOINT {
        return Err(Problem::bad_request(format!(
            "agents: an endpoint has at most {MAX_ENDPOINT} bytes"
        )));
    }
    let headers = spec.headers.iter().flatten().map(|(name, value)| name.len() + value.len());
    if headers.sum::<usize>() > limits.agent_header_bytes {
        return Err(Problem::bad_request(format!(
            "agents: the headers have at most {} bytes",
            limits.agent_header_bytes
        )));
    }
    let template = spec.body_template.as_ref().map_or(0, |template| template.to_string().len());
    if template > limits.template_bytes {
        return Err(Problem::bad_request(format!(
            "agents: bodyTemplate has at most {} bytes",
            limits.template_bytes
        )));
    }
    Ok(())
}

/// Checks that no agent is brought along under what is, or looks like, the name of a token: people would take it for
/// who has that token. Who manages all sessions may, for a program that has a token and speaks for its agent; who
/// manages some may for his own token.
async fn not_a_persons(
    app: &App,
    session: &str,
    caller: &Caller,
    agents: &[AgentSpec],
) -> Result<(), Problem> {
    let (Caller::Named(grant), Some(tokens)) = (caller, &app.tokens) else { return Ok(()) };
    let manages = grant.role >= TokenRole::Manage;
    if agents.is_empty() || manages && grant.sessions.is_none() {
        return Ok(());
    }
    let mut names = tokens.names().await?;
    names.retain(|name| !(manages && *name == grant.name));
    let names: Vec<Looks> = names.iter().map(|name| Looks::of(name)).collect();
    for spec in agents {
        let shown = [Some(&spec.id), spec.name.as_ref()].into_iter().flatten();
        let mut shown = shown.map(|name| Looks::of(name));
        if !shown.any(|shown| names.iter().any(|name| name.like(&shown))) {
            continue;
        }
        // One that is there already was let in by who may.
        let id = spec.id.clone();
        let known = app
            .sessions
            .with(session, Open::Existing, move |session| Ok(session.book().agent(&id).is_some()))
            .await;
        match known {
            Ok(true) => {}
            Ok(false) => return Err(Problem::actor_exists()),
            Err(problem) if problem == Problem::session_not_found() => {
                return Err(Problem::actor_exists());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(())
}

/// Whether an agent may be sent this header: it is one, and says nothing of the connection or of whom it is for.
fn is_header(name: &str, value: &str) -> bool {
    const OURS: [HeaderName; 6] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
    ];
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| !OURS.contains(&name))
        && HeaderValue::from_str(value).is_ok()
}

/// Registers agents; the same id replaces.
#[utoipa::path(post, path = path::AGENTS, request_body = RegisterAgents, responses((status = 200, body = Done)))]
pub(super) async fn register(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<RegisterAgents>,
) -> Result<Json<Done>, Problem> {
    let agents = checked(&app, &session, &acting.caller, body.agents).await?;
    let manages = acting.caller.has(TokenRole::Manage);
    app.sessions.apply(&session, Open::New, Input::Register { agents, manages }).await?;
    Ok(Json(Done::DONE))
}

/// The agents of a session, without their headers and templates. A session that is not there has none, as upstream has
/// it.
#[utoipa::path(get, path = path::AGENTS, responses((status = 200, body = AgentList)))]
pub(super) async fn list(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Json<AgentList>, Problem> {
    let agents = app
        .sessions
        .with(&session, Open::Existing, |session| {
            let agents = session.book().agents().map(|(id, fields)| {
                let mut agent = fields.clone();
                if let Some(agent) = agent.as_object_mut() {
                    agent.remove("agentId");
                    agent.shift_insert(0, "id".to_owned(), id.clone().into());
                }
                agent
            });
            Ok(agents.collect::<Vec<_>>())
        })
        .await;
    match agents {
        Ok(agents) => Ok(Json(AgentList { agents })),
        Err(problem) if problem == Problem::session_not_found() => {
            Ok(Json(AgentList { agents: Vec::new() }))
        }
        Err(problem) => Err(problem),
    }
}

/// Takes an agent off a session.
#[utoipa::path(delete, path = path::AGENT, responses((status = 204)))]
pub(super) async fn unregister(
    State(app): State<App>,
    SessionId(session): SessionId,
    AgentId(agent): AgentId,
) -> Result<Response, Problem> {
    let unregister = Input::Unregister { agent_id: agent };
    match app.sessions.apply(&session, Open::Existing, unregister).await {
        Ok(_) => Ok(no_content()),
        Err(problem) if problem == Problem::session_not_found() => Ok(no_content()),
        Err(problem) => Err(problem),
    }
}
