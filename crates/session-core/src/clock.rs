//! The one place that reads the clock; everything else is given the time.

use jiff::Timestamp;

/// Now, as the engine stamps its own rows.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now as RFC 3339 in UTC with milliseconds, the form used on the wire.
pub(crate) fn now_text() -> String {
    format!("{:.3}", now())
}
