//! Limits of the requests that one client may send.
//!
//! A client is a token, else an address (an IPv6 one by its /64, which one customer has). Every request counts: what is
//! not counted could be asked for without end. Polls of readers who follow a stream count apart and for less, because
//! they come back as often as somebody writes, each of a thousand readers.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::{config::Limits, problem::Problem};

/// Clients that are remembered; beyond it those who have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    /// A caller without a valid token, or one who needs none.
    Address(IpAddr),
    /// The holder of a named token.
    Named(String),
    /// The owner, wherever from: nobody else at its address can use up what it may send.
    Owner,
}

impl ClientKey {
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// The network of one customer: an IPv4 address, or a /64 of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Number of polls that count as one request.
const POLLS: NonZeroU32 = NonZeroU32::new(50).expect("it is not zero");

/// Counts requests.
pub(crate) struct Limiter(Option<Counted>);

struct Counted {
    requests: DefaultKeyedRateLimiter<ClientKey>,
    polls: DefaultKeyedRateLimiter<ClientKey>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(NonZeroU32::new(limits.requests_per_second).map(|rate| {
            let burst = NonZeroU32::new(limits.burst).unwrap_or(rate);
            let counted = |times: NonZeroU32| {
                let (rate, burst) = (rate.saturating_mul(times), burst.saturating_mul(times));
                RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
            };
            Counted { requests: counted(NonZeroU32::MIN), polls: counted(POLLS) }
        }))
    }

    /// Counts a request, or the poll of a reader who goes on; or says when the next one may come.
    pub(crate) fn count(&self, client: &ClientKey, is_poll: bool) -> Result<(), Problem> {
        let Some(counted) = &self.0 else { return Ok(()) };
        let limiter = if is_poll { &counted.polls } else { &counted.requests };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        limiter.check_key(client).map_err(|until| {
            Problem::too_many_requests(until.wait_time_from(DefaultClock::default().now()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_one_network_are_one_client_and_mapped_addresses_are_v4() {
        let at = |ip: &str| ClientKey::at(ip.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::3"), at("2001:db8:1:2:ffff::"));
        assert_ne!(at("2001:db8:1:2::3"), at("2001:db8:1:3::3"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
