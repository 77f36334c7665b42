//! Wide cells, logs and reservations.

use super::*;

#[test]
fn two_charges_of_one_wide_cell_pass_once() {
    model(|| {
        let (table, buckets) = one_window();
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || pass(&other, &bucket, 1, 1, HOUR));
        let here = pass(&table, &buckets[0], 1, 1, HOUR);
        assert!(here != thread.join().expect("no panic"));
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn an_idle_wide_cell_goes_to_its_owner_or_to_another_and_never_to_both() {
    model(|| {
        let (table, buckets) = one_window();
        assert!(pass(&table, &buckets[0], 1, 1, 0) && pass(&table, &buckets[0], 2, 1, HOUR));
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || pass(&other, &bucket, 3, 1, HOUR));
        let here = pass(&table, &buckets[0], 1, 1, HOUR);
        assert!(
            here != thread.join().expect("no panic"),
            "one has the cell, the other found none"
        );
        assert!((1..4).all(|number| !pass(&table, &buckets[0], number, 1, HOUR)));
        assert_eq!(table.fill().owned, 2);
    });
}

#[test]
fn the_cleaner_never_frees_a_wide_cell_that_is_being_charged() {
    model(|| {
        let (table, buckets) = one_window();
        assert!(pass(&table, &buckets[0], 1, 1, 0));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        assert!(pass(&table, &buckets[0], 1, 1, HOUR));
        thread.join().expect("no panic");
        assert!(!pass(&table, &buckets[0], 1, 1, HOUR), "the charge was lost");
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn the_cleaner_gives_a_logs_entries_back_once() {
    model(|| {
        let (table, buckets) = with([spec(1, meter(Algorithm::SlidingLog, "1/s", None))]);
        assert!(pass(&table, &buckets[0], 1, 1, 0));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        // One block for all logs: it can be had only once the former entry is gone.
        let here = pass(&table, &buckets[0], 1, 1, HOUR);
        thread.join().expect("no panic");
        assert!(here && !pass(&table, &buckets[0], 1, 1, HOUR));
        assert_eq!((table.fill().owned, table.fill().log_blocks_used), (1, 1));
    });
}

#[test]
fn of_two_reservations_and_one_that_is_given_back_as_many_pass_as_fit() {
    model(|| {
        let (table, buckets) = with([spec(
            1,
            meter(Algorithm::TokenBucket, "2/h", Some(Settle { lock: None })),
        )]);
        let open = hold(&table, &buckets[0], 1, HOUR).expect("two fit");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || hold(&other, &bucket, 1, HOUR).is_some());
        settle(&table, open, 0, HOUR);
        let here = hold(&table, &buckets[0], 1, HOUR).is_some();
        assert!(
            here && thread.join().expect("no panic"),
            "both fit once the first is back"
        );
        assert!(hold(&table, &buckets[0], 1, HOUR).is_none());
        assert_eq!(buckets[0].held(), 2);
    });
}
