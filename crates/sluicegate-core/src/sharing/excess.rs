//! By how much all nodes together can overrun a limit: what is promised of each mode, in numbers that are shown before anything
//! runs.
//!
//! With a limit of `B` at once and `R` a second on `N` nodes, one key is admitted in any window of length `w` at most
//!
//! ```text
//!   exact    B + R·w + 2·R·d             d: what a request waits for the store at most, WAIT_US; once more for what refused
//!                                        requests give back, which the store hears that much later; not so of windows
//!   leased   B + R·w + R·d               for requests that wait for a lease
//!   hybrid   B + (1 + σ)·R·w + N·U       U = max(1, ⌊ω·B/N⌋); of windows without σ, since they forget nothing
//!   apart    N/F times the limit         where each node keeps an F-th of it for itself, or all of it (F = 1)
//! ```
//!
//! What is beyond `B + R·w` is the [`Excess`]. While the store is away an [`Outage`] comes on top.

use core::num::{NonZeroU32, NonZeroU64};

use super::plan::{Mode, OMEGA, OnStoreLoss, SIGMA, WAIT_US};

/// A limit on several nodes, as far as its excess goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// How the nodes hold it.
    pub held: Held,
    /// Most units at once; where it is held apart, on one node.
    pub burst: NonZeroU64,
    /// Units a second; where it is held apart, on one node. Zero for permits, which know no time.
    pub rate: f64,
    /// Whether it is a token bucket; windows and permits are not.
    pub is_bucket: bool,
    /// Nodes that see a key.
    pub nodes: NonZeroU32,
}

/// How nodes hold a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Together, by a store.
    Together(Mode),
    /// Each for itself, its part being one of so many; of one where each has it whole.
    Apart(NonZeroU32),
}

/// The most by which all nodes together exceed a limit while the store answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// Units at once, whatever the window; they do not come again before they are paid back.
    pub units: u64,
    /// The part of the rate that comes on top for as long as it is asked for: 0.05 is one unit in twenty.
    pub rate: f64,
    /// Units that may come late, since they were charged before their requests waited; below one unit nothing comes of it. It
    /// is proportional to the round trip, and this is with the longest wait.
    pub waiting: f64,
}

/// The most by which all nodes together exceed a limit on top of that while the store is away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outage {
    /// So much.
    Bounded {
        /// Units, once for each outage.
        units: u64,
        /// The part of the rate that comes on top for as long as the store is away and it is asked for: 0.5 is one unit in two.
        rate: f64,
    },
    /// As many as are asked for.
    Unbounded,
}

impl Fleet {
    /// The most beyond the limit while the store answers.
    #[expect(clippy::cast_precision_loss, reason = "fewer nodes than 2³²")]
    pub fn excess(&self) -> Excess {
        let nodes = u64::from(self.nodes.get());
        match self.held {
            Held::Together(mode @ (Mode::Exact | Mode::Leased)) => Excess {
                units: 0,
                rate: 0.0,
                waiting: self.rate * WAIT_US / 1e6
                    * if mode == Mode::Exact && self.is_bucket {
                        2.0
                    } else {
                        1.0
                    },
            },
            Held::Together(Mode::Hybrid) => Excess {
                units: self.allowance().get().saturating_mul(nodes),
                rate: if self.is_bucket { SIGMA } else { 0.0 },
                waiting: 0.0,
            },
            Held::Apart(parts) => {
                let parts = u64::from(parts.get());
                let beyond = nodes.saturating_sub(parts);
                Excess {
                    units: self.burst.get().saturating_mul(beyond),
                    rate: if self.rate > 0.0 {
                        beyond as f64 / parts as f64
                    } else {
                        0.0
                    },
                    waiting: 0.0,
                }
            }
        }
    }

    /// U: units that one node may let through before it reports them, in [`Mode::Hybrid`]; the same number that
    /// [`Plan::allowance`](super::Plan::allowance) gives.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a tenth of what fits, and never negative"
    )]
    pub fn allowance(&self) -> NonZeroU64 {
        let units = OMEGA * self.burst.get() as f64 / f64::from(self.nodes.get());
        NonZeroU64::new(units as u64).unwrap_or(NonZeroU64::MIN)
    }

    /// The most on top of that while the store is away.
    ///
    /// With [`OnStoreLoss::Local`] node `i` goes on with a share `sᵢ` of the limit, which makes
    ///
    /// ```text
    ///   Σ max(least, sᵢ·B)  units, once      least: 1 in hybrid, else 0
    ///   max(0, Σ sᵢ − 1)·R  for as long as it lasts
    /// ```
    ///
    /// Shares that the store gave in the same moment make one limit together. A node that has not asked of late takes an N-th. The worst
    /// that follows from the configuration alone is a key that one node has asked for, all of which is its share, and that all the
    /// others see first during the outage: `Σ sᵢ = 1 + (N − 1)/N`. Shares of different moments may sum up to more, where a key
    /// moved from node to node within one theta before the store went away; how far, only its traffic says.
    ///
    /// Of permits there is no rate, and a node's part outlives the store by what is in use of it.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded up, saturates, and is never negative"
    )]
    pub fn outage(&self, on_store_loss: OnStoreLoss) -> Outage {
        let mode = match (self.held, on_store_loss) {
            // There is no store that it asks.
            (Held::Apart(_), _) | (_, OnStoreLoss::Closed) => return Outage::Bounded { units: 0, rate: 0.0 },
            (_, OnStoreLoss::Open) => return Outage::Unbounded,
            (Held::Together(mode), OnStoreLoss::Local) => mode,
        };
        if self.rate <= 0.0 {
            let units = self.burst.get();
            return Outage::Bounded { units, rate: 0.0 };
        }
        let burst = self.burst.get();
        let (nodes, others) = (u64::from(self.nodes.get()), u64::from(self.nodes.get()) - 1);
        let even = burst as f64 / nodes as f64;
        let each = if mode == Mode::Hybrid { even.max(1.0) } else { even };
        Outage::Bounded {
            units: burst.saturating_add(libm::ceil(others as f64 * each) as u64),
            rate: others as f64 / nodes as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharing::{Kind, Plan, Sharing, Terms};

    fn nodes(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("a node")
    }

    fn fleet(held: Held, burst: u64, rate: f64, count: u32) -> Fleet {
        Fleet {
            held,
            burst: NonZeroU64::new(burst).expect("a burst"),
            rate,
            is_bucket: true,
            nodes: nodes(count),
        }
    }

    const LEASED: Held = Held::Together(Mode::Leased);
    const HYBRID: Held = Held::Together(Mode::Hybrid);

    #[track_caller]
    fn check(held: Held, (burst, rate, count): (u64, f64, u32), expected: (u64, f64, f64)) {
        let excess = fleet(held, burst, rate, count).excess();
        assert_eq!((excess.units, excess.rate, excess.waiting), expected);
    }

    #[test]
    fn each_mode_exceeds_by_what_its_formula_says() {
        // 100/s: 5 ms of the rate are half a unit.
        check(LEASED, (200, 100.0, 100), (0, 0.0, 0.5));
        check(Held::Together(Mode::Exact), (200, 100.0, 100), (0, 0.0, 1.0));
        check(HYBRID, (200, 100.0, 100), (100, 0.05, 0.0));
        check(HYBRID, (2_000, 100.0, 10), (200, 0.05, 0.0));
        // 5/min on a hundred nodes.
        check(HYBRID, (5, 5.0 / 60.0, 100), (100, 0.05, 0.0));
        // Permits know no time.
        check(LEASED, (20, 0.0, 3), (0, 0.0, 0.0));
        check(Held::Apart(nodes(1)), (20, 0.0, 3), (40, 0.0, 0.0));
    }

    #[test]
    fn a_window_forgets_nothing_so_that_its_rate_is_its_rate() {
        let window = Fleet {
            is_bucket: false,
            ..fleet(HYBRID, 2_000, 100.0, 10)
        };
        assert_eq!(
            (window.excess().units, window.excess().rate.to_bits()),
            (200, 0.0_f64.to_bits())
        );
    }

    #[test]
    fn a_divided_limit_is_exceeded_only_by_nodes_beyond_its_parts() {
        check(Held::Apart(nodes(1)), (200, 100.0, 1), (0, 0.0, 0.0));
        check(Held::Apart(nodes(1)), (200, 100.0, 100), (19_800, 99.0, 0.0));
        check(Held::Apart(nodes(4)), (50, 10.0, 2), (0, 0.0, 0.0));
        check(Held::Apart(nodes(4)), (50, 10.0, 4), (0, 0.0, 0.0));
        check(Held::Apart(nodes(4)), (50, 10.0, 6), (100, 0.5, 0.0));
        check(Held::Apart(nodes(1)), (u64::MAX, 1.0, 3), (u64::MAX, 2.0, 0.0));
    }

    #[test]
    fn what_is_told_is_what_nodes_keep_to_and_auto_stays_within_a_tenth() {
        for burst in [1_u64, 9, 10, 11, 30, 70, 99, 999, 1_000, 12_345, 1 << 40] {
            for count in [1, 2, 3, 7, 10, 99, 100, 1_000, 100_000] {
                let limit = crate::Limit::new(burst, core::time::Duration::from_secs(1), burst);
                let Ok(limit) = limit else { continue };
                let plan = Plan {
                    terms: Terms::new(Kind::Bucket, &limit, 0.0),
                    sharing: Sharing::Auto,
                    on_store_loss: OnStoreLoss::Local,
                    cost_max: 1.0,
                    fanout: 0.0,
                    spacing: None,
                };
                let mode = plan.mode(f64::from(count));
                let fleet = fleet(Held::Together(mode), burst, 1.0, count);
                #[expect(clippy::cast_precision_loss, reason = "below 2⁵³")]
                let told = fleet.allowance().get() as f64;
                assert!(
                    (told - plan.allowance(f64::from(count))).abs() < 0.5,
                    "{burst} on {count}"
                );
                assert!(fleet.excess().units <= burst / 10, "{burst} on {count}: {mode:?}");
            }
        }
    }

    #[test]
    fn an_outage_costs_what_shares_of_different_moments_sum_up_to_or_nothing_or_everything() {
        let outage = |held, burst, count, loss| fleet(held, burst, 1.0, count).outage(loss);
        let bounded = |units, rate| Outage::Bounded { units, rate };
        let local = OnStoreLoss::Local;
        // One node has all of it, and the others an N-th each.
        assert_eq!(outage(LEASED, 200, 100, local), bounded(398, 0.99));
        assert_eq!(outage(HYBRID, 200, 100, local), bounded(398, 0.99));
        assert_eq!(outage(LEASED, 9, 2, local), bounded(14, 0.5));
        assert_eq!(outage(Held::Together(Mode::Exact), 9, 4, local), bounded(16, 0.75));
        assert_eq!(outage(LEASED, 200, 1, local), bounded(200, 0.0));
        // A unit for each node, whatever the limit.
        assert_eq!(outage(HYBRID, 5, 100, local), bounded(104, 0.99));
        assert_eq!(outage(LEASED, u64::MAX, 3, local), bounded(u64::MAX, 2.0 / 3.0));
        assert_eq!(outage(HYBRID, 200, 100, OnStoreLoss::Closed), bounded(0, 0.0));
        assert_eq!(outage(LEASED, 200, 100, OnStoreLoss::Open), Outage::Unbounded);
        let apart = Held::Apart(nodes(1));
        assert_eq!(outage(apart, 200, 100, OnStoreLoss::Open), bounded(0, 0.0));
        let permits = fleet(LEASED, 20, 0.0, 3).outage(local);
        assert_eq!(permits, bounded(20, 0.0));
    }
}
