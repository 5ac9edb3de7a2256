//! Servers of tools (MCP): which a session has, what they offer, and what people decided about their tools.
//!
//! Names and descriptions are the tool servers' own words. Where a server is, its command, its variables and its
//! headers are in no answer.

use serde::{Deserialize, Serialize};

use super::{Method, Request, path};

/// The tool servers that a session may have.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionTools {
    /// The servers, in the order of the settings.
    pub servers: Vec<SessionToolServer>,
}

/// A tool server as a session has it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionToolServer {
    /// The server's name.
    pub name: String,
    /// Whether the session has the server.
    pub on: bool,
    /// Whether the server's claims about its tools are believed.
    pub trusted: bool,
    /// Why its tools cannot be had, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The server's tools. Empty while it is off or being started.
    pub tools: Vec<ToolEntry>,
}

/// A tool.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolEntry {
    /// The tool's name at its server.
    pub name: String,
    /// The name of its calls in sessions.
    pub call_name: String,
    /// Words to show instead of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The server's description of it.
    pub description: String,
    /// Number of tokens, about, that telling a model of it costs.
    pub tokens: u32,
    /// Whether the server says that it changes nothing.
    pub read_only: bool,
    /// Whether the server says that it may destroy something.
    pub destructive: bool,
    /// Whether the server says that twice is the same as once.
    pub idempotent: bool,
    /// `ask`, `allow` or `never`: what happens when a model calls it in this session. A newer server may know more.
    pub rule: String,
    /// Whether it was allowed and has changed since: people are asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
}

impl std::fmt::Debug for ToolEntry {
    // L11: a server's words may hold a person's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolEntry").field("call_name", &self.call_name).finish_non_exhaustive()
    }
}

/// Switches a tool server on or off in a session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchToolServer {
    /// Whether the session has the server.
    pub on: bool,
}

impl Request for SwitchToolServer {
    const METHOD: Method = Method::Put;
    const PATH: &'static str = path::SESSION_TOOL_SERVER;
}

/// Decides what happens when a model calls a tool in a session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecideTool {
    /// The tool server's name.
    pub server: String,
    /// The tool's name at its server.
    pub tool: String,
    /// `ask`: people are asked each time. `allow`: it is called, until the tool changes. `never`: no model is told of
    /// it.
    pub rule: String,
    /// The person, without a named token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl Request for DecideTool {
    const METHOD: Method = Method::Put;
    const PATH: &'static str = path::SESSION_TOOL_RULES;
}

/// The rules that people made about tools, in all sessions.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRules {
    /// The rules, the oldest first.
    pub rules: Vec<ToolRule>,
}

/// A rule about a tool.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolRule {
    /// The rule's id, by which it is removed.
    pub id: i64,
    /// The tool server's name.
    pub server: String,
    /// The tool's name at its server.
    pub tool: String,
    /// The session that it is for; without one it is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `ask`, `allow` or `never`.
    pub rule: String,
    /// The rule in a sentence.
    pub words: String,
    /// Who made it.
    pub set_by: String,
    /// When, RFC 3339.
    pub set_at: String,
}

/// Connects to a tool server and lists its tools: one of the settings by its `name`, or, for the owner of the host
/// only, one that is not in them yet.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestToolServer {
    /// The name of a server of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A program and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Variables of the program's environment.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub environment: std::collections::BTreeMap<String, String>,
    /// An address that speaks streamable HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers that the address is sent.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub headers: std::collections::BTreeMap<String, String>,
}

impl std::fmt::Debug for TestToolServer {
    // L11: commands, variables and headers hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestToolServer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Request for TestToolServer {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::TEST_TOOL_SERVER;
}

/// The findings about a tool server.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolServerTested {
    /// Whether it works.
    pub works: bool,
    /// The server's name for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The server's tools.
    pub tools: Vec<ToolEntry>,
    /// Why it does not work, in a sentence with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last words of its program, for the owner of the host only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// Whether it wants somebody to sign in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_login: bool,
}

impl std::fmt::Debug for ToolServerTested {
    // L11: last words may hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolServerTested").field("works", &self.works).finish_non_exhaustive()
    }
}
