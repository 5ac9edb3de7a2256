//! Long work in small steps, so that nobody waits for a turn until all of it is done.

/// Bytes that are worked on in one turn: less than a millisecond of parsing.
const TURN: usize = 64 << 10;

/// Bytes that were worked on since others had a turn.
#[derive(Debug, Default)]
pub(crate) struct Pace(usize);

impl Pace {
    /// Counts bytes that were worked on, and lets others have their turn when those are enough for one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn worked(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
        if self.0 >= TURN {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}
