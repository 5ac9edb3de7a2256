use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Whether somebody is there.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS,
)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum PresenceStatus {
    /// Gone.
    #[default]
    Offline,
    /// There, but elsewhere: shown, not counted as online.
    Away,
    /// There.
    Online,
}

/// One device of one actor, as the stream has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct PresenceRow {
    /// The row's key on the wire: `actorId:deviceId`, or `actorId` alone from old writers.
    pub key: String,
    /// The person or agent.
    pub actor_id: String,
    /// The device, empty when the writer does not name one.
    pub device_id: String,
    /// `user` or `agent`.
    pub actor_type: String,
    /// The display name.
    pub name: Option<String>,
    /// Online, away or offline.
    pub status: PresenceStatus,
    /// When the writer last said so.
    pub last_seen_at: Option<String>,
    /// Whether the writer repeats itself, so that silence means gone.
    pub heartbeats: bool,
}

impl fmt::Debug for PresenceRow {
    // L11: names are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceRow")
            .field("key", &self.key)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// One actor with all its devices.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Presence {
    /// The person or agent.
    pub actor_id: String,
    /// `user` or `agent`.
    pub actor_type: String,
    /// The display name.
    pub name: Option<String>,
    /// Devices that are online.
    pub device_ids: Vec<String>,
    /// Number of devices that are online.
    #[ts(type = "number")]
    pub device_count: usize,
    /// The best status of its devices.
    pub status: PresenceStatus,
    /// The newest `lastSeenAt` of its devices.
    pub last_seen_at: Option<String>,
}

impl fmt::Debug for Presence {
    // L11: names are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("actor_id", &self.actor_id)
            .field("device_count", &self.device_count)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
