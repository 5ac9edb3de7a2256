//! The server itself, and what a token allows there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who the caller is at a server, and what the token allows.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The name that the token acts under; without one the request says who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The word of a [`TokenRole`]: `view`, `chat`, `approve` or `manage`. A newer server may know more of them.
    pub role: String,
    /// The only sessions that the token is for; without them it is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<String>>,
}

/// The role of a token. Each role may do everything that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenRole {
    /// Read sessions.
    View,
    /// Make sessions, say something in them, stop agents, copy sessions.
    Chat,
    /// Decide for agents: approvals, results of tools, answers to their questions.
    Approve,
    /// Everything: register agents, clear and delete sessions, write streams directly.
    Manage,
}

impl TokenRole {
    /// All roles, weakest first.
    pub const ALL: [Self; 4] = [Self::View, Self::Chat, Self::Approve, Self::Manage];

    /// The role's word, such as `view`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Chat => "chat",
            Self::Approve => "approve",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no [`TokenRole`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is view, chat, approve or manage")]
pub struct UnknownRole;

impl FromStr for TokenRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// How a server is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, `ready` or `live`.
    pub status: String,
    /// When it was asked; RFC 3339.
    pub timestamp: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_grow() {
        assert!(TokenRole::ALL.is_sorted());
        for role in TokenRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("owner".parse::<TokenRole>(), Err(UnknownRole));
    }
}
