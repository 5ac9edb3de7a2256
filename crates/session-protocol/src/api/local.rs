//! Agents that run as programs of the server's computer: what is chosen of them, where they work, and which there are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Method, Request, path};

/// Chooses something of an agent: a choice of one of its [`AgentOption`](crate::AgentOption)s.
///
/// The agent gets it at once when it rests and its program runs, and else with its next message. An option of the
/// category `mode` needs the role `approve`, a choice with which the agent asks nobody (`neverAsks`) the owner.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAgentOption {
    /// The option's id.
    pub option_id: String,
    /// The value of the choice; `true` or `false` of a switch.
    pub value: String,
    /// The wish's id. The row that grants it carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
}

impl Request for SetAgentOption {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::AGENT_OPTIONS;
}

/// Chooses the folder that the local agents of a session work in. Refused with 409 when one of them has begun to work
/// in another one.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct ChooseFolder {
    /// An absolute path on the server's computer, of a folder that exists.
    pub folder: String,
}

impl Request for ChooseFolder {
    const METHOD: Method = Method::Put;
    const PATH: &'static str = path::FOLDER;
}

/// The folder that the local agents of a session work in.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionFolder {
    /// The folder that somebody chose; without it each agent works in its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// An agent has begun to work: the folder stays.
    pub fixed: bool,
}

/// Folders that were chosen lately, the newest first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentFolders {
    /// Absolute paths; those that are gone are left out.
    pub folders: Vec<String>,
}

/// Adds a program to the agents that the server runs, or replaces it. Only the owner may: the program runs with the
/// rights of whoever runs the server.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct PutLocalAgent {
    /// The program and its arguments as in a shell, such as `qwen --acp`. Variables may stand in front.
    pub command: String,
    /// Variables of its environment. They are kept encrypted and never said again; one without a value keeps the value
    /// that it has.
    #[serde(
        default,
        deserialize_with = "super::nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub environment: BTreeMap<String, Option<String>>,
    /// The folder that it works in where a session says no other; the server's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

impl Request for PutLocalAgent {
    const METHOD: Method = Method::Put;
    const PATH: &'static str = path::LOCAL_AGENT;
}

/// An agent that the server runs as a program of its computer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAgent {
    /// The agent's name. Sessions have it under the endpoint `acp:NAME`.
    pub name: String,
    /// The program, without its arguments, which may hold keys.
    pub program: String,
    /// Names of the variables that it is given, without their values.
    #[serde(default, deserialize_with = "super::nullable", skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// The server was started with it: it is changed there only.
    pub fixed: bool,
    /// Number of its programs that run now: one for each session in which it was asked lately.
    pub running: usize,
}

/// The agents that the server runs as programs of its computer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAgents {
    /// The agents, by name.
    pub agents: Vec<LocalAgent>,
}

/// An agent that Threadkeep knows how to start.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAgent {
    /// The program's short name, such as `claude`: a good name for a [`LocalAgent`].
    pub id: String,
    /// The name that people know it by.
    pub name: String,
    /// The command that starts it, for [`PutLocalAgent`]: with the whole path of the program where it was found.
    pub command: String,
    /// The program's path; absent when it was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The version that the program says it has; absent when it says none in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The line that installs it, for a person to run. Nothing runs it unasked.
    pub install: String,
    /// More that it needs, in a sentence, such as a newer Node.js than the one that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// The agents that Threadkeep knows, those that are installed first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAgents {
    /// The agents.
    pub agents: Vec<KnownAgent>,
}

// L11: paths and commands are the owner's.
impl fmt::Debug for ChooseFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChooseFolder(…)")
    }
}

// L11: values are keys.
impl fmt::Debug for PutLocalAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutLocalAgent({} variables)", self.environment.len())
    }
}
