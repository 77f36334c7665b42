//! What a program holds: permits, attempts and reservations, put right when they end and also when nobody ends them.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use sluicegate::{
    AskError, Attempt, Builder, Cleaner, Grant, Limiter, ManualClock, OPEN_MAX, OnSuccess, Permit, Reservation,
    ReservationId, Rule, Secret, Settled,
};

/// A limiter whose clock stands until it is moved.
fn build(builder: Builder) -> (Limiter, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let builder = builder.memory(4 << 20).secret(Secret::from_bytes([5; 32]));
    let limiter = builder.clock(Arc::clone(&clock)).build().expect("sound rules");
    (limiter, clock)
}

/// A limiter of 1 000 tokens a minute, which are reserved and settled.
fn tokens() -> (Limiter, Arc<ManualClock>) {
    build(Limiter::builder().rule(Rule::named("tokens").limit("1000/min").settles()))
}

#[track_caller]
fn left(limiter: &Limiter) -> u64 {
    limiter.check_cost("tokens", "acme", 0).expect("the rule").remaining()
}

/// Reserves by a name.
#[track_caller]
fn once(limiter: &Limiter, name: &str, cost: u64) -> Reservation {
    let asked = limiter.reserve("tokens", "acme").cost(cost).once(name);
    asked
        .deadline(Duration::from_secs(30))
        .take()
        .expect("the rule")
        .granted()
        .expect("room")
}

#[test]
fn what_is_held_may_cross_threads_and_awaits() {
    fn assert_send<T: Send + Sync + 'static>() {}
    assert_send::<Permit>();
    assert_send::<Attempt>();
    assert_send::<Reservation>();
    assert_send::<sluicegate::Admitted>();
    assert_send::<Limiter>();
    assert_send::<sluicegate::RuleHandle>();
}

#[test]
fn a_permit_is_back_as_soon_as_it_is_dropped_also_by_a_panic() {
    let (limiter, _) = build(Limiter::builder().rule(Rule::named("streams").permits(2)));
    let acquire = |key: &str| limiter.acquire("streams", key).expect("the rule");
    let held = [acquire("x"), acquire("x")].map(|grant| grant.granted().expect("a permit"));
    let Grant::Refused(refusal) = acquire("x") else {
        unreachable!("two are out")
    };
    assert_eq!((refusal.passes(), refusal.remaining()), (false, 0));
    assert!(acquire("y").is_granted());
    drop(held);
    let panicked = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _held = [acquire("x"), acquire("x")];
            std::panic::resume_unwind(Box::new(()));
        });
        holder.join().is_err()
    });
    assert!(panicked);
    let held = [acquire("x"), acquire("x"), acquire("x")];
    assert_eq!(held.map(|grant| grant.is_granted()), [true, true, false]);
    let engine = limiter.engine();
    let bucket = engine
        .bucket(engine.rule("streams").expect("the rule"))
        .expect("its bucket");
    assert_eq!(bucket.held(), 0);
}

#[test]
fn never_more_permits_are_out_than_there_are_whoever_asks_at_once() {
    let (limiter, _) = build(Limiter::builder().rule(Rule::named("streams").permits(5)));
    let out = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if let Grant::Granted(permit) = limiter.acquire("streams", "x").expect("the rule") {
                        let now_out = out.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                        assert!(now_out <= 5, "{now_out} permits are out");
                        out.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(permit);
                    }
                }
            });
        }
    });
    let held: Vec<_> = (0..9)
        .map(|_| limiter.acquire("streams", "x").expect("the rule"))
        .collect();
    assert_eq!(held.iter().filter(|grant| grant.is_granted()).count(), 5);
}

#[test]
fn failed_attempts_count_and_successful_ones_do_not() {
    let (limiter, _) = build(Limiter::builder().rule(Rule::named("passwords").limit("5 per 15min").count_failures()));
    let attempt = || limiter.attempt("passwords", "alice").expect("the rule").granted();
    for _ in 0..50 {
        attempt().expect("nothing has failed").succeeded();
    }
    for _ in 0..4 {
        attempt().expect("fewer than five have failed").failed();
    }
    attempt().expect("four have failed").succeeded();
    // Whoever says nothing has failed.
    drop(attempt().expect("four have failed"));
    assert!(attempt().is_none());
}

#[test]
fn a_success_forgets_earlier_failures_where_the_rule_says_so() {
    let rule = Rule::named("passwords").limit("5 per 15min").count_failures();
    let (limiter, _) = build(Limiter::builder().rule(rule.on_success(OnSuccess::Clear)));
    let attempt = || limiter.attempt("passwords", "alice").expect("the rule").granted();
    for _ in 0..4 {
        attempt().expect("fewer than five have failed").failed();
    }
    attempt().expect("four have failed").succeeded();
    let failed = (0..50).filter_map(|_| attempt()).map(Attempt::failed).count();
    assert_eq!(failed, 5);
}

/// The claim that a count of failures stands or falls with.
#[test]
fn parallel_guesses_never_beat_a_limit_of_five() {
    let rule = Rule::named("passwords").limit("5 per 15min").count_failures();
    let (limiter, _) = build(Limiter::builder().rule(rule.lock(Duration::from_mins(15))));
    for account in 0..200u32 {
        let (limiter, together) = (&limiter, Barrier::new(8));
        let guesses: usize = thread::scope(|scope| {
            let guess = || {
                together.wait();
                (0..5)
                    .filter_map(|_| limiter.attempt("passwords", account).expect("the rule").granted())
                    .map(Attempt::failed)
                    .count()
            };
            let guessers: Vec<_> = (0..8).map(|_| scope.spawn(guess)).collect();
            guessers
                .into_iter()
                .map(|guesser| guesser.join().expect("no panic"))
                .sum()
        });
        assert!((1..=5).contains(&guesses), "{guesses} guesses at account {account}");
    }
}

#[test]
fn the_fifth_failure_locks_and_open_attempts_do_not() {
    let rule = Rule::named("passwords").limit("5 per 15min").count_failures();
    let (limiter, clock) = build(Limiter::builder().rule(rule.lock(Duration::from_hours(1))));
    let attempt = || limiter.attempt("passwords", "alice").expect("the rule").granted();
    let open: Vec<Attempt> = (0..5).filter_map(|_| attempt()).collect();
    assert_eq!(open.len(), 5);
    assert!(attempt().is_none(), "all five are open");
    open.into_iter().for_each(Attempt::succeeded);
    for _ in 0..5 {
        attempt().expect("no lock came of open attempts").failed();
    }
    // The limit alone would have let one through again after three minutes.
    clock.advance(Duration::from_mins(59));
    assert!(attempt().is_none());
    clock.advance(Duration::from_mins(1) + Duration::from_nanos(2));
    assert!(attempt().is_some());
}

#[test]
fn a_reservation_is_put_right_to_the_unit() {
    let (limiter, _) = tokens();
    let reserve = |cost| {
        let taken = limiter.reserve("tokens", "acme").cost(cost).take();
        taken.expect("the rule").granted().expect("room")
    };
    assert_eq!(reserve(500).settle(320), Settled::Now);
    assert_eq!(left(&limiter), 680);
    assert_eq!(reserve(500).release(), Settled::Now);
    assert_eq!(left(&limiter), 680);
    drop(reserve(80));
    assert_eq!(left(&limiter), 600);
    // More than was reserved: what is beyond the burst is debt.
    assert_eq!(reserve(600).settle(1_600), Settled::Now);
    assert!(!limiter.reserve("tokens", "acme").take().expect("the rule").is_granted());
    assert_eq!((left(&limiter), limiter.reservations_open()), (0, 0));
}

#[test]
fn a_refused_reservation_charges_nothing_and_is_not_remembered() {
    let (limiter, clock) = tokens();
    let ask = || {
        limiter
            .reserve("tokens", "acme")
            .cost(900)
            .once("r")
            .take()
            .expect("the rule")
    };
    let first = limiter.reserve("tokens", "acme").cost(900).take().expect("the rule");
    assert!(!ask().is_granted());
    assert_eq!((left(&limiter), limiter.reservations_open()), (100, 0));
    drop(first);
    clock.advance(Duration::from_mins(1));
    assert!(ask().is_granted());
}

#[test]
fn the_same_name_is_charged_once_until_its_deadline() {
    let (limiter, clock) = tokens();
    let first = once(&limiter, "r", 300);
    let second = once(&limiter, "r", 999);
    assert_eq!(
        (first.is_repeat(), second.is_repeat(), second.reserved()),
        (false, true, 300)
    );
    assert_eq!((first.id(), left(&limiter)), (second.id(), 700));
    // Another key, or another name, is another reservation.
    let other = limiter
        .reserve("tokens", "other")
        .cost(10)
        .once("r")
        .take()
        .expect("the rule");
    assert!(!other.granted().expect("room").is_repeat());
    drop(second);
    assert_eq!(first.settle(100), Settled::Now);
    assert_eq!(left(&limiter), 900);
    let third = once(&limiter, "r", 300);
    assert!(third.is_repeat());
    assert_eq!((third.settle(0), left(&limiter)), (Settled::Before, 900));
    clock.advance(Duration::from_secs(30));
    assert!(!once(&limiter, "r", 300).is_repeat());
}

#[test]
fn one_name_asked_by_many_threads_at_once_is_charged_once() {
    let (limiter, _) = tokens();
    let (limiter, together) = (&limiter, Barrier::new(8));
    for round in 0..50 {
        let name = format!("request {round}");
        let (firsts, settled): (Vec<bool>, Vec<Settled>) = thread::scope(|scope| {
            let ask = || {
                together.wait();
                let reservation = once(limiter, &name, 10);
                let is_first = !reservation.is_repeat();
                (is_first, reservation.settle(4))
            };
            let askers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            askers.into_iter().map(|asker| asker.join().expect("no panic")).unzip()
        });
        assert_eq!(firsts.iter().filter(|first| **first).count(), 1);
        assert_eq!(settled.iter().filter(|settled| **settled == Settled::Now).count(), 1);
        assert_eq!(left(limiter), 1_000 - 4 * (round + 1));
    }
}

#[test]
fn a_reservation_can_be_settled_by_its_id_from_elsewhere() {
    let (limiter, _) = tokens();
    let id = once(&limiter, "r", 500).id().expect("it has a name");
    assert_eq!(limiter.reservation_id("tokens", "acme", "r"), Ok(id));
    assert_eq!(left(&limiter), 500, "the handle is gone, and the reservation is open");
    assert_eq!(limiter.settle(ReservationId::from_u64(id.as_u64()), 200), Settled::Now);
    assert_eq!(limiter.settle(id, 999), Settled::Before);
    assert_eq!(limiter.settle(ReservationId::from_u64(7), 1), Settled::Gone);
    assert_eq!(left(&limiter), 800);
}

#[test]
fn after_its_deadline_a_reservation_counts_as_charged_and_is_forgotten() {
    let (limiter, clock) = tokens();
    let ask = limiter
        .reserve("tokens", "acme")
        .cost(500)
        .deadline(Duration::from_secs(6));
    let reservation = ask.take().expect("the rule").granted().expect("room");
    let engine = limiter.engine();
    let held = || {
        engine
            .bucket(engine.rule("tokens").expect("the rule"))
            .map(sluicegate_state::Bucket::held)
    };
    clock.advance(Duration::from_secs(6) - Duration::from_nanos(1));
    limiter.clean(0);
    assert_eq!((limiter.reservations_open(), held()), (1, Some(500)));
    clock.advance(Duration::from_nanos(1));
    limiter.clean(0);
    assert_eq!((limiter.reservations_open(), held()), (0, Some(0)));
    assert_eq!(reservation.settle(0), Settled::Gone);
    // What is outstanding is not refilled; from here on it is, a tenth of the limit in a tenth of the minute.
    assert_eq!(left(&limiter), 500);
    clock.advance(Duration::from_secs(6));
    assert_eq!(left(&limiter), 600);
}

#[test]
fn a_deadline_is_kept_without_a_cleaner_too() {
    let (limiter, clock) = tokens();
    let id = once(&limiter, "r", 500).id().expect("it has a name");
    clock.advance(Duration::from_secs(30));
    assert_eq!(limiter.settle(id, 0), Settled::Gone);
    assert_eq!((left(&limiter), limiter.reservations_open()), (500, 0));
}

#[test]
fn a_cleaner_ends_what_nobody_settles() {
    let (limiter, clock) = tokens();
    drop(once(&limiter, "r", 500));
    clock.advance(Duration::from_secs(30));
    let limiter = Arc::new(limiter);
    let cleaner = Cleaner::start(Arc::clone(&limiter)).expect("a thread");
    // A liveness poll: the cleaner's next step is due within a tenth of a second.
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    let gone = (0..1_000).any(|_| {
        let _ = never.recv_timeout(Duration::from_millis(10));
        limiter.reservations_open() == 0
    });
    assert!(gone);
    drop(cleaner);
}

#[test]
fn only_so_many_reservations_are_remembered_and_one_more_is_refused_for_a_reason() {
    let (limiter, clock) = build(Limiter::builder().rule(Rule::named("tokens").limit("1M/d").settles()));
    let ask = |number: u64| {
        let name = number.to_le_bytes();
        let asked = limiter.reserve("tokens", "acme").once(&name);
        asked.deadline(Duration::from_mins(1)).take()
    };
    for number in 0..OPEN_MAX as u64 {
        assert!(ask(number).expect("there is room").is_granted());
    }
    let before = left(&limiter);
    assert_eq!(ask(u64::MAX).err(), Some(AskError::TooManyOpen));
    assert_eq!((left(&limiter), limiter.reservations_open()), (before, OPEN_MAX));
    assert!(ask(7).expect("it is remembered").is_granted());
    // Without a name nothing has to be remembered.
    assert!(limiter.reserve("tokens", "acme").take().expect("the rule").is_granted());
    clock.advance(Duration::from_mins(1));
    assert!(ask(u64::MAX).expect("the others are over").is_granted());
}

#[test]
fn a_rule_in_shadow_mode_grants_more_than_it_has_and_stays_right() {
    let (limiter, _) = build(
        Limiter::builder()
            .rule(Rule::named("streams").permits(1).enforce(0))
            .rule(Rule::named("tokens").limit("10/h").settles().enforce(0)),
    );
    let permits: Vec<_> = (0..3)
        .filter_map(|_| limiter.acquire("streams", "x").expect("the rule").granted())
        .collect();
    assert_eq!(permits.len(), 3);
    drop(permits);
    let reserve = || {
        limiter
            .reserve("tokens", "acme")
            .cost(8)
            .take()
            .expect("the rule")
            .granted()
            .expect("shadow")
    };
    let reservations = [reserve(), reserve()];
    for reservation in reservations {
        assert_eq!(reservation.settle(2), Settled::Now);
    }
    assert_eq!(left(&limiter), 8);
    let engine = limiter.engine();
    for name in ["streams", "tokens"] {
        let bucket = engine.bucket(engine.rule(name).expect("the rule")).expect("its bucket");
        assert_eq!(bucket.held(), 0, "{name}");
    }
}

/// What was refilled in the meantime may have been used: giving it back too would admit it twice.
#[test]
fn a_late_refund_of_a_rule_that_does_not_settle_revives_nothing() {
    let (limiter, clock) = build(Limiter::builder().limit("bare", "10 per 10s"));
    let taken = limiter.reserve("bare", "x").cost(10).take();
    let reservation = taken.expect("the rule").granted().expect("room");
    clock.advance(Duration::from_secs(9));
    assert!(limiter.check_cost("bare", "x", 9).expect("the rule").passes());
    assert_eq!(reservation.release(), Settled::Now);
    assert!(!limiter.check_cost("bare", "x", 10).expect("the rule").passes());
}

#[test]
fn what_is_held_survives_a_change_of_the_limit() {
    let policy = |limit: &str| {
        let text = format!(
            "version: 1\nrules:\n  - {{name: tokens, key: program, limit: {limit}, cost: {{reserve: 1, settle: program}}}}\n"
        );
        sluicegate::policy::Policy::parse("policy.yaml", &text)
            .expect("a good policy")
            .0
    };
    let clock = Arc::new(ManualClock::default());
    let limiter = Limiter::new(&policy("1000/min"), &Secret::from_bytes([5; 32]), clock).expect("a small table");
    let open = once(&limiter, "r", 300);
    limiter.replace(&policy("2000/min")).expect("a small policy");
    let held = limiter
        .reserve("tokens", "acme")
        .cost(100)
        .take()
        .expect("the rule")
        .granted()
        .expect("room");
    assert_eq!(open.settle(100), Settled::Now);
    assert_eq!(held.release(), Settled::Now);
    assert_eq!(left(&limiter), 1_900);
}
