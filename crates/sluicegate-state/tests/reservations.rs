//! What is taken now and told the truth later: refunds that revive nothing, guesses in parallel, locks.

mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::algorithm::{Algorithm, Align, Meter};
use sluicegate_core::{Cost, Retry, Timestamp};
use sluicegate_state::{Charge, Clock, Holding, ManualClock, Table, WhenRefused};
use world::{AMPLE, ask, at_ms, charge, clean, held, key, meter, reserve, settling, spec, take};

const SECOND: Timestamp = at_ms(1_000);

struct World {
    table: Table,
    clock: ManualClock,
}

impl World {
    fn new(meter: Meter) -> Self {
        let (table, _) = Table::with_buckets(AMPLE, [spec(1, [meter])]).expect("a table");
        Self {
            table,
            clock: ManualClock::at(at_ms(86_400_000)),
        }
    }

    fn spend(&self, units: u64) -> bool {
        let buckets = self.table.buckets();
        let one = Charge {
            cost: Cost::new(units),
            ..charge(1, &buckets[0], key(1))
        };
        take(&self.table, &[one], &self.clock).is_some()
    }

    fn reserve(&self, units: u64) -> Option<Holding> {
        let buckets = self.table.buckets();
        let one = Charge {
            cost: Cost::new(units),
            ..held(1, &buckets[0], key(1))
        };
        reserve(&self.table, one, &self.clock)
    }

    fn settle(&self, holding: Holding, actual: u64) {
        self.table.settle(holding, Cost::new(actual), self.clock.now());
    }

    fn left(&self) -> u64 {
        ask(&self.table, &self.table.buckets()[0], key(1), self.clock.now()).remaining()
    }

    fn wait(&self) -> Option<Retry> {
        ask(&self.table, &self.table.buckets()[0], key(1), self.clock.now()).retry()
    }

    fn held(&self) -> u64 {
        self.table.buckets()[0].held()
    }
}

/// Reserve 10, wait for 9, let another take 9, give 10 back: 10 more would make 19 in the time of 9.
#[test]
fn a_late_refund_never_revives_refill_that_was_used_already() {
    for meter in [
        meter(Algorithm::TokenBucket, "1/s burst 10"),
        settling("1/s burst 10", None),
    ] {
        let world = World::new(meter);
        let holding = world.reserve(10).expect("a full bucket");
        world.clock.advance(Duration::from_secs(9));
        let spent = u64::from(world.spend(9)) * 9;
        world.settle(holding, 0);
        let after = world.left();
        // Ten at once and nine that came since: no more, whether they were refilled or given back.
        assert!(spent + after <= 10 + 9, "{spent} and {after}");
        let again = (0..30).filter(|_| world.spend(1)).count() as u64;
        assert!(spent + again <= 10, "{spent} and {again} within the ninth second");
    }
}

#[test]
fn what_is_outstanding_blocks_refill_and_comes_back_in_full_whenever_it_is_settled() {
    for late_seconds in [0, 3, 9, 90, 9_000] {
        let world = World::new(settling("1/s burst 10", None));
        let holding = world.reserve(6).expect("a full bucket");
        world.clock.advance(Duration::from_secs(late_seconds));
        assert_eq!(world.left(), 4, "{late_seconds} s later");
        world.settle(holding, 0);
        assert_eq!(world.left(), 10);
    }
}

#[test]
fn a_reservation_is_never_forgotten_however_long_it_is_open() {
    let world = World::new(settling("1/s burst 10", None));
    let holding = world.reserve(10).expect("a full bucket");
    world.clock.advance(Duration::from_hours(24 * 365));
    clean(&world.table, world.clock.now());
    assert!(!world.spend(1), "its cell was given away");
    world.settle(holding, 10);
    assert!(!world.spend(1), "charged as it was reserved, now");
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.left(), 10);
}

#[test]
fn more_than_was_reserved_is_an_overdraft_that_has_to_be_paid_off() {
    for (meter, seconds) in [
        (settling("1/s burst 10", None), 15),
        (
            meter(Algorithm::FixedWindow { align: Align::FirstHit }, "10 per 100s"),
            100,
        ),
    ] {
        let world = World::new(meter);
        let holding = world.reserve(4).expect("a full bucket");
        world.settle(holding, 25);
        assert!(!world.spend(1));
        assert!(world.wait().is_some(), "not even a question passes");
        world.clock.advance(Duration::from_secs(seconds - 1));
        assert!(!world.spend(1));
        world.clock.advance(Duration::from_secs(2));
        assert!(world.spend(1));
    }
}

/// Four threads guess at once, their answers come late and in any order, and all of them are wrong.
#[test]
fn parallel_guesses_never_beat_a_limit_of_five() {
    const LIMIT: u64 = 5;
    let meters = [
        settling("5 per 15min", None),
        settling("5 per 15min", Some(Duration::from_mins(15))),
        meter(Algorithm::FixedWindow { align: Align::FirstHit }, "5 per 15min"),
        meter(Algorithm::SlidingWindow, "5 per 15min"),
    ];
    for round in 0..200u64 {
        let meter = meters[usize::try_from(round % 4).expect("small")];
        let world = World::new(meter);
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (world, answered) = (&world, &answered);
                scope.spawn(move || {
                    let mut open = Vec::new();
                    for turn in 0..12usize {
                        open.extend(world.reserve(1));
                        // Some answers come at once, some only in the end.
                        if (turn + thread) % 3 == 0
                            && let Some(holding) = open.pop()
                        {
                            answered.fetch_add(1, Ordering::Relaxed);
                            world.settle(holding, 1);
                        }
                    }
                    for holding in open {
                        answered.fetch_add(1, Ordering::Relaxed);
                        world.settle(holding, 1);
                    }
                });
            }
        });
        assert_eq!(answered.into_inner(), LIMIT, "{meter:?}");
        assert_eq!((world.held(), world.left()), (0, 0));
        assert!(world.reserve(1).is_none());
    }
}

/// As before, but half of the guesses turn out to be the owner's, and are given back: what failed is still five at most.
#[test]
fn guesses_that_come_back_let_others_in_and_failures_stay_within_the_limit() {
    for _ in 0..100 {
        let world = World::new(settling("5 per 15min", None));
        let failed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (world, failed) = (&world, &failed);
                scope.spawn(move || {
                    for turn in 0..40usize {
                        let Some(holding) = world.reserve(1) else { continue };
                        let is_wrong = (turn + thread) % 2 == 0;
                        failed.fetch_add(u64::from(is_wrong), Ordering::Relaxed);
                        world.settle(holding, u64::from(is_wrong));
                    }
                });
            }
        });
        while let Some(holding) = world.reserve(1) {
            failed.fetch_add(1, Ordering::Relaxed);
            world.settle(holding, 1);
        }
        assert_eq!(failed.into_inner(), 5);
    }
}

#[test]
fn the_last_allowed_failure_locks_and_attempts_during_the_lock_do_not_extend_it() {
    let lock = Duration::from_mins(15);
    let world = World::new(settling("5 per 1h", Some(lock)));
    for failure in 1..=5 {
        assert_eq!(world.wait(), None, "before failure {failure}");
        let guess = world.reserve(1).expect("not locked yet");
        world.settle(guess, 1);
    }
    assert_eq!(
        world.wait(),
        Some(Retry::After(lock)),
        "from the last allowed one on, not from one after it"
    );
    for minute in 1..15 {
        world.clock.advance(Duration::from_mins(1));
        assert!(world.reserve(1).is_none() && !world.spend(1));
        let buckets = world.table.buckets();
        let penalty = Charge {
            when_refused: WhenRefused::Charge,
            ..charge(1, &buckets[0], key(1))
        };
        assert!(take(&world.table, &[penalty], &world.clock).is_none());
        assert_eq!(world.wait(), Some(Retry::After(Duration::from_mins(15 - minute))));
    }
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.left(), 5, "as never seen");
}

#[test]
fn a_refusal_for_open_attempts_starts_no_lock_and_the_failure_among_them_that_uses_the_limit_up_does() {
    let world = World::new(settling("3 per 1h", Some(Duration::from_mins(15))));
    let open: Vec<_> = (0..3).map(|_| world.reserve(1).expect("three fit")).collect();
    let Some(Retry::After(wait)) = take_refused(&world) else {
        unreachable!("a fourth has no room")
    };
    assert!(wait < Duration::from_hours(1));
    let mut open = open.into_iter();
    world.settle(open.next().expect("three"), 1);
    world.settle(open.next().expect("three"), 0);
    assert!(world.left() == 1, "two failed or are open");
    world.settle(open.next().expect("three"), 1);
    assert_eq!(world.left(), 1);
    let last = world.reserve(1).expect("one is left");
    world.settle(last, 1);
    assert_eq!(world.wait(), Some(Retry::After(Duration::from_mins(15))));
}

fn take_refused(world: &World) -> Option<Retry> {
    let standing = world
        .table
        .charge(&world.table.buckets()[0], key(1), Cost::ONE, world.clock.now())
        .retry();
    assert_eq!(world.left(), 0);
    standing
}

#[test]
fn a_clear_forgets_failures_but_neither_what_is_open_nor_a_lock() {
    let world = World::new(settling("5 per 1h", Some(Duration::from_mins(15))));
    for _ in 0..3 {
        let guess = world.reserve(1).expect("not used up");
        world.settle(guess, 1);
    }
    let (open, owner) = (
        world.reserve(1).expect("two are left"),
        world.reserve(1).expect("one is left"),
    );
    world.table.clear(owner, world.clock.now());
    assert_eq!((world.left(), world.held()), (4, 1), "all but the one that is open");
    for _ in 0..4 {
        let guess = world.reserve(1).expect("not used up");
        world.settle(guess, 1);
    }
    world.settle(open, 1);
    assert!(world.wait().is_some(), "five failed since");
}

/// A clear that races with guesses lets at most another limit's worth through.
#[test]
fn a_clear_beside_guesses_forgets_no_more_than_failed_before_it() {
    for _ in 0..200 {
        let world = World::new(settling("5 per 1h", None));
        let owner = world.reserve(1).expect("a full bucket");
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| world.table.clear(owner, world.clock.now()));
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        if let Some(holding) = world.reserve(1) {
                            answered.fetch_add(1, Ordering::Relaxed);
                            world.settle(holding, 1);
                        }
                    }
                });
            }
        });
        let answered = answered.into_inner();
        assert!(
            answered <= 5 + 4,
            "{answered} guesses, of which four fit beside the owner's and were forgotten"
        );
        assert_eq!(world.held(), 0);
    }
}

#[test]
fn what_is_given_back_goes_to_the_window_that_was_charged_and_to_no_other() {
    let world = World::new(meter(Algorithm::FixedWindow { align: Align::Epoch }, "5/s"));
    world.clock.set(SECOND);
    let early = world.reserve(3).expect("a fresh window");
    world.clock.set(at_ms(2_000));
    assert!(world.spend(4));
    world.settle(early, 0);
    assert_eq!(world.left(), 1, "the second of before is over");
    let now = world.reserve(1).expect("one is left");
    world.settle(now, 0);
    assert_eq!(world.left(), 1);
}
