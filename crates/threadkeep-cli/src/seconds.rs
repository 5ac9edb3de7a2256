//! A length of time on the command line.

use std::fmt;
use std::num::ParseFloatError;
use std::str::FromStr;
use std::time::Duration;

/// Seconds, with or without a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// The text is no length of time.
#[derive(Debug)]
pub(crate) struct NoTime;

impl fmt::Display for NoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give a number of seconds above 0, such as 30 or 0.5")
    }
}

impl std::error::Error for NoTime {}

impl From<ParseFloatError> for NoTime {
    fn from(_: ParseFloatError) -> Self {
        Self
    }
}

impl FromStr for Seconds {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let time = Duration::try_from_secs_f64(text.parse()?).map_err(|_| NoTime)?;
        if time.is_zero() { Err(NoTime) } else { Ok(Self(time)) }
    }
}
