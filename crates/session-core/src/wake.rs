//! Notices that the machine slept or that its network changed.
//!
//! After either a connection may be dead without anybody having said so, and whoever waits for the
//! server may wait in vain. Nothing on the system is asked to tell: every few seconds the two
//! clocks and the addresses that this machine would send from are compared with those of the last
//! look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::shared::Shared;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time by which a pause must be longer than it should have been to count as sleep.
const SLEPT: Duration = Duration::from_secs(10);

/// The addresses that this machine would send from, by IPv4 and by IPv6.
type Routes = [Option<IpAddr>; 2];

/// One look.
struct Look {
    /// Goes on while the machine sleeps.
    wall: Timestamp,
    /// Stands still while the machine sleeps, on most systems.
    ticks: Instant,
    routes: Routes,
}

impl Look {
    fn now() -> Self {
        Self { wall: crate::clock::now(), ticks: Instant::now(), routes: routes() }
    }

    /// Name of what happened since an earlier look, planned to be [`LOOK_EVERY`] ago.
    fn since(&self, before: &Self) -> Option<&'static str> {
        let wall = self.wall.duration_since(before.wall);
        let ticks = self.ticks.duration_since(before.ticks);
        // A clock that was set back says nothing.
        let wall = Duration::try_from(wall).unwrap_or_default();
        if wall.saturating_sub(ticks) >= SLEPT || ticks.saturating_sub(LOOK_EVERY) >= SLEPT {
            Some("the machine slept")
        } else if self.routes != before.routes {
            Some("the network changed")
        } else {
            None
        }
    }
}

/// Looks until the engine ends.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut before = Look::now();
    loop {
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = Look::now();
        if let Some(what) = now.since(&before) {
            tracing::info!(what, "connections are made anew");
            shared.reconnect();
        }
        before = now;
    }
}

/// Asks the system's routing table, for addresses that belong to nobody (RFC 5737, RFC 3849).
/// Connecting a UDP socket sends nothing.
fn routes() -> Routes {
    let ends: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    ends.map(|(from, to)| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        socket.local_addr().ok().map(|addr| addr.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(before: &Look, wall: i64, ticks: u64) -> Look {
        Look {
            wall: before.wall + jiff::SignedDuration::from_secs(wall),
            ticks: before.ticks + Duration::from_secs(ticks),
            routes: before.routes,
        }
    }

    #[test]
    fn sleep_is_told_from_a_busy_machine_and_a_clock_that_was_set() {
        let before = Look::now();
        let since = |wall, ticks| later(&before, wall, ticks).since(&before);
        assert_eq!(since(5, 5), None);
        assert_eq!(since(9, 9), None, "late, as on a busy machine");
        assert_eq!(since(-3600, 5), None, "the clock was set back");
        assert_eq!(since(3600, 5), Some("the machine slept"));
        assert_eq!(since(3600, 3600), Some("the machine slept"), "where both clocks go on");
    }

    #[test]
    fn another_network_is_noticed() {
        let before = Look { routes: [None, None], ..Look::now() };
        let wifi = Look { routes: [Some(Ipv4Addr::new(10, 0, 0, 7).into()), None], ..Look::now() };
        assert_eq!(wifi.since(&before), Some("the network changed"));
        assert_eq!(before.since(&wifi), Some("the network changed"), "also when it goes");
        assert_eq!(Look::now().since(&Look::now()), None);
    }
}
