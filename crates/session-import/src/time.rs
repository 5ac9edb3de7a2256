//! Times in all the forms that exports write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A time: seconds, milliseconds or microseconds by size, text of a number, ISO 8601 with a zone or (as UTC) without, or
/// what MongoDB's JSON makes of a date. Zero, null and nonsense are `None`.
pub(crate) fn of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => number.as_f64().and_then(number_of),
        Value::String(text) => text_of(text),
        Value::Object(fields) => {
            let date = fields.get("$date").or_else(|| fields.get("$numberLong"))?;
            match date {
                Value::Object(inner) => inner.get("$numberLong").and_then(millis),
                Value::Number(_) => millis(date),
                other => of(other),
            }
        }
        _ => None,
    }
}

/// A field's time.
pub(crate) fn at(value: &Value, field: &str) -> Option<Timestamp> {
    value.get(field).and_then(of)
}

fn millis(value: &Value) -> Option<Timestamp> {
    let millis = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_i64()?,
    };
    Timestamp::from_millisecond(millis).ok().filter(|at| !at.is_zero())
}

fn number_of(number: f64) -> Option<Timestamp> {
    let seconds = if number > 1e14 {
        number / 1e6
    } else if number > 1e11 {
        number / 1e3
    } else {
        number
    };
    if !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    // To the microsecond: a float holds no more of a time of today.
    #[expect(clippy::cast_possible_truncation, reason = "whatever is too large is no time")]
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
}

fn text_of(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number_of(number);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at).filter(|at| !at.is_zero());
    }
    let text = text.trim_end_matches(" UTC");
    text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A time without a zone, of a program that writes local time.
pub(crate) fn local(text: &str) -> Option<Timestamp> {
    let date: DateTime = text.trim().parse().ok()?;
    date.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp())
}

/// A moment later, for what has no time of its own.
pub(crate) fn just_after(at: Timestamp) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(1)).unwrap_or(at)
}

/// The time as text, with a fraction of three, six or nine digits where there is one: not every reader takes others.
pub(crate) fn text_of_time(at: Timestamp) -> String {
    let digits = match at.subsec_nanosecond() {
        0 => return at.to_string(),
        nanos if nanos % 1_000_000 == 0 => "%.3f",
        nanos if nanos % 1_000 == 0 => "%.6f",
        _ => "%.9f",
    };
    at.strftime(&format!("%Y-%m-%dT%H:%M:%S{digits}Z")).to_string()
}

/// The time without its fraction of a second.
pub(crate) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fraction_is_written_in_groups_of_three_digits() {
        for text in
            ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00.500Z", "2026-03-01T10:00:00.123456Z"]
        {
            assert_eq!(text_of_time(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn a_time_is_read_in_every_form() {
        let want: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        for form in [
            json!(1_772_359_200),
            json!(1_772_359_200.0),
            json!(1_772_359_200_000_i64),
            json!(1_772_359_200_000_000_i64),
            json!("1772359200000"),
            json!("2026-03-01T10:00:00Z"),
            json!("2026-03-01T12:00:00+02:00"),
            json!("2026-03-01T10:00:00"),
            json!("2026-03-01 10:00:00"),
            json!({"$date": {"$numberLong": "1772359200000"}}),
            json!({"$date": 1_772_359_200_000_i64}),
            json!({"$date": "2026-03-01T10:00:00Z"}),
        ] {
            assert_eq!(of(&form), Some(want), "{form}");
        }
        for none in [json!(0), json!(null), json!(""), json!("soon"), json!(-5), json!(1e300)] {
            assert_eq!(of(&none), None, "{none}");
        }
    }
}
