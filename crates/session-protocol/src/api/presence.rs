//! Who is here.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{Method, Request, nullable, path};
use crate::{AgentSpec, PresenceStatus};

/// Says that somebody is here with a device, or still is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogIn {
    /// Who is here.
    pub actor_id: String,
    /// The device, without a colon.
    pub device_id: String,
    /// The person's name. Who has a named token is called by its name; this is then kept as `claimedName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Seconds until the client says so again, 0.1 to 3600: readers then take silence for absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>))]
    pub heartbeat_seconds: Option<Number>,
    /// Agents to register in a session that has none.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub default_agents: Vec<AgentSpec>,
}

impl Request for LogIn {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::LOGIN;
}

/// Somebody who is here.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    /// `true`.
    pub success: bool,
    /// Who is here, under the token's name where it has one.
    pub actor_id: String,
    /// The device.
    pub device_id: String,
    /// `online`.
    pub status: PresenceStatus,
}

/// Says that somebody left with a device, or with all of them. Pages send it by `sendBeacon` as `text/plain`: the body
/// is read as JSON whatever its type says.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogOut {
    /// Who left.
    pub actor_id: String,
    /// The device; needed unless `allDevices` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Whether every device is meant.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub all_devices: bool,
}

impl Request for LogOut {
    const METHOD: Method = Method::Post;
    const PATH: &'static str = path::LOGOUT;
}

/// Somebody who left.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedOut {
    /// `true`.
    pub success: bool,
    /// Who left.
    pub actor_id: String,
    /// The device, if one was named.
    pub device_id: Option<String>,
    /// `offline`.
    pub status: PresenceStatus,
    /// Number of devices that were here.
    pub devices_logged_out: usize,
}
