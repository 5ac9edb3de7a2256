//! What a server offers, and what it asks people.

use std::fmt;

use serde_json::{Map, Value, json};

/// Bytes of a description that are kept.
const DESCRIPTION: usize = 8 << 10;
/// Bytes of a schema as JSON; a tool with a larger one is left out.
const SCHEMA: usize = 64 << 10;
/// Bytes of a name.
const NAME: usize = 128;
/// Bytes of what a question says.
const MESSAGE: usize = 8 << 10;

/// A tool of a server, in its own words.
#[derive(Clone, PartialEq)]
pub struct Tool {
    /// Its name, by which it is called.
    pub name: String,
    /// What to show instead.
    pub title: Option<String>,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments; an object.
    pub input_schema: Value,
    /// What the server claims about it.
    pub traits: Traits,
}

/// What a server claims about a tool, with the protocol's own values where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy something.
    pub destructive: bool,
    /// Doing it twice is the same as doing it once.
    pub idempotent: bool,
    /// It reaches out of the server's own world.
    pub open_world: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

// L11: a server's words may hold what a person wrote.
impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tool {
    /// Reads a tool; `None` for what cannot be called or is too large.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let name = text("name").filter(|name| {
            (1..=NAME).contains(&name.len()) && !name.chars().any(char::is_control)
        })?;
        let input_schema = match value.get("inputSchema") {
            Some(Value::Object(schema)) => Value::Object(schema.clone()),
            _ => json!({"type": "object"}),
        };
        if input_schema.to_string().len() > SCHEMA {
            return None;
        }
        let claims = value.get("annotations");
        let claim = |name: &str, or: bool| {
            claims.and_then(|claims| claims.get(name)).and_then(Value::as_bool).unwrap_or(or)
        };
        let or = Traits::default();
        let title = text("title").or_else(|| claims?.get("title")?.as_str());
        Some(Self {
            name: name.to_owned(),
            title: title.map(|title| cut(title, 256)).filter(|title| !title.is_empty()),
            description: cut(text("description").unwrap_or_default(), DESCRIPTION),
            input_schema,
            traits: Traits {
                read_only: claim("readOnlyHint", or.read_only),
                destructive: claim("destructiveHint", or.destructive),
                idempotent: claim("idempotentHint", or.idempotent),
                open_world: claim("openWorldHint", or.open_world),
            },
        })
    }

    /// All that a person who allows the tool has relied on, as text that is the same for the same tool.
    pub fn identity(&self) -> String {
        let Traits { read_only, destructive, idempotent, open_world } = self.traits;
        json!([
            self.name,
            self.description,
            self.input_schema,
            [read_only, destructive, idempotent, open_world]
        ])
        .to_string()
    }
}

/// A question of a server to a person.
#[derive(Clone, PartialEq)]
pub struct Elicitation {
    /// What it asks.
    pub message: String,
    /// JSON Schema of the answer, for a form.
    pub schema: Option<Value>,
    /// A page to open instead of a form.
    pub url: Option<String>,
}

// L11
impl fmt::Debug for Elicitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elicitation(…)")
    }
}

impl Elicitation {
    /// Reads the parameters of `elicitation/create`. A schema that is too large is left out.
    pub(crate) fn read(params: &Value) -> Self {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        let schema = params.get("requestedSchema").filter(|schema| schema.is_object());
        Self {
            message: cut(text("message").unwrap_or("The tool asks for something."), MESSAGE),
            schema: schema.filter(|schema| schema.to_string().len() <= SCHEMA).cloned(),
            url: text("url").filter(|url| url.len() <= 4096).map(str::to_owned),
        }
    }

    /// The result that the server is given for what a person answered: fields, or nothing where it was declined.
    pub fn answer(content: Option<Map<String, Value>>) -> Value {
        match content {
            Some(content) => json!({"action": "accept", "content": content}),
            None => json!({"action": "decline"}),
        }
    }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_say_is_the_worst() {
        let tool = Tool::read(&json!({"name": "a", "annotations": {"readOnlyHint": "yes"}}));
        assert_eq!(tool.map(|tool| tool.traits), Some(Traits::default()));
        let said =
            json!({"name": "a", "annotations": {"readOnlyHint": true, "destructiveHint": false}});
        let tool = Tool::read(&said).unwrap();
        assert!(tool.traits.read_only && !tool.traits.destructive && tool.traits.open_world);
    }

    #[test]
    fn tools_that_cannot_be_called_are_left_out() {
        let deep = json!({"type": "object", "x": "y".repeat(SCHEMA)});
        for odd in [
            json!(1),
            json!({}),
            json!({"name": ""}),
            json!({"name": 3}),
            json!({"name": "a\nb"}),
            json!({"name": "x".repeat(200)}),
            json!({"name": "a", "inputSchema": deep}),
        ] {
            assert_eq!(Tool::read(&odd), None);
        }
    }

    #[test]
    fn a_tool_is_another_when_anything_that_was_relied_on_is() {
        let one = json!({"name": "a", "description": "d", "inputSchema": {"type": "object"}});
        let identity = |value: &Value| Tool::read(value).unwrap().identity();
        let mut again = one.clone();
        again["title"] = "T".into();
        assert_eq!(identity(&one), identity(&again));
        for (name, value) in [
            ("description", json!("e")),
            ("inputSchema", json!({"type": "object", "required": ["b"]})),
            ("annotations", json!({"readOnlyHint": true})),
        ] {
            let mut other = one.clone();
            other[name] = value;
            assert_ne!(identity(&one), identity(&other), "{name}");
        }
    }
}
