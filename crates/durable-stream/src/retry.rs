//! How often and how long to wait between attempts.

use std::time::{Duration, SystemTime};

use crate::error::Error;

/// Waits between attempts: they grow by a factor, are jittered, and `Retry-After` is a floor.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use durable_stream::RetryPolicy;
///
/// let policy = RetryPolicy::new(Some(5), Duration::from_millis(100), Duration::from_secs(10), 2.0)?;
/// assert!(RetryPolicy::new(None, Duration::ZERO, Duration::from_secs(1), 2.0).is_err());
/// # let _ = policy;
/// # Ok::<(), durable_stream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    max_retries: Option<u32>,
    initial: Duration,
    max: Duration,
    multiplier: f64,
}

impl RetryPolicy {
    /// A policy of at most `max_retries` retries (`None`: without end), whose first wait is up to `initial` and
    /// whose later ones grow by `multiplier` up to `max`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if `initial` is zero, `max` is less than `initial`, or `multiplier` is less than 1
    /// or not a number.
    pub fn new(
        max_retries: Option<u32>,
        initial: Duration,
        max: Duration,
        multiplier: f64,
    ) -> Result<Self, Error> {
        let invalid = |reason| Err(Error::InvalidInput { what: "retry policy", reason });
        if initial.is_zero() {
            return invalid("the initial delay must be greater than zero");
        }
        if max < initial {
            return invalid("the greatest delay must not be less than the initial one");
        }
        if !multiplier.is_finite() || multiplier < 1.0 {
            return invalid("the multiplier must be at least 1");
        }
        Ok(Self { max_retries, initial, max, multiplier })
    }

    /// No retries.
    #[must_use]
    pub fn none() -> Self {
        Self { max_retries: Some(0), ..Self::requests() }
    }

    /// The default for single requests: 6 retries from 100 ms to 10 s.
    #[must_use]
    pub fn requests() -> Self {
        Self {
            max_retries: Some(6),
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            multiplier: 2.0,
        }
    }

    /// The default for following a stream: without end, from 100 ms to 30 s.
    #[must_use]
    pub fn forever() -> Self {
        Self { max_retries: None, max: Duration::from_secs(30), ..Self::requests() }
    }

    /// The wait before retry number `attempt` (from 0), or `None` when there are to be no more.
    pub(crate) fn delay(&self, attempt: u32, floor: Option<Duration>) -> Option<Duration> {
        if self.max_retries.is_some_and(|max| attempt >= max) {
            return None;
        }
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let grown = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        let ceiling = grown.min(self.max.as_secs_f64());
        // Between half and all of it: clients that lost a server together do not come back together.
        let jittered = Duration::from_secs_f64(ceiling * (0.5 + rand::random::<f64>() / 2.0));
        Some(jittered.max(floor.unwrap_or(Duration::ZERO)))
    }
}

/// An HTTP date in its one current form, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
pub(crate) fn parse_http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-01-01 of the proleptic Gregorian calendar, years counted from March.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_between_half_and_all_of_the_ceiling() {
        let policy =
            RetryPolicy::new(None, Duration::from_millis(100), Duration::from_secs(1), 2.0)
                .unwrap();
        for (attempt, ceiling) in
            [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (u32::MAX, 1000)]
        {
            let delay = policy.delay(attempt, None).unwrap().as_millis();
            assert!((ceiling / 2..=ceiling).contains(&delay), "attempt {attempt}: {delay} ms");
        }
    }

    #[test]
    fn retry_after_is_a_floor() {
        let policy = RetryPolicy::requests();
        let floor = Duration::from_secs(20);
        assert_eq!(policy.delay(0, Some(floor)), Some(floor));
        assert!(policy.delay(6, Some(floor)).is_none());
    }

    #[test]
    fn reads_http_dates() {
        let seconds = |text| {
            parse_http_date(text)
                .map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        };
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), None);
        assert_eq!(seconds("soon"), None);
    }
}
