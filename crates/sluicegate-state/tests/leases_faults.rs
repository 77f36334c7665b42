//! What goes wrong around shared limits: stores that answer nonsense or not at all, requests that leave, floods, full queues.

mod node;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sluicegate_core::sharing::{OnStoreLoss, Reply, Sharing};
use sluicegate_core::{Mode, Report, Timestamp};
use sluicegate_state::leases::{
    Batch, Ended, Patience, SharedBucket, SharedBucketSpec, SharedCharge, SharedMades, SharedTaken, Waited, Waiting,
};
use sluicegate_state::store::{Answer, Lane, MemoryStore, Question};
use sluicegate_state::{Clock as _, ManualClock, WhenRefused};

use node::{Node, ROUND_TRIP, poll, waits};

/// Whether a key may have one more, however often the store has to be asked for it.
fn admits(node: &Node, bucket: &Arc<SharedBucket>, key: u64, cost: u64) -> bool {
    match node.ask(&[bucket], key, cost) {
        SharedTaken::All => true,
        SharedTaken::Nothing => false,
        SharedTaken::Waits(mut waiting) => {
            node.sync(ROUND_TRIP);
            matches!(poll(&mut waiting), Poll::Ready(Waited::All(_)))
        }
    }
}

/// The answer went to those who waited though the lease had refused it: with a count that is no number all that waited passed, and the
/// key was never asked about again.
#[test]
fn a_reply_that_no_store_makes_grants_nothing_and_spoils_nothing() {
    let honest = Reply {
        share: 1.0,
        valid_for: 1e6,
        ..Reply::default()
    };
    let nonsense = [
        Reply {
            taken: f64::NAN,
            ..honest
        },
        Reply {
            taken: f64::INFINITY,
            ..honest
        },
        Reply { taken: 1e9, ..honest },
        Reply { granted: 1e9, ..honest },
        Reply {
            available: f64::NAN,
            taken: 1.0,
            ..honest
        },
        Reply {
            share: 0.0,
            taken: 1.0,
            ..honest
        },
    ];
    for reply in nonsense {
        let node = Node::alone();
        let bucket = Node::bucket("3/h", Sharing::Leased, OnStoreLoss::Closed);
        let mut waiting = waits(node.ask(&[&bucket], 1, 1));
        let mut batch = Batch::new();
        assert_eq!(node.leases.collect(Lane(0), node.clock.now(), &mut batch), 1);
        let answers = [Answer::Units(reply)];
        node.leases
            .complete(&mut batch, Ended::Answered(&answers), node.clock.now());
        let waited = poll(&mut waiting);
        assert!(matches!(waited, Poll::Ready(Waited::Nothing { .. })), "{reply:?}");
        node.pass(Duration::from_secs(2));
        let admitted = (0..10).filter(|_| admits(&node, &bucket, 1, 1)).count();
        assert_eq!(admitted, 3, "after {reply:?}");
    }
}

#[test]
fn answers_that_are_missing_count_as_lost_and_are_asked_for_again() {
    let node = Node::alone();
    let bucket = Node::bucket("5/h", Sharing::Hybrid, OnStoreLoss::Local);
    assert!(node.passes(&bucket, 1));
    node.pass(Duration::from_millis(10));
    let mut batch = Batch::new();
    assert_eq!(node.leases.collect(Lane(0), node.clock.now(), &mut batch), 1);
    node.leases.complete(&mut batch, Ended::Answered(&[]), node.clock.now());
    node.pass(Duration::from_millis(100));
    assert_eq!(node.sync(ROUND_TRIP), 1, "what passed on trust was never told of");
}

/// What was asked for was given back at once, so that a rule in shadow mode never refused anybody.
#[test]
fn a_rule_in_shadow_mode_spends_what_it_has_the_store_asked_for() {
    for sharing in [Sharing::Leased, Sharing::Exact] {
        let node = Node::alone();
        let bucket = Node::bucket("3/h", sharing, OnStoreLoss::Local);
        let charge = SharedCharge {
            mode: Mode::Shadow,
            ..Node::charge(&bucket, 0, 1, 1)
        };
        let mut would_pass = 0;
        for _ in 0..20 {
            let mut report = Report::new();
            assert!(matches!(
                node.take(&[charge], Patience::Waits, &mut report),
                SharedTaken::All
            ));
            would_pass += report.states().iter().filter(|state| state.passes()).count();
            node.sync(ROUND_TRIP);
            node.pass(Duration::from_millis(20));
        }
        assert_eq!(would_pass, 3, "{sharing:?}");
    }
}

#[test]
fn once_nobody_speaks_with_the_store_nobody_waits_for_it() {
    let node = Node::alone();
    let bucket = Node::bucket("3/h", Sharing::Leased, OnStoreLoss::Closed);
    let attendance = node.leases.attend().expect("nobody does");
    assert!(node.leases.attend().is_none());
    let mut asked = waits(node.ask(&[&bucket], 1, 1));
    let mut batch = Batch::new();
    assert_eq!(node.leases.collect(Lane(0), node.clock.now(), &mut batch), 1);
    let mut late = waits(node.ask(&[&bucket], 1, 1));
    assert!(poll(&mut asked).is_pending() && poll(&mut late).is_pending());
    drop((attendance, batch));
    assert!(matches!(poll(&mut asked), Poll::Ready(Waited::Nothing { .. })));
    assert!(matches!(poll(&mut late), Poll::Ready(Waited::Nothing { .. })));
    assert!(matches!(node.ask(&[&bucket], 1, 1), SharedTaken::Nothing));

    // And the next one finds no key that is still under way.
    let _attendance = node.leases.attend().expect("nobody does");
    node.leases
        .surroundings()
        .answered(Lane(0), 500.0, sluicegate_state::store::StoreGeneration(1));
    assert!(admits(&node, &bucket, 1, 1));
}

#[test]
fn a_lane_that_is_lost_keeps_nobody_waiting() {
    let node = Node::alone();
    let bucket = Node::bucket("3/h", Sharing::Leased, OnStoreLoss::Closed);
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    node.leases.surroundings().lost(Lane(0));
    node.leases.dismiss(Lane(0), node.clock.now());
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::Nothing { .. })));
}

/// A waker may run anything, and some executors end a task by it. It was called under the lock of the stripe that the task gives back to.
#[test]
fn a_waker_may_end_another_request_of_the_same_key() {
    struct Ends(Mutex<Option<Box<Waiting>>>, AtomicBool);

    impl Wake for Ends {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().expect("no panic").take());
            self.1.store(true, Ordering::SeqCst);
        }
    }

    let node = Node::alone();
    let bucket = Node::bucket("3/h", Sharing::Leased, OnStoreLoss::Closed);
    let mut first = waits(node.ask(&[&bucket], 1, 1));
    let second = waits(node.ask(&[&bucket], 1, 1));
    let ends = Arc::new(Ends(Mutex::new(Some(second)), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&ends));
    let polled = std::future::Future::poll(std::pin::Pin::new(&mut *first), &mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            node.sync(ROUND_TRIP);
            let _ = done.send(());
        });
        is_done.recv_timeout(Duration::from_secs(10)).expect("it hangs");
    });
    assert!(ends.1.load(Ordering::SeqCst));
    assert!(matches!(poll(&mut first), Poll::Ready(Waited::All(_))));
}

/// What such a caller would have waited for was taken for it, found nobody and went back, over and over: a burst of one never passed.
#[test]
fn who_cannot_wait_gets_the_last_unit_too() {
    let node = Node::alone();
    let bucket = Node::bucket("1/h", Sharing::Leased, OnStoreLoss::Closed);
    let charge = [Node::charge(&bucket, 0, 1, 1)];
    let mut passed = 0;
    for _ in 0..200 {
        let taken = node.take(&charge, Patience::Refuses, &mut Report::new());
        assert!(!matches!(taken, SharedTaken::Waits(_)));
        passed += usize::from(matches!(taken, SharedTaken::All));
        node.sync(ROUND_TRIP);
        node.pass(Duration::from_millis(20));
    }
    assert_eq!(passed, 1);
}

#[test]
fn requests_of_several_costs_that_wait_together_get_what_there_is_and_no_more() {
    for sharing in [Sharing::Leased, Sharing::Exact] {
        let node = Node::alone();
        let bucket = Node::bucket("10/h", sharing, OnStoreLoss::Closed);
        let mut waiting: Vec<_> = [4, 5, 3, 1, 2]
            .map(|cost| (cost, waits(node.ask(&[&bucket], 1, cost))))
            .into();
        node.sync(ROUND_TRIP);
        let granted: u64 = waiting
            .iter_mut()
            .filter_map(|(cost, waiting)| match poll(waiting) {
                Poll::Ready(Waited::All(_)) => Some(*cost),
                Poll::Ready(Waited::Nothing { .. }) => None,
                Poll::Pending => unreachable!("all were asked for"),
            })
            .sum();
        assert_eq!(granted, 10, "{sharing:?}: four, five and one");
        node.pass(Duration::from_secs(3));
        assert!(!admits(&node, &bucket, 1, 1));
    }
}

#[test]
fn a_penalty_that_has_to_ask_is_charged_though_the_request_is_refused() {
    let node = Node::alone();
    let guesses = Node::bucket("2/h", Sharing::Exact, OnStoreLoss::Closed);
    let plan = guesses.spec().clone();
    let closed = Arc::new(SharedBucket::new(SharedBucketSpec {
        identity: sluicegate_state::BucketIdentity(78),
        ..plan
    }));
    while admits(&node, &closed, 1, 1) {}
    let penalty = SharedCharge {
        when_refused: WhenRefused::Charge,
        ..Node::charge(&guesses, 0, 1, 1)
    };
    for _ in 0..2 {
        let refused = node.take(
            &[penalty, Node::charge(&closed, 1, 1, 1)],
            Patience::Waits,
            &mut Report::new(),
        );
        assert!(matches!(refused, SharedTaken::Nothing));
        node.sync(ROUND_TRIP);
    }
    assert!(
        !admits(&node, &guesses, 1, 1),
        "two guesses were refused, and none was charged"
    );
}

/// They were dropped with the requests that no answer can reach any more, so that a node under load let guesses go uncounted.
#[test]
fn a_driver_that_is_held_up_loses_nothing_that_is_charged_to_a_refused_request() {
    let node = Node::alone();
    let guesses = Node::bucket("2/h", Sharing::Exact, OnStoreLoss::Closed);
    let penalty = SharedCharge {
        when_refused: WhenRefused::Charge,
        ..Node::charge(&guesses, 0, 1, 1)
    };
    for _ in 0..2 {
        waits(node.take(&[penalty], Patience::Waits, &mut Report::new())).refuse();
        for _ in 0..3 {
            node.pass(Duration::from_millis(20));
            node.leases.expire(node.clock.now());
        }
        assert_eq!(node.sync(ROUND_TRIP), 1);
    }
    assert!(!admits(&node, &guesses, 1, 1));
    // A store that is lost is not owed the asking: when it is back, nothing is due.
    let other = Node::bucket("3/h", Sharing::Exact, OnStoreLoss::Closed);
    let penalty = SharedCharge {
        when_refused: WhenRefused::Charge,
        ..Node::charge(&other, 0, 2, 1)
    };
    waits(node.take(&[penalty], Patience::Waits, &mut Report::new())).refuse();
    node.leases.dismiss(Lane(0), node.clock.now());
    assert_eq!(node.sync(ROUND_TRIP), 0);
}

/// The units were reported and came back by themselves; given back, they came back once more.
#[test]
fn what_is_given_back_after_it_was_told_does_not_come_back_twice() {
    let node = Node::alone();
    let bucket = Node::bucket("10/s burst 10", Sharing::Leased, OnStoreLoss::Closed);
    assert!(admits(&node, &bucket, 1, 1));
    let charge = [Node::charge(&bucket, 0, 1, 1)];
    let mut held = Vec::new();
    let mut admitted = 0;
    for round in 0..2_000u32 {
        let mut mades = SharedMades::new();
        let taken = node.leases.take(
            &charge,
            Patience::Waits,
            node.clock.now(),
            &mut Report::new(),
            &mut mades,
        );
        match taken {
            SharedTaken::All => {
                admitted += 1;
                if held.len() < 10 {
                    held.extend(mades.iter().map(sluicegate_state::leases::SharedMade::hold));
                }
            }
            SharedTaken::Nothing => {}
            SharedTaken::Waits(mut waiting) => {
                node.sync(ROUND_TRIP);
                admitted += usize::from(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
            }
        }
        if round == 1_000 {
            for holding in held.drain(..) {
                node.leases.give_back(&holding, node.clock.now());
            }
        }
        node.sync(ROUND_TRIP);
        node.pass(Duration::from_millis(5));
    }
    let since = node.clock.now().saturating_since(Timestamp::from_nanos(5_000_000_000));
    let most = 11.0 + 10.0 * since.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    let admitted = admitted as f64;
    assert!(admitted <= most, "{admitted} of at most {most}");
}

/// T1 and T2 of the threat list, for keys that nodes share.
#[test]
fn a_flood_of_fresh_keys_on_a_shared_rule_frees_no_limited_key_and_is_counted() {
    for sharing in [Sharing::Leased, Sharing::Hybrid, Sharing::Exact] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
        let node = Node::with_memory(3 << 20, &MemoryStore::at(1e12), &clock);
        let own = Node::bucket("5/h", sharing, OnStoreLoss::Closed).spec().clone();
        let overflow = Node::bucket("50/h", sharing, OnStoreLoss::Closed).spec().limit;
        let bucket = Arc::new(SharedBucket::new(SharedBucketSpec {
            overflow: Some(overflow),
            ..own
        }));
        let victims = 0..50;
        for _ in 0..100 {
            for victim in victims.clone() {
                let _ = admits(&node, &bucket, victim, 1);
            }
            node.pass(Duration::from_millis(20));
            node.sync(ROUND_TRIP);
        }
        let bytes = node.leases.fill().bytes;
        let mut through_overflow = 0;
        for key in 1_000..12_000 {
            let mut report = Report::new();
            let charge = [Node::charge(&bucket, 0, key, 1)];
            let passes = match node.take(&charge, Patience::Waits, &mut report) {
                SharedTaken::All => true,
                SharedTaken::Nothing => false,
                SharedTaken::Waits(mut waiting) => {
                    node.sync(ROUND_TRIP);
                    let waited = poll(&mut waiting);
                    report.push(node.leases.standing(&charge[0], node.clock.now()));
                    matches!(waited, Poll::Ready(Waited::All(_)))
                }
            };
            let overflows = report.states().iter().any(|state| state.overflow);
            through_overflow += usize::from(passes && overflows);
            if key % 64 == 0 {
                while node.sync(Duration::from_micros(1)) > 0 {}
            }
        }
        assert!(
            bucket.overflowed() > 0,
            "{sharing:?}: the flood did not fill the leases"
        );
        assert!(
            through_overflow <= 57,
            "{sharing:?}: {through_overflow} through the overflow"
        );
        for victim in victims {
            assert!(
                !admits(&node, &bucket, victim, 1),
                "{sharing:?}: a limited key was freed"
            );
        }
        let fill = node.leases.fill();
        assert!(fill.owned <= fill.entries + 1 && fill.bytes <= bytes, "{fill:?}");
    }
}

/// Each key that was seen while the store was away kept its entry for as long as that lasted.
#[test]
fn keys_whose_share_is_whole_again_make_room_while_the_store_is_away() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
    let node = Node::with_memory(3 << 20, &MemoryStore::at(1e12), &clock);
    node.leases.surroundings().lost(Lane(0));
    let bucket = Node::bucket("10/s burst 20", Sharing::Leased, OnStoreLoss::Local);
    let room = node.leases.fill().entries as u64;
    for key in 0..8 * room {
        assert!(node.passes(&bucket, key), "key {key} of {room}");
        node.pass(Duration::from_secs(4) / u32::try_from(room / 4).expect("a few thousand"));
    }
    assert_eq!(bucket.overflowed(), 0);
}

#[test]
fn the_memory_of_leases_holds_their_lists_too() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
    for bytes in [2 << 20, 8 << 20, 64 << 20] {
        let node = Node::with_memory(bytes, &MemoryStore::at(1e12), &clock);
        let fill = node.leases.fill();
        assert!(fill.bytes <= bytes, "{} of {bytes}", fill.bytes);
        assert!(fill.bytes > bytes / 2);
    }
}

/// Who was answered kept a place until the deadline, so that a queue was full of nobody.
#[test]
fn places_of_those_who_were_answered_are_free_at_once() {
    let node = Node::alone();
    let bucket = Node::bucket("1000000/s burst 1000000", Sharing::Exact, OnStoreLoss::Closed);
    for round in 0..200 {
        let waiting: Vec<_> = (0..100).map(|_| waits(node.ask(&[&bucket], 1, 1))).collect();
        node.sync(Duration::ZERO);
        for mut waiting in waiting {
            assert!(
                matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))),
                "round {round}"
            );
        }
    }
}

#[test]
fn a_question_is_only_asked_when_its_time_has_come() {
    // A tick is 250 µs, and an ask that is made too early wants nothing and is not made again.
    let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_133_000)));
    let node = Node::beside(&MemoryStore::at(1e12), &clock);
    let bucket = Node::bucket("100/s burst 100", Sharing::Leased, OnStoreLoss::Closed);
    let mut wanted = 0;
    for _ in 0..20_000 {
        let _ = node.ask(&[&bucket], 1, 1);
        let mut batch = Batch::new();
        node.leases.expire(node.clock.now());
        if node.leases.collect(Lane(0), node.clock.now(), &mut batch) > 0 {
            let call = batch.call();
            let Question::Units { ask, .. } = &call.items[0].question else {
                unreachable!("of units")
            };
            wanted += usize::from(ask.want > 0.0 || ask.take > 0.0);
            let exchanged = node.store.exchange_now(call);
            node.pass(Duration::from_micros(310));
            if let sluicegate_state::store::Exchanged::Done { answers, .. } = exchanged {
                node.leases
                    .complete(&mut batch, Ended::Answered(&answers), node.clock.now());
            }
        }
        node.pass(Duration::from_micros(170));
    }
    assert!(wanted > 20, "{wanted} asks within three seconds wanted anything");
}
