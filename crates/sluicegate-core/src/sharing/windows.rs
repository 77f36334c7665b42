//! The store's side of sliding and of epoch-aligned fixed windows.
//!
//! A lease is counted in the window it was granted in, and dies with it. So nothing outstanding has to be remembered: what a
//! node holds is in the count already, and what it does not spend is counted all the same unless it gives it back in time.
#![expect(
    clippy::float_cmp,
    reason = "windows are told by whole numbers below 2⁵³, whose sums are exact"
)]

use libm::floor;

use super::exchange::{Ask, DEMAND_MAX, EXTRA_US, Heal, Outcome, Reply, Settled, fade, grant, share};
use super::{EPOCH_UNIX_US, Kind, Terms};

/// What the store keeps of a window: 40 bytes. The default is a key never seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Kept {
    /// Which window `current` counts: whole windows since the Unix epoch.
    pub window: f64,
    /// Units counted in it.
    pub current: f64,
    /// Units counted in the one before.
    pub previous: f64,
    /// As in a bucket.
    pub demand: f64,
    /// When that was.
    pub demand_at: f64,
}

/// Does one exchange at the store's time `now`, and says for how long what is kept matters.
pub fn exchange(kept: Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> (Kept, Reply, f64) {
    let mut outcome = Outcome::default();
    let mut key = kept.unwrap_or_default();
    let window = floor((now + EPOCH_UNIX_US) / terms.ttl);
    if !key.makes_sense(window) {
        key = Kept::default();
        outcome.damaged = true;
    }
    key.turn(window);
    let most = terms.burst + terms.overdraft;
    if key.current > most || key.previous > most {
        // A limit that was larger, or damage: as if just used up, as in a bucket.
        key.current = key.current.min(terms.burst);
        key.previous = key.previous.min(terms.burst);
        outcome.damaged = true;
    }
    if let Some(heal) = &ask.heal {
        key.heal(heal);
    }
    for settled in &ask.settled {
        key.settle(settled);
    }
    // A request that did not pass leaves the window, as in a window of one node.
    key.current = (key.current - ask.refund).max(0.0);
    if ask.clear {
        key.current = 0.0;
        key.previous = 0.0;
    }
    key.current += ask.pay;

    key.demand = fade(key.demand, key.demand_at, now, terms.theta) + ask.demand;
    key.demand = key.demand.min(DEMAND_MAX);
    key.demand_at = now;

    let available = key.available(terms, now);
    outcome.taken = ask.take.min(floor(available)).max(0.0);
    outcome.granted = grant(ask, key.demand, available - outcome.taken, terms);
    key.current += outcome.taken + outcome.granted;

    let matters_for = key.begins_at(terms) + 2.0 * terms.ttl - now + EXTRA_US;
    (key, key.reply(terms, ask, now, &outcome), matters_for)
}

impl Kept {
    /// The answer to `ask`, from what is kept after it and what came of it: what a store elsewhere sends is only these two.
    pub fn reply(&self, terms: &Terms, ask: &Ask, now: f64, outcome: &Outcome) -> Reply {
        let available = self.available(terms, now);
        Reply {
            taken: outcome.taken,
            granted: outcome.granted,
            epoch: self.window,
            previous_epoch: self.window - 1.0,
            valid_for: self.begins_at(terms) + terms.ttl - now,
            available,
            ready_after: self.ready_after(terms, self.elapsed(terms, now), available),
            rate: self.demand / terms.theta,
            share: share(ask.own, self.demand),
            seen: self.current,
            locked_until: 0.0,
            damaged: outcome.damaged,
        }
    }

    fn begins_at(&self, terms: &Terms) -> f64 {
        self.window * terms.ttl - EPOCH_UNIX_US
    }

    /// How much of the window is over, from 0 to 1. The clock may have gone back before it: then it stands at its start.
    fn elapsed(&self, terms: &Terms, now: f64) -> f64 {
        (now - self.begins_at(terms)).max(0.0) / terms.ttl
    }

    fn available(&self, terms: &Terms, now: f64) -> f64 {
        let weight = match terms.kind {
            Kind::SlidingWindow => 1.0 - self.elapsed(terms, now),
            Kind::Bucket | Kind::FixedWindow => 0.0,
        };
        terms.burst - self.current - self.previous * weight
    }

    fn makes_sense(&self, window: f64) -> bool {
        let all = [self.window, self.current, self.previous, self.demand, self.demand_at];
        // One window ahead is a clock that stands at the seam or went back a little; more is damage.
        all.iter().all(|value| value.is_finite() && *value >= 0.0)
            && self.window <= window + 1.0
            && self.demand <= DEMAND_MAX
    }

    fn turn(&mut self, window: f64) {
        if window <= self.window {
            return;
        }
        self.previous = if window == self.window + 1.0 { self.current } else { 0.0 };
        self.current = 0.0;
        self.window = window;
    }

    fn heal(&mut self, heal: &Heal) {
        if heal.seen_epoch == self.window {
            self.current = self.current.max(heal.seen);
        } else if heal.seen_epoch == self.window - 1.0 {
            self.previous = self.previous.max(heal.seen);
        }
    }

    /// Spent units are counted already; units given back leave the window that they were counted in.
    fn settle(&mut self, settled: &Settled) {
        if settled.epoch == self.window {
            self.current = (self.current - settled.returned).max(0.0);
        } else if settled.epoch == self.window - 1.0 {
            self.previous = (self.previous - settled.returned).max(0.0);
        }
    }

    /// Until one unit fits: within this window as the former one fades, or in the next, where this one fades.
    fn ready_after(&self, terms: &Terms, elapsed: f64, available: f64) -> f64 {
        if available >= 1.0 {
            return 0.0;
        }
        let length = terms.ttl;
        let left = (1.0 - elapsed).max(0.0) * length;
        let most = terms.burst - 1.0;
        match terms.kind {
            Kind::SlidingWindow if self.current <= most && self.previous > 0.0 => {
                let fits_at = 1.0 - (most - self.current) / self.previous;
                (fits_at - elapsed).max(0.0) * length
            }
            Kind::SlidingWindow if self.current > 0.0 => left + (1.0 - most / self.current).max(0.0) * length,
            Kind::Bucket | Kind::FixedWindow | Kind::SlidingWindow => left,
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "units are whole numbers, and times are given")]
mod tests {
    use super::*;
    use crate::Limit;

    const SECOND: f64 = 1_000_000.0;

    fn terms(kind: Kind) -> Terms {
        let limit: Limit = "100/min".parse().expect("a limit");
        Terms::new(kind, &limit, 100.0)
    }

    /// The beginning of a minute in November 2026, by the store's clock.
    const MINUTE: f64 = 91_000_020_000_000.0;

    fn take(take: f64) -> Ask {
        Ask { take, ..Ask::default() }
    }

    fn returns(epoch: f64, returned: f64) -> Ask {
        let settled = Settled {
            epoch,
            returned,
            ..Settled::default()
        };
        Ask {
            settled: [settled, Settled::default()],
            ..Ask::default()
        }
    }

    fn ask(kept: &mut Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> Reply {
        let (next, reply, matters_for) = exchange(*kept, terms, ask, now);
        assert!(reply.is_sane(), "{reply:?}");
        assert!(matters_for > 0.0 && matters_for.is_finite());
        *kept = Some(next);
        reply
    }

    #[test]
    fn a_fixed_window_is_whole_again_at_its_end_and_a_sliding_one_as_the_last_one_fades() {
        for (kind, at_half_of_the_next) in [(Kind::FixedWindow, 100.0), (Kind::SlidingWindow, 50.0)] {
            let terms = terms(kind);
            let mut kept = None;
            assert_eq!(ask(&mut kept, &terms, &take(1_000.0), MINUTE).taken, 100.0);
            let reply = ask(&mut kept, &terms, &take(1.0), MINUTE + 59.0 * SECOND);
            assert_eq!(reply.taken, 0.0);
            let ready_at = MINUTE + 59.0 * SECOND + reply.ready_after;
            assert_eq!(
                ask(&mut kept.clone(), &terms, &take(1.0), ready_at - 1_000.0).taken,
                0.0,
                "{kind:?}"
            );
            assert_eq!(
                ask(&mut kept.clone(), &terms, &take(1.0), ready_at + 1.0).taken,
                1.0,
                "{kind:?}"
            );
            let reply = ask(&mut kept, &terms, &take(1_000.0), MINUTE + 90.0 * SECOND);
            assert_eq!(reply.taken, at_half_of_the_next, "{kind:?}");
        }
    }

    #[test]
    fn a_lease_dies_with_its_window_and_is_given_back_only_to_that() {
        let terms = terms(Kind::FixedWindow);
        let mut kept = None;
        let wants = Ask {
            want: 40.0,
            ..Ask::default()
        };
        let lease = ask(&mut kept, &terms, &wants, MINUTE + 10.0 * SECOND);
        assert_eq!((lease.granted, lease.valid_for), (40.0, 50.0 * SECOND));
        let reply = ask(&mut kept, &terms, &returns(lease.epoch, 10.0), MINUTE + 20.0 * SECOND);
        assert_eq!(reply.available, 70.0);
        let _ = ask(&mut kept, &terms, &take(50.0), MINUTE + 60.0 * SECOND);
        let reply = ask(&mut kept, &terms, &returns(lease.epoch, 10.0), MINUTE + 61.0 * SECOND);
        assert_eq!(reply.available, 50.0);
        assert_eq!(kept.map(|kept| kept.previous), Some(20.0));
        let reply = ask(&mut kept, &terms, &returns(lease.epoch, 10.0), MINUTE + 121.0 * SECOND);
        assert_eq!(reply.available, 100.0, "two windows later it is of none that counts");
    }

    #[test]
    fn the_largest_count_that_a_node_has_seen_is_what_the_window_had() {
        let terms = terms(Kind::SlidingWindow);
        let heal = |seen: f64, seen_epoch: f64| Ask {
            heal: Some(Heal {
                seen,
                seen_epoch,
                held: 5.0,
            }),
            ..Ask::default()
        };
        let mut kept = None;
        let now = MINUTE + 30.0 * SECOND;
        let window = ask(&mut kept, &terms, &Ask::default(), now).epoch;
        assert_eq!(ask(&mut kept, &terms, &heal(30.0, window), now).available, 70.0);
        assert_eq!(ask(&mut kept, &terms, &heal(20.0, window), now).available, 70.0);
        assert_eq!(ask(&mut kept, &terms, &heal(80.0, window - 1.0), now).available, 30.0);
        assert_eq!(ask(&mut kept, &terms, &heal(99.0, window - 2.0), now).available, 30.0);
    }

    #[test]
    fn a_clock_that_goes_back_over_the_seam_stands_at_it_and_one_that_goes_back_further_begins_anew() {
        let terms = terms(Kind::FixedWindow);
        let mut kept = None;
        let _ = ask(&mut kept, &terms, &take(100.0), MINUTE);
        let reply = ask(&mut kept, &terms, &take(1.0), MINUTE - SECOND);
        assert_eq!((reply.taken, reply.damaged), (0.0, false));
        assert_eq!(reply.valid_for, 61.0 * SECOND);
        let reply = ask(&mut kept, &terms, &take(1.0), MINUTE - 3_600.0 * SECOND);
        assert_eq!((reply.taken, reply.damaged), (1.0, true));
    }

    #[test]
    fn what_makes_no_sense_is_thrown_away_and_locks_no_key() {
        let fields: [fn(&mut Kept, f64); 5] = [
            |kept, value| kept.window = value,
            |kept, value| kept.current = value,
            |kept, value| kept.previous = value,
            |kept, value| kept.demand = value,
            |kept, value| kept.demand_at = value,
        ];
        for kind in [Kind::FixedWindow, Kind::SlidingWindow] {
            let terms = terms(kind);
            let mut sane = None;
            let _ = ask(&mut sane, &terms, &take(10.0), MINUTE);
            let sane = sane.expect("it was kept");
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, f64::MAX, 1e16] {
                for (index, spoil) in fields.iter().enumerate() {
                    let mut damaged = sane;
                    spoil(&mut damaged, value);
                    let mut kept = Some(damaged);
                    let _ = ask(&mut kept, &terms, &take(1.0), MINUTE + SECOND);
                    let later = MINUTE + 2.0 * terms.ttl;
                    assert_eq!(
                        ask(&mut kept, &terms, &take(1.0), later).taken,
                        1.0,
                        "field {index} was {value}"
                    );
                }
            }
        }
    }
}
