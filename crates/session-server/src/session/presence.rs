//! Who is here: logins, heartbeats, logouts, and the absence of those who crashed.
//!
//! A login that says `heartbeatSeconds` promises another one in time; after three silent beats the server writes
//! `offline` for the device. Upstream's clients promise nothing and log in once: such a device is there as long as its
//! actor gives a sign of life, by following the stream or by doing something, and gone when there was none for
//! [`ServerConfig::silence`](crate::ServerConfig::silence). Whoever was taken for gone and does something is back.
//!
//! Clocks are set, and rows that others wrote may hold any time: a row's time is looked at once, when it is read, and
//! never gives more than the silence from then on. What happens in this process is measured by the monotonic clock.
//! Each device has one deadline in an ordered set, so that a login costs the same however many devices there are.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Number, Value, json};

use super::{Called, Session};
use crate::event;
use crate::store::Op;

/// Silence of this many beats means absence; readers count the same.
const BEATS: f64 = 3.0;
/// After the server was away, clients get this many beats to come back.
const GRACE_BEATS: f64 = 1.5;
/// No silence is longer than this.
const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Devices that are written offline at once.
const GONE_AT_ONCE: usize = 1_000;

/// Knowledge of absences beyond the rows themselves.
#[derive(Default)]
pub(super) struct Attendance {
    /// The device that was taken for gone last, by actor.
    gone: HashMap<String, String>,
    /// When the session was opened: who was here before may still come back.
    opened: Option<Instant>,
    /// The answer that the database was told last.
    noted: Option<bool>,
    /// Devices that are here, by the key of their row.
    expected: HashMap<String, Expected>,
    /// When each of them is gone unless it is heard of.
    deadlines: BTreeSet<(Instant, String)>,
}

struct Expected {
    at: Instant,
    /// Hash of what its row said.
    row: u64,
}

impl Attendance {
    fn expect(&mut self, key: &str, at: Instant, row: u64) {
        self.forget(key);
        self.deadlines.insert((at, key.to_owned()));
        self.expected.insert(key.to_owned(), Expected { at, row });
    }

    fn forget(&mut self, key: &str) {
        if let Some(known) = self.expected.remove(key) {
            self.deadlines.remove(&(known.at, key.to_owned()));
        }
    }
}

/// The silence that a row of somebody who is here allows.
struct Pulse {
    silence: Duration,
    /// Time that he has after the server was away.
    grace: Duration,
    /// The rest of the silence by the row's own time.
    left: Duration,
    beats: bool,
}

impl Pulse {
    /// `None` for who is offline, and for rows of others that cannot be read: they must say when it ends.
    fn of(row: &Value, silence: Duration, now: Timestamp) -> Option<Self> {
        let text = |field: &str| row.get(field)?.as_str();
        let (Some(_), Some(_), true) = (text("actorId"), text("deviceId"), is_online(row)) else {
            return None;
        };
        let seen: Timestamp = text("lastSeenAt")?.parse().ok()?;
        let beat = row.get("heartbeatSeconds").and_then(Value::as_f64);
        let beat = beat.filter(|beat| (0.1..=3600.0).contains(beat));
        let (silence, grace) = match beat {
            Some(beat) => {
                (Duration::from_secs_f64(beat * BEATS), Duration::from_secs_f64(beat * GRACE_BEATS))
            }
            None => (silence.min(LONG), silence.min(LONG)),
        };
        // A time that is still to come was written by another clock.
        let ago = Duration::try_from(now.duration_since(seen)).unwrap_or_default();
        Some(Self { silence, grace, left: silence.saturating_sub(ago), beats: beat.is_some() })
    }
}

fn fingerprint(row: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    for field in ["actorId", "deviceId", "status", "lastSeenAt", "heartbeatSeconds"] {
        row.get(field).map(Value::to_string).hash(&mut hasher);
    }
    hasher.finish()
}

impl Session {
    /// Says that an actor is here with a device, or still is. `heartbeat`: it says so again after
    /// this many seconds.
    pub(super) fn log_in(
        &mut self,
        actor_id: &str,
        device_id: &str,
        called: &Called,
        heartbeat: Option<&Number>,
    ) {
        self.attendance.gone.remove(actor_id);
        self.put_presence(
            actor_id,
            device_id,
            Some(called),
            "online",
            heartbeat,
            &event::at(self.now.time),
        );
    }

    /// Says that an actor left with one device, or with all of them. Returns the number of devices.
    pub(super) fn log_out(&mut self, actor_id: &str, device_id: Option<&str>) -> usize {
        let is_online = |row: &Value| row.get("status").and_then(Value::as_str) != Some("offline");
        let is_his = |row: &Value| row.get("actorId").and_then(Value::as_str) == Some(actor_id);
        let device_of =
            |row: &Value| row.get("deviceId").and_then(Value::as_str).map(str::to_owned);
        let rows = self.book.presence();
        let (count, devices): (usize, Vec<String>) = match device_id {
            Some(device) => {
                let row = rows.get(&presence_key(actor_id, device)).filter(|row| is_his(row));
                // A repeated logout says nothing new.
                let left = row.filter(|row| is_online(row)).and_then(device_of);
                (usize::from(row.is_some()), left.into_iter().collect())
            }
            None => {
                let prefix = presence_key(actor_id, "");
                let rows = rows.range(prefix.clone()..);
                let his = rows.take_while(|(key, _)| key.starts_with(&prefix));
                let his = his.map(|(_, row)| row).filter(|row| is_his(row) && is_online(row));
                let devices: Vec<String> = his.filter_map(device_of).collect();
                (devices.len(), devices)
            }
        };
        for device in &devices {
            self.put_presence(actor_id, device, None, "offline", None, &event::at(self.now.time));
        }
        self.attendance.gone.remove(actor_id);
        count
    }

    /// The actor does something here: a device of his that was taken for gone is back.
    pub(super) fn sign_of_life(&mut self, actor_id: &str) {
        self.effects.sign(actor_id);
        if let Some(device) = self.attendance.gone.remove(actor_id) {
            self.put_presence(actor_id, &device, None, "online", None, &event::at(self.now.time));
        }
    }

    /// When the next device that fell silent is gone; `None` when nobody is here.
    pub(super) fn absence_at(&self) -> Option<Instant> {
        let (next, _) = self.attendance.deadlines.first().filter(|_| !self.is_closing)?;
        Some(*next)
    }

    /// The actors of devices that fell silent, some at once: whoever is one of them and was heard of elsewhere is
    /// there.
    pub(crate) fn missed(&self, now: Instant) -> Vec<String> {
        let due = self.attendance.deadlines.iter().take_while(|(at, _)| *at <= now);
        let rows = due.take(GONE_AT_ONCE).filter_map(|(_, key)| self.book.presence().get(key));
        rows.filter_map(|row| Some(row.get("actorId")?.as_str()?.to_owned())).collect()
    }

    /// Writes `offline` for the devices that fell silent, some at once, unless there are later signs of their actors.
    pub(super) fn expire(&mut self, signs: &HashMap<String, Instant>) {
        let now = self.now.clock;
        for _ in 0..GONE_AT_ONCE {
            let due = self.attendance.deadlines.first().filter(|(at, _)| *at <= now);
            let Some((_, key)) = due.cloned() else { break };
            let row = self.book.presence().get(&key);
            let Some((row, pulse)) = row.and_then(|row| Some((row, self.pulse(row)?))) else {
                self.attendance.forget(&key);
                continue;
            };
            let text = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
            let (actor, device) = (text("actorId").to_owned(), text("deviceId").to_owned());
            let sign = signs.get(&actor).filter(|_| !pulse.beats);
            if let Some(later) = sign.map(|sign| *sign + pulse.silence).filter(|later| *later > now)
            {
                self.attendance.expect(&key, later, fingerprint(row));
                continue;
            }
            let last_seen = text("lastSeenAt").to_owned();
            if key == presence_key(&actor, &device) {
                self.put_presence(&actor, &device, None, "offline", None, &last_seen);
                self.attendance.gone.insert(actor, device);
            } else {
                // Somebody else wrote it under a key of his own.
                let mut row = row.clone();
                row["status"] = "offline".into();
                self.push(event::upsert("presence", &key, &row));
                self.attendance.forget(&key);
            }
        }
        self.note_attendance();
    }

    /// After opening: devices may come back for a while before they are missed.
    pub(super) fn open_attendance(&mut self) {
        self.attendance.opened = Some(self.now.clock);
        self.expect_absences();
    }

    /// Looks at all rows, which were read from the stream, for who is expected to be heard of again.
    pub(super) fn expect_absences(&mut self) {
        let now = self.now.clock;
        let opened = self.attendance.opened.unwrap_or(now);
        let mut before = std::mem::take(&mut self.attendance.expected);
        self.attendance.deadlines.clear();
        for (key, row) in self.book.presence() {
            let Some(pulse) = Pulse::of(row, self.surroundings.silence, self.now.time) else {
                continue;
            };
            let print = fingerprint(row);
            let at = match before.remove(key).filter(|known| known.row == print) {
                Some(known) => known.at,
                None => (now + pulse.left).max(opened + pulse.grace),
            };
            self.attendance.expect(key, at, print);
        }
        self.note_attendance();
    }

    /// Expects a device to be heard of again whose row was just written.
    fn expect_absence(&mut self, key: &str) {
        let row = self.book.presence().get(key);
        match row.and_then(|row| Some((self.pulse(row)?, fingerprint(row)))) {
            Some((pulse, row)) => {
                self.attendance.expect(key, self.now.clock + pulse.silence, row);
            }
            None => self.attendance.forget(key),
        }
        self.note_attendance();
    }

    fn pulse(&self, row: &Value) -> Option<Pulse> {
        Pulse::of(row, self.surroundings.silence, self.now.time)
    }

    /// Lets the database know whether anybody is here, so that a server that starts again misses them too.
    fn note_attendance(&mut self) {
        let attended = !self.attendance.expected.is_empty();
        let noted = self.attendance.noted.replace(attended);
        if noted != Some(attended) && (attended || noted.is_some()) {
            let session_id = self.id.clone();
            self.effects.before.push(Op::Attend { session_id, attended });
        }
    }

    /// Deletes everybody's rows.
    pub(super) fn forget_presence(&mut self) {
        let keys: Vec<String> = self.book.presence().keys().cloned().collect();
        for key in keys {
            self.push(event::delete("presence", &key));
        }
        self.expect_absences();
    }

    fn put_presence(
        &mut self,
        actor_id: &str,
        device_id: &str,
        called: Option<&Called>,
        status: &str,
        heartbeat: Option<&Number>,
        last_seen_at: &str,
    ) {
        let key = presence_key(actor_id, device_id);
        let known = self.book.presence().get(&key);
        let known = |field| known.and_then(|row| row.get(field));
        // Complete rows: readers that replace would lose the name of somebody who leaves.
        let text = |field| known(field).and_then(Value::as_str);
        let name = called.and_then(|called| called.name.as_deref()).or_else(|| text("name"));
        let name = name.map(str::to_owned);
        let claimed =
            called.map_or_else(|| text("claimedName"), |called| called.claimed.as_deref());
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
        self.expect_absence(&key);
    }
}

fn presence_key(actor_id: &str, device_id: &str) -> String {
    format!("{actor_id}:{device_id}")
}

fn is_online(row: &Value) -> bool {
    row.get("status").and_then(Value::as_str) == Some("online")
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn no_row_that_somebody_writes_makes_a_silence_longer_or_breaks_anything() {
        let times = [
            json!("9999-12-30T22:00:00Z"),
            json!("-009999-01-02T01:59:59Z"),
            json!("2026-01-01T00:00:00.999999999Z"),
            json!("1970-01-01T00:00:00Z"),
            json!("now"),
            json!(253402207200_u64),
            json!(null),
        ];
        let beats = [
            json!(0.1),
            json!(3600),
            json!(1e308),
            json!(-1e308),
            json!(0),
            json!(u64::MAX),
            json!(i64::MIN),
            json!("30"),
            json!(null),
        ];
        let silences = [Duration::ZERO, Duration::from_secs(90), Duration::MAX];
        for seed in 0..2_000 {
            let mut random = StdRng::seed_from_u64(seed);
            let status = ["online", "offline", "gone"].choose(&mut random).unwrap();
            let mut row = json!({"actorId": "a", "deviceId": "d", "status": status});
            row["lastSeenAt"] = times.choose(&mut random).unwrap().clone();
            row["heartbeatSeconds"] = beats.choose(&mut random).unwrap().clone();
            if random.random_range(0..10) == 0 {
                row["deviceId"] = json!(random.random_range(-1e9..1e9));
            }
            let silence = *silences.choose(&mut random).unwrap();
            if let Some(pulse) = Pulse::of(&row, silence, Timestamp::now()) {
                assert!(pulse.left <= pulse.silence && pulse.grace <= pulse.silence, "seed {seed}");
                // It has a place on the clock.
                std::hint::black_box(Instant::now() + pulse.silence);
            }
            fingerprint(&row);
        }
    }
}
