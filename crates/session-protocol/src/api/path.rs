//! Paths of the API, as patterns: a segment in braces stands for one id.
//!
//! ```
//! use session_protocol::api::path;
//!
//! let segments: Vec<_> = path::segments(path::APPROVAL, &["first-steps", "call 7"]).collect();
//! assert_eq!(segments, ["v1", "sessions", "first-steps", "approvals", "call 7"]);
//! ```

/// The server's name, version and main routes.
pub const ABOUT: &str = "/";
/// The OpenAPI document.
pub const OPENAPI: &str = "/openapi.json";
/// Numbers for a Prometheus server.
pub const METRICS: &str = "/metrics";
/// Whether the server answers.
pub const HEALTH: &str = "/health";
/// Health, under the name that load balancers ask for.
pub const HEALTHZ: &str = "/healthz";
/// Health, under upstream's name.
pub const HEALTH_LIVE: &str = "/health/live";
/// Whether the server can do its work, under upstream's name.
pub const HEALTH_READY: &str = "/health/ready";
/// Whether the server can do its work.
pub const READYZ: &str = "/readyz";
/// Who the caller is, and what the token allows.
pub const ME: &str = "/v1/me";
/// The list of sessions.
pub const SESSIONS: &str = "/v1/sessions";
/// One session.
pub const SESSION: &str = "/v1/sessions/{session}";
/// The forks of a session.
pub const FORKS: &str = "/v1/sessions/{session}/forks";
/// Saying that a person is here.
pub const LOGIN: &str = "/v1/sessions/{session}/login";
/// Saying that a person has left.
pub const LOGOUT: &str = "/v1/sessions/{session}/logout";
/// Saying something.
pub const MESSAGES: &str = "/v1/sessions/{session}/messages";
/// Having a message answered again.
pub const REGENERATE: &str = "/v1/sessions/{session}/regenerate";
/// Stopping answers.
pub const STOP: &str = "/v1/sessions/{session}/stop";
/// Copying a session.
pub const FORK: &str = "/v1/sessions/{session}/fork";
/// One approval that an agent asked for.
pub const APPROVAL: &str = "/v1/sessions/{session}/approvals/{approval}";
/// Results of tools that run at a client.
pub const TOOL_RESULTS: &str = "/v1/sessions/{session}/tool-results";
/// Answers to the questions of one tool use.
pub const ANSWERS: &str = "/v1/sessions/{session}/answers/{tool_use}";
/// The agents of a session.
pub const AGENTS: &str = "/v1/sessions/{session}/agents";
/// One agent of a session.
pub const AGENT: &str = "/v1/sessions/{session}/agents/{agent}";
/// The tool servers that a session may have, and their tools.
pub const SESSION_TOOLS: &str = "/v1/sessions/{session}/tools";
/// One tool server in a session.
pub const SESSION_TOOL_SERVER: &str = "/v1/sessions/{session}/tools/{server}";
/// Deciding about a tool in a session.
pub const SESSION_TOOL_RULES: &str = "/v1/sessions/{session}/tool-rules";
/// The rules about tools, in all sessions.
pub const TOOL_RULES: &str = "/v1/tool-rules";
/// One rule about a tool.
pub const TOOL_RULE: &str = "/v1/tool-rules/{rule}";
/// Trying a tool server.
pub const TEST_TOOL_SERVER: &str = "/v1/tool-servers/test";
/// Choosing something of an agent: its mode, its model.
pub const AGENT_OPTIONS: &str = "/v1/sessions/{session}/agents/{agent}/options";
/// Asking for the work of an agent that a bridge runs.
pub const BRIDGE_WORK: &str = "/v1/sessions/{session}/agents/{agent}/bridge/work";
/// Giving what such an agent says.
pub const BRIDGE_OUTPUT: &str = "/v1/sessions/{session}/agents/{agent}/bridge/output";
/// The folder that the local agents of a session work in.
pub const FOLDER: &str = "/v1/sessions/{session}/folder";
/// Folders that were chosen lately.
pub const FOLDERS: &str = "/v1/folders";
/// The agents that run as programs of the server's computer.
pub const LOCAL_AGENTS: &str = "/v1/local-agents";
/// One of them.
pub const LOCAL_AGENT: &str = "/v1/local-agents/{name}";
/// The agents that could be.
pub const KNOWN_AGENTS: &str = "/v1/known-agents";
/// Clearing a session.
pub const RESET: &str = "/v1/sessions/{session}/reset";
/// Writing one chunk.
pub const CHUNKS: &str = "/v1/sessions/{session}/chunks";
/// Writing several chunks of one message.
pub const CHUNK_BATCH: &str = "/v1/sessions/{session}/chunks/batch";
/// Waiting until everything is written.
pub const FINISH: &str = "/v1/sessions/{session}/generations/finish";
/// Where the streams are, of sessions and others: a Durable Streams server.
pub const STREAMS: &str = "/v1/stream";
/// The stream of a session.
pub const SESSION_STREAM: &str = "/v1/stream/sessions/{session}";
/// Any stream.
pub const ANY_STREAM: &str = "/v1/stream/{*path}";

/// The name of a session's stream, below [`STREAMS`].
pub fn stream_name(session: &str) -> String {
    format!("sessions/{session}")
}

/// The segments of a path, with an id in the place of each pair of braces. They are not escaped: ids may hold what a
/// URL may not.
///
/// # Panics
///
/// The pattern has more ids than are given.
pub fn segments<'a>(pattern: &'a str, ids: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let mut ids = ids.iter();
    pattern.split('/').skip(1).map(move |segment| match segment.starts_with('{') {
        true => ids.next().expect("an id for each pair of braces"),
        false => segment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_stream_is_below_the_streams() {
        let path: Vec<_> = segments(SESSION_STREAM, &["s"]).collect();
        assert_eq!(format!("/{}", path.join("/")), format!("{STREAMS}/{}", stream_name("s")));
        assert_eq!(segments(SESSIONS, &[]).collect::<Vec<_>>(), ["v1", "sessions"]);
    }
}
