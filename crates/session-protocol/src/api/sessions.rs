//! Sessions: making, listing, naming, copying and clearing them.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Method, Request, nullable, path};
use crate::{AgentSpec, canonical_time};

/// Makes a session, or names it and its agents when it is there. Upstream's proxies take no body.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct CreateSession {
    /// The session's title, 1 to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Agents to register at once.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentSpec>,
}

impl Request for CreateSession {
    const METHOD: Method = Method::Put;
    const PATH: &'static str = path::SESSION;
}

/// A session, and where its stream is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPlace {
    /// The session's id.
    pub session_id: String,
    /// Path of the session's stream.
    pub stream_url: String,
}

/// Gives a session a title.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenameSession {
    /// The title, 1 to 512 bytes without the white space around it.
    pub title: String,
    /// Who names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// The wish's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
}

impl Request for RenameSession {
    const METHOD: Method = Method::Patch;
    const PATH: &'static str = path::SESSION;
}

/// A session as it is called now.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRenamed {
    /// The session's id.
    pub session_id: String,
    /// The title that was given.
    pub title: String,
}

/// Which page of a list is asked for.
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageQuery {
    /// Rows of a page, 1 to 1000; 500 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Sessions of a server, the newest activity first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionPage {
    /// The sessions of this page.
    pub sessions: Vec<SessionEntry>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A session in the server's list.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// The session's id.
    #[serde(alias = "id")]
    pub session_id: String,
    /// The session's title, once it has one.
    #[serde(default)]
    pub title: Option<String>,
    /// When it was made; RFC 3339.
    #[serde(default, deserialize_with = "time")]
    pub created_at: Option<String>,
    /// When something was last written in it; RFC 3339.
    #[serde(default, alias = "updatedAt", alias = "lastActivity", deserialize_with = "time")]
    pub last_activity_at: Option<String>,
    /// The session that it was forked from, for who may see that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
}

/// Reads a time in the form in which times are compared as text; what is none is left out.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.as_deref().and_then(canonical_time))
}

/// Where a fork comes from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkedFrom {
    /// The session that was copied.
    pub session_id: String,
    /// The last message that was taken over; absent when everything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// Forks of a session, the oldest first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkPage {
    /// The forks of this page.
    pub forks: Vec<ForkEntry>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A fork of a session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkEntry {
    /// The fork's id.
    pub session_id: String,
    /// The last message that it took over; absent when it took over everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// Makes a session with the history of another, up to and including a message.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkSession {
    /// The last message of the copy; absent copies everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_message_id: Option<String>,
    /// The new session's id. Repeating the request with the same one makes no second fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub new_session_id: Option<String>,
    /// The wish's id, which does the same where `newSessionId` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub txid: Option<String>,
    /// Who makes the fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl Request for ForkSession {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::FORK;
}

/// A fork that was made.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionForked {
    /// The new session's id.
    pub session_id: String,
    /// Where to begin reading: `-1`.
    pub offset: String,
}

/// Clears the conversation of a session; its agents stay.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetSession {
    /// Whether who is here is forgotten too.
    #[serde(default, deserialize_with = "nullable")]
    pub clear_presence: bool,
    /// Who clears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl Request for ResetSession {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::RESET;
}

/// A session that was cleared.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReset {
    /// `true`.
    pub success: bool,
    /// The session's id.
    pub session_id: String,
    /// A sentence for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_form_are_listed_in_one() {
        let listed = r#"{"sessionId": "s", "createdAt": "2026-01-05T10:00:00+02:00", "updatedAt": "2026-01-05T08:00:00Z"}"#;
        let listed: SessionEntry = serde_json::from_str(listed).expect("a session of a list");
        assert_eq!(listed.created_at.as_deref(), Some("2026-01-05T08:00:00.000Z"));
        assert_eq!(listed.created_at, listed.last_activity_at);
        let none: SessionEntry = serde_json::from_str(r#"{"id": "s", "updatedAt": "$(date)"}"#)
            .expect("a session of a list");
        assert_eq!(none.last_activity_at, None);
    }
}
