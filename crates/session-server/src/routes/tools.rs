//! Servers of tools, and what people decide about their tools.

use std::{ffi::OsString, path::PathBuf};

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::Response,
};
use session_protocol::api::{
    DecideTool, Done, SessionToolServer, SessionTools, SwitchToolServer, TestToolServer, ToolEntry,
    ToolRule, ToolRules, ToolServerTested, path,
};
use url::Url;

use super::{App, Body, Param, SessionId, no_content};
use crate::{
    access::{Acting, Caller},
    agent::mcp::{Decision, Offer, StoredRule, model_name},
    config::{Secret, ToolServer, ToolServerTarget},
    names::is_name,
    problem::{Problem, ProblemCode},
};

/// Words of the request for a test, each.
const MAX_WORD: usize = 8 << 10;

/// The tool server named in the path.
pub(super) struct ServerName(String);

impl<S: Send + Sync> FromRequestParts<S> for ServerName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Param(name) = Param::read(parts, state, "server", is_name).await?;
        Ok(Self(name))
    }
}

/// The rule named in the path.
pub(super) struct RuleId(String);

impl<S: Send + Sync> FromRequestParts<S> for RuleId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Param(id) = Param::read(parts, state, "rule", is_name).await?;
        Ok(Self(id))
    }
}

/// The tool servers that a session may have. Those that are on are started for it.
#[utoipa::path(get, path = path::SESSION_TOOLS, responses((status = 200, body = SessionTools)))]
pub(super) async fn list(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Json<SessionTools>, Problem> {
    let seen = app.sessions.shared().agents.mcp().seen(&session).await;
    let servers = seen.into_iter().map(|seen| {
        let (tools, error) = match seen.tools {
            Some(Ok(tools)) => (tools, None),
            Some(Err(error)) => (Vec::new(), Some(error)),
            None => (Vec::new(), None),
        };
        SessionToolServer {
            name: seen.server.name.clone(),
            on: seen.is_on,
            trusted: seen.server.is_trusted,
            error,
            tools: tools.iter().map(entry).collect(),
        }
    });
    Ok(Json(SessionTools { servers: servers.collect() }))
}

fn entry(offer: &Offer) -> ToolEntry {
    let mut entry = bare(&offer.server.name, &offer.tool);
    offer.decision.word().clone_into(&mut entry.rule);
    entry.changed = offer.decision == Decision::Changed;
    entry
}

fn bare(server: &str, tool: &mcp::Tool) -> ToolEntry {
    let bytes = tool.name.len() + tool.description.len() + tool.input_schema.to_string().len();
    ToolEntry {
        name: tool.name.clone(),
        call_name: model_name(server, &tool.name),
        title: tool.title.clone(),
        description: tool.description.clone(),
        tokens: u32::try_from(bytes / 4).unwrap_or(u32::MAX),
        read_only: tool.traits.read_only,
        destructive: tool.traits.destructive,
        idempotent: tool.traits.idempotent,
        rule: Decision::Ask.word().to_owned(),
        changed: false,
    }
}

fn unknown(what: &'static str) -> Problem {
    Problem::not_found(ProblemCode::NotFound, what)
}

/// Switches a tool server on or off in a session.
#[utoipa::path(put, path = path::SESSION_TOOL_SERVER, request_body = SwitchToolServer, responses((status = 200, body = Done)))]
pub(super) async fn switch(
    State(app): State<App>,
    SessionId(session): SessionId,
    ServerName(server): ServerName,
    Body(body): Body<SwitchToolServer>,
) -> Result<Json<Done>, Problem> {
    let mcp = app.sessions.shared().agents.mcp();
    if !mcp.servers().await.iter().any(|known| known.name == server) {
        return Err(unknown("There is no tool server of this name"));
    }
    mcp.table().switch(&session, &server, body.on).await?;
    Ok(Json(Done::DONE))
}

/// Decides what happens when a model calls a tool in a session.
#[utoipa::path(put, path = path::SESSION_TOOL_RULES, request_body = DecideTool, responses((status = 200, body = Done)))]
pub(super) async fn decide(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<DecideTool>,
) -> Result<Json<Done>, Problem> {
    let actor = acting.actor(body.actor_id)?;
    let Some(decision) = Decision::of_word(&body.rule) else {
        return Err(Problem::bad_request("rule: expected ask, allow or never"));
    };
    let mcp = app.sessions.shared().agents.mcp();
    // What is allowed is the tool as it is now.
    let seen = mcp.seen(&session).await;
    let offers = seen.into_iter().filter_map(|seen| seen.tools?.ok()).flatten();
    let offer = offers
        .filter(|offer| offer.server.name == body.server)
        .find(|offer| offer.tool.name == body.tool);
    let Some(offer) = offer else {
        return Err(unknown("This session has no tool of this name now"));
    };
    let (server, tool) = (&body.server, &body.tool);
    let rule = StoredRule::new(server, tool, Some(&session), decision, offer.digest, &actor);
    mcp.table().set_rule(rule).await?;
    Ok(Json(Done::DONE))
}

/// The rules about tools, in all sessions, written out.
#[utoipa::path(get, path = path::TOOL_RULES, responses((status = 200, body = ToolRules)))]
pub(super) async fn rules(State(app): State<App>) -> Result<Json<ToolRules>, Problem> {
    let rules = app.sessions.shared().agents.mcp().table().all_rules().await?;
    let rules = rules.into_iter().map(|rule| ToolRule {
        id: rule.id,
        words: rule.words(),
        rule: rule.decision.word().to_owned(),
        server: rule.server,
        tool: rule.tool,
        session_id: rule.session_id,
        set_by: rule.set_by,
        set_at: rule.set_at,
    });
    Ok(Json(ToolRules { rules: rules.collect() }))
}

/// Removes a rule about a tool.
#[utoipa::path(delete, path = path::TOOL_RULE, responses((status = 204)))]
pub(super) async fn forget(
    State(app): State<App>,
    RuleId(id): RuleId,
) -> Result<Response, Problem> {
    let known = match id.parse() {
        Ok(id) => app.sessions.shared().agents.mcp().table().drop_rule(id).await?,
        Err(_) => false,
    };
    if known { Ok(no_content()) } else { Err(unknown("There is no such rule")) }
}

/// Connects to a tool server and lists its tools. Only the owner of the host may name a command or an address.
#[utoipa::path(post, path = path::TEST_TOOL_SERVER, request_body = TestToolServer, responses((status = 200, body = ToolServerTested)))]
pub(super) async fn test(
    State(app): State<App>,
    acting: Acting,
    Body(body): Body<TestToolServer>,
) -> Result<Json<ToolServerTested>, Problem> {
    let mcp = app.sessions.shared().agents.mcp();
    let is_owner = matches!(acting.caller, Caller::Owner);
    let known = match &body.name {
        Some(name) => mcp.servers().await.into_iter().find(|server| server.name == *name),
        None => None,
    };
    let server = match known {
        Some(server) if body.command.is_none() && body.url.is_none() => (*server).clone(),
        _ if body.command.is_none() && body.url.is_none() => {
            return Err(unknown("There is no tool server of this name"));
        }
        // Which programs run here is said by who owns the host.
        _ if !is_owner => {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                ProblemCode::RoleTooLow,
                "Only the owner of the server may try a command or an address",
            ));
        }
        _ => described(body)?,
    };
    let tested = mcp.test(&server).await;
    Ok(Json(match tested {
        Ok(found) => ToolServerTested {
            works: true,
            title: Some(found.name).filter(|name| !name.is_empty()),
            tools: found.tools.iter().map(|tool| bare(&server.name, tool)).collect(),
            error: None,
            said: None,
            wants_login: false,
        },
        Err(failed) => ToolServerTested {
            works: false,
            title: None,
            tools: Vec::new(),
            wants_login: matches!(failed.error, mcp::Error::Unauthorized(_)),
            error: Some(failed.error.to_string()),
            said: Some(failed.said).filter(|said| is_owner && !said.trim().is_empty()),
        },
    }))
}

/// The server that a request describes.
fn described(body: TestToolServer) -> Result<ToolServer, Problem> {
    let words = body.command.iter().flatten().chain(body.environment.values());
    if words.chain(body.headers.values()).any(|word| word.len() > MAX_WORD || word.contains('\0')) {
        return Err(Problem::bad_request("a word is too long"));
    }
    let target = match (body.command, body.url) {
        (Some(command), None) => {
            let mut words = command.into_iter().map(OsString::from);
            let Some(program) = words.next().filter(|program| !program.is_empty()) else {
                return Err(Problem::bad_request("command: expected a program"));
            };
            let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
            if !body.environment.keys().all(is_name) {
                return Err(Problem::bad_request("environment: a variable has no such name"));
            }
            let environment = body.environment.into_iter();
            ToolServerTarget::Program {
                program,
                arguments: words.collect(),
                environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
                folder: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            }
        }
        (None, Some(url)) => {
            let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let Some(url) = url else {
                return Err(Problem::bad_request("url: expected http:// or https://"));
            };
            let headers = body.headers.into_iter();
            let headers = headers.map(|(name, value)| (name, Secret::new(value))).collect();
            ToolServerTarget::Address { url, headers }
        }
        _ => return Err(Problem::bad_request("give a command or a url")),
    };
    Ok(ToolServer { name: "test".to_owned(), target, is_trusted: false, is_on: true })
}
