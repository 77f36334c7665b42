//! Other buckets in the place of those in force, while requests are under way: what stays, what goes on, what is forgotten.

mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate_core::algorithm::{Algorithm, Meter};
use sluicegate_core::{Cost, Timestamp};
use sluicegate_state::{BUCKETS_MAX, Bucket, BucketSpec, Clock, Key, ManualClock, Memory, Overflow, Table, TableError};
use world::{AMPLE, ask, at_ms, charge, clean, held, key, meter, one_of_each, reserve, spec, take};

const NOW: Timestamp = at_ms(3_600_000);

/// The same meters for all keys together, or for each.
fn specs(text: &str, keyed: bool) -> Vec<BucketSpec> {
    let of = |(name, (_, meter))| BucketSpec {
        keyed,
        ..spec(name, [meter])
    };
    (0..).zip(one_of_each(text)).map(of).collect()
}

fn pass(table: &Table, bucket: &Bucket, key: Key) -> bool {
    table.charge(bucket, key, Cost::ONE, NOW).passes()
}

fn install(table: &Table, specs: Vec<BucketSpec>) -> Vec<Arc<Bucket>> {
    let buckets = table.install(specs, NOW).expect("few buckets");
    table.sweep(NOW);
    buckets
}

#[test]
fn a_bucket_whose_spec_is_unchanged_is_the_same_one() {
    let (table, before) = Table::with_buckets(AMPLE, specs("5/h", true)).expect("a table");
    let mut shuffled = specs("5/h", true);
    shuffled.reverse();
    let mut after = install(&table, shuffled);
    after.reverse();
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| Arc::ptr_eq(before, after))
    );
}

#[test]
fn a_changed_limit_keeps_the_debt_in_units_is_cut_to_a_lowered_one_and_not_refilled_by_a_raised_one() {
    for keyed in [true, false] {
        let whose = if keyed { key(1) } else { Key::Whole };
        // Whether the cell is taken over by the first request that asks for it, or by the sweep.
        for swept in [true, false] {
            let (table, mut buckets) = Table::with_buckets(AMPLE, specs("9/h", keyed)).expect("a table");
            for bucket in &buckets {
                assert_eq!((0..6).filter(|_| pass(&table, bucket, whose)).count(), 6);
            }
            for (text, left) in [("20/h", 14), ("7/h", 1), ("4/h", 0), ("20/h", 16)] {
                buckets = table.install(specs(text, keyed), NOW).expect("few buckets");
                if swept {
                    table.sweep(NOW);
                }
                for (bucket, (name, _)) in buckets.iter().zip(one_of_each(text)) {
                    let expected = match name {
                        // Permits that are held stay held.
                        "concurrency" if text == "20/h" => 14,
                        _ => left,
                    };
                    let got = ask(&table, bucket, whose, NOW).remaining();
                    assert_eq!(got, expected, "{name} at {text}, swept: {swept}, keyed: {keyed}");
                }
                table.sweep(NOW);
                let owned: Vec<_> = buckets.iter().map(|bucket| bucket.owned()).collect();
                assert_eq!(owned, [usize::from(keyed); 9]);
                assert_eq!(table.fill().owned, owned.iter().sum::<usize>());
            }
        }
    }
}

#[test]
fn what_is_taken_out_of_the_policy_is_forgotten_and_its_cells_and_entries_are_free() {
    for keyed in [true, false] {
        let whose = if keyed { key(1) } else { Key::Whole };
        let (table, buckets) = Table::with_buckets(AMPLE, specs("3/h", keyed)).expect("a table");
        for bucket in &buckets {
            assert_eq!((0..9).filter(|_| pass(&table, bucket, whose)).count(), 3);
        }
        assert!(table.fill().log_blocks_used > 0);
        install(&table, Vec::new());
        assert_eq!(
            (table.fill().owned, table.fill().log_blocks_used),
            (0, 0),
            "keyed: {keyed}"
        );
        for bucket in &buckets {
            // A request that is still under way by a rule that is gone leaves nothing behind.
            let _ = pass(&table, bucket, key(2));
        }
        assert_eq!(
            (table.fill().owned, table.fill().log_blocks_used),
            (0, 0),
            "keyed: {keyed}"
        );
        let again = install(&table, specs("3/h", keyed));
        for bucket in &again {
            assert_eq!((0..9).filter(|_| pass(&table, bucket, whose)).count(), 3);
        }
    }
}

/// The first bucket's cells were once lost if another took the place of its successor before a sweep.
#[test]
fn buckets_that_are_replaced_twice_before_a_sweep_hand_on_what_the_first_kept() {
    for keyed in [true, false] {
        for asked_first in [true, false] {
            let whose = if keyed { key(1) } else { Key::Whole };
            let (table, buckets) = Table::with_buckets(AMPLE, specs("9/h", keyed)).expect("a table");
            for bucket in &buckets {
                assert!(pass(&table, bucket, whose));
            }
            let mut last = Vec::new();
            for text in ["8/h", "7/h", "6/h"] {
                last = table.install(specs(text, keyed), NOW).expect("few buckets");
            }
            if !asked_first {
                table.sweep(NOW);
            }
            // Also a request that is still under way by the first.
            for (old, new) in buckets.iter().zip(&last) {
                assert_eq!(ask(&table, new, whose, NOW).remaining(), 5);
                assert!(pass(&table, old, whose));
                assert_eq!(ask(&table, new, whose, NOW).remaining(), 4);
            }
            table.sweep(NOW);
            assert_eq!(table.fill().owned, if keyed { 9 } else { 0 });
        }
    }
}

#[test]
fn keys_without_a_cell_go_on_in_the_overflow_of_the_successor() {
    let overflowing = |text: &str, shared: &str| {
        let specs = (0..).zip(one_of_each(text).into_iter().zip(one_of_each(shared)));
        let of = |(name, ((_, meter), (kind, overflow)))| BucketSpec {
            overflow: Overflow::Shared(match kind {
                "sliding log" => self::meter(Algorithm::TokenBucket, shared),
                _ => overflow,
            }),
            ..spec(name, [meter])
        };
        specs.map(of).collect::<Vec<_>>()
    };
    // One group of each kind: eight cells for nine buckets, so that nobody has a share.
    let memory = Memory {
        small: 0,
        wide: 0,
        logs: 0,
    };
    let (table, buckets) = Table::with_buckets(memory, overflowing("3/h", "30/h")).expect("a table");
    let spilled = |bucket: &Arc<Bucket>| {
        // One unit: a question of none needs no cell, and so meets no overflow.
        (0..200)
            .map(key)
            .find(|key| table.charge(bucket, *key, Cost::ONE, NOW).overflow())
    };
    for number in 0..200 {
        for bucket in &buckets {
            let _ = pass(&table, bucket, key(number));
        }
    }
    let before: Vec<_> = buckets
        .iter()
        .map(|bucket| spilled(bucket).expect("a key without a cell"))
        .collect();
    for ((bucket, key), (name, _)) in buckets.iter().zip(&before).zip(one_of_each("3/h")) {
        assert!(!pass(&table, bucket, *key), "{name}: the overflow is drained");
    }
    let after = install(&table, overflowing("3/h", "40/h"));
    for ((bucket, key), (name, _)) in after.iter().zip(&before).zip(one_of_each("3/h")) {
        let passed = (0..99).filter(|_| pass(&table, bucket, *key)).count();
        // A lock that the overflow had started would hold on; the others have ten more than before.
        assert!(passed <= 10, "{name}: {passed} passed");
        assert!(passed == 10 || name == "locking bucket", "{name}: {passed} passed");
    }
}

/// Four threads that know only the buckets that were in force when they began, and nine algorithms: nobody admits what was
/// admitted before.
#[test]
fn charges_through_former_buckets_and_new_ones_together_never_pass_the_limit() {
    const KEYS: u64 = 24;
    for keyed in [true, false] {
        let texts = ["50/h", "40/h", "45/h", "30/h", "60/h", "20/h"];
        let (table, buckets) = Table::with_buckets(AMPLE, specs(texts[0], keyed)).expect("a table");
        let whose = |number| if keyed { key(number) } else { Key::Whole };
        let admitted: Vec<Vec<AtomicU64>> = buckets
            .iter()
            .map(|_| (0..KEYS).map(|_| AtomicU64::new(0)).collect())
            .collect();
        let newest = Mutex::new(buckets.clone());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (table, admitted, newest, whose) = (&table, &admitted, &newest, &whose);
                scope.spawn(move || {
                    let mut mine = newest.lock().expect("no panic").clone();
                    for turn in 0..60 {
                        // Some go on by what they began with, all the way.
                        if thread % 2 == 0 && turn % 8 == 0 {
                            mine.clone_from(&newest.lock().expect("no panic"));
                        }
                        for number in 0..KEYS {
                            for (bucket, admitted) in mine.iter().zip(admitted) {
                                if pass(table, bucket, whose(number)) {
                                    admitted[usize::try_from(number).expect("few")].fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }
                    }
                });
            }
            for text in texts.iter().skip(1) {
                let next = table.install(specs(text, keyed), NOW).expect("few buckets");
                newest.lock().expect("no panic").clone_from(&next);
                std::thread::yield_now();
                table.sweep(NOW);
            }
        });
        let last = newest.into_inner().expect("no panic");
        for ((bucket, admitted), (name, _)) in last.iter().zip(&admitted).zip(one_of_each("1/h")) {
            let passed = admitted.iter().map(|admitted| admitted.load(Ordering::Relaxed));
            // Each lowered limit cuts the debt to itself and each raised one lets the difference through, whoever decides.
            let most = 50 + (45 - 40) + (60 - 30);
            if keyed {
                for (number, passed) in (0..).zip(passed) {
                    assert!(passed <= most, "{name}: key {number} passed {passed} times");
                }
                let keys = usize::try_from(KEYS).expect("few");
                assert_eq!(bucket.owned(), keys, "{name}");
            } else {
                let passed: u64 = passed.sum();
                assert!(passed <= most, "{name}: {passed} passed");
            }
        }
        assert_eq!(
            table.fill().owned,
            last.iter().map(|bucket| bucket.owned()).sum::<usize>()
        );
        table.sweep(NOW);
        assert!(
            buckets.iter().all(|bucket| bucket.owned() == 0),
            "cells of a bucket that was replaced"
        );
    }
}

/// Nothing but the overflow differs between the generations, so the limit is the same all the while: of each key exactly as much
/// passes, though threads decide by whichever generation they happen to know.
#[test]
fn generations_of_one_limit_together_admit_exactly_that() {
    const KEYS: u64 = 16;
    for keyed in [true, false] {
        let whose = |number| if keyed { key(number) } else { Key::Whole };
        let of = |round: u32| {
            let mut specs = specs("60/h", keyed);
            for spec in &mut specs {
                let shared = meter(Algorithm::TokenBucket, &format!("{}/h", 100 + round));
                spec.overflow = Overflow::Shared(shared);
            }
            specs
        };
        let (table, buckets) = Table::with_buckets(AMPLE, of(0)).expect("a table");
        let newest = Mutex::new(buckets);
        let passed: Vec<_> = (0..9).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (table, newest, passed, whose) = (&table, &newest, &passed, &whose);
                scope.spawn(move || {
                    let mut mine = newest.lock().expect("no panic").clone();
                    for turn in 0..61 {
                        if turn % (thread + 2) == 0 {
                            mine.clone_from(&newest.lock().expect("no panic"));
                        }
                        for (bucket, passed) in mine.iter().zip(passed) {
                            let here = (0..KEYS).filter(|number| pass(table, bucket, whose(*number)));
                            passed.fetch_add(here.count() as u64, Ordering::Relaxed);
                        }
                    }
                });
            }
            for round in 1..30 {
                let next = table.install(of(round), NOW).expect("few buckets");
                newest.lock().expect("no panic").clone_from(&next);
                std::thread::yield_now();
                table.sweep(NOW);
            }
        });
        let cells = if keyed { KEYS } else { 1 };
        for (passed, (name, _)) in passed.iter().zip(one_of_each("60/h")) {
            assert_eq!(passed.load(Ordering::Relaxed), 60 * cells, "{name}, keyed: {keyed}");
        }
    }
}

#[test]
fn no_permit_and_no_reservation_leaks_over_a_thousand_reloads_beside_the_traffic() {
    let specs = |round: u64| {
        let text = format!("{}/h", 5 + round % 7);
        let every = one_of_each(&text);
        vec![
            spec(1, [every[6].1]),
            spec(2, [every[7].1]),
            // Present now and then.
            spec(3 + u128::from(round % 3), [every[4].1]),
            spec(9, [every[5].1]),
        ]
    };
    let (table, buckets) = Table::with_buckets(AMPLE, specs(0)).expect("a table");
    let newest = Mutex::new(buckets);
    let done = AtomicBool::new(false);
    let clock = ManualClock::at(NOW);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (table, newest, done, clock) = (&table, &newest, &done, &clock);
            scope.spawn(move || {
                let mut open = std::collections::VecDeque::new();
                let mut turn = thread;
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let now = newest.lock().expect("no panic").clone();
                    let request = [
                        held(1, &now[0], key(turn % 5)),
                        held(2, &now[1], key(turn % 7)),
                        charge(3, &now[2], key(turn % 64)),
                        charge(4, &now[3], key(turn % 64)),
                    ];
                    let request = &request[..if turn % 4 == 0 { 4 } else { 2 }];
                    if let Some((mut takings, _)) = take(table, request, clock) {
                        while let Some(holding) = takings.take_held(|_| true) {
                            open.push_back(holding);
                        }
                    }
                    if open.len() > 6 {
                        let holding = open.pop_front().expect("some are open");
                        table.settle(holding, Cost::ZERO, clock.now());
                    }
                }
                for holding in open {
                    table.settle(holding, Cost::ZERO, clock.now());
                }
            });
        }
        for round in 1..=1_000 {
            let next = table.install(specs(round), NOW).expect("numbers are given back");
            *newest.lock().expect("no panic") = next;
            table.sweep(NOW);
        }
        done.store(true, Ordering::Relaxed);
    });
    let buckets = newest.into_inner().expect("no panic");
    assert_eq!((buckets[0].held(), buckets[1].held()), (0, 0));
    for number in 0..7 {
        // 1000 is 6 more than a multiple of 7.
        assert_eq!(
            ask(&table, &buckets[0], key(number), NOW).remaining(),
            11,
            "permits of key {number}"
        );
        assert_eq!(
            ask(&table, &buckets[1], key(number), NOW).remaining(),
            11,
            "reservations of key {number}"
        );
    }
    // The entries that a log keeps are those of the bucket in force.
    clean(&table, NOW.saturating_add(Duration::from_hours(3)));
    assert_eq!((table.fill().owned, table.fill().log_blocks_used), (0, 0));
    // And numbers are still to be had, all but those of the last reload.
    install(&table, Vec::new());
    let most = (0..BUCKETS_MAX as u128).map(|name| spec(name, [meter(Algorithm::TokenBucket, "1/h")]));
    drop(buckets);
    assert_eq!(
        table.install(most.collect(), NOW).map(|buckets| buckets.len()),
        Ok(BUCKETS_MAX)
    );
}

#[test]
fn a_number_is_not_given_to_another_while_somebody_decides_by_its_bucket() {
    let of = |name| vec![spec(name, [meter(Algorithm::TokenBucket, "2/h")])];
    let (table, old) = Table::with_buckets(AMPLE, of(1)).expect("a table");
    for name in 2..50 {
        let new = install(&table, of(name));
        assert_ne!(new[0].id(), old[0].id());
        // Whoever still decides by the first makes no cell that another would read.
        let _ = pass(&table, &old[0], key(7));
        assert_eq!(ask(&table, &new[0], key(7), NOW).remaining(), 2);
    }
    let id = old[0].id();
    drop(old);
    let many = install(&table, (60..70).flat_map(of).collect());
    assert!(
        many.iter().any(|bucket| bucket.id() == id),
        "a number that nobody uses comes back"
    );
}

/// Whoever holds something of a bucket once kept all that came after it in existence, and their numbers with them: after some
/// four thousand reloads there were none left.
#[test]
fn a_request_that_outlives_more_reloads_than_there_are_numbers_stops_none_and_is_released_in_the_end() {
    let of = |round: u64| {
        let streams = meter(Algorithm::Concurrency, &format!("{}/s", 5 + round % 3));
        vec![spec(1, [streams])]
    };
    let memory = Memory {
        small: 0,
        wide: 0,
        logs: 0,
    };
    let (table, first) = Table::with_buckets(memory, of(0)).expect("a table");
    let clock = ManualClock::at(NOW);
    let holding = reserve(&table, held(1, &first[0], key(1)), &clock).expect("it is free");
    drop(first);
    let mut last = Vec::new();
    for round in 1..=BUCKETS_MAX as u64 + 100 {
        last = install(&table, of(round));
    }
    assert_eq!(last[0].held(), 1);
    let left = ask(&table, &last[0], key(1), NOW).remaining();
    table.settle(holding, Cost::ZERO, NOW);
    assert_eq!(last[0].held(), 0);
    assert_eq!(ask(&table, &last[0], key(1), NOW).remaining(), left + 1);
}

#[test]
fn too_many_buckets_or_one_without_a_limit_change_nothing() {
    let of = |names: std::ops::Range<u128>, text: &str| -> Vec<_> {
        names
            .map(|name| spec(name, [meter(Algorithm::TokenBucket, text)]))
            .collect()
    };
    let (table, before) = Table::with_buckets(AMPLE, of(0..3_000, "5/h")).expect("a table");
    assert!(pass(&table, &before[0], key(1)));
    let fill = table.fill();
    // Those that are replaced are in force until the others are.
    assert_eq!(
        table.install(of(0..3_000, "6/h"), NOW).expect_err("6 000 at once"),
        TableError::TooManyBuckets { buckets: 6_000 }
    );
    let mut without = of(0..3, "5/h");
    without[1].meters = Vec::<Meter>::new();
    assert_eq!(
        table.install(without, NOW).expect_err("no limit"),
        TableError::NoLimit { index: 1 }
    );
    assert_eq!(table.fill(), fill);
    assert!(
        table
            .buckets()
            .iter()
            .zip(&before)
            .all(|(after, before)| Arc::ptr_eq(after, before))
    );
    assert_eq!(ask(&table, &before[0], key(1), NOW).remaining(), 4);
    // Half of them changed fit.
    let mut half = of(0..1_000, "6/h");
    half.extend(of(1_000..3_000, "5/h"));
    let after = install(&table, half);
    assert_eq!(ask(&table, &after[0], key(1), NOW).remaining(), 5);
    assert!(Arc::ptr_eq(&after[1_000], &before[1_000]));
}

#[test]
fn what_is_held_by_a_bucket_that_went_is_released_without_a_trace() {
    let streams = || vec![spec(1, [meter(Algorithm::Concurrency, "2/s")])];
    let (table, old) = Table::with_buckets(AMPLE, streams()).expect("a table");
    let clock = ManualClock::at(NOW);
    let holding = reserve(&table, held(1, &old[0], key(1)), &clock).expect("it is free");
    install(&table, Vec::new());
    let new = install(&table, streams());
    let again = reserve(&table, held(1, &new[0], key(1)), &clock).expect("it is free");
    // The former's permit is not the new one's to get back.
    table.settle(holding, Cost::ZERO, NOW);
    assert_eq!((old[0].held(), new[0].held()), (0, 1));
    assert_eq!(ask(&table, &new[0], key(1), NOW).remaining(), 1);
    table.settle(again, Cost::ZERO, NOW);
    assert_eq!(ask(&table, &new[0], key(1), NOW).remaining(), 2);
}
