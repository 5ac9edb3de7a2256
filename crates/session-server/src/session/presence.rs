//! Who is here: logins, heartbeats, logouts, and the absence of those who crashed.
//!
//! A client that heartbeats says so with `heartbeatSeconds`, or is seen to. When it then falls silent for three beats
//! the server writes `offline` for it. A client that never repeats itself is believed until it logs out: upstream's
//! clients do not heartbeat, and hiding a person who is there would be worse.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Number, Value, json};

use super::Session;
use crate::{event, store::Op};

/// Silence of this many beats means absence; readers count the same.
const BEATS: f64 = 3.0;
/// After the server was away, clients get this many beats to come back.
const GRACE_BEATS: f64 = 1.5;
/// A login of a device that is online, so many seconds after the last one, looks like a heartbeat.
const LIKE_A_BEAT: std::ops::RangeInclusive<f64> = 5.0..=60.0;
/// So many in a row are one.
const REPEATS: u32 = 2;
/// The beat of a client that does not say how often it comes.
const USUAL_BEAT: u32 = 30;

/// What is known of absences beyond the rows themselves.
#[derive(Default)]
pub(super) struct Attendance {
    /// Logins in a row that looked like heartbeats, by row key.
    repeats: HashMap<String, u32>,
    /// When the session was opened, while that matters for who may still come back.
    opened: Option<Timestamp>,
    /// What the database was told last.
    noted: Option<bool>,
    /// When the next silent device is gone.
    next: Option<Timestamp>,
}

impl Session {
    /// Says that an actor is here with a device, or still is. `heartbeat`: it says so again after
    /// this many seconds.
    pub(crate) fn log_in(
        &mut self,
        actor_id: &str,
        device_id: &str,
        name: Option<&str>,
        heartbeat: Option<&Number>,
    ) {
        let key = format!("{actor_id}:{device_id}");
        let repeats = self.attendance.repeats.entry(key.clone()).or_default();
        let gap = self.ledger.presence().get(&key).filter(|row| is_online(row)).and_then(|row| {
            let gap = Timestamp::now().duration_since(last_seen(row)?);
            Some(gap.as_secs_f64())
        });
        *repeats = if gap.is_some_and(|gap| LIKE_A_BEAT.contains(&gap)) { *repeats + 1 } else { 0 };
        let usual = (*repeats >= REPEATS).then(|| Number::from(USUAL_BEAT));
        let heartbeat = heartbeat.or(usual.as_ref());
        self.put_presence(actor_id, device_id, name, "online", heartbeat, &event::now());
        self.expect_absence();
    }

    /// Says that an actor left with one device, or with all of them. Gives the number of devices.
    pub(crate) fn log_out(&mut self, actor_id: &str, device_id: Option<&str>) -> usize {
        let devices: Vec<String> = match device_id {
            Some(device) => vec![device.to_owned()],
            None => self
                .ledger
                .presence()
                .values()
                .filter(|row| {
                    row.get("actorId").and_then(Value::as_str) == Some(actor_id)
                        && row.get("status").and_then(Value::as_str) != Some("offline")
                })
                .filter_map(|row| Some(row.get("deviceId")?.as_str()?.to_owned()))
                .collect(),
        };
        for device in &devices {
            self.put_presence(actor_id, device, None, "offline", None, &event::now());
            self.attendance.repeats.remove(&format!("{actor_id}:{device}"));
        }
        self.expect_absence();
        devices.len()
    }

    /// How long until a device that fell silent is gone; `None` when nobody here heartbeats.
    pub(crate) fn absence_in(&self) -> Option<Duration> {
        let left = self.attendance.next?.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Writes `offline` for the devices that fell silent.
    pub(crate) fn expire(&mut self) {
        let now = Timestamp::now();
        let gone: Vec<(String, String, String)> = self
            .ledger
            .presence()
            .values()
            .filter(|row| self.gone_at(row).is_some_and(|at| at <= now))
            .filter_map(|row| {
                let text = |field: &str| Some(row.get(field)?.as_str()?.to_owned());
                Some((text("actorId")?, text("deviceId")?, text("lastSeenAt")?))
            })
            .collect();
        for (actor, device, last_seen) in gone {
            self.put_presence(&actor, &device, None, "offline", None, &last_seen);
            self.attendance.repeats.remove(&format!("{actor}:{device}"));
        }
        self.expect_absence();
    }

    /// After opening: devices may come back for a while before they are missed.
    pub(super) fn open_attendance(&mut self) {
        self.attendance.opened = Some(Timestamp::now());
        self.expect_absence();
    }

    /// Looks who is expected to be heard of again, and lets the database know whether anybody is, so that a server
    /// that starts again misses them too.
    pub(super) fn expect_absence(&mut self) {
        self.attendance.next =
            self.ledger.presence().values().filter_map(|row| self.gone_at(row)).min();
        let attended = self.attendance.next.is_some();
        let noted = self.attendance.noted.replace(attended);
        if noted != Some(attended) && (attended || noted.is_some()) {
            let session_id = self.id.clone();
            self.batch.before.push(Op::Attend { session_id, attended });
        }
    }

    /// When a device is gone unless it is heard of; `None` for those that are offline or do not heartbeat.
    fn gone_at(&self, row: &Value) -> Option<Timestamp> {
        let beat = row.get("heartbeatSeconds").and_then(Value::as_f64);
        let beat = beat.filter(|beat| (0.1..=3600.0).contains(beat))?;
        let named =
            ["actorId", "deviceId"].iter().all(|f| row.get(f).is_some_and(Value::is_string));
        if !named || !is_online(row) {
            return None; // written by somebody else, who must say when it ends
        }
        let after = |from: Timestamp, beats: f64| from + Duration::from_secs_f64(beat * beats);
        let seen = last_seen(row)?;
        let silent = after(seen, BEATS);
        Some(self.attendance.opened.map_or(silent, |at| silent.max(after(at, GRACE_BEATS))))
    }

    /// Deletes everybody's rows.
    pub(super) fn forget_presence(&mut self) {
        let keys: Vec<String> = self.ledger.presence().keys().cloned().collect();
        for key in keys {
            self.push(event::delete("presence", &key));
        }
        self.expect_absence();
    }

    fn put_presence(
        &mut self,
        actor_id: &str,
        device_id: &str,
        name: Option<&str>,
        status: &str,
        heartbeat: Option<&Number>,
        last_seen_at: &str,
    ) {
        let key = format!("{actor_id}:{device_id}");
        let known = self.ledger.presence().get(&key);
        let known = |field| known.and_then(|row| row.get(field));
        // Complete rows: readers that replace would lose the name of somebody who leaves.
        let name = name.or_else(|| known("name")?.as_str()).map(str::to_owned);
        // Readers that merge would go on waiting for the heartbeat of an earlier login.
        let stale = known("heartbeatSeconds").is_some();
        let mut row = json!({
            "actorId": actor_id, "deviceId": device_id, "actorType": "user", "status": status,
            "lastSeenAt": last_seen_at,
        });
        if let Some(name) = name {
            row["name"] = name.into();
        }
        if heartbeat.is_some() || stale {
            row["heartbeatSeconds"] = json!(heartbeat);
        }
        self.push(event::upsert("presence", &key, &row));
    }
}

fn is_online(row: &Value) -> bool {
    row.get("status").and_then(Value::as_str) == Some("online")
}

fn last_seen(row: &Value) -> Option<Timestamp> {
    row.get("lastSeenAt")?.as_str()?.parse().ok()
}
