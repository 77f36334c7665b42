//! Who is measured: ourselves, our peers, and what the processor can do at best.
//!
//! All are asked the same question by the same loop: may this client's next request pass? Every limit is the same in its
//! scenario, so large that every request passes and so slow that no key is forgotten in between.

mod floor;
mod governor;
mod ours;
mod quota;
mod throttlecrab;

pub(crate) use floor::{Cas, CasAndCounter, CounterAlone};
pub(crate) use governor::{Governor, GovernorStrings};
pub(crate) use ours::{Checks, Decides};
pub(crate) use quota::Quota;
pub(crate) use throttlecrab::Throttlecrab;

use crate::clients::Client;

/// Somebody who decides.
pub(crate) trait Contestant {
    /// Whether the client's next request passes. Reads the clock by itself, as it would for its users.
    fn decide(&mut self, client: &Client) -> bool;
}

/// The limit of a scenario: one unit a period, and a burst that is never spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Seconds in which one unit comes back.
    pub(crate) period_seconds: u32,
    /// Units that may pass at once.
    pub(crate) burst: u32,
}

impl Allowance {
    /// For one key that is asked for as fast as the machine can.
    pub(crate) const HOT: Self = Self {
        period_seconds: 1,
        burst: 1_000_000_000,
    };
    /// For many keys: each is remembered for an hour after every request.
    pub(crate) const MANY: Self = Self {
        period_seconds: 3_600,
        burst: 100_000,
    };

    /// The limit in our own words.
    pub(crate) fn text(self) -> String {
        format!("1 per {}s burst {}", self.period_seconds, self.burst)
    }
}
