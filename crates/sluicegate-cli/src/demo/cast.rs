//! Who plays in the demo, and by which policy.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One synthetic client. It asks over each of its connections `at_once` times back to back, then waits for `every`.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// What a reader of the table should know of it.
    pub(crate) does: &'static str,
    /// Its own loopback address, and so its own key.
    pub(crate) address: Ipv4Addr,
    pub(crate) connections: u32,
    pub(crate) at_once: u32,
    /// At least this long between two rounds; never less, so that a slow machine only slows the client down.
    pub(crate) every: Duration,
    pub(crate) promise: Promise,
}

/// What the gateway owes a client, whoever else is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// It stays below its limit, so it loses nothing.
    LosesNothing,
    /// It goes far beyond, so it passes as often as its limit allows and no more.
    IsHeld,
}

/// In the table's order.
pub(crate) const CAST: &[Client] = &[
    Client {
        name: "steady",
        does: "10 a second, evenly",
        address: Ipv4Addr::new(127, 0, 0, 2),
        connections: 1,
        at_once: 1,
        every: Duration::from_millis(100),
        promise: Promise::LosesNothing,
    },
    Client {
        name: "bursty",
        does: "30 at once, every 3 s",
        address: Ipv4Addr::new(127, 0, 0, 3),
        connections: 1,
        at_once: 30,
        every: Duration::from_secs(3),
        promise: Promise::LosesNothing,
    },
    Client {
        name: "abusive",
        does: "up to 2000 a second",
        address: Ipv4Addr::new(127, 0, 0, 4),
        connections: 4,
        at_once: 1,
        every: Duration::from_millis(2),
        promise: Promise::IsHeld,
    },
];

/// Names the client in its requests, so that the upstream can tell the cast from the audience.
pub(crate) const CLIENT_HEADER: &str = "x-demo-client";

/// What each address may pass in the demo: twice what `steady` asks for, and a burst above what `bursty` sends at once.
pub(crate) const LIMIT: &str = "20/s burst 40";

/// The demo's policy as a file would hold it.
pub(crate) fn policy(gateway: SocketAddr, admin: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "\
version: 1

gateway:
  listen:
    - address: {gateway}
  upstreams:
    toy: {{ servers: [\"{upstream}\"] }}

admin: {{ listen: \"{admin}\" }}

state:
  memory: 16MiB

routes:
  - {{ name: everything, path: \"/{{*rest}}\", upstream: toy }}

rules:
  - name: per-address            # each client has a limit of its own
    key: ip
    limit: {LIMIT}
    rationale: twice what a steady client of the demo asks for
  - name: everyone               # and all together cannot overload the upstream
    key: []
    limit: 200/s burst 400
    rationale: a refused request is not charged here, so the abusive client cannot use it up
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_have_addresses_of_their_own_on_loopback() {
        for (at, client) in CAST.iter().enumerate() {
            assert!(client.address.is_loopback(), "{}", client.name);
            assert!(
                CAST[..at].iter().all(|other| other.address != client.address),
                "{}",
                client.name
            );
        }
    }

    #[test]
    fn no_client_asks_more_than_2000_times_a_second() {
        for client in CAST {
            let per_second = u128::from(client.connections) * u128::from(client.at_once) * 1_000_000_000;
            assert!(per_second <= 2000 * client.every.as_nanos(), "{}", client.name);
        }
    }
}
