//! Who is measured: ourselves, our peers, and what the processor can do at best.
//!
//! All are asked the same question by the same loop: may this client's next request pass? Every limit is the same in its
//! scenario, so large that every request passes and so slow that no key is forgotten in between.

mod floor;
mod governor;
mod limitador;
mod ours;
mod quota;
mod throttlecrab;

pub(crate) use floor::{Cas, CasAndCounter, CasRow, CounterAlone};
pub(crate) use governor::{Governor, GovernorStrings};
pub(crate) use limitador::Limitador;
pub(crate) use ours::{Acquires, Checks, ChecksMany, Decides, Kept, SharedChecks};
pub(crate) use quota::Quota;
pub(crate) use throttlecrab::Throttlecrab;

use std::hint::black_box;

use crate::clients::Client;

/// Somebody who decides.
pub(crate) trait Contestant {
    /// Whether the client's next request passes. Reads the clock by itself, as it would for its users.
    fn decide(&mut self, client: &Client) -> bool;

    /// How many of a row's next requests pass: one after the other, for whoever does not take them together.
    #[inline]
    fn decide_row(&mut self, row: &[Client]) -> u64 {
        let mut passed = 0;
        for client in row {
            // In memory, and of unknown length: nobody may guess the key.
            passed += u64::from(self.decide(black_box(client)));
        }
        passed
    }
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

/// The window of a scenario, so long and so large that no count ends or is used up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FixedWindow {
    /// Seconds of one window.
    pub(crate) seconds: u32,
    /// Units that may pass in it.
    pub(crate) count: u32,
}

impl FixedWindow {
    /// For one key and for many.
    pub(crate) const LARGE: Self = Self {
        seconds: 24 * 3_600,
        count: 1_000_000_000,
    };

    /// The limit in our own words.
    pub(crate) fn text(self) -> String {
        format!("{} per {}s", self.count, self.seconds)
    }
}
