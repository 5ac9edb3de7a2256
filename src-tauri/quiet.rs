//! Hours in which nobody is disturbed.

use serde::{Deserialize, Serialize};
use std::time::Duration;

const DAY: u32 = 24 * 60;

/// Hours in which no notification is shown, by this computer's clock. Where the end is before the
/// beginning it is the next day's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[ts(export)]
pub(crate) struct QuietHours {
    /// When they begin, `HH:MM`.
    pub from: String,
    /// When they end, `HH:MM`.
    pub until: String,
}

impl QuietHours {
    /// Whether both are times of a day.
    pub(crate) fn is_valid(&self) -> bool {
        minute(&self.from).is_some() && minute(&self.until).is_some()
    }

    /// Time until they end, when it is `now` minutes after midnight; `None` outside them.
    pub(crate) fn left(&self, now: u32) -> Option<Duration> {
        let (from, until) = (minute(&self.from)?, minute(&self.until)?);
        let since = (now + DAY - from) % DAY;
        let length = (until + DAY - from) % DAY;
        (since < length).then(|| Duration::from_secs(60 * u64::from(length - since)))
    }
}

/// Minutes since midnight of this computer's clock.
pub(crate) fn now() -> u32 {
    let now = jiff::Zoned::now();
    u32::from(now.hour().unsigned_abs()) * 60 + u32::from(now.minute().unsigned_abs())
}

fn minute(time: &str) -> Option<u32> {
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_may_go_over_midnight() {
        let hours = |from: &str, until: &str| QuietHours { from: from.into(), until: until.into() };
        let minutes = |left: Option<Duration>| left.map(|left| left.as_secs() / 60);
        let night = hours("22:00", "07:30");
        for (now, left) in [
            (21 * 60 + 59, None),
            (22 * 60, Some(570)),
            (0, Some(450)),
            (449, Some(1)),
            (450, None),
        ] {
            assert_eq!(minutes(night.left(now)), left, "{now}");
        }
        let noon = hours("12:00", "13:00");
        assert_eq!(minutes(noon.left(12 * 60 + 15)), Some(45));
        assert_eq!(noon.left(13 * 60), None);
        assert_eq!(hours("8:00", "8:00").left(8 * 60), None, "no time at all");
        for bad in ["", "24:00", "7", "07:60", "-1:00"] {
            assert!(!hours(bad, "07:00").is_valid(), "{bad}");
        }
    }
}
