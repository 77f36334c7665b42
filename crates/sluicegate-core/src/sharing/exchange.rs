//! The store's side of a token bucket: what it keeps of a key, and what one exchange makes of it.

use libm::{exp, floor};

use super::Terms;

/// What a node asks the store for, of one key, and what it tells.
///
/// All counts are units, at least zero and finite; spans are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ask {
    /// Let through already within the node's allowance: charged whatever is left.
    pub pay: f64,
    /// For requests that wait: charged as far as there is enough, spent on arrival.
    pub take: f64,
    /// For the lease: granted as far as there is enough and others get their part.
    pub want: f64,
    /// Taken for requests that then did not pass: given back, less what has come back by itself since.
    pub refund: f64,
    /// What became of the leases of two epochs.
    pub settled: [Settled; 2],
    /// Units asked for at this node since its last exchange.
    pub demand: f64,
    /// The node's own average of them: what it asked for within one [`Terms::theta`], fading.
    pub own: f64,
    /// A number drawn evenly from 0 to below 1: a lease's broken unit is granted by it.
    pub chance: f64,
    /// What the node remembers, for a store that may have lost it.
    pub heal: Option<Heal>,
}

/// What became of the units of a lease epoch since the last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settled {
    /// Which epoch, by the number that its [`Reply::epoch`] gave it; zero for none.
    pub epoch: f64,
    /// Units spent.
    pub spent: f64,
    /// Units given back.
    pub returned: f64,
}

/// What a node remembers of a key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Heal {
    /// The [`Reply::seen`] of its last exchange: of a bucket a time, of a window a count.
    pub seen: f64,
    /// Of a window, which one that count is of; zero otherwise.
    pub seen_epoch: f64,
    /// Unspent units that it still holds.
    pub held: f64,
}

/// What the store answers, of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reply {
    /// Of [`Ask::take`], what was charged: whole units.
    pub taken: f64,
    /// Of [`Ask::want`], what the node now holds in addition: whole units.
    pub granted: f64,
    /// The epoch they belong to: a number that only the store understands.
    pub epoch: f64,
    /// How long they are good, in microseconds from the moment the ask was sent.
    pub valid_for: f64,
    /// Units left for others; negative while the debt is above the burst.
    pub available: f64,
    /// Until there is a whole unit; zero if there is.
    pub ready_after: f64,
    /// What all nodes together ask for, in units a microsecond.
    pub rate: f64,
    /// This node's part of it, above 0 to 1.
    pub share: f64,
    /// What [`Heal::seen`] says if the store ever loses the key.
    pub seen: f64,
    /// Whether what was kept made no sense and was thrown away.
    pub damaged: bool,
}

impl Reply {
    /// Whether a store can have said so: numbers, and of what is granted no debt.
    pub fn is_sane(&self) -> bool {
        let numbers = [self.epoch, self.valid_for, self.available, self.rate, self.seen];
        let counts = [self.taken, self.granted, self.ready_after];
        numbers.iter().all(|value| value.is_finite())
            && counts.iter().all(|value| value.is_finite() && *value >= 0.0)
            && self.share > 0.0
            && self.share <= 1.0
    }
}

/// What the store keeps of a token bucket: 48 bytes. The default is a key never seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Kept {
    /// The theoretical arrival time of the next unit. Leases are charged in it from their grant on.
    pub tat: f64,
    /// What was asked for within one theta, fading; as of `demand_at`.
    pub demand: f64,
    /// When that was.
    pub demand_at: f64,
    /// Units outstanding of the epoch that ends at `epoch_ends_at`.
    pub current: f64,
    /// Units outstanding of the epoch before, which die when the current one ends.
    pub previous: f64,
    /// When the current epoch ends; also its number. Zero for a key never seen.
    pub epoch_ends_at: f64,
}

/// What came of an exchange beside what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// As [`Reply::taken`].
    pub taken: f64,
    /// As [`Reply::granted`].
    pub granted: f64,
    /// As [`Reply::damaged`].
    pub damaged: bool,
}

/// Does one exchange at the store's time `now`, and says for how long what is kept matters.
///
/// The order of the steps is the safety of it. An epoch that dies counts as spent at the moment it died; what is outstanding
/// blocks refill *before* a report is settled, or the refill would let the reported units through twice.
pub fn bucket(kept: Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> (Kept, Reply, f64) {
    bucket_under(Rules::ALL, kept, terms, ask, now)
}

/// As [`bucket`], under fewer rules: for the tests that show what each is for.
#[doc(hidden)]
pub fn bucket_under(rules: Rules, kept: Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> (Kept, Reply, f64) {
    let mut outcome = Outcome::default();
    let mut key = kept.unwrap_or_default();
    if !key.makes_sense() {
        key = Kept::default();
        outcome.damaged = true;
    }
    key.turn_epoch(rules, terms, now);
    let latest = now + (terms.burst + terms.overdraft) * terms.interval;
    if key.tat > latest {
        // No sequence of exchanges makes this: the clock went back, or somebody wrote here. As if just used up, so that it
        // comes back at the limit's own pace.
        key.tat = now + terms.burst * terms.interval;
        outcome.damaged = true;
    }
    if rules.floors_before_settling {
        key.block_refill(rules, terms, now);
    }
    if let Some(heal) = &ask.heal {
        key.tat = key.tat.max(heal.seen.min(latest));
        key.current = (key.current + heal.held).min((terms.burst - key.previous).max(key.current));
    }
    for settled in &ask.settled {
        key.settle(settled, terms);
    }
    key.tat -= ask.refund * terms.interval;
    key.block_refill(rules, terms, now);
    key.tat += ask.pay * terms.interval;

    key.demand = fade(key.demand, key.demand_at, now, terms.theta) + ask.demand;
    key.demand = key.demand.min(DEMAND_MAX);
    key.demand_at = now;

    let available = key.available(terms, now);
    outcome.taken = ask.take.min(floor(available)).max(0.0);
    outcome.granted = grant(ask, key.demand, available - outcome.taken, terms);
    key.tat += (outcome.taken + outcome.granted) * terms.interval;
    key.current += outcome.granted;

    let matters_for = (key.tat - now).max(0.0) + 2.0 * terms.ttl + EXTRA_US;
    (key, key.reply(terms, ask, now, &outcome), matters_for)
}

/// How much longer than needed a value is kept, in microseconds: a second, so that no rounding of clocks cuts it short.
pub(super) const EXTRA_US: f64 = 1_000_000.0;

/// Below so much demand of its own a node still counts as a third of a request: what it asks for once must not look like a share of
/// nothing. The 0.7 taken away is by how much a node's average is above its part of the store's just after its own request.
const SHARE_LEAST: f64 = 0.3;
const SHARE_BIAS: f64 = 0.7;

/// More than a fleet asks for within a theta: ten million a second for ten seconds, a hundred times over. Fading from it takes four
/// minutes, so that no written nonsense keeps a node's share small for long.
pub(super) const DEMAND_MAX: f64 = 1e10;

/// Which of the rules that keep the bound are in force: all of them, but in the tests that show what each is for.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Nothing comes back for units that may still be spent.
    pub outstanding_blocks_refill: bool,
    /// That is seen to before a report is settled, not only after.
    pub floors_before_settling: bool,
}

impl Rules {
    /// What the product goes by.
    pub const ALL: Self = Self {
        outstanding_blocks_refill: true,
        floors_before_settling: true,
    };
}

impl Kept {
    /// The answer to `ask`, from what is kept after it and what came of it: what a store elsewhere sends is only these two.
    pub fn reply(&self, terms: &Terms, ask: &Ask, now: f64, outcome: &Outcome) -> Reply {
        let available = self.available(terms, now);
        Reply {
            taken: outcome.taken,
            granted: outcome.granted,
            epoch: self.epoch_ends_at,
            valid_for: self.epoch_ends_at + terms.ttl - now,
            available,
            ready_after: ((1.0 - available) * terms.interval).max(0.0),
            rate: self.demand / terms.theta,
            share: share(ask.own, self.demand),
            seen: self.tat,
            damaged: outcome.damaged,
        }
    }

    fn available(&self, terms: &Terms, now: f64) -> f64 {
        terms.burst - (self.tat - now) / terms.interval
    }

    fn makes_sense(&self) -> bool {
        let all = [
            self.tat,
            self.demand,
            self.demand_at,
            self.current,
            self.previous,
            self.epoch_ends_at,
        ];
        all.iter().all(|value| value.is_finite() && *value >= 0.0) && self.demand <= DEMAND_MAX
    }

    /// Goes on to the epoch that `now` lies in. Units of an epoch nobody reported any more count as spent when it died.
    fn turn_epoch(&mut self, rules: Rules, terms: &Terms, now: f64) {
        let ttl = terms.ttl;
        if self.epoch_ends_at > now + ttl {
            // The store's clock went back, or the limit has changed: nobody can report what is outstanding by its number any more.
            self.epoch_ends_at = grid(now, ttl);
        }
        if now < self.epoch_ends_at {
            return;
        }
        let ended_at = self.epoch_ends_at;
        if rules.outstanding_blocks_refill {
            self.tat = self
                .tat
                .max(ended_at + bounded(self.current + self.previous, terms) * terms.interval);
        }
        if now < ended_at + ttl {
            self.previous = self.current;
            self.epoch_ends_at = ended_at + ttl;
        } else {
            if rules.outstanding_blocks_refill {
                self.tat = self
                    .tat
                    .max(ended_at + ttl + bounded(self.current, terms) * terms.interval);
            }
            self.previous = 0.0;
            self.epoch_ends_at = grid(now, ttl);
        }
        self.current = 0.0;
    }

    /// Nothing comes back for units that may still be spent.
    fn block_refill(&mut self, rules: Rules, terms: &Terms, now: f64) {
        let outstanding = if rules.outstanding_blocks_refill {
            bounded(self.current + self.previous, terms)
        } else {
            0.0
        };
        self.tat = self.tat.max(now + outstanding * terms.interval);
    }

    #[expect(
        clippy::float_cmp,
        reason = "epochs are told by whole numbers below 2⁵³, whose sums are exact"
    )]
    fn settle(&mut self, settled: &Settled, terms: &Terms) {
        let outstanding = if settled.epoch == self.epoch_ends_at {
            &mut self.current
        } else if settled.epoch == self.epoch_ends_at - terms.ttl {
            &mut self.previous
        } else {
            // Its epoch is dead, and it counts as spent.
            return;
        };
        let returned = settled.returned.min(*outstanding);
        *outstanding = (*outstanding - settled.spent - returned).max(0.0);
        self.tat -= returned * terms.interval;
    }
}

/// What is outstanding, as far as it can be: more than all there is can only be of a limit that was larger, or damage.
fn bounded(outstanding: f64, terms: &Terms) -> f64 {
    outstanding.min(terms.burst)
}

/// The end of the epoch that `now` lies in, on the grid of whole epochs.
fn grid(now: f64, ttl: f64) -> f64 {
    (floor(now / ttl) + 1.0) * ttl
}

/// What is left of an average; a clock that went back takes nothing from it.
pub(super) fn fade(value: f64, at: f64, now: f64, theta: f64) -> f64 {
    value * exp((at - now).min(0.0) / theta)
}

/// A node's part of what all ask for.
pub(super) fn share(own: f64, all: f64) -> f64 {
    if all <= 0.0 {
        return 1.0;
    }
    ((own - SHARE_BIAS).max(SHARE_LEAST) / all).min(1.0)
}

/// How much of what a node wants for its lease it gets, of what is `available`: half where there is plenty, otherwise its share
/// twice, so that something is left for whoever comes next. A broken unit is granted by chance, so that on average it is.
pub(super) fn grant(ask: &Ask, demand: f64, available: f64, terms: &Terms) -> f64 {
    let plenty = available > terms.burst / 2.0 && demand / terms.theta < terms.rate();
    let most = if plenty {
        available / 2.0
    } else {
        available * (2.0 * share(ask.own, demand)).min(1.0)
    };
    let granted = ask.want.min(most).max(0.0);
    let whole = floor(granted);
    let rounded = if ask.chance < granted - whole {
        whole + 1.0
    } else {
        whole
    };
    rounded.min(floor(available)).max(0.0)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "units are whole numbers, and times are given")]
mod tests {
    use super::*;
    use crate::Limit;
    use crate::sharing::Kind;

    /// Some time in November 2026, by the store's clock.
    const NOW: f64 = 91_000_000_000_000.0;
    const SECOND: f64 = 1_000_000.0;

    fn terms(limit: &str) -> Terms {
        let limit: Limit = limit.parse().expect("a limit");
        Terms::new(Kind::Bucket, &limit, 100.0)
    }

    fn want(want: f64) -> Ask {
        Ask { want, ..Ask::default() }
    }

    fn take(take: f64) -> Ask {
        Ask { take, ..Ask::default() }
    }

    fn settle(epoch: f64, spent: f64, returned: f64) -> Ask {
        Ask {
            settled: [Settled { epoch, spent, returned }, Settled::default()],
            ..Ask::default()
        }
    }

    fn ask(kept: &mut Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> Reply {
        let (next, reply, matters_for) = bucket(*kept, terms, ask, now);
        assert!(reply.is_sane(), "{reply:?}");
        assert!(matters_for > 0.0 && matters_for.is_finite());
        *kept = Some(next);
        reply
    }

    #[test]
    fn requests_take_what_there_is_and_leases_half_of_it() {
        let terms = terms("100/s burst 100");
        for (asked, taken, granted) in [
            (take(10.0), 10.0, 0.0),
            (take(1_000.0), 100.0, 0.0),
            (want(10.0), 0.0, 10.0),
            (want(1_000.0), 0.0, 50.0),
            (
                Ask {
                    want: 1_000.0,
                    ..take(60.0)
                },
                60.0,
                40.0,
            ),
        ] {
            let reply = ask(&mut None, &terms, &asked, NOW);
            assert_eq!((reply.taken, reply.granted), (taken, granted), "{asked:?}");
            assert_eq!(reply.available, 100.0 - taken - granted);
        }
    }

    #[test]
    fn a_broken_unit_is_granted_by_chance_and_never_one_that_is_not_there() {
        let terms = terms("100/s burst 100");
        let granted = |want: f64, available: f64, chance: f64| {
            let asked = Ask {
                want,
                chance,
                own: 100.0,
                demand: 100.0,
                ..Ask::default()
            };
            let mut kept = None;
            let _ = ask(&mut kept, &terms, &take(100.0), NOW);
            ask(&mut kept, &terms, &asked, NOW + available * terms.interval).granted
        };
        assert_eq!(granted(3.25, 20.0, 0.24), 4.0);
        assert_eq!(granted(3.25, 20.0, 0.26), 3.0);
        assert_eq!(granted(20.0, 3.75, 0.0), 3.0);
        assert_eq!(granted(0.5, 0.75, 0.0), 0.0);
        let all = (0..1_000).map(|step| granted(3.25, 20.0, f64::from(step) / 1_000.0));
        assert!((all.sum::<f64>() / 1_000.0 - 3.25).abs() < 0.01);
    }

    #[test]
    fn what_passed_on_trust_is_charged_whatever_is_left_and_said_when_it_has_come_back() {
        let terms = terms("100/s burst 100");
        let mut kept = None;
        let _ = ask(&mut kept, &terms, &take(100.0), NOW);
        let pays = Ask { pay: 20.0, ..take(1.0) };
        let reply = ask(&mut kept, &terms, &pays, NOW);
        assert_eq!((reply.taken, reply.available), (0.0, -20.0));
        assert_eq!(reply.ready_after, 21.0 * terms.interval);
        assert_eq!(ask(&mut kept, &terms, &take(1.0), NOW + reply.ready_after).taken, 1.0);
    }

    #[test]
    fn a_lease_is_settled_in_its_epoch_and_the_next_and_counts_as_spent_after_that() {
        let terms = terms("100/s burst 100");
        let begins_at = grid(NOW, terms.ttl);
        for (later, is_settled) in [(0.0, true), (1.0, true), (1.9, true), (2.0, false), (5.0, false)] {
            let mut kept = None;
            let lease = ask(&mut kept, &terms, &want(40.0), begins_at);
            assert_eq!(lease.valid_for, 2.0 * terms.ttl);
            let now = begins_at + later * terms.ttl;
            let _ = ask(&mut kept, &terms, &settle(lease.epoch, 0.0, 40.0), now);
            let outstanding = kept.map_or(0.0, |kept| kept.current + kept.previous);
            assert_eq!(outstanding, 0.0, "{later} epochs later");
            let reply = ask(&mut kept, &terms, &Ask::default(), now);
            // Ended two epochs after its grant, and has come back since.
            let came_back = (later - 2.0) * terms.ttl / terms.interval;
            let expected = if is_settled {
                100.0
            } else {
                (60.0 + came_back).min(100.0)
            };
            assert!(
                (reply.available - expected).abs() < 0.001,
                "{later}: {}",
                reply.available
            );
        }
    }

    #[test]
    fn nobody_settles_more_than_is_outstanding() {
        let terms = terms("100/s burst 100");
        let mut kept = None;
        let lease = ask(&mut kept, &terms, &want(10.0), NOW);
        let _ = ask(&mut kept, &terms, &take(50.0), NOW);
        let reply = ask(&mut kept, &terms, &settle(lease.epoch, 0.0, 1_000.0), NOW);
        assert_eq!(reply.available, 50.0);
        let reply = ask(&mut kept, &terms, &settle(lease.epoch, 1_000.0, 1_000.0), NOW);
        assert_eq!(reply.available, 50.0);
    }

    #[test]
    fn what_nodes_remember_is_merged_and_what_they_hold_is_outstanding() {
        let terms = terms("100/s burst 100");
        let mut kept = None;
        let heal = |seen: f64, held: f64| Ask {
            heal: Some(Heal {
                seen,
                seen_epoch: 0.0,
                held,
            }),
            ..Ask::default()
        };
        let reply = ask(&mut kept, &terms, &heal(NOW + 40.0 * terms.interval, 10.0), NOW);
        assert_eq!(reply.available, 60.0);
        let reply = ask(&mut kept, &terms, &heal(NOW + 70.0 * terms.interval, 20.0), NOW);
        assert_eq!(reply.available, 30.0);
        let reply = ask(&mut kept, &terms, &heal(NOW + 20.0 * terms.interval, 20.0), NOW);
        assert_eq!(reply.available, 30.0, "others know better");
        assert_eq!(kept.map(|kept| kept.current), Some(50.0));
        // What no node can have seen is cut, and what they hold is never more than there is.
        let reply = ask(&mut kept, &terms, &heal(1e300, 1e300), NOW);
        assert_eq!(reply.available, -100.0);
        assert_eq!(kept.map(|kept| kept.current), Some(100.0));
    }

    #[test]
    fn a_node_s_share_is_its_part_of_what_all_ask_for() {
        let terms = terms("100/s burst 100");
        let mut kept = None;
        let asks = |own: f64| Ask {
            own,
            demand: own,
            ..Ask::default()
        };
        let _ = ask(&mut kept, &terms, &asks(75.0), NOW);
        let reply = ask(&mut kept, &terms, &asks(25.0), NOW);
        assert!((reply.share - 0.243).abs() < 1e-9);
        assert_eq!(reply.rate * terms.theta, 100.0);
        // One that asks for next to nothing still has a part.
        assert!(ask(&mut kept, &terms, &asks(0.0), NOW).share > 0.0);
        assert_eq!(ask(&mut None, &terms, &asks(0.0), NOW).share, 1.0);
    }

    #[test]
    fn what_makes_no_sense_is_thrown_away_and_locks_no_key() {
        let terms = terms("100/s burst 100");
        let mut sane = None;
        let _ = ask(&mut sane, &terms, &want(10.0), NOW);
        let sane = sane.expect("it was kept");
        let fields: [fn(&mut Kept, f64); 6] = [
            |kept, value| kept.tat = value,
            |kept, value| kept.demand = value,
            |kept, value| kept.demand_at = value,
            |kept, value| kept.current = value,
            |kept, value| kept.previous = value,
            |kept, value| kept.epoch_ends_at = value,
        ];
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, f64::MAX, 1e16] {
            for (index, spoil) in fields.iter().enumerate() {
                let mut damaged = sane;
                spoil(&mut damaged, value);
                let mut kept = Some(damaged);
                let _ = ask(&mut kept, &terms, &want(10.0), NOW);
                let _ = ask(&mut kept, &terms, &take(1.0), NOW + terms.ttl);
                // Two epochs for what may be outstanding, and all that nodes may owe.
                let recovers_after = 2.0 * terms.ttl + (terms.burst + terms.overdraft) * terms.interval;
                let reply = ask(&mut kept, &terms, &take(1.0), NOW + terms.ttl + recovers_after);
                assert_eq!(reply.taken, 1.0, "field {index} was {value}");
                let demand = kept.map_or(f64::NAN, |kept| kept.demand);
                assert!(demand <= DEMAND_MAX, "field {index} was {value}");
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_costs_a_burst_at_most() {
        let terms = terms("100/s burst 100");
        for back in [0.1, 1.0, 10.0, 3_600.0, 86_400.0 * 365.0] {
            let mut kept = None;
            let _ = ask(
                &mut kept,
                &terms,
                &Ask {
                    want: 50.0,
                    ..take(50.0)
                },
                NOW,
            );
            let now = NOW - back * SECOND;
            let reply = ask(&mut kept, &terms, &take(1.0), now);
            assert!(
                reply.ready_after <= 2.0 * terms.whole() + terms.interval,
                "{back}: {reply:?}"
            );
            // Two epochs for what is outstanding, by numbers that nobody knows any more.
            let later = now + 2.0 * terms.ttl + 2.0 * terms.whole();
            assert_eq!(ask(&mut kept, &terms, &take(1.0), later).taken, 1.0, "{back}");
        }
    }

    #[test]
    fn terms_travel_with_each_ask_so_a_limit_changes_with_the_next() {
        let (large, small) = (terms("1000/s burst 1000"), terms("100/s burst 100"));
        let mut kept = None;
        let lease = ask(
            &mut kept,
            &large,
            &Ask {
                want: 500.0,
                ..take(100.0)
            },
            NOW,
        );
        assert_eq!(lease.granted, 450.0);
        let reply = ask(&mut kept, &small, &take(1.0), NOW);
        assert!(reply.taken == 0.0 && reply.available <= 0.0);
        // What is out on leases of the old limit drains within two epochs of it.
        let reply = ask(
            &mut kept,
            &small,
            &take(1.0),
            NOW + 2.0 * large.ttl + small.whole() + small.interval,
        );
        assert_eq!(reply.taken, 1.0);
    }
}
