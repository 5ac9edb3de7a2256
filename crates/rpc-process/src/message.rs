//! JSON-RPC messages, read leniently: whatever can be told to be a request, a notification or an answer is one.

use std::fmt;

use serde_json::{Map, Value, json};

/// The agent wants somebody to sign in.
pub const AUTH_REQUIRED: i64 = -32000;
/// There is no such method.
pub const NO_METHOD: i64 = -32601;
/// What was asked for was given up.
pub const CANCELLED: i64 = -32800;

/// Bytes of an error's words that are kept.
const MAX_WORDS: usize = 2_000;

/// An error that a request is answered with.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct RpcError {
    /// The number, by JSON-RPC and the protocol.
    pub code: i64,
    /// The message, and the details that stand in `data`.
    pub said: String,
}

impl RpcError {
    /// An error of ours.
    pub fn new(code: i64, said: impl Into<String>) -> Self {
        Self { code, said: said.into() }
    }

    /// True when the agent wants somebody to sign in.
    pub fn wants_login(&self) -> bool {
        self.code == AUTH_REQUIRED
    }

    fn read(error: &Value) -> Self {
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.trim().to_owned(),
            _ => String::new(),
        };
        let code = error.get("code").and_then(Value::as_i64).unwrap_or(-32603);
        let message = text(error.get("message").or(Some(error)));
        let data = error.get("data");
        // The useful text is often only there.
        let details = ["details", "message", "error"]
            .into_iter()
            .map(|name| text(data.and_then(|data| data.get(name))))
            .chain([text(data)])
            .find(|details| !details.is_empty() && *details != message);
        let mut said = match (message.is_empty(), details) {
            (false, Some(details)) => format!("{message}: {details}"),
            (false, None) => message,
            (true, Some(details)) => details,
            (true, None) => format!("error {code}"),
        };
        said.truncate(said.floor_char_boundary(MAX_WORDS));
        Self { code, said }
    }
}

// L11: an agent's words may hold what a person wrote.
impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RpcError({})", self.code)
    }
}

/// One message of the other side.
#[derive(Clone, PartialEq)]
pub enum Message {
    /// It wants an answer under this id, which is a text or a number of its own choice.
    Request {
        /// The id to answer under.
        id: Value,
        /// What it wants.
        method: String,
        /// With what; `null` when absent.
        params: Value,
    },
    /// It says something.
    Notification {
        /// What it is about.
        method: String,
        /// What it says; `null` when absent.
        params: Value,
    },
    /// It answers the request of this number.
    Answer {
        /// The number that the request was sent with.
        id: u64,
        /// The result or the error.
        answer: Result<Value, RpcError>,
    },
}

// L11
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, .. } => write!(f, "Request({method})"),
            Self::Notification { method, .. } => write!(f, "Notification({method})"),
            Self::Answer { id, answer } => write!(f, "Answer({id}, {})", answer.is_ok()),
        }
    }
}

impl Message {
    /// The messages of a line: one, or several in a list. Empty for what is none, such as banners and notes.
    pub fn read(line: &[u8]) -> Vec<Self> {
        match serde_json::from_slice(line.trim_ascii()) {
            Ok(Value::Object(map)) => Self::of(map).into_iter().collect(),
            Ok(Value::Array(list)) => {
                let maps = list.into_iter().filter_map(|item| match item {
                    Value::Object(map) => Some(map),
                    _ => None,
                });
                maps.filter_map(Self::of).collect()
            }
            _ => Vec::new(),
        }
    }

    fn of(mut map: Map<String, Value>) -> Option<Self> {
        let id = map.remove("id").filter(|id| !id.is_null());
        let params = map.remove("params").unwrap_or(Value::Null);
        match (map.remove("method"), id) {
            (Some(Value::String(method)), Some(id)) => Some(Self::Request { id, method, params }),
            (Some(Value::String(method)), None) => Some(Self::Notification { method, params }),
            (_, Some(id)) => {
                let id = match &id {
                    Value::Number(id) => id.as_u64(),
                    Value::String(id) => id.parse().ok(),
                    _ => None,
                }?;
                let answer = match (map.remove("error"), map.remove("result")) {
                    (Some(error), _) if !error.is_null() => Err(RpcError::read(&error)),
                    (_, result) => Ok(result.unwrap_or(Value::Null)), // `null` is a result
                };
                Some(Self::Answer { id, answer })
            }
            _ => None,
        }
    }
}

/// The line of a request, with its end.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

/// The line of a notification.
pub(crate) fn notification(method: &str, params: &Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

/// The line of an answer to the other side's request.
pub(crate) fn answer(id: &Value, answer: &Result<Value, RpcError>) -> Vec<u8> {
    line(&match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id,
            "error": {"code": error.code, "message": error.said}}),
    })
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_message_is_noise() {
        for noise in [
            "",
            "Update available: 2.0",
            "[1,2]",
            "{}",
            "{\"id\":1",
            "17",
            "{\"id\":[],\"result\":1}",
        ] {
            assert_eq!(Message::read(noise.as_bytes()), [], "{noise}");
        }
    }

    #[test]
    fn an_answer_is_read_whatever_its_id_looks_like() {
        for line in [r#"{"id":3,"result":{}}"#, r#" {"jsonrpc":"2.0","id":"3","result":{}} "#] {
            let wanted = Message::Answer { id: 3, answer: Ok(json!({})) };
            assert_eq!(Message::read(line.as_bytes()), [wanted], "{line}");
        }
        let null = Message::Answer { id: 0, answer: Ok(Value::Null) };
        assert_eq!(Message::read(br#"{"id":0,"result":null}"#), [null]);
        assert_eq!(Message::read(br#"[{"id":1,"result":1},{"method":"a"}]"#).len(), 2);
    }

    #[test]
    fn an_error_says_what_stands_in_its_details() {
        let said =
            |error: &str| match Message::read(format!(r#"{{"id":1,"error":{error}}}"#).as_bytes())
                .pop()
            {
                Some(Message::Answer { answer: Err(error), .. }) => error.said,
                other => panic!("{other:?}"),
            };
        let said_of =
            said(r#"{"code":-32603,"message":"Internal error","data":{"details":"No key"}}"#);
        assert_eq!(said_of, "Internal error: No key");
        assert_eq!(
            said(r#"{"code":-32603,"message":"Internal error","data":"quota"}"#),
            "Internal error: quota"
        );
        assert_eq!(said(r#""went wrong""#), "went wrong");
        assert_eq!(said(r#"{"code":7}"#), "error 7");
    }
}
