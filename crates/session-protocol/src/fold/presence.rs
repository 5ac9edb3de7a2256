//! Who is there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::log::{merge_into, object};
use crate::row::{Presence, PresenceRow, PresenceStatus, parse_time};

/// A writer that repeats itself is believed for this many seconds of silence.
const SILENCE_SECONDS: i64 = 90;
/// Repetitions further apart than this are no heartbeat.
const BEAT_SECONDS: i64 = 60;
/// Number of repetitions in a row that make a heartbeat.
const BEATS: u32 = 3;

/// One device's row as merged so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    #[serde(rename = "v")]
    value: Map<String, Value>,
    #[serde(rename = "b", default)]
    beats: u32,
}

fn string<'a>(value: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

impl Device {
    /// Merges a value; false when nothing changed.
    pub(crate) fn merge(&mut self, raw: &str) -> bool {
        let Some(new) = object(raw) else { return false };
        let before = (self.status(), self.last_seen());
        if !merge_into(&mut self.value, new) {
            return false;
        }
        let beat = match (before, self.status(), self.last_seen()) {
            ((PresenceStatus::Online, Some(then)), PresenceStatus::Online, Some(now)) => {
                let gap = now.as_second() - then.as_second();
                gap > 0 && gap <= BEAT_SECONDS
            }
            _ => false,
        };
        self.beats = if beat { self.beats.saturating_add(1) } else { 0 };
        true
    }

    fn status(&self) -> PresenceStatus {
        match string(&self.value, "status") {
            Some("online" | "active" | "typing") => PresenceStatus::Online,
            Some("away" | "idle") => PresenceStatus::Away,
            _ => PresenceStatus::Offline,
        }
    }

    fn last_seen(&self) -> Option<Timestamp> {
        string(&self.value, "lastSeenAt").and_then(parse_time)
    }

    /// A writer may say that it heartbeats (`heartbeatSeconds`), or is seen to.
    fn heartbeats(&self) -> bool {
        self.beats >= BEATS || self.value.get("heartbeatSeconds").is_some_and(Value::is_number)
    }

    /// The row for readers.
    pub(crate) fn row(&self, key: &str) -> PresenceRow {
        let named = string(&self.value, "actorId").or_else(|| string(&self.value, "userId"));
        let device = string(&self.value, "deviceId");
        let (actor_id, device_id) = match (named, device) {
            (Some(actor), Some(device)) => (actor, device),
            // Only where the fields are missing the key is read.
            (Some(actor), None) => {
                let rest = key.strip_prefix(actor).and_then(|rest| rest.strip_prefix(':'));
                (actor, rest.unwrap_or_default())
            }
            (None, Some(device)) => {
                (key.strip_suffix(device).and_then(|k| k.strip_suffix(':')).unwrap_or(key), device)
            }
            (None, None) => key.rsplit_once(':').unwrap_or((key, "")),
        };
        PresenceRow {
            key: key.to_owned(),
            actor_id: actor_id.to_owned(),
            device_id: device_id.to_owned(),
            actor_type: string(&self.value, "actorType").unwrap_or("user").to_owned(),
            name: string(&self.value, "name")
                .or_else(|| string(&self.value, "userName"))
                .map(str::to_owned),
            status: self.status(),
            last_seen_at: string(&self.value, "lastSeenAt").map(str::to_owned),
            heartbeats: self.heartbeats(),
        }
    }

    /// The status at `now`: a writer that heartbeats and falls silent is gone.
    fn status_at(&self, now: Timestamp) -> PresenceStatus {
        let status = self.status();
        if status == PresenceStatus::Online
            && self.heartbeats()
            && self
                .last_seen()
                .is_some_and(|seen| now.as_second() - seen.as_second() >= SILENCE_SECONDS)
        {
            return PresenceStatus::Offline;
        }
        status
    }
}

/// Actors with all their devices at `now`, in the order of their keys.
pub(crate) fn everyone(devices: &BTreeMap<String, Device>, now: Timestamp) -> Vec<Presence> {
    let mut actors: Vec<Presence> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (key, device) in devices {
        let row = device.row(key);
        let status = device.status_at(now);
        let at = *places.entry(row.actor_id.clone()).or_insert_with(|| {
            actors.push(Presence {
                actor_id: row.actor_id.clone(),
                actor_type: row.actor_type.clone(),
                name: None,
                device_ids: Vec::new(),
                device_count: 0,
                status: PresenceStatus::Offline,
                last_seen_at: None,
            });
            actors.len() - 1
        });
        let actor = &mut actors[at];
        // Type and name are those of the first device that is online.
        let better = status > actor.status;
        if better {
            actor.status = status;
            actor.actor_type = row.actor_type;
        }
        if row.name.is_some() && (actor.name.is_none() || better) {
            actor.name = row.name;
        }
        if status == PresenceStatus::Online {
            actor.device_ids.push(row.device_id);
            actor.device_count += 1;
        }
        if row.last_seen_at > actor.last_seen_at {
            actor.last_seen_at = row.last_seen_at;
        }
    }
    actors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        parse_time(text).expect("a time")
    }

    #[test]
    fn a_writer_that_heartbeats_and_falls_silent_is_gone() {
        let mut device = Device::default();
        for second in ["00", "30"] {
            device.merge(&format!(
                r#"{{"actorId":"a","deviceId":"d","status":"online","heartbeatSeconds":30,"lastSeenAt":"2026-01-01T10:00:{second}Z"}}"#
            ));
        }
        assert_eq!(device.status_at(at("2026-01-01T10:01:59Z")), PresenceStatus::Online);
        assert_eq!(device.status_at(at("2026-01-01T10:02:00Z")), PresenceStatus::Offline);
    }

    #[test]
    fn a_writer_that_never_repeats_itself_stays() {
        let mut device = Device::default();
        device.merge(r#"{"actorId":"a","status":"online","lastSeenAt":"2026-01-01T10:00:00Z"}"#);
        assert_eq!(device.status_at(at("2026-01-02T10:00:00Z")), PresenceStatus::Online);
    }

    #[test]
    fn a_key_is_read_only_where_fields_are_missing() {
        let mut device = Device::default();
        device.merge(r#"{"status":"online"}"#);
        let row = device.row("org:alice:d1");
        assert_eq!((row.actor_id.as_str(), row.device_id.as_str()), ("org:alice", "d1"));
        device.merge(r#"{"actorId":"org:alice"}"#);
        let row = device.row("org:alice");
        assert_eq!((row.actor_id.as_str(), row.device_id.as_str()), ("org:alice", ""));
    }
}
