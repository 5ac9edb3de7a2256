//! Who may do what: roles, who a request comes from, and the one table that says which route needs which role.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, StatusCode, request::Parts},
};
use session_protocol::api::{ProblemCode, TokenRole, header, path};
use uuid::Uuid;

use crate::{names::MAX_ID, problem::Problem};

/// The right that a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// No token: probes of a load balancer have none.
    Nothing,
    /// Any valid token; the answer holds only what that token may see.
    Token,
    /// The role, in the session that the path names.
    InSession(TokenRole),
    /// The role, by a token that is not for listed sessions only.
    Everywhere(TokenRole),
    /// The owner of the server's computer: no token that was made, whatever its role.
    Owner,
}

/// The path of our own tool server, which is MCP's and no part of the API.
pub(crate) const MCP: &str = "/mcp";

/// The table. A route that is not in it is for [`TokenRole::Manage`] only, and a test fails.
pub(crate) const ROUTES: &[(&str, &str, Need)] = {
    use Need::{Everywhere, InSession, Nothing, Owner, Token};
    use TokenRole::{Approve, Chat, Manage, View};
    &[
        ("GET", path::ABOUT, Token),
        ("GET", path::OPENAPI, Token),
        ("GET", path::HEALTH, Nothing),
        ("GET", path::HEALTH_READY, Nothing),
        ("GET", path::HEALTH_LIVE, Nothing),
        ("GET", path::HEALTHZ, Nothing),
        ("GET", path::READYZ, Nothing),
        ("GET", path::METRICS, Everywhere(View)),
        ("GET", path::ME, Token),
        ("GET", path::SESSIONS, Token),
        ("GET", path::SESSION, InSession(View)),
        ("PUT", path::SESSION, InSession(Chat)),
        ("PATCH", path::SESSION, InSession(Chat)),
        ("DELETE", path::SESSION, InSession(Manage)),
        ("GET", path::FORKS, InSession(View)),
        ("POST", path::LOGIN, InSession(Chat)),
        ("POST", path::LOGOUT, InSession(Chat)),
        ("POST", path::MESSAGES, InSession(Chat)),
        ("POST", path::REGENERATE, InSession(Chat)),
        ("POST", path::STOP, InSession(Chat)),
        ("POST", path::FORK, InSession(Chat)),
        ("POST", path::APPROVAL, InSession(Approve)),
        ("POST", path::TOOL_RESULTS, InSession(Approve)),
        ("POST", path::ANSWERS, InSession(Approve)),
        ("GET", path::AGENTS, InSession(View)),
        ("POST", path::AGENTS, InSession(Manage)),
        ("DELETE", path::AGENT, InSession(Manage)),
        ("POST", path::AGENT_OPTIONS, InSession(Chat)),
        ("POST", path::BRIDGE_WORK, InSession(Manage)),
        ("POST", path::BRIDGE_OUTPUT, InSession(Manage)),
        ("GET", path::FOLDER, InSession(Manage)),
        ("PUT", path::FOLDER, InSession(Manage)),
        ("GET", path::FOLDERS, Everywhere(Manage)),
        ("GET", path::LOCAL_AGENTS, Everywhere(Manage)),
        ("PUT", path::LOCAL_AGENT, Owner),
        ("DELETE", path::LOCAL_AGENT, Owner),
        ("GET", path::KNOWN_AGENTS, Everywhere(Manage)),
        // Each tool asks for what it needs.
        ("POST", MCP, Token),
        ("GET", path::SESSION_TOOLS, InSession(View)),
        ("PUT", path::SESSION_TOOL_SERVER, InSession(Manage)),
        ("PUT", path::SESSION_TOOL_RULES, InSession(Approve)),
        ("GET", path::TOOL_RULES, Everywhere(Manage)),
        ("DELETE", path::TOOL_RULE, Everywhere(Manage)),
        ("POST", path::TEST_TOOL_SERVER, Everywhere(Manage)),
        ("POST", path::RESET, InSession(Manage)),
        ("POST", path::CHUNKS, InSession(Manage)),
        ("POST", path::CHUNK_BATCH, InSession(Manage)),
        ("POST", path::FINISH, InSession(Manage)),
        ("GET", path::SESSION_STREAM, InSession(View)),
        ("PUT", path::SESSION_STREAM, InSession(Manage)),
        ("POST", path::SESSION_STREAM, InSession(Manage)),
        ("DELETE", path::SESSION_STREAM, InSession(Manage)),
        ("GET", path::ANY_STREAM, Everywhere(Manage)),
        ("PUT", path::ANY_STREAM, Everywhere(Manage)),
        ("POST", path::ANY_STREAM, Everywhere(Manage)),
        ("DELETE", path::ANY_STREAM, Everywhere(Manage)),
    ]
};

/// The need of the route with this path pattern; `None` is a path that no route has.
pub(crate) fn needed(method: &Method, pattern: Option<&str>) -> Need {
    let Some(pattern) = pattern else { return Need::Token };
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let found = ROUTES.iter().find(|(m, path, _)| *m == method && *path == pattern);
    found.map_or(Need::Everywhere(TokenRole::Manage), |(_, _, need)| *need)
}

/// The rights of a named token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Which token it is; no secret.
    pub(crate) token_id: String,
    /// The actor of whatever the token is used for.
    pub(crate) name: String,
    pub(crate) role: TokenRole,
    /// The only sessions it is for; `None` is all.
    pub(crate) sessions: Option<Vec<String>>,
}

/// Whom a request comes from, as the guard found out.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// The program or person that runs the server: may do everything, under the name that the request gives.
    Owner,
    /// The holder of a named token, who acts under its name whatever the request says.
    Named(Arc<Grant>),
}

impl Caller {
    pub(crate) fn may_use(&self, session: &str) -> bool {
        match self {
            Self::Owner => true,
            Self::Named(grant) => {
                grant.sessions.as_ref().is_none_or(|ids| ids.iter().any(|id| id == session))
            }
        }
    }

    /// The only sessions it may use; `None` is all.
    pub(crate) fn only(&self) -> Option<&[String]> {
        match self {
            Self::Owner => None,
            Self::Named(grant) => grant.sessions.as_deref(),
        }
    }

    pub(crate) fn has(&self, role: TokenRole) -> bool {
        match self {
            Self::Owner => true,
            Self::Named(grant) => grant.role >= role,
        }
    }

    /// Checks a route's need.
    pub(crate) fn check(&self, need: Need, session: Option<&str>) -> Result<(), Problem> {
        match need {
            Need::Nothing | Need::Token => Ok(()),
            Need::InSession(role) => {
                // The same whether the session exists or not.
                if !session.is_some_and(|session| self.may_use(session)) {
                    return Err(other_session());
                }
                self.require(role)
            }
            Need::Everywhere(role) => match self {
                Self::Named(grant) if grant.sessions.is_some() => Err(other_session()),
                _ => self.require(role),
            },
            Need::Owner => match self {
                Self::Owner => Ok(()),
                Self::Named(_) => Err(Problem::owner_needed()),
            },
        }
    }

    /// Checks a role where a request asks for more than its route does.
    pub(crate) fn require(&self, role: TokenRole) -> Result<(), Problem> {
        if self.has(role) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            ProblemCode::RoleTooLow,
            "This token may not do this",
        )
        .details(format!("the role {role} is needed")))
    }
}

pub(crate) fn other_session() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        ProblemCode::SessionRefused,
        "This token is not for this session",
    )
}

/// The actor of a request.
pub(crate) struct Acting {
    pub(crate) caller: Caller,
    header: Option<String>,
}

impl Acting {
    fn new(caller: Caller, headers: &HeaderMap) -> Self {
        // UTF-8, as names of people are.
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self { caller, header: headers.get(header::ACTOR_ID).map(text) }
    }

    /// The token's name; without a named token the body's actor, else the header's, else somebody new, as upstream has
    /// it.
    ///
    /// # Errors
    ///
    /// The request names an actor that is empty or too long.
    pub(crate) fn actor(&self, body: Option<String>) -> Result<String, Problem> {
        if let Caller::Named(grant) = &self.caller {
            return Ok(grant.name.clone());
        }
        match body.or_else(|| self.header.clone()) {
            None => Ok(Uuid::new_v4().to_string()),
            Some(actor) if !actor.is_empty() && actor.len() <= MAX_ID => Ok(actor),
            Some(_) => Err(Problem::bad_request("actorId: expected 1 to 256 bytes")),
        }
    }

    /// The name of the token, which is what its holder is called.
    pub(crate) fn token_name(&self) -> Option<&str> {
        match &self.caller {
            Caller::Named(grant) => Some(&grant.name),
            Caller::Owner => None,
        }
    }

    /// The name of the reader, when it is known: a read needs no actor.
    pub(crate) fn reader(&self) -> Option<&str> {
        match &self.caller {
            Caller::Named(grant) => Some(&grant.name),
            Caller::Owner => self.header.as_deref().filter(|actor| actor.len() <= MAX_ID),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Self::new(caller.expect("the guard is in front of every route"), &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_nobody_listed_is_for_manage() {
        let need = needed(&Method::POST, Some("/new"));
        assert_eq!(need, Need::Everywhere(TokenRole::Manage));
        assert_eq!(needed(&Method::HEAD, Some(path::SESSIONS)), Need::Token);
        assert_eq!(needed(&Method::GET, None), Need::Token);
    }
}
