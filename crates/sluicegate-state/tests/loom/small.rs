//! Small cells: making, taking over and freeing them.

use super::*;

#[test]
fn two_first_requests_of_one_key_make_one_cell() {
    loom::model(|| {
        let table = table();
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || passes(&other, 1, HOUR));
        let here = passes(&table, 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here != there, "a burst of one passes exactly once");
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn a_key_that_comes_back_and_a_key_that_takes_its_idle_cell_never_share_it() {
    loom::model(|| {
        let table = table();
        assert!(passes(&table, 1, 0) && passes(&table, 2, HOUR));
        // Key 2 is live, key 1 idle: one cell, wanted by key 1 again and by key 3.
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || passes(&other, 3, HOUR));
        let here = passes(&table, 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here != there, "one of them has the cell, the other found none");
        assert!(!passes(&table, 1, HOUR) && !passes(&table, 2, HOUR) && !passes(&table, 3, HOUR));
        assert_eq!(table.fill().owned, 2);
    });
}

#[test]
fn the_cleaner_never_frees_a_cell_that_is_being_charged() {
    loom::model(|| {
        let table = table();
        assert!(passes(&table, 1, 0));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        assert!(passes(&table, 1, HOUR));
        thread.join().expect("no panic");
        assert!(!passes(&table, 1, HOUR), "the charge was lost");
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn two_keys_that_want_the_same_idle_cell_never_both_get_it() {
    loom::model(|| {
        let table = table();
        assert!(passes(&table, 1, 0) && passes(&table, 2, HOUR));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || passes(&other, 3, HOUR));
        let here = passes(&table, 4, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here != there);
        assert_eq!(table.fill().owned, 2);
    });
}

/// Two buckets whose ticks differ: whoever takes a cell over from the other must not be judged by the other's time.
#[test]
fn a_cell_that_changes_its_bucket_is_never_judged_by_the_former_ones_time() {
    loom::model(|| {
        let spec = |name, limit: &str, keyed| BucketSpec {
            keyed,
            ..BucketSpec::token_bucket(BucketIdentity(name), limit.parse().expect("a limit"), None)
        };
        // Two cells are too few to share out, so only one of the buckets asks for a share.
        let specs = [spec(1, "1/s burst 1", false), spec(2, "700M/s burst 1000", true)];
        let table = Arc::new(
            Table::with_buckets(Memory::small(2 * SMALL_CELL_BYTES), specs)
                .expect("a small table")
                .0,
        );
        let charge = |table: &Table, bucket: usize, number: u64, now: u64| {
            let bucket = &table.buckets().swap_remove(bucket);
            let standing = table.charge(bucket, Key::Hash(key(number)), Cost::ONE, Timestamp::from_nanos(now));
            (standing.passes(), standing.overflow())
        };
        // Idle just now by its own bucket's ticks; by the other's, which are longer, it would be in debt for 18 minutes.
        assert_eq!(charge(&table, 0, 1, HOUR - 1_000_000_000), (true, false));
        // The other cell is taken, or it would be the one that is chosen.
        assert_eq!(charge(&table, 1, 9, HOUR), (true, false));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || charge(&other, 1, 2, HOUR));
        let here = charge(&table, 1, 2, HOUR);
        let there = thread.join().expect("no panic");
        // Its limit admits a thousand at once: a refusal could only come from another's state, or for want of a cell.
        for (passed, overflow) in [here, there] {
            assert!(passed || overflow);
        }
    });
}
