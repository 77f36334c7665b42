//! Requests that draw from buckets of every algorithm at once: what each defect found there looked like, and what holds
//! whatever is mixed.

mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::algorithm::{Algorithm, Meter};
use sluicegate_core::{Cost, Mode, Report};
use sluicegate_state::{Charge, Clock, Key, ManualClock, Overflow, Table, Taken, Takings, WhenRefused};
use world::{
    AMPLE, ask, at_ms, charge, clean, held, key, leaky, leave, limit, meter, one_of_each, reserve, settling, spec, take,
};

const ALL: Taken = Taken::All { delay: Duration::ZERO };

/// Two rules of one bucket with the same threshold once charged it twice.
#[test]
fn two_rules_of_one_bucket_charge_it_once_also_if_their_limits_are_equal() {
    let (table, buckets) =
        Table::with_buckets(AMPLE, [spec(1, [meter(Algorithm::TokenBucket, "4/h")])]).expect("a table");
    let clock = ManualClock::at(at_ms(5));
    for mode in [Mode::Enforced, Mode::Shadow] {
        let alice = key(u64::from(mode == Mode::Shadow));
        let both = [1, 2].map(|rule| Charge {
            mode,
            ..charge(rule, &buckets[0], alice)
        });
        assert_eq!((0..2).filter(|_| take(&table, &both, &clock).is_some()).count(), 2);
        assert_eq!(ask(&table, &buckets[0], alice, clock.now()).remaining(), 2);
    }
    // And of a rule that is enforced for this key and one that is not, the first charges.
    let carol = key(7);
    let mut mixed = [1, 2].map(|rule| charge(rule, &buckets[0], carol));
    mixed[0].mode = Mode::Shadow;
    assert!(take(&table, &mixed, &clock).is_some());
    assert_eq!(ask(&table, &buckets[0], carol, clock.now()).remaining(), 3);
}

#[test]
fn of_two_thresholds_of_one_bucket_the_strictest_decides_and_the_bucket_is_charged_once() {
    let meters = leaky(Duration::from_hours(1), &["1/s burst 2", "1/s burst 5"]);
    let (table, buckets) = Table::with_buckets(AMPLE, [spec(1, meters)]).expect("a table");
    let clock = ManualClock::at(at_ms(1_000));
    let by = |rule, meter| Charge {
        meter,
        ..charge(rule, &buckets[0], key(1))
    };
    // The laxer first, to see that the order of the rules does not matter.
    let both = [by(1, 1), by(2, 0)];
    assert_eq!(
        (0..5)
            .map_while(|_| take(&table, &both, &clock))
            .map(|(_, delay)| delay.as_secs())
            .collect::<Vec<_>>(),
        [0, 1]
    );
    // What is left of the laxer one is still to be had.
    let lax = [by(1, 1)];
    assert_eq!(
        (0..9)
            .map_while(|_| take(&table, &lax, &clock))
            .map(|(_, delay)| delay.as_secs())
            .collect::<Vec<_>>(),
        [2, 3, 4]
    );
}

#[test]
fn queues_that_one_request_stands_in_let_it_go_together_and_space_what_comes_behind_it() {
    let slow = leaky(Duration::from_hours(1), &["1/s burst 9"]);
    let fast = leaky(Duration::from_hours(1), &["10/s burst 90"]);
    let (table, buckets) = Table::with_buckets(AMPLE, [spec(1, slow), spec(2, fast)]).expect("a table");
    let clock = ManualClock::at(at_ms(500));
    let both = [charge(1, &buckets[0], key(1)), charge(2, &buckets[1], key(1))];
    for seconds in 0..3 {
        let (_, delay) = take(&table, &both, &clock).expect("there is room");
        assert_eq!(delay, Duration::from_secs(seconds));
    }
    // Behind the third in the fast queue: a tenth of a second after it.
    let (_, delay) = take(&table, &both[1..], &clock).expect("there is room");
    assert_eq!(delay, Duration::from_millis(2_100));
}

/// A charge of nothing in one queue, beside a wait in another, was once refused for ever: its place could not be moved.
#[test]
fn who_asks_a_queue_for_nothing_waits_for_the_other_queue_alone() {
    let queue = || leaky(Duration::from_hours(1), &["1/s burst 9"]);
    let (table, buckets) = Table::with_buckets(AMPLE, [spec(1, queue()), spec(2, queue())]).expect("a table");
    let clock = ManualClock::at(at_ms(500));
    let both = [
        charge(1, &buckets[0], key(1)),
        Charge {
            cost: Cost::ZERO,
            ..charge(2, &buckets[1], key(1))
        },
    ];
    for seconds in 0..4 {
        let (_, delay) = take(&table, &both, &clock).expect("there is room");
        assert_eq!(delay, Duration::from_secs(seconds));
    }
    assert_eq!(ask(&table, &buckets[1], key(1), clock.now()).remaining(), 9);
}

#[test]
fn a_client_that_leaves_while_it_waits_returns_everything_and_its_place_only_if_it_is_the_last() {
    let queue = leaky(Duration::from_hours(1), &["1/s burst 9"]);
    let mut specs = vec![spec(0, queue)];
    specs.extend(
        (1..)
            .zip(one_of_each("9/h"))
            .map(|(name, (_, meter))| spec(name, [meter])),
    );
    let (table, buckets) = Table::with_buckets(AMPLE, specs).expect("a table");
    let clock = ManualClock::at(at_ms(500));
    // But for the second queue, which is too slow to stand behind the first.
    let kept: Vec<_> = buckets.iter().enumerate().filter(|(index, _)| *index != 2).collect();
    let request: Vec<_> = (0..)
        .zip(&kept)
        .map(|(rule, (index, bucket))| {
            let one = charge(rule, bucket, key(1));
            if *index >= 7 { held(rule, bucket, key(1)) } else { one }
        })
        .collect();
    let left = |now| -> Vec<_> {
        kept.iter()
            .map(|(_, bucket)| ask(&table, bucket, key(1), now).remaining())
            .collect()
    };
    let (first, _) = take(&table, &request, &clock).expect("there is room");
    let before = left(clock.now());
    let (second, delay) = take(&table, &request, &clock).expect("there is room");
    assert_eq!(delay, Duration::from_secs(1));
    let (third, _) = take(&table, &request, &clock).expect("there is room");
    // The second is not the last, so its place in the queue stays empty; all else comes back.
    leave(&table, second, clock.now());
    leave(&table, third, clock.now());
    let mut expected = before.clone();
    expected[0] -= 1;
    assert_eq!(left(clock.now()), expected);
    leave(&table, first, clock.now());
    assert!(buckets.iter().all(|bucket| bucket.held() == 0));
    // What passed without a wait is spent, but for what was held.
    assert_eq!(left(clock.now()), [7, 8, 8, 8, 8, 8, 9, 9, 9]);
}

/// A request whose place in one queue had to be moved, and found that queue full by then, once withdrew its first place twice: the
/// second time it was another's. Threads make it happen: whoever passes has a place of its own.
#[test]
fn departures_from_a_queue_are_never_closer_than_its_interval_however_many_threads_join_and_leave() {
    const THREADS: usize = 4;
    for round in 0..40u64 {
        let queue = |burst: u64| leaky(Duration::from_hours(1), &[&format!("1000/s burst {burst}")]);
        // The second is short, so that who stands in the first may find it full.
        let (table, buckets) = Table::with_buckets(AMPLE, [spec(1, queue(200)), spec(2, queue(6))]).expect("a table");
        let clock = ManualClock::at(at_ms(500));
        let departures: Vec<Vec<(bool, Duration)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (table, buckets, clock) = (&table, &buckets, &clock);
                    scope.spawn(move || {
                        let both = [charge(1, &buckets[0], key(round)), charge(2, &buckets[1], key(round))];
                        let mut departures = Vec::new();
                        for turn in 0..30 {
                            let alone = (turn + thread) % 3 == 0;
                            let request = if alone { &both[1..] } else { &both[..] };
                            if let Some((takings, delay)) = take(table, request, clock) {
                                if turn % 4 == 3 {
                                    leave(table, takings, clock.now());
                                } else {
                                    departures.push((alone, delay));
                                }
                            }
                        }
                        departures
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        for only_both in [true, false] {
            // All stand in the second queue, all but those alone in the first.
            let mut left_at: Vec<_> = departures
                .iter()
                .flatten()
                .filter(|(alone, _)| !(only_both && *alone))
                .map(|(_, delay)| *delay)
                .collect();
            left_at.sort_unstable();
            for pair in left_at.windows(2) {
                let gap = pair[1].saturating_sub(pair[0]);
                assert!(gap >= Duration::from_millis(1), "two left within {gap:?} of each other");
            }
        }
    }
}

/// A charge that needs no cell on the way in, since it asks for nothing, was once lost when it was settled.
#[test]
fn what_a_reservation_of_nothing_turns_out_to_cost_is_charged() {
    let spec = spec(1, [settling("100/h", None)]);
    let (table, buckets) = Table::with_buckets(AMPLE, [spec]).expect("a table");
    let clock = ManualClock::at(at_ms(5));
    let request = Charge {
        cost: Cost::ZERO,
        ..held(1, &buckets[0], key(1))
    };
    let holding = reserve(&table, request, &clock).expect("nothing is asked for");
    table.settle(holding, Cost::new(150), clock.now());
    assert!(take(&table, &[request], &clock).is_none(), "the key is overdrawn");
    assert_eq!(buckets[0].held(), 0);
}

#[test]
fn what_a_window_that_is_over_has_to_pay_on_top_goes_to_the_one_of_now_though_its_cell_is_gone() {
    let spec = spec(1, [meter(Algorithm::SlidingWindow, "100/s")]);
    let (table, buckets) = Table::with_buckets(AMPLE, [spec]).expect("a table");
    let clock = ManualClock::at(at_ms(5));
    let holding = reserve(&table, held(1, &buckets[0], key(1)), &clock).expect("there is room");
    clock.set(at_ms(10_000));
    clean(&table, clock.now());
    assert_eq!(table.fill().owned, 0);
    table.settle(holding, Cost::new(41), clock.now());
    assert_eq!(ask(&table, &buckets[0], key(1), clock.now()).remaining(), 60);
}

#[test]
fn a_refused_request_is_charged_as_far_as_the_limit_reaches_where_a_rule_says_so_and_nowhere_else() {
    for (name, meter) in one_of_each("5/h") {
        if name == "concurrency" {
            continue;
        }
        let specs = [
            spec(1, [world::meter(Algorithm::TokenBucket, "1/h")]),
            spec(2, [meter]),
            spec(3, [meter]),
        ];
        let (table, buckets) = Table::with_buckets(AMPLE, specs).expect("a table");
        let clock = ManualClock::at(at_ms(5));
        let mut request = [1, 2, 3].map(|rule| charge(rule, &buckets[usize::from(rule) - 1], key(1)));
        request[1].when_refused = WhenRefused::Charge;
        assert!(take(&table, &request, &clock).is_some());
        for refused in 1..20u64 {
            assert!(take(&table, &request, &clock).is_none());
            let left: Vec<_> = buckets[1..]
                .iter()
                .map(|bucket| ask(&table, bucket, key(1), clock.now()).remaining())
                .collect();
            assert_eq!(
                left,
                [4u64.saturating_sub(refused), 4],
                "{name}, refused {refused} times"
            );
        }
        // No further than the limit: an hour later all of it is there again.
        if name != "locking bucket" {
            clock.set(at_ms(2 * 3_600_000 + 5));
            assert_eq!(ask(&table, &buckets[1], key(1), clock.now()).remaining(), 5, "{name}");
        }
    }
}

#[test]
fn what_shadow_rules_took_of_a_request_that_leaves_comes_back_too() {
    for (name, meter) in one_of_each("5/h") {
        let specs = [spec(1, [world::meter(Algorithm::TokenBucket, "5/h")]), spec(2, [meter])];
        let (table, buckets) = Table::with_buckets(AMPLE, specs).expect("a table");
        let clock = ManualClock::at(at_ms(5));
        let mut request = [charge(1, &buckets[0], key(1)), charge(2, &buckets[1], key(1))];
        request[1].mode = Mode::Shadow;
        let mut takings = Takings::tentative();
        assert_eq!(table.take(&request, &clock, &mut Report::new(), &mut takings), ALL);
        assert_eq!(ask(&table, &buckets[1], key(1), clock.now()).remaining(), 4, "{name}");
        leave(&table, takings, clock.now());
        assert_eq!(ask(&table, &buckets[1], key(1), clock.now()).remaining(), 5, "{name}");
    }
}

/// A thread that read the clock before another opened the next window charges that one. What it gave back was once taken for a
/// charge of the window before, and stayed.
#[test]
fn what_was_charged_by_a_clock_that_stood_before_the_window_comes_back_to_it() {
    for (name, meter) in one_of_each("9/s") {
        let (table, buckets) = Table::with_buckets(AMPLE, [spec(1, [meter])]).expect("a table");
        let clock = ManualClock::at(at_ms(2_000));
        assert!(take(&table, &[charge(1, &buckets[0], key(1))], &clock).is_some());
        for before in [1, 999] {
            clock.set(at_ms(2_000 - before));
            let left = ask(&table, &buckets[0], key(1), clock.now()).remaining();
            let mut takings = Takings::tentative();
            let request = [charge(1, &buckets[0], key(1))];
            let _ = table.take(&request, &clock, &mut Report::new(), &mut takings);
            leave(&table, takings, clock.now());
            // No policy reserves a place in a queue or a log's entry.
            if name != "sliding log"
                && name != "leaky bucket"
                && let Some(holding) = reserve(&table, held(1, &buckets[0], key(1)), &clock)
            {
                table.settle(holding, Cost::ZERO, clock.now());
            }
            let again = ask(&table, &buckets[0], key(1), clock.now()).remaining();
            assert_eq!(again, left, "{name}, {before} ms before");
        }
    }
}

/// Whichever of nine limits is the tight one: on a clock that stands, four threads together get what it holds and no more, and what
/// they were refused for left no trace anywhere.
#[test]
fn threads_never_admit_more_than_the_tightest_of_all_algorithms_and_leak_nothing() {
    const TIGHT: u64 = 7;
    const WIDE: u64 = 200;
    for (tight, (name, _)) in one_of_each("7/h").iter().enumerate() {
        let specs = one_of_each("200/h").into_iter().zip(one_of_each("7/h"));
        let specs = (0..).zip(specs).map(|(number, ((_, wide), (_, narrow)))| {
            spec(number, [if number == tight as u128 { narrow } else { wide }])
        });
        let (table, buckets) = Table::with_buckets(AMPLE, specs).expect("a table");
        let clock = ManualClock::at(at_ms(3_600_000));
        for round in 0..25u64 {
            let request: Vec<_> = (0..)
                .zip(&buckets)
                .map(|(rule, bucket)| {
                    // Permits and reservations are held; the lock's as a plain charge.
                    if (6..8).contains(&rule) {
                        held(rule, bucket, key(round))
                    } else {
                        charge(rule, bucket, key(round))
                    }
                })
                .collect();
            let admitted = AtomicU64::new(0);
            let all: Vec<Takings> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let passed: Vec<_> = (0..8)
                                .filter_map(|_| take(&table, &request, &clock))
                                .map(|(takings, _)| takings)
                                .collect();
                            admitted.fetch_add(passed.len() as u64, Ordering::Relaxed);
                            passed
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .flat_map(|thread| thread.join().expect("no panic"))
                    .collect()
            });
            let mut all = all;
            // Threads that met may have refused each other; one after the other nobody is refused that fits.
            while let Some((takings, _)) = take(&table, &request, &clock) {
                all.push(takings);
            }
            assert_eq!(all.len() as u64, TIGHT, "{name} is the tight one");
            for (index, bucket) in buckets.iter().enumerate() {
                let left = ask(&table, bucket, key(round), clock.now()).remaining();
                let most = if index == tight { TIGHT } else { WIDE };
                let last_of_a_lock = index == 8 && tight == 8;
                assert!(
                    left == most - TIGHT || last_of_a_lock,
                    "bucket {index} leaked: {left} left"
                );
            }
            for mut takings in all {
                while let Some(holding) = takings.take_held(|_| true) {
                    table.settle(holding, Cost::ZERO, clock.now());
                }
            }
            assert!(buckets.iter().all(|bucket| bucket.held() == 0));
            for held in [6, 7] {
                let most = if held == tight { TIGHT } else { WIDE };
                assert_eq!(ask(&table, &buckets[held], key(round), clock.now()).remaining(), most);
            }
        }
        // Days later nothing of it is left, neither cells nor the entries of logs.
        clean(&table, at_ms(90_000_000));
        assert_eq!(
            (table.fill().owned, table.fill().log_blocks_used),
            (0, 0),
            "{name} is the tight one"
        );
    }
}

#[test]
fn permits_taken_and_released_by_threads_are_never_more_than_there_are_and_all_come_back() {
    const PERMITS: u64 = 3;
    let specs = [
        spec(1, [meter(Algorithm::Concurrency, "3/s")]),
        spec(2, [meter(Algorithm::TokenBucket, "1/h burst 1000000")]),
    ];
    let (table, buckets) = Table::with_buckets(AMPLE, specs).expect("a table");
    let clock = ManualClock::at(at_ms(5));
    let (out, most) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (table, buckets, clock, out, most) = (&table, &buckets, &clock, &out, &most);
            scope.spawn(move || {
                for turn in 0..20_000u64 {
                    let request = [held(1, &buckets[0], key(1)), charge(2, &buckets[1], key(thread))];
                    if let Some((mut takings, _)) = take(table, &request, clock) {
                        most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        if turn % 7 == 0 {
                            std::thread::yield_now();
                        }
                        out.fetch_sub(1, Ordering::SeqCst);
                        let holding = takings.take_held(|_| true).expect("a permit");
                        table.settle(holding, Cost::ZERO, clock.now());
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= PERMITS);
    assert_eq!(buckets[0].held(), 0);
    assert_eq!(ask(&table, &buckets[0], key(1), clock.now()).remaining(), PERMITS);
}

/// Where keys share few cells, those change hands whenever their last permit is released; the cleaner takes the rest. A permit
/// once went to whoever had the cell by then.
#[test]
fn permits_of_keys_that_share_few_cells_never_stray_to_another_key() {
    let memory = sluicegate_state::Memory {
        small: 16 * 16,
        wide: 0,
        logs: 0,
    };
    let (table, buckets) =
        Table::with_buckets(memory, [spec(1, [meter(Algorithm::Concurrency, "1/s")])]).expect("a table");
    let clock = ManualClock::at(at_ms(5));
    let out: Vec<_> = (0..64).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (table, buckets, clock, out) = (&table, &buckets, &clock, &out);
            scope.spawn(move || {
                for turn in 0..60_000usize {
                    let number = (turn * 7 + thread * 3) % 64;
                    if let Some(holding) = reserve(table, held(1, &buckets[0], key(number as u64)), clock) {
                        assert_eq!(
                            out[number].fetch_add(1, Ordering::SeqCst),
                            0,
                            "two hold the one permit of a key"
                        );
                        out[number].fetch_sub(1, Ordering::SeqCst);
                        table.settle(holding, Cost::ZERO, clock.now());
                    }
                    if turn % 16 == thread {
                        clean(table, clock.now());
                    }
                }
            });
        }
    });
    clean(&table, clock.now());
    assert_eq!(
        (buckets[0].held(), table.fill().owned),
        (0, 0),
        "a permit was never released"
    );
}

#[test]
fn a_bucket_without_keys_is_one_cell_for_all_by_every_algorithm() {
    for (name, meter) in one_of_each("3/h") {
        let spec = sluicegate_state::BucketSpec {
            keyed: false,
            overflow: Overflow::Shared(Meter::new(&sluicegate_core::algorithm::MeterSpec {
                algorithm: Algorithm::TokenBucket,
                limit: limit("30/h"),
                largest_burst: None,
                settle: None,
                epoch_at_start: 0,
            })),
            ..spec(1, [meter])
        };
        let (table, buckets) = Table::with_buckets(AMPLE, [spec]).expect("a table");
        let clock = ManualClock::at(at_ms(5));
        let request = [charge(1, &buckets[0], Key::Whole)];
        let passed = (0..9).filter(|_| take(&table, &request, &clock).is_some()).count();
        assert_eq!((passed, table.fill().owned), (3, 0), "{name}");
    }
}
