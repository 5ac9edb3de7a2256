//! Number and length of the waits between attempts.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

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
    /// A policy of at most `max_retries` retries (`None`: without end), whose first wait is up to
    /// `initial` and whose later ones grow by `multiplier` up to `max`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if `initial` is zero, `max` is less than `initial`, or `multiplier`
    /// is less than 1 or not a number.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use durable_stream::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new(Some(5), Duration::from_millis(100), Duration::from_secs(10), 1.5)?;
    /// # let _ = policy;
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(durable_stream::RetryPolicy::none().delay(0, None), None);
    /// ```
    #[must_use]
    pub fn none() -> Self {
        Self { max_retries: Some(0), ..Self::requests() }
    }

    /// The default for single requests: 6 retries from 100 ms to 10 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::RetryPolicy;
    ///
    /// assert!(RetryPolicy::requests().delay(5, None).is_some());
    /// assert!(RetryPolicy::requests().delay(6, None).is_none());
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use durable_stream::RetryPolicy;
    ///
    /// let wait = RetryPolicy::forever().delay(1_000_000, None).unwrap();
    /// assert!((Duration::from_secs(15)..=Duration::from_secs(30)).contains(&wait));
    /// ```
    #[must_use]
    pub fn forever() -> Self {
        Self { max_retries: None, max: Duration::from_secs(30), ..Self::requests() }
    }

    /// A policy without end whose waits double, from up to `initial` to up to `max`.
    ///
    /// # Panics
    ///
    /// If `initial` is zero or `max` is less than `initial`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use durable_stream::RetryPolicy;
    ///
    /// const RECOVERY: RetryPolicy =
    ///     RetryPolicy::doubling(Duration::from_millis(500), Duration::from_secs(3));
    /// assert!(RECOVERY.delay(9, None) <= Some(Duration::from_secs(3)));
    /// ```
    #[must_use]
    pub const fn doubling(initial: Duration, max: Duration) -> Self {
        assert!(!initial.is_zero(), "the initial delay must be greater than zero");
        assert!(max.as_nanos() >= initial.as_nanos(), "the greatest delay is the smaller one");
        Self { max_retries: None, initial, max, multiplier: 2.0 }
    }

    /// The wait before retry number `attempt` (from 0), or `None` when there are to be no more.
    /// `floor` is the least wait, such as what [`retry_after`] reads.
    ///
    /// The wait is a random one between half and all of what the policy has grown to, so that
    /// clients that lost a server together do not come back together.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use durable_stream::RetryPolicy;
    ///
    /// let policy = RetryPolicy::requests();
    /// let wait = policy.delay(1, None).unwrap();
    /// assert!((100..=200).contains(&wait.as_millis()));
    /// let floor = Duration::from_secs(20);
    /// assert_eq!(policy.delay(1, Some(floor)), Some(floor));
    /// assert_eq!(policy.delay(6, None), None, "six retries and no more");
    /// ```
    #[must_use]
    pub fn delay(&self, attempt: u32, floor: Option<Duration>) -> Option<Duration> {
        if self.max_retries.is_some_and(|max| attempt >= max) {
            return None;
        }
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let grown = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        let ceiling = grown.min(self.max.as_secs_f64());
        let jittered = Duration::from_secs_f64(ceiling * (0.5 + rand::random::<f64>() / 2.0));
        Some(jittered.max(floor.unwrap_or(Duration::ZERO)))
    }
}

/// The wait that an answer asks for by `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). A
/// date in the past is no wait; what cannot be read is none asked for.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(durable_stream::retry_after(&headers), None);
/// headers.insert(RETRY_AFTER, HeaderValue::from_static("120"));
/// assert_eq!(durable_stream::retry_after(&headers), Some(Duration::from_secs(120)));
/// headers.insert(RETRY_AFTER, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
/// assert_eq!(durable_stream::retry_after(&headers), Some(Duration::ZERO));
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            Some(at.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

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
    fn a_wait_is_asked_for_in_seconds_or_by_a_date_in_any_form() {
        let wait = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait(" 7 "), Some(Duration::from_secs(7)));
        let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
        let left = wait(&httpdate::fmt_http_date(in_an_hour)).unwrap();
        assert!((3590..=3600).contains(&left.as_secs()), "{left:?}");
        for past in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(wait(past), Some(Duration::ZERO), "{past}");
        }
        for text in ["", "soon", "-1", "1.5", "Sun, 06 Nov 1994 08:49:37 CET"] {
            assert_eq!(wait(text), None, "{text}");
        }
        // A date of another century is a long wait, not a panic.
        assert!(wait("Fri, 31 Dec 9999 23:59:59 GMT").is_some());
        assert!(wait(&u64::MAX.to_string()).is_some());
    }

    #[test]
    fn a_doubling_policy_has_no_end() {
        const POLICY: RetryPolicy =
            RetryPolicy::doubling(Duration::from_millis(500), Duration::from_secs(60));
        assert_eq!(
            RetryPolicy::new(None, Duration::from_millis(500), Duration::from_secs(60), 2.0).ok(),
            Some(POLICY)
        );
        assert!(POLICY.delay(1_000_000, None) >= Some(Duration::from_secs(30)));
    }
}
