//! The fields of an agent that everybody may see.

use serde_json::{Map, Value};
use session_protocol::{AgentSpec, Triggers};

/// The four fields of an agent that everybody may see; all that is ever in a stream or an answer.
pub(crate) fn public_fields(spec: &AgentSpec) -> Value {
    let mut fields = Map::new();
    fields.insert("agentId".into(), spec.id.clone().into());
    if let Some(name) = &spec.name {
        fields.insert("name".into(), name.clone().into());
    }
    fields.insert("endpoint".into(), spec.endpoint.clone().into());
    let triggers = match spec.triggers {
        Some(Triggers::All) => "all",
        Some(Triggers::Mentions) => "mentions",
        Some(Triggers::UserMessages) | None => "user-messages",
    };
    fields.insert("triggers".into(), triggers.into());
    Value::Object(fields)
}

/// The rest of an agent whose secrets are lost: its public fields from the stream.
pub(crate) fn from_public_fields(id: &str, fields: &Value) -> Option<AgentSpec> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(AgentSpec {
        id: id.to_owned(),
        name: text("name"),
        endpoint: text("endpoint")?,
        method: None,
        headers: None,
        triggers: match text("triggers").as_deref() {
            Some("all") => Some(Triggers::All),
            Some("mentions") => Some(Triggers::Mentions),
            _ => None,
        },
        body_template: None,
    })
}
