//! Who is here: logins, heartbeats, logouts, and the absence of those who crashed.
//!
//! A login that says `heartbeatSeconds` promises another one in time; after three silent beats the server writes
//! `offline` for the device. Upstream's clients promise nothing and log in once: such a device is there as long as its
//! actor gives a sign of life, by following the stream or by doing something, and gone when there was none for
//! [`ServerConfig::silence`](crate::ServerConfig::silence). Whoever was taken for gone and does something is back.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Number, Value, json};

use super::Session;
use crate::{event, store::Op};

/// Silence of this many beats means absence; readers count the same.
const BEATS: f64 = 3.0;
/// After the server was away, clients get this many beats to come back.
const GRACE_BEATS: f64 = 1.5;
/// Signs that are remembered; beyond it old ones are forgotten.
const REMEMBERED: usize = 10_000;

/// When actors last gave a sign of life that is in no stream, by session and actor.
#[derive(Default)]
pub(crate) struct Signs(Mutex<HashMap<(String, String), Timestamp>>);

impl Signs {
    /// The actor follows the session's stream, or did something in it.
    pub(crate) fn note(&self, session_id: &str, actor_id: &str) {
        let mut signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        if signs.len() >= REMEMBERED {
            let old = now - Duration::from_secs(600);
            signs.retain(|_, at| *at > old);
        }
        signs.insert((session_id.to_owned(), actor_id.to_owned()), now);
    }

    fn last(&self, session_id: &str, actor_id: &str) -> Option<Timestamp> {
        let signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signs.get(&(session_id.to_owned(), actor_id.to_owned())).copied()
    }
}

/// What somebody is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called<'a> {
    /// The name that is shown: a token's, or, under the owner, who may act for anybody, the one that is given.
    pub(crate) name: Option<&'a str>,
    /// Another name that the holder of a token gives himself.
    pub(crate) claimed: Option<&'a str>,
}

/// What is known of absences beyond the rows themselves.
#[derive(Default)]
pub(super) struct Attendance {
    /// The device that was taken for gone last, by actor.
    gone: HashMap<String, String>,
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
        called: Called<'_>,
        heartbeat: Option<&Number>,
    ) {
        self.attendance.gone.remove(actor_id);
        self.put_presence(actor_id, device_id, Some(called), "online", heartbeat, &event::now());
        self.expect_absence();
    }

    /// Says that an actor left with one device, or with all of them. Gives the number of devices.
    pub(crate) fn log_out(&mut self, actor_id: &str, device_id: Option<&str>) -> usize {
        let is_online = |row: &&Value| row.get("status").and_then(Value::as_str) != Some("offline");
        let known = |row: &&Value| match device_id {
            Some(device) => row.get("deviceId").and_then(Value::as_str) == Some(device),
            None => is_online(row),
        };
        let rows = self.ledger.presence().values();
        let rows = rows.filter(|row| {
            row.get("actorId").and_then(Value::as_str) == Some(actor_id) && known(row)
        });
        let (mut count, mut devices) = (0, Vec::new());
        for row in rows {
            count += 1;
            let device = row.get("deviceId").and_then(Value::as_str).map(str::to_owned);
            devices.extend(device.filter(|_| is_online(&row))); // a repeated logout says nothing new
        }
        for device in &devices {
            self.put_presence(actor_id, device, None, "offline", None, &event::now());
        }
        self.attendance.gone.remove(actor_id);
        self.expect_absence();
        count
    }

    /// The actor does something here: a device of his that was taken for gone is back.
    pub(super) fn sign_of_life(&mut self, actor_id: &str) {
        self.shared.signs.note(&self.id, actor_id);
        if let Some(device) = self.attendance.gone.remove(actor_id) {
            self.put_presence(actor_id, &device, None, "online", None, &event::now());
            self.expect_absence();
        }
    }

    /// How long until a device that fell silent is gone; `None` when nobody is here.
    pub(super) fn absence_in(&self) -> Option<Duration> {
        let next = self.attendance.next.filter(|_| !self.is_closing)?;
        let left = next.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Writes `offline` for the devices that fell silent.
    pub(super) fn expire(&mut self) {
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
            self.attendance.gone.insert(actor, device);
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

    /// When a device is gone unless it is heard of; `None` for those that are offline.
    fn gone_at(&self, row: &Value) -> Option<Timestamp> {
        let text = |field: &str| row.get(field)?.as_str();
        let (actor, _device) = (text("actorId")?, text("deviceId")?);
        if !is_online(row) {
            return None; // written by somebody else, who must say when it ends
        }
        let mut seen = last_seen(row)?;
        let beat = row.get("heartbeatSeconds").and_then(Value::as_f64);
        let (silence, grace) = match beat.filter(|beat| (0.1..=3600.0).contains(beat)) {
            Some(beat) => (beat * BEATS, beat * GRACE_BEATS),
            None => {
                seen = self.shared.signs.last(&self.id, actor).map_or(seen, |at| at.max(seen));
                let silence = self.shared.silence.as_secs_f64();
                (silence, silence)
            }
        };
        let after = |from: Timestamp, seconds: f64| from + Duration::from_secs_f64(seconds);
        let silent = after(seen, silence);
        Some(self.attendance.opened.map_or(silent, |at| silent.max(after(at, grace))))
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
        called: Option<Called<'_>>,
        status: &str,
        heartbeat: Option<&Number>,
        last_seen_at: &str,
    ) {
        let key = format!("{actor_id}:{device_id}");
        let known = self.ledger.presence().get(&key);
        let known = |field| known.and_then(|row| row.get(field));
        // Complete rows: readers that replace would lose the name of somebody who leaves.
        let text = |field| known(field).and_then(Value::as_str);
        let name = called.and_then(|called| called.name).or_else(|| text("name"));
        let name = name.map(str::to_owned);
        let claimed = called.map_or_else(|| text("claimedName"), |called| called.claimed);
        // A claim of an earlier login would stay where readers merge.
        let unclaimed = claimed.is_none() && known("claimedName").is_some();
        let claimed = claimed.map(str::to_owned);
        // Readers that merge would go on waiting for the heartbeat of an earlier login.
        let stale = known("heartbeatSeconds").is_some();
        let mut row = json!({
            "actorId": actor_id, "deviceId": device_id, "actorType": "user", "status": status,
            "lastSeenAt": last_seen_at,
        });
        if let Some(name) = name {
            row["name"] = name.into();
        }
        if claimed.is_some() || unclaimed {
            row["claimedName"] = claimed.into();
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
