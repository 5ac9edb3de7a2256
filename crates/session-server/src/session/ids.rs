//! Ids of a session's messages and runs: drawn from its seed, so that the same inputs have the same effects.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Builder;

use super::Moment;

/// The source of a session's ids. A seed is used for one opening only.
pub(super) struct Ids(StdRng);

impl Ids {
    pub(super) fn of(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// Draws the id of a message: a UUID of version 4.
    pub(super) fn message(&mut self) -> String {
        Builder::from_random_bytes(self.0.random()).into_uuid().to_string()
    }

    /// Draws the id of a run that is planned now: a UUID of version 7, so that runs sort by their times.
    pub(super) fn run(&mut self, now: Moment) -> String {
        let millis = u64::try_from(now.time.as_millisecond()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &self.0.random()).into_uuid().to_string()
    }
}
