//! What the store's arithmetic holds whatever it is asked, at whatever time: nodes may be broken, clocks jump, limits change.

#![expect(clippy::cast_precision_loss, reason = "small limits")]

mod reservations;

use proptest::prelude::*;
use sluicegate_core::Limit;
use sluicegate_core::sharing::exchange::{self, Kept};
use sluicegate_core::sharing::{Ask, Heal, Kind, Reply, Settled, Terms, windows};

/// A time in November 2026, by the store's clock in microseconds.
const NOW: f64 = 91_000_000_000_000.0;

/// What the clock does between two exchanges, and what is asked.
#[derive(Debug, Clone, Copy)]
struct Step {
    passes: f64,
    ask: Ask,
    limit: usize,
    /// Of which the ask settles: how many epochs before the last reply's.
    epochs_ago: f64,
}

/// Mostly none, often a few, sometimes any number that a node may send.
fn units() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => Just(0.0),
        4 => (0u32..50).prop_map(f64::from),
        2 => 0.0..20.0f64,
        1 => 0.0..1e9f64,
    ]
}

fn passes() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..100_000.0f64,
        4 => 0.0..5e6f64,
        1 => 0.0..1e12f64,
        1 => -5e6..0.0f64,
    ]
}

fn heal() -> impl Strategy<Value = Option<Heal>> {
    let heal = (-1e7..1e7f64, units(), 0.0..3.0f64);
    prop_oneof![
        5 => Just(None),
        1 => heal.prop_map(|(ahead, held, ago)| Some(Heal { seen: ahead, seen_epoch: ago.floor(), held })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let asks = (units(), units(), units(), units(), units(), units());
    let others = (units(), 0.0..1.0f64, heal());
    (passes(), asks, others, 0usize..8, 0u8..3).prop_map(|(passes, asks, others, limit, epochs_ago)| {
        let (pay, take, want, refund, spent, returned) = asks;
        let (own, chance, heal) = others;
        let settled = Settled {
            epoch: 0.0,
            spent,
            returned,
            reserved: (spent * 3.0).min(returned),
        };
        Step {
            passes,
            ask: Ask {
                pay: pay.min(1e6),
                take: take.floor(),
                holds: limit % 2 == 0,
                clear: limit == 7,
                want,
                refund,
                settled: [settled, Settled::default()],
                demand: own,
                own,
                chance,
                heal,
            },
            // Changes now and then.
            limit: limit.saturating_sub(5),
            epochs_ago: f64::from(epochs_ago),
        }
    })
}

fn terms(kind: Kind) -> [Terms; 3] {
    ["100/s burst 200", "1000/s burst 50", "5/min"].map(|limit| {
        let limit: Limit = limit.parse().expect("a limit");
        Terms::new(kind, &limit, limit.burst().get() as f64)
    })
}

/// What was granted is whole, was asked for, and was there.
fn assert_honest(ask: &Ask, reply: &Reply) {
    assert!(reply.is_sane(), "{reply:?}");
    assert!(reply.taken <= ask.take && reply.granted < ask.want + 1.0);
    assert!(reply.taken.fract() == 0.0 && reply.granted.fract() == 0.0);
    if reply.taken + reply.granted > 0.0 {
        assert!(reply.available > -1e-4, "{} left", reply.available);
    }
}

proptest! {
    #[test]
    fn a_bucket_owes_at_least_what_is_outstanding_and_grants_nothing_that_is_not_there(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let all = terms(Kind::Bucket);
        let mut kept: Option<Kept> = None;
        let mut now = NOW;
        let mut last_epoch = 0.0;
        for mut step in steps {
            now += step.passes;
            let terms = &all[step.limit];
            step.ask.settled[0].epoch = last_epoch - step.epochs_ago * terms.ttl;
            if let Some(heal) = &mut step.ask.heal {
                heal.seen = (heal.seen + now).max(0.0);
                heal.seen_epoch = 0.0;
            }
            let before = kept.map_or(0.0, |kept| kept.current + kept.previous) + if step.ask.holds { step.ask.take } else { 0.0 };
            let (next, reply, matters_for) = exchange::bucket(kept, terms, &step.ask, now);
            assert_honest(&step.ask, &reply);
            let outstanding = next.current + next.previous;
            let healed = step.ask.heal.map_or(0.0, |heal| heal.held);
            prop_assert!(outstanding <= before + reply.granted + healed + 1e-6);
            let debt = (next.tat - now) / terms.interval;
            prop_assert!(debt >= outstanding.min(terms.burst) - 1e-4, "{debt}, {outstanding}");
            prop_assert!(next.epoch_ends_at > now && next.epoch_ends_at <= now + terms.ttl);
            prop_assert!(matters_for >= next.tat - now);
            last_epoch = reply.epoch;
            kept = Some(next);
        }
    }

    #[test]
    fn a_window_counts_at_most_its_limit_but_for_what_is_owed(
        steps in proptest::collection::vec(step(), 1..60),
        slides: bool,
    ) {
        let kind = if slides { Kind::SlidingWindow } else { Kind::FixedWindow };
        let all = terms(kind);
        let terms = &all[0];
        let mut kept: Option<windows::Kept> = None;
        let mut now = NOW;
        let mut last = Reply::default();
        for mut step in steps {
            now += step.passes;
            step.ask.settled[0].epoch = last.epoch - step.epochs_ago;
            if let Some(heal) = &mut step.ask.heal {
                heal.seen = heal.seen.abs() % 100.0;
                heal.seen_epoch = last.epoch - heal.seen_epoch;
            }
            let owes = step.ask.pay > 0.0 || step.ask.heal.is_some() || step.passes < 0.0;
            let (next, reply, matters_for) = windows::exchange(kept, terms, &step.ask, now);
            assert_honest(&step.ask, &reply);
            if last.available >= 0.0 && !owes {
                prop_assert!(reply.available >= -1e-4, "{} left", reply.available);
            }
            prop_assert!(matters_for > 0.0 && next.current >= 0.0 && next.previous >= 0.0);
            last = reply;
            kept = Some(next);
        }
    }
}
