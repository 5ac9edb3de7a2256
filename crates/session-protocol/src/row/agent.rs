use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

/// Options of one agent that are read, choices of one of them, and commands of one agent.
const MOST: (usize, usize, usize) = (64, 500, 500);

/// An agent registered in the session (its public fields; secrets never enter the stream).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Agent {
    /// The agent's id, the key of its row.
    pub agent_id: String,
    /// The agent's display name.
    pub name: Option<String>,
    /// Where it is called: a URL, or `builtin:…` for agents inside the session server.
    pub endpoint: Option<String>,
    /// The messages that it reacts to: `all` or `user-messages`.
    pub triggers: Option<String>,
    /// The model it says it uses.
    pub model: Option<String>,
    /// Somebody who may not manage the session brought it along: its name is a claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(type = "boolean", optional)]
    pub guest: bool,
    /// Options that can be chosen of it: its mode, its model and others, in its own order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(as = "Option<Vec<AgentOption>>", optional)]
    pub options: Vec<AgentOption>,
    /// The commands that it knows: a message that begins with `/` and the name of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(as = "Option<Vec<AgentCommand>>", optional)]
    pub commands: Vec<AgentCommand>,
}

impl fmt::Debug for Agent {
    // L11: an endpoint may carry a key in its query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("agent_id", &self.agent_id).finish_non_exhaustive()
    }
}

/// Something that can be chosen of an agent, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AgentOption {
    /// The id by which it is set.
    pub id: String,
    /// The agent's word for it.
    pub name: String,
    /// More of its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub description: Option<String>,
    /// The subject of the option: `mode` (what the agent asks about), `model`, `thought_level`, or any other word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub category: Option<String>,
    /// The choice that holds, by the agent's last word.
    pub value: String,
    /// The choice that a person made last. Where it is another one, the agent gets it with its next message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub wanted: Option<String>,
    /// Whether it is on or off: the values are `true` and `false`, and there are no choices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(type = "boolean", optional)]
    pub switch: bool,
    /// Choices, in the agent's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<AgentChoice>,
}

/// One choice of an [`AgentOption`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AgentChoice {
    /// The value that it is set by.
    pub value: String,
    /// The agent's word for it.
    pub name: String,
    /// More of its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub description: Option<String>,
    /// The heading that it stands under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub group: Option<String>,
    /// With it the agent asks nobody: only the owner of its computer may choose it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(type = "boolean", optional)]
    pub never_asks: bool,
}

/// A command that an agent knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AgentCommand {
    /// The command's name, without the `/`.
    pub name: String,
    /// The command's effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub description: Option<String>,
    /// Words that may be written behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub hint: Option<String>,
}

impl AgentOption {
    /// The options in a row of an agent. What is none is left out (L9).
    pub fn of_row(row: &Map<String, Value>) -> Vec<Self> {
        let mut options: Vec<Self> = list(row.get("options"), MOST.0);
        for option in &mut options {
            option.choices.truncate(MOST.1);
        }
        options
    }
}

impl AgentCommand {
    /// The commands in a row of an agent. What is none is left out (L9).
    pub fn of_row(row: &Map<String, Value>) -> Vec<Self> {
        list(row.get("commands"), MOST.2)
    }
}

fn list<T: for<'a> Deserialize<'a>>(value: Option<&Value>, most: usize) -> Vec<T> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.take(most).filter_map(|item| T::deserialize(item).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_option_costs_only_itself() {
        let row = json!({"options": [
            7, {"id": "m"}, {"id": "mode", "name": "Mode", "value": "ask", "new": 1, "choices": [{"value": "ask", "name": "Ask"}]},
        ], "commands": "none"});
        let row = row.as_object().expect("it is one").clone();
        let options = AgentOption::of_row(&row);
        assert_eq!((options.len(), options[0].choices.len()), (1, 1));
        assert_eq!(AgentCommand::of_row(&row), []);
        let many = json!({ "commands": vec![json!({"name": "x"}); 10_000] });
        let many = many.as_object().expect("it is one");
        assert_eq!(AgentCommand::of_row(many).len(), MOST.2);
    }
}
