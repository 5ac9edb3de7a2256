//! Who may do what: roles, who a request comes from, and the one table that says which route needs which role.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, StatusCode, request::Parts},
};
use uuid::Uuid;

use crate::{names::MAX_ID, problem::Problem};

/// What a token allows. Each role may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read sessions.
    View,
    /// Make sessions, say something in them, stop agents, copy sessions.
    Chat,
    /// Decide for agents: approvals, results of tools, answers to their questions.
    Approve,
    /// Everything: register agents, clear and delete sessions, write streams directly.
    Manage,
}

impl Role {
    /// All roles, weakest first.
    pub const ALL: [Self; 4] = [Self::View, Self::Chat, Self::Approve, Self::Manage];

    /// The word for it, such as `view`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Chat => "chat",
            Self::Approve => "approve",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no [`Role`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is view, chat, approve or manage")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// What a route asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: probes of a load balancer have no token.
    Nothing,
    /// Any valid token; the answer holds only what that token may see.
    Token,
    /// The role, in the session that the path names.
    InSession(Role),
    /// The role, by a token that is not for listed sessions only.
    Everywhere(Role),
}

/// The table. A route that is not in it is for [`Role::Manage`] only, and a test fails.
pub(crate) const ROUTES: &[(&str, &str, Need)] = {
    use Need::{Everywhere, InSession, Nothing, Token};
    use Role::{Approve, Chat, Manage, View};
    &[
        ("GET", "/", Token),
        ("GET", "/openapi.json", Token),
        ("GET", "/health", Nothing),
        ("GET", "/health/ready", Nothing),
        ("GET", "/health/live", Nothing),
        ("GET", "/healthz", Nothing),
        ("GET", "/readyz", Nothing),
        ("GET", "/metrics", Everywhere(View)),
        ("GET", "/v1/me", Token),
        ("GET", "/v1/sessions", Token),
        ("GET", "/v1/sessions/{session}", InSession(View)),
        ("PUT", "/v1/sessions/{session}", InSession(Chat)),
        ("PATCH", "/v1/sessions/{session}", InSession(Chat)),
        ("DELETE", "/v1/sessions/{session}", InSession(Manage)),
        ("GET", "/v1/sessions/{session}/forks", InSession(View)),
        ("POST", "/v1/sessions/{session}/login", InSession(Chat)),
        ("POST", "/v1/sessions/{session}/logout", InSession(Chat)),
        ("POST", "/v1/sessions/{session}/messages", InSession(Chat)),
        ("POST", "/v1/sessions/{session}/regenerate", InSession(Chat)),
        ("POST", "/v1/sessions/{session}/stop", InSession(Chat)),
        ("POST", "/v1/sessions/{session}/fork", InSession(Chat)),
        ("POST", "/v1/sessions/{session}/approvals/{approval}", InSession(Approve)),
        ("POST", "/v1/sessions/{session}/tool-results", InSession(Approve)),
        ("POST", "/v1/sessions/{session}/answers/{tool_use}", InSession(Approve)),
        ("GET", "/v1/sessions/{session}/agents", InSession(View)),
        ("POST", "/v1/sessions/{session}/agents", InSession(Manage)),
        ("DELETE", "/v1/sessions/{session}/agents/{agent}", InSession(Manage)),
        ("POST", "/v1/sessions/{session}/reset", InSession(Manage)),
        ("POST", "/v1/sessions/{session}/chunks", InSession(Manage)),
        ("POST", "/v1/sessions/{session}/chunks/batch", InSession(Manage)),
        ("POST", "/v1/sessions/{session}/generations/finish", InSession(Manage)),
        ("GET", "/v1/stream/sessions/{session}", InSession(View)),
        ("PUT", "/v1/stream/sessions/{session}", InSession(Manage)),
        ("POST", "/v1/stream/sessions/{session}", InSession(Manage)),
        ("DELETE", "/v1/stream/sessions/{session}", InSession(Manage)),
        ("GET", "/v1/stream/{*path}", Everywhere(Manage)),
        ("PUT", "/v1/stream/{*path}", Everywhere(Manage)),
        ("POST", "/v1/stream/{*path}", Everywhere(Manage)),
        ("DELETE", "/v1/stream/{*path}", Everywhere(Manage)),
    ]
};

/// What the route with this path pattern needs; `None` is a path that no route has.
pub(crate) fn needed(method: &Method, pattern: Option<&str>) -> Need {
    let Some(pattern) = pattern else { return Need::Token };
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let found = ROUTES.iter().find(|(m, path, _)| *m == method && *path == pattern);
    found.map_or(Need::Everywhere(Role::Manage), |(_, _, need)| *need)
}

/// What a named token stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Which token it is; no secret.
    pub(crate) token_id: String,
    /// Who acts when the token is used.
    pub(crate) name: String,
    pub(crate) role: Role,
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

    pub(crate) fn has(&self, role: Role) -> bool {
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
        }
    }

    /// Checks a role where a request asks for more than its route does.
    pub(crate) fn require(&self, role: Role) -> Result<(), Problem> {
        if self.has(role) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "ROLE_TOO_LOW", "This token may not do this")
            .details(format!("the role {role} is needed")))
    }
}

pub(crate) fn other_session() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "SESSION_REFUSED", "This token is not for this session")
}

/// Who acts in a request.
pub(crate) struct Acting {
    pub(crate) caller: Caller,
    header: Option<String>,
}

impl Acting {
    fn new(caller: Caller, headers: &HeaderMap) -> Self {
        // UTF-8, as names of people are.
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self { caller, header: headers.get("x-actor-id").map(text) }
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

    /// Who reads, when that is known: a read needs no actor.
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
        let need = needed(&Method::POST, Some("/v1/new"));
        assert_eq!(need, Need::Everywhere(Role::Manage));
        assert_eq!(needed(&Method::HEAD, Some("/v1/sessions")), Need::Token);
        assert_eq!(needed(&Method::GET, None), Need::Token);
    }

    #[test]
    fn roles_grow() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("owner".parse::<Role>(), Err(UnknownRole));
    }
}
