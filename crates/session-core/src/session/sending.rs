//! Sending a session's outbox.

use std::time::Duration;

use tokio::time::Instant;

use crate::outbox::Outbox;

/// Time that a server that refused the token is not asked again, unless something changes.
const ASK_REFUSED: Duration = Duration::from_secs(60);

/// The sending side of a session.
pub(super) struct Sending {
    pub(super) outbox: Outbox,
    /// The server refused the token: nothing is sent until then, unless something changes.
    refused_until: Option<Instant>,
}

impl Sending {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self { outbox, refused_until: None }
    }

    /// Takes note that the server refused the token.
    pub(super) fn refused(&mut self, now: Instant) {
        self.refused_until = Some(now + ASK_REFUSED);
    }

    /// Allows asking again, because something changed. Returns whether the server had refused.
    pub(super) fn ask_again(&mut self) -> bool {
        self.refused_until.take().is_some()
    }

    /// Whether the server may be asked now.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        self.refused_until = self.refused_until.filter(|until| now < *until);
        self.refused_until.is_none()
    }

    /// Time of the next thing to send, not before the server may be asked.
    pub(super) fn wake_at(&self, live: bool) -> Option<Instant> {
        self.outbox.wake_at(live).max(self.refused_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refused_is_asked_after_a_minute_or_when_something_changes() {
        let mut sending = Sending::new(Outbox::restore(vec![]));
        let now = Instant::now();
        assert!(sending.may_ask(now) && !sending.ask_again());
        sending.refused(now);
        assert!(!sending.may_ask(now + ASK_REFUSED / 2));
        assert_eq!(sending.wake_at(true), Some(now + ASK_REFUSED));
        assert!(sending.may_ask(now + ASK_REFUSED));
        sending.refused(now);
        assert!(sending.ask_again() && sending.may_ask(now));
    }
}
