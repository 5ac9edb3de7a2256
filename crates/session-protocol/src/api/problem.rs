//! Refusals: what a server answers instead of a success, and how a client reads it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Makes [`ProblemCode`] from one list of variants and their words.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// Why a request was refused, for programs. A newer server may know more of them.
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl ProblemCode {
            /// All codes there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code's word on the wire, such as `SESSION_NOT_FOUND`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

codes! {
    /// A person has the name, or one that looks like it.
    ActorExists = "ACTOR_EXISTS",
    /// An agent of somebody else has the id.
    AgentExists = "AGENT_EXISTS",
    /// The agent's endpoint may not be called from this server.
    AgentRefused = "AGENT_REFUSED",
    /// Somebody answered before, and otherwise.
    AlreadyAnswered = "ALREADY_ANSWERED",
    /// Several messages ask under the id; `messageId` must say which is meant.
    Ambiguous = "AMBIGUOUS",
    /// The session has no such approval.
    ApprovalNotFound = "APPROVAL_NOT_FOUND",
    /// The server holds as much for others as it may; a moment later it takes the request.
    Busy = "BUSY",
    /// Another server writes the session now.
    Fenced = "FENCED",
    /// An agent works in another folder already.
    FolderFixed = "FOLDER_FIXED",
    /// The server is not called by this host name.
    HostRefused = "HOST_REFUSED",
    /// The request names no host, or two.
    InvalidHost = "INVALID_HOST",
    /// An id in the path is none.
    InvalidId = "INVALID_ID",
    /// The body or the query cannot be understood; `details` says where.
    InvalidRequest = "INVALID_REQUEST",
    /// The message was deleted.
    MessageDeleted = "MESSAGE_DELETED",
    /// A message has the id and says something else, or somebody else said it.
    MessageExists = "MESSAGE_EXISTS",
    /// The session has no such message.
    MessageNotFound = "MESSAGE_NOT_FOUND",
    /// The message is longer than an agent can be given.
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    /// The path does not take the method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED",
    /// The session has no agent that could answer.
    NoAgents = "NO_AGENTS",
    /// The server's disk is full.
    NoSpace = "NO_SPACE",
    /// No question waits under the id.
    NotAsked = "NOT_ASKED",
    /// The stream holds something else than a session.
    NotASession = "NOT_A_SESSION",
    /// The server has no such path.
    NotFound = "NOT_FOUND",
    /// The server cannot do its work now.
    NotReady = "NOT_READY",
    /// Web pages of this origin may not use the server.
    OriginRefused = "ORIGIN_REFUSED",
    /// Only the owner of the server's computer may do this.
    OwnerNeeded = "OWNER_NEEDED",
    /// The token may not do this.
    RoleTooLow = "ROLE_TOO_LOW",
    /// The session takes nothing more.
    SessionClosed = "SESSION_CLOSED",
    /// The session was deleted, and only making it anew brings it back.
    SessionDeleted = "SESSION_DELETED",
    /// The session that a fork was to be is there already.
    SessionExists = "SESSION_EXISTS",
    /// The session cannot be led; the others go on.
    SessionFailed = "SESSION_FAILED",
    /// The session holds as much as one may.
    SessionFull = "SESSION_FULL",
    /// The session was deleted, and forks keep its name.
    SessionGone = "SESSION_GONE",
    /// The server has no such session.
    SessionNotFound = "SESSION_NOT_FOUND",
    /// The token is not for this session.
    SessionRefused = "SESSION_REFUSED",
    /// The server is about to end.
    ShuttingDown = "SHUTTING_DOWN",
    /// The server's own database cannot be used now.
    StoreUnavailable = "STORE_UNAVAILABLE",
    /// The stream could not be read or written.
    StreamError = "STREAM_ERROR",
    /// The stream was deleted, and forks keep its name.
    StreamGone = "STREAM_GONE",
    /// There is no such stream.
    StreamNotFound = "STREAM_NOT_FOUND",
    /// The server that has the streams cannot be reached.
    StreamServerUnreachable = "STREAM_SERVER_UNREACHABLE",
    /// The server that has the streams does not do its work now.
    StreamUnavailable = "STREAM_UNAVAILABLE",
    /// Streams are written at another server.
    StreamsElsewhere = "STREAMS_ELSEWHERE",
    /// The body, or an event of it, is larger than it may be.
    TooLarge = "TOO_LARGE",
    /// The session has as many agents as it may.
    TooManyAgents = "TOO_MANY_AGENTS",
    /// The append has more messages than one may.
    TooManyMessages = "TOO_MANY_MESSAGES",
    /// The caller asks too often; `Retry-After` says when to go on.
    TooManyRequests = "TOO_MANY_REQUESTS",
    /// The body did not come in time.
    TooSlow = "TOO_SLOW",
    /// The session has no such tool call.
    ToolCallNotFound = "TOOL_CALL_NOT_FOUND",
    /// The wish's id is another wish's already.
    TxidUsed = "TXID_USED",
    /// A valid token is needed.
    Unauthorized = "UNAUTHORIZED",
}

/// The body of a refusal: upstream's `{error, details?}` with the fields of RFC 9457 beside them. Texts never carry
/// what a person wrote (L11).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The sentence that upstream's clients show.
    pub error: String,
    /// `about:blank`: the status and `code` say all.
    pub r#type: String,
    /// The name of the status.
    pub title: String,
    /// The status.
    pub status: u16,
    /// `details`, or `error` without them.
    pub detail: String,
    /// The code that programs decide by.
    pub code: ProblemCode,
    /// Details: what exactly is wrong, or what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// Content type of a [`Problem`]; RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Fields of a refusal that may hold a sentence, the one that says most first.
const SENTENCES: [&str; 5] = ["message", "details", "detail", "error", "title"];
/// Characters of a sentence that are shown.
const MAX_SENTENCE: usize = 300;

/// A client's reading of a refusal's body, whichever server or proxy wrote it.
///
/// ```
/// use session_protocol::api::{ProblemCode, ProblemReport};
///
/// let body = br#"{"error": "Session not found", "code": "SESSION_NOT_FOUND"}"#;
/// let report = ProblemReport::read(body);
/// assert_eq!(report.code, Some(ProblemCode::SessionNotFound));
/// assert_eq!(report.sentence.as_deref(), Some("Session not found"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProblemReport {
    /// The code, where it is one of ours.
    pub code: Option<ProblemCode>,
    /// One line for a person, at most 300 characters without control characters. The words are the server's: they may
    /// still hold characters that mislead.
    pub sentence: Option<String>,
}

impl ProblemReport {
    /// Reads a body, which may be anything. Of the fields `message`, `details`, `detail`, `error` and `title` the first
    /// one that says something is taken: as text, as an object with a `message`, or as a list of either.
    pub fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return Self::default() };
        let code = body.get("code").and_then(|code| ProblemCode::deserialize(code).ok());
        let mut sentences = SENTENCES.iter().filter_map(|field| words(body.get(*field)?));
        Self { code, sentence: sentences.next() }
    }
}

/// The words of a field.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => one_line(text),
        Value::Object(fields) => one_line(fields.get("message")?.as_str()?),
        // A list of what is wrong, as validators give it.
        Value::Array(list) => list.iter().filter(|inner| !inner.is_array()).find_map(words),
        _ => None,
    }
}

/// A text on one line, shortened. `None`: it says nothing.
fn one_line(text: &str) -> Option<String> {
    let is_space = |c: char| c.is_whitespace() || c.is_control();
    let mut line = String::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(MAX_SENTENCE));
        if line.len() > 4 * MAX_SENTENCE {
            break;
        }
    }
    let line: String = line.chars().take(MAX_SENTENCE).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_code_is_written_and_read_as_its_word() {
        for code in ProblemCode::ALL {
            assert_eq!(json!(code), json!(code.as_str()));
            let body = json!({ "code": code.as_str() }).to_string();
            assert_eq!(ProblemReport::read(body.as_bytes()).code, Some(*code));
        }
    }

    #[test]
    fn any_refusal_is_read_as_one_sentence() {
        let long = "word ".repeat(10_000);
        let wide = "\u{1f600}".repeat(10_000);
        let table: &[(&str, Option<&str>)] = &[
            // Ours: what exactly is wrong says more than its title.
            (
                r#"{"error":"Invalid request body","title":"Bad Request","detail":"title: too long","details":"title: too long"}"#,
                Some("title: too long"),
            ),
            (
                r#"{"error":"Session not found","title":"Not Found","detail":"Session not found"}"#,
                Some("Session not found"),
            ),
            // Upstream's proxies, and what their validator says.
            (r#"{"error":"Stream not found"}"#, Some("Stream not found")),
            (
                r#"{"error":"Invalid request body","details":[{"code":"x","message":"Required"}]}"#,
                Some("Required"),
            ),
            (r#"{"error":"Invalid request body","details":["no content"]}"#, Some("no content")),
            (r#"{"error":"Invalid request body","details":[]}"#, Some("Invalid request body")),
            (
                r#"{"error":"Invalid request body","details":[[["deep"]]]}"#,
                Some("Invalid request body"),
            ),
            // RFC 9457, and what gateways and models' servers answer.
            (r#"{"title":"Bad Gateway"}"#, Some("Bad Gateway")),
            (r#"{"title":"Conflict","detail":"It is taken."}"#, Some("It is taken.")),
            (r#"{"error":{"message":"Quota exceeded","type":"x"}}"#, Some("Quota exceeded")),
            (r#"{"message":"Not here","error":"E"}"#, Some("Not here")),
            // Nothing that a person could read.
            (r#"{"message":"  ","error":null,"title":7}"#, None),
            (r#"{"error":{"message":3}}"#, None),
            (r#"["error"]"#, None),
            ("<html>502</html>", None),
            ("{\"error\":", None),
            ("", None),
            // One line, whatever it holds.
            ("{\"error\":\"a\\r\\nb\\u001b[31m  c\"}", Some("a b [31m c")),
        ];
        for (body, sentence) in table {
            let read = ProblemReport::read(body.as_bytes());
            assert_eq!(read.sentence.as_deref(), *sentence, "{body}");
        }
        for text in [long, wide] {
            let body = json!({ "error": text }).to_string();
            let read = ProblemReport::read(body.as_bytes()).sentence.expect("it says something");
            assert!(read.chars().count() <= MAX_SENTENCE, "{}", read.len());
        }
        assert_eq!(ProblemReport::read(br#"{"code":"NEWER"}"#), ProblemReport::default());
    }
}
