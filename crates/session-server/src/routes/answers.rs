//! Bodies of successful answers: upstream's, field by field.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::store::{ForkRow, SessionRow};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    pub(super) session_id: String,
    /// Path of the session's stream.
    pub(super) stream_url: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    pub(super) sessions: Vec<SessionRow>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Forks {
    pub(super) forks: Vec<ForkRow>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Renamed {
    pub(super) session_id: String,
    pub(super) title: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    pub(super) message_id: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    success: bool,
}

impl Done {
    pub(super) fn new() -> Self {
        Self { success: true }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Agents {
    /// What the stream says of each, with its `id`.
    #[schema(value_type = Vec<Object>)]
    pub(super) agents: Vec<Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedIn {
    pub(super) success: bool,
    pub(super) actor_id: String,
    pub(super) device_id: String,
    /// `online`.
    pub(super) status: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedOut {
    pub(super) success: bool,
    pub(super) actor_id: String,
    pub(super) device_id: Option<String>,
    /// `offline`.
    pub(super) status: &'static str,
    pub(super) devices_logged_out: usize,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cleared {
    pub(super) success: bool,
    pub(super) session_id: String,
    pub(super) message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Forked {
    pub(super) session_id: String,
    /// Where to begin reading: `-1`.
    pub(super) offset: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Written {
    pub(super) ok: bool,
    pub(super) count: usize,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Finished {
    pub(super) ok: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The name that the token acts under; without one the request says who acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// `view`, `chat`, `approve` or `manage`.
    pub(super) role: &'static str,
    /// The only sessions that the token is for; without them it is for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sessions: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// `ok`, `ready` or `live`.
    pub(super) status: &'static str,
    /// RFC 3339.
    pub(super) timestamp: String,
}
