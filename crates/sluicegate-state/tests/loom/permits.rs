//! Permits and queues, whose states come back.

use super::*;

#[test]
fn the_last_permit_goes_to_one_of_two() {
    model(|| {
        let (table, buckets) = one_permit();
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || hold(&other, &bucket, 1, HOUR));
        let here = hold(&table, &buckets[0], 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here.is_some() != there.is_some());
        for holding in here.into_iter().chain(there) {
            settle(&table, holding, 0, HOUR);
        }
        assert_eq!((left(&table, &buckets[0], 1, HOUR), buckets[0].held()), (1, 0));
    });
}

#[test]
fn a_permit_that_is_released_while_another_asks_for_it_is_neither_lost_nor_doubled() {
    model(|| {
        let (table, buckets) = one_permit();
        let first = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || hold(&other, &bucket, 1, HOUR));
        settle(&table, first, 0, HOUR);
        let second = thread.join().expect("no panic");
        assert_eq!(left(&table, &buckets[0], 1, HOUR), u64::from(second.is_none()));
    });
}

/// The cell of a key without permits lies idle with the very state that it had when it was somebody's: the cleaner once took
/// it, and the permit went into a cell that was nobody's.
#[test]
fn the_cleaner_never_takes_a_cell_that_a_permit_is_counted_in() {
    model(|| {
        let (table, buckets) = one_permit();
        let before = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        settle(&table, before, 0, HOUR);
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        let here = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        thread.join().expect("no panic");
        assert!(hold(&table, &buckets[0], 1, HOUR).is_none(), "the permit was lost");
        settle(&table, here, 0, HOUR);
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 0);
    });
}

/// The same where another key had the cell in between, and released it to the same state again.
#[test]
fn a_permit_is_never_counted_to_another_key() {
    model(|| {
        let (table, buckets) = one_permit();
        // The other cell is taken.
        let _live = hold(&table, &buckets[0], 2, HOUR).expect("it is free");
        let before = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        settle(&table, before, 0, HOUR);
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            if let Some(holding) = hold(&other, &bucket, 3, HOUR) {
                settle(&other, holding, 0, HOUR);
            }
        });
        let here = hold(&table, &buckets[0], 1, HOUR);
        thread.join().expect("no panic");
        if let Some(holding) = here {
            assert!(hold(&table, &buckets[0], 1, HOUR).is_none(), "the permit was lost");
            settle(&table, holding, 0, HOUR);
        }
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 1, "a permit was counted where nobody releases it");
    });
}

/// A release leaves an idle cell, which may be another key's before the one who released is done.
#[test]
fn a_release_is_never_taken_for_a_charge_of_the_next_owners() {
    model(|| {
        let (table, buckets) = one_permit();
        let _live = hold(&table, &buckets[0], 2, HOUR).expect("it is free");
        let first = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            if let Some(holding) = hold(&other, &bucket, 3, HOUR) {
                settle(&other, holding, 0, HOUR);
            }
        });
        settle(&table, first, 0, HOUR);
        thread.join().expect("no panic");
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 1, "a permit that nobody holds");
    });
}

/// An empty cell and one whose permits are all back may read the same: whoever takes it has to know whose it was.
#[test]
fn a_cell_that_was_had_by_another_in_between_is_counted_off_that_one() {
    // Of another stripe, or the one would wait for the other.
    let stripe = |number| (key(number).as_u64() >> 12) % 2;
    let another = (2..).find(|number| stripe(*number) != stripe(1)).expect("one of many");
    model(move || {
        let (table, buckets) = one_permit();
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            let holding = hold(&other, &bucket, another, HOUR).expect("it is free");
            settle(&other, holding, 0, HOUR);
        });
        let here = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        thread.join().expect("no panic");
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 1);
        settle(&table, here, 0, HOUR);
    });
}

/// A charge that met a freed cell keeps nobody out of it, and once took itself back from whoever came next.
#[test]
fn a_charge_that_was_too_late_takes_nothing_back_from_the_next_owner() {
    model(|| {
        let (table, buckets) = one_permit();
        let _live = hold(&table, &buckets[0], 2, HOUR).expect("it is free");
        let before = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        settle(&table, before, 0, HOUR);
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            other.clean(2, Timestamp::from_nanos(HOUR));
            hold(&other, &bucket, 3, HOUR)
        });
        let here = hold(&table, &buckets[0], 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(
            here.is_some() != there.is_some(),
            "one has the cell, the other found none"
        );
        let number = if here.is_some() { 1 } else { 3 };
        assert!(hold(&table, &buckets[0], number, HOUR).is_none(), "the permit was lost");
    });
}

/// A request whose place in the first queue has to move, since somebody joined the second, and finds the first taken by then.
#[test]
fn a_place_in_a_queue_is_given_up_once_and_never_another_request_with_it() {
    model(|| {
        let queue = |name, text| {
            let max_wait = Duration::from_hours(1);
            spec(name, meter(Algorithm::LeakyBucket { max_wait, free: 0 }, text, None))
        };
        let whole = |spec| BucketSpec { keyed: false, ..spec };
        // Nobody can stand behind the first one in the first queue.
        let (table, buckets) = with([whole(queue(1, "1/s burst 1")), whole(queue(2, "1/s burst 3"))]);
        let request = |table: &Table, buckets: &[&std::sync::Arc<Bucket>]| {
            let charges: Vec<_> = buckets
                .iter()
                .map(|bucket| Charge {
                    key: Key::Whole,
                    ..charge(bucket, 0, Hold::No)
                })
                .collect();
            let clock = ManualClock::at(Timestamp::from_nanos(HOUR));
            let taken = table.take(&charges, &clock, &mut Report::new(), &mut Takings::new());
            matches!(taken, Taken::All { .. })
        };
        let (other, two) = (Arc::clone(&table), buckets.clone());
        let thread = thread::spawn(move || {
            let _ = request(&other, &[&two[1]]);
            request(&other, &[&two[0]])
        });
        let here = request(&table, &[&buckets[0], &buckets[1]]);
        let there = thread.join().expect("no panic");
        assert!(!(here && there), "two stand where one has room");
        let behind = request(&table, &[&buckets[0]]);
        assert!(behind != (here || there), "{here} {there} {behind}");
    });
}
