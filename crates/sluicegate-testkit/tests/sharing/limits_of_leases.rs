//! What the store must not give out again while a node holds it: single exchanges by hand, and the exact meter.

use sluicegate_core::Limit;
use sluicegate_core::sharing::exchange::{Kept, Rules, bucket_under};
use sluicegate_core::sharing::{Ask, Kind, Reply, Settled, Terms};
use sluicegate_testkit::fleet::Meter;

/// A store and what nodes spent, second by second.
struct Desk {
    rules: Rules,
    terms: Terms,
    kept: Option<Kept>,
    meter: Meter,
    now: f64,
}

impl Desk {
    /// At the beginning of an epoch.
    fn of(limit: &str, rules: Rules) -> Self {
        let limit: Limit = limit.parse().expect("a limit");
        let terms = Terms::new(Kind::Bucket, &limit, 0.0);
        Self {
            rules,
            terms,
            kept: None,
            meter: Meter::default(),
            now: 1e9 * terms.ttl,
        }
    }

    fn ask(&mut self, ask: Ask) -> Reply {
        let (kept, reply, _) = bucket_under(self.rules, self.kept, &self.terms, &ask, self.now);
        self.kept = Some(kept);
        reply
    }

    /// Asks for leases, as many nodes would, until nothing is left.
    fn lease_all(&mut self) -> Vec<(f64, f64)> {
        let mut leases = Vec::new();
        loop {
            let reply = self.ask(Ask {
                want: self.terms.burst,
                ..Ask::default()
            });
            if reply.granted == 0.0 {
                return leases;
            }
            leases.push((reply.epoch, reply.granted));
        }
    }

    fn spend(&mut self, units: f64) {
        let mut left = units;
        while left > 0.0 {
            self.meter.pass(&self.terms, self.now, 1.0, 1.0);
            left -= 1.0;
        }
    }

    fn report(&mut self, epoch: f64, spent: f64) {
        let settled = Settled {
            epoch,
            spent,
            ..Settled::default()
        };
        self.ask(Ask {
            settled: [settled, Settled::default()],
            ..Ask::default()
        });
    }
}

/// Everything is out on leases, nobody spends until the bucket would be full again, then all do, and new ones are asked for.
fn excess_of_leases_held_until_the_bucket_would_be_full(rules: Rules) -> f64 {
    let mut desk = Desk::of("100/s burst 200", rules);
    let leases = desk.lease_all();
    assert!(leases.iter().map(|lease| lease.1).sum::<f64>() > 190.0);
    // Just before they end, after two epochs: in that time a burst comes back.
    desk.now += 2.0 * desk.terms.ttl - 10_000.0;
    let more = desk.lease_all();
    for (_, units) in leases.into_iter().chain(more) {
        desk.spend(units);
    }
    desk.meter.excess
}

/// Everything is out on leases, is spent just before they end, and reported just after that.
fn excess_of_reports_just_after_the_spending(rules: Rules) -> f64 {
    let mut desk = Desk::of("100/s burst 200", rules);
    let leases = desk.lease_all();
    desk.now += 2.0 * desk.terms.ttl - 10_000.0;
    for (_, units) in &leases {
        desk.spend(*units);
    }
    desk.now += 5_000.0;
    for (epoch, units) in leases {
        desk.report(epoch, units);
    }
    for (_, units) in desk.lease_all() {
        desk.spend(units);
    }
    desk.meter.excess
}

/// SH7. Without the rule, a whole second burst is given out.
#[test]
fn what_is_out_on_leases_does_not_come_back_until_it_is_settled() {
    assert!(excess_of_leases_held_until_the_bucket_would_be_full(Rules::ALL) <= 0.0);
    let without = Rules {
        outstanding_blocks_refill: false,
        ..Rules::ALL
    };
    assert!(excess_of_leases_held_until_the_bucket_would_be_full(without) > 150.0);
}

/// SH8. In the wrong order, what was spent a moment ago counts as spent when it was granted, and has come back since.
#[test]
fn a_report_just_after_the_spending_frees_nothing_that_could_not_have_come_back() {
    assert!(excess_of_reports_just_after_the_spending(Rules::ALL) <= 0.0);
    let without = Rules {
        floors_before_settling: false,
        ..Rules::ALL
    };
    assert!(excess_of_reports_just_after_the_spending(without) > 80.0);
}

/// SH8, of a node that never reports: its lease counts as spent when it ends, at the last moment at which it could be.
#[test]
fn a_lease_that_nobody_reports_counts_as_spent_when_it_ends() {
    for waits in [0.0, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0, 3.0] {
        let mut desk = Desk::of("100/s burst 200", Rules::ALL);
        let leases = desk.lease_all();
        let ttl = desk.terms.ttl;
        desk.now += 2.0 * ttl - 10_000.0;
        for (_, units) in leases {
            desk.spend(units);
        }
        desk.now += 10_000.0 + waits * ttl;
        for (_, units) in desk.lease_all() {
            desk.spend(units);
        }
        assert!(desk.meter.excess <= 0.0, "asked {waits} epochs later");
    }
}
