//! How long to wait before the next attempt.

use std::time::Duration;

use rand::RngExt;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// The wait after `attempts` failures, doubled each time and spread over its upper half, so that
/// many clients do not come back at the same moment.
pub(super) fn wait(attempts: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST);
    let spread = rand::rng().random_range(0.5..1.0);
    doubled.mul_f64(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute() {
        for attempts in 1..40 {
            let wait = wait(attempts);
            assert!(wait >= FIRST / 2 && wait <= LONGEST);
        }
        assert!(wait(20) >= LONGEST / 2);
    }
}
