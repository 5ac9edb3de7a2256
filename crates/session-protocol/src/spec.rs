//! An agent, as whoever registers it describes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// The messages that an agent reacts to.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum Triggers {
    /// Every message, of people and of other agents.
    All,
    /// Messages of people, and messages that mention it.
    UserMessages,
    /// Only messages that mention it: `@` and its id or name.
    Mentions,
}

/// An agent as it is registered, with what never enters the stream (method, headers, body).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AgentSpec {
    /// The agent's id.
    pub id: String,
    /// The agent's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub name: Option<String>,
    /// A URL, or `builtin:demo` / `builtin:model`.
    pub endpoint: String,
    /// The HTTP method; only `POST` exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub method: Option<String>,
    /// Headers to send, secrets among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, as = "Option<std::collections::HashMap<String, String>>")]
    pub headers: Option<BTreeMap<String, String>>,
    /// The messages that it reacts to; absent means messages of people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub triggers: Option<Triggers>,
    /// Fields merged into every request body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub body_template: Option<Value>,
}

impl fmt::Debug for AgentSpec {
    // L11: headers and body hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSpec")
            .field("id", &self.id)
            .field("triggers", &self.triggers)
            .field("headers", &self.headers.as_ref().map(BTreeMap::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_an_agent_spec_hides_headers() {
        let spec = AgentSpec {
            id: "a".into(),
            name: None,
            endpoint: "https://h/?key=hush".into(),
            method: None,
            headers: Some([("authorization".to_owned(), "Bearer hush".to_owned())].into()),
            triggers: Some(Triggers::All),
            body_template: Some(serde_json::json!({"k": "hush"})),
        };
        assert!(!format!("{spec:?}").contains("hush"));
    }
}
