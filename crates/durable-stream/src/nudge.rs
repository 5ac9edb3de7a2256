//! Telling readers that now is a good time to try.

use std::sync::Arc;

use tokio::sync::watch;

/// Numbers of the nudges that were given so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    wakes: u64,
    reconnects: u64,
}

impl Pulse {
    /// The pulse of a nudge that was never given.
    pub(crate) const ZERO: Self = Self { wakes: 0, reconnects: 0 };
}

/// Tells the readers that hold it to try now: the machine woke up, the network is back, the window
/// has focus.
///
/// A clone reaches the same readers. [`Client::nudge`](crate::Client::nudge) reaches all readers of
/// a client; [`FollowOptions::nudge`](crate::FollowOptions::nudge) gives one reader its own.
///
/// # Examples
///
/// ```
/// use durable_stream::{FollowOptions, Live, Nudge, Offset};
///
/// let nudge = Nudge::new();
/// let options = FollowOptions::new(Offset::Beginning, Live::Auto).nudge(nudge.clone());
/// nudge.wake();
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Nudge {
    pulse: Arc<watch::Sender<Pulse>>,
}

impl Default for Nudge {
    fn default() -> Self {
        Self::new()
    }
}

impl Nudge {
    /// A nudge that reaches nobody yet.
    ///
    /// # Examples
    ///
    /// ```
    /// let nudge = durable_stream::Nudge::new();
    /// nudge.wake();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { pulse: Arc::new(watch::Sender::new(Pulse::ZERO)) }
    }

    /// Ends every wait for the next attempt at once. Readers that are connected notice nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let client = durable_stream::Client::new();
    /// // The window has focus: whoever waits for the next attempt tries now.
    /// client.nudge().wake();
    /// ```
    pub fn wake(&self) {
        self.pulse.send_modify(|pulse| pulse.wakes += 1);
    }

    /// Wakes whoever waits, as [`wake`](Self::wake) does, and has readers that are connected
    /// connect anew from where they are: for after a sleep, when a connection may be dead without
    /// anyone having said so.
    ///
    /// # Examples
    ///
    /// ```
    /// let client = durable_stream::Client::new();
    /// // The machine slept: connections may be dead.
    /// client.nudge().reconnect();
    /// ```
    pub fn reconnect(&self) {
        self.pulse.send_modify(|pulse| {
            pulse.wakes += 1;
            pulse.reconnects += 1;
        });
    }

    /// Numbers of the nudges that were given so far.
    pub(crate) fn pulse(&self) -> Pulse {
        *self.pulse.borrow()
    }

    /// Waits for a wake given after `seen`. Cancel safe.
    pub(crate) async fn woken(&self, seen: Pulse) {
        self.wait(|pulse| pulse.wakes > seen.wakes).await;
    }

    /// Waits for a reconnect given after `seen`. Cancel safe.
    pub(crate) async fn reconnected(&self, seen: Pulse) {
        self.wait(|pulse| pulse.reconnects > seen.reconnects).await;
    }

    async fn wait(&self, given: impl Fn(Pulse) -> bool) {
        let waited = self.pulse.subscribe().wait_for(|pulse| given(*pulse)).await.is_ok();
        // `self` holds the sender, so the channel cannot close under it.
        debug_assert!(waited, "the sender lives as long as the nudge");
    }
}
