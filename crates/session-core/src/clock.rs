//! The wall clock, as rows are stamped by it and people read it. Waits and pauses are measured by
//! `tokio::time::Instant`, wherever they are.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The present time, as the engine stamps its own rows.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The present time as RFC 3339 in UTC with milliseconds, the form used on the wire.
pub(crate) fn now_text() -> String {
    format!("{:.3}", now())
}

/// The time of day here of an instant on the wire, as hours and minutes.
pub(crate) fn time_of_day(at: &str) -> Option<String> {
    let at: Timestamp = at.parse().ok()?;
    Some(at.to_zoned(TimeZone::system()).strftime("%H:%M").to_string())
}
