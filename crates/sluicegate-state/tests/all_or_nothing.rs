//! Several charges together: all are taken or none is, and threads that meet never admit more than a limit allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::{Cost, KeyHash, KeyHasher, Mode, PartKind, Report, Retry, RuleId, Secret, Timestamp};
use sluicegate_state::{
    Bucket, BucketIdentity, BucketSpec, Charge, Hold, Key, ManualClock, Memory, SMALL_CELL_BYTES, Table, Taken,
    Takings, WhenRefused,
};

fn table(limits: &[&str]) -> Table {
    let specs = (1..).zip(limits).map(|(name, text)| {
        let limit = text.parse().expect("a limit");
        BucketSpec::token_bucket(BucketIdentity(name), limit, None)
    });
    Table::with_buckets(Memory::small(8192 * SMALL_CELL_BYTES), specs)
        .expect("a small table")
        .0
}

/// Takes all or nothing; nothing here is held or waits.
fn take(table: &Table, charges: &[Charge<'_>], clock: &ManualClock, report: &mut Report) -> Taken {
    let mut takings = Takings::new();
    let taken = table.take(charges, clock, report, &mut takings);
    assert!(takings.is_empty());
    taken
}

const ALL: Taken = Taken::All { delay: Duration::ZERO };

fn key(name: &str) -> KeyHash {
    KeyHasher::new(&Secret::from_bytes([1; 32]))
        .key()
        .part(PartKind::Value, name.as_bytes())
        .finish()
}

/// One charge of one unit in each bucket, for the same key.
fn charges(buckets: &[Arc<Bucket>], key: Key, mode: impl Fn(usize) -> Mode) -> Vec<Charge<'_>> {
    let charge = |(index, bucket)| Charge {
        rule: RuleId::new(u16::try_from(index).expect("few rules")),
        bucket,
        meter: 0,
        key,
        cost: Cost::ONE,
        mode: mode(index),
        hold: Hold::No,
        when_refused: WhenRefused::Nothing,
    };
    buckets.iter().enumerate().map(charge).collect()
}

fn left(table: &Table, index: usize, key: Key, now: Timestamp) -> u64 {
    table
        .charge(&table.buckets().swap_remove(index), key, Cost::ZERO, now)
        .remaining()
}

/// Whichever of three limits is the empty one, the other two keep their tokens.
#[test]
fn a_refusal_by_any_rule_charges_no_other_rule() {
    for empty in 0..3 {
        let mut limits = ["10/s", "10/s", "10/s"];
        limits[empty] = "1 per 10s burst 1";
        let table = table(&limits);
        let clock = ManualClock::at(Timestamp::from_nanos(5));
        let alice = Key::Hash(key("alice"));
        let buckets = table.buckets();
        let charges = charges(&buckets, alice, |_| Mode::Enforced);
        assert_eq!(take(&table, &charges, &clock, &mut Report::new()), ALL);
        let mut report = Report::new();
        assert_eq!(take(&table, &charges, &clock, &mut report), Taken::Nothing);
        for (index, state) in report.states().iter().enumerate() {
            assert_eq!(state.refuses(), index == empty);
            assert_eq!(state.remaining, if index == empty { 0 } else { 9 });
        }
        let retry = report.states()[empty].retry();
        assert_eq!(retry, Some(Retry::After(Duration::from_secs(10))));
        for index in (0..3).filter(|index| *index != empty) {
            assert_eq!(left(&table, index, alice, Timestamp::from_nanos(5)), 9);
        }
    }
}

#[test]
fn a_shadow_rule_never_refuses_and_is_charged_only_when_the_others_admit() {
    let table = table(&["2 per 10s", "1 per 10s"]);
    let clock = ManualClock::default();
    let alice = Key::Hash(key("alice"));
    let buckets = table.buckets();
    let charges = charges(
        &buckets,
        alice,
        |index| if index == 1 { Mode::Shadow } else { Mode::Enforced },
    );
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let mut report = Report::new();
        let taken = take(&table, &charges, &clock, &mut report);
        outcomes.push((taken, report.states()[1].passes()));
    }
    assert_eq!(outcomes, [(ALL, true), (ALL, false), (Taken::Nothing, false)]);
}

#[test]
fn a_refused_request_leaves_shadow_rules_as_they_were() {
    let table = table(&["1 per 10s", "5 per 10s"]);
    let clock = ManualClock::default();
    let alice = Key::Hash(key("alice"));
    let buckets = table.buckets();
    let charges = charges(
        &buckets,
        alice,
        |index| if index == 1 { Mode::Shadow } else { Mode::Enforced },
    );
    for _ in 0..10 {
        let _ = take(&table, &charges, &clock, &mut Report::new());
    }
    assert_eq!(left(&table, 1, alice, Timestamp::ZERO), 4);
}

/// The middle limit is the tight one, so threads often take the first, meet a refusal at the second, and give back.
#[test]
fn threads_that_meet_never_admit_more_than_the_tightest_limit_and_leak_nothing() {
    const ROUNDS: u64 = 300;
    let table = table(&["1000/s", "10 per 1000s", "1000/s"]);
    let clock = ManualClock::default();
    for round in 0..ROUNDS {
        let client = Key::Hash(key(&format!("client {round}")));
        let buckets = table.buckets();
        let charges = charges(&buckets, client, |_| Mode::Enforced);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        if take(&table, &charges, &clock, &mut Report::new()) == ALL {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let admitted = admitted.into_inner();
        assert_eq!(admitted, 10, "on a clock that stands, the burst passes and no more");
        for index in [0, 2] {
            assert_eq!(
                left(&table, index, client, Timestamp::ZERO),
                1000 - admitted,
                "rule {index} leaked"
            );
        }
    }
}
